"""A picture's preflight: opened, recognised by its bytes, decoded whole, described or refused.

Pillow sees only what the skeleton walk found whole and within PIXEL_CAP, through the decoders of
PNG, JPEG and WEBP alone (and those of `foreign` where the user wants these converted). Whatever it
raises makes a bad picture with a reason.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from msgspec import structs
from PIL import Image

from retouch.pictures.facts import BadPicture, Facts, Role
from retouch.pictures.foreign import foreign_type, open_foreign
from retouch.pictures.sniffing import called, gif_frames, sniff
from retouch.pictures.structure import Flaw, Skeleton, png_without_remarks, skeleton
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

PIXEL_CAP = 89_478_485  # Pillow's own limit: beyond it a file of some kB may unpack to gigabytes

LOOKED_AT_PIXELS = 128  # a side that leaves the 32x32 of a perceptual hash enough to be made of
_DECODERS = ("PNG", "JPEG", "WEBP")
_EXTENSIONS = {
    ".png": "image/png", ".apng": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg", ".jfif": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
    ".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff", ".heic": "image/heic",
    ".heif": "image/heif", ".avif": "image/avif", ".svg": "image/svg+xml",
}  # fmt: skip
_ORIENTATION = 0x0112  # EXIF's tag
_DEEP, _HIDDEN_DEPTH = 16, ("L", "LA", "RGB", "RGBA")  # bits that Pillow reads as 8, saying nothing
decoding_lock = threading.Lock()  # held to silence Pillow: warning filters are the process's


def inspect(
    path: Path,
    *,
    within: Path | None = None,
    role: Role = "picture",
    span: tuple[int, int] | None = None,
    hashed: bool = False,
) -> Facts | BadPicture:
    """The facts of a picture's file, or why it cannot be used. Blocks for a whole decode.

    `within`: the folder it may not leave by a link. `span`: where in the file it lies. A `mask`
    gets its grey levels measured too; `hashed`: how it looks, which needs OpenCV.
    """
    try:
        data = read_regular(path, within, span=span)
    except UnreadableFile as error:
        return BadPicture(path, error.reason, error.remedy)
    return inspect_data(path, data, role=role, hashed=hashed)


def inspect_data(
    path: Path, data: bytes, *, role: Role = "picture", hashed: bool = False
) -> Facts | BadPicture:
    """The same for bytes that were read already; `path` is what they are called."""
    if not data:
        return BadPicture(path, "is empty (0 bytes)", "get it again")
    kind = foreign_type(data) if role == "foreign" else None
    if kind is None and sniff(data) is None:
        return BadPicture(path, *_not_taken(data, role))
    try:
        if kind is not None:
            return _foreign(data, kind, hashed=hashed)
        found = skeleton(data)
        _refuse_oversized(found, role)
        facts = _decoded_with_goodwill(path, data, found, role, hashed=hashed)
        return structs.replace(facts, warnings=(*facts.warnings, *found.warnings))
    except UnreadableFile as error:
        return BadPicture(path, error.reason, error.remedy)
    except Flaw as error:
        return BadPicture(path, str(error), "get it again, or save it anew")
    except Exception as error:  # a decoder may raise anything
        reason = one_clean_line(str(error), 120) or type(error).__name__
        return BadPicture(path, f"cannot be decoded: {reason}", "get it again, or save it anew")


def header_facts(path: Path, data: bytes, size: int, sha256: str, etag: str) -> Facts | None:
    """The facts of a picture of `size` bytes as far as its beginning tells them: not whether it is
    whole. None where more of it is needed."""
    media_type = sniff(data)
    if media_type is None:
        return None
    try:
        with _header(data) as (image, orientation):
            is_deep = media_type == "image/png" and data[24] == _DEEP
            mode = f"{image.mode};16" if is_deep and image.mode in _HIDDEN_DEPTH else image.mode
            if image.width * image.height > PIXEL_CAP:
                return None
            return Facts(
                sha256=sha256, bytes=size, media_type=media_type, width=image.width,
                height=image.height, mode=mode, orientation=orientation,
                has_alpha=image.has_transparency_data, frames=getattr(image, "n_frames", 1),
                warnings=_misnamed(path, media_type), etag=etag,
            )  # fmt: skip
    except Exception:  # a decoder may raise anything; the whole picture tells more
        return None


def _foreign(data: bytes, kind: str, *, hashed: bool) -> Facts:
    """The facts of a picture that is to be converted, as its decoder gives it: upright."""
    with decoding_lock:
        image = open_foreign(data, kind, PIXEL_CAP)
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), media_type=kind,
        width=image.width, height=image.height, mode=image.mode,
        orientation=orientation_of(image), has_alpha=image.has_transparency_data,
        frames=getattr(image, "n_frames", 1), looks=looks_of(image) if hashed else None,
    )  # fmt: skip


def _not_taken(data: bytes, role: Role) -> tuple[str, str]:
    """What the bytes are instead of a picture that is taken, and what to do."""
    name = called(data)
    frames = gif_frames(data) if data.startswith(b"GIF8") else 1
    if frames > 1:
        name = f"an animated GIF of {frames} frames"
    remedy = "only PNG, JPEG and WEBP are taken: save it as one of them"
    if role == "picture" and foreign_type(data):
        remedy += ", or write `convert: true`"
    return f"is {name}, by its bytes", remedy


def _refuse_oversized(found: Skeleton, role: Role) -> None:
    size = f"{found.width}x{found.height}"
    if found.width * found.height > PIXEL_CAP:
        raise UnreadableFile(
            f"has {found.width * found.height:,} pixels ({size}); at most {PIXEL_CAP:,} are "
            "decoded",
            "scale it down",
        )
    if found.frames > 1 and role != "foreign":
        raise UnreadableFile(
            f"is animated ({found.frames} frames), which is not supported",
            "save the frame that is meant as a picture of its own, or take the first by "
            "`convert: true`",
        )


def _decoded_with_goodwill(
    path: Path, data: bytes, found: Skeleton, role: Role, *, hashed: bool
) -> Facts:
    """The facts; those of a PNG whose texts or profiles Pillow refuses come from its pixels."""
    try:
        return _decoded(path, data, found, role, hashed=hashed)
    except UnreadableFile:
        raise
    except Exception as error:
        if found.media_type != "image/png":
            raise
        facts = _decoded(path, png_without_remarks(data), found, role, hashed=hashed)
        reason = one_clean_line(str(error), 120) or type(error).__name__
        said = f"holds remarks that a decoder refuses ({reason}); its pixels are whole"
        return structs.replace(
            facts,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            warnings=(*facts.warnings, said),
        )


def _decoded(
    path: Path, data: bytes, found: Skeleton, role: Role, *, hashed: bool = False
) -> Facts:
    with _header(data) as (image, orientation):
        mode, has_alpha = _mode(image, found), image.has_transparency_data
        darkest = brightest = looks = None
        if role == "mask":
            darkest, brightest = _levels(image, has_alpha=has_alpha)
        else:
            # An eighth of the size reads every byte and spares most of the arithmetic (JPEG).
            least = LOOKED_AT_PIXELS if hashed else 1
            image.draft(None, (max(least, image.width // 8), max(least, image.height // 8)))
            image.load()
            looks = looks_of(image) if hashed else None
    said = _misnamed(path, found.media_type)
    return Facts(
        sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), media_type=found.media_type,
        width=found.width, height=found.height, mode=mode, orientation=orientation,
        has_alpha=has_alpha, warnings=said, darkest=darkest, brightest=brightest,
        frames=found.frames, looks=looks,
    )  # fmt: skip


def _misnamed(path: Path, media_type: str) -> tuple[str, ...]:
    """That a name says another kind than the bytes do."""
    if _EXTENSIONS.get(path.suffix.lower()) in (None, media_type):
        return ()
    shown = media_type.removeprefix("image/").upper()
    return (f"is named {path.suffix} but is {shown} by its bytes, which are believed",)


@contextmanager
def _header(data: bytes) -> Iterator[tuple[Image.Image, int]]:
    """The picture with its header read, and its EXIF orientation, quietly."""
    with decoding_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(BytesIO(data), formats=_DECODERS)
        orientation = orientation_of(image)
    with image:
        yield image, orientation


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1-8; 1 where none is said or the EXIF is broken."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken metadata does not make a picture bad
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _mode(image: Image.Image, found: Skeleton) -> str:
    """Pillow's mode; with the depth where Pillow reads 16 bits as 8 without saying so."""
    if found.depth == 16 and image.mode in _HIDDEN_DEPTH:
        # Pillow opens grey with alpha as LA or RGBA by version: the channels decide.
        return f"{image.mode};16"
    return image.mode


