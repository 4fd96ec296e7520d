"""How a bill may have been made, where as it stands not all of it is explained.

The other whole-hour offsets, a uniform factor (a discount, tax) and a neighbouring day are tried,
and the one of each kind that explains strictly more is named; nothing is settled by a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from retouch.dialects.bill import Bill
from retouch.money import EXACT
from retouch.reconcile.compare import reconcile
from retouch.reconcile.differences import Hint, Reconciliation
from retouch.reconcile.ours import Ours

_HOURS = range(-12, 15)
_TOO_MANY = 20_000  # requests and lines: more, and trying costs more than it tells


def hints(ours: Ours, bill: Bill, currency: str | None, found: Reconciliation) -> list[Hint]:
    """The best of each kind that explains more rows than `found` does; none where all is."""
    if not found.unexplained or len(ours.entries) + len(bill.lines) > _TOO_MANY:
        return []
    known = _explained(found)
    tried = [
        _best(_offsets(ours), bill, currency, known, "offset"),
        _best(_factors(ours, bill, currency), bill, currency, known, "factor"),
        _best(_days(ours), bill, currency, known, "day"),
    ]
    best = [each for each in tried if each is not None]
    most = max((each.explains for each in best), default=0)
    return [each for each in best if each.explains == most]


def _best(
    tries: Iterable[tuple[str, Ours]],
    bill: Bill,
    currency: str | None,
    known: int,
    kind: str,
) -> Hint | None:
    scores = [
        (_explained(reconcile(moved, bill, currency)), -place, value)
        for place, (value, moved) in enumerate(tries)
    ]
    score, _, value = max(scores, default=(0, 0, ""))
    if score <= known:
        return None
    return Hint(kind, value, score)  # type: ignore[arg-type]  # one of the three kinds


def _explained(found: Reconciliation) -> int:
    """Rows on which both sides stand and nothing is left to ask."""
    return sum(row.is_settled and bool(row.theirs) for row in found.differences)


def _offsets(ours: Ours) -> Iterator[tuple[str, Ours]]:
    for hours in sorted(_HOURS, key=abs):
        sign = "-" if hours < 0 else "+"
        yield f"{sign}{abs(hours):02}:00", ours.moved(timezone(timedelta(hours=hours)))


def _factors(ours: Ours, bill: Bill, currency: str | None) -> Iterator[tuple[str, Ours]]:
    """Their sum by ours, to two, three and four digits: the shortest that fits is the likely."""
    with localcontext(EXACT):
        mine = sum((e.measures.get("amount", Decimal(0)) for e in ours.entries), Decimal(0))
        lines = [
            line
            for line in bill.lines
            if not line.category and (currency is None or line.currency in (None, currency))
        ]
        theirs = sum((line.measures.get("amount", Decimal(0)) for line in lines), Decimal(0))
    if mine <= 0 or theirs <= 0:
        return
    ratio = theirs / mine
    for places in (2, 3, 4):
        factor = ratio.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        if factor > 0 and factor != 1:
            yield format(factor.normalize(), "f"), ours.moved(factor=factor)


def _days(ours: Ours) -> Iterator[tuple[str, Ours]]:
    for days in (1, -1):
        yield f"{days:+d}", ours.moved(days=days)
