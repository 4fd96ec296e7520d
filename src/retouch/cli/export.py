"""`retouch export`: the finished data set, in the format a trainer reads (DESIGN §11)."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson
from tqdm import tqdm

from retouch.cli.geometry import geometry_line
from retouch.cli.output import json_text, say
from retouch.cli.workspace import (
    Workspace,
    add_manifest,
    make_plan,
    open_workspace,
    refuse_problems,
)
from retouch.engine.outputs import Outputs
from retouch.errors import InputRefused
from retouch.ledger import read
from retouch.plan.known import split_name
from retouch.review.marks import read_marks
from retouch.storage.durable import replace_whole
from retouch.text import how_many, one_clean_line

if TYPE_CHECKING:
    from retouch.export import LeftOut, Result, Rules, Target, Wish

FORMATS = ("imagefolder", "webdataset", "coco", "yolo", "voc", "parquet")
LEFT_OUT = "left-out.jsonl"
_IMAGE_FORMATS: dict[str, Literal["png", "jpeg", "webp"]] = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "webp": "webp",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch export`."""
    add_manifest(parser)
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="the new folder")
    parser.add_argument("--format", choices=FORMATS, required=True, help="what reads it")
    parser.add_argument(
        "--with-originals", action="store_true", help="every source too, beside its edits"
    )
    parser.add_argument(
        "--pairs",
        action="store_true",
        help="each edit with its source (imagefolder, webdataset, parquet)",
    )
    parser.add_argument(
        "--splits", metavar="NAMES", help="these splits alone, like train,validation"
    )
    parser.add_argument(
        "--size",
        choices=("output", "source"),
        default="output",
        help="edits as large as they came (default), or as their source",
    )
    parser.add_argument(
        "--image-format",
        choices=tuple(_IMAGE_FORMATS),
        help="encode the pictures anew (default: their bytes as they are)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="swap the data set that lies there for the new one"
    )
    parser.add_argument(
        "--partial", action="store_true", help="exit 0 although jobs are not done yet"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Export; 0 when all is there, 1 when pictures had to be left out (they are told)."""
    require_extras()
    workspace = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    wish, rules, target = _options(arguments, workspace)
    plan = make_plan(workspace)
    refuse_problems(workspace, plan)
    from retouch.export import GeometryCache, Present, export  # noqa: PLC0415  extra

    outputs = Outputs(workspace.folder)
    state, marks = read(workspace.ledger), read_marks(workspace.folder)
    present = Present(plan, state, outputs, marks, wish)
    present.require_splits()
    with GeometryCache.open(workspace.root) as cache, _progress() as step:
        result = export(present, outputs, rules, target, cache=cache, on_progress=step)
    _tell(workspace, result, target.format)
    if arguments.json:
        print(json_text(_document(result, target)))
    else:
        _print(result, target)
    is_whole = arguments.partial or not result.left_out.incomplete
    return 0 if is_whole and not result.left_out.misplaced else 1


def require_extras() -> None:
    """Raises InputRefused with the line to type where libraries are missing."""
    for module in ("pyarrow", "cv2"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputRefused(
                f"export needs {module}, which is not installed",
                hint="pip install 'retouch[export]', or: make setup EXTRAS=export",
            ) from error


def _options(arguments: argparse.Namespace, workspace: Workspace) -> tuple[Wish, Rules, Target]:
    """What the command line and the manifest want. Raises InputRefused."""
    from retouch.export import TAKES_PAIRS, Rules, Target, Wish, refuse_taken  # noqa: PLC0415  extra

    if arguments.pairs and arguments.format not in TAKES_PAIRS:
        takers = ", ".join(sorted(TAKES_PAIRS))
        raise InputRefused(
            f"--pairs: {arguments.format} has no place for two pictures; {takers} do"
        )
    if arguments.pairs and arguments.with_originals:
        raise InputRefused("--pairs holds each source already: leave --with-originals out")
    refuse_taken(arguments.to, replace=arguments.replace)
    splits = None
    if arguments.splits is not None:
        names = (name.strip() for name in arguments.splits.split(","))
        splits = frozenset(split_name(name) for name in names if name)
        if not splits:
            raise InputRefused("--splits: name at least one, like train,validation")
    labels = workspace.loaded.manifest.labels
    image_format = _IMAGE_FORMATS.get(arguments.image_format or "")
    return (
        Wish(arguments.with_originals, arguments.pairs, splits),
        Rules(arguments.size, image_format, labels.carry, labels.geometry, arguments.pairs),
        Target(arguments.to, arguments.format, arguments.replace, workspace.is_rehearsal),
    )


@contextmanager
def _progress() -> Iterator[Callable[[int], object]]:
    hidden = not sys.stderr.isatty()
    with tqdm(unit="picture", desc="exporting", leave=False, disable=hidden) as bar:
        yield bar.update


def _tell(workspace: Workspace, result: Result, format_name: str) -> None:
    """What the user must know, on stderr."""
    geometry = result.geometry
    if geometry.compared:
        say(geometry_line(geometry.compared, geometry.resized, geometry.moved, geometry.unmeasured))
    if geometry.moved and workspace.loaded.manifest.labels.geometry == "scale":
        say("boxes of those that have moved are off: `labels: {geometry: register}` follows them")
    if format_name == "webdataset" and len(result.suffixes) > 1:
        types = ", ".join(f"{suffix} {count:,}" for suffix, count in result.suffixes.most_common())
        say(
            f"the pictures are of several types ({types}), and a reader may take one alone: "
            "--image-format png makes them one"
        )
    if format_name in ("yolo", "voc") and not result.shape.has_instances:
        say(f"there are no boxes, and {format_name} has no place for the class of a whole picture")
    if format_name in ("yolo", "coco") and result.shape.has_segmentations:
        say(f"{format_name} has no place for segmentations: they are not in it")
    if result.left_out.rejected:
        say(f"{how_many(result.left_out.rejected, 'rejected picture')} left out")
    lines = result.left_out.told()
    for line in lines:
        say(one_clean_line(line))
    if lines:
        path = workspace.folder / LEFT_OUT
        replace_whole(path, b"".join(_left_out_lines(result.left_out)))
        say(f"all of them: {path}")


def _left_out_lines(left_out: LeftOut) -> Iterator[bytes]:
    for each in (*left_out.incomplete, *left_out.misplaced):
        document = {
            "reason": each.reason,
            "name": each.name,
            "key": each.key,
            "model": each.model,
            "prompt": each.prompt,
        }
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _print(result: Result, target: Target) -> None:
    splits = ", ".join(f"{name} {count:,}" for name, count in sorted(result.splits.items()))
    originals = f"; {how_many(result.originals, 'original')} among them" if result.originals else ""
    print(f"{how_many(result.pictures, 'picture')} in {one_clean_line(str(target.folder))}")
    print(f"{splits}{originals}")
    print(f"dataset digest {result.digest}")


def _document(result: Result, target: Target) -> dict[str, object]:
    left_out = result.left_out
    return {
        "digest": result.digest,
        "to": str(target.folder),
        "format": target.format,
        "pictures": result.pictures,
        "originals": result.originals,
        "splits": dict(sorted(result.splits.items())),
        "classes": list(result.shape.classes),
        "geometry": {
            "compared": result.geometry.compared,
            "resized": result.geometry.resized,
            "measured": result.geometry.measured,
            "moved": result.geometry.moved,
            "unmeasured": result.geometry.unmeasured,
        },
        "incomplete": len(left_out.incomplete),
        "misplaced": len(left_out.misplaced),
        "rejected": left_out.rejected,
    }
