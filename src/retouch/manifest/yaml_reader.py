"""YAML bytes to a Document: the only reader of YAML there is.

Built from PyYAML's events, so that nothing is constructed before it is allowed: no anchors,
aliases, tags or second documents, no duplicate keys, at most 1 MB and 50 levels. Problems that
leave the rest readable are gathered; what makes the text unreadable is raised at once.

Tried in its place: ruamel.yaml 0.19 takes twice the time, makes 0.10 a float and 010 the number 10,
and stops at the first duplicate key; PyYAML's composed nodes take as long as this and check none
of it, so that every rule here would stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from retouch.errors import InputRefused, Problem
from retouch.manifest.document import REFUSED, Document, Entry, Node
from retouch.manifest.scalars import Trap, read_scalar
from retouch.text import one_clean_line

MAXIMUM_BYTES = 1_000_000
SMALLER = "move lists of inputs into tables"
MAXIMUM_DEPTH = 50

_WIDE_KEY = re.compile(r"[ \t]*(?:- *)?[{\[]? *([A-Za-z_]+)：")
_CUT_OFF = re.compile(r"[ \t]+(#[^\s#][^\n]*)")
_TEXTS = {"template", "variables"}  # below these keys stand texts that may well hold a #
_WRITE_OUT = "write the value out each time, or quote it if a text is meant"
_REMOVE_TAG = "remove it, or quote it if a text is meant"


def parse(text: bytes, file: str) -> Document:
    """Read YAML bytes; raises InputRefused where they cannot be read to the end."""
    decoded = _decoded(text, file)
    builder = _Builder(file)
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(decoded)
        for event in _events(loader):
            if not builder.take(event):
                break
    except yaml.reader.ReaderError as error:
        raise _unprintable(error, decoded, file) from None
    except yaml.MarkedYAMLError as error:
        raise InputRefused([*builder.problems, _broken(error, decoded, file)]) from None
    except (ValueError, OverflowError):
        # PyYAML converts \U escapes and directive numbers unchecked
        mark = loader.get_mark() if loader else None
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise InputRefused(
            [Problem(file, line, column, "a number or escape out of range", "correct it")]
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return Document(file, builder.root, tuple(builder.problems))


def _events(loader: yaml.SafeLoader) -> Iterator[yaml.Event]:
    while loader.check_event():
        yield loader.get_event()  # type: ignore[no-untyped-call]  # types-PyYAML leaves it out


def _decoded(text: bytes, file: str) -> str:
    """The text, or InputRefused when it is too long, no UTF-8 or holds a NUL."""
    if len(text) > MAXIMUM_BYTES:
        what = f"larger than {MAXIMUM_BYTES:,} bytes"
        raise InputRefused([Problem(file, 0, 0, what, SMALLER)])
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        offset = error.start + (3 if text.startswith(b"\xef\xbb\xbf") else 0)
        what = f"not UTF-8: byte 0x{text[offset]:02x} at offset {offset}"
        raise InputRefused([Problem(file, 0, 0, what, "save the file as UTF-8")]) from None
    if "\0" in decoded:
        what = f"a NUL byte at offset {text.index(0)}"
        raise InputRefused([Problem(file, 0, 0, what, "save the file as UTF-8 text")])
    return decoded


def _unprintable(error: yaml.reader.ReaderError, text: str, file: str) -> InputRefused:
    before = text[: error.position]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    what = f"the character U+{error.character:04X} is not allowed in YAML"
    return InputRefused([Problem(file, line, column, what, "remove it, or write it as an escape")])


def _broken(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark and (wide := _full_width(text, mark.line, file)):
        return wide
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    reason = error.problem or "unreadable"
    if "'\\t'" in reason:
        return Problem(file, line, column, "a tab", "indent by spaces")
    about = f"{error.context}, " if error.context else ""
    return Problem(
        file,
        line,
        column,
        one_clean_line(f"not valid YAML: {about}{reason}"),
        "check the indentation; a text that begins with { [ * & ! % @ ` or holds `: ` or ` #` "
        "needs quotes",
    )


def _full_width(text: str, broken_at: int, file: str) -> Problem | None:
    """A key with a full-width colon, at the line (from 0) that could not be read or before it."""
    lines = text.split("\n")[: broken_at + 1]
    for number in range(len(lines), max(0, len(lines) - 2), -1):
        if found := _WIDE_KEY.match(lines[number - 1]):
            what = f"`{found[1]}：` has a full-width colon (U+FF1A), which YAML takes for text"
            remedy = "write `:` and a blank after it"
            return Problem(file, number, found.end(), what, remedy)
    return None


@dataclass(slots=True)
class _Frame:
    """A list or mapping being filled; `key` is the mapping's key that waits for its value."""

    node: Node
    key: tuple[str, int, int] | None = None
    waits: bool = False


