"""The live view over a ledger in parts, those that begin while one looks on among them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from retouch.ledger.records import AnyRecord, RunEnds
from retouch.review import live
from retouch.review.gallery import NOTHING_KNOWN
from retouch.review.live import Following
from retouch.storage.part import WHOLE
from tests.support.ledgers import FIRST, begins, done, key_of, stamp, started, write


def test_parts_are_followed_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job begun in one part and ended in a later one is one job, done; a run goes on for as long
    as any part's has no end."""
    monkeypatch.setattr(live, "READ_EVERY_SECONDS", 0.0)
    end = RunEnds(outcome="finished", counts={}, cost={}, at=stamp(FIRST + timedelta(hours=2)))
    one: list[AnyRecord] = [begins(), started(1), started(2), done(2)]
    write(tmp_path / "ledger.1-of-2.jsonl", one)
    following = Following(tmp_path / WHOLE.ledger, NOTHING_KNOWN, 3)
    following.refresh()
    assert following.progress().outcomes == {"sent": 1, "done": 1}
    later = FIRST + timedelta(hours=1)
    other: list[AnyRecord] = [replace(begins(), at=stamp(later)), done(1, "0.5", later)]
    write(tmp_path / WHOLE.ledger, other)
    following.refresh()
    progress = following.progress()
    assert progress.outcomes == {"done": 2}
    assert progress.is_running
    assert len(following.gallery.shown(key_of(1)).files) == 1  # type: ignore[union-attr]
    following.gallery.close()
    write(tmp_path / WHOLE.ledger, [*other, end])
    following = Following(tmp_path / WHOLE.ledger, NOTHING_KNOWN, 3)
    following.refresh()
    assert not following.progress().is_running  # of the shard that a run of the whole went on from
    following.gallery.close()
