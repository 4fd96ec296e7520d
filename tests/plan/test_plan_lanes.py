"""Lanes: which Jobs, in which order, with what done to their pictures first."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from retouch.dialects import DIALECTS
from retouch.dialects.base import Endpoint
from retouch.dialects.qiniu import requests as qiniu
from retouch.job import Members
from retouch.ledger.terms import terms_of
from retouch.manifest import load
from retouch.plan import DigestCache, build
from tests.support.hostile_pictures import encoded, oriented, picture
from tests.support.studio import GEMINI, Studio, jobs, names, said

TWO_MODELS = [{"model": GEMINI}, {"model": "gemini-3.1-flash-image-preview"}]


def test_jobs_come_sources_first_then_prompts_then_repeats(studio: Studio) -> None:
    """One lane a model, each in the same order."""
    for name in ("b", "a", "c/d"):
        studio.make(f"data/{name}.png")
    prompts = [
        {"id": "p", "template": "{v} {stem}", "variables": {"v": ["红", "blue"]}},
        {"id": "q", "template": "x"},
    ]
    plan = studio.plan(prompts=prompts, models=TWO_MODELS, run={"repeat": 2})
    found = [(job.model, job.source.name, job.prompt.id, job.repeat) for job in jobs(plan)]
    assert found == list(
        itertools.product(
            [each["model"] for each in TWO_MODELS],
            ["data/a.png", "data/b.png", "data/c/d.png"],
            ["p.红", "p.blue", "q"],
            [0, 1],
        )
    )
    assert len({job.key for job in jobs(plan)}) == 36
    assert plan.sources == 3


def test_a_plan_is_the_same_every_time(studio: Studio) -> None:
    """Keys, paths and order hang on nothing but the files and the manifest."""
    for number in range(20):
        studio.make(f"data/{number % 4}/{number}.png")
    once, again = (
        [(job.key, job.output) for job in jobs(studio.plan(models=TWO_MODELS))] for _ in range(2)
    )
    assert once == again


def test_keys_hold_content_and_no_names(studio: Studio) -> None:
    """A moved file and another manifest ask for the same work."""
    path = studio.make("data/a.png", picture())
    before = [job.key for job in jobs(studio.plan(prompts="x"))]
    studio.make("data/elsewhere/b.png", path.read_bytes())
    path.unlink()
    after = jobs(studio.plan(prompts=[{"id": "other", "template": "x"}], name="another"))
    assert [job.key for job in after] == before


def test_no_job_is_held_while_many_are_enumerated(studio: Studio) -> None:
    """100,000 Jobs pass with less memory than 2,000 of them would take."""
    data = [picture(20 + number, 30) for number in range(50)]
    for number, each in enumerate(data):
        studio.make(f"data/{number}.png", each)
    plan = studio.plan(prompts=[{"id": "p", "template": "{stem}"}], run={"repeat": 2000})
    assert plan.jobs_count == 100_000
    tracemalloc.start()
    try:
        count = sum(1 for lane in plan.lanes for _ in lane.jobs())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak_bytes < 1_000_000


def test_the_same_work_is_planned_once_and_delivered_to_each_file(studio: Studio) -> None:
    """Inputs that overlap and prompts that render alike are one; files alike are places of one."""
    for name in ("a", "b"):
        studio.make(f"data/{name}.png", picture())
    studio.make("data/c.png")
    plan = studio.plan(
        inputs=[{"glob": "data/*"}, {"glob": "data/c.png"}],
        prompts=[{"id": "p", "template": "x"}, {"id": "q", "template": "x"}],
    )
    (lane,) = plan.lanes
    paid, copies = list(lane.jobs()), list(lane.copies())
    assert [job.source.name for job in paid] == ["data/a.png", "data/c.png"]
    assert [(job.source.name, job.key) for job in copies] == [("data/b.png", paid[0].key)]
    assert copies[0].output != paid[0].output
    assert (plan.jobs_count, lane.jobs_count, lane.copies_count) == (3, 3, 1)
    told = said(plan.warnings)
    assert "is planned once" in told
    assert "delivered to each place (data/b.png as data/a.png)" in told
    assert "a file is named twice, and is taken once (data/c.png)" in told


def test_files_alike_with_other_columns_are_other_work(studio: Studio) -> None:
    """The same bytes with another prompt are not the same work."""
    for name in ("a", "b"):
        studio.make(f"data/{name}.png", picture())
    assert names(studio.plan(prompts="{stem}")) == ["data/a.png", "data/b.png"]


def test_a_sample_is_the_same_and_nearly_the_same_with_more_files(studio: Studio) -> None:
    """Chosen by name and seed; a new file displaces one at most; another seed takes others."""
    for number in range(30):
        studio.make(f"data/{number:02}.png")
    given = [{"glob": "data/*", "sample": {"count": 10, "seed": 7}}]
    first = names(studio.plan(inputs=given))
    assert len(first) == 10
    assert first == sorted(first)
    assert names(studio.plan(inputs=given)) == first
    studio.make("data/99.png")
    assert len(set(first) - set(names(studio.plan(inputs=given)))) <= 1
    given[0]["sample"] = {"count": 10, "seed": 8}
    assert names(studio.plan(inputs=given)) != first


def test_bad_sources_are_skipped_if_the_manifest_says_so(studio: Studio) -> None:
    """They are listed, the others are planned; a model's own limits skip for it alone."""
    studio.make("data/a.png", picture(300, 300))
    studio.make("data/b.png", b"")
    studio.make("data/c.png", picture(299, 300))
    plan = studio.plan(
        run={"on_bad_source": "skip"}, models=[{"model": GEMINI}, {"model": "kling-v1"}]
    )
    assert plan.problems == ()
    gemini, kling = plan.lanes
    assert [job.source.name for job in gemini.jobs()] == ["data/a.png", "data/c.png"]
    assert [job.source.name for job in kling.jobs()] == ["data/a.png"]
    assert [(bad.source, bad.model) for bad in plan.bad_sources] == [
        ("data/b.png", None),
        ("data/c.png", "kling-v1"),
    ]