def _levels(image: Image.Image, *, has_alpha: bool) -> tuple[int, int]:
    """A mask's darkest and brightest grey; refused if only its transparency tells areas apart."""
    image.load()
    if image.mode.startswith("I;16"):
        low, high = image.getextrema()
        darkest, brightest = int(low) // 257, int(high) // 257  # type: ignore[arg-type]
    else:
        low, high = image.convert("RGB").convert("L").getextrema()
        darkest, brightest = int(low), int(high)  # type: ignore[arg-type]
    if has_alpha and darkest == brightest:
        alpha = image.convert("RGBA").getchannel("A").getextrema()
        if alpha[0] != alpha[1]:
            raise UnreadableFile(
                "has its shape in its transparency alone; in a mask white is edited and black is "
                "kept",
                "save it as black and white, without transparency",
            )
    return darkest, brightest


def can_hash() -> bool:
    """Whether OpenCV with its contributions (extra `rehearsal`) is there to tell looks by."""
    return importlib.util.find_spec("cv2") is not None


def looks_of(image: Image.Image) -> str:
    """How a decoded picture looks: OpenCV's PHash of 64 bits as 16 hex digits; alike are pictures
    that few bits tell apart. Source: OpenCV's img_hash module; Zauner 2010."""
    numpy, opencv = importlib.import_module("numpy"), importlib.import_module("cv2")
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda level: level * (1 / 257))
    grey = numpy.asarray(image.convert("L"))
    digest = opencv.img_hash.pHash(grey)
    return bytes(digest.tobytes()).hex()
