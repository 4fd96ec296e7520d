"""The API key: checked when it is loaded, shown by nothing, held by the transport alone.

Messages name the variable, never the value: an HTTP library handed a key with a newline prints
it in its error (PROTOCOL, trap 13), so such a key is refused before any request is made of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote

from retouch.errors import Refused

SECRET_CHARACTERS = 8  # shorter values are placeholders; scrubbing them would cut plain words
_QUOTES = "\"'`“”‘’"


class ApiKey:
    """A provider's key; `repr` and `str` name the variable it came from."""

    __slots__ = ("_value", "variable")

    def __init__(self, value: str, *, variable: str = "api_key") -> None:
        _refuse_unusable(value, variable)
        self._value = value
        self.variable = variable

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], variable: str) -> ApiKey:
        """The key in `variable`; raises Refused, naming the variable, when it is no key."""
        value = environment.get(variable)
        if value is None:
            raise Refused(
                f"{variable} is not set: the provider's API key is read from it",
                hint=f"export {variable}=<your key>, or rehearse without one: --rehearse",
            )
        return cls(value, variable=variable)

    @property
    def authorization(self) -> str:
        """The value of the Authorization header; for the transport alone."""
        return f"Bearer {self._value}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every spelling to be cut from messages (see `retouch.text.without_secrets`)."""
        return secrets_of(self._value)

    def __repr__(self) -> str:
        return f"ApiKey({self.variable})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is not to be copied or written")


def secrets_of(value: str) -> tuple[str, ...]:
    """How `value` may be spelt where it was echoed; () for what is too short to be a secret."""
    if len(value) < SECRET_CHARACTERS:
        return ()
    escaped = quote(value, safe="")
    in_lower_case = re.sub("%..", lambda match: match.group().lower(), escaped)
    in_json, in_html = value.replace("/", r"\/"), html.escape(value)
    spellings = (value, escaped, in_lower_case, quote(value), in_json, in_html)
    return tuple(dict.fromkeys(spellings))


def _refuse_unusable(value: str, variable: str) -> None:
    hint = f"set {variable} to the bare key, in one line"
    if not value.strip():
        raise Refused(f"{variable} is blank", hint=hint)
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise Refused(f"{variable} holds a newline or another control character", hint=hint)
    if not value.isascii():
        raise Refused(f"{variable} holds characters that are not ASCII", hint=hint)
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        raise Refused(f"{variable} has quotes around or in the key", hint=hint)
    if value.lower().startswith("bearer "):
        raise Refused(f"{variable} begins with 'Bearer', which is added by itself", hint=hint)
    if " " in value:
        raise Refused(f"{variable} holds blanks", hint=hint)
