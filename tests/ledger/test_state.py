"""From Records to Outcomes, Charges and decisions: against a book kept by other means."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

import retouch.ledger
from retouch.ledger.decision import PAY_AGAIN, Hold, Poll, Redo, Send, Skip, decide
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import (
    AmountRecord,
    AnyRecord,
    Done,
    Failed,
    Resolved,
    Reused,
    RunBegins,
    RunEnds,
    Started,
    TaskAccepted,
    TermsRecord,
    Unknown,
    Unsent,
    UsageRecord,
)
from retouch.ledger.state import Replay, replay
from retouch.ledger.writing import Ledger, open_ledger
from retouch.money import Money
from tests.support.lives import AT, CEILING, ERROR, Life, Teller, cost, file_of

STATES = {"task": "accepted"}


def assert_as_told(state: Replay, teller: Teller) -> None:
    """The replayed ledger says what the book says: states, charges, decisions."""
    assert set(state.open_charges) == teller.open
    confirmed = state.totals.confirmed.get("CNY", Money(Decimal(0), "CNY"))
    assert confirmed.amount == teller.confirmed
    assert state.totals.unpriced == teller.unpriced
    for life in teller.lives.values():
        outcome = state.outcomes.get(life.key)
        if life.stands is None:
            assert outcome is None
            continue
        assert outcome is not None
        assert (outcome.state, outcome.attempt) == (
            STATES.get(life.stands, life.stands),
            life.last,
        )
        assert_decided(life, outcome)


def assert_decided(life: Life, outcome: Outcome) -> None:
    """Nothing is sent that may have been paid for; tasks are polled; new numbers are new."""
    decision = decide(life.key, outcome)
    everything = Redo(failed=True, unknown=True, missing=True, keys=frozenset([life.key]))
    bought = life.attempts.get(life.last)
    if isinstance(decision, Send):
        assert decision.attempt == life.last + 1
        assert bought is None or (bought.closed and not bought.paid)
    match life.stands:
        case "done" | "reused":
            assert decision == Skip(life.stands)
        case "sent" | "unknown" | "task":
            task = life.task
            assert decision == (Poll(life.last, task) if task else Hold(life.last))
        case "unsent":
            assert decision == Send(life.last + 1, "unsent")
    asked = decide(life.key, outcome, everything)
    if life.stands == "task":
        assert isinstance(asked, Poll)
    else:
        assert asked == Send(life.last + 1, "asked for")


class Ledgers(RuleBasedStateMachine):
    """Every legal ledger, record by record: each prefix must replay to what happened so far."""

    def __init__(self) -> None:
        super().__init__()
        self.teller = Teller()
        self.state = Replay()

    @rule(data=st.data(), which=st.integers(0, 2), priced=st.booleans())
    def one_record(self, data: st.DataObject, which: int, priced: bool) -> None:
        life = self.teller.lives[f"k{which}"]
        choice = data.draw(st.sampled_from(self.teller.choices(life)))
        self.teller.tell(life, choice, priced=priced)
        self.state.apply(self.teller.records[-1])

    @precondition(lambda self: bool(self.state.outcomes))
    @rule()
    def a_run_ends_and_another_begins(self) -> None:
        """A crash: every unanswered attempt is told to be unknown by the next run."""
        for key, outcome in list(self.state.unanswered()):
            life = self.teller.lives[key]
            assert outcome.attempt == life.last
            self.teller.tell(life, "lose")
            self.state.apply(self.teller.records[-1])
        assert not list(self.state.unanswered())

    @invariant()
    def is_as_told(self) -> None:
        assert_as_told(self.state, self.teller)


Ledgers.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLedgers = Ledgers.TestCase


def test_every_prefix_of_long_ledgers_replays_to_what_happened() -> None:
    """Replaying all at once is the same as record by record."""
    for seed in range(40):
        chance, teller, stepwise = random.Random(seed), Teller(6), Replay()
        for _ in range(150):
            teller.random_step(chance)
            stepwise.apply(teller.records[-1])
        whole = replay(teller.records)
        assert_as_told(whole, teller)
        assert whole.outcomes == stepwise.outcomes
        assert whole.open_charges == stepwise.open_charges
        assert whole.totals == stepwise.totals


def started(attempt: int = 1) -> Started:
    return Started(
        key="k", attempt=attempt, model="m", prompt="p", source="s", at=AT, ceiling=CEILING
    )


def unknown(attempt: int = 1, task: str | None = None) -> Unknown:
    return Unknown(
        key="k", attempt=attempt, model="m", prompt="p", source="s", at=AT, error=ERROR,
        ceiling=CEILING, task=task,
    )  # fmt: skip


def done(attempt: int = 1, amount: str | None = "0.28") -> Done:
    return Done(
        key="k", attempt=attempt, model="m", prompt="p", source="s", at=AT, seconds=1.0,
        cost=cost(amount) if amount else None, files=(file_of("k", attempt),),
    )  # fmt: skip


def failed(attempt: int = 1, **more: Any) -> Failed:
    given: dict[str, Any] = {"billed": "no", "final": True} | more
    return Failed(
        key="k", attempt=attempt, model="m", prompt="p", source="s", at=AT, error=ERROR, **given
    )


def resolved(attempt: int = 1, *, charged: bool = True, amount: str | None = None) -> Resolved:
    said = AmountRecord(amount=amount, currency="CNY") if amount else None
    verdict: Any = "charged" if charged else "not_charged"
    return Resolved(key="k", attempt=attempt, verdict=verdict, amount=said, at=AT)


UNSENT = Unsent(key="k", attempt=1, error=ERROR, at=AT)
TASK = TaskAccepted(key="k", attempt=1, task="t", at=AT)
REUSED = Reused(key="k", source_ledger="other", files=(file_of("k", 0),), at=AT)

ODD: list[tuple[str, list[AnyRecord], str, str, set[int]]] = [
    # what, records, state, confirmed CNY, open attempts
    ("done after unknown: the task was polled on", [started(), TASK, unknown(1, "t"), done()],
     "done", "0.28", set()),
    ("an unknown stays open under a later done", [started(), unknown(), started(2), done(2)],
     "done", "0.28", {1}),
    ("resolved for an older attempt settles that one alone",
     [started(), unknown(), started(2), unknown(2), resolved(1, amount="0.4")],
     "unknown", "0.4", {2}),
    ("resolved twice is paid once",
     [started(), unknown(), resolved(amount="0.4"), resolved(amount="0.4")],
     "resolved", "0.4", set()),
    ("resolved as charged, amount unknown: open up to the ceiling",
     [started(), unknown(), resolved()], "resolved", "0", {1}),
    ("and settled by a later word", [started(), unknown(), resolved(), resolved(amount="0.3")],
     "resolved", "0.3", set()),
    ("resolved of what is done changes its charge alone",
     [started(), done(amount=None), resolved(amount="0.2")], "done", "0.2", set()),
    ("a final failure stays failed when its charge is resolved",
     [started(), failed(billed="unknown"), resolved(charged=False)], "failed", "0", set()),
    ("a passing failure may be sent once it is resolved",
     [started(), failed(billed="unknown", final=False), resolved(charged=False)],
     "resolved", "0", set()),
    ("resolved of a job nobody knows", [resolved(amount="0.4")], "", "0", set()),
    ("done twice is paid once", [started(), done(), done()], "done", "0.28", set()),
    ("done after resolved is not paid twice",
     [started(), TASK, unknown(1, "t"), resolved(amount="0.4"), done()], "done", "0.4", set()),
    ("unknown after done reopens nothing", [started(), done(), unknown()], "done", "0.28", set()),
    ("failed after done changes nothing", [started(), done(), failed()], "done", "0.28", set()),
    ("a late answer to an older attempt settles that one alone",
     [started(), started(2), done(1)], "sent", "0.28", {2}),
    ("an older attempt may also turn out unsent", [started(), started(2), UNSENT],
     "sent", "0", {2}),
    ("a started attempt of an older number opens its charge and decides nothing",
     [started(2), done(2), started(1)], "done", "0.28", {1}),
    ("unknown without started opens a charge", [unknown()], "unknown", "0", {1}),
    ("failed, perhaps billed, without started opens a charge",
     [failed(billed="unknown", ceiling=CEILING)], "failed", "0", {1}),
    ("charged, and said to be unsent after that, is not sent again",
     [started(), failed(billed="yes", ceiling=CEILING), UNSENT], "failed", "0", {1}),
    ("done without started is paid", [done()], "done", "0.28", set()),
    ("reused leaves what is unknown open", [started(), unknown(), REUSED], "reused", "0", {1}),
    ("sent again after reuse has a charge of its own",
     [started(), unknown(), REUSED, started(2), done(2)], "done", "0.28", {1}),
    ("accepted after unknown is a task again", [started(), unknown(), TASK],
     "accepted", "0", {1}),
]  # fmt: skip


@pytest.mark.parametrize(("records", "state", "confirmed", "open_attempts"),
                         [row[1:] for row in ODD], ids=[row[0] for row in ODD])  # fmt: skip
def test_odd_sequences_never_lose_nor_double_a_charge(
    records: list[AnyRecord], state: str, confirmed: str, open_attempts: set[int]
) -> None:
    """What a run would not write, or only in a bad hour, still replays to the careful answer."""
    replayed = replay(records)
    outcome = replayed.outcomes.get("k")
    assert (outcome.state if outcome else "") == state
    amounts = replayed.totals.confirmed.get("CNY", Money(Decimal(0), "CNY"))
    assert amounts.amount == Decimal(confirmed)
    assert {attempt for _, attempt in replayed.open_charges} == open_attempts


ANY_RECORD = st.sampled_from(
    [
        *(make(attempt) for make in (started, unknown, done, failed) for attempt in (1, 2, 3)),
        *(failed(n, billed=billed, final=final, ceiling=CEILING) for n in (1, 2)
          for billed in ("yes", "unknown") for final in (True, False)),
        *(resolved(n, charged=charged, amount=amount) for n in (1, 2) for charged in (True, False)
          for amount in (None, "0.4")),
        *(done(n, None) for n in (1, 2)), unknown(1, "t"), UNSENT, TASK, REUSED,
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(ANY_RECORD, max_size=12))
def test_any_sequence_replays_and_counts_no_attempt_twice(records: list[AnyRecord]) -> None:
    """Total over whatever a chain may hold: an attempt is open or settled, and paid at most once
    for each time it was begun."""
    state = replay(records)
    begun = sum(isinstance(record, Started | Done | Failed | Unknown) for record in records)
    paid = state.totals.confirmed.get("CNY", Money(Decimal(0), "CNY")).amount
    assert paid <= Decimal("0.4") * max(begun, 1)
    outcome = state.outcomes.get("k")
    decision = decide("k", outcome)
    if isinstance(decision, Send) and outcome is not None:
        assert ("k", decision.attempt) not in state.open_charges
        assert ("k", outcome.attempt) not in state.open_charges
    for number in {record.attempt for record in records if isinstance(record, Started)}:
        last = [r for r in records if getattr(r, "attempt", None) == number][-1]
        if isinstance(last, Started):
            assert ("k", number) in state.open_charges  # never answered for: never forgotten


REDO = {
    "nothing": Redo(),
    "failed": Redo(failed=True),
    "unknown": Redo(unknown=True),
    "key": Redo(keys=frozenset("k")),
}
SEND, HOLD, FAILED = Send(2, ""), Hold(1), Skip("failed")
DECISIONS: list[tuple[str, list[AnyRecord], list[Any]]] = [
    # records, decision for: nothing, --redo failed, --redo unknown, --redo KEY
    ("unanswered", [started()], [HOLD, HOLD, SEND, SEND]),
    ("unknown", [started(), unknown()], [HOLD, HOLD, SEND, SEND]),
    ("a task", [started(), TASK], [Poll(1, "t")] * 4),
    ("a task lost sight of", [started(), TASK, unknown(1, "t")], [Poll(1, "t")] * 3 + [SEND]),
    ("failed for good", [started(), failed()], [FAILED, SEND, FAILED, SEND]),
    ("failed, may pass", [started(), failed(final=False)], [SEND] * 4),
    ("failed, may pass, perhaps billed", [started(), failed(final=False, billed="unknown")],
     [HOLD, SEND, SEND, SEND]),
    ("failed, may pass, billed", [started(), failed(final=False, billed="yes")],
     [FAILED, SEND, FAILED, SEND]),
    ("failed for good, perhaps billed", [started(), failed(billed="unknown")],
     [HOLD, SEND, HOLD, SEND]),
    ("failed for good, billed, nobody counted", [started(), failed(billed="yes")],
     [FAILED, SEND, FAILED, SEND]),
    ("failed for good, perhaps billed, the user says so",
     [started(), failed(billed="unknown"), resolved()], [FAILED, SEND, FAILED, SEND]),
    ("failed for good, perhaps billed, the user says not",
     [started(), failed(billed="unknown"), resolved(charged=False)],
     [FAILED, SEND, FAILED, SEND]),
    ("resolved: charged", [started(), unknown(), resolved()],
     [Skip("charged"), Skip("charged"), Skip("charged"), SEND]),
    ("resolved: not charged", [started(), unknown(), resolved(charged=False)], [SEND] * 4),
    ("done", [started(), done()], [Skip("done")] * 3 + [SEND]),
    ("unsent", [started(), UNSENT], [SEND] * 4),
    ("delivered from elsewhere", [REUSED], [Skip("reused")] * 3 + [Send(1, "")]),
]  # fmt: skip


@pytest.mark.parametrize(("records", "decisions"), [row[1:] for row in DECISIONS],
                         ids=[row[0] for row in DECISIONS])  # fmt: skip
def test_what_is_done_again_is_what_was_asked_for(
    records: list[AnyRecord], decisions: list[Any]
) -> None:
    """DESIGN §3, last column, under each --redo."""
    outcome = replay(records).outcomes["k"]
    for redo, expected in zip(REDO.values(), decisions, strict=True):
        decided = decide("k", outcome, redo)
        if isinstance(decided, Send):
            assert decided.reason == ("asked for" if redo.keys else outcome.state)
            decided = Send(decided.attempt, "")
        assert decided == expected


def test_a_charge_counts_on_the_day_it_was_sent() -> None:
    """An attempt that is answered after midnight does not move to another day's budget."""
    late = done()
    answered = Done(**{name: getattr(late, name) for name in late.__struct_fields__}
                    | {"at": "2026-03-02T00:00:01.000000Z"})  # fmt: skip
    state = replay([started(), answered])
    assert state.counted("CNY", day="2026-03-01").amount == Decimal("0.28")
    assert state.counted("CNY", day="2026-03-02").amount == 0
    assert state.counted("CNY", model="m").amount == Decimal("0.28")
    assert state.counted("CNY", model="other").amount == 0
    assert state.counted("USD").amount == 0


