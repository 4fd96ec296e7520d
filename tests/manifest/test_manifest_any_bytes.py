"""Whatever the bytes, a manifest is loaded or refused: nothing else ever comes out."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from retouch.errors import InputRefused
from retouch.manifest import Manifest, read

EXAMPLE = Path(__file__).with_name("example.yaml").read_bytes()
PIECES = [
    "version: 1\n", "name: ", "models:", "  - ", "model: m", "{", "}", "[", "]", ": ", ", ", "\n",
    "&a ", "*a", "!!int ", "!<x> ", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n", "|\n", ">-\n",
    "? ", "- ", "'", '"', "\\x00", "\\ud800", "\\U00110000", "\t", "#", "0x1f", "1:30", "1e9",
    ".inf", "2025-13-01", "2025-01-01", "null", "~", "yes", "options", "n: 11", "price:", "<<: ",
    "budget", "inputs:\n - glob: a\n", "prompts: [{template: '{a}', id: p}]\n", "\u2028", "\ufeff",
    "版本", "e\u0301", "\x85", " ", "    ", "@", "`", "%", "9" * 5000,
]  # fmt: skip


def refused_or_read(text: bytes) -> None:
    try:
        found = read(text, "m.yaml", Path("nowhere"), dialects=("qiniu",)).manifest.name
    except InputRefused as refused:
        found = refused.message
    assert found


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=300))
def test_any_bytes(text: bytes) -> None:
    """Arbitrary bytes raise nothing but InputRefused."""
    refused_or_read(text)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_yaml(text: str) -> None:
    """Pieces of YAML in any order raise nothing but InputRefused."""
    refused_or_read(text.encode())


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.integers(0, len(EXAMPLE)), st.integers(0, 60), st.sampled_from(PIECES) | st.text(max_size=9)
)
def test_a_damaged_manifest(start: int, length: int, instead: str) -> None:
    """A good manifest with a part cut out or replaced raises nothing but InputRefused."""
    damaged = EXAMPLE[:start] + instead.encode(errors="surrogatepass") + EXAMPLE[start + length :]
    refused_or_read(damaged)


def nested() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("1.5")
    keys = st.sampled_from(
        ["model", "options", "limits", "price", "n", "id", "template", "glob", "version", "x"]
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
        max_leaves=9,
    )


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.fixed_dictionaries(
        {"version": st.just(1)},
        optional={
            key: nested()
            for key in sorted(Manifest.model_fields.keys() - {"version"})
        },
    )
)  # fmt: skip
def test_any_shape(data: dict[str, object]) -> None:
    """Well-formed YAML of any shape raises nothing but InputRefused."""
    refused_or_read(json.dumps(data).encode())
