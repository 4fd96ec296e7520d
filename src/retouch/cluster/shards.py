"""The i-th of N shards: which Jobs it does, and how it is told which one it is.

A Job belongs to the shard that its Key's first digits fall into, wherever the work is done and
whatever else is planned. `--shard auto` takes the number from the scheduler: Slurm sets
SLURM_ARRAY_TASK_ID, …_COUNT, …_MIN, …_MAX and …_STEP in a job array's tasks (sbatch(1)); Kubernetes
sets JOB_COMPLETION_INDEX, from 0, in an Indexed Job's pods, and not of how many (kubernetes.io,
"Indexed Job for Parallel Processing").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from retouch.dialects.base import Capabilities
from retouch.errors import InputRefused
from retouch.job import Job
from retouch.manifest import Model
from retouch.plan import Lane
from retouch.storage.part import Part
from retouch.text import one_clean_line

_DIGITS = 16  # of a Key, the last of which does not count: any N of use takes an even share
_MOST_SAMPLED = 16  # times as many of a plan's Jobs are looked at for a sample of one shard's
_WRITTEN = re.compile(r"([0-9]{1,7})/([0-9]{1,7})", re.ASCII)
_AUTO = re.compile(r"auto(?:/([0-9]{1,7}))?", re.ASCII)
MOST = 10_000
KUBERNETES, SLURM = "JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID"
HOW = (
    "write --shard 2/4, the second of four; or --shard auto in a Slurm array, auto/4 in Kubernetes"
)


def shard_owning(key: str, count: int) -> int:
    """Which of `count` shards the Job with this Key belongs to, from 1."""
    return shard_owning_digest(bytes.fromhex(key[:_DIGITS]), count)


def shard_owning_digest(digest: bytes, count: int) -> int:
    """The same, by the Key's 32 bytes."""
    return (int.from_bytes(digest[: _DIGITS // 2], "big") >> 4) % count + 1


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th (from 1) of `count` shards."""

    index: int
    count: int

    @property
    def said(self) -> str:
        """As it is written: 2/4."""
        return f"{self.index}/{self.count}"

    @property
    def part(self) -> Part:
        """What it holds of the outputs folder."""
        return Part(self.count, self.index)

    def ledger(self, folder: Path) -> Path:
        """Its ledger in an outputs folder."""
        return folder / self.part.ledger

    def owns(self, key: str) -> bool:
        """Whether the Job with this Key is its own."""
        return shard_owning(key, self.count) == self.index

    def owns_digest(self, digest: bytes) -> bool:
        """The same, by the Key's 32 bytes."""
        return shard_owning_digest(digest, self.count) == self.index


def shard_of(said: str, environment: Mapping[str, str]) -> Shard:
    """What `--shard` says: `2/4`, `auto` or `auto/4`. Raises InputRefused."""
    if (written := _WRITTEN.fullmatch(said)) is not None:
        return _checked(int(written[1]), int(written[2]), f"--shard {said}")
    auto = _AUTO.fullmatch(said)
    if auto is None:
        raise InputRefused(f"--shard {one_clean_line(said, 40)}: names no shard", hint=HOW)
    count = int(auto[1]) if auto[1] else None
    found = [name for name in (KUBERNETES, SLURM) if environment.get(name, "").strip()]
    if len(found) == 2:
        raise InputRefused(
            f"--shard {said}: both {KUBERNETES} and {SLURM} are set, and may differ", hint=HOW
        )
    if not found:
        raise InputRefused(
            f"--shard {said}: neither {SLURM} (a Slurm job array) nor {KUBERNETES} (a Kubernetes "
            "Indexed Job) is set, so nothing says which shard this is",
            hint=HOW,
        )
    if found == [KUBERNETES]:
        return _of_kubernetes(environment, count)
    return _of_slurm(environment, count)


def _of_kubernetes(environment: Mapping[str, str], count: int | None) -> Shard:
    if count is None:
        raise InputRefused(
            f"--shard auto: Kubernetes says which shard this is ({KUBERNETES}) and not of how many",
            hint="write --shard auto/N with N as in the Job's `completions`",
        )
    index = _number(environment, KUBERNETES)
    return _checked(index + 1, count, f"{KUBERNETES}={index}, which begins at 0, with auto/{count}")


def _of_slurm(environment: Mapping[str, str], count: int | None) -> Shard:
    """An array's indexes may begin at 0 or at 1, in equal steps. One that begins later is a part of
    an array that was sent in again, and tells nothing of the whole."""
    index = _number(environment, SLURM)
    tasks, first, last = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("COUNT", "MIN", "MAX")
    )
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", default=1) or 1
    said = f"the array's {tasks} indexes from {first} to {last}"
    is_regular = last - first == (tasks - 1) * step and (index - first) % step == 0
    if not is_regular or first not in (0, 1) or (tasks == 1 and first == last != 0):
        raise InputRefused(
            f"--shard auto: {said} are no whole array, so that {SLURM}={index} does not tell which "
            "shard this is",
            hint="an array begins at 0 or 1 and leaves nothing out, like --array=1-4; to do one "
            "shard again, name it: --shard 3/4",
        )
    if count is not None and count != tasks:
        raise InputRefused(f"--shard auto/{count}: {said} are not {count}", hint=HOW)
    return _checked((index - first) // step + 1, tasks, f"{SLURM}={index} of {said}")


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "").strip()
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 7):
        what = f"is {one_clean_line(text, 40)}, no number" if text else "is not set"
        raise InputRefused(f"--shard auto: {name} {what}", hint=HOW)
    return int(text)


def _checked(index: int, count: int, said: str) -> Shard:
    if not 1 <= count <= MOST:
        raise InputRefused(f"{said}: there can be 1 to {MOST:,} shards", hint=HOW)
    if not 1 <= index <= count:
        raise InputRefused(f"{said}: shards are counted from 1 to {count}", hint=HOW)
    return Shard(index, count)


@dataclass(frozen=True, eq=False)
class ShardLane:
    """The Jobs of a lane that are one shard's, of which no other is made; `model` has that one's
    share of the limits."""

    lane: Lane = field(repr=False)
    shard: Shard
    model: Model

    @cached_property
    def _own(self) -> Lane:
        return replace(self.lane, model=self.model, is_own=self.shard.owns_digest)

    @property
    def capabilities(self) -> Capabilities:
        return self.lane.capabilities

    @property
    def rejected(self) -> frozenset[str]:
        return self.lane.rejected

    @property
    def whole_count(self) -> int:
        """How many Jobs are gone through for its own: the plan's."""
        return self.lane.whole_count

    @property
    def one_in(self) -> int:
        """Of how many of those about one is its own."""
        return self.shard.count

    @cached_property
    def jobs_count(self) -> int:
        """Places that pictures are given to; the Keys of all the lane's Jobs are made once to count
        them."""
        if self.shard.count == 1:
            return self.lane.jobs_count
        return sum(1 for _ in self.jobs_but(_each)) + self.copies_count

    @cached_property
    def copies_count(self) -> int:
        """Further places among those."""
        return sum(1 for _ in self.copies())

    def jobs(self) -> Iterator[Job]:
        """Its own among the lane's Jobs, in the same order."""
        return self._own.jobs()

    def copies(self) -> Iterator[Job]:
        """Its own among the further places."""
        return self._own.copies()

    def jobs_but(self, is_passed: Callable[[bytes], bool]) -> Iterator[Job | None]:
        """`jobs`, with None in the place of each that is passed over."""
        return self._own.jobs_but(is_passed)

    def jobs_left(self, is_over: Callable[[bytes, str], bool]) -> Iterator[Job]:
        """`jobs` without those that are over."""
        return self._own.jobs_left(is_over)

    def jobs_of(self, names: Container[str]) -> Iterator[Job]:
        """Those of `jobs` whose source is so named."""
        return self._own.jobs_of(names)

    def some(self, count: int) -> Iterator[Job]:
        """About so many of `jobs`, from all over the lane; fewer of one shard of very many."""
        return self._own.some(count * min(self.shard.count, _MOST_SAMPLED))

    def asked(self, limit: int | None = None) -> Counter[tuple[int, int]]:
        """What `jobs` (or the first `limit`) ask for."""
        return self._own.asked(limit)


def _each(_: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What one shard does of a plan."""

    lanes: tuple[ShardLane, ...]

    @classmethod
    def of(cls, lanes: Sequence[Lane], shard: Shard, models: Sequence[Model]) -> ShardPlan:
        """These lanes, at the limits of `models`, which are the shard's."""
        named = {model.name: model for model in models}
        return cls(tuple(ShardLane(lane, shard, named[lane.model.name]) for lane in lanes))


def nth(limit: int, shard: Shard) -> int:
    """The shard's share of a number of things that cannot be halved; the shares add up to it."""
    return limit // shard.count + (shard.index <= limit % shard.count)
