"""The dialects by name. Adding one: a module satisfying `retouch.dialect.Dialect`, listed here.

Every dialect listed is held to one conformance suite, `tests/dialects/test_conformance.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from retouch.dialect import Dialect
from retouch.dialects import qiniu, rehearsal

DIALECTS: Mapping[str, Dialect] = MappingProxyType({qiniu.NAME: qiniu, rehearsal.NAME: rehearsal})

__all__ = ["DIALECTS"]
