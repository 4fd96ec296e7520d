"""`retouch plan`: what a run would do and cost, and every problem with the inputs."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from itertools import chain

from rich.console import Console
from rich.text import Text

from retouch.cli.allowances import Basis, runway_document, runway_lines, runways, utc_today
from retouch.cli.console import WIDTH, print_table, stdout_console
from retouch.cli.grouped import grouped
from retouch.cli.output import json_text, say
from retouch.cli.redo import add_redo, redo_of
from retouch.cli.sharding import ShardShare, Split, add_shard, split_of, undivided
from retouch.cli.summary import held_texts, say_outside
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    outside_plan,
    problem_list,
)
from retouch.cluster.shards import MOST, Shard, shard_owning_digest
from retouch.costs.allowance import Runway
from retouch.costs.estimate import Estimate, Range
from retouch.engine.forecast import LaneForecast, forecast_lanes
from retouch.engine.outputs import Outputs
from retouch.engine.selection import Selection, open_shelves
from retouch.errors import InputRefused, Problem
from retouch.job import Job
from retouch.ledger import Reader, read
from retouch.ledger.parts import read_together
from retouch.money import EXACT, NO_CURRENCY, Money, exact, shown
from retouch.plan import Plan, known_of
from retouch.text import how_many, one_clean_line

EXIT_OUTSIDE, EXIT_PROBLEMS = 1, 2
_MILLIONTH = Decimal("0.000001")
BAD_SOURCES_SHOWN = 3
PROMPT_SHOWN = 400
_LEAST_FIRST = ("duplicates", "reused", "rejected", "held", "time", "failed", "done", "jobs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch plan`."""
    add_manifest(parser)
    add_redo(parser)
    add_shard(parser)
    parser.add_argument(
        "--shards", metavar="N", type=int, help="say what each of N shards would do, and its share"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--explain", action="store_true", help="list each job that would be sent, and why"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plan; 0 when a run could start, 1 when charges are open outside the plan, 2 when there are
    problems (all are said)."""
    view = _view(arguments.shard, arguments.shards, arguments.shards_share)
    whole = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    plan = make_plan(whole)
    split = view.split
    workspace = split.workspace(whole) if split else whole
    to_do = split.plan(plan, workspace) if split else plan
    lines: list[tuple[str, Job]] = []

    def note(job: Job, reason: str) -> None:
        lines.append((reason, job))

    found = read_together(Reader(workspace.ledger), split.shard.owns) if split else None
    state = found.state if found else read(workspace.ledger)
    selection = Selection(
        state,
        Outputs(workspace.folder),
        open_shelves(workspace.loaded.manifest.reuse, workspace.loaded.folder),
        redo_of(arguments.redo, workspace, plan),
    )
    forecasts = forecast_lanes(
        to_do,
        selection,
        workspace.prices,
        workspace.neighbours(),
        on_send=note if arguments.explain else None,
    )
    outside = outside_plan(workspace, to_do, state)
    refused = _say_problems(whole, plan, view)
    spent = found.shared if found and found.shared else state
    budgets = runways(workspace.loaded.manifest, Basis(spent, utc_today(), forecasts))
    shares = list(_shares(view, whole, plan))
    if arguments.json:
        told: dict[str, object] = {
            "budgets": list(map(runway_document, budgets)),
            "outside": {"tasks": outside.tasks, "held": outside.held},
        }
        told |= {"shards": [each.document for each in shares]} if shares else {}
        print(json_text(_document(plan, forecasts, lines) | told))
    else:
        for each in shares:
            print(each.line)
        _print(workspace, plan, forecasts, lines, budgets)
        say_outside(outside)
    return EXIT_PROBLEMS if refused else EXIT_OUTSIDE if outside.jobs_count else 0


@dataclass(frozen=True, slots=True)
class _View:
    """Which of how many shards is planned for: one of them (`split`), or all that there would be
    (`count`); None: there are none."""

    split: Split | None = None
    count: int | None = None
    has_whole: bool = False

    @property
    def splits(self) -> list[Split]:
        """Each shard that is told of."""
        if self.split is not None:
            return [self.split]
        return [
            Split(Shard(index, self.count), self.has_whole)
            for index in range(1, (self.count or 0) + 1)
            if self.count is not None
        ]


def _view(shard: str | None, count: int | None, share: str | None) -> _View:
    """What the flags say. Raises InputRefused."""
    if count is None:
        return _View(split_of(shard, share, os.environ))
    if shard is not None:
        raise InputRefused("--shard says one of N, --shards N all of them: leave one out")
    if not 1 <= count <= MOST:
        raise InputRefused(f"--shards {count}: there can be 1 to {MOST:,} shards")
    return _View(None, count, share == "all")


def _shares(view: _View, whole: Workspace, plan: Plan) -> Iterator[ShardShare]:
    """What each shard that is told of does, and its share of limits and money."""
    splits, jobs = view.splits, Counter[int]()

    def is_noted(digest: bytes) -> bool:
        jobs[shard_owning_digest(digest, splits[0].shard.count)] += 1
        return True

    for lane in plan.lanes if splits else ():
        for _ in lane.jobs_but(is_noted):
            """None is made."""
    for split in splits:
        manifest = split.workspace(whole).loaded.manifest
        yield ShardShare(split, jobs[split.shard.index], manifest)


def _say_problems(workspace: Workspace, plan: Plan, view: _View) -> bool:
    """Everything that is wrong, on stderr; whether a run would be refused for it."""
    skip = workspace.loaded.manifest.run.on_bad_source == "skip"
    bad = [Problem(each.source, 0, 0, each.reason) for each in plan.bad_sources if not skip]
    shares = undivided(workspace, plan.lanes, next(iter(view.splits), None))
    problems = dict.fromkeys((*plan.problems, *bad, *shares))
    every = (*workspace.loaded.warnings, *plan.warnings, *problems)
    for problem in grouped(every, problem_list(workspace)):
        say(str(problem))
    return bool(problems)


def _document(
    plan: Plan, forecasts: list[LaneForecast], lines: list[tuple[str, Job]]
) -> dict[str, object]:
    """DESIGN §7; with `--explain` the jobs to be sent too."""
    document: dict[str, object] = {
        "lanes": [_lane(each) for each in forecasts],
        "bad_sources": [{"source": bad.source, "reason": bad.reason} for bad in plan.bad_sources],
    }
    if plan.has_splits:
        document["splits"] = {
            split: {"sources": sources, "jobs": jobs}
            for split, (sources, jobs) in _splits(plan).items()
        }
        document["leaks"] = [
            {"kind": leak.kind, "distance": leak.distance, "a": leak.a, "b": leak.b}
            for leak in plan.leaks
        ]
    if lines:
        document["to_send"] = [
            {
                "key": job.key,
                "reason": reason,
                "model": job.model,
                "prompt": job.prompt.id,
                "prompt_text": job.prompt.text,
                "source": job.source.name,
            }
            for reason, job in lines
        ]
    return document


def _splits(plan: Plan) -> dict[str, tuple[int, int]]:
    """Sources and jobs of each split."""
    sources = Counter(known_of(source).split for source in plan.inputs)
    jobs = Counter(
        known_of(job.source).split
        for lane in plan.lanes
        for job in chain(lane.jobs(), lane.copies())
    )
    return {split: (count, jobs[split]) for split, count in sorted(sources.items())}


def _lane(each: LaneForecast) -> dict[str, object]:
    counted, cost = each.count, each.estimate.cost
    return {
        "model": counted.lane.model.name,
        "jobs": counted.lane.jobs_count,
        **({"duplicates": counted.duplicates} if counted.duplicates else {}),
        "done": counted.done,
        "reused": counted.reused + counted.to_take_over,
        "held": counted.held + counted.rejected,
        "to_send": counted.to_send,
        "cost": {
            "currency": each.estimate.currency,
            "low": _estimated(cost.low, ROUND_FLOOR),
            "likely": _estimated(cost.likely, ROUND_HALF_EVEN),
            "high": _estimated(cost.high, ROUND_CEILING),
        },
        "basis": each.estimate.basis,
        "reasons": dict(counted.reasons),
        "seconds_at_limits": each.seconds,
    }


def _estimated(amount: Decimal | None, rounding: str) -> str | None:
    """An estimate to six decimals: a root of a variance has no end."""
    if amount is None:
        return None
    return exact(amount.quantize(_MILLIONTH, rounding, EXACT))


def _print(
    workspace: Workspace,
    plan: Plan,
    forecasts: list[LaneForecast],
    lines: list[tuple[str, Job]],
    budgets: list[Runway],
) -> None:
    console = stdout_console()
    if workspace.is_rehearsal:
        console.print("Costs are virtual: nobody is paid in a rehearsal.")
    headings, rows = _table(forecasts)
    print_table(
        console,
        headings,
        rows,
        right=range(1, len(headings)),
        droppable=[headings.index(name) for name in _LEAST_FIRST if name in headings],
    )
    for each in forecasts:
        _print_notes(console, each)
    for reason, job in lines:
        words = (job.source.name, job.prompt.id, job.lane_name, job.key[:12])
        shown_words = " · ".join(one_clean_line(word, 60) for word in words)
        console.print(Text(f"{reason}: {shown_words}"))
        console.print(Text(f"  {one_clean_line(job.prompt.text, PROMPT_SHOWN)}"))
    for text in held_texts(sum((each.count.holds for each in forecasts), Counter())):
        console.print(text)
    rejected = sum(each.count.rejected for each in forecasts)
    if rejected:
        console.print(f"{rejected:,} rejected and held; `--redo rejected` has another picture made")
    if not any(each.count.to_send for each in forecasts):
        console.print("nothing to send")
    if plan.bad_sources:
        console.print(Text(f"{len(plan.bad_sources):,} bad sources, of which:"))
    for bad in plan.bad_sources[:BAD_SOURCES_SHOWN]:
        console.print(Text(f"  {one_clean_line(bad.source, 200)}: {bad.reason}"))
    for line in chain.from_iterable(map(runway_lines, budgets)):
        console.print(Text(line), soft_wrap=True)
    if plan.has_splits:
        for split, (sources, jobs) in _splits(plan).items():
            console.print(f"{split}: {how_many(sources, 'source')}, {how_many(jobs, 'job')}")


def _table(forecasts: list[LaneForecast]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row a lane; columns that would hold nothing but zeros are left out."""
    counts = {
        "jobs": [each.count.lane.jobs_count for each in forecasts],
        "duplicates": [each.count.duplicates for each in forecasts],
        "done": [each.count.done for each in forecasts],
        "reused": [each.count.reused + each.count.to_take_over for each in forecasts],
        "held": [each.count.held for each in forecasts],
        "rejected": [each.count.rejected for each in forecasts],
        "failed": [each.count.failed for each in forecasts],
        "to poll": [each.count.to_poll for each in forecasts],
        "to send": [each.count.to_send for each in forecasts],
    }
    always = ("jobs", "done", "to send")
    kept = {name: row for name, row in counts.items() if name in always or any(row)}
    rows = [
        [
            one_clean_line(each.count.lane.model.name, 60),
            *(f"{row[index]:,}" for row in kept.values()),
            _cost(each.estimate),
            _time(each.seconds),
        ]
        for index, each in enumerate(forecasts)
    ]
    rows += [["total", *("" for _ in kept), cost, ""] for cost in _totals(forecasts)]
    return ["model", *kept, "low - likely - high", "time"], rows


def _totals(forecasts: list[LaneForecast]) -> Iterator[str]:
    """What all lanes together would cost, where several would; each currency for itself."""
    sending = [each.estimate for each in forecasts if each.count.to_send]
    currencies = sorted({each.currency for each in sending if each.currency} - {NO_CURRENCY})
    for currency in currencies if len(sending) > 1 else ():
        costs = [each.cost for each in sending if each.currency == currency]
        bounds = [[getattr(cost, name) for cost in costs] for name in ("low", "likely", "high")]
        with localcontext(EXACT):
            sums = [None if None in each else sum(each, Decimal(0)) for each in bounds]
        yield _range(Range(*sums), currency)


def _cost(estimate: Estimate) -> str:
    return _range(estimate.cost, estimate.currency) if estimate.currency else "no price"


def _range(cost: Range, currency: str) -> str:
    if cost.low == cost.likely == cost.high and cost.likely is not None:
        return str(Money(cost.likely, currency))
    parts = (
        "?" if amount is None else shown(amount) for amount in (cost.low, cost.likely, cost.high)
    )
    return f"{' - '.join(parts)} {currency}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def _print_notes(console: Console, each: LaneForecast) -> None:
    counted = each.count
    if not counted.to_send:
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counted.reasons.items())
    tokens = f"; about {each.estimate.tokens:,} tokens" if each.estimate.tokens else ""
    model = one_clean_line(counted.lane.model.name, 60)
    console.print(Text(f"{model}: {reasons}{tokens}"), width=WIDTH)
    console.print(Text(f"  basis: {each.estimate.basis}"), width=WIDTH)
