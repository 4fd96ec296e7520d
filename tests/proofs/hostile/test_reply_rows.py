"""BAD-INPUT rows 45, 46 and 48-50: what replies hold, through a whole run in virtual time."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path

import anyio
import pytest

from retouch.ledger.records import Done, Failed, Unknown
from retouch.manifest import Poll
from tests.support.hostile_pictures import png as drawn
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


def encoded(*pictures: bytes) -> list[dict[str, str]]:
    return [{"b64_json": base64.b64encode(each).decode()} for each in pictures]


def whole(**document: object) -> Mishap:
    """A whole 200 that was charged."""
    return Mishap(200, json.dumps(document).encode(), charged=True)


async def test_fewer_pictures_than_asked_for_is_done_with_a_warning(in_memory: Path) -> None:
    """Row 45: billed by its usage, one kept, said; not sent again."""
    reply = whole(data=encoded(png("one")), usage={"input_tokens": 300, "output_tokens": 1290})
    work = Bench(in_memory, Provider(mishaps=[reply]))
    assert (await work.run([lane(GEMINI, 1, n=3)])).exit_code == 0
    [done] = [one for one in work.records if isinstance(one, Done)]
    assert len(done.files) == 1
    assert "1 of 3 pictures came" in done.warnings
    assert done.cost is not None
    await work.run([lane(GEMINI, 1, n=3)])
    assert len(work.provider.posts) == 1


USAGES: list[object] = [
    None, {}, [], "1", {"input_tokens": None, "output_tokens": None},
    {"input_tokens": -1, "output_tokens": 1290}, {"input_tokens": "300", "output_tokens": "1290"},
    {"input_tokens": 300, "output_tokens": 2**53 + 1},
    {"input_tokens": 300, "output_tokens": 1e300},
    {"input_tokens": True, "output_tokens": 1290}, {"input_tokens": 1.5, "output_tokens": 1290},
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGES, ids=str)
async def test_usage_that_says_nothing_credible_leaves_the_cost_unknown(
    usage: object, in_memory: Path
) -> None:
    """Row 46: never zero and never a guess: up to the ceiling, and a warning."""
    work = Bench(in_memory, Provider(mishaps=[whole(data=encoded(png("one")), usage=usage)]))
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 0
    [done] = [one for one in work.records if isinstance(one, Done)]
    assert done.cost is None
    assert done.warnings
    state = work.state
    assert state.totals.confirmed == {}
    [charge] = state.open_charges.values()
    assert charge.ceiling is not None
    assert charge.ceiling.amount > 0
    await work.run([lane(GEMINI, 1)])
    assert len(work.provider.posts) == 1


IDS = [
    "", "a/../b", "..", ".", "a/b", "a\\b", "a\nb", "a\0b", "a b", "a?b=c", "a#b", "é", "\u202e",
    "x" * 10_000_000, 1.5, True, [], {}, -1, 2**70,
]  # fmt: skip


@pytest.mark.parametrize("task", IDS, ids=lambda task: repr(task)[:20])
async def test_an_id_that_cannot_be_used_is_unknown(task: object, in_memory: Path) -> None:
    """Row 48: held with its ceiling, in no path and in no request; the reply is in quarantine."""
    work = Bench(in_memory, Provider(mishaps=[whole(task_id=task)]))
    assert (await work.run([lane(KLING, 1)])).exit_code == 1
    [unknown] = [one for one in work.records if isinstance(one, Unknown)]
    assert unknown.task is None
    assert unknown.ceiling is not None
    assert [seen.method for seen in work.provider.seen] == ["POST"]
    assert (in_memory / "quarantine").exists()
    assert (in_memory / "ledger.jsonl").stat().st_size < 10_000


def polled(**document: object) -> Mishap:
    return Mishap(200, json.dumps({"task_id": "image-0"} | document).encode())


LINKS = [
    "file:///etc/passwd", "ftp://example.com/0.png", "http://example.com/0.png",
    "http://127.0.0.1:1/0.png", "//example.com/0.png", "http://[", "gopher://x",
    "https://", "javascript:alert(1)", "https://example.com/0.png",
]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
async def test_a_result_that_may_not_be_fetched_stays_at_the_server(
    link: str, in_memory: Path
) -> None:
    """Row 49: refused, unknown with its task; fetched by the next run when the link is a good one.

    This provider is in process, so that every address but its own is one that may not be reached;
    the addresses themselves are judged in tests/transport/test_download.py.
    """
    bad = polled(status="succeed", data=[{"url": link}], quantity=1)
    work = Bench(in_memory, Provider(poll_mishaps=[bad, bad]))
    assert (await work.run([lane(KLING, 1)])).exit_code == 1
    [unknown] = [one for one in work.records if isinstance(one, Unknown)]
    assert unknown.task == "image-0"
    assert not [seen for seen in work.provider.seen if not seen.path.startswith("/v1/")]
    assert (await work.run([lane(KLING, 1)])).exit_code == 0
    assert len(work.provider.posts) == 1


@pytest.mark.parametrize("word", ["warming_up", "", "完成", 7, None, ["succeed"]])
async def test_an_unknown_status_waits_until_the_deadline(word: object, in_memory: Path) -> None:
    """Row 49: never an end; then unknown with the task's id, polled on by the next run."""
    provider = Provider(poll_mishaps=[polled(status=word)] * 200)
    work = Bench(in_memory, provider)
    began = anyio.current_time()
    patient = lane(KLING, 1, poll=Poll(interval=1.0, timeout=60.0))
    assert (await work.run([patient])).exit_code == 1
    assert 60.0 <= anyio.current_time() - began <= 61.0
    [unknown] = [one for one in work.records if isinstance(one, Unknown)]
    assert (unknown.task, unknown.error.kind) == ("image-0", "timeout")
    provider.poll_mishaps = iter(())
    assert (await work.run([patient])).exit_code == 0
    assert len(provider.posts) == 1


