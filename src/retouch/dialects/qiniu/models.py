"""The provider's page as a table: each model's calls, and what each call takes.

Source: the seed's page (图生图) and PROTOCOL §1 "Routing by model". `not_yet` is the page's mark
暂不支持: such an option is sent as given, with a warning. A model on two routes has two Calls;
which one is used follows from the request field the pictures go to, else from how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from retouch.dialects.base import Capabilities, Parameter, PictureLimits, Placement, TokenEstimate

EDITS = "{base}/images/edits"
GENERATIONS = "{base}/images/generations"
O1_QUEUE = "{root}/queue/fal-ai/kling-image/o1"

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One way of sending pictures to a model: address, request field, and what may go with it.

    `count` names the parameter that says how many pictures are wanted; it is always sent, so
    that what is paid for never hangs on a server's default ("" where that is not known to work).
    """

    url: str
    kind: Literal["sync", "task"]
    placement: Placement
    parameters: tuple[Parameter, ...]
    count: str = "n"
    takes_mask: bool = False
    maximum_prompt_characters: int | None = None
    maximum_images_wanted: int = 10
    slots_per_image: int = 0
    tokens: TokenEstimate | None = None
    known: bool = True

    @property
    def names_model(self) -> bool:
        """Whether the body says which model is meant; the queue's address does it there."""
        return self.url != O1_QUEUE


# --- Input pictures ------------------------------------------------------------------------

ANY_PICTURE = PictureLimits()
# The page on subject_image_list, scene_image and style_image: jpg/jpeg/png, at most 10 MB, sides
# of at least 300 px, ratio within 1:2.5 and 2.5:1, content given as a public URL.
KLING_REFERENCE = PictureLimits(
    media_types=("image/jpeg", "image/png"),
    maximum_bytes=10 * _MEGABYTE,
    minimum_side=300,
    maximum_ratio=2.5,
    urls_only=True,
)
# The single `image` of Kling has the same limits, and takes base64 too.
KLING_PICTURE = replace(KLING_REFERENCE, urls_only=False)

# --- Parameters ----------------------------------------------------------------------------

_RATIO_CHOICES = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
_GEMINI_RATIOS = (*_RATIO_CHOICES, "4:5", "5:4")
_QUALITIES = ("low", "medium", "high", "auto")
_SIZE = r"[1-9]\d{1,4}x[1-9]\d{1,4}"  # 宽x高


def _not_yet(*parameters: Parameter) -> tuple[Parameter, ...]:
    """暂不支持: documented for the model, not yet honoured."""
    return tuple(replace(parameter, status="not_yet") for parameter in parameters)


# fmt: off
_N = Parameter("n", "integer", minimum=1, maximum=10, default=1)
_ASPECT_RATIO = Parameter("aspect_ratio", "string", choices=_RATIO_CHOICES)

PAGE: tuple[Parameter, ...] = (  # 请求参数说明, without model, image, mask and prompt
    _N,
    *_not_yet(
        Parameter("size",               "string", pattern=_SIZE),
        Parameter("quality",            "string", choices=("standard", "hd")),
        Parameter("background",         "string", choices=("transparent", "opaque", "auto")),
        Parameter("input_fidelity",     "string", choices=("high", "low")),
        Parameter("output_format",      "string", choices=("png", "jpeg", "webp")),
        Parameter("output_compression", "integer", minimum=0, maximum=100),
        Parameter("response_format",    "string", choices=("b64_json", "url")),
        Parameter("stream",             "boolean"),
    ),
)
KLING_SEVERAL: tuple[Parameter, ...] = (  # and the page's rows 仅限kling模型
    *PAGE,
    Parameter("scene_image", "image_url", limits=KLING_REFERENCE),
    Parameter("style_image", "image_url", limits=KLING_REFERENCE),
    _ASPECT_RATIO,
)
GPT_IMAGE: tuple[Parameter, ...] = (  # PROTOCOL §1 (S): most of the marked is honoured
    _N,
    Parameter("size",               "string", pattern=f"auto|{_SIZE}"),
    Parameter("quality",            "string", choices=(*_QUALITIES, "standard", "hd")),
    Parameter("background",         "string", choices=("transparent", "opaque", "auto")),
    Parameter("output_format",      "string", choices=("png", "jpeg", "webp")),
    Parameter("output_compression", "integer", minimum=0, maximum=100),
    *_not_yet(
        Parameter("input_fidelity",  "string", choices=("high", "low")),
        Parameter("response_format", "string", choices=("b64_json", "url")),
        Parameter("stream",          "boolean"),
    ),
)
KLING_O1: tuple[Parameter, ...] = (
    Parameter("num_images",   "integer", minimum=1, maximum=9, default=1),
    Parameter("resolution",   "string",  choices=("1K", "2K", "1k", "2k")),
    Parameter("aspect_ratio", "string",  choices=("auto", *_RATIO_CHOICES)),
)
# fmt: on


def _gemini(*sizes: str, ratios: tuple[str, ...] = _GEMINI_RATIOS) -> tuple[Parameter, ...]:
    """The page's parameters and `image_config` (S), whose sizes differ by model."""
    members = (
        Parameter("aspect_ratio", "string", choices=ratios),
        Parameter("image_size", "string", choices=sizes),
    )
    return (*PAGE, Parameter("image_config", "mapping", members=members))