def test_what_is_unknown_counts_at_its_ceiling() -> None:
    """A budget holds what may have been paid."""
    state = replay([started(), unknown(), started(2)])
    assert state.counted("CNY").amount == Decimal("1.0")
    assert state.counts() == {"sent": 1}


def test_runs_are_counted_and_the_last_end_is_that_of_the_last_run() -> None:
    """A run that has not ended has no end."""
    begins = RunBegins(
        manifest="m", manifest_sha256="", retouch="0", provider="p", base_url="u", jobs=1
    )
    ends = RunEnds(outcome="finished", counts={}, cost={})
    state = replay([begins, ends])
    assert (state.runs, state.last_end) == (1, ends)
    state.apply(begins)
    assert (state.runs, state.last_end) == (2, None)


def test_what_a_request_counts_is_of_the_pictures_it_asked_for() -> None:
    """Three came where one was asked for: the next such request may count as much."""
    asked = replace(started(), terms=TermsRecord(input="", prompt="", options="", n=1))
    came = replace(done(), files=(file_of("k", 1),) * 3, usage=UsageRecord(output_tokens=3870))
    assert replay([asked, came]).observed["m"].output_tokens_per_image == 3870


def test_what_is_open_counts_on_its_day_alone() -> None:
    """Yesterday's unknown is no part of today's cap."""
    state = replay([started(), unknown()])
    assert state.counted("CNY", day="2026-03-01").amount == Decimal(CEILING.amount)
    assert state.counted("CNY", day="2026-03-02").amount == 0


