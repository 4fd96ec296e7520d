"""Memory leased to what is in flight: never over the cap, first come first served, never stuck."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.engine.memory import Memory, bytes_to_send
from retouch.job import Job, Picture, Prompt, Source
from retouch.storage.gathered import Part
from tests.support.virtual import run_in_virtual_time

CAP = 100


def no_part() -> Part:
    raise AssertionError("no file was wanted")


@dataclass(frozen=True)
class Errand:
    """A Job as memory sees it: what it sends, what its reply brings, how long that takes, and when
    it is given up, if it is."""

    to_send: int
    reply: int
    seconds: float
    patience: float | None


errands = st.lists(
    st.builds(
        Errand,
        st.integers(0, 250),
        st.integers(0, 150),
        st.floats(0, 5),
        st.none() | st.floats(0, 20),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(errands=errands, seed=st.integers(0, 3))
def test_the_cap_is_kept_nobody_is_passed_and_all_end(errands: list[Errand], seed: int) -> None:
    """One that is larger than the cap goes alone; one that gave up waiting leaves no trace."""
    memory, granted, given_up = Memory(CAP), [], set()
    held: dict[int, int] = {}  # what each has leased and not sent yet

    async def one(number: int, errand: Errand) -> None:
        await anyio.sleep(number / 1000)  # the order they ask in
        with anyio.move_on_after(1e6 if errand.patience is None else errand.patience) as scope:
            async with memory.lease(errand.to_send, no_part) as room:
                if errand.to_send:
                    granted.append((anyio.current_time(), number))
                held[number] = errand.to_send
                try:
                    assert memory.used_bytes <= max(CAP, *held.values())
                    await anyio.sleep(errand.seconds)
                    room.sent()
                    held[number] = 0
                    before = memory.used_bytes
                    taken = room.take(errand.reply)
                    assert taken == (before + errand.reply <= CAP)
                    await anyio.sleep(errand.seconds)
                finally:
                    del held[number]
        if scope.cancelled_caught:
            given_up.add(number)

    async def main() -> None:
        with anyio.fail_after(1000):
            async with anyio.create_task_group() as group:
                for number, errand in enumerate(errands):
                    group.start_soon(one, number, errand)

    run_in_virtual_time(main, seed)
    in_order = [number for _, number in sorted(granted)]  # at one moment, in any order
    assert in_order == sorted(in_order)
    waited_for = {number for number, errand in enumerate(errands) if errand.to_send}
    assert waited_for - set(in_order) <= given_up
    assert memory.used_bytes == 0


def test_a_large_one_is_not_starved_by_small_ones() -> None:
    """They come without end; those that come after it wait behind it."""
    memory, ended = Memory(CAP), []

    async def small(number: int) -> None:
        await anyio.sleep(number * 0.5)
        async with memory.lease(40, no_part):
            await anyio.sleep(2)
        ended.append(number)

    async def large() -> None:
        await anyio.sleep(1.1)
        async with memory.lease(CAP, no_part):
            ended.append(-1)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(large)
            for number in range(50):
                group.start_soon(small, number)

    run_in_virtual_time(main, 1)
    assert ended.index(-1) <= 3


def test_what_is_granted_to_one_that_just_gave_up_goes_to_the_next() -> None:
    """Memory comes free at the very moment at which the first in the queue is cancelled."""
    memory, ended = Memory(CAP), []
    scopes: dict[int, anyio.CancelScope] = {}

    async def one(number: int) -> None:
        with anyio.CancelScope() as scopes[number]:
            async with memory.lease(CAP, no_part):
                ended.append(number)

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group, memory.lease(CAP, no_part) as room:
                group.start_soon(one, 1)
                await anyio.sleep(1)
                group.start_soon(one, 2)
                await anyio.sleep(1)
                scopes[1].cancel()
                room.sent()

    run_in_virtual_time(main, 1)
    assert ended == [2]
    assert memory.used_bytes == 0


def test_what_a_job_sends_is_its_files_and_the_pixels_of_what_is_made_anew() -> None:
    """A URL takes nothing; a picture that is sent twice is read once."""
    plain = Picture("sha256:1", file="a.jpg", bytes=1000, width=10, height=10)
    turned = Picture(
        "sha256:2", file="b.jpg", bytes=500, width=10, height=20, transforms=("orient",)
    )
    link = Picture("url:x", url="https://x/y.png")
    source = Source("a.jpg", plain, images=(plain, turned, link))
    assert bytes_to_send(Job("m", Prompt("p", "x"), source)) == 1000 + 500 + 10 * 20 * 8
