"""The lease on a mirror: one holder, whoever asks and when."""

from __future__ import annotations

import threading
import time

import pytest

from retouch.errors import Refused
from retouch.storage import bucket_lease
from retouch.storage.bucket_lease import BucketLease
from retouch.storage.bucket_url import BucketURL
from tests.support.buckets import S3Server, broken, no_conditions


def lease(server: S3Server, url: BucketURL, token: str) -> BucketLease:
    return BucketLease(server.at(url), url, token)


def test_held_then_released(any_s3: S3Server) -> None:
    """The second is refused and told who; released it is free; its folder knows its own."""
    url = any_s3.new_bucket() / "lease/x.json"
    mine = lease(any_s3, url, "mine")
    assert mine.take().left_by is None
    with pytest.raises(Refused, match="another run goes on from this mirror"):
        lease(any_s3, url, "theirs").take()
    assert lease(any_s3, url, "mine").take().left_by is None  # the same folder, after a crash
    mine = lease(any_s3, url, "mine")
    mine.take()
    assert mine.renew() is None
    mine.release()
    assert lease(any_s3, url, "theirs").take().left_by is None
    assert mine.renew() is not None


@pytest.mark.parametrize("conditions", [True, False], ids=["if-match", "without"])
def test_of_many_at_once_one_has_it(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, *, conditions: bool
) -> None:
    """Also where the store compares and writes in two steps, or does not compare at all."""
    monkeypatch.setattr(bucket_lease, "SETTLE_SECONDS", 0.4)
    with broken(s3, no_conditions(501), every=10**9 if conditions else 1) as (front, _):
        url = front.new_bucket() / "lease.json"
        first = lease(front, url, "first")
        first.take()
        first.release()
        taken: list[int] = []

        def take(number: int) -> None:
            try:
                lease(front, url, f"{number}").take()
                taken.append(number)
            except Refused:
                pass

        threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(taken) == 1


def test_one_that_is_renewed_no_more_was_left(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the store's clock; whoever comes learns who left it."""
    monkeypatch.setattr(bucket_lease, "STALE_SECONDS", 1.5)
    url = s3.new_bucket() / "lease.json"
    dead = lease(s3, url, "dead")
    dead.take()
    time.sleep(3)
    found = lease(s3, url, "next").take()
    assert found.left_by is not None
    assert found.left_by.token == "dead"
    lost_to = dead.renew()
    assert lost_to is not None
    assert lost_to.token == "next"


def test_a_foreign_object_in_its_place_is_refused(s3: S3Server) -> None:
    """Nothing is written over it."""
    url = s3.new_bucket() / "lease.json"
    s3.at(url).put_over(url, b"something", "text/plain")
    with pytest.raises(Refused, match="is no lease"):
        lease(s3, url, "mine").take()
    assert s3.objects(BucketURL("s3", url.bucket))["lease.json"] == b"something"
