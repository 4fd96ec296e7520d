"""Buckets on servers that nobody here wrote: what is put is there; refusals are told apart."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from retouch.errors import Refused
from retouch.storage.bucket_access import BucketSettings, access_to
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import (
    BucketURL,
    UnfitAddress,
    bucket_url,
    checked_endpoint,
)
from retouch.storage.buckets import Buckets
from tests.support.buckets import (
    KEY,
    SECRET,
    S3Server,
    broken,
    in_region,
    lost_answer,
    no_conditions,
    skewed,
    slow_down,
)

DATA, OTHER = b"a picture's bytes" * 100, b"others, as many...." * 100


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(server: S3Server, url: BucketURL, data: bytes = DATA) -> str:
    return server.at(url).put_new(url, data, digest(data), "image/png")


def fault_of(call: Callable[[], object]) -> BucketFault:
    with pytest.raises(BucketFault) as refused:
        call()
    assert SECRET not in f"{refused.value.message} {refused.value.hint}"
    return refused.value


def test_a_create_never_writes_over(any_s3: S3Server) -> None:
    """New, the same, other: by the bytes; what stands there stays, with its kind and digest."""
    url = any_s3.new_bucket() / "a/é 1#?.png"
    assert [put(any_s3, url), put(any_s3, url), put(any_s3, url, OTHER)] == ["new", "same", "other"]
    assert any_s3.objects(BucketURL("s3", url.bucket)) == {"a/é 1#?.png": DATA}
    data, stat = any_s3.at(url).get(url, 10**6)
    assert (data, stat.sha256, stat.size) == (DATA, digest(DATA), len(DATA))


def test_creates_from_an_event_loop_are_the_same(any_s3: S3Server) -> None:
    """64 at once, twice: each is new once, and the same the second time."""
    folder, bucket = any_s3.new_bucket(), None
    bucket = any_s3.at(folder)

    async def all_of_them() -> list[str]:
        puts = (
            bucket.put_new_soon(folder / f"{n}.png", DATA, digest(DATA), "image/png")
            for n in range(64)
        )
        return await asyncio.gather(*puts)

    assert asyncio.run(all_of_them()) == ["new"] * 64
    assert asyncio.run(all_of_them()) == ["same"] * 64
    assert bucket.traffic.put_bytes == 64 * len(DATA)


def test_a_foreign_object_is_compared_by_its_bytes(any_s3: S3Server) -> None:
    """What another tool put, without our digest, is the same if its bytes are."""
    from tests.support.buckets import client  # noqa: PLC0415 - here alone

    folder = any_s3.new_bucket()
    client(any_s3).put_object(Bucket=folder.bucket, Key="x.png", Body=DATA)
    assert put(any_s3, folder / "x.png") == "same"
    client(any_s3).put_object(Bucket=folder.bucket, Key="y.png", Body=OTHER[: len(DATA)])
    assert put(any_s3, folder / "y.png") == "other"


def test_an_empty_object_under_a_pictures_name_is_another(any_s3: S3Server) -> None:
    """What an upload that was broken off may leave: told as other bytes, and kept."""
    folder = any_s3.new_bucket()
    assert put(any_s3, folder / "x.png", b"") == "new"
    assert put(any_s3, folder / "x.png") == "other"
    assert put(any_s3, folder / "x.png", b"") == "same"
    assert any_s3.objects(folder) == {"x.png": b""}


def test_listing_reading_in_part_and_what_is_not_there(s3: S3Server) -> None:
    """1,100 names over two pages; a beginning; nothing where there is nothing."""
    folder = s3.new_bucket()
    bucket = s3.at(folder)

    async def fill() -> None:
        await asyncio.gather(
            *(bucket.put_new_soon(folder / f"p/{n:04}", b"x", digest(b"x"), "text/plain")
              for n in range(1100))
        )  # fmt: skip

    asyncio.run(fill())
    assert sorted(each.url.key for each in bucket.list(folder / "p")) == [
        f"p/{n:04}" for n in range(1100)
    ]
    assert put(s3, folder / "whole.png") == "new"
    assert bucket.begin_of(folder / "whole.png", 10)[0] == DATA[:10]
    assert bucket.stat(folder / "none.png") is None
    assert fault_of(lambda: bucket.get(folder / "none.png", 10)).why == "missing"


def test_a_lease_like_object_is_written_over_only_as_it_was_read(any_s3: S3Server) -> None:
    """Nothing, then this version; not over what another wrote since."""
    url = any_s3.new_bucket() / "lease"
    bucket = any_s3.at(url)
    first = bucket.put_over(url, b"0", "text/plain", etag="")
    assert fault_of(lambda: bucket.put_over(url, b"1", "text/plain", etag="")).why == "exists"
    bucket.put_over(url, b"2", "text/plain", etag=first)
    stale = fault_of(lambda: bucket.put_over(url, b"3", "text/plain", etag=first))
    assert stale.why == "changed"
    assert bucket.get(url, 10)[0] == b"2"


@pytest.mark.parametrize(
    ("who", "action", "right"),
    [("writer", "list", "s3:ListBucket"), ("writer", "get", "s3:GetObject"),
     ("reader", "put", "s3:PutObject"), ("unlisting", "list", "s3:ListBucket")],
)  # fmt: skip
def test_rights_are_told_apart_with_the_actions_name(
    s3: S3Server, who: str, action: str, right: str
) -> None:
    """What these credentials may not do is named as a policy names it."""
    folder = BucketURL("s3", "rights")
    if not any(each["Name"] == "rights" for each in _buckets_of(s3)):
        s3.new_bucket("rights")
        put(s3, folder / "there.png")
    bucket = s3.buckets(f"AK{who.upper()}", f"secret-of-{who}").at(folder)
    fault = fault_of(
        {
            "list": lambda: list(bucket.list(folder)),
            "get": lambda: bucket.get(folder / "there.png", 10**6),
            "put": lambda: bucket.put_new(folder / "new.png", DATA, digest(DATA), "image/png"),
        }[action]
    )
    assert (fault.why, fault.action) == ("denied", action)
    assert right in fault.message
    assert right in fault.hint


def _buckets_of(s3: S3Server) -> list[dict[str, str]]:
    from tests.support.buckets import client  # noqa: PLC0415 - here alone

    return list(client(s3).list_buckets()["Buckets"])


@pytest.mark.parametrize("action", ["list", "stat", "get", "put"])
def test_a_missing_bucket_and_wrong_keys_are_not_missing_objects(s3: S3Server, action: str) -> None:
    """Also where the reply has no body (HEAD)."""
    for bucket, url, why in (
        (s3.buckets(), BucketURL("s3", "no-such-bucket"), "bucket"),
        (s3.buckets(secret="wrong"), s3.new_bucket(), "credentials"),
        (s3.buckets(key="AKNOBODY"), s3.new_bucket(), "credentials"),
    ):
        at = bucket.at(url)
        fault = fault_of(
            {
                "list": lambda at=at, url=url: list(at.list(url)),
                "stat": lambda at=at, url=url: at.stat(url / "x"),
                "get": lambda at=at, url=url: at.get(url / "x", 10),
                "put": lambda at=at, url=url: at.put_new(url / "x", DATA, digest(DATA), "a/b"),
            }[action]
        )
        assert fault.why == why
        if why == "bucket":
            assert "Kodo" in fault.hint


def test_a_server_that_is_not_there_may_come_back(s3: S3Server) -> None:
    """No answer is told as such, and is not for good."""
    url = s3.new_bucket() / "x.png"
    gone = S3Server("http://127.0.0.1:1")
    fault = fault_of(lambda: gone.buckets(patience=0.5).at(url).get(url, 10))
    assert (fault.why, fault.may_pass) == ("unreachable", True)


def test_throttling_is_waited_out(s3: S3Server) -> None:
    """Every second request is asked to slow down: all is there in the end."""
    folder = s3.new_bucket()
    with broken(s3, slow_down, every=2) as (front, state):
        assert [put(front, folder / f"{n}.png") for n in range(6)] == ["new"] * 6
    assert state.broken >= 5
    assert len(s3.objects(folder)) == 6
    with broken(s3, slow_down) as (front, _):
        bucket = front.buckets(patience=0.5).at(folder)
        fault = fault_of(lambda: bucket.put_new(folder / "7.png", DATA, digest(DATA), "a/b"))
    assert (fault.why, fault.may_pass) == ("throttled", True)


def test_a_create_whose_answer_was_lost_is_known_again(s3: S3Server) -> None:
    """The bytes are there: the same, not another's; and other bytes are not called ours."""
    folder = s3.new_bucket()
    with broken(s3, lost_answer, every=2) as (front, state):
        assert {put(front, folder / f"{n}.png") for n in range(4)} <= {"new", "same"}
        assert put(front, folder / "0.png", OTHER) == "other"
    assert state.broken
    assert s3.objects(folder) == {f"{n}.png": DATA for n in range(4)}


