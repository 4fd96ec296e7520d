"""What one shard does of a plan: its own Jobs, of which alone one is made, known by their Keys'
bytes before that. The oracle makes every Job of the plan and asks for its Key."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.cluster import Shard, ShardPlan
from retouch.cluster.shards import MOST, ShardLane, shard_owning, shard_owning_digest
from retouch.engine.late import PassedStream
from retouch.engine.outputs import Outputs
from retouch.engine.outside import NamedStream
from retouch.engine.selection import CountedStream, Selection, SiftedStream, tally
from retouch.job import Job
from retouch.ledger.state import replay
from retouch.manifest import Limits
from retouch.plan import Lane, Plan, planned
from tests.support.hostile_pictures import picture
from tests.support.studio import GEMINI, Studio

PROMPTS = [
    {"id": "a", "template": "{stem} on {color}", "variables": {"color": ["red", "blue"]}},
    {"id": "b", "template": "the same\nat night  \n"},
    {"id": "c", "template": "{label} in {parent}, by {model}"},
]
GPT = "gpt-image-2"
MODELS = [{"model": GEMINI}, {"model": GPT, "options": {"n": 3}}]
PARTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "repeated": {"run": {"repeat": 3}},
    "drawn": {"combine": {"mode": "choose", "variants": 2, "seed": 1}},
    "zipped": {"combine": {"mode": "zip"}},
    "placed": {"output": {"path": "{parent}/{model}/{stem}/{prompt}-{index}"}},
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """One of each kind, without and with contents that several sources have."""
    studio = Studio(tmp_path_factory.mktemp("plans"))
    for number, name in enumerate(("x/1.png", "x/2.png", "y/3.png", "y/4.png", "z/5.png")):
        studio.make(f"data/{name}", picture(40 + number, 30))
    found = {}
    for twins in ("", " twins"):
        if twins:
            for name in ("1.png", "2.png"):
                studio.make(f"data/y/{name}", (studio.folder / f"data/x/{name}").read_bytes())
        for kind, parts in PARTS.items():
            plan = studio.plan(prompts=PROMPTS, models=MODELS, **parts)
            assert plan.problems == ()
            found[kind + twins] = plan
    counts = [lane.copies_count for kind in ("plain", "plain twins") for lane in found[kind].lanes]
    assert [count > 0 for count in counts] == [False, False, True, True]
    return found


def shard_lanes(plan: Plan, shard: Shard) -> tuple[ShardLane, ...]:
    return ShardPlan.of(plan.lanes, shard, [each.model for each in plan.lanes]).lanes


def standing(lane: Lane, rejected: frozenset[str], job: Job) -> Job:
    """A Job, or the one that stands in the place of those that were rejected."""
    while job.key in rejected:
        job = job.redo()
    return job


def some_rejected(data: st.DataObject, plan: Plan) -> frozenset[str]:
    """Keys of a few Jobs, and of what stands in the place of one that was rejected already."""
    every = [job for lane in plan.lanes for job in lane.jobs()]
    drawn = data.draw(st.lists(st.sampled_from(every), max_size=6), "rejected")
    times = [job.redo(data.draw(st.integers(0, 2), "times")) for job in drawn]
    return frozenset(job.redo(-back).key for job in times for back in range(job.redone + 1))


KINDS = st.sampled_from([kind + twins for kind in PARTS for twins in ("", " twins")])
quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(KINDS, st.integers(1, 6), st.data())
def test_the_shards_lanes_together_are_the_lane(
    plans: dict[str, Plan], kind: str, count: int, data: st.DataObject
) -> None:
    """In its order, each Job and each copy in exactly one, the same to the last field, as the slow
    way finds them; also where a Job stands in the place of a rejected one."""
    plan = plans[kind]
    rejected = some_rejected(data, plan)
    now = plan.with_rejected(rejected)
    by_shard = [shard_lanes(now, Shard(index, count)) for index in range(1, count + 1)]
    for at, (lane, before) in enumerate(zip(now.lanes, plan.lanes, strict=True)):
        jobs = [standing(lane, rejected, job) for job in before.jobs()]
        copies = [standing(lane, rejected, job) for job in before.copies()]
        assert list(lane.jobs()) == jobs
        assert [job.key for job in lane.jobs()] == [job.key for job in jobs]
        for index, lanes in enumerate(by_shard, 1):
            own = [job for job in jobs if shard_owning(job.key, count) == index]
            own_copies = [job for job in copies if shard_owning(job.key, count) == index]
            found = lanes[at]
            assert list(found.jobs()) == own
            assert [job.key for job in found.jobs()] == [job.key for job in own]
            assert list(found.copies()) == own_copies
            assert (found.jobs_count, found.copies_count) == (
                len(own) + len(own_copies), len(own_copies),
            )  # fmt: skip
        assert sum(lanes[at].jobs_count for lanes in by_shard) == lane.jobs_count


@quick
@given(KINDS, st.integers(1, 6), st.data())
def test_whatever_way_a_shards_jobs_are_gone_through_they_are_its_own(
    plans: dict[str, Plan], kind: str, count: int, data: st.DataObject
) -> None:
    """Passed over, sifted, by their sources' names, by a sample, and what they ask for."""
    plan = plans[kind].with_rejected(some_rejected(data, plans[kind]))
    shard = Shard(data.draw(st.integers(1, count), "index"), count)
    for lane in shard_lanes(plan, shard):
        own = list(lane.jobs())
        keys = {bytes.fromhex(job.key): job for job in own}
        passed = data.draw(st.sets(st.sampled_from(sorted(keys))) if keys else st.just(set()))
        assert list(lane.jobs_but(passed.__contains__)) == [
            None if key in passed else job for key, job in keys.items()
        ]
        stems: dict[bytes, str] = {}

        def is_over(
            digest: bytes, stem: str, passed: set[bytes] = passed, stems: Any = stems
        ) -> bool:
            stems[digest] = stem
            return digest in passed

        left = list(lane.jobs_left(is_over))
        asked_about = {key for key, job in keys.items() if key in stems}
        assert left == [job for key, job in keys.items() if key not in passed & asked_about]
        assert stems == {key: keys[key].output_path(0) for key in stems}
        one = [job for job in own if not job.redone and job.images_wanted == 1]
        assert asked_about == {bytes.fromhex(job.key) for job in one}
        if not lane.lane.repeated:
            assert sorted(job.key for job in lane.some(1000)) == sorted(job.key for job in own)
            assert {job.key for job in lane.some(1)} <= {job.key for job in own}
            name = "x/1.png" if not own else own[0].source.name
            named = [job for job in own if job.source.name == name]
            assert list(lane.jobs_of({name})) == named
        asks = [
            (len(job.prompt.text.encode()), len(job.pictures) + (job.source.mask is not None))
            for job in own
        ]
        for limit in (None, 1, 3):
            assert lane.asked(limit) == Counter(asks[:limit])


