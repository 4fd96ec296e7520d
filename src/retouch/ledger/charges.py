"""What a Charge is: the one fold over Records that opens and settles it (DESIGN §2, §3, §10).

A Charge belongs to an Attempt. `started` opens it; `unsent`, `done`, `failed` with a verdict on
billing, and `resolved` with an amount settle it, once: what is settled stays so, whatever a later
Record says of that Attempt; only a later `resolved` supersedes what a `resolved` said. An open
Charge lies between nothing and its ceiling. An Attempt that was charged, nobody counted how much,
stays open, from the least it cost, where that is known, up to its ceiling; one without a ceiling
(unpriced) is settled at an unknown price. Every reader of money takes its word from here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from retouch.ledger.last_attempts import LastAttempts
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    Failed,
    Resolved,
    Started,
    TaskAccepted,
    TermsRecord,
    Unknown,
    Unsent,
)
from retouch.money import Money

NO_ANSWER = "no answer on file"
UNCOUNTED = "done, and the server did not say what it counted"

Begun = Started | Unknown | Done | Failed
"""The first Record of an Attempt: its model, prompt, source, run and day are the Attempt's."""


class Charge(msgspec.Struct, gc=False):
    """What one Attempt may have cost, as far as is known.

    `standing`: `unknown` whether it was charged; `uncounted`: charged, and the server did not say
    how much, but perhaps the `least`; `resolved`: charged by the user's word, without an amount;
    `settled`.
    """

    begun: Begun
    task: str | None = None
    reason: str = NO_ANSWER
    standing: Literal["unknown", "uncounted", "resolved", "settled"] = "unknown"
    least: AmountRecord | None = None

    @property
    def key(self) -> str:
        return self.begun.key

    @property
    def attempt(self) -> int:
        return self.begun.attempt

    @property
    def at(self) -> str:
        """When the Attempt began (RFC 3339, UTC)."""
        return self.begun.at

    @property
    def day(self) -> str:
        """The UTC date it began on, as YYYY-MM-DD."""
        return self.begun.at[:10]

    @property
    def model(self) -> str:
        return self.begun.model

    @property
    def prompt(self) -> str:
        return self.begun.prompt

    @property
    def source(self) -> str:
        return self.begun.source

    @property
    def terms(self) -> TermsRecord | None:
        return self.begun.terms if isinstance(self.begun, Started) else None

    @property
    def bound(self) -> AmountRecord | None:
        """The ceiling as it was written."""
        return None if isinstance(self.begun, Done) else self.begun.ceiling

    @property
    def ceiling(self) -> Money | None:
        """The most it may cost; None where it is unpriced."""
        return self.bound.money if self.bound else None

    @property
    def is_unsettled(self) -> bool:
        """Whether somebody must still say what it cost."""
        return self.standing in ("unknown", "uncounted")


CostOf = Callable[[Done | Failed, Charge], CostRecord | None]
"""What a charged Attempt cost; None: no price, or too little was counted."""


class Posting(msgspec.Struct, frozen=True, gc=False):
    """What one Record did to a Charge.

    `is_new`: the Record is the Attempt's first. `verdict`: `open` as it was, `free`, `charged`
    (`paid` None: of unknown price), or `uncounted`: charged, and open up to its ceiling.
    `former`: what a verdict of the user's had done before, which this one takes the place of.
    `is_again`: an Attempt of the same Job was charged before.
    """

    charge: Charge
    is_new: bool
    verdict: Literal["open", "free", "charged", "uncounted"]
    paid: AmountRecord | None = None
    former: Posting | None = None
    is_again: bool = False


@runtime_checkable
class Seekable(Protocol):
    """A ledger that finds the Records of some Keys quicker than by reading it again."""

    def of_keys(self, keys: Collection[str]) -> Iterator[tuple[int, AnyRecord]]:
        """Those Records, each with its line's number (from 1)."""
        ...


def _of_keys(
    records: Iterable[AnyRecord], keys: Collection[str]
) -> Iterator[tuple[int, AnyRecord]]:
    if isinstance(records, Seekable):
        return records.of_keys(keys)
    return (
        (line, record)
        for line, record in enumerate(records, 1)
        if getattr(record, "key", None) in keys
    )


