"""Caps and limits of the house, on asyncio and trio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from retouch_rehearsal.traffic import Caps
from tests.rehearsal.conftest import House
from tests.support.samples import HEADERS, edit_body

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]
EDITS = "/v1/images/edits"


async def test_no_room_for_another_body(house: House) -> None:
    """While one body fills the house, another waits, then gets an honest 503."""
    started, go_on = anyio.Event(), anyio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"model"'
        started.set()
        await go_on.wait()
        yield b": 1}"

    caps = Caps(body=1000, bodies=1000, wait=0.05)
    statuses: list[int] = []
    async with house.client(caps=caps) as client, anyio.create_task_group() as group:

        async def first() -> None:
            headers = {"Content-Type": "application/json"}
            reply = await client.post(EDITS, content=slowly(), headers=headers)
            statuses.append(reply.status_code)

        group.start_soon(first)
        await started.wait()
        refused = await client.post(EDITS, json={})
        go_on.set()
    assert refused.status_code == 503
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert refused.headers["retry-after"] == "5"
    assert statuses == [400]


async def test_bodies_wait_for_room(house: House) -> None:
    """Ten at once through a house with room for one all get in."""
    caps = Caps(body=4_000_000, bodies=50_000)
    replies: list[httpx.Response] = []
    async with house.client(caps=caps) as client, anyio.create_task_group() as group:

        async def post() -> None:
            replies.append(await client.post(EDITS, json={**edit_body(), "n": 0}))

        for _ in range(10):
            group.start_soon(post)
    assert [reply.status_code for reply in replies] == [400] * 10


async def test_a_body_that_does_not_come(house: House) -> None:
    """A 408 after the time a body may take."""

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    async with house.client(caps=Caps(send=0.05)) as client:
        headers = {"Content-Type": "application/json"}
        reply = await client.post(EDITS, content=never(), headers=headers)
    assert reply.status_code == 408


async def test_the_minute_limit_slides(house: House) -> None:
    """Two a minute and key: the third waits for the first to be a minute old; polls are free."""
    async with house.client(requests_per_minute=2) as client:
        statuses = []
        for step in (0, 10, 10, 41, 1):
            house.now += step
            reply = await client.post(EDITS, json={})
            statuses.append((reply.status_code, reply.headers.get("retry-after")))
        other = await client.post(EDITS, json={}, headers={"Authorization": "Bearer other"})
        assert (await client.get("/v1/models", headers=HEADERS)).status_code == 200
    assert statuses == [(400, None), (400, None), (429, "40"), (400, None), (429, "8")]
    assert other.status_code == 400
