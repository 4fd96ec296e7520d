"""Data sets that come with labels, a format a file: each `read` names pictures with all that the
set says of them, in an order of its own that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retouch.plan.candidates import Named
    from retouch.plan.sets.reading import Reading


def read_set(kind: str, named: str, reading: Reading) -> Iterator[Named]:
    """The pictures of a set of that kind (the input's key); no other format is imported."""
    pictures: Iterator[Named] = import_module(f"{__name__}.{kind}").read(named, reading)
    return pictures
