"""The dialects by name. Adding one: a module satisfying `base.Dialect`, listed here.

A dialect is imported when it is first asked for. Every dialect listed is held to one conformance
suite, `tests/dialects/test_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from retouch.dialects.base import Dialect

if TYPE_CHECKING:  # that each satisfies the Protocol is checked here
    from retouch.dialects import rehearsal
    from retouch.dialects.openai import requests as openai
    from retouch.dialects.qiniu import requests as qiniu

    _: tuple[Dialect, ...] = (qiniu, openai, rehearsal)


class _Dialects(Mapping[str, Dialect]):
    """The modules listed, by the names that manifests call them."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules

    def __getitem__(self, name: str) -> Dialect:
        return cast("Dialect", import_module(self._modules[name]))

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


_LISTED = {
    "qiniu": "retouch.dialects.qiniu.requests",
    "openai": "retouch.dialects.openai.requests",
    "rehearsal": "retouch.dialects.rehearsal",
}
DIALECTS: Mapping[str, Dialect] = _Dialects(_LISTED)

__all__ = ["DIALECTS"]