def test_skipping_everything_leaves_nothing_to_do_and_is_an_error(studio: Studio) -> None:
    """A lane whose sources are all bad is told."""
    studio.make("data/a.png", picture())
    plan = studio.plan(run={"on_bad_source": "skip"}, models="kling-v1")
    assert "no source is left that kling-v1 takes" in said(plan.problems)


def test_an_empty_input_may_be_meant(studio: Studio) -> None:
    """`allow_empty`: no sources, no jobs, no problem."""
    plan = studio.plan(inputs=[{"glob": "none/*", "allow_empty": True}])
    assert jobs(plan) == []


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK"])
def test_pictures_are_converted_only_if_allowed_and_needed(studio: Studio, mode: str) -> None:
    """The transform is in the Key; what the model takes as it stands is left alone."""
    studio.make("data/a.img", picture(mode=mode, kind="JPEG" if mode == "CMYK" else "PNG"))
    studio.make("data/b.png", picture())
    odd, plain = jobs(studio.plan(inputs=[{"glob": "data/*", "convert": True}]))
    assert odd.source.picture.transforms == ("convert",)
    assert plain.source.picture.transforms == ()


def test_conversion_is_a_matter_of_each_lane(studio: Studio) -> None:
    """What one model needs converted goes to another as it is, with the Key it always had."""
    studio.make("data/a.webp", picture(300, 300, kind="WEBP"))
    given = [{"glob": "data/*", "convert": True}]
    alone = jobs(studio.plan(inputs=given))
    both = jobs(studio.plan(inputs=given, models=[{"model": GEMINI}, {"model": "kling-v1"}]))
    assert both[0].key == alone[0].key
    assert [job.source.picture.transforms for job in both] == [(), ("convert",)]


def test_turned_pictures_are_turned_where_the_manifest_says_so(studio: Studio) -> None:
    """The columns and the mask's size are those of the picture as sent."""
    studio.make("data/a.jpg", oriented(6, 40, 30))
    studio.make("masks/a.png", encoded(Image.linear_gradient("L").resize((30, 40))))
    given = [{"glob": "data/*", "mask": "masks/{stem}.png", "apply_orientation": True}]
    (job,) = jobs(studio.plan(inputs=given, prompts="{width}x{height}"))
    assert job.source.picture.transforms == ("orient",)
    assert job.prompt.text == "30x40"
    assert (job.source.picture.width, job.source.picture.height) == (40, 30)