async def test_success_without_a_picture_is_asked_once_more(in_memory: Path) -> None:
    """Row 49: a result that has not arrived yet is there the second time."""
    early = polled(status="succeed", data=[])
    work = Bench(in_memory, Provider(poll_mishaps=[early]))
    assert (await work.run([lane(KLING, 1)])).exit_code == 0
    assert work.state.counts() == Counter(done=1)


async def test_a_failed_task_is_failed_and_not_charged(in_memory: Path) -> None:
    """Row 50: final, with the reason; unbilled, as no picture was counted."""
    reason = polled(status="failed", status_message="internal trouble")
    work = Bench(in_memory, Provider(poll_mishaps=[reason]))
    assert (await work.run([lane(KLING, 1)])).exit_code == 1
    [failed] = [one for one in work.records if isinstance(one, Failed)]
    assert (failed.error.kind, failed.billed, failed.final) == ("task_failed", "no", True)
    assert failed.error.message == "internal trouble"


async def test_a_vanished_task_is_unknown_and_asked_for_again(in_memory: Path) -> None:
    """Row 50: 404 with an error until the timeout: unknown with its id; the next run polls on and
    submits nothing."""
    gone = Mishap(404, b'{"error":{"message":"task not found"}}')
    work = Bench(in_memory, Provider(poll_mishaps=[gone] * 1000))
    brief = Poll(interval=0.05, timeout=0.5)
    assert (await work.run([lane(KLING, 1, poll=brief)])).exit_code == 1
    [unknown] = [one for one in work.records if isinstance(one, Unknown)]
    assert (unknown.task, unknown.error.kind) == ("image-0", "timeout")
    work.provider.poll_mishaps = iter(())
    assert (await work.run([lane(KLING, 1)])).exit_code == 0
    assert len(work.provider.posts) == 1


DEEP = 100_000
BOMBS = {
    "deep JSON": b'{"data":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and unclosed": b"[" * DEEP,
    "endless digits": b'{"data":[],"created":' + b"9" * 1_000_000 + b"}",
    "many members": b'{"data":[' + b'{"url":null},' * 300_000 + b"{}]}",
    "no base64": b'{"data":[{"b64_json":"' + b"@" * 20_000_000 + b'"}]}',
    "base64 of nothing": b'{"data":[{"b64_json":"' + b"A" * 20_000_000 + b'"}]}',
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_reply_made_to_hurt_is_only_a_bad_reply(name: str, in_memory: Path) -> None:
    """No crash, nothing bought twice; charged or unknown, and kept aside."""
    work = Bench(in_memory, Provider(mishaps=[Mishap(200, BOMBS[name], charged=True)]))
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 1
    [outcome] = work.state.outcomes.values()
    decided = outcome.decided
    assert isinstance(decided, Unknown | Failed)
    assert len(work.state.open_charges) == 1
    assert (in_memory / "quarantine").exists()
    await work.run([lane(GEMINI, 1)])
    assert len(work.provider.posts) == 1


async def test_a_picture_made_to_hurt_is_stored_and_never_decoded(in_memory: Path) -> None:
    """A PNG that would unpack to 30 GB: its bytes are what was paid for, and are kept as such."""
    bomb = drawn(100_000, 100_000, pixels=bytes(1_000_000))
    usage = {"input_tokens": 300, "output_tokens": 1290}
    work = Bench(in_memory, Provider(mishaps=[whole(data=encoded(bomb), usage=usage)]))
    assert (await work.run([lane(GEMINI, 1)])).exit_code == 0
    [done] = [one for one in work.records if isinstance(one, Done)]
    assert (in_memory / done.files[0].path).read_bytes() == bomb