class _Builder:
    """Builds Nodes from events, keeping what is refused as problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Take in one event; False when the rest of the text is not wanted."""
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        if isinstance(event, yaml.DocumentStartEvent):
            return self._document(event, line, column)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(line, column, f"alias `*{event.anchor}`", _WRITE_OUT)
            self._place(Node("scalar", line, column, REFUSED))
        elif isinstance(event, yaml.NodeEvent):
            node = self._node(event, line, column)
            self._place(node)
            if node.kind != "scalar":
                self._stack.append(_Frame(node))
                self._check_depth(line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        return True

    def _refuse(self, line: int, column: int, what: str, remedy: str) -> None:
        self.problems.append(
            Problem(self.file, line, column, f"{what} is not allowed: plain data only", remedy)
        )

    def _document(self, event: yaml.DocumentStartEvent, line: int, column: int) -> bool:
        self._documents += 1
        if event.tags:
            self._refuse(line, column, "a %TAG directive", "remove it")
        if self._documents > 1:
            self.problems.append(
                Problem(
                    self.file, line, column, "a second document begins here",
                    "one file is one document: remove the `---` or split the file",
                )
            )  # fmt: skip
        return self._documents == 1

    def _check_depth(self, line: int, column: int) -> None:
        if len(self._stack) > MAXIMUM_DEPTH:
            what = f"nested more than {MAXIMUM_DEPTH} levels deep"
            raise InputRefused(
                [*self.problems, Problem(self.file, line, column, what, "flatten it")]
            )

    def _node(self, event: yaml.NodeEvent, line: int, column: int) -> Node:
        if event.anchor:
            self._refuse(line, column, f"anchor `&{event.anchor}`", _WRITE_OUT)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line, column)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node("list", line, column)
        else:
            node = Node("mapping", line, column)
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = one_clean_line(str(tag).replace("tag:yaml.org,2002:", "!!"), 60)
            self._refuse(line, column, f"tag `{shown}`", _REMOVE_TAG)
            node.value = REFUSED
        return node

    def _scalar(self, event: yaml.ScalarEvent, line: int, column: int) -> Node:
        text = str(event.value)
        node = Node("scalar", line, column, text, text)
        unfit = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
        if unfit is not None:
            what = f"the text holds the character U+{ord(unfit):04X}"
            self.problems.append(Problem(self.file, line, column, what, "remove it"))
            node.value, node.written = REFUSED, repr(text)
        elif event.implicit[0] and not event.style and not self._awaits_key():
            self._check_cut_off(event)
            value = read_scalar(text)
            if isinstance(value, Trap):
                self.problems.append(Problem(self.file, line, column, value.what, value.remedy))
                node.value = REFUSED
            else:
                node.value = value
        return node

    def _check_cut_off(self, event: yaml.ScalarEvent) -> None:
        """`make it #FF0000` is read as `make it`: the rest is a comment, and nobody means that."""
        end = event.end_mark
        if end is None or end.buffer is None:
            return
        if not _TEXTS.intersection(frame.key[0] for frame in self._stack if frame.key):
            return
        if found := _CUT_OFF.match(end.buffer, end.pointer):
            what = f"`{one_clean_line(found[1], 40)}` is a comment in YAML, and no part of the text"
            remedy = "quote the whole text; or, if a comment is meant, put a blank after the #"
            self.problems.append(Problem(self.file, end.line + 1, end.column + 2, what, remedy))

    def _awaits_key(self) -> bool:
        """Whether the next node is a key: keys are text as written, whatever they look like."""
        return bool(self._stack) and (
            self._stack[-1].node.kind == "mapping" and not self._stack[-1].waits
        )

    def _place(self, node: Node) -> None:
        if not self._stack:
            if self.root is None:
                self.root = node
            return
        frame = self._stack[-1]
        if frame.node.kind == "list":
            frame.node.items.append(node)
        elif frame.waits:
            frame.waits = False
            if frame.key is not None:
                name, line, column = frame.key
                frame.node.entries[name] = Entry(line, column, node)
        else:
            frame.waits = True
            frame.key = self._key(frame.node, node)

    def _key(self, mapping: Node, node: Node) -> tuple[str, int, int] | None:
        """The key's name and place; None when it is refused and its value is to be dropped."""
        if node.kind != "scalar" or node.written == "":
            self.problems.append(
                Problem(self.file, node.line, node.column, "a key must be a text", "name it")
            )
            return None
        if node.value is REFUSED:
            return None
        if node.written == "<<":
            self._refuse(node.line, node.column, "merge key `<<`", "write the keys out")
            return None
        known = mapping.entries.get(node.written)
        if known is not None:
            key = one_clean_line(node.written, 60)
            what = f"duplicate key `{key}`: lines {known.line} and {node.line}"
            self.problems.append(Problem(self.file, node.line, node.column, what, "keep one"))
            return None
        return node.written, node.line, node.column
