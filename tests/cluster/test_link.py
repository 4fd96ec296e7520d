"""What a worker makes of what it is lent: what its ledger says of it, and when it may not send."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest

from retouch.cluster.link import Link
from retouch.cluster.purse import Holder
from retouch.cluster.sharing import SharedLimiter, settle_lost
from retouch.cluster.wire import BUDGET, Begun, Reply, Report, Settle
from retouch.engine.limiter import Stop
from retouch.errors import RetouchError
from retouch.ledger.records import TaskAccepted, Unsent
from retouch.ledger.state import replay
from retouch.manifest import Limits
from tests.support.ledgers import done, failed, key_of, started, unknown
from tests.support.shared import LANE

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]


async def nobody(_: Report) -> Reply:
    raise ConnectionError


async def test_what_a_lost_worker_had_reserved_counts_what_its_ledger_says() -> None:
    """Never begun and unsent cost nothing, done what it cost; begun and unknown count in full; a
    Task that is out stays reserved, for it is taken up again."""
    state = replay(
        [
            started(1),
            started(2), done(2, "0.25"),
            started(3), unknown(3),
            started(4), Unsent(key=key_of(4), attempt=1, error=unknown(4).error),
            started(5), TaskAccepted(key=key_of(5), attempt=1, task="image-1"),
            started(6), failed(6),
        ]
    )  # fmt: skip
    link = Link(nobody, 1, Begun(1, tuple((BUDGET, (key_of(n), 1)) for n in range(1, 8))))
    told: list[Settle] = []
    link.tell = told.append  # type: ignore[method-assign,assignment]
    settle_lost(link, state)
    assert {each.attempt[0]: each.charged for each in told} == {
        key_of(1): None,
        key_of(2): Decimal("0.25"),
        key_of(3): None,
        key_of(4): Decimal(0),
        key_of(6): Decimal(0),
        key_of(7): Decimal(0),
    }


async def test_a_slot_in_hand_is_not_used_once_the_lease_has_run_out() -> None:
    """As after a process that stood still: the slot would do, the lease does not."""
    holder = Holder({BUDGET: []}, {LANE: Limits(concurrency=1)}, 20, {})

    async def exchange(report: Report) -> Reply:
        return holder.exchange(report, anyio.current_time())

    link = Link(exchange, 1, holder.begin(1, anyio.current_time()))
    limiter = link.limiters[LANE] = SharedLimiter(link, LANE, Limits(concurrency=1))
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: link.run(task_status=task_status))
        for is_good in (True, False):
            permit = await limiter.permit(Stop())
            assert permit is not None
            with permit:
                if not is_good:
                    link.good_until = anyio.current_time() - 1
                assert await permit.is_due() is is_good
        group.cancel_scope.cancel()


async def test_a_holder_that_is_gone_stops_what_asks_and_what_waits() -> None:
    link = Link(nobody, 1, Begun(1))
    reasons: list[RetouchError] = []
    link.watch(list, lambda _lane, reason: reasons.append(reason), lambda: None)
    limiter = link.limiters[LANE] = SharedLimiter(link, LANE, Limits(concurrency=1))
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: link.run(task_status=anyio.TASK_STATUS_IGNORED))
        assert await limiter.permit(Stop()) is None
        await limiter.place()
    assert not link.may_send
    assert [reason.exit_code for reason in reasons] == [4]
