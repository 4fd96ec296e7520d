"""A static split: the shares of limits and money never come to more than the whole."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retouch.cluster import Shard, divided
from retouch.cluster.shares import amount_of
from retouch.engine.limiter import Limiter
from retouch.engine.pacing import RateLimit, WindowEntry
from retouch.manifest import Loaded, PayAgain, load
from tests.support.sliding import fullest


def loaded(folder: Path) -> Loaded:
    """A manifest that limits all that can be limited."""
    path = folder / "m.yaml"
    limits = {"requests_per_minute": 2400, "images_per_minute": 90, "concurrency": 10}
    budget = {"amount": 10, "total": 100, "per_day": 7, "currency": "CNY"}
    run = {
        "budget": budget, "confirm_above": {"amount": 5, "currency": "CNY"},
        "on_unknown": {"retry": 1, "up_to": {"amount": 2, "currency": "CNY"}},
    }  # fmt: skip
    model = {"model": "gemini-2.5-flash-image", "limits": limits, "budget": dict(budget),
             "price": {"currency": "CNY", "per_image": 0.1}}  # fmt: skip
    manifest = {
        "version": 1, "inputs": [{"glob": "*.png"}], "prompts": [{"id": "p", "template": "t"}],
        "models": [model], "run": run,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(manifest))
    return load(path)


@given(st.decimals(0, 10**9, places=6), st.integers(1, 10_000))
def test_shares_of_money_add_up_to_no_more(whole: Decimal, shards: int) -> None:
    """Rounded down, by less than a billionth each."""
    share = amount_of(whole, shards)
    assert share * shards <= whole
    assert whole - share * shards < Decimal("1e-11") * shards


def test_everything_that_is_limited_is_divided(tmp_path: Path) -> None:
    """Rates, places, budgets of run and model, what is asked about, what is paid again."""
    shares = [divided(loaded(tmp_path), Shard(index, 3)).manifest for index in (1, 2, 3)]
    models = [each.models[0] for each in shares]
    assert [each.limits.requests_per_minute for each in models] == [800.0] * 3
    assert [each.limits.images_per_minute for each in models] == [30.0] * 3
    assert sorted(each.limits.concurrency for each in models) == [3, 3, 4]
    for budget in (*(each.run.budget for each in shares), *(each.budget for each in models)):
        assert budget is not None
        assert (budget.amount or 0) * 3 <= 10
        assert (budget.total or 0) * 3 <= 100
        assert (budget.per_day or 0) * 3 <= 7
        assert (budget.total or 0) * 3 > Decimal("99.9")
    for each in shares:
        assert each.run.confirm_above is not None
        assert each.run.confirm_above.amount * 3 <= 5
        assert isinstance(each.run.on_unknown, PayAgain)
        assert each.run.on_unknown.up_to.amount * 3 <= 2
        assert each.run.stop_after_losses == 6


def test_a_shares_rate_is_kept_by_the_second(tmp_path: Path) -> None:
    """What leaves late leaves in no bunch: in any second no more than its part; a run of one is
    paced as before."""
    model = divided(loaded(tmp_path), Shard(1, 4)).manifest.models[0]
    (requests, _) = Limiter(model.limits).limited
    assert most_in_a_second(requests.limit) <= 10
    assert most_in_a_second(RateLimit(600)) > 10


def most_in_a_second(limit: RateLimit) -> float:
    """Now and then a request leaves later than its turn was, the others as they come."""
    now, sends, late = 0.0, list[tuple[float, float]](), list[tuple[float, WindowEntry]]()
    for number in range(400):
        while (wait := limit.wait_seconds(now)) > 0:
            until = min([now + wait, *(at for at, _ in late)])
            now = until if until > now else now + wait
            for at, entry in [each for each in late if each[0] <= now]:
                limit.leave(at, entry)
                late.remove((at, entry))
                sends.append((at, 1.0))
        entry = limit.take(now)
        if number % 20 == 0:
            late.append((now + 0.09, entry))
        else:
            limit.leave(now, entry)
            sends.append((now, 1.0))
    return fullest(sends, 1.0)


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_what_is_not_limited_stays_so(tmp_path: Path, shards: int) -> None:
    """No limit is made up."""
    share = divided(loaded(tmp_path), Shard(1, shards)).manifest.models[0].limits
    assert share.tokens_per_minute is None
