"""Looks at a finished Job's pictures beside its ledger, and at its source where that is known."""

from __future__ import annotations

from PIL import Image

from retouch.cli.ledgers import Found
from retouch.report import Kept
from retouch.report.looks import fingerprint, is_blank, is_same
from retouch.report.waste import Wasted


def look_at(kept: Kept, found: Found, wasted: Wasted) -> None:
    """Add what is blank or unchanged; pictures that are not at hand tell nothing."""
    folder = found.path.parent
    seen = [fingerprint(folder / file.path) for file in kept.done.files]
    cells = [each for each in seen if each is not None]
    if not cells:
        return
    if any(map(is_blank, cells)):
        wasted.add("blank", kept.example)
    source = _source(kept, found)
    if source is not None and any(is_same(source, each) for each in cells):
        wasted.add("unchanged", kept.example)


def _source(kept: Kept, found: Found) -> Image.Image | None:
    """The source as it lies beside the manifest; URLs are not fetched."""
    if found.loaded is None or "://" in kept.done.source:
        return None
    return fingerprint(found.loaded.folder / kept.done.source)
