"""`retouch resolve`: lists what may have been charged, and settles it: the user knows better."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio

from retouch.cli.budgets import amount_of
from retouch.cli.console import print_table, stdout_console
from retouch.cli.ledgers import add_ledger, one_ledger
from retouch.cli.output import json_text, say
from retouch.cli.workspace import make_plan, workspace_of
from retouch.errors import InputRefused, Refused
from retouch.ledger import Parts, Reader, open_ledger, read
from retouch.ledger.charges import Charge
from retouch.ledger.parts import part_paths, parts_of_attempts
from retouch.ledger.records import AmountRecord, Resolved, Salvaged
from retouch.ledger.state import Replay
from retouch.money import Money, exact, total
from retouch.storage.lock import Hold, exclusive
from retouch.storage.part import WHOLE, part_of
from retouch.text import one_clean_line

if TYPE_CHECKING:
    from retouch.plan import Lane

Lanes = Callable[[], "Iterable[Lane]"]
Resolution = Literal["charged", "not_charged"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch resolve`."""
    add_ledger(parser)
    parser.add_argument(
        "named",
        metavar="JOB",
        nargs="*",
        help="jobs to settle: keys, sources, output paths, globs of either, or @FILE of them",
    )
    parser.add_argument("--all", action="store_true", help="settle all that is unknown")
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument("--charged", action="store_true", help="it was charged: not sent again")
    verdict.add_argument(
        "--not-charged", action="store_true", help="it was not: the next run sends it again"
    )
    parser.add_argument(
        "--correct",
        action="store_true",
        help="put another verdict in the place of one that was given before to these jobs",
    )
    parser.add_argument(
        "--amount", metavar="A", help="what each was charged (default: unknown up to its ceiling)"
    )
    parser.add_argument("--note", metavar="TEXT", default="", help="kept in the ledger")
    parser.add_argument("--json", action="store_true", help="for programs")


@dataclass(frozen=True, slots=True)
class _Options:
    """What to settle (`named`, or all that is unknown), as what; `verdict` None: only list."""

    verdict: Resolution | None
    named: tuple[str, ...]
    everything: bool
    is_correction: bool
    amount: str | None
    note: str


def run(arguments: argparse.Namespace) -> int:
    """List what is unknown, or settle it; 0."""
    options = _options(arguments)
    found = one_ledger(arguments.ledger, arguments.outputs, rehearse=arguments.rehearse)
    path = found.path

    def lanes() -> Iterable[Lane]:
        if found.loaded is None:
            return ()
        workspace = workspace_of(found.loaded, arguments.outputs, is_rehearsed=arguments.rehearse)
        return make_plan(workspace).lanes

    if options.verdict is None:
        state = read(path)
        _tell(list(state.unsettled()), as_json=arguments.json)
        for note in _others(state):
            say(note)
        return 0
    if not any(each.exists() for each in found.files):
        raise InputRefused(f"{path}: there is no ledger yet")
    # What names all may also settle what no part says: the folder is held.
    first = None if options.everything else _places(_chosen(read(path), options, lanes))
    with held_to_settle(path, first) as holding:
        # Read under the lock: what is chosen is what is settled.
        chosen = _chosen(read(path), options, lanes)
        records = [
            Resolved(
                key=each.key,
                attempt=each.attempt,
                verdict=options.verdict,
                amount=amount,
                note=options.note,
            )
            for each, amount in zip(chosen, _amounts(chosen, options.amount), strict=True)
        ]
        holding.append(records)
        if options.everything:
            holding.append_to_all_with_lost_lines(Salvaged(lost_lines=0, note=options.note))
    _say_settled(chosen, options.verdict)
    return 0


def _places(chosen: Iterable[Charge]) -> set[tuple[str, int]]:
    return {(each.key, each.attempt) for each in chosen}


