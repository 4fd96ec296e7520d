"""The skeleton of PNG, JPEG and WEBP bytes: size, frames, and whether they end where they should.

Nothing is decompressed: chunks are walked, PNG's checksums verified, JPEG's end marker and WEBP's
length looked for. About 1 ms for 1.5 MB, so that every received picture is checked.
Sources: W3C PNG (third edition) §5, ITU-T T.81 annex B, the WEBP container specification.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import mmap

from retouch.pictures.drawings import measure_drawing
from retouch.pictures.sniffing import sniff

_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class Flaw(ValueError):
    """Why bytes are not a whole picture; the message is one clause that says where."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What the headers say: pixels, bits a channel, frames; `warnings` tell of damage outside of
    the pixels, as clauses."""

    media_type: str
    width: int
    height: int
    depth: int = 8
    frames: int = 1
    warnings: tuple[str, ...] = ()


def measure(data: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height of a structurally whole picture; None if it is not one."""
    found = shape(data)
    return None if found is None else (found.media_type, found.width, found.height)


def shape(data: bytes | mmap) -> Skeleton | None:
    """The skeleton of a structurally whole result; None if it is not one. A moving GIF and an SVG
    drawing, which are no sources, may be results."""
    try:
        return skeleton(data)
    except Flaw:
        drawing = None if sniff(data[:16]) else measure_drawing(bytes(data))
    return None if drawing is None else Skeleton(*drawing)


def skeleton(data: bytes | mmap) -> Skeleton:
    """The picture's skeleton. Raises Flaw where the bytes are cut or damaged."""
    walks: dict[str | None, Callable[[memoryview], Skeleton]] = {
        "image/png": _png,
        "image/jpeg": _jpeg,
        "image/webp": _webp,
    }
    walk = walks.get(sniff(data[:16]))
    if walk is None:
        raise Flaw("is neither PNG, JPEG nor WEBP")
    try:
        found = walk(memoryview(data))
    except (struct.error, IndexError):
        raise Flaw(f"is cut: it ends at byte {len(data):,} inside its header") from None
    if not found.width or not found.height:
        raise Flaw(f"has no pixels ({found.width}x{found.height})")
    return found


# --- PNG -----------------------------------------------------------------------------------


