"""What a Charge is has one answer: every command that speaks of money gives the same."""

from __future__ import annotations

import contextlib
import io
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retouch.cli import main
from retouch.cli.budgets import budget_of
from retouch.cli.workspace import open_workspace
from retouch.ledger import read
from retouch.ledger.head import head_path
from retouch.ledger.records import AnyRecord, TaskAccepted
from tests.support.ledgers import begins, failed, started, unknown, write
from tests.support.lives import CEILING, Teller
from tests.support.priced import Priced, priced

PICTURES = 6
BUDGET = "run: {budget: {total: 1000, currency: CNY}}"


def _document(*words: str) -> Any:
    with (
        contextlib.redirect_stdout(io.StringIO()) as told,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        main([*words])
    return json.loads(told.getvalue())


def _write(cats: Priced, records: list[AnyRecord]) -> None:
    """A new ledger, of which no head was noted."""
    head_path(cats.ledger).unlink(missing_ok=True)
    write(cats.ledger, [begins(), *records])


def _asked(cats: Priced) -> dict[str, Any]:
    """What each command says of the ledger."""
    words = cats.words
    status = _document("status", *words, "--json")
    plan = _document("plan", *words, "--json")
    report = _document("report", *words, "--format", "json")
    verify = _document("verify", *words, "--json")
    return {
        "status": status,
        "plan": plan["lanes"][0],
        "totals": [each for each in report["totals"] if each["currency"] == "CNY"],
        "verify": verify,
        "resolve": _document("resolve", *words, "--json"),
    }


def _budgeted(cats: Priced) -> Decimal:
    """What a run's budget counts as spent before it sends anything."""
    workspace = open_workspace(cats.manifest, cats.outputs, rehearse=False)
    [cap] = budget_of(workspace, read(cats.ledger), None).caps
    return cap.counted


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Priced:
    made = priced(tmp_path_factory.mktemp("cats"), PICTURES)
    made.write(more=BUDGET)
    return made


def _amount(sums: dict[str, str]) -> Decimal:
    return Decimal(sums.get("CNY", "0"))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 60))
@example(seed=89, steps=39)
def test_all_commands_agree(cats: Priced, seed: int, steps: int) -> None:
    """Over any ledger that runs and `resolve` may write: the same money is confirmed and unknown
    to status, report, verify and the budget; what status holds is what plan holds, and resolve
    lists it."""
    chance, teller = random.Random(seed), Teller([job.key for job in cats.jobs()])
    for _ in range(steps):
        teller.random_step(chance)
    _write(cats, teller.records)
    told = _asked(cats)

    confirmed = teller.confirmed
    unknown_high = Decimal(CEILING.amount) * sum(
        teller.lives[key].attempts[number].priced for key, number in teller.open
    )
    for each in (told["status"]["cost"], told["verify"]):
        assert _amount(each["confirmed"]) == confirmed
        assert _amount(each["unknown_high"]) == unknown_high
        assert each["unpriced"] == teller.unpriced
    assert sum(Decimal(each["confirmed"]) for each in told["totals"]) == confirmed
    assert sum(Decimal(each["unknown_high"]) for each in told["totals"]) == unknown_high
    assert _budgeted(cats) == confirmed + unknown_high

    held = {(each["key"], each["attempt"]) for each in told["status"]["held"]}
    listed = {(each["key"], each["attempt"]) for each in told["resolve"]}
    assert len(held) == told["plan"]["held"]
    assert listed <= teller.open
    lost = {key for key, _ in listed}
    assert {key for key, _ in held} <= lost
    earlier = {(key, number) for key, number in held if (key, number) not in listed}
    assert {place for place in listed if _is_held(teller, *place)} == held - earlier
    # An attempt that was surely not paid for sets nobody free of one before it that may have been;
    # one that was, nobody counted how much, is over.
    charges = read(cats.ledger).open_charges
    in_doubt = {key for key, number in listed if charges[key, number].standing == "unknown"}
    unsent = {key for key in in_doubt if teller.lives[key].stands == "unsent"}
    assert unsent <= {key for key, _ in earlier}
    assert all(teller.lives[key].stands in ("unsent", "failed") for key, _ in earlier)


def _is_held(teller: Teller, key: str, attempt: int) -> bool:
    life = teller.lives[key]
    return life.last == attempt and life.stands in ("sent", "unknown", "failed")


def test_held_is_one_thing(cats: Priced) -> None:
    """What may have been charged and nothing but the user's word settles: also what failed for
    good, and never a task that the next run asks for."""
    keys = [job.key for job in cats.jobs()[:4]]
    a, b, c, d = (dict[str, Any](key=key) for key in keys)
    records: list[AnyRecord] = [
        started(0, **a),
        failed(0, "unknown", final=False, ceiling=CEILING, **a),
    ]
    records += [started(1, **b), TaskAccepted(key=keys[1], attempt=1, task="t", at=started(1).at)]
    records += [unknown(1, task="t", **b), started(2, **c), unknown(2, **c)]
    records += [started(3, **d), failed(3, "unknown", ceiling=CEILING, **d)]
    _write(cats, records)
    told = _asked(cats)
    held = {keys[0], keys[2], keys[3]}
    assert {each["key"] for each in told["status"]["held"]} == held
    assert {each["key"] for each in told["resolve"]} == held
    assert told["plan"]["held"] == 3
    assert main(["resolve", *cats.words, "--all", "--not-charged"]) == 0
    told = _asked(cats)
    assert (told["status"]["held"], told["resolve"], told["plan"]["held"]) == ([], [], 0)
    assert told["status"]["outcomes"] == {"failed": 1, "resolved": 2, "unknown": 1}


def test_giving_up_counts_a_job_once(cats: Priced) -> None:
    """`failed` after the last `unsent` is the same attempt: one job, which cost nothing once."""
    teller = Teller([cats.jobs()[0].key])
    [life] = teller.lives.values()
    for choice in ("start", "unsend", "give_up"):
        teller.tell(life, choice)
    _write(cats, teller.records)
    report = _document("report", *cats.words, "--by", "model", "--format", "json")
    assert sum(each["jobs"] for each in report["totals"]) == 1
    [row] = report["by"]
    assert (row["attempts"], row["free_attempts"], row["failed_attempts"]) == (1, 1, 1)
