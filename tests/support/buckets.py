"""S3 servers that nobody here wrote, on loopback: SeaweedFS, and moto as the second opinion.

Each test takes a bucket of its own on a server that its module shares. `Broken` stands in front of
one and breaks every n-th request, in ways that real ones have.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from retouch.storage.bucket_access import BucketSettings
from retouch.storage.bucket_url import BucketURL
from retouch.storage.buckets import Bucket, Buckets

KEY, SECRET = "AKIATEST", "wJalr-canary-secret-0123456789"
OTHERS = {  # what they may do in the bucket that is shared among them
    "reader": ["Read:rights", "List:rights"],
    "writer": ["Write:rights"],
    "unlisting": ["Read:rights", "Write:rights"],
}
_UP_SECONDS = 60


@dataclass
class S3Server:
    """A running server; `endpoint` is its address."""

    endpoint: str
    start: Callable[[], None] = lambda: None
    stop: Callable[[], None] = lambda: None
    said: list[str] = field(default_factory=list)

    def environment(self, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
        """The variables by which AWS tools find it."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def buckets(self, key: str = KEY, secret: str = SECRET, *, patience: float = 5) -> Buckets:
        """Our own way to it."""
        return Buckets(
            (BucketSettings(),),
            self.environment(key, secret),
            Path("/nonexistent"),
            say=self.said.append,
            patience_seconds=patience,
        )

    def new_bucket(self, name: str | None = None) -> BucketURL:
        """An empty bucket."""
        name = name or f"b-{secrets.token_hex(6)}"
        client(self).create_bucket(Bucket=name)
        return BucketURL("s3", name)

    def at(self, url: BucketURL) -> Bucket:
        return self.buckets().at(url)

    def objects(self, url: BucketURL) -> dict[str, bytes]:
        """Every object below `url`, as boto3 reads it, by its name there."""
        s3 = client(self)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=url.bucket, Prefix=url.key)
        names = [each["Key"] for page in pages for each in page.get("Contents", ())]
        begin = len(url.key) + 1 if url.key else 0
        return {
            name[begin:]: s3.get_object(Bucket=url.bucket, Key=name)["Body"].read()
            for name in names
        }


def client(server: S3Server) -> Any:  # boto3 has no types of its own
    """boto3's, which is what most people have."""
    boto3 = import_module("boto3")  # slow, and of no use to most tests
    config = import_module("botocore.config").Config

    return boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=config(s3={"addressing_style": "path"}, retries={"max_attempts": 8}),
    )  # fmt: skip


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, all at once; below those that the system gives to whoever asks for
    any, so that no other server takes one before ours does."""
    taken: list[socket.socket] = []
    try:
        while len(taken) < count:
            with suppress(OSError):
                port = 20_000 + secrets.randbelow(12_000)
                taken.append(socket.create_server(("127.0.0.1", port)))
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()


@contextmanager
def seaweed() -> Iterator[S3Server]:
    """SeaweedFS in a process of its own, its data in memory where there is room for that."""
    memory = Path("/dev/shm")  # noqa: S108 - made unguessable below
    base = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="weed-", dir=base) as name:
        folder = Path(name)
        identities = [
            {"name": who, "credentials": [{"accessKey": key, "secretKey": secret}],
             "actions": actions}
            for who, key, secret, actions in (
                ("all", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
                *(
                    (who, f"AK{who.upper()}", f"secret-of-{who}", may)
                    for who, may in OTHERS.items()
                ),
            )
        ]  # fmt: skip
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        ports = free_ports(8)
        flags = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
                 "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc")  # fmt: skip
        words = [
            str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
            f"-s3.config={folder}/s3.json", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=2000",
            *(f"-{flag}={port}" for flag, port in zip(flags, ports, strict=True)),
        ]  # fmt: skip
        with _process(words, folder, f"http://127.0.0.1:{ports[6]}") as server:
            yield server


@contextmanager
def moto() -> Iterator[S3Server]:
    """moto's server in a process of its own."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="moto-") as name:
        words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with _process(words, Path(name), f"http://127.0.0.1:{port}") as server:
            yield server


@contextmanager
def moto_here() -> Iterator[S3Server]:
    """moto's server in a thread of this process: up within a second."""
    served: Any = import_module("moto.server")
    quiet: Any = import_module("werkzeug.serving").WSGIRequestHandler
    before, quiet.log_request = quiet.log_request, lambda *_: None
    server = served.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
        quiet.log_request = before


