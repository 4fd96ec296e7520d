"""What an Order gives to work on: its pictures and its mask, checked and at working size.

A masked result needs the first picture and the mask at their own size: those are read again when
it is put together, so that nothing large lies about while the edit is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from . import catalogue
from .edits.arrays import Pixels
from .edits.compose import keep
from .orders import Order, Reference
from .pictures import Picture, open_mask, open_picture, own_rows
from .refusal import bad_request

Read = Callable[[Reference], bytes]


@dataclass(frozen=True, slots=True)
class Mask:
    """The mask as large as the first picture's pixels, 255 = edit; the SHA-256 of its bytes."""

    plane: Pixels
    digest: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pictures of an Order, and how to read them again."""

    order: Order
    pictures: tuple[Picture, ...]
    mask: Mask | None
    read: Read

    @property
    def first(self) -> Picture:
        """The picture that is edited; the others are added to it."""
        return self.pictures[0]

    def kept(self, edited: Pixels) -> Pixels:
        """`edited` where the mask says so, else the first picture's own bytes, at its size."""
        mask, order = self.mask, self.order
        if mask is None or order.mask is None:
            return edited
        if self.first.is_whole:
            return keep(edited, [self.first.pixels], mask.plane)
        name, size = order.mask.name, self.first.size
        plane = open_mask(self._again(order.mask, mask.digest), name, order.polarity, size)
        reference = order.references[0]
        with own_rows(self._again(reference, self.first.digest), reference.name) as rows:
            return keep(edited, rows, plane)

    def _again(self, reference: Reference, digest: str) -> bytes:
        """The bytes read before; a mapped file may have become another since."""
        data = self.read(reference)
        if hashlib.sha256(data).hexdigest() != digest:
            name = reference.name
            raise bad_request(f"{name}: the file was changed while it was edited", param=name)
        return data


def read_inputs(order: Order, read: Read) -> Inputs:
    """Read and check all that an order refers to; raises Refusal for what cannot be used."""
    pictures = tuple(
        open_picture(read(reference), reference.name) for reference in order.references
    )
    if order.mask is None:
        return Inputs(order, pictures, None, read)
    data = read(order.mask)
    height, width = pictures[0].pixels.shape[:2]
    plane = open_mask(data, order.mask.name, order.polarity, (width, height))
    return Inputs(order, pictures, Mask(plane, hashlib.sha256(data).hexdigest()), read)


def check_kling_picture(picture: Picture, name: str) -> None:
    """Kling's limits on reference pictures; source: the page, on subject_image_list."""
    width, height = picture.size
    ratio = max(width, height) / min(width, height)
    if picture.media_type not in ("image/png", "image/jpeg"):
        raise bad_request(f"{name}: is {picture.media_type}; .jpg or .png is needed", param=name)
    if picture.bytes > catalogue.KLING_PICTURE_BYTES:
        raise bad_request(f"{name}: {picture.bytes:,} bytes; at most 10 MB", param=name)
    if min(width, height) < catalogue.KLING_SIDE_PIXELS:
        raise bad_request(f"{name}: {width}x{height}; each side needs 300 pixels", param=name)
    if ratio > catalogue.KLING_SIDE_RATIO:
        raise bad_request(
            f"{name}: {width}x{height}; the shape must lie between 1:2.5 and 2.5:1", param=name
        )
