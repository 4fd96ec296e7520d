"""What `make mutants` counts: which changes are left out and drawn, how sure the score is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.mutants.changes import Change, Equivalent, drawn, made, says_nothing, wilson

SOURCE = '''
from typing import cast


class Price:
    def told(self, known, wanted):
        """Docstrings are never changed."""
        if known == "two words":
            raise ValueError("nobody knows this price", known)
        return {"a key": known.get("of words")}, "word"


def paired(first, second, text):
    for one, other in zip(first, second, strict=True):
        yield cast(int, one), other
    for one in zip(first, second, strict=False):
        yield one, text.decode("utf-8")
'''


@pytest.fixture
def changes(tmp_path: Path) -> list[Change]:
    path = tmp_path / "src" / "retouch" / "some.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    return made(path, tmp_path)


def left_out(changes: list[Change]) -> dict[str, set[str]]:
    """By rule, what the lines left out became."""
    rules: dict[str, set[str]] = {}
    for each in changes:
        rule = says_nothing(each)
        if rule:
            rules.setdefault(rule, set()).add(each.lines[1])
    return rules


def test_only_what_no_promise_hangs_on_is_left_out(changes: list[Change]) -> None:
    """Never that a sentence is said at all, a text that is compared, or a word that is a value."""
    assert left_out(changes) == {
        "words": {
            'raise ValueError("XXnobody knows this priceXX", known)',
            'raise ValueError("NOBODY KNOWS THIS PRICE", known)',
        },
        "strict of zip": {
            "for one, other in zip(first, second, strict=None):",
            "for one, other in zip(first, second, strict=False):",
            "for one, other in zip(first, second, ):",
        },
        "the type of a cast": {"yield cast(None, one), other"},
        "a codec's name in other letters": {'yield one, text.decode("UTF-8")'},
    }


def test_a_change_is_named_as_a_person_would(changes: list[Change]) -> None:
    """By its function and by its line before and after."""
    assert {each.function for each in changes} == {"retouch.some.Price.told", "retouch.some.paired"}
    line, becomes = 'if known == "two words":', 'if known != "two words":'
    named = Equivalent("retouch.some.Price.told", line, "a reason", becomes)
    (found,) = [each for each in changes if named.names(each)]
    assert found.lines == (line, becomes)
    anything = Equivalent("retouch.some.Price.told", line, "a reason")
    assert sum(anything.names(each) for each in changes) == 3
    assert not any(Equivalent("retouch.some.other", line, "").names(each) for each in changes)


def test_the_same_seed_draws_the_same(changes: list[Change]) -> None:
    """Whatever order they come in; another seed draws others; never one twice."""
    one = drawn(changes, 5, "1")
    assert one == drawn(changes[::-1], 5, "1") != drawn(changes, 5, "2")
    assert len(set(one)) == 5
    assert set(drawn(changes, 10_000, "1")) == set(changes)


def test_the_score_says_how_sure_it_is() -> None:
    """Wilson's interval: 190 of 200 and all of 10, as textbooks have them."""
    assert wilson(190, 200) == pytest.approx((0.9104, 0.9726), abs=1e-3)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)
