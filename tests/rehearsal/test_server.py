"""The service behind a real socket: who may talk to it, what it survives, how it ends."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from retouch.cli import main
from tests.support.samples import HEADERS, edit_body, encoded, photo, uri
from tests.support.serving import Served, serving

EDITS = "/v1/images/edits"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """One server for all tests that only talk to it."""
    with serving("--max-body", "12", "--seconds-per-task", "0") as server:
        yield server


def test_an_edit_over_the_wire(served: Served) -> None:
    """As any client would do it; result links lead back to this server."""
    with httpx.Client(base_url=served.root, headers=HEADERS, timeout=60) as client:
        assert client.post(EDITS, json=edit_body("水彩")).status_code == 200
        image = uri(encoded(photo(300, 300)))
        body = {"model": "kling-v1", "image": image, "prompt": "水彩"}
        task = client.post("/v1/images/generations", json=body).json()["task_id"]
        url = client.get(f"/v1/images/tasks/{task}").json()["data"][0]["url"]
        assert url.startswith(f"{served.root}/files/")
        assert httpx.get(url, timeout=60).headers["content-type"] == "image/png"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_foreign_hosts_are_refused(served: Served, host: str) -> None:
    """A page that rebinds its name to loopback does not reach the service."""
    reply = httpx.get(f"{served.root}/_book", headers={"Host": host})
    assert reply.status_code in (400, 421)
    assert "charges" not in reply.text


def test_keys_that_look_real_are_refused(served: Served) -> None:
    """Nobody's real key should end up in a rehearsal."""
    reply = httpx.get(f"{served.root}/v1/models", headers={"Authorization": "Bearer sk-abc"})
    assert reply.status_code == 401
    assert "looks real" in reply.json()["error"]["message"]


def test_bodies_past_the_cap_get_a_413(served: Served) -> None:
    """Said by Content-Length or found while reading."""
    body = b"x" * (13 * MEGABYTE)
    said = _post_raw(served, body, f"Content-Length: {len(body)}")
    found = _post_raw(served, b"", "Transfer-Encoding: chunked", chunks=[body])
    assert said.startswith(b"HTTP/1.1 413")
    assert found.startswith(b"HTTP/1.1 413")


