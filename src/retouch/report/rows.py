"""A review as rows of plain values: what every format is made of.

`totals` has exactly the fields of DESIGN §7; the other rows begin with their grouping's values.
Amounts are decimal strings in full; None stands where nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from retouch.money import EXACT, exact
from retouch.report.breakdown import RowKey, columns
from retouch.report.sums import IN_TIME, Grouping, Sums
from retouch.report.tally import Tally
from retouch.report.waste import Waste

Value = str | int | None

Plain = dict[str, Value]
AMOUNTS = (
    "confirmed", "unknown_low", "unknown_high", "cost_per_kept", "cost_per_kept_high", "amount",
    "amount_high", "change",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """A whole review, ready to be written in any format.

    `by` maps a grouping to its rows. `is_virtual`: the costs are a rehearsal's, nobody was paid.
    `about` says which ledgers and days these are; `notes` are said beside the figures: what was
    left out, which prices were used. `budgets`: what they have left, as `status --json` has it.
    """

    totals: list[Plain]
    by: dict[Grouping, list[Plain]]
    waste: list[Plain]
    waste_total: list[Plain]
    examples: list[Plain]
    failures: list[Plain]
    counts: Plain
    is_virtual: bool
    about: str = ""
    notes: tuple[str, ...] = ()
    utc_offset: str = "+00:00"
    days: tuple[str, ...] = ()
    what_if: list[Plain] = field(default_factory=list)
    budgets: list[dict[str, object]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, object]:
        """The review as JSON has it."""
        return {
            "totals": self.totals,
            "by": [row for rows in self.by.values() for row in rows],
            "waste": [
                row | {"examples": [each for each in self.examples if _is_of(each, row)]}
                for row in self.waste
            ],
            "waste_total": self.waste_total,
            "failures": self.failures,
            "counts": self.counts,
            "virtual": self.is_virtual,
            "utc_offset": self.utc_offset,
            "about": self.about,
            "notes": list(self.notes),
            **({"what_if": self.what_if} if self.what_if else {}),
            **({"budgets": self.budgets} if self.budgets else {}),
        }


def review_of(
    tally: Tally, about: str = "", notes: tuple[str, ...] = (), utc_offset: str = "+00:00"
) -> Review:
    """The rows of all that was tallied."""
    with localcontext(EXACT):
        totals = [_totals(key[0], sums) for key, sums in _ordered((), tally.rows[()])]
        by = {
            grouping: [_row(grouping, key, sums) for key, sums in _ordered(grouping, rows)]
            for grouping, rows in tally.rows.items()
            if grouping
        }
    wasted = tally.wasted.rows()
    return Review(
        totals=totals,
        by=by,
        waste=[_waste(each) for each in wasted],
        waste_total=[
            {name: row[name] for name in ("currency", "amount", "amount_high")}
            for row in map(_waste, tally.wasted.totals())
        ],
        examples=[row for each in wasted for row in _examples(each)],
        failures=_failures(tally),
        counts={
            "records": tally.records,
            "retries": sum(sums.attempts - sums.jobs for sums in tally.rows[()].values()),
            "reused": tally.reused,
            "kept": sum(sums.kept for sums in tally.rows[()].values()),
        },
        is_virtual="rehearsal" in tally.providers,
        about=about,
        notes=notes,
        utc_offset=utc_offset,
        days=tuple(sorted(tally.days)),
    )


def columns_of(grouping: Grouping) -> list[str]:
    """The names of a breakdown's columns, also where it has no rows."""
    return list(_row(grouping, (None, *columns(grouping)), Sums()))


def told_by(grouping: Grouping, rows: list[Plain]) -> Grouping:
    """The words that rows are told apart by: the ledger too, where paths of several are shown."""
    told = columns(grouping)
    return told if len({row.get("ledger") for row in rows}) > 1 else grouping


def _ordered(grouping: Grouping, rows: dict[RowKey, Sums]) -> list[tuple[RowKey, Sums]]:
    """By time where it leads; else the dearest first, each currency for itself.

    What has no price comes last.
    """
    if grouping and grouping[0] in IN_TIME:
        return sorted(rows.items(), key=lambda each: (*map(str, each[0][1:]), each[0][0] or "~"))
    return sorted(
        rows.items(),
        key=lambda each: (
            each[0][0] is None, each[0][0] or "", -each[1].confirmed, -each[1].unknown_high,
            each[0][1:],
        ),
    )  # fmt: skip


def _totals(currency: str | None, sums: Sums) -> Plain:
    return {
        "currency": currency,
        "confirmed": _amount(currency, sums.confirmed),
        "unknown_low": _amount(currency, sums.unknown_low),
        "unknown_high": _amount(currency, sums.unknown_high),
        "jobs": sums.jobs,
        "images": sums.images,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "total_tokens": sums.total_tokens,
        "unpriced_jobs": sums.unpriced_jobs,
        "kept": sums.kept,
        "cost_per_kept": _rounded(currency, sums.cost_per_kept),
        "cost_per_kept_high": _rounded(currency, sums.cost_per_kept_high),
    }


def _row(grouping: Grouping, key: RowKey, sums: Sums) -> Plain:
    shown: Plain = dict(zip(columns(grouping), key[1:], strict=True))
    totals = _totals(key[0], sums)
    attempts = {
        "attempts": sums.attempts,
        "free_attempts": sums.free,
        "unknown_attempts": sums.unknown,
        "failed_attempts": sums.failed,
    }
    if "kind" in grouping:  # a picture is kept as a whole, and the rows are the kinds
        return shown | totals | {"cost_per_kept": None, "cost_per_kept_high": None} | attempts
    return {
        **shown,
        **totals,
        "text_tokens": sums.text_tokens,
        "image_tokens": sums.image_tokens,
        "cached_tokens": sums.cached_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "text_output_tokens": sums.text_output_tokens,
        "image_output_tokens": sums.image_output_tokens,
        **attempts,
    }


def _amount(currency: str | None, amount: Decimal) -> str | None:
    return None if currency is None else exact(amount)


def _rounded(currency: str | None, amount: Decimal | None) -> str | None:
    return None if amount is None else _amount(currency, round(amount, 6))


def _waste(waste: Waste) -> Plain:
    return {
        "kind": waste.kind,
        "currency": waste.currency,
        "amount": _amount(waste.currency, waste.amount),
        "amount_high": _amount(waste.currency, waste.amount_high),
        "jobs": waste.jobs,
        "pictures": waste.pictures,
    }


def _examples(waste: Waste) -> list[Plain]:
    return [
        {
            "kind": waste.kind,
            "currency": waste.currency,
            "key": each.key,
            "model": each.model,
            "prompt": each.prompt,
            "source": each.source,
            "amount": _amount(each.currency, each.amount),
            "amount_high": _amount(each.currency, each.amount_high),
        }
        for each in waste.dearest
    ]


def _is_of(example: Plain, waste: Plain) -> bool:
    return example["kind"] == waste["kind"] and example["currency"] == waste["currency"]


def _failures(tally: Tally) -> list[Plain]:
    """Attempts that failed by kind of error: sent again, failed for good, or unknown."""
    kinds = sorted({kind for kind, _ in tally.failures})
    return [
        {
            "kind": kind,
            **{word: tally.failures[kind, word] for word in ("unsent", "failed", "unknown")},
        }
        for kind in kinds
    ]
