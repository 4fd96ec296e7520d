"""A request, understood: from any of the service's bodies to one Order.

What a model takes is decided here, by the provider's page; pictures are still references
(data URIs, raw base64 or URLs) and are read later, off the event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from . import catalogue, wire
from .catalogue import MODELS, QUEUE_MODEL, ModelCard
from .multipart import PARTS, MultipartBroken, read_form
from .refusal import Refusal, bad_request, no_such_model

Endpoint = Literal["edits", "generations", "queue"]
Role = Literal["image", "subject", "scene", "style", "mask"]
Polarity = Literal["white", "transparent"]
OutputFormat = Literal["png", "jpeg", "webp", "gif", "svg"]
BodyT = TypeVar("BodyT", bound=BaseModel)

_UNSUPPORTED_BY_GEMINI = (
    "size", "quality", "background", "input_fidelity", "output_format", "output_compression",
    "response_format", "moderation", "safety_identifier", "frame_count", "frame_duration_ms",
    "svg", "complexity",
)  # fmt: skip
_KLING_ONLY = ("subject_image_list", "scene_image", "style_image", "aspect_ratio")
_NEVER_KLING = (
    "images", "mask", "size", "quality", "background", "input_fidelity", "output_format",
    "output_compression", "response_format", "moderation", "image_config", "user",
    "safety_identifier", "frame_count", "frame_duration_ms", "svg", "complexity",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """One input picture as the client named it: a data URI, a URL, raw base64 or bytes.

    `path`: where its bytes were put aside, once they were.
    """

    role: Role
    value: str | bytes
    name: str
    url_only: bool = False
    raw_base64: bool = False
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Of a GIF: how many pictures, and milliseconds for each."""

    count: int = 9
    milliseconds: int = 200


DEFAULT_FRAMES = Frames()


@dataclass(frozen=True, slots=True)
class Order:
    """What the client asked for. `digest` is the SHA-256 of the body's meaning, as hex;
    `author`: the model that writes a drawing;
    `partial_images`: as events, so many partial pictures first (None: one document);
    `variant` asks for others than the pictures that the same request was given before."""

    endpoint: Endpoint
    model: ModelCard
    prompt: str
    references: tuple[Reference, ...]
    digest: str
    mask: Reference | None = None
    polarity: Polarity = "white"
    n: int = 1
    aspect_ratio: str | None = None
    size: tuple[int, int] | None = None
    background: str | None = None
    output_format: OutputFormat = "png"
    output_compression: int | None = None
    frames: Frames = DEFAULT_FRAMES
    author: str = "rehearsal-author"
    partial_images: int | None = None
    warnings: tuple[str, ...] = field(default=())
    variant: int = 0


def read_order(
    endpoint: Endpoint,
    content_type: str,
    body: bytearray,
    sold: Mapping[str, ModelCard] = MODELS,
) -> Order:
    """The Order in a request's body; raises Refusal with what is wrong and where."""
    digest = hashlib.sha256(body).hexdigest()
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data" and endpoint == "edits":
        try:
            fields, parts = read_form(content_type, body)
        except MultipartBroken as error:
            raise bad_request(f"the multipart body cannot be read: {error}") from error
        return _edit(fields, digest, parts, sold)
    if media_type != "application/json":
        raise Refusal(415, f"Content-Type must be application/json, not {media_type or 'absent'!r}")
    document = _json_object(body)
    if endpoint == "edits":
        return _edit(document, digest, (), sold)
    if endpoint == "generations":
        return _generation_order(_validated(wire.GenerationBody, document), digest)
    return _queue_order(_validated(wire.QueueBody, document), digest)