def test_a_shared_further_image_is_one_picture(studio: Studio) -> None:
    """A reference sent with every source stands in memory once."""
    for name in ("data/a.png", "data/b.png", "ref.png"):
        studio.make(name)
    first, second = jobs(studio.plan(inputs=[{"glob": "data/*", "images": ["ref.png"]}]))
    assert first.source.images[0] is second.source.images[0]
    assert [picture.path for picture in first.pictures] == [
        studio.folder / "data/a.png",
        studio.folder / "ref.png",
    ]


def test_the_field_follows_from_the_number_of_pictures(studio: Studio) -> None:
    """kling-v2: one picture as `image`, several as `subject_image_list`; both in one lane."""
    urls = [f"https://a.example/{number}.png" for number in range(3)]
    studio.make("one.txt", urls[0])
    studio.make("more.txt", urls[1])
    plan = studio.plan(
        inputs=[{"urls": "one.txt"}, {"urls": "more.txt", "images": [urls[2]]}],
        prompts="x",
        models="kling-v2",
    )
    assert [job.placement for job in jobs(plan)] == ["image", "subject_image_list"]


def test_like_and_accepts_extend_the_table(studio: Studio) -> None:
    """A model that is not known is checked as the one it is like; accepted options are sent."""
    studio.make("data/a.png")
    known = {"model": "my-flash", "like": GEMINI, "options": {"size": "64x64", "seed": 5}}
    plan = studio.plan(models=[known])
    assert "my-flash takes no option `seed`" in said(plan.problems)
    plan = studio.plan(models=[{**known, "accepts": ["seed", "size"]}])
    (job,) = jobs(plan)
    assert plan.warnings == ()
    assert job.options == (("seed", 5), ("size", "64x64"))
    plan = studio.plan(models=[{**known, "like": "gemini-2.5"}])
    assert "`like` names a model that is not known: gemini-2.5; did you mean" in said(plan.problems)


def test_a_value_that_is_accepted_passes(studio: Studio) -> None:
    """Who accepts an option knows better than the table, but for its kind."""
    studio.make("data/a.png")
    given = {"model": GEMINI, "options": {"output_compression": 101, "output_format": "avif"}}
    assert "from 0 to 100" in said(studio.plan(models=[given]).problems)
    accepted = {**given, "accepts": ["output_compression", "output_format"]}
    plan = studio.plan(models=[accepted])
    assert plan.warnings == ()
    (job,) = jobs(plan)
    assert job.options == (("output_compression", 101), ("output_format", "avif"))


def test_options_are_canonical(studio: Studio) -> None:
    """Sorted at any depth; 1 and 1.0 ask for the same work, and so have one Key."""
    studio.make("data/a.png", picture(300, 300))

    def options(**given: object) -> object:
        return jobs(studio.plan(models=[{"model": "kling-v1", "options": given}]))[0].options

    assert options(n=2, image_fidelity=1.0) == options(image_fidelity=1, n=2)
    config = {"image_size": "1K", "aspect_ratio": "1:1"}
    (job,) = jobs(studio.plan(models=[{"model": GEMINI, "options": {"image_config": config}}]))
    members = Members((("aspect_ratio", "1:1"), ("image_size", "1K")))
    assert job.options == (("image_config", members),)


def test_options_are_kept_whole(studio: Studio) -> None:
    """A mapping is no list of pairs: each has its own Key, and is sent as it was written; an empty
    mapping is no empty list."""
    studio.make("data/a.png")
    values: tuple[Any, ...] = ({"a": 1}, [["a", 1]], {}, [])
    keys = set()
    for value in values:
        given = {"model": "new", "options": {"x": value}, "accepts": ["x"], "like": GEMINI}
        (job,) = jobs(studio.plan(models=[given]))
        body = qiniu.submit(job, Endpoint("https://api.example/v1")).body
        sent = orjson.loads(b"".join(each for each in body if isinstance(each, bytes)))
        assert sent["x"] == value
        keys.add((job.key, terms_of(job).options))
    assert len(keys) == len({key for key, _ in keys}) == len(values)


