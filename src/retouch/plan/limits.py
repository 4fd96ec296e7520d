"""One picture against what a model takes: why it cannot be sent, and what must be done to it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from retouch.dialects.base import PictureLimits
from retouch.job import Picture
from retouch.pictures import Facts, SourceChanged, converted_mode, needs_conversion, payload

_CONVERTED = "image/png"  # what `convert` and `orient` write


def transforms_for(
    facts: Facts, limits: PictureLimits, *, convert: bool, orient: bool
) -> tuple[str, ...]:
    """What is done to the picture before it is sent: only what is allowed, and needed."""
    done: list[str] = []
    if orient and facts.is_turned:
        done.append("orient")
    fit = converted_mode(facts) in limits.modes and _CONVERTED in limits.media_types
    needed = needs_conversion(facts, limits.modes) or facts.media_type not in limits.media_types
    if convert and fit and needed:
        done.append("convert")
    return tuple(done)


def faults(picture: Picture, facts: Facts | None, limits: PictureLimits) -> Iterator[str]:
    """Every reason why the model does not take the picture; none for a URL (facts None)."""
    if facts is None:
        return
    if limits.urls_only and not picture.by_link:
        yield (
            "is a file, and the model takes public URLs only: publish it (by `publish: {to: "
            "s3://...}`), or give its URL"
        )
        return
    media_type = _CONVERTED if picture.transforms else facts.media_type
    if media_type not in limits.media_types:
        taken = _shown(each.removeprefix("image/").upper() for each in limits.media_types)
        yield f"is {media_type.removeprefix('image/').upper()}; the model takes {taken}"
    if needs_conversion(facts, limits.modes) and "convert" not in picture.transforms:
        taken = _shown(limits.modes)
        yield f"is in mode {facts.mode}; the model takes {taken} (`convert: true` converts it)"
    yield from _size_faults(facts, limits)
    if limits.maximum_bytes is not None:
        size = _sent_bytes(picture, facts, limits.maximum_bytes)
        if size > limits.maximum_bytes:
            yield f"has {size:,} bytes as sent; the model takes at most {limits.maximum_bytes:,}"


def _size_faults(facts: Facts, limits: PictureLimits) -> Iterator[str]:
    shorter, longer = sorted((facts.width, facts.height))
    size = f"{facts.width}x{facts.height}"
    if shorter < 2:
        yield f"is {size} pixels: there is nothing to edit"
    if limits.minimum_side is not None and shorter < limits.minimum_side:
        yield f"is {size}; each side must have at least {limits.minimum_side} pixels"
    if limits.maximum_pixels is not None and shorter * longer > limits.maximum_pixels:
        pixels = shorter * longer
        yield f"has {pixels:,} pixels ({size}); the model takes {limits.maximum_pixels:,}"
    if limits.maximum_ratio is not None:
        greatest = Decimal(str(limits.maximum_ratio))
        if longer > greatest * shorter:
            ratio = longer / shorter
            yield f"is {size}, a ratio of {ratio:.3g}:1; at most {greatest}:1 is taken"


def _sent_bytes(picture: Picture, facts: Facts, limit: int) -> int:
    """Bytes as sent. What is encoded anew is encoded here only if it could pass the limit."""
    if not picture.transforms:
        return picture.bytes or 0
    most = facts.height * (facts.width * 4 + 1)  # four channels, a filter byte a row
    if most + most // 1000 + 4096 <= limit:
        return 0
    try:
        return len(payload(picture))
    except SourceChanged:
        return picture.bytes or 0


def _shown(names: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
