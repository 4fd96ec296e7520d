"""`run.notify` by real processes: one POST over a real socket, one command without a shell."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.house import CANARY, House, house
from tests.support.raw_server import Peer, serving

MODEL = """\
  - model: kling-v2
    poll: {interval: 0.1}
    limits: {concurrency: 1}
    price: {currency: CNY, per_image: 0.20}"""


def _manifest(place: House, notify: str, total: str = "0.9") -> None:
    place.manifest(MODEL, run=f"{{budget: {{total: {total}, currency: CNY}}, notify: {notify}}}")


def test_each_notice_is_one_post_and_a_resumed_run_repeats_none(tmp_path: Path) -> None:
    """80 %, 100 % and the end of a run that meets its budget; then only the next one's end."""

    def taking(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"no such webhook reads this", status="204 No Content")

    with house(tmp_path) as place, serving(taking) as hook:
        place.pictures(6)
        _manifest(place, f"{{url: '{hook.url}/services/T0/B0/s3cr3t?token=abc'}}")
        assert place.retouch("run", "--no-report").returncode == 6
        heard = [json.loads(each.body) for each in hook.book]
        assert [each["at"] for each in heard] == ["80%", "100%", "end"]
        assert [each.head.split(" ")[0] for each in hook.book] == ["POST"] * 3
        assert heard[0]["budget"] == {
            "name": "the budget in total", "model": None, "day": None, "currency": "CNY",
            "limit": "0.900000", "counted": "0.800000", "left": "0.100000",
        }  # fmt: skip
        assert (heard[2]["outcome"], heard[2]["exit_code"], heard[2]["counts"]) == (
            "stopped", 6, {"done": 4},
        )  # fmt: skip
        assert len(place.book) == 4
        assert place.retouch("run", "--no-report").returncode == 6
        assert [json.loads(each.body)["at"] for each in hook.book[3:]] == ["end"]
        whole = b"".join(each.head.encode() + each.body for each in hook.book)
        assert CANARY.encode() not in whole
        for path in place.outputs.rglob("*"):
            if path.is_file():
                assert b"s3cr3t" not in path.read_bytes(), path


@pytest.mark.parametrize("kind", ["closed", "reset", "redirect", "error"])
def test_a_hook_that_is_broken_costs_no_picture_and_no_second_try(
    tmp_path: Path, kind: str
) -> None:
    """Said once, without the URL; the exit code is the run's own."""

    def breaking(peer: Peer) -> None:
        peer.read_request()
        if kind == "reset":
            peer.reset()
        elif kind == "redirect":
            peer.answer(status="302 Found", headers="Location: http://127.0.0.1:1/elsewhere\r\n")
        else:
            peer.answer(status="500 No")

    with house(tmp_path) as place, serving(breaking) as hook:
        place.pictures(2)
        port = 1 if kind == "closed" else hook.port
        _manifest(place, f"{{url: 'http://127.0.0.1:{port}/s3cr3t'}}", total="0.45")
        ran = place.retouch("run", "--no-report")
        assert ran.returncode == 0, ran.stderr
        assert len(place.book) == 2
        assert ran.stderr.count("run.notify:") == 1
        assert "run.notify: 127.0.0.1: " in ran.stderr
        assert "s3cr3t" not in ran.stderr
        assert hook.connections == (0 if kind == "closed" else 2)  # 80 %, and the end


def _script(folder: Path, text: str) -> Path:
    script = folder / "hook.py"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{text}\n")
    script.chmod(0o755)
    return script


def test_a_command_gets_the_notice_and_no_key(tmp_path: Path) -> None:
    """Its arguments as they stand, JSON on stdin, the line in RETOUCH_TEXT; no shell, no key."""
    script = _script(
        tmp_path,
        "told = [sys.argv[1:], os.environ['RETOUCH_TEXT'], json.load(sys.stdin),\n"
        "        'OPENAI_API_KEY' in os.environ, os.getpgrp() == os.getpid()]\n"
        f"open({str(tmp_path / 'told.jsonl')!r}, 'a').write(json.dumps(told) + '\\n')\n"
        "print('not for your terminal')",
    )
    with house(tmp_path) as place:
        place.pictures(2)
        _manifest(place, f"{{command: ['{script}', '$HOME; `id`'], at: [50%, end]}}", total="0.45")
        ran = place.retouch("run", "--no-report")
        assert ran.returncode == 0, ran.stderr
        assert "not for your terminal" not in ran.stdout + ran.stderr
        assert "run.notify" not in ran.stderr
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [each[2]["at"] for each in told] == ["50%", "end"]
    for words, line, document, has_key, is_leader in told:
        assert words == ["$HOME; `id`"]
        assert line == document["text"]
        assert not has_key
        assert is_leader
    assert "2 done; 0.4000 CNY confirmed" in told[1][1]


@pytest.mark.parametrize(
    ("command", "said"),
    [("[/no/such/program]", "cannot be started"), ("[sh, -c, 'exit 3']", "sh ended with 3")],
)
def test_a_command_that_fails_is_said_once(tmp_path: Path, command: str, said: str) -> None:
    with house(tmp_path) as place:
        place.pictures(2)
        _manifest(place, f"{{command: {command}}}", total="0.45")
        ran = place.retouch("run", "--no-report")
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.count("run.notify:") == 1
        assert said in ran.stderr


def test_a_variable_that_is_not_set_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    """And the run goes on: nobody waits for a hook."""
    with house(tmp_path) as place:
        place.pictures(1)
        _manifest(place, "{url_env: NO_SUCH_HOOK}")
        assert "NO_SUCH_HOOK" not in os.environ
        ran = place.retouch("run", "--no-report")
        assert ran.returncode == 0, ran.stderr
        assert "run.notify: NO_SUCH_HOOK" in ran.stderr
        assert len(place.book) == 1
