"""What the next Jobs find without a thread: small sources as they were planned, for a moment."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retouch.engine.memory import READY_SECONDS, RECENT_BYTES, RECENT_EACH_BYTES, Recent
from retouch.job import Picture
from retouch.manifest import Limits
from retouch.pictures import payload
from tests.support.provider import Provider
from tests.support.virtual import run_in_virtual_time
from tests.support.workbench import GEMINI, Bench, filed, lane

sizes = st.integers(0, RECENT_EACH_BYTES + 2) | st.sampled_from(
    [1, RECENT_EACH_BYTES, RECENT_EACH_BYTES + 1]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes, max_size=14))
@example([RECENT_EACH_BYTES] * (RECENT_BYTES // RECENT_EACH_BYTES + 3))
def test_no_more_is_kept_than_the_cap_and_what_is_found_is_what_was_read(given: list[int]) -> None:
    """Whatever is read in whatever order; the newest stays, a large one is not kept."""

    async def main() -> None:
        recent = Recent()
        read: dict[Picture, bytes] = {}
        for number, size in enumerate(given):
            picture, data = Picture(f"sha256:{number}"), bytes(size)
            read[picture] = data
            recent.note({picture: data}, "a", anyio.current_time())
            found = recent.all_of([picture], "a")
            assert found == ({picture: data} if size <= RECENT_EACH_BYTES else None)
        kept = [found for each in read if (found := recent.all_of([each], "a"))]
        assert all(data is read[picture] for found in kept for picture, data in found.items())
        assert sum(len(data) for found in kept for data in found.values()) <= RECENT_BYTES

    run_in_virtual_time(main, seed=0)


def test_nothing_is_found_for_a_folder_that_was_not_ready_just_now() -> None:
    """Another folder, or the same a moment later: it is looked at again before anything is paid
    for. So is that of a Job that sends no file."""

    async def main() -> None:
        recent, picture = Recent(), Picture("sha256:1")
        assert recent.all_of([], "a") is None
        recent.note({picture: b"x"}, "a", anyio.current_time())
        assert recent.all_of([picture], "b") is None
        await anyio.sleep(READY_SECONDS * 0.9)
        assert recent.all_of([picture], "a") == {picture: b"x"}
        assert recent.all_of([], "a") == {}
        await anyio.sleep(READY_SECONDS * 0.2)
        assert recent.all_of([picture], "a") is None
        recent.note({}, "a", anyio.current_time())
        assert recent.all_of([picture], "a") == {picture: b"x"}

    run_in_virtual_time(main, seed=0)


def test_a_picture_that_is_sent_otherwise_is_another() -> None:
    """The same file turned upright, or another part of one file, is read for itself."""

    async def main() -> None:
        recent = Recent()
        plain = Picture("sha256:1", file="/a", span=(0, 1))
        recent.note({plain: b"x"}, "a", anyio.current_time())
        for other in (
            Picture("sha256:1", file="/a", span=(0, 1), transforms=("orient",)),
            Picture("sha256:2", file="/a", span=(0, 1)),
            Picture("sha256:1", file="/a", span=(1, 1)),
        ):
            assert recent.all_of([other], "a") is None

    run_in_virtual_time(main, seed=0)


@pytest.mark.anyio
@pytest.mark.virtual_time
async def test_the_jobs_of_a_source_read_it_once(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, and each sends what was planned."""
    read: list[Picture] = []

    def counting(picture: Picture, read_object: object) -> bytes:
        read.append(picture)
        return payload(picture, read_object)  # type: ignore[arg-type]

    monkeypatch.setattr("retouch.engine.sending.payload", counting)
    made = lane(GEMINI, 6, limits=Limits(concurrency=1), file=filed(in_memory))
    provider = Provider(seconds=0.01)
    summary = await Bench(in_memory, provider).run([made])
    assert summary.ended["done"] == 6
    assert len(read) == 1
