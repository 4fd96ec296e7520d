"""What the user lets a run pay for again, knowingly: `run.on_unknown` and `run.retry_empty`.

For unattended nights: an Attempt that may have been charged without an answer is made again, so
many times a Job and within a sum that is kept as a budget is: reserved before it is sent, counted
at what it cost. What is unpriced or in another currency is never paid for again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from retouch.engine.budget import Attempt, Cap, Purse, Reservation
from retouch.errors import BudgetReached, Refused
from retouch.manifest import PayAgain, RunSettings
from retouch.money import NO_CURRENCY, Money


@dataclass(slots=True)
class PayingAgain:
    """The terms of one run, and what came of them: `jobs` were paid for again, `held` were not,
    for the sum did not reach."""

    unknowns: int = 0
    empties: int = 0
    up_to: Money | None = None
    jobs: int = 0
    held: int = 0
    empties_sent: int = 0
    _purse: Purse = field(default_factory=Purse)

    @property
    def spent(self) -> Money | None:
        """What paying again has cost, what is unknown at its ceiling."""
        if self.up_to is None:
            return None
        return Money(self._purse.caps[0].counted, self.up_to.currency)

    @property
    def purse(self) -> Purse:
        """Where a Reservation of `reserve` is held while its Attempt is out."""
        return self._purse

    def within(self, purse: Purse) -> PayingAgain:
        """The same terms within another purse."""
        return replace(self, _purse=purse)

    async def reserve(
        self, model: str, ceiling: Money | None, lost: int, attempt: Attempt | None = None
    ) -> Reservation | None:
        """Room for one more Attempt of a Job that lost `lost`; None: it stays unknown."""
        if lost > self.unknowns or self.up_to is None:
            return None
        if ceiling is None or ceiling.currency not in (self.up_to.currency, NO_CURRENCY):
            self.held += 1
            return None
        try:
            reservation = await self._purse.reserve(model, ceiling, attempt)
        except (BudgetReached, Refused):
            self.held += 1
            return None
        return reservation


def paying_again(settings: RunSettings) -> PayingAgain:
    """The terms a manifest sets."""
    terms = settings.on_unknown
    if not isinstance(terms, PayAgain):
        return PayingAgain(empties=settings.retry_empty)
    up_to = Money(terms.up_to.amount, terms.up_to.currency)
    return PayingAgain(
        unknowns=terms.retry,
        empties=settings.retry_empty,
        up_to=up_to,
        _purse=Purse([Cap("run.on_unknown.up_to", up_to)]),
    )