@pytest.mark.parametrize("status", [400, 501])
def test_without_if_none_match_what_is_there_is_looked_for_first(s3: S3Server, status: int) -> None:
    """As with OSS; what that does not promise is said, once."""
    folder = s3.new_bucket()
    with broken(s3, no_conditions(status)) as (front, _):
        bucket = front.at(folder)
        found = [
            bucket.put_new(folder / "1.png", data, digest(data), "image/png")
            for data in (DATA, DATA, OTHER)
        ]
    assert found == ["new", "same", "other"]
    assert s3.objects(folder) == {"1.png": DATA}
    assert len(front.said) == 1
    assert "at once" in front.said[0]


@pytest.mark.parametrize("by", ["body", "header"])
def test_a_bucket_in_another_region_is_asked_there_once(s3: S3Server, by: str) -> None:
    """And that is said, with what to write."""
    folder = s3.new_bucket()
    with broken(s3, in_region("cn-east-1", by=by)) as (front, state):
        bucket = front.at(folder)
        assert bucket.put_new(folder / "1.png", DATA, digest(DATA), "image/png") == "new"
        assert [each.url.key for each in bucket.list(folder)] == ["1.png"]
    assert len(front.said) == 1
    assert "region: cn-east-1" in front.said[0]
    assert state.broken <= 2


