"""One edit, from a plan to pixels: regions, then steps in order. Deterministic.

The same pictures, mask, prompt, model and index give the same bytes on one machine; another
index gives another variant. All of it is at working size; `compose.keep` brings a masked result
to the picture's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..orders import Role
from ..pictures import Picture
from ..sizes import Size, working_size
from ..understanding import EditPlan, Operation, Step, Target
from . import colour, compose, cutout, scenes, style
from .arrays import Pixels, Plane, as_floats, cover, resize_plane


@dataclass(frozen=True, slots=True)
class Work:
    """All one edit depends on. `mask`: as large as the first picture's pixels, 255 = edit;
    `size`: the result's."""

    pictures: tuple[Picture, ...]
    roles: tuple[Role, ...]
    mask: Pixels | None
    mask_digest: str
    prompt: str
    model: str
    plan: EditPlan
    size: Size
    transparent: bool = False


def edit(work: Work, index: int) -> Pixels:
    """Variant `index` of the edit, unmasked, at working size; RGBA if it is cut out."""
    canvas = _Canvas(work, index)
    for step in work.plan.steps:
        canvas.make(step)
    canvas.finish(index)
    return canvas.result()


class _Canvas:
    """The picture being edited, its regions, and the variant's random numbers."""

    def __init__(self, work: Work, index: int) -> None:
        self._work = work
        self._random = np.random.Generator(np.random.PCG64(_seed(work, index)))
        self._strength = 1.0 if index == 0 else float(self._random.uniform(0.75, 1.15))
        self._original = work.pictures[0].pixels
        self._pixels = self._original
        self._mask = None if work.mask is None else as_floats(work.mask) / np.float32(255)
        self._is_cut_out = work.transparent
        self._names_subject = any(step.target == "subject" for step in work.plan.steps)

    @property
    def _size(self) -> Size:
        return self._pixels.shape[1], self._pixels.shape[0]

    @cached_property
    def _subject(self) -> Plane:
        return cutout.subject_of(self._original, self._work.pictures[0].digest)

    @cached_property
    def _sky(self) -> Plane:
        return cutout.sky_of(self._original, self._subject)

    def _region(self, target: Target) -> Plane:
        """Where a step works. A client's mask stands for what the prompt names first."""
        everywhere = np.ones(self._original.shape[:2], np.float32)
        if target == "whole":
            return everywhere
        if self._mask is not None and (target == "subject" or not self._names_subject):
            return everywhere
        if target == "sky":
            return self._sky
        if not cutout.is_found(self._subject):
            return everywhere
        return self._subject if target == "subject" else as_floats(1 - self._subject)

    def make(self, step: Step) -> None:
        """Carry out one step."""
        strength = step.strength * self._strength
        self._pixels = _MAKERS[step.operation](self, step, strength)

    def recolour(self, step: Step, strength: float) -> Pixels:
        """A colour for the step's region."""
        region = self._region(step.target)
        return colour.recolour(self._pixels, region, step.value, strength)

    def tone(self, step: Step, strength: float) -> Pixels:
        """Another light."""
        sky = self._sky if step.value == "night" else None
        return colour.tone(self._pixels, step.value, strength, sky, self._random)

    def adjust(self, step: Step, strength: float) -> Pixels:
        """Brightness, contrast or saturation, up or down."""
        return _ADJUSTERS[step.operation](self._pixels, step.value, strength)

    def grayscale(self, _step: Step, _strength: float) -> Pixels:
        """Black and white."""
        return colour.grayscale(self._pixels)

    def sharpen(self, _step: Step, strength: float) -> Pixels:
        """Crisper edges."""
        return colour.sharpen(self._pixels, strength)

    def denoise(self, _step: Step, strength: float) -> Pixels:
        """Smoother surfaces."""
        return colour.denoise(self._pixels, strength)

    def stylise(self, step: Step, _strength: float) -> Pixels:
        """Another manner."""
        return style.stylise(self._pixels, step.value, self._random)

    def blur(self, step: Step, _strength: float) -> Pixels:
        """Out of focus, in the step's region."""
        return compose.blur(self._pixels, self._region(step.target))

    def fuse(self, _step: Step, _strength: float) -> Pixels:
        """The pictures' styles in one."""
        return compose.fuse(self._pixels, self._others())

    def mild_tone(self, _step: Step, _strength: float) -> Pixels:
        """What is done when nothing was understood."""
        return colour.mild_tone(self._pixels, self._random)

    def comic_page(self, _step: Step, _strength: float) -> Pixels:
        """All pictures as panels of one page."""
        pictures = [self._pixels, *self._others()]
        return compose.panels(pictures, working_size(self._work.size), self._random)

    def place(self, step: Step, _strength: float) -> Pixels:
        """A new background or sky."""
        if step.value == "transparent":
            self._is_cut_out = True
            return self._pixels
        scene = scenes.paint(step.value, self._size, self._random)
        return compose.replace(self._pixels, scene, self._region(step.target))

    def remove(self, step: Step, _strength: float) -> Pixels:
        """Clutter taken out: what the mask covers, or the background's detail."""
        if self._mask is not None:
            return compose.fill(self._pixels, resize_plane(self._mask, self._size))
        if step.target == "background":
            return compose.tidy(self._pixels, self._region("background"))
        return self._pixels  # nothing says where; `understand` has warned of it

    def _others(self) -> list[Pixels]:
        return [picture.pixels for picture in self._work.pictures[1:]]

    def finish(self, index: int) -> None:
        """Kling's further pictures, and what makes a variant differ where steps do not."""
        plan = {step.operation for step in self._work.plan.steps}
        if not plan & {"comic", "fusion"}:
            self._join_by_role()
        if index:
            # Of one order there are ten at most; asked for again, they vary no further than these.
            place = 1 + (index - 1) % 9
            way = "up" if place % 2 else "down"
            self._pixels = colour.brightness(self._pixels, way, 0.05 * ((place + 1) // 2))

    def _join_by_role(self) -> None:
        work = self._work
        subjects = []
        for role, picture in zip(work.roles[1:], work.pictures[1:], strict=True):
            if role == "scene":
                scene = cover(picture.pixels, self._size)
                self._pixels = compose.replace(self._pixels, scene, self._region("background"))
            elif role == "style":
                self._pixels = compose.transfer(self._pixels, picture.pixels)
            elif role in ("subject", "image"):
                subject = cutout.subject_of(picture.pixels, picture.digest)
                subjects.append((picture.pixels, subject))
        if subjects:
            self._pixels = compose.add_subjects(self._pixels, subjects)

    def result(self) -> Pixels:
        """What was made, cut out if it is to be."""
        if not self._is_cut_out:
            return self._pixels
        alpha = cutout.as_alpha(resize_plane(self._subject, self._size))
        return np.dstack([self._pixels, alpha])


def _seed(work: Work, index: int) -> int:
    digest = hashlib.sha256()
    parts = [picture.digest.encode() for picture in work.pictures]
    for part in (*parts, *(text.encode() for text in (work.mask_digest, work.prompt, work.model))):
        digest.update(hashlib.sha256(part).digest())
    digest.update(str(index).encode())
    return int.from_bytes(digest.digest()[:16], "big")


_Maker = Callable[[_Canvas, Step, float], Pixels]
_MAKERS: dict[Operation, _Maker] = {
    "remove": _Canvas.remove,
    "denoise": _Canvas.denoise,
    "recolour": _Canvas.recolour,
    "background": _Canvas.place,
    "fusion": _Canvas.fuse,
    "brightness": _Canvas.adjust,
    "contrast": _Canvas.adjust,
    "saturation": _Canvas.adjust,
    "tone": _Canvas.tone,
    "grayscale": _Canvas.grayscale,
    "style": _Canvas.stylise,
    "sharpen": _Canvas.sharpen,
    "blur": _Canvas.blur,
    "comic": _Canvas.comic_page,
    "mild_tone": _Canvas.mild_tone,
}
_ADJUSTERS: dict[Operation, Callable[[Pixels, str, float], Pixels]] = {
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "saturation": colour.saturation,
}
