"""The pages of `report/`, from one ledger: written at a run's end and by `report --format html`,
served by `review`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Protocol

from PIL import Image
from tqdm import tqdm

from retouch.cli.allowances import Basis, runways, utc_today
from retouch.cli.ledgers import Found
from retouch.cli.output import say
from retouch.cli.workspace import Workspace, make_plan, workspace_of
from retouch.costs.allowance import Span
from retouch.engine.forecast import LaneForecast, forecast_lanes
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection
from retouch.ledger import read
from retouch.ledger.state import Replay
from retouch.money import Money
from retouch.plan import Plan
from retouch.report import Kept, Period, Tally
from retouch.report.looks import fingerprint, is_blank, is_same
from retouch.report.rows import Review, review_of
from retouch.report.waste import WasteKind
from retouch.review.charts import Durations
from retouch.review.costs import GROUPINGS, Costs, Outlook, costs_of
from retouch.review.document import About, Document
from retouch.review.gallery import NOTHING_KNOWN, Shown
from retouch.review.indexed import IndexedGallery
from retouch.review.known import known_of, words_of
from retouch.review.live import Tails
from retouch.review.marks import Marks, read_marks
from retouch.review.measuring import Measuring
from retouch.review.page import FOLDER, costs_alone, write_pages
from retouch.review.thumbnails import Thumbnails, Wanted
from retouch.text import how_many

MEASURED_SECONDS = 60.0
NAMED = 3  # ledgers in a page's title
AT_RUN_END = 100_000  # jobs: a thumbnail of a photo takes some 30 ms
LOOKED_AT = 200  # finished jobs whose pictures are compared with their sources at a run's end


@dataclass(slots=True)
class Subject:
    """One ledger to make pages of, and what else is known: the manifest's plan, if it has one."""

    found: Found
    name: str
    command: str
    workspace: Workspace | None = None
    plan: Plan | None = None

    @property
    def folder(self) -> Path:
        """The outputs folder."""
        return self.found.path.parent

    @property
    def cache(self) -> Path | None:
        """The folder that holds what was measured; None where no manifest was named."""
        return self.workspace.root if self.workspace else None


def subject_of(found: Found, outputs: Path, *, rehearse: bool, plan: Plan | None = None) -> Subject:
    """What is known of a ledger that the user named: with its manifest, also its plan."""
    folder = found.path.parent
    name = folder.resolve().name
    if found.loaded is None:
        return Subject(found, name, shlex.quote(str(folder)))
    workspace = workspace_of(found.loaded, outputs, is_rehearsed=rehearse)
    command = shlex.quote(str(found.loaded.path)) + (" --rehearse" if rehearse else "")
    return Subject(found, name, command, workspace, plan or make_plan(workspace))


@dataclass(slots=True)
class Reviewed:
    """A review with what the pages need beside it: durations, and what looking at pictures has
    shown by Key."""

    review: Review
    durations: Durations = field(default_factory=Durations)
    looked: dict[str, frozenset[WasteKind]] = field(default_factory=dict)


Looked = dict[str, frozenset[WasteKind]]
"""What looking at the pictures of a Job's Attempt has shown."""


def review_ledger(
    subject: Subject, marks: Marks, *, looks: int = LOOKED_AT, seen: Looked | None = None
) -> Reviewed:
    """The review that the pages are made of, of one ledger alone. `seen` remembers what was looked
    at."""
    seen = {} if seen is None else seen
    durations = Durations()
    kept: list[Kept] = []

    def keep(each: Kept) -> None:
        durations.take(each.done.model, each.done.seconds, is_task=each.done.task is not None)
        if len(kept) <= looks:
            kept.append(each)

    tally = Tally(GROUPINGS, Period(), on_kept=keep, rejected=marks.rejected_keys)
    tally.read(subject.found.reader)
    looked = {}
    for each in kept if len(kept) <= looks else ():
        place = f"{each.done.key} {each.done.attempt}"
        if place not in seen:
            seen[place] = look_at(each, subject.found)
        kinds = looked[each.done.key] = seen[place]
        for kind in kinds:
            tally.wasted.add(kind, each.example)
    return Reviewed(review_of(tally), durations, looked)


