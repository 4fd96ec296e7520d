"""A service opened again on its folder: tasks accepted before are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rehearsal.conftest import ONE, House
from tests.support.samples import uri

pytestmark = pytest.mark.anyio


async def test_a_task_outlives_the_service(house: House, tmp_path: Path) -> None:
    """Accepted by one service, polled and fetched from the next; another folder knows nothing."""
    folder = tmp_path / "kept"
    folder.mkdir()
    order = {"model": "kling-v2", "prompt": "make it blue", "image": uri(ONE)}
    async with house.client(folder=folder) as first:
        task = (await first.post("/v1/images/generations", json=order)).json()["task_id"]
        same = (await first.post("/v1/images/generations", json=order)).json()["task_id"]
    house.now += 60
    async with house.client(folder=folder) as second:
        polled = (await second.get(f"/v1/images/tasks/{task}")).json()
        assert polled["status"] == "succeed"
        picture = await second.get(polled["data"][0]["url"])
        assert picture.status_code == 200
        other = (await second.post("/v1/images/generations", json=order)).json()["task_id"]
        assert other not in (task, same)
    async with house.client() as stranger:
        assert (await stranger.get(f"/v1/images/tasks/{task}")).status_code == 404
    assert len([path for path in folder.iterdir() if path.suffix != ".json"]) == 1