def test_a_region_that_leads_nowhere_is_told(s3: S3Server) -> None:
    """The store names a region that it then refuses too: no loop."""
    folder = s3.new_bucket()
    with broken(s3, lambda request: request.refuse(301, "PermanentRedirect")) as (front, state):
        assert fault_of(lambda: front.at(folder).get(folder / "x", 10)).why == "region"
    assert state.asked < 6


def test_a_wrong_clock_is_told_with_how_wrong_it_is(s3: S3Server) -> None:
    """By the server's own time."""
    folder = s3.new_bucket()
    with broken(s3, skewed) as (front, _):
        fault = fault_of(lambda: front.at(folder).get(folder / "x", 10))
    assert fault.why == "clock"
    assert "min fast" in fault.message


def test_a_bucket_that_wants_its_name_in_the_host_is_told_how(s3: S3Server) -> None:
    """As OSS says it."""
    folder = s3.new_bucket()
    with broken(s3, lambda one: one.refuse(403, "SecondLevelDomainForbidden")) as (front, _):
        fault = fault_of(lambda: list(front.at(folder).list(folder)))
    assert "style: host" in fault.hint


def test_this_machine_is_asked_past_proxies(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment never sees what goes to loopback; the environment stays."""
    url = s3.new_bucket() / "x.png"
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert put(s3, url) == "new"
    assert "NO_PROXY" not in os.environ


def test_folders_are_buckets_too(tmp_path: Path) -> None:
    """`file://`, for nothing."""
    url = bucket_url(f"file://{tmp_path}/mirror") / "a b/x.png"
    bucket = Buckets().at(url)
    found = [bucket.put_new(url, data, digest(data), "image/png") for data in (DATA, DATA, OTHER)]
    assert found == ["new", "same", "other"]
    assert (tmp_path / "mirror/a b/x.png").read_bytes() == DATA


# --- How a bucket is reached ---------------------------------------------------------------

PROFILES = """
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = secret-default
[kodo]
aws_access_key_id = AKKODO
aws_secret_access_key = secret-kodo
"""
CONFIG = """
[profile kodo]
region = cn-east-1
services = kodo
s3 =
  addressing_style = virtual
[services kodo]
s3 =
  endpoint_url = https://s3.cn-east-1.qiniucs.com
[profile sso]
sso_session = corp
[profile tool]
credential_process = cat {answer}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(PROFILES)
    answer = {"Version": 1, "AccessKeyId": "AKTOOL", "SecretAccessKey": "secret-tool",
              "Expiration": "2030-01-01T00:00:00Z"}  # fmt: skip
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    (tmp_path / ".aws/config").write_text(CONFIG.format(answer=tmp_path / "answer.json"))
    return tmp_path


def test_credentials_are_read_as_aws_tools_read_them(home: Path) -> None:
    """The environment first, then the profile; its services' endpoint, its style."""
    mine = {"AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    of_environment = access_to("b", (), mine, home)
    assert of_environment.credentials is not None
    assert (of_environment.credentials.key_id, of_environment.credentials.token) == ("AKENV", "t")
    assert access_to("b", (), {}, home).credentials.key_id == "AKDEFAULT"  # type: ignore[union-attr]
    kodo = access_to("b", (), {"AWS_PROFILE": "kodo"}, home)
    assert kodo.credentials is not None
    assert (kodo.endpoint, kodo.region, kodo.in_host, kodo.credentials.key_id) == (
        "https://s3.cn-east-1.qiniucs.com", "cn-east-1", True, "AKKODO",
    )  # fmt: skip
    tool = access_to("b", (), {"AWS_PROFILE": "tool"}, home)
    assert tool.credentials is not None
    assert tool.credentials.ends is not None
    assert "secret" not in repr(kodo)


def test_what_the_manifest_says_wins(home: Path) -> None:
    """One entry for all, one for a bucket; the region is the endpoint's where nobody says."""
    settings = (
        BucketSettings("https://s3.cn-south-1.qiniucs.com"),
        BucketSettings("https://oss-cn-hangzhou.aliyuncs.com", bucket="other"),
    )
    environment = {"AWS_ENDPOINT_URL": "https://minio.example.com"}
    one = access_to("b", settings, environment, home)
    other = access_to("other", settings, environment, home)
    assert (one.endpoint, one.region, one.in_host) == (
        "https://s3.cn-south-1.qiniucs.com", "cn-south-1", False,
    )  # fmt: skip
    assert (other.region, other.in_host) == ("cn-hangzhou", True)
    s3_alone = {"AWS_ENDPOINT_URL": "https://a.example", "AWS_ENDPOINT_URL_S3": "https://b.example"}
    assert access_to("b", (), s3_alone, home).endpoint == "https://b.example"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_PROFILE": "sso"}, "export-credentials"),
        ({"AWS_ACCESS_KEY_ID": "AK"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "a\nb"}, "secret holds"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"},
         "no credentials"),
        ({"AWS_ENDPOINT_URL": "http://minio.example.com"}, "not encrypted"),
        ({"AWS_ENDPOINT_URL": "https://me:pass@minio.example.com"}, "holds credentials"),
        ({"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "a\nb"},
         "session token holds"),
        *[({"AWS_ENDPOINT_URL": f"https://{host}/x"}, "names no host")
          for host in ("a b", "a..b", "a<b", "猫.example", "a" * 64 + ".example")],
        *[({"AWS_REGION": region, "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "x"},
           "the region for buckets") for region in ("cn east", "a/b", "ü", "a..b", 'x"y', "-")],
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_and_never_shown(
    home: Path, environment: dict[str, str], said: str
) -> None:
    """A variable or a file, and what to do."""
    with pytest.raises(Refused) as refused:
        access_to("b", (), environment, home)
    told = f"{refused.value.message} {refused.value.hint}"
    assert said in told
    assert "a\nb" not in told
    assert "pass@" not in told


@pytest.mark.parametrize(
    "text",
    ["s3://", "s3:///x", "s3://AK:SECRET@b/x", "s3://b/a//b", "s3://b/../c", "s3://b/\x01", "ftp://b",
     "file://x/y", "file:///", f"s3://b/{'k' * 1025}", "s3://b:9000/x"],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(text: str) -> None:
    """Before anything is opened; credentials in one are not repeated."""
    with pytest.raises(UnfitAddress) as refused:
        bucket_url(text)
    assert "SECRET" not in f"{refused.value.what} {refused.value.remedy}"


def test_http_is_for_this_machine_alone() -> None:
    """localhost, 127.0.0.1 and ::1; nothing else."""
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        assert checked_endpoint(f"http://{host}") == f"http://{host}"
    for host in ("192.168.1.2", "minio", "127.0.0.1.example.com"):
        with pytest.raises(Refused, match="not encrypted"):
            checked_endpoint(f"http://{host}")


def test_a_missing_library_is_told_with_the_line_to_type(s3: S3Server) -> None:
    """In a process in which it cannot be imported."""
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from retouch.errors import Refused\n"
        "from retouch.storage.buckets import Buckets\n"
        "from retouch.storage.bucket_url import bucket_url\n"
        "try: Buckets().at(bucket_url('s3://bkt/x'))\n"
        "except Refused as error: print(error.message, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "make setup EXTRAS=storage" in done.stdout
    assert "not installed" in done.stdout
    assert KEY not in done.stdout
