"""The network fault matrix: every instant x submit, poll, download x sync, task, over sockets.

`form` is synchronous too: OpenAI's dialect, whose body is a form; it has no polls.

The oracle is the provider's durable book, written before a byte is answered. A charge is never
unsaid and nothing is bought twice; what surely was not charged is sent again; polls and downloads
are repeated freely.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.engine.summary import RunOptions
from retouch.errors import Refused
from retouch.ledger.records import Failed, Unknown, Unsent
from retouch.manifest import RunSettings
from tests.proofs.faults.bench import NO_PROVIDER, Names, SocketBench, certified, lane_of, listening
from tests.proofs.faults.instants import INSTANTS, Instant, redirect_to
from tests.proofs.faults.provider import Answers, BreakingProvider, Stage
from tests.support.raw_server import Peer, serving
from tests.support.workbench import GEMINI, GPT, KLING, PRICES, TestLane, filed

pytestmark = pytest.mark.anyio

KINDS: dict[Stage, tuple[str, ...]] = {
    "submit": ("sync", "task", "form"),
    "poll": ("sync", "task"),
    "download": ("form", "task"),
}
CELLS = [
    pytest.param(instant, stage, kind, id=f"{instant.name}-{stage}-{kind}")
    for instant in INSTANTS
    for stage, kinds in KINDS.items()
    for kind in kinds
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The resolver's stand-in; and no wait is longer than a blink."""
    monkeypatch.setattr("retouch.engine.pacing.BACKOFF_BASE_SECONDS", 0.01)
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


def elsewhere(peer: Peer) -> None:
    """Where a redirect leads: it would take anything."""
    peer.read_request()
    peer.answer()


def provider_of(instant: Instant, stage: Stage, kind: str, folder: Path) -> BreakingProvider:
    """A synchronous model may answer with a task too (PROTOCOL, trap 4): so it has polls."""
    answers: Answers = "task" if kind == "task" or stage == "poll" else "picture"
    return BreakingProvider(
        stage,
        instant,
        folder / "book.jsonl",
        answers="link" if stage == "download" and kind != "task" else answers,
        tls=certified() if instant.place == "handshake" else None,
    )


def lane_for(instant: Instant, stage: Stage, kind: str, folder: Path) -> TestLane:
    """A large body where only that shows on which side of its last byte a reset came."""
    needs_large = stage == "submit" and instant.place in ("accepted", "head", "body")
    large = folder / "large.png" if needs_large and kind != "task" else None
    file = filed(folder) if kind == "form" and large is None else None
    return lane_of({"sync": GEMINI, "form": GPT, "task": KLING}[kind], large, file)


def bench_of(folder: Path, provider: BreakingProvider, instant: Instant) -> SocketBench:
    seconds = instant.seconds or 30.0
    is_slow = instant.name == "slow drip"
    return SocketBench(
        folder,
        NO_PROVIDER,
        RunSettings(timeout=30.0 if is_slow else seconds, retries=3),
        base_url=provider.origin,
        reply_seconds=seconds if is_slow else 30.0,
    )


def check_the_book(work: SocketBench, provider: BreakingProvider) -> None:
    """What holds in every cell: bought once at most, and what was bought is said."""
    assert provider.charges <= 1
    state = work.state
    said = sum((money.amount for money in state.totals.confirmed.values()), Decimal(0))
    high = said + sum(
        (charge.ceiling.amount for charge in state.open_charges.values() if charge.ceiling),
        Decimal(0),
    )
    assert all(charge.ceiling is not None for charge in state.open_charges.values())
    assert said <= provider.charges * _cost(work) <= high
    if provider.charges:
        [outcome] = state.outcomes.values()
        assert outcome.state != "unsent"
        assert not (isinstance(outcome.decided, Failed) and outcome.decided.billed == "no")


def _cost(work: SocketBench) -> Decimal:
    [outcome] = work.state.outcomes.values()
    assert outcome.began is not None
    price = PRICES[outcome.began.model]
    if price.per_image is not None:
        return price.per_image
    assert price.input_per_million is not None
    assert price.output_per_million is not None
    return (price.input_per_million * 300 + price.output_per_million * 1290) / 10**6


@pytest.mark.parametrize(("instant", "stage", "kind"), CELLS)
async def test_what_the_ledger_says_is_what_the_book_allows(
    instant: Instant, stage: Stage, kind: str, in_memory: Path, names: Names
) -> None:
    """One Job, broken off once at this instant, then a second run: outcome, charges, requests."""
    with serving(elsewhere) as other:
        if instant.redirects:
            target = f"http://127.0.0.1:{other.port}/v1/images/edits"
            instant = replace(instant, answer=redirect_to(target))
        provider = names.provider = provider_of(instant, stage, kind, in_memory)
        with listening(provider):
            work = bench_of(in_memory, provider, instant)
            planned = lane_for(instant, stage, kind, in_memory)
            first = await work.run([planned])
            check_the_book(work, provider)
            assert provider.strikes == 0
            counts = work.state.counts()
            after_first = provider.heard["submit"]
            EXPECTED[stage](instant, kind, work, provider, counts)
            second = await work.run([planned])
            check_the_book(work, provider)
    assert other.connections == 0
    assert not provider.authorized["download"]
    assert isinstance(first.stopped, Refused) == (instant.redirects and stage != "download")
    if stage != "submit":
        assert after_first == provider.heard["submit"] == provider.charges == 1
    if counts["unknown"] and not provider.heard["poll"]:
        assert second.passed["held"] == 1
        assert provider.heard["submit"] == after_first
    elif not counts["failed"] or (instant.redirects and stage != "download"):
        assert work.state.counts() == Counter(done=1)


