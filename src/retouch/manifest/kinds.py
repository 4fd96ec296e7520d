"""The kinds of value a manifest is made of, as annotated types shared by its parts.

They take what `document` yields (Decimals for fractions, tuples for lists) and refuse the rest
with advice; every kind also says its JSON Schema.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from retouch.manifest.names import unfit_for_a_path, unfit_for_output
from retouch.manifest.urls import UnfitURL, base_url, hook_url
from retouch.money import CODES, currency_meant

JSON = dict[str, Any]  # a JSON Schema: as open as pydantic's own signature for it
_SHARES_OFF = 1e-6  # tolerance: three shares of 0.333333 count as one
_FARTHEST_HOURS = 14  # hours east of UTC (Kiribati); 12 to the west

PlainValue = TypeAliasType(
    "PlainValue",
    "str | int | float | bool | tuple[PlainValue, ...] | Mapping[str, PlainValue] | None",
)


class Part(BaseModel):
    """Base of every part of a manifest: nothing unknown passes, nothing changes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        defer_build=True,  # start-up: a part is built with the whole that is read
    )


def advice(what: str, remedy: str) -> PydanticCustomError:
    """A refusal with its remedy, for messages to pick up. `what` continues the key's name."""
    return PydanticCustomError("advice", "{what}", {"what": what, "remedy": remedy})


def _decimal(value: object) -> object:
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _float(value: object) -> object:
    return float(value) if isinstance(value, Decimal) and value.is_finite() else value


def _plain(value: object) -> object:
    """Decimals as floats and lists as tuples, all the way down; days are refused."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        raise advice(f"is a date in YAML ({value})", f'quote it: "{value}"')
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value


def _day(value: object) -> object:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise advice("is no day", "write it like 2025-10-02") from None
    return value


def _moment(value: object) -> date | datetime:
    """A day, or an instant that says its offset."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return date.fromisoformat(value)
        with contextlib.suppress(ValueError):
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant
    raise advice(
        "is no day, and no instant with its offset",
        "write it like 2026-11-01, or 2026-11-01T08:00:00+08:00",
    )


_OFFSET = re.compile(r"(?:UTC)?([+-])(\d{1,2}):?([0-5]\d)?")


def utc_offset(text: str) -> timezone | None:
    """`+08:00`, `+8` or `Z` as a time zone; None for what is none."""
    if text in ("Z", "UTC"):
        return UTC
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > _FARTHEST_HOURS:
        return None
    apart = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    return timezone(-apart if found[1] == "-" else apart)


def offset_of(zone: timezone) -> str:
    """`+08:00`."""
    return datetime.now(zone).isoformat()[-6:]


def _utc_offset(value: object) -> timezone:
    found = utc_offset(value) if isinstance(value, str) else None
    if found is None:
        raise advice("is no offset from UTC", 'write it like "+08:00", in quotes')
    return found


def _currency(value: str) -> str:
    if value in CODES:
        return value
    code = currency_meant(value)
    raise advice(
        "is no currency code of ISO 4217",
        f"did you mean {code}?" if code else "write its three letters, like CNY or USD",
    )


def _path_part(value: str) -> str:
    if reason := unfit_for_a_path(value):
        raise advice(f"cannot be part of a path: {reason}", "choose another name")
    return value


def _output_template(value: str) -> str:
    if reason := unfit_for_output(value):
        raise advice(
            f"must stay inside the outputs folder: {reason}",
            "write it like {model}/{prompt}/{parent}/{stem}-{index}",
        )
    return value


def _base_url(value: str) -> str:
    try:
        return base_url(value)
    except UnfitURL as error:
        raise advice(error.what, error.remedy) from None


def _hook_url(value: str) -> str:
    try:
        return hook_url(value)
    except UnfitURL as error:
        raise advice(error.what, error.remedy) from None


_SIZE = re.compile(r"^([1-9][0-9]{0,5}) ?(MB|GB)$")
_LEAST_MB = 16


def bytes_of(size: str) -> int:
    """A size like 512MB in bytes (decimal units, as everywhere here); 0 for what is none."""
    found = _SIZE.search(size)
    return int(found[1]) * {"MB": 1_000_000, "GB": 1_000_000_000}[found[2]] if found else 0


def _size(value: object) -> object:
    count = bytes_of(value) if isinstance(value, str) else 0
    if not count:
        raise advice("is no size", "write it with its unit, like 512MB or 2GB")
    if count < _LEAST_MB * 1_000_000:
        raise advice("is too little to send a picture in", f"write {_LEAST_MB}MB or more")
    return value


_NOTICE_AT = re.compile(r"^([1-9][0-9]?%|100%|end)$")


def _notice_at(value: object) -> object:
    if not isinstance(value, str) or not _NOTICE_AT.search(value):
        raise advice("is neither a share of a budget nor `end`", "write it like 80%, 100% or end")
    return value


