"""What servers of OpenAI's shape really answer, after public bug reports about them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retouch.cli import main
from retouch.dialects.base import EncodedPicture, LinkedPicture, Produced, Rejected, Reply
from retouch.dialects.openai import requests as openai
from retouch.ledger import read
from retouch.pictures import measure
from tests.support.provider import png
from tests.support.raw_server import Peer, serving

SSE = {"content-type": "text/event-stream"}


def events(*documents: dict[str, Any] | str) -> bytes:
    lines = (each if isinstance(each, str) else json.dumps(each) for each in documents)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def partial(index: int, name: str = "cGFydA==") -> dict[str, Any]:
    return {"type": "image_edit.partial_image", "partial_image_index": index, "b64_json": name}


COMPLETED = {
    "type": "image_edit.completed",
    "b64_json": "d2hvbGU=",
    "usage": {"input_tokens": 9, "output_tokens": 200, "total_tokens": 209},
}


@pytest.mark.parametrize(
    "body",
    [
        events(partial(0), COMPLETED),
        events(COMPLETED, partial(1)),  # hermes-agent 76981: a late preview is no result
        events(partial(0), COMPLETED, "[DONE]"),
        events(": keep-alive", partial(0), COMPLETED),
        # vllm-omni 5260: chunks of another kind, then one document like an unstreamed reply's
        events(
            {"cot_output": "thinking"},
            {"data": [{"b64_json": "d2hvbGU="}], "usage": COMPLETED["usage"]},
            "[DONE]",
        ),
    ],
)
def test_of_a_stream_the_completed_picture_is_the_result(body: bytes) -> None:
    """Never a preview, whatever comes after it and between."""
    reading = openai.read_submit(Reply(200, SSE, body))
    assert isinstance(reading, Produced)
    assert reading.pictures == (EncodedPicture("d2hvbGU="),)
    assert reading.usage.output_tokens == 200


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        # sub2api 7150: a background that the model does not make
        (400, {"message": "Transparent background is not supported for this model.",
               "type": "image_generation_user_error", "code": "invalid_value"}, "bad_request"),
        # new-api 1234: partial_images lost on the way
        (400, {"message": "Streaming must have non-zero partial images.",
               "type": "image_generation_user_error", "param": "tools"}, "bad_request"),
        # litellm 39512: a gateway that spoilt image[] on the way
        (400, {"message": "Invalid type for 'image[0]': expected a file, but got a string"
               " instead.", "type": "invalid_request_error", "code": "invalid_type"},
         "bad_request"),
        (400, {"message": "Your request was rejected by the safety system.",
               "type": "image_generation_user_error", "code": "moderation_blocked"}, "content"),
    ],
)  # fmt: skip
def test_a_refusal_is_of_its_kind_and_free(status: int, error: dict[str, Any], kind: str) -> None:
    """The job fails; nothing is charged, and the lane goes on."""
    reading = openai.read_submit(Reply(status, {}, json.dumps({"error": error}).encode()))
    assert isinstance(reading, Rejected)
    assert (reading.kind, reading.billed, reading.scope) == (kind, "no", "job")


def test_links_and_data_uris_in_place_of_base64_are_taken() -> None:
    """LocalAI and Xinference answer with links unless asked; others write data URIs into `url`."""
    document = {"data": [{"url": "http://127.0.0.1:8080/generated/1.png"},
                         {"url": "data:image/png;base64,d2hvbGU="}]}  # fmt: skip
    reading = openai.read_submit(Reply(200, {}, json.dumps(document).encode()))
    assert isinstance(reading, Produced)
    assert [type(each) for each in reading.pictures] == [LinkedPicture, EncodedPicture]


MANIFEST = """
version: 1
name: own
provider: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1", api_key_env: null}}
inputs: [{{glob: "*.png"}}]
prompts: [{{id: warm, template: Make it warmer}}]
models: [{{model: gpt-image-2, options: {{stream: true, partial_images: 1}}, price: {price}}}]
"""
PRICE = "{currency: USD, input_per_million: 8, output_per_million: 30}"


def test_a_stream_that_breaks_after_a_preview_is_unknown_and_kept(tmp_path: Path) -> None:
    """What came is in quarantine, with its ceiling in the ledger; nothing is sent again."""
    Image.new("RGB", (96, 64), "orange").save(tmp_path / "a.png")
    preview = base64.b64encode(png("preview")).decode()
    submits = []

    def breaking(peer: Peer) -> None:
        heard = peer.read_head()
        peer.read_body(heard)
        if heard.head.startswith("GET"):
            return peer.answer(status="404 Not Found", headers="Connection: close\r\n")
        submits.append(heard)
        body = events(partial(0, preview))
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999999\r\n\r\n"
        )
        return peer.send(head.encode() + body)  # and the connection ends here

    with serving(breaking) as served:
        path = tmp_path / "own.yaml"
        path.write_text(MANIFEST.format(port=served.port, price=PRICE))
        flags = ["--outputs", str(tmp_path / "outputs")]
        assert main(["run", str(path), *flags]) == 1
        assert main(["run", str(path), *flags]) == 1
    assert len(submits) == 1
    folder = tmp_path / "outputs/own"
    state = read(folder / "ledger.jsonl")
    assert state.counts()["unknown"] == 1
    assert all(charge.ceiling is not None for charge in state.open_charges.values())
    [kept] = (folder / "quarantine").iterdir()
    assert preview.encode() in kept.read_bytes()


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10px"/>', (20, 10)),
        (b'<?xml version="1.0"?>\n<svg viewBox="0 0 64 48"><path/></svg>', (64, 48)),
        (b'<svg width="100%" height="100%"/>', (300, 150)),
        (b'<svg width="20" height="10"><path>', None),
        (b"<!DOCTYPE html><html><svg/></html>", None),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', None),
        (b"GIF89a", None),
        (b"<svg", None),
        (b"", None),
    ],
)
def test_a_drawing_is_one_only_if_it_is_whole(data: bytes, facts: tuple[int, int] | None) -> None:
    """By its root, well-formed to its end, without entities."""
    found = measure(data)
    assert (found and found[1:]) == facts


def test_a_moving_picture_is_one_only_if_it_is_whole(tmp_path: Path) -> None:
    """A GIF that was cut anywhere is none."""
    frames = [Image.new("P", (12, 8), index) for index in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = (tmp_path / "a.gif").read_bytes()
    assert measure(data) == ("image/gif", 12, 8)
    assert all(measure(data[:-cut]) is None for cut in range(1, len(data)))
