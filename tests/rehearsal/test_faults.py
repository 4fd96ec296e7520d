"""Faults: each does what it says, to the reply and to the charge, and the same way every time."""

from __future__ import annotations

import base64
import binascii
import json
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from PIL import Image

import retouch_rehearsal
from retouch_rehearsal import Fault, Faults
from retouch_rehearsal.faults import FATES, NEEDS_SOCKET, Dice, Kind
from tests.rehearsal.conftest import House
from tests.support.samples import GEMINI, edit_body, encoded, photo, uri

pytestmark = pytest.mark.anyio
EDITS = "/v1/images/edits"


def kling_body() -> dict[str, Any]:
    return {"model": "kling-v1", "image": uri(encoded(photo(300, 300))), "prompt": "水彩"}


async def submit(house: House, fault: dict[str, Any], **more: Any) -> httpx.Response:
    async with house.client(faults=Faults.parse([fault])) as client:
        return await client.post(EDITS, json=edit_body(**more))


@pytest.mark.parametrize(
    ("kind", "status", "kind_of_error", "charges"),
    [
        ("429", 429, "rate_limit_error", 0), ("1303", 429, "rate_limit_error", 0),
        ("500", 500, "internal_error", 0), ("502", 502, "internal_error", 0),
        ("503", 503, "overloaded_error", 0), ("504", 504, "internal_error", 1),
        ("refused", 400, "invalid_request_error", 0),
    ],
)  # fmt: skip
async def test_errors(
    house: House, kind: str, status: int, kind_of_error: str, charges: int
) -> None:
    """A gateway's timeout is charged: the picture was made. The others are not."""
    reply = await submit(house, {"kind": kind})
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == kind_of_error
    assert len(house.book.charges) == charges


async def test_charged_can_be_said(house: House) -> None:
    """`charged` overrides what a kind does of itself."""
    await submit(house, {"kind": "500", "charged": True})
    await submit(house, {"kind": "504", "charged": False})
    assert len(house.book.charges) == 1


async def test_both_kinds_of_retry_after(house: House) -> None:
    """Seconds, or an HTTP date."""
    seconds = await submit(house, {"kind": "429", "seconds": 7})
    date = await submit(house, {"kind": "429", "seconds": 7, "retry_after": "date"})
    none = await submit(house, {"kind": "1303"})
    assert seconds.headers["retry-after"] == "7"
    assert parsedate_to_datetime(date.headers["retry-after"]).timestamp() == house.now + 7
    assert "retry-after" not in none.headers
    assert none.json()["error"]["code"] == 1303


async def test_redirects(house: House) -> None:
    """To another host, with the method kept."""
    reply = await submit(house, {"kind": "redirect"})
    assert reply.status_code == 307
    assert reply.headers["location"].startswith("http://elsewhere.invalid/")


async def test_bodies_that_are_no_reply(house: House) -> None:
    """Cut, not JSON, HTML: all charged."""
    for kind in ("truncated", "not_json", "html"):
        reply = await submit(house, {"kind": kind})
        assert reply.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            reply.json()
    assert len(house.book.charges) == 3


async def test_replies_without_pictures(house: House) -> None:
    """Empty data with usage, fewer than n, broken base64, bytes that are no picture, no usage."""
    empty = (await submit(house, {"kind": "empty_data"})).json()
    assert empty["data"] == []
    assert empty["usage"]["output_tokens"] == 0
    fewer = (await submit(house, {"kind": "fewer"}, n=3)).json()
    assert len(fewer["data"]) == 2
    broken = (await submit(house, {"kind": "broken_base64"})).json()
    with pytest.raises(binascii.Error):
        base64.b64decode(broken["data"][0]["b64_json"], validate=True)
    text = (await submit(house, {"kind": "not_a_picture"})).json()
    assert base64.b64decode(text["data"][0]["b64_json"]) == b"this is no picture"
    assert "usage" not in (await submit(house, {"kind": "no_usage"})).json()
    assert [charge.images for charge in house.book.charges] == [0, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("kind", "status", "charges"),
    [("task_failed", "failed", 0), ("task_stuck", "processing", 0),
     ("task_unknown_status", "on_hold", 0)],
)  # fmt: skip
async def test_fates_of_tasks(house: House, kind: str, status: str, charges: int) -> None:
    """Decided when the task is accepted; only what makes pictures is charged."""
    async with house.client(faults=Faults.parse([{"kind": kind}])) as client:
        task = (await client.post("/v1/images/generations", json=kling_body())).json()["task_id"]
        house.now += 1000
        state = (await client.get(f"/v1/images/tasks/{task}")).json()
    assert state["status"] == status
    assert "data" not in state
    assert len(house.book.charges) == charges