def test_the_servers_count_of_pictures_is_the_one_that_is_told() -> None:
    """It says that it made four, and one could be kept: four were paid for."""
    record = replace(done(), usage=UsageRecord(images=4))
    assert replay([started(), record]).totals.images == 4
    assert replay([started(), done()]).totals.images == 1


def test_what_the_server_did_not_count_adds_nothing() -> None:
    """Each kind of tokens for itself."""
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        record = replace(done(), usage=replace(UsageRecord(), **{name: 7}))
        totals = replay([started(), record]).totals
        counted = (totals.input_tokens, totals.output_tokens, totals.total_tokens)
        assert sorted(counted) == [0, 0, 7]
        assert getattr(totals, name) == 7


def test_where_a_task_was_taken_is_known_until_it_has_ended() -> None:
    """Also where it may yet bring its pictures, or nobody knows what was charged."""
    for end, is_out in (
        (None, True),
        (unknown(1, "t"), True),
        (failed(billed="unknown", final=False), True),
        (failed(billed="yes", ceiling=CEILING), True),
        (failed(), False),
        (failed(billed="yes", cost=cost("0.28")), False),
        (done(), False),
        (done(amount=None), False),
    ):
        records: list[AnyRecord] = [started(), TASK, *([end] if end else [])]
        assert replay(records).accepted == ({"k": TASK} if is_out else {})