def _post_raw(served: Served, body: bytes, header: str, chunks: list[bytes] | None = None) -> bytes:
    """The reply's first bytes; a server that refuses early may stop reading."""
    host, _, port = served.root.removeprefix("http://").partition(":")
    head = (
        f"POST {EDITS} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer x\r\n{header}\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        try:
            connection.sendall(body)
            for chunk in chunks or ():
                connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        return connection.recv(100)


def post(served: Served, body: bytes) -> int:
    headers = {**HEADERS, "Content-Type": "application/json"}
    return httpx.post(served.root + EDITS, content=body, headers=headers, timeout=120).status_code


def test_many_large_bodies_at_once_stay_within_memory(served: Served) -> None:
    """64 clients of 10 MB each: every one is answered, and memory stays under 1 GB."""
    body = json.dumps({**edit_body(), "image": f"data:image/png;base64,{'x' * 10_000_000}"})
    with ThreadPoolExecutor(64) as pool:
        statuses = list(pool.map(post, [served] * 64, [body.encode()] * 64))
    assert set(statuses) <= {400, 503}
    assert statuses.count(400) >= 20
    assert served.peak_bytes() < 1000 * MEGABYTE


def large_body(prompt: str, pictures: int, **more: Any) -> bytes:
    """An edit of pictures with as many pixels as are taken, in few bytes."""
    large = {"image_url": uri(encoded(Image.new("L", (5000, 5000), 90), compress_level=1))}
    body = {"model": "gpt-image-1", "prompt": prompt, "images": [large] * pictures}
    return json.dumps({**body, **more}).encode()


def test_large_pictures_do_not_add_up_in_memory() -> None:
    """Decoded whole, these would take 900 MB: they are met one at a time and made small, and
    the one that is masked is put together in strips."""
    page = large_body("draw a comic", 4)
    clear = {"image_url": uri(encoded(Image.new("RGBA", (5000, 5000)), compress_level=1))}
    masked = large_body("brighter", 1, mask=clear, size="512x512")
    with serving() as server, ThreadPoolExecutor(3) as pool:
        before = server.peak_bytes()
        assert list(pool.map(post, [server] * 3, [page, masked, page])) == [200] * 3
        assert server.peak_bytes() - before < 450 * MEGABYTE


def test_faults_that_need_a_socket(tmp_path: Path) -> None:
    """Resets before and after the charge, and a body that ends too early."""
    faults = [
        {"kind": "reset_early", "times": 1}, {"kind": "reset_before", "model": "gpt-image-1"},
        {"kind": "reset_after", "model": "gpt-image-2"},
        {"kind": "truncated", "model": "openai/gpt-image-2"},
    ]  # fmt: skip
    (tmp_path / "faults.yaml").write_text(json.dumps(faults), encoding="utf-8")
    book = tmp_path / "book.jsonl"
    with (
        serving("--faults", str(tmp_path / "faults.yaml"), "--book", str(book)) as server,
        httpx.Client(base_url=server.root, headers=HEADERS, timeout=60) as client,
    ):
        for model, charges in (("gpt-image-1", 0), ("gpt-image-1", 0), ("gpt-image-2", 1)):
            with pytest.raises((httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
                client.post(EDITS, json=edit_body(model=model))
            assert client.get("/_book").json()["totals"]["charges"] == charges
        with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without"):
            client.post(EDITS, json=edit_body(model="openai/gpt-image-2"))
        charges = client.get("/_book").json()["charges"]
        assert client.post(EDITS, json=edit_body()).status_code == 200
        assert server.stop() == 0
    lines = [json.loads(line) for line in book.read_text(encoding="utf-8").splitlines()]
    assert [line["model"] for line in lines][:2] == ["gpt-image-2", "openai/gpt-image-2"]
    assert lines[:2] == charges


def test_a_signal_is_a_clean_end_and_the_book_goes_on(tmp_path: Path) -> None:
    """Exit 0 on SIGINT; a book opened again holds what it held; the rate limit is enforced."""
    book = str(tmp_path / "book.jsonl")
    with serving("--book", book, "--requests-per-minute", "1") as server:
        assert httpx.post(
            server.root + EDITS, json=edit_body(), headers=HEADERS, timeout=60
        ).is_success
        limited = httpx.post(server.root + EDITS, json=edit_body(), headers=HEADERS)
        assert limited.status_code == 429
        assert 1 <= int(limited.headers["retry-after"]) <= 60
        assert server.stop(signal.SIGINT) == 0
    with serving("--book", book) as server:
        assert httpx.get(f"{server.root}/_book").json()["totals"]["charges"] == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--host", "0.0.0.0"], 2, "--yes-expose"),  # noqa: S104  what is refused
        (["--port", "99999"], 2, "65535"), (["--map", "nonsense"], 2, "https://host"),
        (["--map", "https://a.example=/nowhere/at/all"], 2, "no /nowhere"),
        (["--faults", "/nowhere.yaml"], 2, "nowhere"), (["--key", "sk-real"], 2, "real"),
        (["--requests-per-minute", "0"], 2, "at least 1"), (["--max-body", "0"], 2, "at least 1"),
        (["--seconds-per-task", "-1"], 2, "negative"), (["--book", "/nowhere/book"], 4, "nowhere"),
    ],
)  # fmt: skip
def test_wrong_flags_are_said(
    flags: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, no traceback, nothing served."""
    assert main(["serve", "--port", "0", *flags]) == code
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 with the reason."""
    assert main(["serve", "--port", served.root.rpartition(":")[2]]) == 4
    assert "in use" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """The plan, a step a line; as JSON for programs."""
    assert main(["explain", "把猫改成白色,给它戴帽子"]) == 0
    assert capsys.readouterr().out == (
        '1. recolour(subject, white)\nwarning: not understood: "给它戴帽子"\n'
    )
    assert main(["explain", "--json", "--images", "2", "画一个漫画"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["steps"][0]["operation"] == "comic"
