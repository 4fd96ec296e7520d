"""The gallery's content: from Records to Jobs with pictures and to Charges, one Record at a time.

`Replay` decides where a Job stands and `Charges` what an Attempt cost; what is kept beside them is
the line that said so, which a reviewer wants to look up. So the same object serves the pages of a
finished run and the live view of one that is going on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from retouch.job import Picture
from retouch.ledger.charges import Charges, Posting
from retouch.ledger.records import (
    AnyRecord,
    Done,
    ErrorRecord,
    Failed,
    FileRecord,
    Resolved,
    Reused,
    RunBegins,
    RunEnds,
    Salvaged,
    Started,
    TermsRecord,
    Unknown,
    UsageRecord,
)
from retouch.ledger.state import Replay
from retouch.money import Money, total
from retouch.pictures import SourceChanged, payload
from retouch.report.waste import waste_of_done, waste_of_failure
from retouch.storage.reading import UnreadableFile, read_regular

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Original:
    """A source as its plan knows it: what is shown as "before".

    `width` and `height` are in pixels, as it is sent; None where not known.
    """

    picture: Picture | None = None
    width: int | None = None
    height: int | None = None
    label: str | None = None
    split: str = ""

    @property
    def path(self) -> Path | None:
        """Its file on this machine; None for a URL."""
        return self.picture.path if self.picture else None

    @property
    def is_alone(self) -> bool:
        """Whether its file holds nothing else."""
        return self.picture is not None and self.picture.span is None

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes in hex; empty for a URL."""
        return self.picture.digest.removeprefix("sha256:") if self.picture and self.path else ""

    def as_stored(self) -> bytes | None:
        """Its bytes; None where they are gone."""
        if self.picture is None or self.picture.path is None:
            return None
        try:
            return read_regular(self.picture.path, span=self.picture.span)
        except UnreadableFile:
            return None

    def as_sent(self) -> bytes | None:
        """Its bytes as a model sees them; None where they are gone or have changed."""
        try:
            return payload(self.picture) if self.picture and self.picture.path else None
        except (SourceChanged, OSError, ValueError):
            return None

    def to_show(self) -> bytes | None:
        """What a picture of it can be made of: what no browser reads was converted to be sent."""
        is_converted = self.picture is not None and "convert" in self.picture.transforms
        return (self.as_sent() if is_converted else None) or self.as_stored()


@dataclass(frozen=True, slots=True)
class Words:
    """What a Job was: its model, its prompt's id, its source's name."""

    model: str
    prompt: str
    source: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the manifest tells beyond the ledger; all of it may be missing.

    `prompts` are texts by id, templates where they depend on the source.
    """

    originals: Mapping[str, Original] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)


NOTHING_KNOWN = Known()


@dataclass(slots=True)
class Charge:
    """What one Attempt cost: `amount` confirmed, else between nothing and `high`; neither known:
    unpriced. `line` (from 1) is the Record's that decided, `day` (UTC) that it was sent on."""

    key: str
    attempt: int
    line: int
    day: str
    model: str
    amount: Money | None = None
    high: Money | None = None
    is_open: bool = True
    waste: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shown:
    """One Job as the gallery shows it.

    `confirmed` and `unknown` are what all its Attempts cost; `waste` what they bought in vain.
    """

    key: str
    words: Words
    outcome: str
    line: int
    at: str
    attempts: int
    files: tuple[FileRecord, ...]
    usage: UsageRecord
    seconds: float | None
    is_task: bool
    warnings: tuple[str, ...]
    error: ErrorRecord | None
    confirmed: tuple[Money, ...]
    unknown: tuple[Money, ...]
    waste: frozenset[str]


class Jobs(Protocol):
    """What the pages are made of: a ledger's Jobs (see `IndexedGallery`).

    `lines` is how many of the ledger's lines are in it. Sources are numbered from 0 in the order
    in which they were first met.
    """

    known: Known
    lines: int

    def shown(self, key: str) -> Shown | None:
        """One Job; None where nothing says what it was."""

    def each(self) -> Iterator[tuple[Shown, Sequence[Charge]]]:
        """Every Job with its Charges, in the order in which they were first met."""

    def source_names(self) -> Sequence[str]:
        """Every source, by number."""

    def source_number(self, name: str) -> int:
        """A source's number."""