def refresh_report(subject: Subject) -> Path | None:
    """At a run's end: all pages, unless they are of this very ledger already or take too long;
    returns the gallery's path if it was written. Raises StorageFailed, InputRefused,
    LedgerDamaged."""
    index = subject.folder / FOLDER / "index.html"
    files = [each for each in subject.found.files if each.exists()]
    if not files:
        return None
    with suppress(OSError):
        if index.stat().st_mtime_ns >= max(each.stat().st_mtime_ns for each in files):
            return None
    marks = read_marks(subject.folder)
    reviewed = review_ledger(subject, marks)
    jobs = sum(int(row["jobs"] or 0) for row in reviewed.review.totals)
    if jobs > AT_RUN_END:
        say(
            f"a gallery of {how_many(jobs, 'job')} takes its time: "
            "`retouch report MANIFEST --format html` writes it"
        )
        return None
    # The run has measured what it told of; the rest takes a `report`.
    return write_report(subject, reviewed, marks, measured_for=0)


def write_report(
    subject: Subject, reviewed: Reviewed, marks: Marks, *, measured_for: float = MEASURED_SECONDS
) -> Path:
    """Write all pages and thumbnails; returns the gallery's path. How edits lie over their sources
    is measured for so many seconds at most. Raises StorageFailed."""
    report, outputs = subject.folder / FOLDER, Outputs(subject.folder)
    with open_gallery(subject) as gallery:
        note_blemishes(gallery, reviewed)
        Thumbnails(report).make_all(wanted_thumbnails(gallery, outputs))
        about = about_of(subject, reviewed.review)
        measuring = Measuring(subject.cache, gallery.known, outputs)
        if measured_for:
            _measure(measuring, gallery, measured_for)
        with measuring.looking_up() as geometry:
            document = Document(gallery, marks, report, geometry=geometry).whole(about)
        write_pages(report, about, document, costs(subject, reviewed, gallery.counted))
    return report / "index.html"


def note_blemishes(gallery: IndexedGallery, reviewed: Reviewed) -> None:
    """Tell the gallery what looking at pictures has shown."""
    for key, kinds in reviewed.looked.items():
        if kinds:
            gallery.blemish(key, frozenset(kinds))


def _measure(measuring: Measuring, gallery: IndexedGallery, seconds: float) -> None:
    edits = (
        (each.words.source, file) for each in _walk(gallery, "measuring") for file in each.files
    )
    left = measuring.measure_all(edits, seconds)
    if left:
        say(f"how {how_many(left, 'edit')} lie over their sources was not measured; do this again")


def _walk(gallery: IndexedGallery, what: str) -> Iterator[Shown]:
    """Every Job, with a bar."""
    count = sum(gallery.counts.values())
    is_quiet = not sys.stderr.isatty()
    shown = (each for each, _ in gallery.each())
    yield from tqdm(shown, what, count, leave=False, unit="job", disable=is_quiet)


def alone(reviewed: Reviewed, ledgers: Sequence[Found]) -> str:
    """The costs of one or more ledgers as one file that needs no other."""
    names = list(dict.fromkeys(found.path.parent.resolve().name for found in ledgers))
    about = About(", ".join(names[:NAMED]), "", reviewed.review.is_virtual)
    content = costs_of(
        reviewed.review,
        reviewed.durations,
        outlook=Outlook(),
        command="",
    )
    return costs_alone(about, content)


@contextmanager
def open_gallery(subject: Subject) -> Iterator[IndexedGallery]:
    """The gallery of a ledger as it stands, with what its plan knows."""
    plan, tails = subject.plan, Tails(subject.found.path)
    gallery = IndexedGallery(tails.ledgers, known_of(plan) if plan else NOTHING_KNOWN)
    with closing(gallery):
        for _ in gallery.take(tails.read()):
            pass
        if plan is not None:
            gallery.learn(words_of(plan, gallery.unnamed()))
        yield gallery


