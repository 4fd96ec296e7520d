"""The first request of a large plan: sent before its Jobs were gone through, and after everything
wrong with it was told; of a run that goes on as of a new one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retouch.cli import main
from retouch.cli.workspace import make_plan, open_workspace
from retouch.cluster import shard_of
from retouch.engine import late
from retouch.engine.selection import Selection
from retouch.job import Job, digest_of
from retouch.ledger import Reader
from retouch.ledger.records import AnyRecord, RunBegins, Started
from retouch.plan import checked, planned
from retouch.plan.paths import SourcePaths
from tests.support.provider import png
from tests.support.raw_server import Peer, serving

SOURCES = 24
JOBS = SOURCES * 4
FEW = 24  # of 96: what may have been made, chosen or rendered until the first request is there
MANIFEST = """
version: 1
name: large
provider: {{dialect: qiniu, base_url: "http://127.0.0.1:{port}/v1"}}
inputs: [{{glob: "pictures/*.png"}}]
prompts: [{{id: same, template: warmer}}, {{id: own, template: "snow on {{stem}}"}}]
models:
"""
MODEL = "  - {{model: {name}, limits: {{concurrency: {at_once}}}, price: {price}}}\n"
MODELS = ("gemini-2.5-flash-image", "gemini-3.0-pro-image-preview")
PRICE = "{currency: CNY, per_image: 0.25}"
MADE = json.dumps(
    {"created": 1, "data": [{"b64_json": base64.b64encode(png()).decode()}], "usage": {}}
).encode()


def _project(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    for number in range(SOURCES):
        path = folder / f"pictures/{number:03}.png"
        Image.new("RGB", (32, 24), (number, 9, 9)).save(path)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures that stand still, a key; a lane is large from 10 Jobs on."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789abcdef")
    monkeypatch.setattr(late, "LARGE", 10)
    monkeypatch.setattr(late, "SAMPLE", 4)
    return _project(tmp_path / "a")


@contextmanager
def _provider(
    folder: Path,
    on_post: Callable[[int], tuple[bytes, str]],
    *,
    in_turn: bool = False,
    more: str = "",
) -> Iterator[list[str]]:
    """A server that answers the n-th POST so; the manifest in `folder` names it, where `in_turn`
    of one model and one request at a time. The digests of what came."""
    posts: list[str] = []

    def serve(peer: Peer) -> None:
        heard = peer.read_head()
        peer.read_body(heard)
        answer, status = b"{}", "404 Not Found"
        if heard.head.startswith("POST "):
            posts.append(hashlib.sha256(heard.body).hexdigest())
            answer, status = on_post(len(posts))
        peer.answer(answer, status=status, headers="Connection: close\r\n")

    with serving(serve) as server:
        lanes = [
            MODEL.format(name=name, at_once=1 if in_turn else 2, price=PRICE)
            for name in MODELS[: 1 if in_turn else 2]
        ]
        text = MANIFEST.format(port=server.port) + "".join(lanes) + more
        (folder / "large.yaml").write_text(text)
        yield posts


def _run(folder: Path, *words: str) -> int:
    given = ["run", str(folder / "large.yaml"), "--outputs", str(folder / "outputs")]
    return main([*given, "--no-report", *words])


def _counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            counted[name] += 1
            return real(*given, **named)

        return noted

    monkeypatch.setattr(planned, "Job", noting("jobs made", Job))
    monkeypatch.setattr(planned, "digest_of", noting("keys made", digest_of))
    monkeypatch.setattr(Selection, "choose", noting("jobs looked up", Selection.choose))
    monkeypatch.setattr(SourcePaths, "render", noting("paths rendered", SourcePaths.render))
    return counted


SHARD, THIRD = (("--shard", said, "--shards-share", "all") for said in ("1/2", "3/3"))


@pytest.mark.parametrize("words", [(), SHARD, THIRD])
@pytest.mark.parametrize("is_begun", [False, True])
def test_it_leaves_before_the_plan_was_gone_through(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, is_begun: bool
) -> None:
    """A new run and one of which half is done, of all and of a shard: few Jobs were made, looked up
    or given a path, and in a new one few Keys were made. Each piece of work is bought once."""
    with _provider(project, lambda _: (MADE, "200 OK")):
        own = _own(project, words, JOBS)
    done = len(own) // 2 if is_begun else 0
    with _provider(project, lambda _: (MADE, "200 OK")) as before:
        if done:
            assert _run(project, "--limit", str(done), *words) == 0
    counted = _counting(monkeypatch)
    until_first: list[Counter[str]] = []

    def answer(_: int) -> tuple[bytes, str]:
        until_first.append(counted.copy())
        return MADE, "200 OK"

    with _provider(project, answer) as posts:
        assert _run(project, *words) == 0
    assert len(before) == done
    assert len({*before, *posts}) == len(before) + len(posts) == len(own)
    keys = until_first[0].pop("keys made")
    assert max(until_first[0].values()) <= FEW, until_first[0]
    assert is_begun or keys <= JOBS // 2
    assert sorted(_begun(project)) == sorted(own)


def _own(folder: Path, words: tuple[str, ...], jobs: int) -> list[str]:
    """The Keys of what is to be sent: of all the plan's `jobs`, those that the shard owns."""
    whole = open_workspace(folder / "large.yaml", folder / "outputs", rehearse=False)
    keys = [job.key for lane in make_plan(whole).lanes for job in lane.jobs()]
    assert len(keys) == jobs
    shard = shard_of(words[1], {}) if words else None
    return [key for key in keys if shard is None or shard.owns(key)]


