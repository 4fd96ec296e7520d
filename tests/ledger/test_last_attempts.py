"""What is known of millions of Keys in a few bytes each is what a dict of them would know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.ledger import last_attempts
from retouch.ledger.last_attempts import LastAttempts

ATTEMPTS = st.sampled_from([1, 1, 1, 2, 3, 127, 128, 300, 1 << 70, 0, -1])
STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "charge", "ask", "copy"]), st.sampled_from("abc"), ATTEMPTS),
    max_size=40,
)


@given(STEPS, st.integers(1, 9))
def test_the_last_attempt_and_whether_one_was_charged_are_those_of_a_dict(
    steps: list[tuple[str, str, int]], latest: int
) -> None:
    """Whatever was put away meanwhile: charged before is said of a Job of more than one Attempt."""
    known, last, charged = LastAttempts(), dict[str, int](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_attempts, "LATEST", latest)
        for step, key, attempt in steps:
            match step:
                case "open":
                    known.open(key, attempt)
                    last[key] = max(attempt, last.get(key, 0))
                case "charge" if key in last:
                    of = min(attempt, last[key])
                    assert known.charge(key, of) == (key in charged and last[key] > 1)
                    charged.add(key)
                case "copy":
                    former, known = known, known.copy()
                    former.open(key, 127 + attempt)
                case _:
                    assert known.last(key) == last.get(key, 0)
        assert {key: known.last(key) for key in "abc"} == {key: last.get(key, 0) for key in "abc"}


@pytest.mark.parametrize("latest", [1, 2, 3, 5])
def test_each_key_that_was_noted_is_known(monkeypatch: pytest.MonkeyPatch, latest: int) -> None:
    """The first one after others were put away, too; and what was never noted is not."""
    monkeypatch.setattr(last_attempts, "LATEST", latest)
    for count in range(12):
        known = LastAttempts()
        for number in range(count):
            known.open(str(number), 1)
        assert [known.last(str(each)) for each in range(count + 1)] == [1] * count + [0]
