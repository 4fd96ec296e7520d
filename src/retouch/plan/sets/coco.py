"""COCO: one JSON of images, categories and annotations (instances, keypoints, captions).

Boxes are x, y, width, height in pixels; outlines are flat lists of x, y; crowds and masks are run
lengths, column by column. Source: cocodataset.org/#format-data and pycocotools' maskApi.c.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from retouch.plan.annotations import Annotations, Box, Cell, Instance, Keypoint, Mask, Polygon
from retouch.plan.candidates import Named
from retouch.plan.globs import glob_of, located
from retouch.plan.sets.reading import (
    HEADER,
    Reading,
    by_turns,
    of_instances,
    split_of_file,
    split_of_path,
    values_of,
)
from retouch.text import one_clean_line

_WRITE = "write it as cocodataset.org/#format-data has it"


class _Odd(ValueError):
    """Why something in the file is not what COCO has there."""


@dataclass(frozen=True, slots=True)
class _Category:
    name: str
    keypoints: tuple[str, ...]


def read(text: str, reading: Reading) -> Iterator[Named]:
    """The pictures of each file that the pattern names, in the files' order."""
    files = [path for path in glob_of(text, reading.folder).paths() if isinstance(path, str)]
    if not files:
        reading.wrong(located(text, reading.folder), "is not there", "check its name")
    if files:
        reading.begin(Path(files[0]).parent)
    for name in files:
        yield from _of_file(Path(name), reading)


def _of_file(path: Path, reading: Reading) -> Iterator[Named]:
    data = reading.bytes_of(path)
    if data is None:
        return
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        what = f"is not JSON: {one_clean_line(error.msg, 100)}"
        reading.wrong(path, what, _WRITE, error.lineno)
        return
    images = found.get("images") if isinstance(found, dict) else None
    if not isinstance(images, list):
        reading.wrong(path, "has no list `images`", _WRITE)
        return
    try:
        categories = dict(map(_category, found.get("categories") or ()))
        by_image = _by_image(found.get("annotations") or ())
    except (_Odd, KeyError, TypeError) as error:
        reading.wrong(path, _why(error), _WRITE)
        return
    yield from _pictures(path, images, categories, by_image, reading)


def _pictures(
    path: Path,
    images: list[object],
    categories: Mapping[object, _Category],
    by_image: dict[object, list[dict[str, object]]],
    reading: Reading,
) -> Iterator[Named]:
    split = split_of_file(path.stem)
    ids: set[object] = set()
    for at, image in enumerate(images):
        try:
            number, name = _image(image)
            _require_new(number, ids)
            known, captions = _known(image, by_image.pop(number, ()), categories)
        except (_Odd, KeyError, TypeError, ValueError) as error:
            reading.wrong(path, f"image {at + 1} {_why(error)}", _WRITE)
            continue
        header: tuple[str, ...] = HEADER
        values: tuple[str, ...] = values_of(known)
        if captions:
            header, values = (*header, "caption"), (*values, captions[0])
        of_path = split_of_path(name)
        where = str(located(name, reading.root))
        yield Named(where, "", 0, header, values, known, of_path or split)
    if by_image:
        lost = sum(map(len, by_image.values()))
        what = f"{lost:,} annotations are of images that are not listed"
        reading.warn(what, "they are left out", reading.shown(str(path)))


def _require_new(number: object, ids: set[object]) -> None:
    if number in ids:
        raise _Odd(f"has the id {number}, as another one has")
    ids.add(number)


def _image(image: object) -> tuple[object, str]:
    if not isinstance(image, dict):
        raise _Odd("is no object")
    name = image["file_name"]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise _Odd("has no `file_name`")
    return image["id"], name.replace("\\", "/")


def _category(given: object) -> tuple[object, _Category]:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str | int):
        raise _Odd("has a category without a name")
    points = tuple(map(str, given.get("keypoints") or ()))
    return given["id"], _Category(str(given["name"]), points)


def _by_image(annotations: Iterable[object]) -> dict[object, list[dict[str, object]]]:
    found: dict[object, list[dict[str, object]]] = defaultdict(list)
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise _Odd("has an annotation that is no object")
        found[annotation["image_id"]].append(annotation)
    return found


