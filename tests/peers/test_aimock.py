"""`@copilotkit/aimock` as the provider: its journal is the oracle."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.peers.peers import SOURCES, WITH_ALL, free_port, node, run, running

PRICE = Decimal("0.04")
BY_PICTURE = "{currency: USD, per_image: 0.04}"


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "purple").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def refusal(message: str, code: str, status: int = 400) -> dict[str, Any]:
    error = {"message": message, "type": "image_generation_user_error", "code": code}
    return {"error": error, "status": status}


FIXTURES = {
    "Make it warmer": {"images": [{"b64Json": picture()}]},
    "Refuse it": refusal("Your request was rejected by the safety system.", "moderation_blocked"),
    "No money": refusal("Billing hard limit has been reached", "billing_hard_limit_reached"),
    "No quota": refusal("You exceeded your current quota", "insufficient_quota", 429),
    "Too large": refusal("Image is too large: at most 50 MB", "image_too_large"),
}


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; the fixtures answer by prompt."""
    folder = tmp_path_factory.mktemp("aimock")
    fixtures = [
        {"match": {"endpoint": "image", "userMessage": prompt}, "response": response}
        for prompt, response in FIXTURES.items()
    ]
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    root = f"http://127.0.0.1:{(port := free_port())}"
    words = ("llmock", "-p", str(port), "-f", str(folder / "fixtures.json"), "--strict")
    with running(node(*words), root, folder / "log"):
        yield root


def answered(root: str) -> list[int]:
    """The statuses of the edits it answered; its journal is emptied."""
    journal = httpx.get(f"{root}/__aimock/journal", trust_env=False).json()
    httpx.post(f"{root}/__aimock/reset/journal", trust_env=False)
    entries = journal if isinstance(journal, list) else journal["entries"]
    edits = [each for each in entries if each["path"] == "/v1/images/edits"]
    assert all(each["body"]["model"] == "gpt-image-1.5" for each in edits)
    return [each["response"]["status"] for each in edits]


def test_pictures_come_and_are_charged_as_often_as_it_says(tmp_path: Path, aimock: str) -> None:
    """Forms with all that a form may hold; no usage, so the price is by the picture."""
    answered(aimock)
    sent = run(tmp_path, f"{aimock}/v1", inputs=WITH_ALL, price=BY_PICTURE)
    assert sent.code == 0, sent.said
    statuses = answered(aimock)
    assert statuses == [200] * len(SOURCES)
    assert sent.confirmed == PRICE * len(statuses)
    assert sent.picture("a").getpixel((1, 1)) == (128, 0, 128)


def test_without_a_usage_a_price_by_tokens_is_never_guessed(tmp_path: Path, aimock: str) -> None:
    """The pictures are kept, and their charge is unknown."""
    sent = run(tmp_path, f"{aimock}/v1")
    assert sent.confirmed == 0
    assert len(sent.state.open_charges) == len(sent.ended("done")) == len(SOURCES)


@pytest.mark.parametrize(
    ("prompt", "said", "exit_code"),
    [
        ("Refuse it", ("moderation_blocked", "content"), 1),
        ("Too large", ("image_too_large", "bad_request"), 1),
        ("No money", ("billing_hard_limit_reached", "quota"), 4),
        ("No quota", ("insufficient_quota", "quota"), 4),
    ],
)
def test_refusals_are_understood_and_free(
    tmp_path: Path, aimock: str, prompt: str, said: tuple[str, str], exit_code: int
) -> None:
    """The real API's codes: final, unbilled, with the id that its support asks for."""
    sent = run(tmp_path, f"{aimock}/v1", prompt=prompt)
    assert sent.code == exit_code, sent.said
    errors = [each["error"] for each in sent.ended("failed") + sent.ended("unsent")]
    assert errors
    assert {(error["code"], error["kind"]) for error in errors} == {said}
    assert all("(request req-" in error["message"] for error in errors)
    assert not sent.state.open_charges
    assert sent.confirmed == 0
