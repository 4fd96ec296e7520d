"""Results that are neither PNG, JPEG nor WEBP and were asked for: moving GIFs and SVG drawings.

They are kept as they came; nothing here decodes or draws them. As sources they are refused.
Sources: the GIF89a specification; SVG 2, sections 5.1 and 8.2.
"""

from __future__ import annotations

import re
from xml.parsers import expat

from retouch.pictures.sniffing import gif_frames

GIF, SVG = "image/gif", "image/svg+xml"
_TRAILER = 0x3B
_HEADER_BYTES = 13
_ROOT = ("svg", "http://www.w3.org/2000/svg svg")
_LENGTH = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)(?:px)?\s*")
_DEFAULT_SIDES = (300, 150)  # of what states neither sides nor a view: CSS 2.1, section 10.3.2
_MOST = 10**6


def measure_drawing(data: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height of a whole GIF or SVG; None if it is neither, or cut."""
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(data)
    head = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    return _svg(data) if head.startswith(b"<") else None


def _gif(data: bytes) -> tuple[str, int, int] | None:
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (6, 8))
    is_whole = len(data) > _HEADER_BYTES and data.rstrip(b"\0")[-1:] == bytes([_TRAILER])
    return (GIF, width, height) if is_whole and width and height and gif_frames(data) else None


def _svg(data: bytes) -> tuple[str, int, int] | None:
    """By its root element; what is not well-formed to its end is none. Entities are refused, for
    they are how XML grows in memory."""
    found: list[dict[str, str]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if not found:
            found.append(attributes if name in _ROOT else {"": name})

    def refuse(*_: object) -> None:
        raise ValueError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError):
        return None
    if not found or "" in found[0]:
        return None
    width, height = _sides(found[0])
    return SVG, width, height


def _sides(root: dict[str, str]) -> tuple[int, int]:
    """Pixels as stated, else those of the view, else CSS's own."""
    stated = [_LENGTH.fullmatch(root.get(name, "")) for name in ("width", "height")]
    if stated[0] and stated[1]:
        sides = [float(each[1]) for each in stated if each]
    else:
        view = re.split(r"[\s,]+", root.get("viewBox", "").strip())
        matched = [_LENGTH.fullmatch(each) for each in view[2:4]] if len(view) == 4 else []
        sides = [float(each[1]) for each in matched if each]
    if len(sides) != 2 or not all(0 < side <= _MOST for side in sides):
        return _DEFAULT_SIDES
    return max(1, round(sides[0])), max(1, round(sides[1]))
