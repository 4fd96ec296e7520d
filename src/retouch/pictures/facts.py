"""What is known of a picture's file, or why it cannot be used: plain values, fit for a cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Role = Literal["picture", "foreign", "mask"]
"""What a file is used as; `foreign` is a picture whose kind `convert: true` allows."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A whole picture's facts, all of the file as it stands.

    `sha256` is 64 hex digits of the file's bytes. `mode` is Pillow's name, with the depth where
    Pillow hides it (`RGB;16`, `LA;16`). `orientation` is EXIF's, 1-8; 1 is upright. `warnings`
    are clauses for people. `frames`: of an animation the first is taken. `looks` is the perceptual
    hash of what is seen, 16 hex digits; None where none was asked for. Of a mask: `darkest` and
    `brightest` grey level of its colours, 0-255. Of an object in a bucket that was not read whole
    `sha256` may be "": then `etag` and size stand for its bytes.
    """

    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int
    mode: str
    orientation: int = 1
    has_alpha: bool = False
    warnings: tuple[str, ...] = ()
    darkest: int | None = None
    brightest: int | None = None
    frames: int = 1
    looks: str | None = None
    etag: str = ""

    @property
    def digest(self) -> str:
        """What stands for the bytes in a Key."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"etag:{self.etag.strip(chr(34))}:{self.bytes}"

    @property
    def is_turned(self) -> bool:
        """Whether EXIF says the picture is to be shown turned or mirrored."""
        return self.orientation != 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once the orientation is applied."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class BadPicture:
    """A file that cannot be sent: why, and what to do about it."""

    path: Path
    reason: str
    remedy: str = ""
