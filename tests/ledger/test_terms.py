"""What a Job asked for, in few words, and the Job that those words give back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from retouch.job import Job, Picture, Prompt, Source, Terms
from retouch.ledger.on_file import job_on_file
from retouch.ledger.records import AnyRecord, TaskAccepted
from retouch.ledger.state import replay
from retouch.ledger.terms import DIGEST_DIGITS, Observed, prompt_digest, terms_of
from tests.support.ledgers import TERMS, done, key_of, started, unknown

JOB = Job(
    model="m",
    prompt=Prompt("p", "make it snow"),
    source=Source("cats/1.jpg", Picture("sha256:1"), Picture("sha256:2")),
    options=(("seed", 7),),
    terms=Terms(2, "1024x1024", "high", "1:1"),
)
SIGNED = (("style", "https://a.example/1.png?Signature=abc&Expires=1"),)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        (replace(JOB, prompt=Prompt("p", "make it rain")), {"prompt"}),
        (replace(JOB, prompt=Prompt("another name", "make it snow")), set()),
        (replace(JOB, source=Source("1.jpg", Picture("sha256:1"), Picture("sha256:2"))), set()),
        (replace(JOB, source=Source("cats/1.jpg", Picture("sha256:9"), Picture("sha256:2"))),
         {"input"}),
        (replace(JOB, source=Source("cats/1.jpg", Picture("sha256:1"), Picture("sha256:9"))),
         {"input"}),
        (replace(JOB, source=Source("cats/1.jpg", Picture("sha256:1"))), {"input"}),
        (replace(JOB, options=(("seed", 8),)), {"options"}),
        (replace(JOB, placement="images"), {"options"}),
        (replace(JOB, terms=Terms(3, "1024x1024", "high", "1:1")), {"n"}),
        (replace(JOB, terms=Terms(2, "512x512", "high", "1:1")), {"size"}),
        (replace(JOB, terms=Terms(2, "1024x1024", "low", "1:1")), {"quality"}),
        (replace(JOB, terms=Terms(2, "1024x1024", "high", "4:3")), {"aspect_ratio"}),
    ],
)  # fmt: skip
def test_the_words_say_which_part_changed(other: Job, changed: set[str]) -> None:
    """And nothing else than what changed."""
    before, after = (msgspec.to_builtins(terms_of(each)) for each in (JOB, other))
    names = {name for name in before | after if before.get(name) != after.get(name)}
    assert names == changed


def test_the_words_are_few_and_can_be_compared_with_a_prompts_digest() -> None:
    """Twelve digits each; an option's signature is no part of it."""
    terms = terms_of(JOB)
    assert terms.prompt == prompt_digest("make it snow")[:DIGEST_DIGITS]
    assert {len(each) for each in (terms.input, terms.prompt, terms.options)} == {12}
    assert (terms.n, terms.size, terms.quality, terms.aspect_ratio) == (
        2, "1024x1024", "high", "1:1",
    )  # fmt: skip
    again = replace(JOB, options=((SIGNED[0][0], SIGNED[0][1].replace("abc", "xyz")),))
    assert terms_of(replace(JOB, options=SIGNED)) == terms_of(again)
    in_order = replace(JOB, options=(("a", 1), ("b", 2)))
    assert terms_of(in_order) == terms_of(replace(in_order, options=(("b", 2), ("a", 1))))


def test_a_picture_made_anew_names_the_one_it_replaces() -> None:
    """The Key of the Job before it."""
    assert terms_of(JOB).replaces is None
    assert terms_of(JOB.redo()).replaces == JOB.key
    assert terms_of(JOB.redo(2)).replaces == JOB.redo().key


def test_the_most_that_was_counted_is_remembered() -> None:
    """Of the input in all, of the output by picture asked for, rounded up."""
    seen = Observed()
    seen.take(None, None, 0)
    assert seen == Observed(0, 0)
    seen.take(300, 2581, 2)
    assert seen == Observed(300, 1291)
    seen.take(200, 1290, 1)
    assert seen == Observed(300, 1291)
    seen.take(301, 1292, 0)
    assert seen == Observed(301, 1292)


FULL = msgspec.structs.replace(TERMS, n=2, size="1024x1024", quality="high", aspect_ratio="1:1")


def accepted(**more: Any) -> TaskAccepted:
    return TaskAccepted(key=key_of(1), attempt=1, task="t", **more)


def on_file(*records: AnyRecord) -> Any:
    state = replay(records)
    return job_on_file(key_of(1), state.outcomes[key_of(1)], state.accepted.get(key_of(1)))


def test_a_task_is_fetched_to_the_place_it_was_accepted_for() -> None:
    """What its Records say of a Job is what the Job says, whatever became of the manifest."""
    began = started(1, terms=FULL, lane="cheap")
    job = on_file(began, accepted(output="kept/{index}", repeat=3))
    assert (job.model, job.prompt, job.source) == (
        began.model, Prompt(began.prompt, ""), Source(began.source, Picture("")),
    )  # fmt: skip
    assert (job.key, job.lane, job.lane_name) == (key_of(1), "cheap", "cheap")
    assert job.terms == Terms(2, "1024x1024", "high", "1:1")
    assert (job.repeat, job.output, job.output_path(1)) == (3, "kept/{index}", "kept/7")


@pytest.mark.parametrize("task", [(), (accepted(),)])
def test_where_no_place_is_on_file_it_is_made_up_of_what_is(task: tuple[TaskAccepted, ...]) -> None:
    """By model, prompt and source, in which no brace may stand for a number."""
    began = started(1, source="a/{x}{index}.tar.jpg")
    job = on_file(began, *task)
    assert job.output == f"images/{began.model}/{began.prompt}/a/_x__index_.tar-{{index}}"
    assert (job.repeat, job.lane) == (0, "")


def test_an_unknown_attempt_says_what_it_was_too() -> None:
    """Though not what was asked for: of that a price knows the usual."""
    job = on_file(unknown(1))
    assert (job.model, job.terms, job.lane) == (unknown(1).model, Terms(), "")
    assert on_file(started(1, terms=None), unknown(1)).terms == Terms()


def test_what_no_record_describes_is_no_job() -> None:
    """An Attempt that ended was never begun here."""
    assert on_file(done(1)) is None