def expect_submit(
    instant: Instant,
    kind: str,
    work: SocketBench,
    provider: BreakingProvider,
    counts: Counter[str],
) -> None:
    """Unsent and sent again where the server cannot have had it all; unknown from there on."""
    unsent = [one for one in work.records if isinstance(one, Unsent)]
    unknown = [one for one in work.records if isinstance(one, Unknown)]
    if instant.redirects:
        assert counts == Counter(failed=1)
        assert provider.charges == 0
    elif instant.is_answered:
        assert counts == Counter(done=1)
        assert (unsent, unknown, provider.charges, provider.heard["submit"]) == ([], [], 1, 1)
    elif instant.has_whole_request:
        assert counts == Counter(unknown=1)
        assert (unsent, provider.charges, provider.heard["submit"]) == ([], 1, 1)
        assert unknown[0].error.kind == instant.kind
        assert unknown[0].ceiling is not None
        kept = list((work.folder / "quarantine").glob("*"))
        assert bool(kept) == instant.partial
    elif instant.is_before_the_server or kind != "task":
        assert counts == Counter(done=1)
        assert (len(unsent), provider.charges, provider.heard["submit"]) == (1, 1, 1)
        assert unsent[0].error.kind == "network"
    else:
        # So small a body was handed over whole: nobody here can know, and the book has nothing.
        assert counts in (Counter(unknown=1), Counter(done=1))
        assert provider.charges == counts["done"]


def expect_poll(
    instant: Instant,
    kind: str,
    work: SocketBench,
    provider: BreakingProvider,
    counts: Counter[str],
) -> None:
    """A poll is asked again; a redirect stops the run with the task on file."""
    assert counts == (Counter(accepted=1) if instant.redirects else Counter(done=1))


def expect_download(
    instant: Instant,
    kind: str,
    work: SocketBench,
    provider: BreakingProvider,
    counts: Counter[str],
) -> None:
    """A download is tried again, a task asked for a new link; but nothing leads a synchronous
    reply's link anywhere else: paid, said and held."""
    lost = instant.redirects and kind != "task"
    assert counts == (Counter(unknown=1) if lost else Counter(done=1))


EXPECTED: dict[str, Callable[[Instant, str, SocketBench, BreakingProvider, Counter[str]], None]] = {
    "submit": expect_submit,
    "poll": expect_poll,
    "download": expect_download,
}


@pytest.mark.parametrize("instant", INSTANTS, ids=lambda instant: instant.name)
async def test_a_fallback_hears_only_what_is_unsent(
    instant: Instant, in_memory: Path, names: Names
) -> None:
    """The other endpoint gets the request exactly where the first one cannot have had it."""
    if instant.redirects:
        instant = replace(instant, answer=redirect_to("http://127.0.0.1:1/v1/images/edits"))
    names.provider = first = provider_of(instant, "submit", "sync", in_memory)
    first.strikes = float("inf")
    second = BreakingProvider("submit", instant, in_memory / "other.jsonl", strikes=0)
    second.tls = first.tls
    with listening(first), listening(second) as there:
        work = bench_of(in_memory, first, instant)
        scheme = "https" if first.tls else "http"
        work.fallback_urls = (
            f"{scheme}://{'localhost' if first.tls else '127.0.0.1'}:{there.port}",
        )
        await work.run(
            [lane_for(instant, "submit", "sync", in_memory)], run_options=RunOptions(seed=1)
        )
    has_all = instant.has_whole_request
    assert second.heard["submit"] == second.charges == (0 if has_all else 1)
    assert first.charges == (1 if has_all and not instant.redirects else 0)
    assert work.state.counts()["done"] == (0 if has_all and not instant.is_answered else 1)


async def test_a_poll_that_hangs_does_not_outlast_its_task(in_memory: Path, names: Names) -> None:
    """A half-open connection ends at the task's deadline, however long a request may take."""
    silence = next(one for one in INSTANTS if one.name == "silence")
    provider = names.provider = provider_of(silence, "poll", "task", in_memory)
    provider.strikes = float("inf")
    planned = lane_of(KLING)
    short = planned.model.model_copy(
        update={"poll": planned.model.poll.model_copy(update={"timeout": 0.4})}
    )
    with listening(provider):
        work = bench_of(in_memory, provider, replace(silence, seconds=3600.0))
        await work.run([replace(planned, model=short)])
    assert work.state.counts() == Counter(unknown=1)
    assert provider.charges == 1


LASTING = [
    one for one in INSTANTS if one.name in ("no such name", "a page instead", "204", "empty")
]


@pytest.mark.parametrize("stage", ["poll", "download"])
@pytest.mark.parametrize("instant", LASTING, ids=lambda instant: instant.name)
async def test_a_task_outlives_a_network_that_stays_broken(
    instant: Instant, stage: Stage, in_memory: Path, names: Names
) -> None:
    """Unknown, with the task's id and a ceiling; the next run fetches it and submits nothing."""
    provider = names.provider = provider_of(instant, stage, "task", in_memory)
    provider.strikes = float("inf")
    planned = lane_of(KLING)
    short = planned.model.model_copy(
        update={"poll": planned.model.poll.model_copy(update={"timeout": 0.4})}
    )
    with listening(provider):
        work = bench_of(in_memory, provider, instant)
        await work.run([replace(planned, model=short)])
        check_the_book(work, provider)
        [unknown] = [one for one in work.records if isinstance(one, Unknown)]
        assert unknown.task == "t-1"
        assert unknown.ceiling is not None
        provider.strikes = 0
        await work.run([planned])
    assert work.state.counts() == Counter(done=1)
    assert provider.heard["submit"] == provider.charges == 1
    assert not work.state.open_charges
