"""What pydantic found, said as Problems: the key, what is wrong with it, and what to write.

A value is shown only where it can be no secret; one that `document` refused already is not
complained about again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from retouch.errors import Problem
from retouch.manifest.document import REFUSED, Data, Document, Location, Node
from retouch.text import one_clean_line

_SHOWN_CHARACTERS = 60
_MAYBE_SECRET = re.compile(
    r"provider|(?:.*[_-])?(?:key|token|secret|password|auth|authorization)", re.IGNORECASE
)
_TOO_SHORT = "too_short"

Shape = TypeVar("Shape", bound=BaseModel)


def validated(
    document: Document, data: Data, shape: type[Shape], said: Location = ()
) -> tuple[Shape | None, list[Problem]]:
    """The data as `shape`, or None with every problem pydantic found in it.

    What is wrong at the location `said` was told already.
    """
    try:
        return shape.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        for each in found:
            each["loc"] = tuple(step for step in each["loc"] if not _is_tag(step))
        new = [each for each in found if not said or each["loc"] != said]
        return None, list(_problems(document, new, shape))


def _is_tag(step: int | str) -> bool:
    """Whether a step of a location only says which member of a union is meant."""
    return isinstance(step, str) and step.startswith("\0")


def _problems(
    document: Document, found: list[ErrorDetails], shape: type[BaseModel]
) -> Iterable[Problem]:
    locations = [error["loc"] for error in found]
    for error in found:
        location = error["loc"]
        if document.refused(location):
            continue
        if error["type"] == _TOO_SHORT and any(
            other[: len(location)] == location and other != location for other in locations
        ):
            continue  # counted after what is wrong with the items was taken out
        unknown = error["type"] == "extra_forbidden"
        line, column = document.place(location, of_key=unknown)
        if unknown:
            what, remedy = _unknown_key(location, shape)
        else:
            what, remedy = _said(error, document)
        yield Problem(document.file, line, column, what, remedy)


def key_name(location: Location) -> str:
    """A location in the YAML's words, without positions in lists: `models.limits.concurrency`."""
    words = [one_clean_line(step, _SHOWN_CHARACTERS) for step in location if isinstance(step, str)]
    return ".".join(words)


def close_to(word: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or the words there are."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(words)}"


def _unknown_key(location: Location, shape: type[BaseModel]) -> tuple[str, str]:
    what = f"unknown key `{key_name(location[-1:])}`"
    if str(location[-1]).lower() in ("api_key", "apikey", "key", "token", "secret"):
        return what, (
            "never write the key here: put it into an environment variable and name that in "
            "`provider.api_key_env`"
        )
    return what, close_to(str(location[-1]), _keys(_part_at(shape, location[:-1])))


def _keys(part: type[BaseModel]) -> dict[str, FieldInfo]:
    """A part's fields by their words in YAML."""
    return {field.alias or name: field for name, field in part.model_fields.items()}


def _part_at(shape: type[BaseModel], location: Location) -> type[BaseModel]:
    """The model that describes a location."""
    for step in location:
        if isinstance(step, str) and (field := _keys(shape).get(step)):
            shape = _part_in(field.annotation) or shape
    return shape


def _part_in(annotation: Any) -> type[BaseModel] | None:  # a type, as typing has them
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_part_in, get_args(annotation))), None)


def _said(error: ErrorDetails, document: Document) -> tuple[str, str]:
    """What is wrong at an error's location, and what to write instead."""
    location = error["loc"]
    name = named(location)
    context: Mapping[str, Any] = error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        return f"{name} is missing", f"add `{key_name(location[-1:])}: ...`"
    if kind == "advice":
        return f"{name} {context['what']}", str(context["remedy"])
    node = document.node(location)
    if kind in _NEEDED:
        needed, remedy = _NEEDED[kind]
        is_shown = _shown(node, location)
        return f"{name} must be {needed}{is_shown}", _quoting(kind, node, location) or remedy
    if kind in _RANGES:
        what, remedy = _RANGES[kind](context)
        return f"{name} {what}{_shown(node, location)}", remedy
    if kind in _SAID:
        what, remedy = _SAID[kind](context)
        return f"{name} {what}", remedy
    return f"{name}: {error['msg']}", "correct it"


