"""Which sources and prompts are taken: by columns, by hash, by weight; nothing added moves them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from retouch.job import Job
from tests.support.datasets import Made
from tests.support.studio import GEMINI, Studio, jobs, names, said

PROMPTS = [
    {"id": "snow", "template": "snow", "weight": 3},
    {"id": "rain", "template": "rain"},
    {"id": "fog", "template": "fog {w}", "variables": {"w": ["thin", "thick"]}},
    {"id": "sun", "template": "sun", "weight": 0.5},
]
LIGHTS = [
    {"id": "t", "template": "{at}", "variables": {"at": ["dawn", "dusk"]}},
    {"id": "noon", "template": "noon"},
]
CHOOSE = {"mode": "choose", "variants": 2, "seed": 7}


def pictures(studio: Studio, count: int, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        label = ("cat", "cup")[number % 2]
        studio.make(f"data/{label}/{number:04}.png", Made(number).data)


def drawn(studio: Studio, **combine: Any) -> list[Job]:
    return jobs(studio.plan(prompts=PROMPTS, combine={**CHOOSE, **combine}))


def keys(found: list[Job]) -> set[str]:
    return {job.key for job in found}


def test_draws_stay_when_sources_are_added(studio: Studio) -> None:
    """120 sources, 2 variants: 240 jobs, the same with the same seed; 60 more are 120 more."""
    pictures(studio, 120)
    first = drawn(studio)
    assert len(first) == len(keys(first)) == 240
    assert keys(drawn(studio)) == keys(first)
    pictures(studio, 60, begin=1000)
    more = drawn(studio)
    assert len(more) == 360
    assert keys(first) < keys(more)
    assert keys(drawn(studio, seed=8)) != keys(more)


def test_a_source_gets_different_prompts_and_more_variants_keep_the_earlier(
    studio: Studio,
) -> None:
    """Without replacement; the first variant of three is the first of one."""
    pictures(studio, 40)
    one, three = drawn(studio, variants=1), drawn(studio, variants=3)
    assert keys(one) < keys(three)
    each = Counter((job.source.name, job.prompt.id) for job in three)
    assert set(each.values()) == {1}
    assert len(three) == 120


def test_weights_say_how_often(studio: Studio) -> None:
    """A prompt's weight is shared by its renderings: 3 : 1 : 1 : 0.5 of 600 draws."""
    pictures(studio, 600)
    found = Counter(job.prompt.id.partition(".")[0] for job in drawn(studio, variants=1))
    for name, share in {"snow": 3, "rain": 1, "fog": 1, "sun": 0.5}.items():
        assert abs(found[name] - 600 * share / 5.5) < 45, found


def test_equal_draws_stay_apart(studio: Studio) -> None:
    """Two prompts of one text, both drawn, are two pieces of work."""
    pictures(studio, 5)
    alike = [{"id": "a", "template": "x"}, {"id": "b", "template": "x"}]
    found = jobs(studio.plan(prompts=alike, combine=CHOOSE))
    assert len(found) == len(keys(found)) == 10
    assert sorted({job.draw for job in found}) == [0, 1]


def test_fewer_prompts_than_variants_are_all_taken_and_said(studio: Studio) -> None:
    """Nothing is drawn twice to fill up."""
    pictures(studio, 3)
    plan = studio.plan(prompts="x", combine=CHOOSE)
    assert len(jobs(plan)) == 3
    assert "fewer than 2 prompts are for a source" in said(plan.warnings)


def test_zip_pairs_sources_with_prompts_in_turn(studio: Studio) -> None:
    """Jobs are as many as sources; prompts begin anew."""
    pictures(studio, 5)
    found = jobs(studio.plan(prompts=LIGHTS, combine={"mode": "zip"}))
    assert [job.prompt.text for job in found] == ["dawn", "dusk", "noon", "dawn", "dusk"]


def test_when_and_models_say_which_prompts_are_for_whom(studio: Studio) -> None:
    """By the source's columns, and by the lane's name."""
    pictures(studio, 4)
    prompts = [
        {"id": "all", "template": "x"},
        {"id": "cats", "template": "{label}", "when": {"label": "cat"}},
        {"id": "late", "template": "y", "when": {"label": ["cup", "dog"]}, "models": ["b"]},
    ]
    models = [
        {"model": GEMINI, "id": "a", "options": {"n": 1}},
        {"model": GEMINI, "id": "b", "options": {"n": 2}},
    ]
    found = jobs(studio.plan(prompts=prompts, models=models))
    counted = Counter((job.lane_name, job.prompt.id) for job in found)
    assert counted == {
        ("a", "all"): 4, ("a", "cats"): 2, ("b", "all"): 4, ("b", "cats"): 2, ("b", "late"): 2,
    }  # fmt: skip
    assert {job.model for job in found} == {GEMINI}
    assert {job.output.split("/")[1] for job in found} == {"a", "b"}
    assert len(keys(found)) == len(found)


def test_one_model_twice_for_the_same_work_is_refused(studio: Studio) -> None:
    """It would be paid for twice."""
    pictures(studio, 1)
    models = [{"model": GEMINI, "id": "a"}, {"model": GEMINI, "id": "b"}]
    told = said(studio.plan(prompts="x", models=models).problems)
    assert "`b` and `a` ask for the same work of the same model" in told


def test_where_takes_those_that_fit(studio: Studio) -> None:
    """Compared as texts; a list is any of its items."""
    studio.make("a.png")
    studio.make("b.png")
    studio.make("t.csv", "image,grade,ok\na.png,3,true\nb.png,4,true\n")
    given: dict[str, Any] = {"table": "t.csv", "where": {"grade": 3, "ok": True}}
    assert names(studio.plan(inputs=[given])) == ["a.png"]
    given["where"] = {"grade": [3, "4"]}
    assert names(studio.plan(inputs=[given])) == ["a.png", "b.png"]
    given["where"] = {"grade": 5}
    assert "`where` leaves none of 2 sources" in said(studio.plan(inputs=[given]).problems)
    given["where"] = {"grad": 5}
    assert "`grad` in `where` is not a column; known: " in said(
        studio.plan(inputs=[given]).problems
    )


@pytest.mark.parametrize("sample", [{"fraction": 0.25}, {"count": 10}])
def test_a_sample_per_label_is_taken_of_each(studio: Studio, sample: dict[str, Any]) -> None:
    """A fraction moves nothing when sources are added; a count displaces few."""
    pictures(studio, 80)
    given = [{"glob": "data/**/*", "sample": {**sample, "seed": 3, "per": "label"}}]
    first = jobs(studio.plan(inputs=given, prompts="x"))
    by_label = Counter(job.source.columns["label"] for job in first)
    if "count" in sample:
        assert by_label == {"cat": 10, "cup": 10}
    else:
        assert all(3 <= count <= 18 for count in by_label.values())
    pictures(studio, 20, begin=500)
    later = jobs(studio.plan(inputs=given, prompts="x"))
    lost = {job.source.name for job in first} - {job.source.name for job in later}
    assert len(lost) <= (20 if "count" in sample else 0)
