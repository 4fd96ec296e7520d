"""The gallery of a ledger that grows: looked up in it, not held in memory.

What is summed over all Jobs is kept; a Job itself is replayed from its own lines when it is asked
for or goes on. Its Records alone say where it stands, so that is the same as replaying them all.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

from retouch.ledger.records import AnyRecord, FileRecord, RunBegins, RunEnds, Salvaged, Unsent
from retouch.money import EXACT, Money
from retouch.review.gallery import NOTHING_KNOWN, Charge, Gallery, Known, Shown, Words
from retouch.review.index import Index, files_of

_NOTHING = Decimal(0)
NEAR = 128  # Jobs held in memory: those in flight are asked for again soon


class IndexedGallery:
    """The Jobs of a ledger, by their places in it; `apply` takes the next Record.

    `counts` are Jobs by outcome, `confirmed` and `unknown` sums by currency, `refusals` the
    Attempts of the latest run that were turned away and may be sent again; that run began at
    `run_line`.
    """

    def __init__(self, ledgers: list[Path], known: Known = NOTHING_KNOWN) -> None:
        self.known = known
        self.lines = 0
        self.refusals = 0
        self.counts = Counter[str]()
        self.confirmed: dict[str, Decimal] = {}
        self.unknown: dict[str, Decimal] = {}
        self.run_line = 0
        self.last_run: RunBegins | None = None
        self.last_end: RunEnds | None = None
        self._of_run: dict[str, Decimal] = {}
        self._index = Index(ledgers)
        self._near: OrderedDict[str, Gallery] = OrderedDict()
        self._unnamed: set[str] = set()
        self._learned: dict[str, Words] = {}
        self._blemishes: dict[str, frozenset[str]] = {}

    def close(self) -> None:
        """Let go of its files; it is not asked again."""
        self._index.close()

    def take(self, records: Iterable[tuple[int, AnyRecord]]) -> Iterator[AnyRecord]:
        """Take in Records with the places at which their lines begin, and pass them on. Raises
        StorageFailed, LedgerDamaged."""
        with self._index.together():
            for offset, record in records:
                self.apply(record, offset)
                yield record

    def apply(self, record: AnyRecord, offset: int) -> None:
        """Take in the next line's Record, which begins at a place of the ledger."""
        self.lines += 1
        if isinstance(record, RunBegins):
            self.last_run, self.last_end, self.refusals = record, None, 0
            self.run_line, self._of_run = self.lines, {}
        elif isinstance(record, RunEnds):
            self.last_end = record
        elif not isinstance(record, Salvaged):
            self._apply(record, record.key, offset)
            self.refusals += isinstance(record, Unsent)

    def _apply(self, record: AnyRecord, key: str, offset: int) -> None:
        job = self._job(key)
        self._count(job, key, -1)
        job.apply(record, self.lines)
        self._count(job, key, 1)
        self._index.add(self.lines, offset, key, files_of(record))
        for name in job.sources:
            self._index.add_source(name)
        if job.is_named(key):
            self._unnamed.discard(key)
        else:
            self._unnamed.add(key)

    def _count(self, job: Gallery, key: str, sign: int) -> None:
        """Add what a Job comes to, or take it away."""
        outcome = job.state.outcomes.get(key)
        if outcome is not None:
            self.counts[outcome.state] += sign
        for charge in job.charges.values():
            high = charge.high if charge.is_open else None
            _add(self.confirmed, charge.amount, sign)
            _add(self.unknown, high, sign)
            if charge.line > self.run_line:
                _add(self._of_run, high or charge.amount, sign)

    def _job(self, key: str) -> Gallery:
        """One Job alone, from its own lines."""
        job = self._near.get(key)
        if job is None:
            job = self._near[key] = self._replayed(key)
            if len(self._near) > NEAR:
                self._near.popitem(last=False)
        self._near.move_to_end(key)
        return job

    def _replayed(self, key: str) -> Gallery:
        job = Gallery()
        for line, record in self._index.records(key):
            job.apply(record, line)
        if key in self._learned:
            job.learn({key: self._learned[key]})
        if key in self._blemishes:
            job.blemish(key, self._blemishes[key])
        return job

    def counted(self, currency: str, *, of_run: bool) -> Money:
        """What counts towards a budget, unknown Charges at their ceiling: of the latest run, or of
        all."""
        sums = (self._of_run,) if of_run else (self.confirmed, self.unknown)
        with localcontext(EXACT):
            return Money(sum((each.get(currency, _NOTHING) for each in sums), _NOTHING), currency)

    def unnamed(self) -> list[str]:
        """Keys of Jobs of which no Record says what they were."""
        return list(self._unnamed)

    def learn(self, words: Mapping[str, Words]) -> None:
        """Take in what Jobs were, from their plan."""
        self._learned.update(words)
        for key, each in words.items():
            self._near.pop(key, None)
            self._unnamed.discard(key)
            self._index.add_source(each.source)

    def blemish(self, key: str, kinds: frozenset[str]) -> None:
        """Note what looking at a Job's pictures has shown: blank, unchanged."""
        self._blemishes[key] = kinds
        self._near.pop(key, None)

    def changed_after(self, line: int) -> list[str]:
        """The Keys of Jobs that changed after a line, the latest last."""
        return self._index.changed_after(line)

    def shown(self, key: str) -> Shown | None:
        """One Job; None where nothing says what it was."""
        return self._job(key).shown(key) if self._index.has(key) else None

    def each(self) -> Iterator[tuple[Shown, Sequence[Charge]]]:
        """Every Job with its Charges, in the order in which they were first met."""
        for key in self._index.jobs():
            job = self._near.get(key) or self._replayed(key)
            shown = job.shown(key)
            if shown is not None:
                yield shown, job.charges_of(key)

    def source_names(self) -> Sequence[str]:
        """Every source, by number."""
        return self._index.sources()

    def source_number(self, name: str) -> int:
        """A source's number."""
        return self._index.source_number(name)

    def source_name(self, number: int) -> str | None:
        """The source of a number."""
        return self._index.source_name(number)

    def file_at(self, path: str) -> FileRecord | None:
        """The picture that was last recorded under a path."""
        return self._index.file_at(path)

    def file_of(self, digest: str) -> FileRecord | None:
        """A picture by the first digits of its SHA-256."""
        return self._index.file_of(digest)


def _add(sums: dict[str, Decimal], money: Money | None, sign: int) -> None:
    if money is not None:
        known = sums.get(money.currency, Decimal(0))
        sums[money.currency] = EXACT.fma(money.amount, Decimal(sign), known)