def test_a_signed_option_url_keeps_its_key(studio: Studio) -> None:
    """Signed anew, the work is the same and is not paid for again."""
    studio.make("u.txt", "https://a.example/1.png\nhttps://a.example/2.png")

    def key(url: str) -> str:
        given = {"inputs": [{"urls": "u.txt"}], "prompts": "x"}
        model = {
            "model": "kling-v2",
            "images": "subject_image_list",
            "options": {"style_image": url},
        }
        return jobs(studio.plan(models=[model], **given))[0].key

    style = "https://h.example/s.png"
    assert key(f"{style}?e=1&token=a") == key(f"{style}?e=2&token=b") != key(f"{style}?id=2")


def test_a_models_own_results_may_be_another_manifests_sources(studio: Studio) -> None:
    """Named on purpose, another manifest's outputs can be edited further."""
    studio.make("outputs/first/images/a.png")
    given = [{"glob": "outputs/first/images/**/*.png"}]
    assert names(studio.plan(inputs=given)) == ["outputs/first/images/a.png"]
    plan = studio.plan(inputs=given, name="first")
    assert "feed on its own results" in said(plan.problems)


def test_excluded_results_are_no_matter(studio: Studio) -> None:
    """`exclude` is the remedy that the message names."""
    studio.make("a.png")
    studio.make("outputs/m/images/a.png")
    given = [{"glob": "**/*.png", "exclude": ["outputs/**"]}]
    assert names(studio.plan(inputs=given)) == ["a.png"]


def test_progress_counts_every_file_once(studio: Studio) -> None:
    """Whether it was decoded or known already."""
    for name in ("data/a.png", "data/b.png", "ref.png"):
        studio.make(name)
    loaded = load(studio.write(inputs=[{"glob": "data/*", "images": ["ref.png"]}]))
    for _ in range(2):
        told: list[int] = []
        with DigestCache.open(studio.outputs) as cache:
            build(
                loaded, DIALECTS["qiniu"], outputs=studio.outputs, cache=cache,
                on_progress=told.append,
            )  # fmt: skip
        assert sum(told) == 3


def test_prompts_may_stand_in_files(studio: Studio) -> None:
    """Without BOM and last newline; braces and names as in a template; the stem is the id."""
    studio.make("data/a.png")
    studio.make("prompts/water.txt", "\ufeff水彩 {stem}\n第二行\n")
    (job,) = jobs(studio.plan(prompts=[{"file": "prompts/water.txt"}]))
    assert (job.prompt.id, job.prompt.text) == ("water", "水彩 a\n第二行")


def test_a_plan_without_a_cache_reads_all_the_same(studio: Studio, tmp_path: Path) -> None:
    """`DigestCache(None)` remembers nothing."""
    studio.make("data/a.png")
    loaded = load(studio.write())
    plan = build(loaded, DIALECTS["qiniu"], outputs=tmp_path / "out", cache=DigestCache(None))
    assert len(jobs(plan)) == 1
    assert not (tmp_path / "out").exists()
    assert list(plan.source_digests) == [("data/a.png", plan.inputs[0].picture.digest)]


def test_a_model_like_another_is_sent_the_same_way(studio: Studio) -> None:
    """An unknown model goes to the address of the one it is like; its own name stands in the body.

    One whose address names the model cannot be imitated: the request would buy the other model.
    """
    studio.make("data/a.png", picture(300, 300))
    [job] = jobs(studio.plan(models=[{"model": "brand-new", "like": "kling-v1"}]))
    request = DIALECTS["qiniu"].submit(job, Endpoint("https://example.com/v1"))
    assert request.url == "https://example.com/v1/images/generations"
    literal = b"".join(part for part in request.body if isinstance(part, bytes))
    assert b'"brand-new"' in literal
    told = said(studio.plan(models=[{"model": "o2", "like": "kling-image-o1"}]).problems)
    assert "no other model can be like it" in told