@pytest.mark.parametrize(
    "paid", [done(), failed(billed="yes"), failed(billed="yes", cost=cost("0.28"))]
)
def test_what_is_charged_is_not_called_unsent_afterwards(paid: AnyRecord) -> None:
    """A late word of the same Attempt sends nothing again that is paid for."""
    state = replay([started(), paid, UNSENT])
    assert not isinstance(decide("k", state.outcomes["k"]), Send)


def test_an_outcome_tells_who_decided_it_and_what_it_was() -> None:
    """The latest Record about its latest Attempt, what that began with, its Task, its Charge."""
    began, again = started(), started(2)
    for records, state, task, is_open in (
        ([began], "sent", None, True),
        ([began, TASK], "accepted", "t", True),
        ([began, TASK, unknown(1, "t")], "unknown", "t", True),
        ([began, unknown(1, "late")], "unknown", "late", True),
        ([began, TASK, done()], "done", "t", False),
        ([began, replace(done(), task="late")], "done", "late", False),
        ([began, TASK, failed()], "failed", "t", False),
        ([began, failed(task="late")], "failed", "late", False),
        ([began, UNSENT], "unsent", None, False),
        ([began, TASK, unknown(1, "t"), resolved()], "resolved", "t", True),
    ):
        outcome = replay(records).outcomes["k"]  # type: ignore[arg-type]
        assert (outcome.state, outcome.attempt, outcome.task) == (state, 1, task)
        assert outcome.decided is records[-1]
        assert outcome.began is began
        assert (outcome.charge is not None) == is_open
    outcome = replay([began, TASK, unknown(1, "t"), again]).outcomes["k"]
    assert (outcome.attempt, outcome.began, outcome.task) == (2, again, None)
    assert outcome.charge is not None
    assert outcome.charge.attempt == 2
    never = replay([unknown()]).outcomes["k"]
    assert never.began is None
    free = replay([began, failed(billed="unknown"), resolved(charged=False)]).outcomes["k"]
    assert (free.state, free.charge) == ("failed", None)