def about_of(subject: Subject, review: Review) -> About:
    """What the pages say of themselves."""
    jobs = subject.plan.jobs_count if subject.plan else None
    return About(subject.name, subject.command, review.is_virtual, jobs)


class Counted(Protocol):
    """What counts towards a budget: of the latest run, or of all (see IndexedGallery)."""

    def __call__(self, currency: str, *, of_run: bool) -> Money: ...


def costs(subject: Subject, reviewed: Reviewed, counted: Counted) -> Costs:
    """The costs page's content."""
    return costs_of(
        reviewed.review,
        reviewed.durations,
        outlook=outlook_of(subject, counted),
        command=subject.command,
    )


def outlook_of(subject: Subject, counted: Counted) -> Outlook:
    """The budget, and what the Jobs that are left will likely cost, where a manifest says so.

    A budget for a run is compared with the latest run, one for all runs with the whole ledger.
    """
    workspace, plan = subject.workspace, subject.plan
    if workspace is None:
        return Outlook()
    state = read(subject.found.path)
    forecasts = _forecasts(workspace, plan, state) if plan else None
    expected = _expected(forecasts or ())
    setting = workspace.loaded.manifest.run.budget
    amount = (setting.total or setting.amount) if setting else None
    if setting is None or amount is None:
        return Outlook(expected=expected)
    is_of_all = setting.total is not None or state.runs == 1
    counts = counted(setting.currency, of_run=not is_of_all)
    span: Span = "total" if setting.total is not None else "run"
    runway = next(
        (each for each in runways(workspace.loaded.manifest, Basis(state, utc_today(), forecasts))
         if each.allowance.model is None and each.allowance.span == span),
        None,
    )  # fmt: skip
    return Outlook(Money(amount, setting.currency), counts, is_of_all, expected, runway)


def _forecasts(workspace: Workspace, plan: Plan, state: Replay) -> Sequence[LaneForecast] | None:
    """What is left to be sent; None where nobody can say, or nothing is left."""
    counts = state.counts()
    settled = counts["done"] + counts["reused"]
    if plan.problems or plan.jobs_count <= settled:
        return None
    selection = Selection(state, Outputs(workspace.folder))
    return forecast_lanes(plan, selection, workspace.prices, workspace.neighbours())


def _expected(forecasts: Iterable[LaneForecast]) -> Mapping[str, Decimal]:
    """What is left will likely cost, by currency."""
    expected: dict[str, Decimal] = {}
    for lane in forecasts:
        likely, currency = lane.estimate.cost.likely, lane.estimate.currency
        if lane.count.to_send and likely is not None and currency is not None:
            expected[currency] = expected.get(currency, Decimal(0)) + likely
    return expected


def wanted_thumbnails(gallery: IndexedGallery, outputs: Outputs) -> Iterator[Wanted]:
    """Every picture and source of the gallery by its digest, with how to read it."""
    for shown in _walk(gallery, "thumbnails"):
        for file in shown.files:
            yield Wanted(file.sha256, partial(outputs.read, file), file.bytes)
    for name in gallery.source_names():
        original = gallery.known.originals.get(name)
        if original is not None and original.path is not None:
            size = original.picture.bytes if original.picture else None
            yield Wanted(original.digest, original.to_show, size or 0)


def look_at(kept: Kept, found: Found) -> frozenset[WasteKind]:
    """Whether a finished Job's pictures are blank or unchanged; those not at hand tell nothing."""
    folder = found.path.parent
    seen = [fingerprint(folder / file.path) for file in kept.done.files]
    cells = [each for each in seen if each is not None]
    kinds: set[WasteKind] = set()
    if any(map(is_blank, cells)):
        kinds.add("blank")
    source = _source(kept, found) if cells else None
    if source is not None and any(is_same(source, each) for each in cells):
        kinds.add("unchanged")
    return frozenset(kinds)


def _source(kept: Kept, found: Found) -> Image.Image | None:
    """The source as it lies beside the manifest; URLs are not fetched."""
    if found.loaded is None or "://" in kept.done.source:
        return None
    return fingerprint(found.loaded.folder / kept.done.source)
