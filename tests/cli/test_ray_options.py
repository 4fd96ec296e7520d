"""`--ray` and `--workers`: what is refused before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retouch.cli.ray_options import DEFAULT_WORKERS, workers_of
from retouch.cluster.ray import Hidden, shards_for, started
from retouch.errors import InputRefused, Refused
from tests.e2e.house import CANARY, house


@pytest.mark.parametrize(
    ("address", "said", "shard"),
    [(None, 4, None), ("", 0, None), ("", 1001, None), ("auto", 2, "1/4")],
)
def test_what_makes_no_sense_together_is_refused(
    address: str | None, said: int | None, shard: str | None
) -> None:
    with pytest.raises(InputRefused, match="--"):
        workers_of(address, said, shard)


def test_without_ray_there_are_no_workers_and_with_it_some() -> None:
    assert workers_of(None, None, "1/4") == 0
    assert workers_of("", None, None) == DEFAULT_WORKERS
    assert workers_of("10.0.0.5:6379", 64, None) == 64


@pytest.mark.parametrize(
    ("workers", "there", "shards"), [(2, [], 8), (2, [8, 8], 8), (16, [8], 64), (2, [3, 12], 12)]
)
def test_an_earlier_runs_parts_are_gone_on_with_if_they_are_enough(
    workers: int, there: list[int], shards: int
) -> None:
    assert shards_for(workers, there) == shards


def test_what_is_hidden_shows_in_no_text() -> None:
    hidden = Hidden({"OPENAI_API_KEY": CANARY})
    assert CANARY not in f"{hidden!r} {hidden} {[hidden]}"
    assert hidden.reveal() == {"OPENAI_API_KEY": CANARY}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:999999", "a..example:6379"])
def test_an_address_where_nobody_listens_is_said_at_once(address: str) -> None:
    with pytest.raises(Refused, match=f"no Ray cluster at {address}: "), started(address, 2):
        pass


def test_without_the_extra_one_message_says_how_to_have_it(tmp_path: Path) -> None:
    """Ray cannot be imported: exit 4, nothing sent, no traceback."""
    (tmp_path / "ray.py").write_text("raise ImportError('no', name='ray')\n")
    with house(tmp_path) as place:
        place.pictures(1)
        place.manifest("  - {model: gemini-2.5-flash-image}")
        words = [sys.executable, "-m", "retouch", "run", "manifest.yaml", "--ray", "--workers", "2"]
        process: subprocess.Popen[str] = place.start_program(words, {"PYTHONPATH": str(tmp_path)})
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 4
        assert "make setup EXTRAS=ray" in errors
        assert "Traceback" not in errors
        assert not place.book
        assert not list(place.outputs.glob("ledger*"))
