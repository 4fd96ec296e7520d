"""The true bill over real sockets: what `retouch report` says against the server's own book."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from retouch_rehearsal.faults import Kind
from tests.e2e.house import House
from tests.support.samples import HEADERS, edit_body, encoded, photo, uri
from tests.support.serving import serving

GEMINI, KLING = "gemini-2.5-flash-image", "kling-v1"
PICTURES = 14  # enough requests for every fault, whichever model it strikes
MANIFEST = """
version: 1
provider: {{dialect: qiniu, base_url: {base_url}, api_key_env: REHEARSAL_KEY}}
inputs: [{{glob: pictures/*.png, mask: mask.png}}]
prompts: [{{id: warm, template: make it warm}}]
models:
  - model: gemini-2.5-flash-image
    options: {{n: 2}}
    limits: {{concurrency: 4}}
    price: {{currency: CNY, input_per_million: 2.1, output_per_million: 210}}
  - model: kling-v1
    send_mask: false
    limits: {{concurrency: 4}}
    poll: {{interval: 0.1, timeout: 0.6}}
    price: {{currency: CNY, per_image: 0.20}}
run: {{retries: 1, timeout: 20}}
"""
ELSEWHERE: list[dict[str, object]] = [
    {"kind": "reset_before", "stage": "poll"}, {"kind": "truncated", "stage": "poll"},
    {"kind": "500", "stage": "poll"}, {"kind": "reset_before", "stage": "file"},
    {"kind": "truncated", "stage": "file"}, {"kind": "html", "stage": "file"},
]  # fmt: skip
STATUSES = {0, 200, 307, 400, 429, 500, 502, 503, 504}  # 0: the connection was reset


def every_fault(seed: int) -> dict[str, object]:
    """A day on which each kind of fault strikes once, in an order of its own."""
    chance = random.Random(seed)
    faults = [{"kind": kind} for kind in get_args(Kind)] + ELSEWHERE
    chance.shuffle(faults)
    return {
        "seed": seed,
        "usage_noise": 0.1,
        "faults": [{"times": 1, "seconds": 0.1, **one} for one in faults],
    }


@contextmanager
def provided(folder: Path, faults: dict[str, object]) -> Iterator[tuple[House, str]]:
    """A project folder whose provider is a served rehearsal with these faults, and its address."""
    (folder / "pictures").mkdir()
    for index in range(PICTURES):
        picture = Image.new("RGB", (300, 300), (index * 20, 90, 120))
        picture.save(folder / f"pictures/{index:02}.png")
    Image.new("L", (300, 300), 255).save(folder / "mask.png")
    (folder / "faults.yaml").write_text(json.dumps(faults))
    flags = ("--faults", str(folder / "faults.yaml"), "--seconds-per-task", "0.2")
    with serving(*flags) as server:
        manifest = MANIFEST.format(base_url=f"{server.root}/v1")
        (folder / "manifest.yaml").write_text(manifest)
        yield House(folder, urlsplit(server.root).port or 0), server.root


def run_until_nothing_is_left(place: House) -> list[int]:
    """Run again, as a user would, while a plan says that there are jobs to be sent; exit codes."""
    codes = []
    for _ in range(20):
        run = place.retouch("run")
        codes.append(run.returncode)
        plan = place.retouch("plan", "--json")
        assert plan.returncode == 0, (run.stderr, plan.stderr)
        if not sum(lane["to_send"] for lane in json.loads(plan.stdout)["lanes"]):
            return codes
    raise AssertionError(f"after {len(codes)} runs there is still something to send")


def reported(place: House) -> dict[str, Any]:
    """The one row of totals of `retouch report`, which knows that nobody was paid: the server
    marks its replies as a rehearsal's."""
    report = place.retouch("report", "--format", "json")
    assert report.returncode == 0, report.stderr
    found = json.loads(report.stdout)
    assert found["virtual"] is True
    (total,) = found["totals"]
    return dict(total)


def true_bill(charges: list[dict[str, Any]]) -> Decimal:
    """What the server's charges cost at the manifest's prices."""
    total = Decimal(0)
    for charge in charges:
        if charge["model"] == KLING:
            total += Decimal("0.20") * charge["images"]
        else:
            total += Decimal("2.1") * charge["input_tokens"] / 10**6
            total += Decimal(210) * charge["output_tokens"] / 10**6
    return total


def is_well_again(root: str) -> bool:
    """Whether an edit of each model goes through from end to end: no fault is left to strike."""
    with httpx.Client(base_url=root, headers=HEADERS, timeout=20) as client:
        edited = client.post("/v1/images/edits", json=edit_body())
        picture = uri(encoded(photo(300, 300)))
        body = {"model": KLING, "image": picture, "prompt": "make it warm"}
        task = client.post("/v1/images/generations", json=body).json()["task_id"]
        state: dict[str, Any] = {"status": "submitted"}
        while state["status"] in ("submitted", "processing"):
            state = client.get(f"/v1/images/tasks/{task}").json()
        made = client.get(state["data"][0]["url"])
    return len(edited.json()["data"]) == 1 and made.headers["content-type"] == "image/png"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_KEY", "rehearsal")


@pytest.mark.parametrize("seed", range(2))
def test_under_every_fault_the_true_bill_is_within_what_is_said(tmp_path: Path, seed: int) -> None:
    """Confirmed at least, and at most confirmed and unknown together."""
    with provided(tmp_path, every_fault(seed)) as (place, root):
        codes = run_until_nothing_is_left(place)
        book = httpx.get(f"{root}/_book").json()
        assert is_well_again(root)
    assert set(codes) <= {0, 1, 4}
    assert {request["status"] for request in book["requests"]} >= STATUSES
    total = reported(place)
    confirmed, unknown = Decimal(total["confirmed"]), Decimal(total["unknown_high"])
    assert unknown > 0
    assert confirmed <= true_bill(book["charges"]) <= confirmed + unknown


def test_without_faults_the_bill_is_equal_to_the_token(tmp_path: Path) -> None:
    """Nothing is unknown, and every token of the book is in the report."""
    with provided(tmp_path, {"usage_noise": 0.1}) as (place, root):
        assert run_until_nothing_is_left(place) == [0]
        book = httpx.get(f"{root}/_book").json()
    total = reported(place)
    assert len(book["charges"]) == 2 * PICTURES
    assert Decimal(total["confirmed"]) == true_bill(book["charges"])
    assert total["input_tokens"] == book["totals"]["input_tokens"]
    assert total["output_tokens"] == book["totals"]["output_tokens"]
    assert Decimal(total["unknown_high"]) == 0