async def test_a_task_that_vanishes(house: House) -> None:
    """Accepted and charged, then unknown."""
    async with house.client(faults=Faults.parse([{"kind": "task_vanished"}])) as client:
        task = (await client.post("/v1/images/generations", json=kling_body())).json()["task_id"]
        assert (await client.get(f"/v1/images/tasks/{task}")).status_code == 200
        house.now += 1000
        assert (await client.get(f"/v1/images/tasks/{task}")).status_code == 404
    assert len(house.book.charges) == 1


async def test_an_expired_url_is_renewed_by_asking_again(house: House) -> None:
    """Once, because `times` says so."""
    faults = Faults.parse([{"kind": "expired_url", "times": 1}])
    async with house.client(faults=faults, seconds_per_task=0.0) as client:
        task = (await client.post("/v1/images/generations", json=kling_body())).json()["task_id"]
        polls = [await client.get(f"/v1/images/tasks/{task}") for _ in range(2)]
        fetched = [await client.get(poll.json()["data"][0]["url"]) for poll in polls]
    assert [reply.status_code for reply in fetched] == [403, 200]


async def test_other_stages(house: House) -> None:
    """Polls and files can go wrong too."""
    plan = [
        {"kind": "500", "stage": "poll", "times": 1},
        {"kind": "html", "stage": "file", "times": 1},
    ]
    async with house.client(faults=Faults.parse(plan), seconds_per_task=0.0) as client:
        task = (await client.post("/v1/images/generations", json=kling_body())).json()["task_id"]
        polls = [await client.get(f"/v1/images/tasks/{task}") for _ in range(2)]
        assert [poll.status_code for poll in polls] == [500, 200]
        url = polls[1].json()["data"][0]["url"]
        files = [await client.get(url) for _ in range(2)]
    assert [reply.headers["content-type"].partition(";")[0] for reply in files] == [
        "text/html", "image/png",
    ]  # fmt: skip


async def test_latency_and_slow_bodies_take_their_time(house: House) -> None:
    """Measured on the wall, from below only."""
    started = time.monotonic()
    await submit(house, {"kind": "latency", "seconds": 0.2})
    slow = await submit(house, {"kind": "slow_body", "seconds": 0.2})
    assert time.monotonic() - started >= 0.4
    assert len(slow.json()["data"]) == 1


async def test_faults_of_one_kind_of_model_leave_the_other_alone(house: House) -> None:
    """A task's fate does not use itself up on a synchronous request, nor the other way round."""
    plan = [{"kind": "task_failed", "times": 1}, {"kind": "empty_data", "times": 1}]
    async with house.client(faults=Faults.parse(plan), seconds_per_task=0.0) as client:
        edits = [(await client.post(EDITS, json=edit_body())).json() for _ in range(2)]
        tasks = [await client.post("/v1/images/generations", json=kling_body()) for _ in range(2)]
        states = [await client.get(f"/v1/images/tasks/{t.json()['task_id']}") for t in tasks]
    assert [len(edit["data"]) for edit in edits] == [0, 1]
    assert [state.json()["status"] for state in states] == ["failed", "succeed"]


async def test_after_times_and_model(house: House) -> None:
    """The second and third matching request only."""
    fault = {"kind": "500", "after": 1, "times": 2, "model": GEMINI}
    async with house.client(faults=Faults.parse([fault])) as client:
        statuses = [(await client.post(EDITS, json=edit_body())).status_code for _ in range(5)]
        other = await client.post("/v1/images/generations", json=kling_body())
    assert statuses == [200, 500, 500, 200, 200]
    assert other.status_code == 200


def drawn(seed: int, contents: list[str]) -> dict[str, bool]:
    dice = Dice(Faults.parse({"seed": seed, "faults": [{"kind": "500", "probability": 0.3}]}))
    return {text: dice.draw("submit", text, GEMINI).fault is not None for text in contents}


def test_a_bad_day_can_be_repeated_in_any_order() -> None:
    """The draw depends on the seed and the request, not on when it comes."""
    contents = [f"request {number}" for number in range(1000)]
    one, other = drawn(5, contents), drawn(5, contents[::-1])
    assert one == other
    assert 250 < sum(one.values()) < 350
    assert drawn(6, contents) != one


def test_a_retry_is_drawn_anew() -> None:
    """Or a probability would be a sentence for life."""
    dice = Dice(Faults.parse([{"kind": "500", "probability": 0.5}]))
    results = {dice.draw("submit", "same", None).fault is None for _ in range(50)}
    assert results == {True, False}


