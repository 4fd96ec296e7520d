"""What a large plan rests on: parts made once for many Jobs, and nothing held that need not be."""

from __future__ import annotations

import gc
import itertools
import string
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.job import Job, plain_text, plain_texts
from retouch.plan import Lane, Plan, checked, validation
from retouch.plan.columns import BUILT_IN, Columns, in_all
from retouch.plan.paths import _fit, _made_fit, hashes, output_paths, same_file
from tests.support.studio import GEMINI, Studio

TWO_MODELS = [{"model": GEMINI}, {"model": "gemini-3.0-pro-image-preview"}]
PROMPTS = [
    {"id": "a", "template": "{stem} on {color}", "variables": {"color": ["red", "blue"]}},
    {"id": "b", "template": "the same\nat night  \n"},
    {"id": "c", "template": "{label} in {parent}, by {model}"},
]


def _jobs(plan: Plan) -> list[Job]:
    return [job for lane in plan.lanes for job in (*lane.jobs(), *lane.copies())]


VARIED: list[dict[str, object]] = [
    {},
    {"run": {"repeat": 3}},
    {"combine": {"mode": "choose", "variants": 2, "seed": 1}},
    {"combine": {"mode": "zip"}},
    {"output": {"path": "{parent}/{model}/{stem}/{prompt}-{index}"}},
]


@pytest.mark.parametrize("parts", VARIED)
def test_a_job_comes_with_the_key_that_it_has(studio: Studio, parts: dict[str, object]) -> None:
    """The lane makes Keys of shared parts; each is what the Job alone makes of itself."""
    for name in ("data/x/1.png", "data/x/2.png", "data/y/1.png"):
        studio.make(name)
    studio.make("data/y/copy.png", (studio.folder / "data/x/1.png").read_bytes())
    jobs = _jobs(studio.plan(prompts=PROMPTS, models=TWO_MODELS, **parts))
    assert len(jobs) >= 8
    for job in jobs:
        assert job.known_key
        assert job.key == replace(job).key


@pytest.mark.parametrize("parts", VARIED)
@pytest.mark.parametrize("twins", [False, True])
def test_what_new_jobs_ask_for_is_known_without_making_them(
    studio: Studio, parts: dict[str, object], twins: bool
) -> None:
    """Texts, pictures and masks of all, or of the first few: as the Jobs themselves have them."""
    for name in ("data/x/1.png", "data/x/2.png", "data/y/3.png"):
        studio.make(name)
    if twins:
        studio.make("data/y/1.png", (studio.folder / "data/x/1.png").read_bytes())
    plan = studio.plan(prompts=PROMPTS, models=TWO_MODELS, **parts)
    assert plan.lanes
    for lane in plan.lanes:
        asked = [
            (len(job.prompt.text.encode()), len(job.pictures) + (job.source.mask is not None))
            for job in lane.jobs()
        ]
        assert lane.asked() == Counter(asked)
        for limit in (1, 2, 5, 1000):
            assert lane.asked(limit) == Counter(asked[:limit])
        assert len(asked) == lane.jobs_count - lane.copies_count


@given(st.text(string.ascii_letters[:6] + "conaux._ -~+\0\u212a19\n", max_size=10))
def test_a_part_that_fits_at_a_quick_look_is_what_the_long_way_makes_of_it(text: str) -> None:
    assert _fit(text) == _made_fit.__wrapped__(text)


_PATHS = st.lists(
    st.text(st.sampled_from("ab.. /\0é\u0301 A-\n"), min_size=1, max_size=7), min_size=1, max_size=4
)


@given(
    paths=_PATHS,
    kind=st.sampled_from(["path", "label", "row", "mixed"]),
    name=st.sampled_from([*BUILT_IN, "color"]),
    otherwise=st.sampled_from([None, "other"]),
)
def test_a_column_of_all_is_that_of_each(
    paths: list[str], kind: str, name: str, otherwise: str | None
) -> None:
    """With columns of a path alone, with a label, with a table's row, and all of these."""
    made: list[Mapping[str, str]] = []
    for at, path in enumerate(paths):
        this = ("path", "label", "row")[at % 3] if kind == "mixed" else kind
        row = (("color", "stem"), (f"c{at}", "own")) if this == "row" else ((), ())
        made.append(Columns(path, None, *row, label="given" if this == "label" else ""))
    try:
        one_by_one = [
            each[name] if otherwise is None else each.get(name, otherwise) for each in made
        ]
    except KeyError:
        with pytest.raises(KeyError):
            in_all(made, name, otherwise)
    else:
        assert in_all(made, name, otherwise) == one_by_one