class Gallery:
    """Everything to be shown of the Jobs whose Records it is given; `apply` takes the next one.
    `sources` are the numbers of the sources by name."""

    def __init__(self) -> None:
        self.state = Replay()
        self.charges: dict[Place, Charge] = {}
        self.sources: dict[str, int] = {}
        self.lines = 0
        self._ledgered = Charges()
        self._words: dict[str, Words] = {}
        self._lines: dict[str, int] = {}
        self._attempts: dict[str, list[int]] = {}
        self._kept: dict[str, int] = {}  # the Attempt whose pictures stand

    def apply(self, record: AnyRecord, line: int | None = None) -> None:
        """Take in the next Record; `line` is its place where others are left out."""
        self.lines = self.lines + 1 if line is None else line
        if isinstance(record, RunBegins | RunEnds | Salvaged):
            self.state.apply(record)
            return
        key = record.key
        earlier = self.state.outcomes.get(key)
        self.state.apply(record)
        if isinstance(record, Started | Done | Failed | Unknown | Reused) and record.source:
            self._words.setdefault(key, Words(record.model, record.prompt, record.source))
        words = self._words.get(key)
        if words is not None:
            self.sources.setdefault(words.source, len(self.sources))
        if self.state.outcomes.get(key) is not earlier:
            self._lines[key] = self.lines
        posting = self._ledgered.apply(record)
        if posting is not None:
            self._charge(record, posting)

    def blemish(self, key: str, kinds: frozenset[str]) -> None:
        """Note what looking at a Job's pictures has shown: blank, unchanged."""
        outcome = self.state.outcomes.get(key)
        charge = self.charges.get((key, outcome.attempt)) if outcome else None
        if charge is not None:
            charge.waste |= kinds

    def is_named(self, key: str) -> bool:
        """Whether anything says what a Job was."""
        return key in self._words

    def learn(self, words: Mapping[str, Words]) -> None:
        """Take in what Jobs were, from their plan."""
        for key, each in words.items():
            self._words.setdefault(key, each)
            self.sources.setdefault(each.source, len(self.sources))

    def shown(self, key: str) -> Shown | None:
        """One Job; None where nothing says what it was."""
        outcome = self.state.outcomes.get(key)
        words = self._words.get(key)
        if outcome is None or words is None:
            return None
        decided = outcome.decided
        charges = self.charges_of(key)
        done = decided if isinstance(decided, Done) else None
        usage = decided.usage if isinstance(decided, Done | Failed) else None
        return Shown(
            key=key,
            words=words,
            outcome=outcome.state,
            line=self._lines[key],
            at=decided.at,
            attempts=outcome.attempt,
            files=outcome.files,
            usage=usage or UsageRecord(),
            seconds=done.seconds if done else None,
            is_task=bool(outcome.task),
            warnings=done.warnings if done else (),
            error=None if done else getattr(decided, "error", None),
            confirmed=_sums(each.amount for each in charges),
            unknown=_sums(each.high for each in charges if each.is_open),
            waste=frozenset[str]().union(*(each.waste for each in charges)),
        )

    def charges_of(self, key: str) -> list[Charge]:
        """A Job's Charges."""
        return [self.charges[key, each] for each in self._attempts.get(key, ())]

    # --- Charges ---------------------------------------------------------------------------

    def _charge(self, record: AnyRecord, posting: Posting) -> None:
        """Follow what a Record did to an Attempt's Charge."""
        of, verdict, paid = posting.charge, posting.verdict, posting.paid
        place = (of.key, of.attempt)
        if verdict == "free":
            if self.charges.pop(place, None) is not None:
                self._attempts[of.key].remove(of.attempt)
            return
        charge = self.charges.get(place)
        if charge is None:
            charge = self.charges[place] = Charge(*place, self.lines, of.day, of.model)
            self._attempts.setdefault(of.key, []).append(of.attempt)
        charge.line = self.lines
        charge.is_open = verdict != "charged"
        charge.amount = paid.money if paid else None
        charge.high = of.ceiling if charge.is_open else None
        charge.waste = _waste(record, of.terms) or charge.waste
        if isinstance(record, Done):
            before = self.charges.get((of.key, self._kept.get(of.key, of.attempt)))
            if before is not None and before is not charge:
                before.waste |= {"replaced"}
            self._kept[of.key] = of.attempt


def _waste(record: AnyRecord, terms: TermsRecord | None) -> frozenset[str]:
    """What an Attempt's own Records say was bought in vain."""
    if isinstance(record, Done):
        return frozenset(waste_of_done(record, terms))
    if isinstance(record, Failed) and record.billed == "yes":
        return frozenset({waste_of_failure(record)})
    if isinstance(record, Resolved) and record.verdict == "charged":
        return frozenset({"charged_without_picture"})
    return frozenset()


def _sums(amounts: Iterable[Money | None]) -> tuple[Money, ...]:
    return tuple(total(each for each in amounts if each is not None).values())