def named(location: Location) -> str:
    """What stands at a location, for the beginning of a sentence."""
    words = f"`{key_name(location)}`"
    return f"an item of {words}" if isinstance(location[-1], int) else words


_NEEDED = {
    "string_type": ("a text", "write a text"),
    "int_type": ("a whole number", "write a number without quotes or fraction"),
    "int_from_float": ("a whole number", "write it without fraction"),
    "float_type": ("a number", "write a plain number without quotes"),
    "is_instance_of": ("an amount of money", "write a plain number without quotes"),
    "decimal_type": ("an amount of money", "write a plain number without quotes"),
    "bool_type": ("true or false", "write true or false without quotes"),
    "tuple_type": ("a list", "write it in [brackets], or one item a line after `- `"),
    "dict_type": ("a mapping", "write `key: value` lines under it"),
    "mapping_type": ("a mapping", "write `key: value` lines under it"),
    "model_type": ("a mapping", "write `key: value` lines under it"),
    "date_type": ("a day", "write it like 2025-10-02"),
    "date_from_datetime_inexact": ("a day", "write it like 2025-10-02"),
    "finite_number": ("a finite number", "write a plain number"),
}
_Limit = Callable[[Mapping[str, Any]], tuple[str, str]]
_LARGER, _SMALLER = "write a larger number", "write a smaller number"
_RANGES: dict[str, _Limit] = {
    "greater_than": lambda limit: (f"must be more than {_number(limit['gt'])}", _LARGER),
    "greater_than_equal": lambda limit: (f"must be at least {_number(limit['ge'])}", _LARGER),
    "less_than_equal": lambda limit: (f"must be at most {_number(limit['le'])}", _SMALLER),
    "literal_error": lambda limit: (f"must be {limit['expected']}", "write one of these"),
}  # the value itself is shown after these
_SAID: dict[str, _Limit] = {
    "string_too_short": lambda _: ("is empty", "write a text or leave the key out"),
    "string_too_long": lambda limit: (
        f"is longer than {limit['max_length']:,} characters",
        "shorten it",
    ),
    "string_pattern_mismatch": lambda limit: (
        ("is blank", "write a text or leave the key out")
        if limit["pattern"] == r"\S"
        else ("must be the name of an environment variable", "write a name, never the key")
    ),
    _TOO_SHORT: lambda _: ("is an empty list", "add an item with `- `"),
    "too_long": lambda limit: (f"has more than {limit['max_length']} items", "remove some"),
    "decimal_max_places": lambda _: ("has too many digits", "write at most 12 decimals"),
}


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float | Decimal) else str(value)


def _may_be_secret(location: Location) -> bool:
    return any(_MAYBE_SECRET.fullmatch(str(step)) for step in location)


def _shown(node: Node | None, location: Location) -> str:
    """`, but is …`, where the value is there and may be shown."""
    if node is None or _may_be_secret(location):
        return ""
    if node.kind != "scalar" or node.value is REFUSED:
        return f", but is a {node.kind}"
    if node.value is None:
        return ", but has no value"
    text = one_clean_line(node.written, _SHOWN_CHARACTERS)
    return f', but is "{text}"' if isinstance(node.value, str) else f", but is {text}"


def _quoting(kind: str, node: Node | None, location: Location) -> str:
    """What to write instead of nothing, or of a number, date or brace that was meant as a text."""
    if node is not None and node.kind == "scalar" and node.value is None:
        return "give it a value, or remove the key"
    if kind != "string_type" or node is None or _may_be_secret(location):
        return ""
    if node.kind == "mapping":
        return "quote it if it begins with a brace"
    if isinstance(node.value, int | Decimal | date):  # bool is an int
        return f'quote it: "{one_clean_line(node.written, _SHOWN_CHARACTERS)}"'
    return ""
