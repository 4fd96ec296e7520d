"""Who is told of a notice: a URL, of which no message shows more than the host, and a command:
late, it and its children are gone, and the run goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from retouch.engine.hooks import CommandHook, URLHook
from retouch.engine.notices import Notice
from tests.support.raw_server import Peer, Server, serving


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_late_command_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that waits for a child of its own: neither is left behind."""
    monkeypatch.setattr("retouch.engine.hooks.NOTICE_SECONDS", 2.0)
    kept = tmp_path / "pids"
    hook = CommandHook(("sh", "-c", f"sleep 30 & echo $! $$ > {kept}; wait"), dict(os.environ))
    begin = time.monotonic()
    problem = anyio.run(hook, Notice(b"{}", "cats: 80 %"))
    assert problem == "sh did not end within 2 s and was killed"
    assert time.monotonic() - begin < 25
    pids = [int(word) for word in kept.read_text().split()]
    patience = time.monotonic() + 3
    while any(map(_is_alive, pids)) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not any(map(_is_alive, pids))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_command_need_not_read_what_it_is_told(size: int, backend: str) -> None:
    """It closes its stdin at once: no broken pipe reaches the run."""
    hook = CommandHook(("sh", "-c", "exec <&-; exit 0"), dict(os.environ))
    assert anyio.run(hook, Notice(b"x" * size, "a line"), backend=backend) is None


def test_a_command_that_is_broken_off_is_gone(tmp_path: Path) -> None:
    """A run that is cancelled: it and its children, at once."""
    kept = tmp_path / "pids"
    hook = CommandHook(("sh", "-c", f"sleep 30 & echo $! $$ > {kept}; wait"), dict(os.environ))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hook, Notice(b"{}", "a line"))
            with anyio.fail_after(20):
                while not (kept.exists() and kept.read_text().endswith("\n")):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    begin = time.monotonic()
    anyio.run(main)
    assert time.monotonic() - begin < 25
    pids = [int(word) for word in kept.read_text().split()]
    patience = time.monotonic() + 3
    while any(map(_is_alive, pids)) and time.monotonic() < patience:
        time.sleep(0.02)
    assert not any(map(_is_alive, pids))


def test_a_command_with_a_nul_byte_is_said() -> None:
    """What no program can be given is told, not raised."""
    problem = anyio.run(CommandHook(("sh", "\0"), {}), Notice(b"{}", "a line"))
    assert problem is not None
    assert "cannot be started" in problem


# --- Commands ------------------------------------------------------------------------------------


def test_a_command_is_told_the_document_and_the_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By standard input and by RETOUCH_TEXT, besides the environment it is given; in a session of
    its own, its output nowhere."""
    kept, line = tmp_path / "kept", tmp_path / "line"
    script = (
        f'cat > {kept}; printf \'%s|%s|%s\' "$RETOUCH_TEXT" "$MINE" "$RETOUCH_OTHER" > {line}; '
        f"ps -o sid= -p $$ >> {line}; echo loud; echo louder >&2"
    )
    environment = {"PATH": os.environ["PATH"], "MINE": "given", "RETOUCH_TEXT": "old"}
    document = b'{"text":"' + b"x" * 200_000 + b'"}'
    hook = CommandHook(("sh", "-c", script), environment)
    assert anyio.run(hook, Notice(document, "cats: 80 %; $HOME")) is None
    assert kept.read_bytes() == document
    assert capfd.readouterr() == ("", "")
    told, session = line.read_text().rsplit("|", 1)
    assert told == "cats: 80 %; $HOME|given"
    assert int(session) not in (0, os.getsid(0))


@pytest.mark.parametrize("code", [1, 7])
def test_a_command_that_ends_badly_is_said(code: int) -> None:
    problem = anyio.run(CommandHook(("sh", "-c", f"exit {code}"), dict(os.environ)), NOTICE)
    assert problem == f"sh ended with {code}"


def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    name = str(tmp_path / "none")
    problem = anyio.run(CommandHook((name, "x"), {}), NOTICE)
    assert problem is not None
    assert problem.startswith(f"{name} cannot be started: ")
    assert "No such file" in problem


def test_what_a_hook_is_given_stands_in_no_repr() -> None:
    """A URL and an environment may be secrets."""
    assert "s3cr3t" not in repr(CommandHook(("sh",), {"TOKEN": "s3cr3t"}))
    assert "s3cr3t" not in repr(URLHook("http://h/s3cr3t"))


# --- URLs ----------------------------------------------------------------------------------------

NOTICE = Notice(b'{"event":"end","text":"cats: finished"}', "cats: finished")


def posted(script: Callable[[Peer], None], **more: bool) -> tuple[str | None, Server]:
    with serving(script) as server:
        url = f"{server.url}/services/T0/s3cr3t?token=t0k3n"
        return anyio.run(URLHook(url, **more), NOTICE), server


def answering(status: str, headers: str = "") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(status=status, headers=headers)

    return script


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
def test_a_url_is_posted_the_document(status: str) -> None:
    """As it is, once, to the whole address."""
    problem, server = posted(answering(status))
    assert problem is None
    [heard] = server.book
    assert heard.head.splitlines()[0] == "POST /services/T0/s3cr3t?token=t0k3n HTTP/1.1"
    assert heard.header("content-type") == "application/json; charset=utf-8"
    assert json.loads(heard.body) == {"event": "end", "text": "cats: finished"}


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        ("500 Oh", "", "127.0.0.1: HTTP 500"),
        ("404 No", "", "127.0.0.1: HTTP 404"),
        ("302 Found", "Location: http://127.0.0.1:1/x\r\n", "127.0.0.1: HTTP 302"),
    ],
)
def test_a_url_that_refuses_is_said_by_its_host_alone(status: str, headers: str, said: str) -> None:
    """Not tried again, and no redirect is followed."""
    problem, server = posted(answering(status, headers))
    assert problem == said
    assert len(server.book) == 1


def test_a_url_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there; or nothing within the time for a notice."""
    problem = anyio.run(URLHook("http://127.0.0.1:1/s3cr3t?token=t0k3n"), NOTICE)
    assert problem is not None
    assert problem.startswith("127.0.0.1: ")
    assert "s3cr3t" not in problem
    monkeypatch.setattr("retouch.engine.hooks.NOTICE_SECONDS", 0.2)

    def silent(peer: Peer) -> None:
        peer.read_request()
        peer.wait_for_the_end()

    assert posted(silent)[0] == "127.0.0.1: no answer within 0.2 s"


def test_a_message_that_repeats_the_url_shows_its_host_alone() -> None:
    """As that of an address that is none."""
    url = "ftp://h.example/s3cr3t"
    problem = anyio.run(URLHook(url), NOTICE)
    assert problem is not None
    assert problem.startswith("h.example: ")
    assert "s3cr3t" not in problem


def test_a_proxy_is_used_only_where_the_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is posted past it reaches the server; through it, the proxy sees it."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(answering("502 Bad Gateway")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert posted(answering("200 OK"))[0] is None
        assert proxy.book == []
        problem, server = posted(answering("200 OK"), trust_env=True)
        assert problem == "127.0.0.1: HTTP 502"
        assert server.book == []
        assert len(proxy.book) == 1
