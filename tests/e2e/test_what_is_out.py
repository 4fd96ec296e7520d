"""The ledger, not the manifest, says what is out; an older copy of it is noticed.

The oracle is the provider's book, in another process.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.house import House, house

SYNC = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}"
TASKS = "  - {model: kling-v2, poll: {interval: 0.2}, price: {currency: CNY, per_image: 0.20}}"


def doubled(place: House) -> int:
    """How many requests were charged more than once."""
    return sum(times - 1 for times in Counter(charge.request for charge in place.book).values())


def with_tasks_out(place: House, count: int) -> None:
    """A run that died after its tasks were accepted."""
    place.pictures(count)
    place.manifest(TASKS)
    process = place.start("run")
    out = Counter(accepted=count)
    place.wait_until(lambda: len(place.book) == count and place.state.counts() == out, process)
    process.kill()
    process.communicate()


def _reworded(place: House) -> int:
    text = (place.folder / "manifest.yaml").read_text()
    (place.folder / "manifest.yaml").write_text(text.replace("edit 0", "change 0"))
    return 3


def _without_the_model(place: House) -> int:
    place.manifest(SYNC)
    return 3


def _without_a_source(place: House) -> int:
    (place.folder / "pictures/000.png").unlink()
    return 0


@pytest.mark.parametrize("change", [_reworded, _without_the_model, _without_a_source])
def test_tasks_are_fetched_whatever_the_manifest_says_now(
    tmp_path: Path, change: Callable[[House], int]
) -> None:
    """`plan` and `status` say that they are out (exit 1), `run` fetches them, none is bought
    again."""
    with house(tmp_path, seconds=0, task_seconds=2) as place:
        with_tasks_out(place, 3)
        more = change(place)
        outside = 3 if more else 1
        for command in ("plan", "status"):
            told = place.retouch(command)
            assert told.returncode == 1, told.stderr
            noun = "task" if outside == 1 else "tasks"
            assert f"{outside} {noun} on file, which `retouch run` fetches, free" in told.stderr
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert place.state.counts() == Counter(done=3 + more)
        assert (len(place.book), doubled(place)) == (3 + more, 0)
        assert place.retouch("verify").returncode == 0
        assert place.retouch("plan").returncode == 0


def test_what_is_unknown_outside_the_plan_is_held_and_said(tmp_path: Path) -> None:
    """A source removed under a request that was never answered: exit 1 until it is settled."""
    with house(tmp_path, seconds=2) as place:
        place.pictures(2)
        place.manifest(SYNC)
        process = place.start("run")
        place.wait_until(lambda: place.posts_arrived() >= 2, process)
        process.kill()
        process.communicate()
        (tmp_path / "pictures/000.png").unlink()
        said = "open, and not in the plan any more: 1 job held, which `retouch resolve` settles"
        assert said in place.retouch("plan").stderr
        ran = place.retouch("run")
        assert ran.returncode == 1
        assert said in ran.stderr
        assert place.retouch("resolve", "--all", "--charged").returncode == 0
        assert place.retouch("status").returncode == 0


def finished(place: House, count: int) -> bytes:
    """All done; an older ledger, as a backup has it, from when a third of it was."""
    place.pictures(count)
    place.manifest(SYNC)
    assert place.retouch("run", "--limit", str(count // 3)).returncode == 0
    older = (place.outputs / "ledger.jsonl").read_bytes()
    shutil.copy(place.outputs / "ledger.jsonl.head", place.folder / "older.head")
    assert place.retouch("run").returncode == 0
    return older


@pytest.mark.parametrize("what", ["older, with its head", "older, without", "gone", "empty"])
def test_a_restored_copy_is_noticed_by_the_pictures(tmp_path: Path, what: str) -> None:
    """Jobs whose picture lies at its place unrecorded are held and said; `verify` names orphans;
    `resolve --charged` keeps the pictures; nothing is bought twice."""
    with house(tmp_path) as place:
        older = finished(place, 9)
        ledger, head = place.outputs / "ledger.jsonl", place.outputs / "ledger.jsonl.head"
        ledger.write_bytes(older)
        head.unlink()
        match what:
            case "older, with its head":
                shutil.copy(tmp_path / "older.head", head)
            case "gone":
                ledger.unlink()
            case "empty":
                ledger.write_bytes(b"")
        lost = 9 if what in ("gone", "empty") else 6
        planned = place.retouch("plan")
        assert f"{lost} jobs held: a picture lies at its place" in planned.stdout
        held = place.retouch("run")
        assert held.returncode == 1, held.stderr
        assert "Is this an older copy?" in held.stderr
        assert (len(place.book), doubled(place)) == (9, 0)
        verified = place.retouch("verify")
        assert verified.returncode == 1
        assert verified.stdout.count("orphan: images/") == lost
        assert place.retouch("resolve", "--all", "--charged").returncode == 0
        kept = place.retouch("run")
        assert kept.returncode == 0, kept.stderr
        assert place.state.counts() == Counter(done=9 - lost, reused=lost)
        assert (len(place.book), doubled(place)) == (9, 0)
        assert place.retouch("verify").returncode == 0


def test_an_older_copy_beside_the_newer_head_is_damage(tmp_path: Path) -> None:
    """The head says how many lines there were: exit 3, nothing sent."""
    with house(tmp_path) as place:
        older = finished(place, 6)
        (place.outputs / "ledger.jsonl").write_bytes(older)
        told = place.retouch("run")
        assert told.returncode == 3
        assert "is missing" in told.stderr
        assert "retouch salvage" in told.stderr
        assert len(place.book) == 6


def other(place: House) -> None:
    """Another manifest over the same pictures, which reuses the first one's ledger."""
    text = (place.folder / "manifest.yaml").read_text()
    (place.folder / "manifest.yaml").write_text(
        text + "name: other\nreuse: [outputs/manifest/ledger.jsonl]\n"
    )


