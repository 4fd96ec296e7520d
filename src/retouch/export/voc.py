"""Pascal VOC: `JPEGImages/`, an XML file a picture in `Annotations/`, and the splits' lists of
names in `ImageSets/Main/`; segmentations in `SegmentationClass/`, listed in
`ImageSets/Segmentation/`. Corners are whole pixels, as the readers want them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape

from retouch.export.pictures import Exported
from retouch.export.streams import Streaming
from retouch.plan.annotations import Instance

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Voc(Streaming):
    """All splits share two folders, so names are unique in the whole data set."""

    def add(self, picture: Exported) -> str:
        """Write one picture, its document, and its name in its split's list."""
        path = f"JPEGImages/{picture.file.name}"
        self.folder.add(path, picture.file.data)
        document = "\n".join(_document(picture)) + "\n"
        self.folder.add(f"Annotations/{picture.file.stem}.xml", document.encode())
        if picture.segmentation is not None:
            pixels = picture.segmentation
            self.folder.add(f"SegmentationClass/{pixels.name}", pixels.data)
            segmented = self.stream(f"ImageSets/Segmentation/{picture.split}.txt")
            segmented.write(f"{picture.file.stem}\n".encode())
        list_of_names = self.stream(f"ImageSets/Main/{picture.split}.txt")
        list_of_names.write(f"{picture.file.stem}\n".encode())
        return path


def _document(picture: Exported) -> Iterator[str]:
    file = picture.file
    yield "<annotation>"
    yield "  <folder>JPEGImages</folder>"
    yield f"  <filename>{_text(file.name)}</filename>"
    yield "  <source><database>retouch</database></source>"
    yield f"  <size><width>{file.width}</width><height>{file.height}</height>"
    yield "    <depth>3</depth></size>"
    yield f"  <segmented>{int(picture.segmentation is not None)}</segmented>"
    for instance in picture.annotations.instances:
        yield from _object(instance, file.width, file.height)
    yield "</annotation>"


def _object(instance: Instance, width: int, height: int) -> Iterator[str]:
    box = instance.box
    left, top = (max(round(number), 0) for number in (box.x, box.y))
    right, bottom = min(round(box.x + box.width), width), min(round(box.y + box.height), height)
    if right <= left or bottom <= top:
        return
    yield "  <object>"
    yield f"    <name>{_text(instance.label)}</name>"
    yield "    <pose>Unspecified</pose>"
    yield "    <truncated>0</truncated>"
    yield f"    <difficult>{int(instance.is_crowd)}</difficult>"
    yield f"    <bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
    yield f"      <xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"
    yield "  </object>"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("_", text))