@pytest.mark.parametrize("amount", ["0.3", None])
def test_a_verdict_that_is_taken_back_leaves_no_trace_in_the_sums(amount: str | None) -> None:
    """Of its model, its day, or of what has no price."""
    unpriced = replace(started(), ceiling=None)
    begun = started() if amount else unpriced
    said = replay([begun, unknown() if amount else unpriced, resolved(amount=amount)])
    assert said.totals.unpriced == (amount is None)
    after = replay([begun, resolved(amount=amount), resolved(charged=False)])
    assert after.spent("CNY") == after.spent("CNY", "m", "2026-03-01") == 0
    assert after.totals.unpriced == 0
    assert set(after.verdicts) == {("k", 1)}
    assert not after.open_charges


def test_sent_again_within_what_may_be_lost_is_the_next_attempt() -> None:
    """So often a Job as the user allows, and then it is held; also where it went unsent since."""
    lost = replay([started(), unknown(), started(2), unknown(2)]).outcomes["k"]
    assert decide("k", lost, Redo(again=2), 2) == Send(3, PAY_AGAIN)
    assert decide("k", lost, Redo(again=1), 2) == Hold(2)
    assert decide("k", lost, Redo(again=0), 0) == Hold(2)
    assert decide("k", lost, Redo(again=1), 0) == Send(3, PAY_AGAIN)
    assert decide("k", lost, Redo(again=1), 1) == Send(3, PAY_AGAIN)
    unsure = replay([started(), failed(final=False, billed="unknown")]).outcomes["k"]
    assert decide("k", unsure, Redo(again=1), 0) == Send(2, PAY_AGAIN)
    assert decide("k", unsure, Redo(again=0), 0) == Hold(1)
    assert decide("k", unsure, Redo(again=1), 2) == Hold(1)
    unsent = replay([started(), unknown(), started(2), replace(UNSENT, attempt=2)]).outcomes["k"]
    assert decide("k", unsent, Redo(), 1) == Hold(2)
    assert decide("k", unsent, Redo(again=1), 1) == Send(3, PAY_AGAIN)
    assert decide("k", unsent, Redo(unknown=True), 1) == Send(3, "unsent")
    assert decide("k", unsent, Redo(), 0) == Send(3, "unsent")
    passing = replay([started(), failed(final=False)]).outcomes["k"]
    assert decide("k", passing, Redo(), 1) == Hold(1)
    assert decide("k", passing, Redo(again=1), 1) == Send(2, PAY_AGAIN)
    assert decide("k", passing, Redo(), 0) == Send(2, "failed")


def test_the_writer_is_found_by_its_names_alone() -> None:
    """Whoever only reads never loads it; another name is an error that says which."""
    names = ("Ledger", "open_ledger")
    assert [getattr(retouch.ledger, name) for name in names] == [Ledger, open_ledger]
    with pytest.raises(
        AttributeError, match=r"module 'retouch\.ledger' has no attribute 'nothing'"
    ):
        retouch.ledger.nothing  # noqa: B018


def test_a_job_that_no_record_is_about_is_sent_as_its_first_attempt() -> None:
    """Whatever is to be redone."""
    for redo in (Redo(), Redo(failed=True, unknown=True, missing=True, again=1)):
        assert decide("0" * 64, None, redo) == Send(1, "new")