def _edit(
    document: dict[str, object],
    digest: str,
    parts: tuple[tuple[str, bytes], ...],
    sold: Mapping[str, ModelCard],
) -> Order:
    """An edit; of a model that is somebody else's, what is not known here is passed over."""
    card = sold.get(str(document.get("model")))
    unknown = set(document) - set(wire.EditBody.model_fields) if card and card.is_other else set()
    known = {name: value for name, value in document.items() if name not in unknown}
    order = _edit_order(_validated(wire.EditBody, known, sold), digest, parts, sold)
    told = tuple(f"{name} is not rehearsed; ignored" for name in sorted(unknown))
    return replace(order, warnings=(*order.warnings, *told))


def _json_object(body: bytearray) -> dict[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body must be a JSON object")
    return {name: value for name, value in document.items() if value is not None}


def _validated(
    shape: type[BodyT], document: dict[str, object], sold: Mapping[str, ModelCard] = MODELS
) -> BodyT:
    model = document.get("model")
    if isinstance(model, str) and model not in sold:
        raise no_such_model(model[:100])
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise bad_request(f"{where}: {first['msg']}", param=where or None) from error


def _card(card: ModelCard, *, reached_by: Literal["edits", "generations"]) -> ModelCard:
    name = card.name
    if not getattr(card, reached_by):
        other = (
            "queue" if card.queue else "images/generations" if card.generations else "images/edits"
        )
        raise bad_request(
            f"{name} is not reached by images/{reached_by}; use {other}", param="model"
        )
    return card


def _refuse_fields(body: BaseModel, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in body.model_fields_set:
            raise bad_request(f"{name}: {why}", param=name)


def _edit_order(
    body: wire.EditBody,
    digest: str,
    parts: tuple[tuple[str, bytes], ...],
    sold: Mapping[str, ModelCard],
) -> Order:
    card = _card(sold[body.model], reached_by="edits")
    if body.stream and card.is_task:
        raise bad_request("stream: a task is polled, not streamed", param="stream")
    if card.is_task:
        return _subjects_order(body, card, digest)
    _refuse_fields(body, _KLING_ONLY, "only Kling models take it")
    if card.family == "openai" and body.image_config is not None:
        raise bad_request("image_config: only Gemini models take it", param="image_config")
    _check_drawing(body, card)
    references, mask = _edit_pictures(body, parts)
    ignored = [name for name in _UNSUPPORTED_BY_GEMINI if name in body.model_fields_set]
    openai = card.family == "openai"
    ratio = body.image_config.aspect_ratio if body.image_config else None
    return Order(
        endpoint="edits",
        model=card,
        prompt=body.prompt,
        references=references,
        digest=digest,
        mask=mask,
        polarity="transparent" if parts or body.images else "white",
        n=body.n,
        aspect_ratio=None if ratio == "auto" else ratio,
        size=_size(body.size) if openai else None,
        background=body.background if openai else None,
        output_format=(body.output_format or "png") if openai else "png",
        output_compression=body.output_compression if openai else None,
        frames=Frames(
            body.frame_count or DEFAULT_FRAMES.count,
            body.frame_duration_ms or DEFAULT_FRAMES.milliseconds,
        ),
        author=(body.svg.model if body.svg else None) or "rehearsal-author",
        partial_images=body.partial_images if body.stream else None,
        warnings=()
        if openai
        else tuple(f"{name} is not yet supported by {card.name}; ignored" for name in ignored),
    )


def _check_drawing(body: wire.EditBody, card: ModelCard) -> None:
    """What GIF and SVG output asks of a request (OpenAI's description of the parameters)."""
    form = body.output_format
    is_openai = card.family == "openai"
    if form not in ("gif", "svg"):
        if is_openai:
            only = ("frame_count", "frame_duration_ms", "svg")
            _refuse_fields(body, only, "only goes with output_format gif or svg")
        return
    if not is_openai or not (card.is_other or card.name.startswith(catalogue.DRAWING)):
        raise bad_request(f"output_format: {card.name} makes no {form}", param="output_format")
    if body.stream or body.output_compression is not None:
        raise bad_request(f"{form} is neither streamed nor compressed", param="output_format")
    if form == "svg" and body.n != 1:
        raise bad_request("n: must be 1 for svg", param="n")
    if form == "gif" and body.mask is not None:
        raise bad_request("mask: does not go with gif", param="mask")


def _edit_pictures(
    body: wire.EditBody, parts: tuple[tuple[str, bytes], ...]
) -> tuple[tuple[Reference, ...], Reference | None]:
    """The pictures and the mask, from whichever of the three forms the client used."""
    values: list[str | bytes] = [data for name, data in parts if name in PARTS]
    values += [image.image_url for image in body.images or ()] + list(body.image or ())
    if not values or any(not value for value in values):
        raise bad_request("image: an input picture is required", param="image")
    masks: list[str | bytes] = [data for name, data in parts if name == "mask"]
    if body.mask:
        masks.append(body.mask if isinstance(body.mask, str) else body.mask.image_url)
    references = tuple(
        Reference("image", value, f"image[{index}]" if len(values) > 1 else "image")
        for index, value in enumerate(values)
    )
    return references, Reference("mask", masks[0], "mask") if masks else None


def _subjects_order(body: wire.EditBody, card: ModelCard, digest: str) -> Order:
    _refuse_fields(body, _NEVER_KLING, f"{card.name} does not take it")
    if body.image is None:
        raise bad_request('image: is required; Kling models take "image": ""', param="image")
    if any(body.image):
        raise bad_request(
            'image: must be "" for this model; give pictures in subject_image_list', param="image"
        )
    if not body.subject_image_list:
        raise bad_request(
            "subject_image_list: 1 to 4 pictures are required", param="subject_image_list"
        )
    _check_kling_prompt(body.prompt)
    references = [
        Reference("subject", subject.subject_image, f"subject_image_list[{index}]", url_only=True)
        for index, subject in enumerate(body.subject_image_list)
    ]
    if body.scene_image:
        references.append(Reference("scene", body.scene_image, "scene_image", url_only=True))
    if body.style_image:
        references.append(Reference("style", body.style_image, "style_image", url_only=True))
    return Order(
        endpoint="edits",
        model=card,
        prompt=body.prompt,
        references=tuple(references),
        digest=digest,
        n=body.n,
        aspect_ratio=body.aspect_ratio or "16:9",
    )


def _generation_order(body: wire.GenerationBody, digest: str) -> Order:
    card = _card(MODELS[body.model], reached_by="generations")
    _check_kling_prompt(body.prompt)
    if not body.image:
        raise bad_request("image: this service edits pictures; an image is required", param="image")
    return Order(
        endpoint="generations",
        model=card,
        prompt=body.prompt,
        references=(Reference("image", body.image, "image", raw_base64=True),),
        digest=digest,
        n=body.n,
        aspect_ratio=body.aspect_ratio,
    )


def _queue_order(body: wire.QueueBody, digest: str) -> Order:
    _check_kling_prompt(body.prompt)
    return Order(
        endpoint="queue",
        model=QUEUE_MODEL,
        prompt=body.prompt,
        references=tuple(
            Reference("image", url, f"image_urls[{index}]", raw_base64=True)
            for index, url in enumerate(body.image_urls)
        ),
        digest=digest,
        n=body.num_images,
        aspect_ratio=None if body.aspect_ratio == "auto" else body.aspect_ratio,
        output_format=body.output_format or "png",
    )


def _check_kling_prompt(prompt: str) -> None:
    if len(prompt) > catalogue.KLING_PROMPT_CHARACTERS:
        raise bad_request(
            f"prompt: {len(prompt)} characters; at most {catalogue.KLING_PROMPT_CHARACTERS}",
            param="prompt",
        )


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None or text == "auto":
        return None
    width, _, height = text.partition("x")
    size = int(width), int(height)
    if max(size) > 2048 or min(size) < 64:
        raise bad_request(f"size: {text} is outside 64 to 2048 pixels a side", param="size")
    return size