@given(st.lists(st.text("ab \n\r\0\u00a0é\u0301\ud800", max_size=5), min_size=1, max_size=4))
def test_texts_made_plain_together_are_those_made_plain_one_by_one(texts: list[str]) -> None:
    assert plain_texts(list(texts)) == list(map(plain_text, texts))


@given(
    st.sampled_from(
        ["{parent}/{stem}-{index}", "{stem}.png/{name}", "{label}{index}/x", "a/{stem}", "{parent}"]
    ),
    _PATHS,
)
def test_tails_made_together_are_those_made_one_by_one(template: str, names: list[str]) -> None:
    paths = output_paths(template)
    made = [Columns(path) for path in names]
    assert paths.tails(made) == list(map(paths.tail, made))
    assert len(set(hashes(names))) == len({same_file(each) for each in names})


_NAMES = st.sampled_from(["", "a", "A", "b", "a/b", "x.png", "é", "e\u0301", "con", "m"])


@given(
    st.lists(st.sampled_from(["{model}", "{prompt}", "{model}-{prompt}", "v1"]), max_size=2),
    st.lists(
        st.sampled_from(["{parent}", "{stem}", "{stem}-{index}", "k", "{label}_{stem}"]),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.tuples(_NAMES, _NAMES, _NAMES), min_size=1, max_size=4),
)
def test_a_path_is_its_head_and_its_tail(
    of_job: list[str], of_source: list[str], sources: list[tuple[str, str, str]]
) -> None:
    """Where a template falls in two, paths are apart exactly if heads or tails are: what lets
    100,000 sources' paths be told apart without a million being made."""
    paths = output_paths("/".join([*of_job, *of_source]))
    if not (paths.is_job_then_source and any("{" in part for part in of_job)):
        return
    rows = [{"parent": p, "stem": s, "label": label} for p, s, label in sources]
    if any(not paths.tail(row) for row in rows):
        return
    for row, model in itertools.product(rows, ("m", "M/n.png")):
        path = paths.of(row).render(model, "p")
        assert path == f"{paths.head(model, 'p')}{paths.tail(row)}"


def test_paths_are_told_apart_without_being_made(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default template: no path of any job is made while planning, and one shared by two
    sources is found all the same."""
    for name in ("data/1.png", "data/2.png"):
        studio.make(name)
    made = list[object]()
    whole = validation._paths

    def _noting(lanes: Iterable[Lane]) -> Iterator[tuple[str, tuple[str, str, str]]]:
        made.append(1)
        return whole(lanes)

    monkeypatch.setattr(validation, "_paths", _noting)
    assert not studio.plan(prompts="x", models=TWO_MODELS).problems
    assert not made
    (problem,) = studio.plan(output={"path": "{model}/{prompt}/{label}-{index}"}).problems
    assert made
    assert "would go to one path" in problem.what


def test_a_source_costs_little(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the sources, at most 1,400 bytes each more while planning and 1,000 afterwards, with
    ten Jobs a source: neither Jobs, paths nor facts are held."""
    monkeypatch.setattr(checked, "AT_ONCE", 32)
    held: dict[int, tuple[int, int]] = {}
    picture = studio.make("data/0.png").read_bytes()
    studio.plan(prompts=PROMPTS, models=TWO_MODELS)  # what is made once
    for number in range(1, 800):
        studio.make(f"data/{number}.png", picture + bytes([number % 256, number // 256]))
        if number not in (399, 799):
            continue
        studio.plan(prompts=PROMPTS, models=TWO_MODELS)  # from now on known
        gc.collect()
        tracemalloc.start()
        plan = studio.plan(prompts=PROMPTS, models=TWO_MODELS)
        gc.collect()
        held[number] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert plan.jobs_count == (number + 1) * 8
    now, most = (held[799][which] - held[399][which] for which in (0, 1))
    assert now / 400 < 1000
    assert most / 400 < 1400