@dataclass(frozen=True, slots=True)
class Holding:
    """A ledger in which verdicts may be written: `hold` is on its folder, or on the one part."""

    path: Path
    hold: Hold

    def append(self, records: Sequence[Resolved]) -> None:
        """Append each where the Attempt's latest Record is. Raises LedgerTaken, StorageFailed."""
        where = parts_of_attempts(self.path, {(one.key, one.attempt) for one in records})
        by_part: dict[Path, list[Resolved]] = {}
        for one in records:
            by_part.setdefault(where[one.key, one.attempt], []).append(one)
        if self.hold.part != WHOLE and {part_of(part) for part in by_part} - {self.hold.part}:
            raise Refused("the ledger went on meanwhile; nothing was settled", hint="do it again")
        for part, theirs in by_part.items():
            anyio.run(append_resolved, part, theirs, self.hold)

    def append_to_all_with_lost_lines(self, record: Salvaged) -> None:
        """Append to each part that was salvaged and has lost lines."""
        for part in part_paths(self.path):
            alone = Parts([Reader(part)])
            for _ in alone.numbered():
                pass
            if alone.lost_lines != 0:
                anyio.run(append_resolved, part, [record], self.hold)


@contextmanager
def held_to_settle(path: Path, places: Collection[tuple[str, int]] | None) -> Iterator[Holding]:
    """Hold what must be held to settle the Attempts at these `places` (keys and attempts): the one
    part they lie in, beside which other shards go on, else the folder. Raises Refused."""
    parts = part_paths(path)
    if len(parts) > 1 and places is not None:
        parts = sorted(set(parts_of_attempts(path, places).values()))
    part = part_of(parts[0]) if len(parts) == 1 else None
    name = None if part_of(path) is not None else path.name
    with exclusive(path.parent, part=part or WHOLE, guarded=name) as hold:
        yield Holding(path, hold)


async def append_resolved(path: Path, records: Sequence[Resolved | Salvaged], hold: Hold) -> None:
    """Append `resolved` records to a ledger; `hold` is the caller's on its folder.

    Raises LedgerTaken where somebody else wrote in it meanwhile.
    """
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    async with open_ledger(path, run_id, hold=hold, say=say) as ledger:
        if records:
            await ledger.append(*records)
        if ledger.taken is not None:
            raise ledger.taken


def _options(arguments: argparse.Namespace) -> _Options:
    """What the flags say together. Raises InputRefused for those that do not go together."""
    settles = arguments.charged or arguments.not_charged
    if settles and not (arguments.all or arguments.named):
        raise InputRefused("resolve: say which: --all, or jobs by key, source or output path")
    if settles and arguments.all and arguments.named:
        raise InputRefused("resolve: either --all or JOBs, not both")
    if not settles and (arguments.all or arguments.named or arguments.amount or arguments.note):
        raise InputRefused("resolve: say what is known: --charged or --not-charged")
    if arguments.correct and not (settles and arguments.named):
        raise InputRefused(
            "--correct: say which jobs, and what is right: --charged or --not-charged"
        )
    if arguments.amount is not None and not arguments.charged:
        raise InputRefused("--amount goes with --charged")
    said: Resolution = "charged" if arguments.charged else "not_charged"
    return _Options(
        verdict=said if settles else None,
        named=tuple(arguments.named),
        everything=arguments.all,
        is_correction=arguments.correct,
        amount=arguments.amount,
        note=one_clean_line(arguments.note),
    )


def _others(state: Replay) -> Iterator[str]:
    """What a review counts as unknown too, and nobody need settle."""
    polled = sum(map(state.is_polled, state.open_charges.values()))
    settled = sum(each.standing == "resolved" for each in state.open_charges.values())
    if polled:
        yield f"tasks on file, which the next run asks for: {polled:,}"
    if settled:
        yield f"settled as charged before, nobody knew how much: {settled:,}"


