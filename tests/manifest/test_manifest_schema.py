"""The JSON Schemas: valid, complete, and of one mind with the loader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from retouch.cli.init import starter
from retouch.manifest import Manifest, read
from retouch.manifest.model import manifest_schema, prices_schema

EXAMPLE = Path(__file__).with_name("example.yaml")
SCHEMAS = {"manifest": manifest_schema(), "prices": prices_schema()}


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "top", schema
    yield from schema["$defs"].items()


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid(name: str) -> None:
    """Each schema is a draft 2020-12 schema."""
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_is_described(name: str) -> None:
    """No key is left to be guessed, and nothing unknown passes."""
    mappings = [found for found in objects(SCHEMAS[name]) if "properties" in found[1]]
    assert mappings
    for title, part in mappings:
        assert part["additionalProperties"] is False, title
        for key, value in part["properties"].items():
            assert value.get("description"), f"{title}.{key}"


@pytest.mark.parametrize("text", [EXAMPLE.read_bytes(), starter()], ids=["example", "starter"])
def test_good_manifests_pass(text: bytes) -> None:
    """What the loader takes, the schema takes, read by any YAML reader."""
    assert read(text, "m.yaml", Path()).manifest.version == 1
    jsonschema.validate(yaml.safe_load(text), SCHEMAS["manifest"])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"zzz": 1}, {"inputs": []}, {"inputs": [{"glob": "a", "table": "b"}]},
        {"prompts": [{"template": "t"}]} | {"models": "m"}, {"run": {"retries": -1}},
        {"models": [{"model": "m", "limits": {"concurrency": 0.5}}]}, {"models": [{"model": ""}]},
        {"run": {"budget": {"currency": "CNY"}}}, {"provider": {"base_url": "https://u:p@h"}},
    ],
)  # fmt: skip
def test_bad_manifests_fail(change: dict[str, Any]) -> None:
    """The schema refuses the shapes the loader refuses."""
    data = yaml.safe_load(EXAMPLE.read_bytes()) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMAS["manifest"])


def test_starter_names_every_section() -> None:
    """The starter mentions every key a manifest may begin with."""
    text = starter().decode()
    assert "models" in Manifest.model_fields
    for key in Manifest.model_fields:
        assert f"\n{key}:" in text or f"\n# {key}:" in text, key