def _png_chunks(data: memoryview, warnings: list[str]) -> Iterator[tuple[bytes, memoryview]]:
    """Chunk by chunk; a wrong checksum is a flaw where a decoder needs the chunk (its name begins
    with a capital, §5.4), else a warning, and the chunk is passed over."""
    at = 8
    while True:
        if at + 12 > len(data):
            raise Flaw(f"is cut: it ends at byte {len(data):,} without its IEND chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        name = kind.decode("latin-1") if kind.isalpha() else repr(kind)[2:-1]
        if not kind.isalpha():
            raise Flaw(f"is damaged at byte {at:,}: no chunk begins there")
        if end > len(data):
            raise Flaw(
                f"is cut: it ends at byte {len(data):,} inside a {name} chunk that reaches to "
                f"byte {end:,}"
            )
        wrong = f"the checksum of the {name} chunk at byte {at:,} is wrong"
        if zlib.crc32(data[at + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]:
            yield kind, data[at + 8 : end - 4]
        elif kind[:1].isupper():
            raise Flaw(f"is damaged: {wrong}")
        else:
            warnings.append(f"{wrong}; no pixels are in it")
        if kind == b"IEND":
            return
        at = end


def _png(data: memoryview) -> Skeleton:
    width = height = depth = 0
    frames, has_pixels = 1, False
    warnings: list[str] = []
    for position, (kind, body) in enumerate(_png_chunks(data, warnings)):
        if position == 0:
            if kind != b"IHDR":
                raise Flaw("is damaged: it does not begin with its header (IHDR)")
            width, height, depth = struct.unpack_from(">IIB", body)
        elif kind == b"acTL" and not has_pixels:
            frames = struct.unpack_from(">I", body)[0]
        elif kind == b"IDAT":
            has_pixels = True
    if not has_pixels:
        raise Flaw("holds no pixels (no IDAT chunk)")
    return Skeleton("image/png", width, height, depth, frames, tuple(warnings))


def png_without_remarks(data: bytes) -> bytes:
    """The PNG with what its pixels need and nothing else: texts, profiles and times left out, for
    a decoder that refuses a picture because of them. Raises Flaw."""
    view = memoryview(data)
    kept = [bytes(view[:8])]
    for kind, body in _png_chunks(view, []):
        if kind[:1].isupper() or kind == b"tRNS":
            checksum = zlib.crc32(body, zlib.crc32(kind))
            kept += [struct.pack(">I", len(body)), kind, bytes(body), struct.pack(">I", checksum)]
    return b"".join(kept)


# --- JPEG ----------------------------------------------------------------------------------


def _jpeg(data: memoryview) -> Skeleton:
    size: tuple[int, int] | None = None
    depth, stray_bytes = 8, 0
    at = 2
    while True:
        if data[at] != 0xFF:  # passed over, as every decoder does
            marker_at = _next_jpeg_marker(data, at)
            stray_bytes += marker_at - at
            at = marker_at
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before any marker
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker == 0xD9:
            raise Flaw(f"ends at byte {at + 2:,} before any pixels")
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in _FRAME_HEADERS:
            depth, height, width = struct.unpack_from(">BHH", data, at + 4)
            size = width, height
        at += 2 + length
        if marker == 0xDA:
            break
    if size is None:
        raise Flaw("is damaged: its pixels begin before its size is said")
    # Inside entropy-coded data FF is always followed by 00 or a restart marker.
    if _underlying(data).rfind(b"\xff\xd9", at) < 0:
        raise Flaw(f"is cut: it ends at byte {len(data):,} without the end-of-image marker")
    said = (f"{stray_bytes:,} stray bytes stand between its segments",) if stray_bytes else ()
    return Skeleton("image/jpeg", *size, depth, warnings=said)


def _underlying(data: memoryview) -> bytes | mmap:
    """What the view is of, all of it: that can be searched without a copy."""
    whole: bytes | mmap = data.obj  # type: ignore[assignment]
    return whole


def _next_jpeg_marker(data: memoryview, at: int) -> int:
    """Where the next marker stands: FF before a byte that is neither 00 nor, of itself, fill."""
    while True:
        at = _underlying(data).find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise Flaw("is damaged: stray bytes stand where a segment ought to begin")
        if data[at + 1]:
            return at
        at += 2


# --- WEBP ----------------------------------------------------------------------------------


def _webp(data: memoryview) -> Skeleton:
    size = struct.unpack_from("<I", data, 4)[0] + 8
    if size > len(data):
        raise Flaw(f"is cut: it ends at byte {len(data):,} of {size:,}")
    canvas: tuple[int, int] | None = None
    still: tuple[int, int] | None = None
    frames = 0
    at = 12
    while at + 8 <= size:
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if len(body) < length or at + 8 + length > size:
            raise Flaw(f"is damaged: a chunk at byte {at:,} reaches past the end")
        if kind == b"VP8X":
            canvas = _webp_canvas(body)
        elif kind in (b"VP8 ", b"VP8L"):
            still = _webp_lossless(body) if kind == b"VP8L" else _webp_lossy(body)
        elif kind == b"ANMF":
            frames += 1
        at += 8 + length + (length & 1)
    found = canvas or still
    if found is None or not (still or frames):
        raise Flaw("holds no pixels (no VP8 chunk)")
    return Skeleton("image/webp", *found, frames=max(frames, 1))


def _webp_canvas(body: memoryview) -> tuple[int, int]:
    if len(body) < 10:
        raise Flaw("is damaged: its VP8X header is short")
    width = int.from_bytes(body[4:7], "little") + 1
    return width, int.from_bytes(body[7:10], "little") + 1


def _webp_lossless(body: memoryview) -> tuple[int, int]:
    if len(body) < 5 or body[0] != 0x2F:
        raise Flaw("is damaged: its VP8L header is broken")
    bits = int.from_bytes(body[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_lossy(body: memoryview) -> tuple[int, int]:
    if bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise Flaw("is damaged: its VP8 header is broken")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF
