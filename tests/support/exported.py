"""Pictures to be exported, made by hand: what formats are tested with."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import orjson
from PIL import Image

from retouch.export.folder import new_folder
from retouch.export.formats import FORMATS
from retouch.export.pictures import Exported, File, Json, Placing, Provenance
from retouch.export.shape import shape_of
from retouch.plan.annotations import Annotations, Instance

WIDTH, HEIGHT = 120, 80


def picture_bytes(
    colour: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (WIDTH, HEIGHT)
) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, kind)
    return written.getvalue()


def exported(
    number: int,
    *,
    split: str = "train",
    label: str | None = None,
    instances: tuple[Instance, ...] = (),
    columns: dict[str, Json] | None = None,
    is_original: bool = False,
    before: bool = False,
    placing: Placing = "",
    suffix: str = ".png",
) -> Exported:
    """The `number`-th picture, of a colour of its own."""
    kind = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[suffix]
    data = picture_bytes((number % 256, 40, 90), kind)
    labels = sorted({label, *(each.label for each in instances)} - {None}, key=str)
    annotations = Annotations(
        label,
        tuple(str(each) for each in labels),
        instances,
        tuple((name, orjson.dumps(value).decode()) for name, value in (columns or {}).items()),
    )
    digest = hashlib.sha256(data).hexdigest()
    key = None if is_original else hashlib.sha256(str(number).encode()).hexdigest()
    facts = Provenance(
        source=f"photos/{number}.jpg",
        source_sha256=hashlib.sha256(b"source").hexdigest(),
        source_bytes=6,
        sha256=digest,
        bytes=len(data),
        width=WIDTH,
        height=HEIGHT,
        key=key,
        prompt=None if is_original else "snow",
        prompt_text=None if is_original else "snow on it",
        model=None if is_original else "kling-v2",
        options=None if is_original else "{}",
        cost=None if is_original else Decimal("0.2"),
        currency=None if is_original else "CNY",
        run=None if is_original else "r1",
    )
    name = f"{number:05}-{'source' if is_original else 0}"
    return Exported(
        File(f"{name}{suffix}", data, WIDTH, HEIGHT),
        split,
        annotations,
        facts,
        placing,
        File(f"before-{number}.jpg", picture_bytes((1, 2, 3), "JPEG"), WIDTH, HEIGHT)
        if before
        else None,
    )


def written(target: Path, name: str, pictures: Sequence[Exported], *, pairs: bool = False) -> Path:
    """The pictures in one format, in a folder that stands whole."""
    seen = ((each.split, not each.provenance.is_original, each.annotations) for each in pictures)
    shape = shape_of(seen, has_pairs=pairs)
    with new_folder(target, replace=False) as folder, FORMATS[name](folder, shape) as writer:
        for each in pictures:
            writer.add(each)
        writer.finish()
    return target