class Charges:
    """The state of every Charge after some Records; `apply` takes the next one.

    `open` holds what is not settled, by key and attempt, `verdicts` what the user's word
    settled. `cost_of` tells what a charged Attempt
    cost, where it is not what the ledger states (None).
    """

    def __init__(self, cost_of: CostOf | None = None) -> None:
        self.open: dict[tuple[str, int], Charge] = {}
        self.verdicts: dict[tuple[str, int], Posting] = {}
        self._cost_of = cost_of
        self._last = LastAttempts()
        self._disowned = LastAttempts()

    def apply(self, record: AnyRecord) -> Posting | None:
        """Take in one Record; None where it says nothing new about money."""
        take = _TAKEN.get(type(record))
        return None if take is None else take(self, record)

    def begin(self, record: Begun) -> Charge:
        """Open the Charge of an Attempt whose first Record this is."""
        charge = self.open[record.key, record.attempt] = Charge(record)
        self._last.open(record.key, record.attempt)
        return charge

    def bring(self, record: Done) -> Charge:
        """Settle the Charge of an Attempt that was begun, and no more, by this one's cost."""
        place = record.key, record.attempt
        charge = self.open.pop(place)
        charge.standing = "settled"
        self._last.charge(*place)
        return charge

    def follow(
        self, records: Iterable[AnyRecord], shared: int = 0
    ) -> Iterator[tuple[int, AnyRecord, Posting | None]]:
        """Each Record of a ledger with its line's number, from 1, and what it did. The first
        `shared` are another copy's, and told there: they do nothing here."""
        for line, record in enumerate(records, 1):
            posting = self.apply(record)
            if line > shared:
                yield line, record, posting
            else:
                yield line, record, None
                if line == shared:
                    self.disown()

    def again(
        self, records: Iterable[AnyRecord], keys: Collection[str], shared: int = 0
    ) -> Iterator[tuple[AnyRecord, Posting]]:
        """What the Records of some Keys did, in a ledger that was followed before."""
        is_owner = shared == 0
        for line, record in _of_keys(records, keys):
            if line > shared and not is_owner:
                is_owner = True
                self.disown()
            posting = self.apply(record)
            if posting is not None and is_owner:
                yield record, posting
        if not is_owner:
            self.disown()

    def disown(self) -> None:
        """What was begun so far belongs to another copy of this ledger, and is told there."""
        self._disowned = self._last.copy()
        self.open.clear()
        self.verdicts.clear()

    def owns(self, record: Done | Failed | Unknown) -> bool:
        """Whether the Record's Attempt is this copy's."""
        return record.attempt > self._disowned.last(record.key)

    def _started(self, record: Started) -> Posting:
        charge = self.open.get((record.key, record.attempt))
        if charge is None:
            return Posting(self.begin(record), True, "open")
        charge.standing = "unknown"
        return Posting(charge, False, "open")

    def _done(self, record: Done) -> Posting | None:
        return self._charged(record, UNCOUNTED)

    def _failed(self, record: Failed) -> Posting | None:
        if record.billed == "yes":
            return self._charged(record, record.error.message)
        if record.billed == "no":
            return self._free(*self._charge_of(record))
        return self._unknown(record)

    def _unsent(self, record: Unsent) -> Posting | None:
        return self._free(self.open.get((record.key, record.attempt)))

    def _accepted(self, record: TaskAccepted) -> None:
        charge = self.open.get((record.key, record.attempt))
        if charge is not None:
            charge.task = record.task
            if charge.standing == "resolved":
                charge.standing = "unknown"

    def _unknown(self, record: Unknown | Failed) -> Posting | None:
        charge, is_new = self._charge_of(record)
        if charge is None or charge.standing == "uncounted":
            return None
        charge.standing, charge.reason = "unknown", record.error.message
        charge.task = record.task or charge.task
        return Posting(charge, is_new, "open")

    def _charged(self, record: Done | Failed, reason: str) -> Posting | None:
        charge, is_new = self._charge_of(record)
        if charge is None or charge.standing == "uncounted":
            return None
        if record.task:
            charge.task = record.task
        cost = record.cost if self._cost_of is None else self._cost_of(record, charge)
        if cost is None and charge.bound is not None:
            charge.standing, charge.reason, charge.least = "uncounted", reason, record.least
            return Posting(charge, is_new, "uncounted")
        return self._settle(charge, is_new, "charged", cost)

    def _free(self, charge: Charge | None, is_new: bool = False) -> Posting | None:
        if charge is None or charge.standing == "uncounted":
            return None
        return self._settle(charge, is_new, "free")

    def _resolved(self, record: Resolved) -> Posting | None:
        place = (record.key, record.attempt)
        former = self.verdicts.pop(place, None)
        if former is not None:
            self.open[place] = former.charge
        posting = self._judged(record)
        if posting is None:
            return None
        posting = msgspec.structs.replace(posting, former=former)
        if posting.verdict != "open":
            self.verdicts[place] = posting
        return posting

    def _judged(self, record: Resolved) -> Posting | None:
        """What the user's verdict does to an open Charge."""
        charge = self.open.get((record.key, record.attempt))
        if charge is None:
            return None
        if record.verdict == "not_charged":
            return self._settle(charge, False, "free")
        if record.amount is None and charge.bound is not None:
            charge.standing = "resolved"
            return Posting(charge, False, "open")
        return self._settle(charge, False, "charged", record.amount)

    def _charge_of(self, record: Done | Failed | Unknown) -> tuple[Charge | None, bool]:
        """The Attempt's open Charge, and whether this Record opens it; None: it is settled."""
        charge = self.open.get((record.key, record.attempt))
        if charge is not None:
            return charge, False
        if record.attempt <= self._last.last(record.key):
            return None, False
        return self.begin(record), True

    def _settle(
        self,
        charge: Charge,
        is_new: bool,
        verdict: Literal["free", "charged"],
        paid: AmountRecord | None = None,
    ) -> Posting:
        charge.standing = "settled"
        begun = charge.begun
        del self.open[begun.key, begun.attempt]
        if verdict == "free":
            return Posting(charge, is_new, verdict)
        is_again = self._last.charge(begun.key, begun.attempt)
        return Posting(charge, is_new, verdict, paid, is_again=is_again)


_TAKEN: dict[type, Callable[[Charges, Any], Posting | None]] = {
    Started: Charges._started,
    Done: Charges._done,
    Failed: Charges._failed,
    Unknown: Charges._unknown,
    Unsent: Charges._unsent,
    TaskAccepted: Charges._accepted,
    Resolved: Charges._resolved,
}  # a look-up, and no chain of comparisons: there may be millions