def _kling_single(*honoured: str) -> tuple[Parameter, ...]:
    """What /images/generations takes with one picture; `honoured` by this model, else not yet.

    Source (S): references and fidelities are honoured by the first generation alone, which in
    turn ignores negative_prompt once a picture is given.
    """
    special = (
        Parameter("negative_prompt", "string"),
        Parameter("image_reference", "string", choices=("subject", "face")),
        Parameter("image_fidelity", "number", minimum=0, maximum=1),
        Parameter("human_fidelity", "number", minimum=0, maximum=1),
    )
    marked = (p if p.name in honoured else replace(p, status="not_yet") for p in special)
    return (_N, _ASPECT_RATIO, *marked)


# --- Calls ---------------------------------------------------------------------------------

# PROTOCOL §1 Billing: 1,290 output tokens a picture up to 1024 px, 258 an input tile (P). The
# ceilings leave room for a text part beside the picture and for ten tiles (I).
_TOKENS_2_5 = TokenEstimate(
    input_per_image=258,
    output_per_image=1290,
    ceiling_output_per_image=2580,
    ceiling_input_per_image=2580,
)
# 0.134 and 0.067 an image are 1,120 output tokens at list price; up to 2,520 for 4K, and thinking
# tokens, which cannot be turned off, on top (I).
_TOKENS_3 = TokenEstimate(
    input_per_image=560,
    output_per_image=1120,
    ceiling_output_per_image=8192,
    ceiling_input_per_image=2580,
)


def _edits(parameters: tuple[Parameter, ...], tokens: TokenEstimate | None = None) -> Call:
    placement = Placement("image", maximum=16, limits=ANY_PICTURE)
    return Call(EDITS, "sync", placement, parameters, takes_mask=True, tokens=tokens)


def _single(*honoured: str) -> Call:
    return Call(
        GENERATIONS,
        "task",
        Placement("image", maximum=1, limits=KLING_PICTURE),
        _kling_single(*honoured),
        maximum_prompt_characters=2500,
        slots_per_image=1,
    )


_SEVERAL = Call(
    EDITS,
    "task",
    # At least one by the page (later pages say two), at most four.
    Placement("subject_image_list", maximum=4, limits=KLING_REFERENCE),
    KLING_SEVERAL,
    takes_mask=True,  # the page limits `mask` to no model
    maximum_prompt_characters=2500,
    slots_per_image=1,
)
_O1 = Call(
    O1_QUEUE,
    "task",
    # Whether file contents are taken is documented nowhere: URLs only, like the other references.
    Placement("image_urls", maximum=10, limits=KLING_REFERENCE),
    KLING_O1,
    count="num_images",
    maximum_prompt_characters=2500,
    maximum_images_wanted=9,
    slots_per_image=1,
)
_WIDER = (*_GEMINI_RATIOS, "1:4", "4:1", "1:8", "8:1")
_GEMINI_3_1 = _gemini("0.5K", "1K", "2K", "4K", ratios=_WIDER)
_FIDELITIES = ("image_fidelity", "human_fidelity")

# fmt: off
MODELS: dict[str, tuple[Call, ...]] = {  # the first Call that takes the pictures is the default
    "gemini-2.5-flash-image":         (_edits(_gemini("1K"), _TOKENS_2_5),),
    "gemini-3.0-pro-image-preview":   (_edits(_gemini("1K", "2K", "4K"), _TOKENS_3),),
    "gemini-3.1-flash-image-preview": (_edits(_GEMINI_3_1, _TOKENS_3),),
    "openai/gpt-image-2":             (_edits(GPT_IMAGE),),
    "gpt-image-2":                    (_edits(GPT_IMAGE),),
    "gpt-image-1":                    (_edits(GPT_IMAGE),),
    "kling-v1":                       (_single(*_FIDELITIES),),
    "kling-v1-5":                     (_single("image_reference", *_FIDELITIES),),
    "kling-v2":                       (_single("negative_prompt"), _SEVERAL),
    "kling-v2-new":                   (_single("negative_prompt"),),
    "kling-v2-1":                     (_single("negative_prompt"), _SEVERAL),
    "kling-image-o1":                 (_O1,),
}
# fmt: on


def call_for(model: str, images: int, placement: str | None) -> Call:
    """The Call that sends `images` pictures to `model`, in `placement` if it has such a field."""
    calls = _calls(model)
    for call in calls:
        if call.placement.name == placement:
            return call
    for call in calls:
        if call.placement.minimum <= images <= call.placement.maximum:
            return call
    return calls[-1]


def capabilities_of(model: str, images: int, placement: str | None) -> Capabilities:
    """What the chosen Call takes; `placements` begins with its own, then the model's others."""
    chosen = call_for(model, images, placement)
    others = (call.placement for call in _calls(model) if call != chosen)
    return Capabilities(
        model=model,
        kind=chosen.kind,
        placements=(chosen.placement, *others),
        parameters=chosen.parameters,
        takes_mask=chosen.takes_mask,
        maximum_prompt_characters=chosen.maximum_prompt_characters,
        maximum_images_wanted=chosen.maximum_images_wanted,
        slots_per_image=chosen.slots_per_image,
        tokens=chosen.tokens,
        known=chosen.known,
        named_in_body=chosen.names_model,
        reserved=("image", "image_urls", "subject_image_list", "images"),
    )


def _calls(model: str) -> tuple[Call, ...]:
    return MODELS.get(model) or tuple(_guesses(model))


def _guesses(model: str) -> Iterator[Call]:
    """The Calls of a model the table does not list: as the page would have it, count not added.

    A name of Kling's goes where Kling's single pictures go; everything else to /images/edits.
    """
    if model.startswith("kling-"):
        yield replace(_single(), count="", known=False)
        yield replace(_SEVERAL, count="", known=False)
    else:
        yield replace(_edits(PAGE), count="", known=False)
