"""What the answers of real gateways mean: `tests/support/gateways.toml`, row by row."""

from __future__ import annotations

from collections import Counter

import pytest

from retouch.dialects import DIALECTS
from retouch.dialects.base import Dialect, Rejected, Unreadable
from tests.support.gateways import SHAPES, Right, Shape


def understood(dialect: Dialect, shape: Shape) -> Right | str:
    """What a submit answered like that means to the dialect."""
    match dialect.read_submit(shape.reply):
        case Unreadable():
            return "unknown"
        case Rejected(retry_safe=True):
            return "unsent"
        case Rejected(scope="run"):
            return "stopped"
        case Rejected(scope="job", billed="no"):
            return "failed"
        case other:
            return repr(other)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_gateway_is_understood(name: str, shape: Shape) -> None:
    """Unsent only where something proves that the provider never began (CASES A1, C4, C5)."""
    assert understood(DIALECTS[name], shape) == shape.right, shape.why


def test_the_table_is_broad_and_says_why() -> None:
    """25 gateways and more, each row with its reason and the document it comes from; what can
    strike after the charge is never called unsent."""
    assert len({shape.gateway.split(",")[0] for shape in SHAPES}) >= 25
    assert len(set(SHAPES)) == len(SHAPES)
    for shape in SHAPES:
        assert shape.why
        assert shape.source.startswith("https://")
        assert shape.when == "before" or shape.right == "unknown"
    rights = Counter(shape.right for shape in SHAPES)
    assert min(rights["unsent"], rights["unknown"]) >= 25