async def noisy(house: House, noise: float, seed: int, prompts: list[str]) -> list[dict[str, int]]:
    faults = Faults.parse({"seed": seed, "usage_noise": noise})
    mask = uri(encoded(Image.new("L", (96, 64), 255)))  # keeps results small, and quickly made
    async with house.client(faults=faults) as client:
        replies = [
            await client.post(EDITS, json=edit_body(prompt, mask=mask)) for prompt in prompts
        ]
    return [reply.json()["usage"] for reply in replies]


async def test_usage_varies_by_its_noise_and_is_charged_as_said(house: House) -> None:
    """Input and output are up to that share more or fewer, both ways; the book says so."""
    prompts = [f"偏暖{number}" for number in range(24)]
    usages = await noisy(house, 0.1, 3, prompts)
    outputs = [usage["output_tokens"] for usage in usages]
    inputs = [usage["input_tokens"] for usage in usages]
    assert all(1161 <= tokens <= 1419 for tokens in outputs)
    assert min(outputs) < 1250
    assert max(outputs) > 1330
    assert max(inputs) - min(inputs) > 20
    charged = [(charge.input_tokens, charge.output_tokens) for charge in house.book.charges]
    assert charged == list(zip(inputs, outputs, strict=True))
    assert all(
        usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] for usage in usages
    )


async def test_noise_can_be_repeated(house: House) -> None:
    """From its seed and the request, in any order; the same request again is counted anew."""
    usages = await noisy(house, 0.2, 3, ["偏暖", "偏冷", "偏暖"])
    assert usages[0] != usages[2]
    cold, warm, again = await noisy(house, 0.2, 3, ["偏冷", "偏暖", "偏暖"])
    assert [warm, cold, again] == usages
    assert await noisy(house, 0.2, 4, ["偏暖"]) != usages[:1]
    (exact,) = await noisy(house, 0, 3, ["偏暖"])
    assert exact["output_tokens"] == 1290


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("429", "list of faults"), (7, "list of faults"), ({"fault": []}, "fault"),
        ([{"kind": "boom"}], "unknown kind 'boom'; known: latency"), ([{}], "kind"),
        ([{"kind": "429", "probability": 1.5}], "probability"),
        ([{"kind": "429", "probability": "often"}], "probability"),
        ([{"kind": "429", "times": 0}], "times"), ([{"kind": "429", "after": -1}], "after"),
        ([{"kind": "429", "when": "noon"}], "when"),
        ([{"kind": "task_stuck", "stage": "poll"}], "submit"),
        ([{"kind": "expired_url", "stage": "file"}], "poll"), ({"seed": "x"}, "seed"),
        ({"usage_noise": 1.5}, "usage_noise"), ({"usage_noise": "some"}, "usage_noise"),
        ([{"kind": "reset_early", "model": "m"}], "model"), (["429"], "0"),
    ],
)  # fmt: skip
def test_wrong_faults_are_said(data: Any, words: str) -> None:
    """A ValueError that names the place and what is wrong."""
    with pytest.raises(ValueError, match=words):
        Faults.parse(data)


def test_plain_data_in_both_forms() -> None:
    """A list or a mapping; kinds may be written as numbers; nothing means no faults."""
    assert Faults.parse(None).faults == ()
    assert Faults.parse([{"kind": 429}]).faults == (Fault(kind="429"),)
    assert Faults.parse({"seed": 3, "faults": []}).seed == 3
    assert Faults.parse_yaml("- kind: 503\n  probability: 0.1\n").faults[0].kind == "503"
    with pytest.raises(ValueError, match="YAML"):
        Faults.parse_yaml("- [")


def test_every_kind_is_known_to_some_stage() -> None:
    """No kind is declared and never happens."""
    for kind in get_args(Kind):
        stage = "poll" if kind == "expired_url" else "submit"
        dice = Dice(Faults.parse([{"kind": kind}]))
        early, is_task = kind == "reset_early", kind in FATES
        result = dice.draw(stage, "x", None, early=early, is_task=is_task)  # type: ignore[arg-type]
        assert result.fault is not None or result.latency
    assert set(get_args(Kind)) >= NEEDS_SOCKET


def test_the_readmes_bad_day_is_one() -> None:
    """The example parses, and every kind stands in the table."""
    text = (Path(retouch_rehearsal.__file__).with_name("README.md")).read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    assert len(Faults.parse_yaml(example).faults) == 4
    assert Faults.parse_yaml(example).usage_noise == 0.1
    assert [kind for kind in get_args(Kind) if f"`{kind}`" not in text] == []