def _in_flight(place: House) -> None:
    process = place.start("run")
    place.wait_until(lambda: place.posts_arrived() >= 2, process)
    process.kill()
    process.communicate()
    time.sleep(0.8)  # what has arrived is charged all the same


def _unknown(place: House) -> None:
    _in_flight(place)
    assert place.retouch("run").returncode == 1


def _resolved_as_charged(place: House) -> None:
    _unknown(place)
    assert place.retouch("resolve", "--all", "--charged").returncode == 0


def _without_pictures(place: House) -> None:
    assert place.retouch("run").returncode == 0
    shutil.rmtree(place.outputs / "images")


@pytest.mark.parametrize("state", [_in_flight, _unknown, _resolved_as_charged, _without_pictures])
def test_what_a_reused_ledger_may_have_paid_for_is_not_bought(
    tmp_path: Path, state: Callable[[House], None]
) -> None:
    """In flight, unknown, resolved as charged, or done with its picture gone: held, exit 1."""
    with house(tmp_path, seconds=0.5) as place:
        place.pictures(2)
        place.manifest(SYNC)
        state(place)
        other(place)
        before = len(place.book)
        planned = json.loads(place.retouch("plan", "--json").stdout)["lanes"][0]
        assert (planned["held"], planned["to_send"]) == (2, 0)
        held = place.retouch("run")
        assert held.returncode == 1, held.stderr
        assert "2 jobs held: a ledger that `reuse` names has the work" in held.stderr
        assert (len(place.book), doubled(place)) == (before, 0)


def test_tasks_on_file_in_a_reused_ledger_are_not_bought(tmp_path: Path) -> None:
    """They are the other manifest's to fetch; afterwards their pictures are taken over."""
    with house(tmp_path, seconds=0, task_seconds=1) as place:
        with_tasks_out(place, 2)
        mine = (tmp_path / "manifest.yaml").read_text()
        other(place)
        assert place.retouch("run").returncode == 1
        assert len(place.book) == 2
        (tmp_path / "manifest.yaml").write_text(mine)
        assert place.retouch("run").returncode == 0
        other(place)
        assert place.retouch("run").returncode == 0
        assert len(place.book) == 2


def at_the_fallback(place: House, base_url: str, fallback: str = "") -> None:
    """A manifest of tasks with another endpoint before the provider."""
    place.manifest(TASKS)
    path = place.folder / "manifest.yaml"
    named = f", fallback_urls: ['{fallback}']" if fallback else ""
    there = f"base_url: 'http://127.0.0.1:{place.port}/v1'"
    path.write_text(path.read_text().replace(there, f"base_url: '{base_url}'{named}"))


def test_a_task_is_polled_at_the_endpoint_that_took_it(tmp_path: Path) -> None:
    """CASES C15: taken by the fallback while the main endpoint was away. When that is back, and
    knows no such task, it is not asked; where the manifest does not name the taker any more, that
    is said (exit 1), and the task stays on file."""
    (tmp_path / "main").mkdir()
    with (
        house(tmp_path, seconds=0, task_seconds=2) as place,
        house(tmp_path / "main", seconds=0) as main,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        place.pictures(2)
        taker, away = f"http://127.0.0.1:{place.port}/v1", listener.getsockname()[1]
        listener.close()
        at_the_fallback(place, f"http://127.0.0.1:{away}/v1", taker)
        process = place.start("run")
        out = Counter(accepted=2)
        place.wait_until(lambda: len(place.book) == 2 and place.state.counts() == out, process)
        process.kill()
        process.communicate()
        back = f"http://127.0.0.1:{main.port}/v1"
        at_the_fallback(place, back)
        told = place.retouch("run")
        assert told.returncode == 1, told.stderr
        assert f"its task is at {taker}" in told.stderr
        assert "add it to `fallback_urls` and run again" in told.stderr
        assert place.state.counts() == out
        at_the_fallback(place, back, taker)
        done = place.retouch("run")
        assert done.returncode == 0, done.stderr
        assert place.state.counts() == Counter(done=2)
        assert (len(place.book), main.book) == (2, [])


def test_a_picture_not_fetched_yet_is_fetched_free(tmp_path: Path) -> None:
    """CASES C18: a task that took longer than `poll.timeout` is no case for `resolve` or
    `--redo unknown`: every command says that a run fetches it, and so it is."""
    with house(tmp_path, seconds=0, task_seconds=4) as place:
        place.pictures(2)
        place.manifest(TASKS.replace("interval: 0.2", "interval: 0.2, timeout: 1"))
        ran = place.retouch("run")
        assert ran.returncode == 1, ran.stderr
        assert place.state.counts() == Counter(unknown=2)
        fetched_free = "2 tasks on file: run again to fetch what is paid for, free"
        status, resolve = place.retouch("status"), place.retouch("resolve")
        assert fetched_free in ran.stderr
        assert "2 tasks on file: `retouch run` fetches them, free" in status.stdout
        assert "tasks on file, which the next run asks for: 2" in resolve.stderr
        for told in (ran.stderr, status.stdout):
            assert "retouch resolve" not in told
            assert "--redo unknown" not in told
        planned = json.loads(place.retouch("plan", "--redo", "unknown", "--json").stdout)
        assert planned["lanes"][0]["to_send"] == 0
        assert place.retouch("resolve", "--all", "--charged").returncode == 0
        runs = iter(lambda: place.retouch("run", "--redo", "unknown").returncode, 0)
        assert len(list(islice(runs, 20))) < 20  # each waits for a second
        assert place.state.counts() == Counter(done=2)
        assert len(place.book) == 2
