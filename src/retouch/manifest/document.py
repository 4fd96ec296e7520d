"""Plain data that knows its places: what `yaml_reader` makes, and messages point into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from retouch.errors import Problem
from retouch.manifest.scalars import Scalar

Location = tuple[str | int, ...]


class Unfit:
    """Stands where a value was refused, so that nothing else complains about it."""

    def __repr__(self) -> str:
        return "<refused>"


REFUSED = Unfit()

Data = Scalar | Unfit | tuple["Data", ...] | Mapping[str, "Data"]


@dataclass(slots=True)
class Node:
    """One value of the text with the place where it begins (line and column count from 1)."""

    kind: Literal["scalar", "list", "mapping"]
    line: int
    column: int
    value: Scalar | Unfit = None
    written: str = ""
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)

    def data(self) -> Data:
        """The value without its places: tuples, dictionaries and scalars."""
        if self.kind == "list":
            return tuple(node.data() for node in self.items)
        if self.kind == "mapping":
            return {key: entry.node.data() for key, entry in self.entries.items()}
        return self.value

    def child(self, step: str | int) -> Node | None:
        """The value under a key or at an index, if there is one."""
        if isinstance(step, int):
            return self.items[step] if step < len(self.items) else None
        entry = self.entries.get(step)
        return entry.node if entry else None


@dataclass(slots=True)
class Entry:
    """A value of a mapping with the place of its key."""

    line: int
    column: int
    node: Node


@dataclass(frozen=True, slots=True)
class Document:
    """A whole text: its file's name for messages, its values, and what was refused in it."""

    file: str
    root: Node | None
    problems: tuple[Problem, ...]

    def node(self, location: Location) -> Node | None:
        """The value at a location, if there is one."""
        node = self.root
        for step in location:
            if node is None:
                return None
            node = node.child(step)
        return node

    def place(self, location: Location, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column of a location, or of its nearest ancestor that is there."""
        node = self.root
        if node is None:
            return (1, 1)
        place = (node.line, node.column)
        for depth, step in enumerate(location):
            if of_key and depth == len(location) - 1 and step in node.entries:
                entry = node.entries[str(step)]
                return (entry.line, entry.column)
            child = node.child(step)
            if child is None:
                break
            node, place = child, (child.line, child.column)
        return place

    def refused(self, location: Location) -> bool:
        """Whether the value at the location, or one it lies in, was refused already."""
        return any(
            node is not None and node.value is REFUSED
            for node in (self.node(location[:depth]) for depth in range(len(location) + 1))
        )