@contextmanager
def _process(words: list[str], folder: Path, endpoint: str) -> Iterator[S3Server]:
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        log = (folder / "log").open("ab")
        running.append(
            subprocess.Popen(
                words,
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},  # volumes a bucket
            )
        )
        log.close()
        _wait_for(endpoint, running[-1], folder / "log")

    def stop() -> None:
        process = running[-1]
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(30)

    server = S3Server(endpoint, start, stop)
    try:
        start()
        yield server
    finally:
        stop()


def _wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it keeps an object and gives it back: it lists its buckets earlier than that."""
    patience = time.monotonic() + _UP_SECONDS
    server = S3Server(endpoint)
    probe = {"Bucket": "is-up", "Key": "probe"}
    while True:
        try:
            s3 = client(server)
            if probe["Bucket"] not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
                s3.create_bucket(Bucket=probe["Bucket"])
            s3.put_object(**probe, Body=bytes(4096))
            s3.get_object(**probe)["Body"].read()
        except Exception:  # whatever it does while it begins
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < patience, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)
        else:
            return


Mishap = Callable[["_Forwarding"], bool]
"""What happens to a request: True where it was answered, so that it is not forwarded."""


@dataclass
class Broken:
    """A server behind a proxy. `mishap(handler)` may answer in its place."""

    server: S3Server
    mishap: Mishap
    every: int = 1
    asked: int = 0
    broken: int = 0
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_next_broken(self) -> bool:
        with self.lock:
            self.asked += 1
            return self.asked % self.every == 0


@contextmanager
def broken(
    behind: S3Server, mishap: Mishap, *, every: int = 1
) -> Iterator[tuple[S3Server, Broken]]:
    """A proxy in front of a server whose every n-th request has the mishap. The signature covers
    the proxy's own Host, which is kept."""
    state = Broken(behind, mishap, every)

    class Handler(_Forwarding):
        told = state

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{httpd.server_port}"), state
    finally:
        httpd.shutdown()
        httpd.server_close()


class _Forwarding(BaseHTTPRequestHandler):
    """Passes a request on as it came, Host and all."""

    protocol_version = "HTTP/1.1"
    told: Broken

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        self.told.paths.append(f"{self.command} {self.path}")
        if self.told.is_next_broken() and self.told.mishap(self):
            self.told.broken += 1
            return
        self.pass_on(self.forward())

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - the base's names

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server behind answers."""
        host = self.told.server.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.body or None)
        with connection.getresponse() as response:
            found = response.status, response.getheaders(), response.read()
        connection.close()
        return found

    def pass_on(self, answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
        status, headers, body = answer
        self.send_response_only(status)
        skipped = {"transfer-encoding", "content-length", "connection"}
        for name, value in headers:
            if name.lower() not in skipped:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        size = length if self.command == "HEAD" and length else str(len(body))
        self.send_header("content-length", size)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def refuse(self, status: int, code: str, more: str = "", **headers: str) -> bool:
        """Answer with S3's error document."""
        text = f"<Error><Code>{code}</Code><Message>a proxy's</Message>{more}</Error>"
        self.pass_on((status, [("content-type", "application/xml"), *headers.items()],
                      text.encode()))  # fmt: skip
        return True

    def log_message(self, *_arguments: object) -> None:
        pass


def slow_down(request: _Forwarding) -> bool:
    """Throttled."""
    return request.refuse(503, "SlowDown")


def lost_answer(request: _Forwarding) -> bool:
    """The server did it, and its answer never came."""
    request.forward()
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)
    return True


def no_conditions(status: int) -> Mishap:
    """A server that does not know If-None-Match: OSS answers 400 or 501."""

    def mishap(request: _Forwarding) -> bool:
        if "if-none-match" in request.headers or "if-match" in request.headers:
            return request.refuse(status, "NotImplemented", "<Header>If-None-Match</Header>")
        return False

    return mishap


def in_region(region: str, *, by: str) -> Mishap:
    """A bucket in another region than the requests are signed for, told `by` the body of a reply,
    or a header."""

    def mishap(request: _Forwarding) -> bool:
        scope = re.search(r"/\d{8}/([a-z0-9-]+)/s3/", request.headers.get("authorization", ""))
        if scope and scope[1] == region:
            return False
        if by == "header" or not scope:
            return request.refuse(301, "PermanentRedirect", **{"x-amz-bucket-region": region})
        return request.refuse(400, "AuthorizationHeaderMalformed", f"<Region>{region}</Region>")

    return mishap


def skewed(request: _Forwarding) -> bool:
    """This machine's clock is wrong, says the server."""
    return request.refuse(
        403, "RequestTimeTooSkewed", "<ServerTime>2020-01-01T00:00:00Z</ServerTime>"
    )
