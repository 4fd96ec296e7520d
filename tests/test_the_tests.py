"""The tests themselves: each one can fail."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.can_fail import asserting, functions, parsed, says_something

TESTS = Path(__file__).parent


def test_every_test_can_fail() -> None:
    """Each asserts something, and not only of what may be empty."""
    trees = parsed(TESTS)
    helpers = asserting(trees.values())
    tests = [
        (path, each)
        for path, tree in trees.items()
        for each in functions([tree])
        if each.name.startswith("test_")
    ]
    assert len(tests) > 1000
    idle = [
        f"{path.relative_to(TESTS)}:{each.lineno} {each.name}"
        for path, each in tests
        if not says_something(each, helpers - {each.name})
    ]
    assert idle == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("run()", False),
        ("for each in found():\n  assert each", False),
        ("assert all(each for each in found())", False),
        ("assert not any(each for each in found())", False),
        ("for each in (1, 2):\n  assert each", True),
        ("assert all(each for each in (1, 2))", True),
        ("found = [1]\n assert found\n for each in found:\n  assert each", True),
        ("with pytest.raises(ValueError):\n  run()", True),
        ("check()", True),
        ("for each in found():\n  check()", False),
    ],
)
def test_what_says_nothing_is_seen(body: str, says: bool) -> None:
    """A loop over nothing, or no assertion at all."""
    tree = ast.parse(f"def test():\n {body}\ndef check():\n assert 1\ndef found(): pass")
    [test] = [each for each in functions([tree]) if each.name == "test"]
    assert says_something(test, asserting([tree]) - {"test"}) == says
