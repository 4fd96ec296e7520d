"""Which shard one is, and which Jobs are its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.cluster import Shard, shard_of
from retouch.cluster.shards import MOST, nth
from retouch.errors import InputRefused
from retouch.storage.part import Part, part_of

KEYS = st.binary(min_size=4, max_size=4).map(lambda seed: hashlib.sha256(seed).hexdigest())


def slurm(
    index: int, first: int, last: int, *, step: int = 1, count: int | None = None
) -> dict[str, str]:
    """The environment of one task of `sbatch --array=first-last:step`."""
    tasks = len(range(first, last + 1, step)) if count is None else count
    return {
        "SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_MAX": str(last), "SLURM_ARRAY_TASK_COUNT": str(tasks),
        "SLURM_ARRAY_TASK_STEP": str(step), "SLURM_JOB_ID": "77",
    }  # fmt: skip


@given(KEYS, st.integers(1, MOST))
def test_every_job_is_one_shards_and_no_others(key: str, count: int) -> None:
    """Whatever N is, exactly one of its shards owns a Key."""
    near = int(key[:15], 16) % count + 1
    tried = {1, count, near, max(1, near - 1), min(count, near + 1)}
    assert [index for index in sorted(tried) if Shard(index, count).owns(key)] == [near]


def test_the_shard_of_a_key_stays_what_it_is() -> None:
    """Ledgers lie on disks: a Key must never come to fall into another shard."""
    key = "00000000000000a" + "f" * 49
    assert [n for n in range(1, 8) if Shard(n, 7).owns(key)] == [10 % 7 + 1]
    assert Shard(3, 4).owns("ffffffffffffffe" + "0" * 49)


def test_shards_are_alike_in_size() -> None:
    """Of two thousand Keys each of four has about a quarter."""
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]
    sizes = Counter(next(n for n in range(1, 5) if Shard(n, 4).owns(key)) for key in keys)
    assert sum(sizes.values()) == 2000
    assert all(430 < size < 570 for size in sizes.values())


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_shares_of_whole_things_add_up(limit: int, count: int) -> None:
    """Neither lost nor made."""
    assert sum(nth(limit, Shard(index, count)) for index in range(1, count + 1)) == limit


@pytest.mark.parametrize(
    ("said", "shard"), [("1/1", Shard(1, 1)), ("2/4", Shard(2, 4)), ("4/4", Shard(4, 4))]
)
def test_a_shard_is_written_from_one(said: str, shard: Shard) -> None:
    """I/N as people count."""
    assert shard_of(said, {}) == shard
    assert shard.said == said


@pytest.mark.parametrize(
    "said", ["0/4", "5/4", "1/0", "1", "/4", "1/", "a/b", "-1/4", "1/4/2", "1 / 4", "١/4", "auto/0",
             "", "auto/x", f"1/{MOST + 1}"]
)  # fmt: skip
def test_what_names_no_shard_is_refused(said: str) -> None:
    """With what to write instead, and whatever the scheduler says."""
    with pytest.raises(InputRefused) as told:
        shard_of(said, slurm(1, 1, 4) if "auto" not in said else {"JOB_COMPLETION_INDEX": "0"})
    assert "--shard" in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize(("first", "last", "step"), [(0, 3, 1), (1, 4, 1), (1, 7, 2), (0, 30, 10)])
def test_each_task_of_a_slurm_array_is_another_shard(first: int, last: int, step: int) -> None:
    """Arrays begin at 0 or at 1, and may go in steps: the shards are 1 to N all the same."""
    found = [
        shard_of("auto", slurm(index, first, last, step=step))
        for index in range(first, last + 1, step)
    ]
    assert found == [Shard(number, 4) for number in range(1, 5)]


@pytest.mark.parametrize(
    "environment",
    [
        slurm(3, 3, 3),  # `--array=3`: one of four, sent in again
        slurm(2, 2, 3),  # a part of an array
        slurm(5, 1, 9, count=3),  # `--array=1,5,9`
        {"SLURM_ARRAY_TASK_ID": "2"},
        slurm(2, 1, 4) | {"SLURM_ARRAY_TASK_COUNT": "four"},
        slurm(2, 1, 4) | {"JOB_COMPLETION_INDEX": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1"},
        {"JOB_COMPLETION_INDEX": "1"},
        {"JOB_COMPLETION_INDEX": ""},
        {},
    ],
)
def test_auto_is_refused_where_the_scheduler_does_not_tell(environment: dict[str, str]) -> None:
    """A guess would do another shard's work at the same time."""
    with pytest.raises(InputRefused, match="--shard auto") as told:
        shard_of("auto", environment)
    assert told.value.hint


def test_auto_of_a_number_must_be_the_arrays() -> None:
    """`auto/4` in an array of three is a mistake that leaves a quarter of the work undone."""
    assert shard_of("auto/4", slurm(4, 1, 4)) == Shard(4, 4)
    with pytest.raises(InputRefused, match="are not 4"):
        shard_of("auto/4", slurm(3, 1, 3))


def test_kubernetes_counts_from_zero_and_is_told_of_how_many() -> None:
    """The last index of four is 3; 4 is one too many."""
    assert shard_of("auto/4", {"JOB_COMPLETION_INDEX": "0"}) == Shard(1, 4)
    assert shard_of("auto/4", {"JOB_COMPLETION_INDEX": "3"}) == Shard(4, 4)
    with pytest.raises(InputRefused, match="counted from 1 to 4"):
        shard_of("auto/4", {"JOB_COMPLETION_INDEX": "4"})


@given(st.integers(1, 9999).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count))))
def test_a_ledgers_name_tells_whose_it_is(place: tuple[int, int]) -> None:
    """There and back, without padding."""
    index, count = place
    path = Shard(index, count).ledger(Path("outputs/cats"))
    assert path.name == f"ledger.{index}-of-{count}.jsonl"
    assert part_of(path) == Part(count, index)


@pytest.mark.parametrize(
    "name", ["ledger.0-of-3.jsonl", "ledger.4-of-3.jsonl", "ledger.01-of-3.jsonl",
             "ledger.1-of-3.jsonl.head", "ledger-1.jsonl", "ledger.1-of-3.bak.jsonl", "x.jsonl"]
)  # fmt: skip
def test_other_files_are_no_parts(name: str) -> None:
    """Copies and leftovers are not read as shards."""
    assert part_of(Path(name)) is None
