"""What is written about a Job: every count under its own name, every text fit to be kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from retouch.dialects.base import Billed, Usage
from retouch.engine.recorder import Paid, Recorder, source_of, usage_record
from retouch.job import Job
from retouch.ledger import Reader, open_ledger
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    CostRecord,
    Done,
    ErrorRecord,
    Failed,
    Unknown,
    Unsent,
    UsageRecord,
)
from retouch.money import Money
from tests.support.ledgers import file_of
from tests.support.workbench import CANARY, GEMINI, filed, lane

pytestmark = pytest.mark.anyio
CEILING = Money(Decimal("0.6"), "CNY")
COUNTS: dict[str, Any] = {
    each.name: number for number, each in enumerate(fields(Usage), 1) if each.name != "stated"
}
COUNTED = Usage(**COUNTS)
COST = CostRecord(amount="0.200000", currency="CNY", basis="images", price="p")
LEAST = AmountRecord(amount="0.100000", currency="CNY")
PAID = Paid(UsageRecord(images=1), COST, LEAST)
DIRTY = ErrorRecord(
    kind="network",
    status=500,
    code=f"code {CANARY}",
    message=f"no\nway: {CANARY} at https://e.com/a?token=sig",
)


def test_every_count_of_a_server_stands_under_its_own_name() -> None:
    """None is lost, and none takes another's place; what it says it charged is kept exactly."""
    stated = Money(Decimal("0.05"), "USD")
    written = usage_record(replace(COUNTED, stated=stated))
    assert written is not None
    told = msgspec.structs.asdict(written)
    assert told.pop("stated") == AmountRecord(amount="0.050000", currency="USD")
    assert told == {name: each for name, each in asdict(COUNTED).items() if name != "stated"}


@pytest.mark.parametrize("nothing", [None, Usage()])
def test_where_nothing_was_counted_nothing_is_written(nothing: Usage | None) -> None:
    """No row of nulls stands for a count."""
    assert usage_record(nothing) is None
    assert usage_record(Usage(images=0)) == UsageRecord(images=0)


def test_the_source_of_a_job_is_its_bytes_and_its_lane(tmp_path: Path) -> None:
    """A file by its digest and size; of a URL nothing; a lane where it has a name of its own."""
    [linked] = lane(GEMINI, 1).all_jobs
    nothing = {"source_sha256": None, "source_bytes": None, "lane": None}
    assert source_of(linked) == nothing
    assert source_of(replace(linked, lane="studio")) == nothing | {"lane": "studio"}
    picture = filed(tmp_path)
    [job] = lane(GEMINI, 1, file=picture).all_jobs
    digest = picture.digest.removeprefix("sha256:")
    assert source_of(job) == {"source_sha256": digest, "source_bytes": picture.bytes, "lane": None}


async def written(folder: Path, write: Callable[[Recorder], Awaitable[None]]) -> AnyRecord:
    """The Record of what is written about a Job, as a reader of the ledger finds it."""
    [job] = lane(GEMINI, 1).all_jobs
    async with open_ledger(folder / "ledger.jsonl", "run-1") as ledger:
        await write(Recorder(job, ledger, CEILING, (CANARY,)))
    [record] = Reader(folder / "ledger.jsonl")
    return record


def the_job() -> Job:
    [job] = lane(GEMINI, 1).all_jobs
    return job


@pytest.mark.parametrize("kind", [Unsent, Unknown, Failed])
async def test_no_key_no_signature_and_no_line_end_is_written(
    in_memory: Path, kind: type[AnyRecord]
) -> None:
    """Whatever a server says, in its words or its code."""
    ways: dict[type[AnyRecord], Callable[[Recorder], Awaitable[None]]] = {
        Unsent: lambda log: log.unsent(2, DIRTY),
        Unknown: lambda log: log.unknown(2, DIRTY, "task-1"),
        Failed: lambda log: log.failed(2, DIRTY),
    }
    record = await written(in_memory, ways[kind])
    assert isinstance(record, Unsent | Unknown | Failed)
    assert (record.key, record.attempt) == (the_job().key, 2)
    error = record.error
    assert (error.kind, error.status) == ("network", 500)
    for text in (error.message, error.code or ""):
        assert text
        assert CANARY not in text
        assert "sig" not in text
        assert "\n" not in text
    assert "no way" in error.message
    assert (error.code or "").startswith("code ")


async def test_an_error_without_a_code_has_none(in_memory: Path) -> None:
    """Not an empty one."""
    plain = ErrorRecord(kind="content", message="no")
    record = await written(in_memory, lambda log: log.unsent(1, plain))
    assert isinstance(record, Unsent)
    assert record.error == plain


async def test_what_is_done_says_all_that_was_paid_for_it(in_memory: Path) -> None:
    """Its files, its cost and the least of it, how long it took to the millisecond, its Task, and
    warnings without secrets."""
    record = await written(
        in_memory,
        lambda log: log.done(
            3,
            PAID,
            (file_of(1),),
            seconds=1.23456,
            task="task-1",
            warnings=(f"said {CANARY}",),
        ),
    )
    assert isinstance(record, Done)
    assert (record.attempt, record.task, record.files) == (3, "task-1", (file_of(1),))
    assert (record.usage, record.cost, record.least) == (PAID.usage, COST, LEAST)
    assert record.seconds == 1.235
    [warning] = record.warnings
    assert warning.startswith("said ")
    assert CANARY not in warning


@pytest.mark.parametrize("billed", ["no", "yes", "unknown"])
async def test_a_failure_holds_its_ceiling_unless_it_was_free(
    in_memory: Path, billed: Billed
) -> None:
    """What may have been charged is written with the most it may be; with its usage, cost, least
    and Task, and whether it is final."""
    record = await written(
        in_memory,
        lambda log: log.failed(1, DIRTY, billed=billed, final=False, paid=PAID, task="t"),
    )
    assert isinstance(record, Failed)
    held = None if billed == "no" else AmountRecord(amount="0.600000", currency="CNY")
    assert (record.billed, record.ceiling, record.final, record.task) == (billed, held, False, "t")
    assert (record.usage, record.cost, record.least) == (PAID.usage, COST, LEAST)


async def test_a_failure_is_final_and_free_unless_it_is_said_otherwise(in_memory: Path) -> None:
    """As most are."""
    record = await written(in_memory, lambda log: log.failed(1, DIRTY))
    assert isinstance(record, Failed)
    assert (record.billed, record.ceiling, record.final) == ("no", None, True)


async def test_what_is_unknown_holds_its_ceiling_and_its_task(in_memory: Path) -> None:
    """So that it can be polled on, and budgets count it in full."""
    record = await written(in_memory, lambda log: log.unknown(1, DIRTY, "task-1"))
    assert isinstance(record, Unknown)
    assert record.task == "task-1"
    assert record.ceiling == AmountRecord(amount="0.600000", currency="CNY")
