"""`{name}` is substitution and nothing more; `{{` and `}}` are braces (DESIGN §6).

A template is parsed once into literal texts and names. There are no attributes, indexes,
conversions or format specs: each is refused with its position, so no template is ever code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from retouch.text import one_clean_line

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FORBIDDEN = (
    (".", "attributes"),
    ("[", "indexes"),
    ("!", "conversions"),
    (":", "format specs"),
    ("(", "calls"),
)


class TemplateError(ValueError):
    """Why a text is no template; `position` counts characters from 0."""

    def __init__(self, what: str, remedy: str, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - (text.rfind("\n", 0, position) + 1) + 1
        place = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
        super().__init__(f"{what} at {place} of the template")
        self.remedy = remedy
        self.position = position


@dataclass(frozen=True, slots=True)
class Name:
    """A place where a value goes."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text: literals and Names in turn. `names` holds each name once, in order."""

    parts: tuple[str | Name, ...]
    names: tuple[str, ...]

    def render(self, values: Mapping[str, str]) -> str:
        """The text with each name's value; KeyError for a name without one."""
        if not self.names:
            return "".join(part for part in self.parts if isinstance(part, str))
        return "".join(
            [part if isinstance(part, str) else values[part.name] for part in self.parts]
        )


def parse(text: str) -> Template:
    """The template a text is. Raises TemplateError."""
    parts: list[str | Name] = []
    literal: list[str] = []
    at = 0
    for token in _TOKEN.finditer(text):
        literal.append(text[at : token.start()])
        at = token.end()
        if token.group() in ("{{", "}}"):
            literal.append(token.group()[0])
            continue
        name = _checked(token, text)
        if any(literal):
            parts.append("".join(literal))
        literal = []
        parts.append(Name(name))
    literal.append(text[at:])
    if any(literal):
        parts.append("".join(literal))
    names = dict.fromkeys(part.name for part in parts if isinstance(part, Name))
    return Template(tuple(parts), tuple(names))


def _checked(token: re.Match[str], text: str) -> str:
    """The name a token holds, refused if it is anything but a name."""
    braces, name, at = token.group(), token.group(1), token.start()
    if name is None:
        doubled = "{{" if braces == "{" else "}}"
        raise TemplateError(f"a single `{braces}`", f"write {doubled} for a brace", text, at)
    shown = one_clean_line(name, 40)
    for sign, what in _FORBIDDEN:
        if sign in name:
            remedy = f"{what} are not supported: write a plain name, as in {{stem}}"
            raise TemplateError(f"`{{{shown}}}` is not a name", remedy, text, at)
    if not name or name != name.strip():
        remedy = "write a name between the braces, without blanks; {{ for a brace"
        raise TemplateError(f"`{{{shown}}}` is not a name", remedy, text, at)
    return name
