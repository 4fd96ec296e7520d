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

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {each.NAME: each for each in (qiniu, openai, rehearsal)}
)

__all__ = ["DIALECTS"]
