"""The dialects by name. Adding one: a module satisfying `base.Dialect`, listed here.

Every dialect listed is held to one conformance suite, `tests/dialects/test_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from retouch.dialects import rehearsal
from retouch.dialects.base import Dialect
from retouch.dialects.openai import requests as openai
from retouch.dialects.qiniu import requests as qiniu

_LISTED: dict[str, Dialect] = {
    qiniu.NAME: qiniu,
    openai.NAME: openai,
    rehearsal.NAME: rehearsal,
}
DIALECTS: Mapping[str, Dialect] = MappingProxyType(_LISTED)

__all__ = ["DIALECTS"]
