"""Behind gateways of every make: the bill is known, nothing is bought twice, and what surely did
not begin is sent again without being asked."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.manifest import PayAgain, RunSettings, UpTo
from tests.proofs.gateways import Night, figures

each_dialect = pytest.mark.parametrize("dialect", ["qiniu", "openai"])


def in_turn(seeds: int) -> list[tuple[int, str]]:
    """Seeds shared out between the dialects, so that two take no longer than one."""
    return [(seed, ("qiniu", "openai")[seed % 2]) for seed in range(seeds)]


PATIENT = {"retries": 6, "stop_after_losses": 1_000_000, "stop_after_outage": 86_400.0}


@pytest.mark.parametrize(("seed", "dialect"), in_turn(6))
def test_a_night_behind_gateways(in_memory: Path, seed: int, dialect: str) -> None:
    """True bill within what is said, doubled 0, at least 90 % of what surely did not begin is
    retried by itself (CASES A1, C5)."""
    work, front, summary = Night(in_memory, seed, 300, dialect=dialect).play()
    found = figures(work, front)
    assert summary.stopped is None
    assert not summary.lane_stops
    assert found["unknown"]
    assert found["surely not begun"] > 5
    assert found["jobs"] == 300


def on_terms(amount: str, **more: object) -> RunSettings:
    terms = PayAgain(retry=1, up_to=UpTo(amount=Decimal(amount), currency="CNY"))
    return RunSettings(on_unknown=terms, **PATIENT | more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "dialect"), in_turn(4))
def test_an_unattended_night_is_finished_within_its_sum(
    in_memory: Path, seed: int, dialect: str
) -> None:
    """20 % of gateway failures and `on_unknown: {retry: 1, up_to: 5 CNY}`: every Job is sent again
    once where an answer was lost, the sum is kept, and only what was lost twice is left."""
    night = Night(in_memory, seed, 60, share=0.2, settings=on_terms("5"), dialect=dialect)
    work, _, summary = night.play()
    again = summary.again
    assert again.spent is not None
    assert 0 < again.spent.amount <= 5
    assert again.jobs > 1
    assert not again.held
    assert summary.ended["done"] + summary.ended["unknown"] == 60
    state = work.state
    for key, outcome in state.outcomes.items():
        assert state.lost_attempts(key) == 2 or outcome.state == "done"
    bought = Counter(charge.request for charge in work.provider.book)
    assert max(bought.values()) <= 2


@each_dialect
def test_the_sum_is_never_passed(in_memory: Path, dialect: str) -> None:
    """Where it does not reach, the others are held as ever, by this run and by the next."""
    night = Night(in_memory, 7, 60, share=0.3, settings=on_terms("1"), dialect=dialect)
    work, front, summary = night.play()
    again = summary.again
    assert again.spent is not None
    assert again.spent.amount <= 1
    assert again.held
    assert summary.exit_code == 1
    held = work.state.counts()["unknown"]
    assert held >= again.held
    assert front.strikes


@each_dialect
def test_without_terms_nothing_is_paid_for_again(in_memory: Path, dialect: str) -> None:
    """The same night, held: what was lost stays lost once."""
    work, _, summary = Night(in_memory, 7, 60, share=0.3, dialect=dialect).play()
    assert not summary.again.jobs
    assert max(Counter(charge.request for charge in work.provider.book).values()) == 1
