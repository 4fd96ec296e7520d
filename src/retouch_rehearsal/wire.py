"""The bodies the service reads, as strict as the provider's page is.

Types, ranges and sets are checked here; which model takes what is checked in `orders`.
Explicit nulls mean absent. Unknown parameters are refused: a misspelt one teaches nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

from .catalogue import QUEUE_IMAGES_MAX, SUBJECTS_MAX

Text = Annotated[str, StringConstraints(strict=True)]
Prompt = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=32_000)]
KlingRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]
GeminiRatio = Literal[
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "auto"
]
SizeText = Annotated[
    str, StringConstraints(strict=True, pattern=r"^(auto|[1-9]\d{1,4}x[1-9]\d{1,4})$")
]
Fidelity = Annotated[float, Field(strict=True, ge=0, le=1)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageUrl(_Body):
    """OpenAI's JSON form of one input picture."""

    image_url: Text


class SubjectImage(_Body):
    """One of Kling's reference pictures, by public URL."""

    subject_image: Text


class ImageConfig(_Body):
    """Gemini's own size settings."""

    aspect_ratio: GeminiRatio | None = None
    image_size: Literal["1K", "2K", "4K"] | None = None


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Images = Annotated[
    list[Text],
    Field(max_length=16),
    BeforeValidator(_as_list),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}, "maxItems": 16}),
]


class SvgReasoning(_Body):
    """How hard a drawing's author thinks."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class Svg(_Body):
    """Who writes a drawing."""

    model: Text | None = None
    reasoning: SvgReasoning | None = None


class EditBody(_Body):
    """`POST /v1/images/edits`: the page's parameters, and OpenAI's `images` instead of `image`."""

    model: Text
    prompt: Prompt
    image: Images | None = None
    images: Annotated[list[ImageUrl], Field(min_length=1, max_length=16)] | None = None
    mask: Text | ImageUrl | None = None
    n: Annotated[StrictInt, Field(ge=1, le=10)] = 1
    size: SizeText | None = None
    quality: Literal["standard", "hd", "low", "medium", "high", "xhigh", "max", "auto"] | None = (
        None
    )
    background: Literal["transparent", "opaque", "auto"] | None = None
    input_fidelity: Literal["high", "low"] | None = None
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = None
    frame_count: Annotated[StrictInt, Field(ge=2, le=16)] | None = None
    frame_duration_ms: Annotated[StrictInt, Field(ge=1, le=655_350)] | None = None
    svg: Svg | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    output_compression: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: StrictBool = False
    partial_images: Annotated[StrictInt, Field(ge=0, le=3)] = 0
    user: Text | None = None
    safety_identifier: Text | None = None
    moderation: Literal["low", "auto"] | None = None
    image_config: ImageConfig | None = None
    subject_image_list: (
        Annotated[list[SubjectImage], Field(min_length=1, max_length=SUBJECTS_MAX)] | None
    ) = None
    scene_image: Text | None = None
    style_image: Text | None = None
    aspect_ratio: KlingRatio | None = None


class GenerationBody(_Body):
    """`POST /v1/images/generations` as single-image Kling uses it."""

    model: Text
    prompt: Prompt
    image: Text | None = None
    image_reference: Literal["subject", "face"] | None = None
    image_fidelity: Fidelity | None = None
    human_fidelity: Fidelity | None = None
    negative_prompt: Text | None = None
    n: Annotated[StrictInt, Field(ge=1, le=10)] = 1
    aspect_ratio: KlingRatio = "16:9"


class QueueBody(_Body):
    """`POST /queue/fal-ai/kling-image/o1`."""

    prompt: Prompt
    image_urls: Annotated[list[Text], Field(min_length=1, max_length=QUEUE_IMAGES_MAX)]
    num_images: Annotated[StrictInt, Field(ge=1, le=9)] = 1
    resolution: Literal["1K", "2K"] = "1K"
    aspect_ratio: KlingRatio | Literal["auto"] = "auto"
    output_format: Literal["png", "jpeg", "webp"] | None = None