def _chosen(state: Replay, options: _Options, lanes: Lanes) -> list[Charge]:
    """What the user named: of Tasks that the next run asks for, only those that a run gave up.

    Raises InputRefused for a word that names none, or a key that several have.
    """
    from retouch.engine.naming import charges_of  # noqa: PLC0415 - start-up time

    unsettled = list(state.unsettled())
    if options.everything:
        return unsettled
    if options.is_correction:
        settled = [each.charge for each in state.verdicts.values()]
        settled += [each for each in state.open_charges.values() if each.standing == "resolved"]
        return charges_of(options.named, settled, lanes)
    given_up = (
        each
        for each in state.open_charges.values()
        if state.is_polled(each) and state.outcomes[each.key].state == "unknown"
    )
    return charges_of(options.named, [*unsettled, *given_up], lanes)


def _amounts(chosen: list[Charge], said: str | None) -> list[AmountRecord | None]:
    """What each was charged: `0.28`, in the one currency of their ceilings, or `0.28CNY`.

    Raises InputRefused where the currency is not theirs, or not clear.
    """
    if said is None:
        return [None] * len(chosen)
    amount, currency = amount_of("--amount", said)
    known = {each.ceiling.currency for each in chosen if each.ceiling}
    theirs = " and ".join(sorted(known))
    if currency and known - {currency}:
        raise InputRefused(f"--amount {said}: {chosen[0].model} is charged in {theirs}")
    if not currency and len(known) > 1:
        raise InputRefused(
            f"--amount {said}: these are charged in {theirs}: settle each currency by its jobs"
        )
    if not currency and not all(each.ceiling for each in chosen):
        unpriced = next(each.model for each in chosen if not each.ceiling)
        raise InputRefused(f"--amount {said}: {unpriced} has no price: add the currency")
    money = Money(amount, currency or min(known, default=""))
    for each in chosen:
        if each.ceiling is not None and money.amount > each.ceiling.amount:
            say(f"{each.key[:12]}: {money} is more than the ceiling of {each.ceiling}")
    return [AmountRecord(amount=exact(money.amount), currency=money.currency) for _ in chosen]


def _tell(unsettled: list[Charge], *, as_json: bool) -> None:
    if as_json:
        print(json_text([_plain(each) for each in unsettled]))
        return
    if not unsettled:
        print("nothing is unknown")
        return
    console = stdout_console()
    headings = ("key", "sent (UTC)", "up to", "what, and why it is unknown")
    print_table(console, headings, map(_row, unsettled), right=(2,), folded=(3,))
    highest = total(each.ceiling for each in unsettled if each.ceiling)
    sums = " and ".join(map(str, highest.values()))
    console.print(f"{len(unsettled):,} unknown, up to {sums or 'nobody knows how much'}")
    say(
        "settle with --charged or --not-charged and --all or JOBs; "
        "`retouch reconcile` finds out from a bill"
    )


def _row(each: Charge) -> tuple[str, ...]:
    task = f" · task {each.task}" if each.task else ""
    words = one_clean_line(f"{each.source} · {each.prompt} · {each.model}{task}")
    ceiling = str(each.ceiling) if each.ceiling else "no price"
    sent = each.at[:19].replace("T", " ")
    return each.key[:12], sent, ceiling, f"{words}\n{one_clean_line(each.reason, 160)}"


def _plain(each: Charge) -> dict[str, object]:
    ceiling = each.ceiling
    return {
        "key": each.key,
        "attempt": each.attempt,
        "at": each.at,
        "model": each.model,
        "prompt": each.prompt,
        "source": each.source,
        "task": each.task,
        "reason": each.reason,
        "ceiling": {"amount": exact(ceiling.amount), "currency": ceiling.currency}
        if ceiling
        else None,
    }


def _say_settled(chosen: list[Charge], verdict: Resolution) -> None:
    if not chosen:
        say("nothing is unknown: nothing was settled")
        return
    is_free = verdict == "not_charged"
    again = "; the next run sends again what has no picture yet" if is_free else ""
    say(f"{len(chosen):,} settled as {'not ' if is_free else ''}charged{again}")
    tasks = [each for each in chosen if each.task]
    if tasks and is_free:
        say(f"{len(tasks)} of them had a task on file: it will not be polled any more")
