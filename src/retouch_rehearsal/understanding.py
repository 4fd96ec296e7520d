"""From a prompt to an ordered plan of edits, by the table of words; pure and deterministic.

A prompt is cut into clauses; each clause is read by a few rules, in order, and yields steps.
What is not understood is said, never guessed at.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from . import words

Operation = Literal[
    "remove", "denoise", "recolour", "background", "fusion", "brightness", "contrast",
    "saturation", "tone", "grayscale", "style", "sharpen", "blur", "comic", "mild_tone",
]  # fmt: skip
Target = Literal["subject", "background", "sky", "whole"]

# The order edits are made in: repairs first, then what is where, then light, then manner.
_RANKS: tuple[Operation, ...] = (
    "remove", "denoise", "recolour", "background", "fusion", "brightness", "contrast",
    "saturation", "tone", "mild_tone", "sharpen", "blur", "style", "grayscale", "comic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One edit: what, where, to which value (a colour, scene, style, tone or direction)."""

    operation: Operation
    target: Target = "whole"
    value: str = ""
    strength: float = 1.0

    def __str__(self) -> str:
        inside = ", ".join(part for part in (self.target, self.value) if part)
        strength = "" if self.strength == 1.0 else f" x{self.strength:g}"
        return f"{self.operation}({inside}){strength}"