def _after_a_bad_day(folder: Path, *words: str) -> int:
    """Half is done with some failures, one picture is lost; then a run with these words. Of a shard
    both are."""
    shard = SHARD if SHARD[0] in words else ()

    def first(number: int) -> tuple[bytes, str]:
        if number % 11 == 5:
            return (
                b'{"error":{"message":"no","type":"content_policy_violation"}}',
                "400 Bad Request",
            )
        if number % 11 == 7:
            return b"", "502 Bad Gateway"
        return MADE, "200 OK"

    with _provider(folder, first, in_turn=True):
        _run(folder, "--limit", "12" if shard else "24", *shard)
    lost = sorted((folder / "outputs/large/images").rglob("*.*"))[3]
    lost.unlink()
    with _provider(folder, lambda _: (MADE, "200 OK"), in_turn=True):
        return _run(folder, *words)


def _records(folder: Path) -> list[AnyRecord]:
    [ledger] = (folder / "outputs/large").glob("ledger*.jsonl")
    return list(Reader(ledger))


def _begun(folder: Path) -> list[str]:
    """The Keys that were sent, in their order."""
    return [record.key for record in _records(folder) if isinstance(record, Started)]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--limit", "7"),
        ("--redo", "failed"),
        ("--redo", "missing"),
        ("--limit", "1"),
        SHARD,
        (*SHARD, "--limit", "4"),
        (*SHARD, "--redo", "failed"),
    ],
)
def test_a_lane_counted_late_is_run_as_one_counted_before(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    """The same Jobs in the same order, the same words at the end and the same exit code."""
    ended: list[tuple[object, ...]] = []
    for folder, large in ((project, 10), (_project(tmp_path / "b"), 10**9)):
        monkeypatch.setattr(late, "LARGE", large)
        code = _after_a_bad_day(folder, *words)
        said = re.sub(r"in \S+|\d+ in flight.*", "", capsys.readouterr().err)
        ended.append((code, said.splitlines()[-6:], _begun(folder)))
    assert ended[0] == ended[1]


@pytest.mark.parametrize("answer", [(MADE, "200 OK"), (b"{}", "401 Unauthorized")])
def test_a_new_shard_that_was_not_counted_before_tells_what_is_left(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[bytes, str],
) -> None:
    """Ended by a limit or by a refusal: the exact number of its Jobs that were not sent, in the
    words of a run that counts before; on file is that the plan has so many for all shards."""
    ended = []
    for folder, large in ((project, 10), (_project(tmp_path / "b"), 10**9)):
        monkeypatch.setattr(late, "LARGE", large)
        with _provider(folder, lambda _: answer, in_turn=True):
            code = _run(folder, *SHARD, "--limit", "5")
        said = re.sub(r"in \S+", "", capsys.readouterr().err)
        ended.append((code, said))
        [begins] = [record for record in _records(folder) if isinstance(record, RunBegins)]
        assert begins.jobs == JOBS // 2
    assert ended[0] == ended[1]
    with _provider(project, lambda _: answer, in_turn=True):
        own = len(_own(project, SHARD, JOBS // 2))
    left = own - 5 if answer[0] is MADE else own
    assert re.search(rf"\b{left} not sent", ended[0][1]), (left, ended[0][1])


def test_what_is_done_is_brought_to_another_place_after_the_first_request(project: Path) -> None:
    """Half is done when `output.path` changes: all pictures lie at the new places at the end, and
    the other half alone was paid for."""
    with _provider(project, lambda _: (MADE, "200 OK")):
        assert _run(project, "--limit", str(JOBS // 2)) == 0
    moved = "output: {path: 'new/{model}/{prompt}/{stem}-{index}'}\n"
    with _provider(project, lambda _: (MADE, "200 OK"), more=moved) as posts:
        assert _run(project) == 0
    assert len(posts) == JOBS - JOBS // 2
    there = (project / "outputs/large/images/new").rglob("*.*")
    assert sum(path.is_file() for path in there) == JOBS


def test_what_is_wrong_with_the_last_source_is_told_before_any(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All others are known from before and go at a glance: nothing is sent all the same."""
    monkeypatch.setattr(checked, "AT_ONCE", 8)
    with _provider(project, lambda _: (MADE, "200 OK")) as posts:
        assert _run(project, "--limit", "1") == 0
        assert len(posts) == 1
        last = project / f"pictures/{SOURCES - 1:03}.png"
        last.write_bytes(last.read_bytes()[:-20])
        capsys.readouterr()
        assert _run(project) == 2
        assert f"{SOURCES - 1:03}.png" in capsys.readouterr().err
        assert len(posts) == 1