def _known(
    image: object, annotations: Iterable[dict[str, object]], categories: Mapping[object, _Category]
) -> tuple[Annotations, list[str]]:
    """What the file says of one image, and its captions."""
    captions: list[str] = []
    instances: list[Instance] = []
    for annotation in annotations:
        if "category_id" not in annotation and isinstance(annotation.get("caption"), str):
            captions.append(str(annotation["caption"]))
            continue
        category = categories.get(annotation.get("category_id"))
        if category is None:
            raise _Odd(f"has an object of category {annotation.get('category_id')}, not listed")
        instances.append(_instance(annotation, category, image))
    carried: tuple[Cell, ...] = ()
    if captions:
        carried = (("captions", orjson.dumps(captions).decode()),)
    return of_instances(instances, carried), captions


def _instance(given: dict[str, object], category: _Category, image: object) -> Instance:
    outline = given.get("segmentation")
    polygons: tuple[Polygon, ...] = ()
    mask: Mask | None = None
    if isinstance(outline, dict):
        mask = _mask(outline)
    elif isinstance(outline, list):
        polygons = tuple(map(_polygon, filter(None, outline)))
    box = given.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        x, y, width, height = _numbers(box)
        around = Box(x, y, width, height)
    elif polygons:
        around = _around(polygons)
    elif mask is not None:
        size = image if isinstance(image, dict) else {}
        around = Box(0.0, 0.0, float(size.get("width", mask.width)),
                     float(size.get("height", mask.height)))  # fmt: skip
    else:
        raise _Odd("has an object without `bbox`")
    points = _keypoints(given.get("keypoints"), category)
    crowd = given.get("iscrowd") in (1, True)
    return Instance(category.name, around, polygons, points, mask, crowd)


def _polygon(given: object) -> Polygon:
    numbers = _numbers(given)
    if len(numbers) < 6 or len(numbers) % 2:
        raise _Odd("has an outline that is not x, y by turns, of three points at least")
    return Polygon(tuple((x, y) for x, y in by_turns(numbers, 2)))


def _around(polygons: tuple[Polygon, ...]) -> Box:
    boxes = [each.box for each in polygons]
    left, top = min(each.x for each in boxes), min(each.y for each in boxes)
    right = max(each.x + each.width for each in boxes)
    bottom = max(each.y + each.height for each in boxes)
    return Box(left, top, right - left, bottom - top)


def _keypoints(given: object, category: _Category) -> tuple[Keypoint, ...]:
    if not isinstance(given, list) or not given:
        return ()
    if len(given) % 3:
        raise _Odd("has keypoints that are not x, y, visibility by turns")
    numbers = _numbers(given)
    names = category.keypoints or ("",) * (len(numbers) // 3)
    return tuple(
        Keypoint(x, y, int(seen), name)
        for (x, y, seen), name in zip(by_turns(numbers, 3), names, strict=False)
    )


def _numbers(given: object) -> list[float]:
    if not isinstance(given, list) or not all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in given
    ):
        raise _Odd("has coordinates that are no numbers")
    return [float(each) for each in given]


def _mask(given: dict[str, object]) -> Mask:
    size, counts = given.get("size"), given.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        raise _Odd("has run lengths without a size")
    height, width = int(size[0]), int(size[1])
    runs = _uncompressed(counts) if isinstance(counts, str) else tuple(map(int, _numbers(counts)))
    if sum(runs) > width * height or min(runs, default=0) < 0:
        raise _Odd("has run lengths beyond its picture")
    return Mask(width, height, runs)


def _uncompressed(text: str) -> tuple[int, ...]:
    """Run lengths from pycocotools' text: five bits a character, the sixth says that more follow;
    from the third on each is the difference to the one before the last."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text):
                raise _Odd("has run lengths that are cut short")
            bits = ord(text[at]) - 48
            value |= (bits & 0x1F) << shift
            more, at, shift = bool(bits & 0x20), at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return tuple(counts)


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has something without `{one_clean_line(str(error.args[0]), 40)}`"
    return one_clean_line(str(error), 120) or "is not as COCO has it"