@dataclass(frozen=True, slots=True)
class EditPlan:
    """The steps in the order they are made, and the clauses nobody understood."""

    steps: tuple[Step, ...]
    not_understood: tuple[str, ...] = ()
    needs_mask: bool = False

    def __str__(self) -> str:
        return " > ".join(map(str, self.steps))

    @property
    def is_fallback(self) -> bool:
        """Whether nothing was understood, so that only a mild tone change is made."""
        return self.steps == FALLBACK

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to tell the client."""
        unread = tuple(f'not understood: "{clause}"' for clause in self.not_understood)
        if self.needs_mask:
            unread = (
                *unread,
                "remove: give a mask; nothing else says where, so nothing was removed",
            )
        if not self.is_fallback:
            return unread
        return (*unread, "nothing was understood: only a mild change of tone was made")


FALLBACK = (Step("mild_tone"),)


def understand(prompt: str, *, images: int = 1, is_masked: bool = False) -> EditPlan:
    """The plan for `prompt` on that many input pictures, with or without a mask."""
    text = unicodedata.normalize("NFKC", prompt).lower().replace("’", "'")
    for pattern, replacement in words.ONE_WORD:
        text = pattern.sub(replacement, text)
    steps: dict[tuple[Operation, Target, str], Step] = {}
    unread: list[str] = []
    for clause in filter(None, (part.strip() for part in words.SPLIT.split(text))):
        found = _read(clause, images)
        for step in found or ():
            steps.setdefault((step.operation, step.target, step.value), step)
        if found is None:
            unread.append(clause[:80])
    ordered = _settled(sorted(steps.values(), key=lambda step: _RANKS.index(step.operation)))
    needs_mask = not is_masked and Step("remove", "subject") in ordered
    return EditPlan(ordered or FALLBACK, tuple(unread), needs_mask)


def _settled(steps: list[Step]) -> tuple[Step, ...]:
    """Steps without what another step already does."""
    operations = {step.operation for step in steps}
    scenes = {step.value for step in steps if step.operation == "background"}
    styles = [step for step in steps if step.operation == "style"]
    kept = []
    for step in steps:
        if step in styles[1:]:
            continue  # one manner a picture: the first named
        if step.operation == "tone" and step.value in scenes:
            continue
        if step.operation == "tone" and step.value == "sepia" and "grayscale" in operations:
            continue
        kept.append(step)
    return tuple(kept)


def _read(clause: str, images: int) -> tuple[Step, ...] | None:
    """The steps of one clause; an empty tuple if it asks for nothing, None if not understood."""
    if words.FIXED.search(clause) or words.NOT.search(clause):
        return ()
    strength = 0.6 if words.WEAK.search(clause) else 1.4 if words.STRONG.search(clause) else 1.0
    found = (
        _several_pictures(clause, images)
        or _removal(clause)
        or _blur(clause)
        or _place(clause)
        or (*_manner(clause), *_light(clause, strength))
        or _recolour(clause)
    )
    if found:
        return found
    if words.KEEP.search(clause) or words.FILLER.fullmatch(clause):
        return ()
    return None


def _several_pictures(clause: str, images: int) -> tuple[Step, ...]:
    if images < 2:
        return ()
    if words.first(words.STYLES, clause) == "comic":
        return (Step("comic", value="panels"),)
    if words.COMBINE.search(clause) or words.SECOND_STYLE.search(clause):
        return (Step("fusion"),)
    return ()


def _removal(clause: str) -> tuple[Step, ...]:
    on_background = words.BACKGROUND.search(clause)
    if words.BACKGROUND_ITSELF.search(clause) or words.CUT_OUT.search(clause):
        return (Step("background", "background", "transparent"),)
    if on_background and words.TIDY.search(clause):
        return (Step("remove", "background"),)
    if not words.REMOVE.search(clause):
        return ()
    if words.every(words.ADJUSTMENTS, clause) == ("denoise",):
        return (Step("denoise"),)
    return (Step("remove", "background" if on_background else "subject"),)


def _blur(clause: str) -> tuple[Step, ...]:
    if not words.BLUR.search(clause) or words.first(words.ADJUSTMENTS, clause) == "sharpen":
        return ()
    if words.BACKGROUND.search(clause) or words.OF_DEPTH.search(clause):
        return (Step("blur", "background"),)
    return (Step("blur"),)


def _place(clause: str) -> tuple[Step, ...]:
    """A new background or sky."""
    on_background = words.BACKGROUND.search(clause) or words.IN_FRONT.search(clause)
    target: Target = "background" if on_background else "sky"
    if not on_background and not words.SKY.search(clause):
        return ()
    if on_background and words.TRANSPARENT.search(clause):
        return (Step("background", target, "transparent"),)
    scene = _scene(clause, target)
    colour = _colour(clause)
    if scene is not None and not (scene == "sky" and target == "sky"):
        return (Step("background", target, scene),)
    if target == "sky" and colour is not None and colour.endswith("blue"):
        return (Step("background", target, "sky"),)
    if colour is not None:
        return (Step("background", target, colour),)
    return ()


def _scene(clause: str, target: Target) -> str | None:
    scenes = words.every(words.SCENES, clause)
    if "beach" in scenes and "sunset" in scenes:
        return "beach_sunset"
    if "snow" in scenes:
        return "snow"
    if target == "sky" and "night" in words.every(words.TONES, clause):
        return "starry"
    return scenes[0] if scenes else None


def _manner(clause: str) -> tuple[Step, ...]:
    if words.GREYSCALE.search(clause):
        return (Step("grayscale"),)
    style = words.first(words.STYLES, clause)
    if style is None:
        return ()
    return (Step("style", value=style),)


def _light(clause: str, strength: float) -> tuple[Step, ...]:
    steps: list[Step] = []
    if not words.GREYSCALE.search(clause):
        tones = words.every(words.TONES, clause)
        steps += [Step("tone", value=tone, strength=strength) for tone in tones[:1]]
    way = "down" if words.DOWN.search(clause) else "up"
    for name in words.every(words.ADJUSTMENTS, clause):
        if name == "sharpen":
            steps.append(Step("sharpen", strength=strength))
        elif name == "denoise":
            steps.append(Step("denoise", strength=strength))
        elif name == "contrast":
            steps.append(Step("contrast", value=way, strength=strength))
        elif name == "saturation":
            steps.append(Step("saturation", value=way, strength=strength))
        elif name == "brightness":
            steps.append(Step("brightness", value=way, strength=strength))
    return tuple(steps)


def _recolour(clause: str) -> tuple[Step, ...]:
    colour = _colour(clause)
    if colour is None or not words.RECOLOUR.search(clause):
        return ()
    target: Target = "whole" if words.SURFACE.search(clause) else "subject"
    return (Step("recolour", target, colour),)


def _colour(clause: str) -> str | None:
    colour = words.last(words.COLOURS, clause)
    if colour is None:
        return None
    if words.DARK.search(clause):
        return f"dark {colour}"
    return f"light {colour}" if words.LIGHT.search(clause) else colour