@given(st.binary(min_size=1), st.integers(1, MOST))
def test_a_keys_bytes_tell_the_shard_that_its_digits_do(seed: bytes, count: int) -> None:
    digest = hashlib.sha256(seed).digest()
    assert shard_owning_digest(digest, count) == shard_owning(digest.hex(), count)
    shard = Shard(shard_owning(digest.hex(), count), count)
    assert shard.owns_digest(digest)
    assert shard.owns(digest.hex())


def test_of_other_shards_no_job_is_made_and_no_place(
    plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor of its own, to count them."""
    made: list[str] = []

    def noting(*given_parts: Any) -> Job:
        made.append("")
        return Job(*given_parts)

    monkeypatch.setattr(planned, "Job", noting)
    lanes = shard_lanes(plans["plain"], Shard(2, 3))
    counts = [lane.jobs_count for lane in lanes]
    assert made == []
    assert sum(counts) == sum(len(list(lane.jobs())) for lane in lanes) == len(made)
    assert 0 < sum(counts) < plans["plain"].jobs_count


def test_a_new_shard_is_counted_by_keys_alone_where_the_exact_number_is_asked(
    plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As for a plan, or before one is asked whether so much may be spent."""
    selection = Selection(replay([]), Outputs(tmp_path))
    lanes = shard_lanes(plans["placed twins"], Shard(2, 2))
    own = [(len(list(lane.jobs())), len(list(lane.copies()))) for lane in lanes]
    monkeypatch.setattr(Selection, "choose", pytest.fail)
    found = [tally(lane, selection) for lane in lanes]
    assert [(each.to_send, each.duplicates) for each in found] == own
    assert [each.reasons for each in found] == [Counter(new=jobs) for jobs, _ in own]
    assert all(copies for _, copies in own)


def test_what_a_shards_lane_is_asked_for_is_found_out_without_counting(
    plans: dict[str, Plan],
) -> None:
    """To look which ways it knows takes each of its properties in Python 3.11."""
    [lane, _] = shard_lanes(plans["plain twins"], Shard(1, 2))
    for protocol in (CountedStream, PassedStream, SiftedStream, NamedStream):
        assert isinstance(lane, protocol)
    assert (lane.whole_count, lane.one_in) == (lane.lane.jobs_count - lane.lane.copies_count, 2)
    assert {"jobs_count", "copies_count"}.isdisjoint(vars(lane))
    whole = shard_lanes(plans["plain twins"], Shard(1, 1))[0]
    assert whole.jobs_count == whole.lane.jobs_count


def test_a_shards_lane_has_the_shards_limits(plans: dict[str, Plan]) -> None:
    lanes = plans["plain"].lanes
    models = [each.model.model_copy(update={"limits": Limits(concurrency=1)}) for each in lanes]
    found = ShardPlan.of(lanes, Shard(1, 2), models[::-1]).lanes
    assert [lane.model for lane in found] == models
    assert all(
        lane.capabilities is each.capabilities for lane, each in zip(found, lanes, strict=True)
    )
