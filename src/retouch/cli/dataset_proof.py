"""`verify --dataset DIGEST`: whether a folder, or what a manifest has, is the data set named."""

from __future__ import annotations

import re
from pathlib import Path

from retouch.cli.export import require_extras
from retouch.cli.output import json_text
from retouch.cli.workspace import Workspace, make_plan, open_workspace, refuse_problems
from retouch.engine.outputs import Outputs
from retouch.errors import InputRefused
from retouch.ledger import read
from retouch.review.marks import read_marks
from retouch.text import how_many, one_clean_line

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LISTED = 10  # of a kind, for people


def prove_dataset(path: Path, said: str, outputs: Path, *, rehearse: bool, as_json: bool) -> int:
    """0 where it is that data set, 1 where it is another one, 3 where a file is changed."""
    digest = said.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise InputRefused(
            f"--dataset {one_clean_line(said, 80)}: write the 64 hex digits that "
            "`retouch export` called dataset digest"
        )
    require_extras()
    if path.is_dir():
        return _prove_folder(path, digest, as_json=as_json)
    workspace = open_workspace(path, outputs, rehearse=rehearse)
    return _prove_manifest(workspace, digest, as_json=as_json)


def _prove_folder(folder: Path, digest: str, *, as_json: bool) -> int:
    from retouch.export import check_folder  # noqa: PLC0415  an extra

    found = check_folder(folder)
    is_equal = found.digest == digest and not found.added
    kinds = {"changed": found.changed, "missing": found.missing, "added": found.added}
    if as_json:
        print(json_text({"equal": is_equal, "digest": found.digest, "files": found.files} | kinds))
    else:
        for kind, names in kinds.items():
            _list(kind, names)
        print(_verdict(is_equal, found.digest, how_many(found.files, "file")))
    return 3 if found.changed or found.missing else 0 if is_equal else 1


def _prove_manifest(workspace: Workspace, digest: str, *, as_json: bool) -> int:
    from retouch.export import (  # noqa: PLC0415  an extra
        GeometryCache,
        Maker,
        Present,
        Rules,
        Wish,
        compare,
    )

    plan = make_plan(workspace)
    refuse_problems(workspace, plan)
    outputs, labels = Outputs(workspace.folder), workspace.loaded.manifest.labels
    marks = read_marks(workspace.folder)
    wish = Wish(with_originals=True)
    present = Present(plan, read(workspace.ledger), outputs, marks, wish)
    maker = Maker(outputs, Rules(carry=labels.carry, geometry=labels.geometry))
    with GeometryCache.open(workspace.root) as cache:
        found = compare(present, maker, cache, digest)
    is_equal = found.match is not None and not found.changed
    if as_json:
        document = {
            "equal": is_equal,
            "digest": digest if found.match else found.digest,
            "splits": sorted({split for split, _ in found.match or ()}),
            "originals": any(is_original for _, is_original in found.match or ()),
            "changed": found.changed,
        }
        print(json_text(document))
    else:
        _list("changed", found.changed)
        print(_verdict(found.match is not None, found.digest, how_many(found.pictures, "edit")))
    return 3 if found.changed else 0 if is_equal else 1


def _list(what: str, names: list[str]) -> None:
    for name in names[:_LISTED]:
        print(f"{what}: {one_clean_line(name)}")
    if len(names) > _LISTED:
        print(f"{what}: {len(names) - _LISTED:,} more; --json names them all")


def _verdict(is_equal: bool, digest: str, what: str) -> str:
    if is_equal:
        return f"{what}: this is the data set"
    return f"{what}: another data set" + (f", its digest is {digest}" if digest else "")
