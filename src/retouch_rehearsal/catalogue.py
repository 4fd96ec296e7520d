"""The models the service offers: how each is called and what it takes.

Source: the provider's page and PROTOCOL §1 ("Routing by model").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Family = Literal["gemini", "openai", "kling"]

KLING_ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
KLING_PROMPT_CHARACTERS = 2500
KLING_PICTURE_BYTES = 10 * 1024 * 1024
KLING_SIDE_PIXELS = 300
KLING_SIDE_RATIO = 2.5
SUBJECTS_MAX = 4
QUEUE_IMAGES_MAX = 10


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: its family and the calls that reach it."""

    name: str
    family: Family
    edits: bool = False
    generations: bool = False
    queue: bool = False
    is_other: bool = False  # somebody else's: what it takes is not known here

    @property
    def is_task(self) -> bool:
        """Whether the model answers with a task instead of pictures."""
        return self.family == "kling"


_CARDS = (
    ModelCard("gemini-2.5-flash-image", "gemini", edits=True),
    ModelCard("gemini-3.0-pro-image-preview", "gemini", edits=True),
    ModelCard("gemini-3.1-flash-image-preview", "gemini", edits=True),
    ModelCard("openai/gpt-image-2", "openai", edits=True),
    ModelCard("gpt-image-2", "openai", edits=True),
    ModelCard("gpt-image-1", "openai", edits=True),
    ModelCard("gpt-image-1-mini", "openai", edits=True),
    ModelCard("gpt-image-1.5", "openai", edits=True),
    ModelCard("chatgpt-image-latest", "openai", edits=True),
    ModelCard("gpt-image-2.5-flare", "openai", edits=True),
    ModelCard("gpt-image-2.5-sunburst", "openai", edits=True),
    ModelCard("gpt-image-2.6-flare", "openai", edits=True),
    ModelCard("gpt-image-2.6-sunburst", "openai", edits=True),
    ModelCard("kling-v1", "kling", generations=True),
    ModelCard("kling-v1-5", "kling", generations=True),
    ModelCard("kling-v2", "kling", edits=True, generations=True),
    ModelCard("kling-v2-new", "kling", generations=True),
    ModelCard("kling-v2-1", "kling", edits=True, generations=True),
    ModelCard("kling-image-o1", "kling", queue=True),
)
MODELS = {card.name: card for card in _CARDS}
DRAWING = ("gpt-image-2.5", "gpt-image-2.6")  # how those begin that make GIFs and SVGs
QUEUE_MODEL = MODELS["kling-image-o1"]


def with_others(names: Iterable[str]) -> dict[str, ModelCard]:
    """The models, and others of OpenAI's shape that a manifest names."""
    others = {name: ModelCard(name, "openai", edits=True, is_other=True) for name in names}
    return others | MODELS
