"""Servers that a module's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.buckets import S3Server, moto, seaweed


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """SeaweedFS."""
    with seaweed() as server:
        yield server


@pytest.fixture(scope="module", params=[seaweed, moto], ids=["seaweedfs", "moto"])
def any_s3(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """Each server in turn."""
    with request.param() as server:
        yield server
