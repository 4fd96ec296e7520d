"""Paid replies are read with goodwill, and what waits at a server is waited for (CASES B, C8, C20).

In virtual time, from the provider's answer to the ledger.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from retouch.engine.lane_watch import is_same_model
from retouch.engine.results import expiry_of
from retouch.ledger.records import Done, Failed, Unknown
from retouch.manifest import Limits, Poll, RunSettings
from tests.support.provider import Mishap, Provider, png
from tests.support.workbench import GEMINI, KLING, Bench, lane

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]
JSON = (("content-type", "application/json"),)
ENCODED = base64.b64encode(png("paid for" * 40)).decode()


def answered(document: object, *, charged: bool = True) -> Mishap:
    return Mishap(200, json.dumps(document).encode(), JSON, charged=charged)


def bench(folder: Path, provider: Provider, **settings: object) -> Bench:
    return Bench(folder, provider, RunSettings(**settings))  # type: ignore[arg-type]


SPELLINGS: dict[str, Callable[[str], str]] = {
    "lines of 76": lambda text: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    "CRLF": lambda text: "\r\n".join(text[at : at + 64] for at in range(0, len(text), 64)) + "\r\n",
    "no padding": lambda text: text.rstrip("="),
    "URL-safe": lambda text: text.replace("+", "-").replace("/", "_"),
    "URL-safe without padding": lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    "a blank after the comma": lambda text: f"data:image/png;base64, {text}",
    "line ends, escaped": lambda text: text[:100] + "\\n" + text[100:],
    "a tab and blanks around": lambda text: f"\t {text} ",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_base64_of_any_spelling_is_a_picture(in_memory: Path, spelling: str) -> None:
    """B7: judged by the picture, not by the letters it came in."""
    text = SPELLINGS[spelling](ENCODED)
    reply = answered({"data": [{"b64_json": text}], "usage": {"output_tokens": 1290}})
    work = bench(in_memory, Provider(mishaps=[reply]))
    await work.run([lane(GEMINI, 1)])
    assert work.state.counts() == Counter(done=1)
    [done] = [record for record in work.records if isinstance(record, Done)]
    assert (in_memory / done.files[0].path).read_bytes() == base64.b64decode(ENCODED)


async def test_what_is_no_base64_at_all_is_kept_in_quarantine(in_memory: Path) -> None:
    """Goodwill ends somewhere: failed, billed, its body kept."""
    reply = answered({"data": [{"b64_json": "!?" * 40}], "usage": {"output_tokens": 1290}})
    work = bench(in_memory, Provider(mishaps=[reply]))
    await work.run([lane(GEMINI, 1)])
    assert work.state.counts() == Counter(failed=1)
    assert len(list((in_memory / "quarantine").iterdir())) == 1


GONE = Mishap(404, b"<html>no such file</html>")
BUSY = Mishap(502, b"<html>bad gateway</html>")


@pytest.mark.parametrize("late", [[GONE] * 6, [BUSY] * 8, [GONE, BUSY] * 4])
async def test_a_result_that_is_not_there_yet_is_waited_for(
    in_memory: Path, late: list[Mishap]
) -> None:
    """B9: 404 and 502 for a while; the URL says itself when it expires, and this one does not."""
    provider = Provider(file_mishaps=late, signature="")
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 1)])
    assert work.state.counts() == Counter(done=1)
    assert len(provider.book) == len(provider.posts) == 1


async def test_a_result_that_never_comes_ends_unknown_with_its_task(in_memory: Path) -> None:
    """B9: never final; the next run fetches it, free."""
    provider = Provider(file_mishaps=[GONE] * 2000, signature="")
    work = bench(in_memory, provider, timeout=60.0)
    await work.run([lane(KLING, 1)])
    [unknown] = [record for record in work.records if isinstance(record, Unknown)]
    assert unknown.task == "image-0"
    provider.file_mishaps = iter(())
    await work.run([lane(KLING, 1)])
    assert work.state.counts() == Counter(done=1)
    assert len(provider.posts) == 1


async def test_a_linked_result_without_a_task_ends_unknown_with_its_urls_digest(
    in_memory: Path,
) -> None:
    """B9: paid for, the URL dead: held and said, never final; the URL itself is in no record."""
    url = "http://127.0.0.1/files/lost.png?token=SIGNED"
    reply = answered({"data": [{"url": url}], "usage": {"output_tokens": 1290}})
    provider = Provider(mishaps=[reply], file_mishaps=[GONE] * 2000)
    work = bench(in_memory, provider, timeout=60.0)
    await work.run([lane(GEMINI, 1)])
    [unknown] = [record for record in work.records if isinstance(record, Unknown)]
    assert "(URL sha256:" in unknown.error.message
    assert b"SIGNED" not in (in_memory / "ledger.jsonl").read_bytes()
    assert len(work.state.open_charges) == 1
    await work.run([lane(GEMINI, 1)])
    assert len(provider.posts) == 1


EMPTY = answered({"task_id": "image-0", "status": "succeed", "data": []})
NOT_FOUND = Mishap(404, b'{"error":{"message":"task not found"}}', JSON)


@pytest.mark.parametrize("late", [[EMPTY] * 3, [NOT_FOUND] * 3])
async def test_a_service_that_has_not_caught_up_with_itself(
    in_memory: Path, late: list[Mishap]
) -> None:
    """B9: done without a URL, and no such task, just after it was accepted: asked again."""
    provider = Provider(poll_mishaps=late)
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 1)])
    assert work.state.counts() == Counter(done=1)
    assert len(provider.posts) == 1


@pytest.mark.parametrize("always", [EMPTY, NOT_FOUND])
async def test_a_task_that_stays_empty_ends_unknown_with_its_id(
    in_memory: Path, always: Mishap
) -> None:
    """B9: until `poll.timeout`, and never final: the next run asks for it."""
    provider = Provider(poll_mishaps=[always] * 1000)
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 1, poll=Poll(interval=1.0, timeout=30.0))])
    [outcome] = work.state.outcomes.values()
    assert (outcome.state, outcome.task) == ("unknown", "image-0")


async def test_a_task_that_counted_nothing_has_ended(in_memory: Path) -> None:
    """The service says that it made none: nothing is to be waited for."""
    none = answered({"task_id": "image-0", "status": "succeed", "data": [], "quantity": 0})
    provider = Provider(poll_mishaps=[none])
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 1)])
    assert work.state.counts() == Counter(failed=1)


async def test_urls_that_cannot_be_fetched_stop_the_lane_early(in_memory: Path) -> None:
    """B11: the first one says what to write; no job is paid for after it."""
    reply = answered({"data": [{"url": "ftp://e.com/1.png"}], "usage": {"output_tokens": 1290}})
    provider = Provider(mishaps=[reply] * 20)
    work = bench(in_memory, provider)
    summary = await work.run([lane(GEMINI, 20, limits=Limits(concurrency=1))])
    assert len(provider.book) == 1
    [stop] = summary.lane_stops.values()
    assert "cannot be fetched" in stop.message
    assert "response_format: b64_json" in stop.hint


REASONS: dict[str, tuple[object, str]] = {
    "Gemini's": (
        {
            "data": [],
            "candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "unsafe"}],
        },
        "IMAGE_SAFETY: unsafe",
    ),
    "words in a picture's place": (
        {"data": [{"b64_json": "", "revised_prompt": "I cannot edit this person."}]},
        "I cannot edit this person.",
    ),
    "a chat's": (
        {"choices": [{"finish_reason": "content_filter", "message": {"content": "Sorry."}}]},
        "content_filter: Sorry.",
    ),
    "a prompt blocked": (
        {"data": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        "PROHIBITED_CONTENT",
    ),
    "no image": ({"data": [], "candidates": [{"finishReason": "NO_IMAGE"}]}, "NO_IMAGE"),
}


@pytest.mark.parametrize("shape", REASONS)
async def test_the_reason_for_no_picture_is_said(in_memory: Path, shape: str) -> None:
    """C8: the service's or the model's own words, not "holds no picture"; billed as its usage
    says."""
    document, reason = REASONS[shape]
    assert isinstance(document, dict)
    reply = answered(document | {"usage": {"input_tokens": 300, "output_tokens": 20}})
    work = bench(in_memory, Provider(mishaps=[reply]))
    await work.run([lane(GEMINI, 1)])
    [failed] = [record for record in work.records if isinstance(record, Failed)]
    assert reason in failed.error.message
    assert failed.billed == "yes"
    assert failed.usage is not None


async def test_one_task_for_six_jobs_is_said(in_memory: Path) -> None:
    """C20: each record warns, and it is said once."""
    same = answered({"task_id": "image-0"})
    provider = Provider(mishaps=[None, same, same, same, same, same])
    work = bench(in_memory, provider)
    await work.run([lane(KLING, 6, limits=Limits(concurrency=1))])
    warned = [
        warning
        for record in work.records
        if isinstance(record, Done)
        for warning in record.warnings
        if "one picture may stand for both" in warning
    ]
    assert len(warned) == 5
    assert sum("one picture may stand for both" in text for text in work.observer.texts) == 1


@pytest.mark.parametrize(
    ("asked", "named", "same"),
    [
        ("gpt-image-1", "gpt-image-1", True),
        ("openai/gpt-image-2", "gpt-image-2", True),
        ("gpt-image-1", "gpt-image-1-2025-04-23", True),
        ("gemini-2.5-flash-image", "models/Gemini-2.5-flash-image-preview", True),
        ("gpt-image-1", "gpt-image-1-mini", False),
        ("gemini-3.0-pro-image-preview", "gemini-2.5-flash-image", False),
        ("kling-v2-1", "kling-v2", True),  # an edition, as far as a name tells
    ],
)
def test_names_of_one_model(asked: str, named: str, same: bool) -> None:
    """Whoever sells it and of whatever date."""
    assert is_same_model(asked, named) is same


async def test_a_server_that_answers_for_another_model_is_said(in_memory: Path) -> None:
    """C20: in the record, and once for the lane."""
    reply = answered(
        {"model": "sd-turbo", "data": [{"b64_json": ENCODED}], "usage": {"output_tokens": 1290}}
    )
    work = bench(in_memory, Provider(mishaps=[reply] * 3))
    await work.run([lane(GEMINI, 3)])
    done = [record for record in work.records if isinstance(record, Done)]
    assert all("sd-turbo made it" in " ".join(record.warnings) for record in done)
    assert sum("sd-turbo made it" in text for text in work.observer.texts) == 1


@pytest.mark.parametrize(
    ("query", "ends"),
    [
        ("e=1762159125&token=x", "2025-11-03T08:38:45+00:00"),
        ("Expires=1762159125&Signature=x", "2025-11-03T08:38:45+00:00"),
        ("X-Amz-Date=20251103T083845Z&X-Amz-Expires=60", "2025-11-03T08:39:45+00:00"),
        ("x-oss-date=20251103T083845Z&x-oss-expires=60", "2025-11-03T08:39:45+00:00"),
        ("se=2025-11-03T08:38:45Z&sig=x", "2025-11-03T08:38:45+00:00"),
        ("e=soon", None),
        ("X-Amz-Date=yesterday&X-Amz-Expires=60", None),
        ("e=99999999999999999999", None),
        ("", None),
    ],
)
def test_a_signed_url_tells_its_own_end(query: str, ends: str | None) -> None:
    """Qiniu's, S3's and its kin's, Azure's; what cannot be read says nothing."""
    found = expiry_of(f"https://e.com/1.png?{query}")
    assert (found.isoformat() if found else None) == ends


EMPTY_ANSWER = answered({"data": [], "usage": {"input_tokens": 300, "output_tokens": 9}})


async def test_an_empty_answer_is_paid_for_again_where_that_was_allowed(in_memory: Path) -> None:
    """`retry_empty: 1`: both are in the bill, the picture is there, and it is told."""
    provider = Provider(mishaps=[EMPTY_ANSWER])
    work = bench(in_memory, provider, retry_empty=1)
    summary = await work.run([lane(GEMINI, 1)])
    assert work.state.counts() == Counter(done=1)
    assert len(provider.book) == 2
    assert summary.again.empties_sent == 1
    assert summary.ended == Counter(done=1)
    [failed] = [record for record in work.records if isinstance(record, Failed)]
    assert failed.billed == "yes"


@pytest.mark.parametrize(
    "reply",
    [
        EMPTY_ANSWER,
        answered(
            {
                "data": [],
                "candidates": [{"finishReason": "IMAGE_SAFETY"}],
                "usage": {"output_tokens": 9},
            }
        ),
    ],
)
async def test_neither_unasked_nor_what_was_refused_is_paid_for_again(
    in_memory: Path, reply: Mishap
) -> None:
    """Without the setting an empty answer is final; content refused is, with it too."""
    provider = Provider(mishaps=[reply] * 3)
    allowed = 0 if reply is EMPTY_ANSWER else 3
    work = bench(in_memory, provider, retry_empty=allowed)
    await work.run([lane(GEMINI, 1)])
    assert len(provider.book) == 1
    assert work.state.counts() == Counter(failed=1)


async def test_empty_answers_end_somewhere(in_memory: Path) -> None:
    """No more than was allowed, and failed in the end."""
    provider = Provider(mishaps=[EMPTY_ANSWER] * 9)
    work = bench(in_memory, provider, retry_empty=2)
    await work.run([lane(GEMINI, 1)])
    assert len(provider.book) == 3
    assert work.state.counts() == Counter(failed=1)


async def test_the_slowest_models_are_waited_for_by_default(in_memory: Path) -> None:
    """B16: gpt-image-2 takes up to 262 s, measured; with the defaults nothing of it is lost."""
    work = Bench(in_memory, Provider(seconds=262.0), RunSettings())
    summary = await work.run([lane(GEMINI, 8)])
    assert summary.ended == Counter(done=8)
    assert len(work.provider.book) == 8
