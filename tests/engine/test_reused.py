"""What another ledger has is taken over, free, where its pictures are there and nobody asked for
new ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from retouch.ledger.decision import Redo
from tests.support.provider import Provider
from tests.support.workbench import GEMINI, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


@pytest.fixture
def provider() -> Provider:
    return Provider()


async def beside(folder: Path, provider: Provider) -> Bench:
    """A manifest that reuses the ledger of one that has done two jobs."""
    for name in ("first", "second"):
        (folder / name).mkdir()
    await Bench(folder / "first", provider).run([lane(GEMINI, 2)])
    return Bench(folder / "second", provider, reuse=("../first/ledger.jsonl",))


async def test_what_is_done_elsewhere_is_taken_over(in_memory: Path, provider: Provider) -> None:
    """Nothing is sent for it."""
    work = await beside(in_memory, provider)
    await work.run([lane(GEMINI, 2)])
    assert (len(provider.posts), work.state.counts()) == (2, Counter(reused=2))


async def test_a_key_that_is_redone_is_answered_from_no_other_ledger(
    in_memory: Path, provider: Provider
) -> None:
    """`--redo KEY` asks for a new picture: what lies elsewhere is no answer."""
    work = await beside(in_memory, provider)
    given = lane(GEMINI, 2)
    key = given.all_jobs[0].key
    await work.run([given], redo=Redo(keys=frozenset([key])))
    assert len(provider.posts) == 3
    assert work.state.outcomes[key].state == "done"
    assert work.state.counts() == Counter(done=1, reused=1)


async def test_a_ledger_whose_pictures_are_gone_is_not_believed(
    in_memory: Path, provider: Provider
) -> None:
    """What was paid for there and is gone is held, for it is not known to be wanted again; the
    other is taken over."""
    work = await beside(in_memory, provider)
    given = lane(GEMINI, 2)
    next((in_memory / "first" / "images").rglob("0-0.png")).unlink()
    summary = await work.run([given])
    assert (len(provider.posts), summary.exit_code) == (2, 1)
    assert work.state.counts() == Counter(reused=1)
    assert summary.passed["held"] == 1
    await work.run([given], redo=Redo(missing=True))
    assert (len(provider.posts), work.state.counts()) == (3, Counter(reused=1, done=1))
