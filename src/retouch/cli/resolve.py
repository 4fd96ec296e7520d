"""`retouch resolve`: lists what may have been charged, and settles it: the user knows better."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import anyio
from rich.table import Table
from rich.text import Text

from retouch.cli.amounts import amount_of
from retouch.cli.saying import json_text, say
from retouch.cli.screen import stdout_console
from retouch.cli.workspace import Workspace, add_manifest, open_workspace
from retouch.errors import InputRefused
from retouch.ledger import Reader, open_ledger
from retouch.lock import exclusive
from retouch.money import Money, exact
from retouch.record import AmountRecord, AnyRecord, Resolved
from retouch.report.pending import Pending, Unsettled
from retouch.text import one_clean_line

NAME = "resolve"
HELP = "list what may have been charged without an answer, and settle it"
_KEY_PART = 6  # digits of a key that name it, where no other begins alike


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch resolve`."""
    add_manifest(parser)
    parser.add_argument("keys", metavar="KEY", nargs="*", help="jobs to settle, by their key")
    parser.add_argument("--all", action="store_true", help="settle all that is unknown")
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument("--charged", action="store_true", help="it was charged: not sent again")
    verdict.add_argument(
        "--not-charged", action="store_true", help="it was not: the next run sends it again"
    )
    parser.add_argument(
        "--amount", metavar="A", help="what each was charged (default: unknown up to its ceiling)"
    )
    parser.add_argument("--note", metavar="TEXT", default="", help="kept in the ledger")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """List what is unknown, or settle it; 0."""
    _check(arguments)
    workspace = open_workspace(arguments)
    if not (arguments.charged or arguments.not_charged):
        unsettled = list(_pending(workspace).unsettled())
        _tell(unsettled, as_json=arguments.json)
        return 0
    if not workspace.ledger.exists():
        raise InputRefused(f"{workspace.ledger}: there is no ledger yet")
    with exclusive(workspace.folder):
        # Read under the lock: what is chosen is what is settled.
        chosen = _chosen(list(_pending(workspace).unsettled()), arguments)
        records = [_resolved(each, arguments) for each in chosen]
        anyio.run(append_resolved, workspace.ledger, records)
    _say_settled(chosen, arguments)
    return 0


async def append_resolved(path: Path, records: list[Resolved]) -> None:
    """Append `resolved` records to a ledger; the caller holds its folder's lock."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    async with open_ledger(path, run_id, say=say) as ledger:
        if records:
            await ledger.append(*records)


def _check(arguments: argparse.Namespace) -> None:
    """Raises InputRefused for flags that do not go together."""
    settles = arguments.charged or arguments.not_charged
    if settles and not (arguments.all or arguments.keys):
        raise InputRefused("resolve: say which: --all, or jobs by their KEY")
    if settles and arguments.all and arguments.keys:
        raise InputRefused("resolve: either --all or KEYs, not both")
    if not settles and (arguments.all or arguments.keys or arguments.amount or arguments.note):
        raise InputRefused("resolve: say what is known: --charged or --not-charged")
    if arguments.amount is not None and not arguments.charged:
        raise InputRefused("--amount goes with --charged")


def _pending(workspace: Workspace) -> Pending:
    pending = Pending()
    records: Iterable[AnyRecord] = Reader(workspace.ledger)
    for record in records:
        pending.apply(record)
    return pending


def _chosen(unsettled: list[Unsettled], arguments: argparse.Namespace) -> list[Unsettled]:
    """What the user named. Raises InputRefused for a key that names none, or several jobs."""
    if arguments.all:
        return unsettled
    chosen: dict[tuple[str, int], Unsettled] = {}
    for word in arguments.keys:
        found = [each for each in unsettled if each.key.startswith(word)]
        if not found or len(word) < _KEY_PART:
            raise InputRefused(
                f"resolve {one_clean_line(word, 80)}: no unknown job has this key",
                hint="`retouch resolve MANIFEST` lists them",
            )
        if len({each.key for each in found}) > 1:
            raise InputRefused(f"resolve {word}: several keys begin so; write more digits")
        chosen |= {(each.key, each.attempt): each for each in found}
    return list(chosen.values())


def _resolved(each: Unsettled, arguments: argparse.Namespace) -> Resolved:
    return Resolved(
        key=each.key,
        attempt=each.attempt,
        verdict="charged" if arguments.charged else "not_charged",
        amount=_amount(each, arguments.amount),
        note=one_clean_line(arguments.note),
    )


def _amount(each: Unsettled, said: str | None) -> AmountRecord | None:
    """`0.28` or `0.28CNY`, in the currency of the ceiling."""
    if said is None:
        return None
    amount, currency = amount_of("--amount", said)
    ceiling = each.ceiling
    if ceiling is not None and currency not in ("", ceiling.currency):
        raise InputRefused(f"--amount {said}: {each.model} is charged in {ceiling.currency}")
    if ceiling is None and not currency:
        raise InputRefused(f"--amount {said}: {each.model} has no price: add the currency")
    money = Money(amount, currency or (ceiling.currency if ceiling else ""))
    if ceiling is not None and money.amount > ceiling.amount:
        say(f"{each.key[:12]}: {money} is more than the ceiling of {ceiling}")
    return AmountRecord(amount=exact(money.amount), currency=money.currency)


def _tell(unsettled: list[Unsettled], *, as_json: bool) -> None:
    if as_json:
        print(json_text([_plain(each) for each in unsettled]))
        return
    if not unsettled:
        print("nothing is unknown")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ["key", "sent (UTC)", "model", "source", "prompt", "up to"]
    names += ["task"] if any(each.task for each in unsettled) else []
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name in ("key", "sent (UTC)", "up to"))
    for each in unsettled:
        ceiling = str(each.ceiling) if each.ceiling else "unpriced"
        when = each.at[:19].replace("T", " ")
        words = (each.key[:12], when, each.model, each.source, each.prompt, ceiling, each.task)
        cells = (Text(one_clean_line(word or "-", 80)) for word in words[: len(names)])
        table.add_row(*cells)
    stdout_console().print(table)
    say(
        f"{len(unsettled)} may have been charged: settle with --charged or --not-charged and "
        "--all or KEYs; `retouch reconcile` finds out from a bill"
    )


def _plain(each: Unsettled) -> dict[str, object]:
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


def _say_settled(chosen: list[Unsettled], arguments: argparse.Namespace) -> None:
    sent_again = "not charged; the next run sends them again"
    say(f"{len(chosen)} settled as {'charged' if arguments.charged else sent_again}")
    tasks = [each for each in chosen if each.task]
    if tasks and arguments.not_charged:
        say(f"{len(tasks)} of them had a task on file: it will not be polled any more")
