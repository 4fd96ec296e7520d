"""The JSON Schemas (draft 2020-12) of manifests and price files, for editors and other checkers.

They say what the shape is; what concerns several keys at once is checked by `load` alone.
"""

from __future__ import annotations

from retouch.manifest.kinds import JSON, Part
from retouch.manifest.model import Manifest
from retouch.manifest.prices import PriceTable

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def manifest_schema() -> JSON:
    """What a manifest may hold, every key described."""
    return _schema(Manifest)


def prices_schema() -> JSON:
    """What a price file may hold, every key described."""
    return _schema(PriceTable)


def _schema(shape: type[Part]) -> JSON:
    return {"$schema": DRAFT, **shape.model_json_schema(mode="validation")}
