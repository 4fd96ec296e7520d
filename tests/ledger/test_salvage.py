"""What is kept of a damaged ledger: its good beginning, and every Attempt that follows is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from retouch.errors import LedgerDamaged
from retouch.ledger.head import Head, write_head
from retouch.ledger.reading import Reader
from retouch.ledger.records import AmountRecord, AnyRecord, TaskAccepted, Unknown
from retouch.ledger.salvage import SALVAGED, Salvage, salvage
from tests.support.ledgers import CEILING, begins, done, failed, key_of, started, unknown, write

LARGE = AmountRecord(amount="0.900000", currency="CNY")
TASK = TaskAccepted(key=key_of(1), attempt=1, task="t-1")


def damaged(path: Path, before: Sequence[AnyRecord], after: Sequence[AnyRecord | bytes]) -> Path:
    """A ledger whose line after those of `before` is no record; then come those of `after`."""
    write(path, before)
    with path.open("ab") as file:
        file.write(b"{}\n")
        for each in after:
            line = each if isinstance(each, bytes) else msgspec.json.encode(each)
            file.write(line + b"\n")
    return path


def salvaged(path: Path) -> Salvage:
    found = salvage(path)
    assert found is not None
    return found


def the_one(found: Salvage) -> Unknown:
    (held,) = found.held
    assert held.error.code == SALVAGED
    assert held.error.kind == "broken_reply"
    assert held.error.message == "named after the damage of a ledger that was salvaged"
    return held


def test_a_good_ledger_is_left_alone(tmp_path: Path) -> None:
    """Also one that is not there."""
    assert salvage(write(tmp_path / "ledger.jsonl", [begins(), started(1), done(1)])) is None
    assert salvage(tmp_path / "none.jsonl") is None


def test_the_good_beginning_ends_where_reading_stops(tmp_path: Path) -> None:
    """Its lines and bytes, and the damage in the words of the reader."""
    path = damaged(tmp_path / "ledger.jsonl", [begins(), started(1), done(1)], [])
    reader = Reader(path)
    with pytest.raises(LedgerDamaged) as told:
        list(reader)
    found = salvaged(path)
    assert found.end == reader.end
    assert (found.end.lines, found.damage) == (3, told.value.message)
    assert (found.held, found.tasks, found.lost_lines) == ((), (), 1)


def test_what_a_newer_retouch_wrote_is_no_damage(tmp_path: Path) -> None:
    """Nothing is cut off that another version can read."""
    path = write(tmp_path / "ledger.jsonl", [begins()])
    with path.open("ab") as file:
        file.write(b'{"event":"started","v":2}\n')
    with pytest.raises(LedgerDamaged, match="newer retouch"):
        salvage(path)


@pytest.mark.parametrize(
    ("after", "ceiling"),
    [
        ([started(1, ceiling=LARGE)], LARGE),
        ([started(1, ceiling=None)], None),
        ([started(1), unknown(1, ceiling=LARGE)], LARGE),
        ([started(1), failed(1, "yes", ceiling=LARGE)], LARGE),
        ([started(1), done(1)], AmountRecord(amount="0.2715321", currency="CNY")),
        ([started(1), done(1, cost=None)], None),
        ([started(1), TASK], CEILING),
    ],
)
def test_what_came_after_is_held_up_to_what_it_may_have_cost(
    tmp_path: Path, after: Sequence[AnyRecord | bytes], ceiling: AmountRecord | None
) -> None:
    """One Attempt however often it is named, by what its last readable line says."""
    found = salvaged(damaged(tmp_path / "ledger.jsonl", [begins()], after))
    held = the_one(found)
    assert (held.key, held.attempt, held.ceiling) == (key_of(1), 1, ceiling)
    assert (held.model, held.prompt, held.source) == (
        started(1).model, started(1).prompt, started(1).source,
    )  # fmt: skip
    assert found.tasks == ((TASK,) if TASK in after else ())
    assert held.task == (TASK.task if TASK in after else None)
    assert found.lost_lines == 1


def test_a_task_is_held_under_the_number_it_was_accepted_for(tmp_path: Path) -> None:
    """What began before the damage says what it asked for and up to how much."""
    path = damaged(tmp_path / "ledger.jsonl", [started(1, ceiling=LARGE)], [TASK])
    held = the_one(salvaged(path))
    assert (held.task, held.ceiling, held.model) == ("t-1", LARGE, started(1).model)


@pytest.mark.parametrize(
    ("pieces", "attempt"),
    [
        (b'??"key":"%s","attempt":3??', 3),
        (b'??"key":"%s"??', 2),
        (b'"attempt":12 ?? "key":"%s"', 12),
    ],
)
def test_a_line_in_pieces_still_tells_whose_it_was(
    tmp_path: Path, pieces: bytes, attempt: int
) -> None:
    """Without its number, it is taken for the last Attempt that is known."""
    path = tmp_path / "ledger.jsonl"
    before = [started(1), started(1, attempt=2, ceiling=LARGE)]
    found = salvaged(damaged(path, before, [pieces % key_of(1).encode()]))
    held = the_one(found)
    assert (held.key, held.attempt, held.ceiling) == (key_of(1), attempt, LARGE)
    assert found.lost_lines == 1


def test_of_a_job_that_nothing_else_names_the_first_attempt_is_held(tmp_path: Path) -> None:
    """Nothing says what it was; a later line that does has the last word."""
    pieces = b'??"key":"%s"??' % key_of(1).encode()
    held = the_one(salvaged(damaged(tmp_path / "a.jsonl", [begins()], [pieces])))
    assert (held.attempt, held.ceiling, held.task) == (1, None, None)
    assert held.model == held.prompt == held.source == "not readable"
    held = the_one(salvaged(damaged(tmp_path / "b.jsonl", [begins()], [started(1), pieces])))
    assert (held.attempt, held.ceiling, held.model) == (1, CEILING, started(1).model)


def _cut(head: int) -> Callable[[Path], None]:
    return lambda path: write_head(path, Head(head, "0" * 16))


@pytest.mark.parametrize(("head", "lost"), [(None, 2), (1, 2), (3, 2), (7, 6)])
def test_lines_of_which_nothing_can_be_read_are_counted(
    tmp_path: Path, head: int | None, lost: int
) -> None:
    """One good line, two lost: the head knows of more where the end was cut off as well."""
    path = damaged(tmp_path / "ledger.jsonl", [begins()], [b"\0" * 80])
    if head is not None:
        _cut(head)(path)
    assert salvaged(path).lost_lines == lost


def test_a_damaged_head_counts_no_lines(tmp_path: Path) -> None:
    """The ledger itself is salvaged all the same."""
    path = damaged(tmp_path / "ledger.jsonl", [begins()], [])
    path.with_name("ledger.jsonl.head").write_bytes(b"7 x\n")
    with pytest.raises(LedgerDamaged):
        list(Reader(path))
    assert salvage(path) is not None
