"""What the model cannot see makes no new work: the Keys of a plan stay as they were."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from tests.support.studio import Studio, jobs


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"models": "gemini-2.5-flash-image"},
         {"models": [{"model": "gemini-2.5-flash-image", "options": {"n": 1}}]}),
        ({"prompts": "make it white"}, {"prompts": "make it white\r\n\r\n"}),
        ({"prompts": "one\ntwo"}, {"prompts": "one  \r\ntwo\n"}),
    ],
    ids=["a default written out", "CRLF and blank lines at the end", "blanks at a line's end"],
)  # fmt: skip
def test_nothing_is_bought_again(
    studio: Studio, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """CASES A7: the same keys, and what is sent is the same text."""
    studio.make("data/1.png")
    first, second = jobs(studio.plan(**before)), jobs(studio.plan(**after))
    assert [job.key for job in first] == [job.key for job in second]
    assert [job.prompt.text for job in first] == [job.prompt.text for job in second]
    assert [job.images_wanted for job in first] == [job.images_wanted for job in second]


def test_a_whole_number_written_with_a_point_is_the_same_work(studio: Studio) -> None:
    """1 and 1.0 ask for the same: nothing is bought again."""
    studio.make("data/1.png")
    model = {"model": "my-flash", "like": "gemini-2.5-flash-image", "accepts": ["seed"]}
    plans = [studio.plan(models=[{**model, "options": {"seed": seed}}]) for seed in (7, 7.0, 7.5)]
    one, same, other = (jobs(plan)[0].key for plan in plans)
    assert one == same
    assert one != other


def test_a_name_in_another_form_is_the_same_work(studio: Studio) -> None:
    """A folder copied from a Mac has its names decomposed; prompts that take them do not change."""
    name = "data/café.png"
    data = studio.make(name).read_bytes()
    (first,) = jobs(studio.plan(prompts="make the {stem} white"))
    (studio.folder / name).unlink()
    studio.make(unicodedata.normalize("NFD", name), data)
    (second,) = jobs(studio.plan(prompts="make the {stem} white"))
    assert first.source.name != second.source.name
    assert first.key == second.key