def _variable_value(value: object) -> str | tuple[str, ...]:
    """A text, or a tuple of at least one; numbers stand as they are written."""
    if not isinstance(value, tuple | list):
        return _written(value)
    if not value:
        raise advice("is an empty list: no prompt would be left", "give it a value")
    values = tuple(map(_written, value))
    for index, text in enumerate(values):
        if text in values[:index]:
            raise advice("names a value twice", "name each once")
    return values


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        text = str(value)
        if "E" not in text:
            return text
    if value is None:
        raise advice("has no value", 'write one, or "" for an empty text')
    if isinstance(value, bool | Decimal | date):
        text = str(value).lower()
        raise advice("is a true/false, a date or a number with exponent", f'quote it: "{text}"')
    raise advice("must be a text or a list of texts", 'quote it if a text is meant: "..."')


# Which of a union's members is meant; in locations of problems they are left out.
WORD, TERMS = "\0word", "\0terms"
ONE, SEVERAL = "\0one", "\0several"


def _conditions(value: object) -> object:
    """Each column with the texts it may have; numbers stand as they are written."""
    if not isinstance(value, Mapping):
        return value
    return {str(column): _allowed(wanted) for column, wanted in value.items()}


def _allowed(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, tuple | list) else (value,)
    if not values:
        raise advice("holds an empty list: no source would be left", "give it a value")
    return tuple(str(each).lower() if isinstance(each, bool) else _written(each) for each in values)


def _prefix(value: str) -> str:
    for part in value.split("/"):
        if part in (".", "..") or (reason := unfit_for_a_path(part)):
            what = "is no folder's name" if part in (".", "..") else f"cannot be a folder: {reason}"
            raise advice(what, "write a name like set-a, or several with / between them")
    return value


def _shares(value: Mapping[str, float]) -> Mapping[str, float]:
    for name, share in value.items():
        if share <= 0:
            raise advice(f"gives `{name}` no share", "write shares above 0, like 0.8")
    if value and abs(sum(value.values()) - 1) > _SHARES_OFF:
        total = f"{sum(value.values()):.6g}"
        raise advice(f"must add up to 1, and they add up to {total}", "mend the shares")
    return value


Text = Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"\S")]
Number = Annotated[float, BeforeValidator(_float)]
PlainOptions = Annotated[Mapping[str, PlainValue], BeforeValidator(_plain)]
Plain = Annotated[PlainValue, BeforeValidator(_plain)]
Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, le=10**12, decimal_places=12),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 10**12}),
]
Fraction = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(ge=0, le=1),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
Moment = Annotated[
    date | datetime,
    PlainValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date"},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]
UtcOffset = Annotated[
    timezone,
    PlainValidator(_utc_offset),
    WithJsonSchema({"type": "string", "pattern": r"^(Z|UTC|[+-]\d{1,2}(:?[0-5]\d)?)$"}),
]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Currency = Annotated[
    str, AfterValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})
]
PathPart = Annotated[str, Field(min_length=1), AfterValidator(_path_part)]
OutputTemplate = Annotated[str, AfterValidator(_output_template)]
BaseURL = Annotated[
    str,
    AfterValidator(_base_url),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://[^@?#]+$"}),
]
HookURL = Annotated[
    str,
    AfterValidator(_hook_url),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://[^@#]+$"}),
]
NoticeAt = Annotated[
    str,
    BeforeValidator(_notice_at),
    WithJsonSchema({"type": "string", "pattern": _NOTICE_AT.pattern}),
]
Size = Annotated[
    str, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": _SIZE.pattern})
]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Prefix = Annotated[str, Field(min_length=1), AfterValidator(_prefix)]
_PLAIN_JSON: JSON = {"type": ["string", "number", "boolean"]}
Conditions = Annotated[
    Mapping[str, tuple[str, ...]],
    BeforeValidator(_conditions),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "anyOf": [_PLAIN_JSON, {"type": "array", "items": _PLAIN_JSON, "minItems": 1}]
            },
        }
    ),
]
Shares = Annotated[
    Mapping[PathPart, Number],
    AfterValidator(_shares),
    WithJsonSchema(
        {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}}
    ),
]
VariableValue = Annotated[
    str | tuple[str, ...],
    PlainValidator(_variable_value),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "number"]},
                {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
            ]
        }
    ),
]


def _tags(value: object) -> dict[str, str]:
    """Names and values; numbers stand as they are written."""
    if not isinstance(value, Mapping):
        raise advice("must be a mapping of names to texts", "write it like {team: vision}")
    found = {str(name): _written(each) for name, each in value.items()}
    if len(found) > _MOST_TAGS or any(len(name) > 100 or not name for name in found):
        raise advice("has too many or too long names", f"at most {_MOST_TAGS}, of 100 characters")
    return found


_MOST_TAGS = 50
Tags = Annotated[
    Mapping[str, str],
    PlainValidator(_tags),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]


def described(
    optional: tuple[str, ...] = (),
    one_of: tuple[str, ...] = (),
    any_of: tuple[str, ...] = (),
) -> ConfigDict:
    """What the JSON Schema says beyond the fields.

    `optional` keys are filled in when left out; exactly one of `one_of`, at least one of
    `any_of` is given.
    """

    def extend(schema: JSON) -> None:
        schema["required"] = [key for key in schema.get("required", ()) if key not in optional]
        for keyword, keys in (("oneOf", one_of), ("anyOf", any_of)):
            if keys:
                schema[keyword] = [{"required": [key]} for key in keys]

    return ConfigDict(json_schema_extra=extend)
