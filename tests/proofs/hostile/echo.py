"""A provider that gives back the key it was sent, in every place that a reply has.

A Case says what a submit, a poll and a download are answered with; `{key}` and `{half}` (a key
cut short) are filled in from the request, so that nobody but the client ever knew it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from tests.support.raw_server import Heard, Peer

SIGNED = "X-Amz-Signature=SIGNED0123456789&token=SIGNED0123456789"


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply: its status line, headers, body, and how much of the body is really sent."""

    body: str = ""
    status: str = "200 OK"
    headers: tuple[str, ...] = ()
    missing_bytes: int = 0
    raw: str = ""

    def bytes_for(self, key: str, origin: str) -> bytes:
        if self.raw:
            return _filled(self.raw, key, origin).encode()
        body = _filled(self.body, key, origin).encode()
        lines = "".join(f"{_filled(line, key, origin)}\r\n" for line in self.headers)
        head = f"HTTP/1.1 {_filled(self.status, key, origin)}\r\n{lines}"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body[: len(body) - self.missing_bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """What each kind of request is answered with; of several answers, the last one for ever."""

    name: str
    submit: Answer
    polls: tuple[Answer, ...] = (Answer("{key}"),)
    downloads: tuple[Answer, ...] = (Answer("<html>{key} {signed}</html>"),)


@dataclass(slots=True)
class Echo:
    """The provider of one Case."""

    case: Case
    port: int = 0
    key: str = ""
    asked: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, peer: Peer) -> None:
        """Answer one request."""
        heard = peer.read_request()
        authorization = heard.header("authorization") or ""
        with self.lock:
            self.key = authorization.removeprefix("Bearer ") or self.key
            answer = self._answer(heard)
        peer.send(answer.bytes_for(self.key, f"http://127.0.0.1:{self.port}"))

    def _answer(self, heard: Heard) -> Answer:
        line = heard.head.split("\r\n")[0]
        if line.startswith("POST"):
            return self.case.submit
        kind = "polls" if "/tasks/" in line or "/queue/" in line else "downloads"
        answers: tuple[Answer, ...] = getattr(self.case, kind)
        number = self.asked[kind] = self.asked.get(kind, -1) + 1
        return answers[min(number, len(answers) - 1)]


def _filled(text: str, key: str, origin: str) -> str:
    link = f"{origin}/files/{key}/0.png?{SIGNED}"
    replaced = {"{key}": key, "{half}": key[: len(key) // 2], "{signed}": link, "{origin}": origin}
    for mark, value in replaced.items():
        text = text.replace(mark, value)
    return text


def _error(message: str = "no: {key} {signed}", **more: str) -> str:
    return json.dumps({"error": {"message": message, **more}})


_TASK = Answer('{"task_id": "t-1"}')
_LINKED = Answer(
    '{"task_id": "t-1", "status": "succeed", "data": [{"url": "{signed}"}], "quantity": 1}'
)
_STRADDLING = "x" * 484 + "{key}"

CASES: tuple[Case, ...] = (
    Case("401", Answer(_error(), "401 X")),
    Case("403, text", Answer('{"error": "who is {key}? {signed}"}', "403 X")),
    Case("400, code", Answer(_error(code="{key}", type="{key}"), "400 X")),
    Case("400, cut by its length", Answer(_error(_STRADDLING), "400 X")),
    Case("400, detail", Answer('{"detail": [{"msg": "{key}", "loc": ["{key}"]}]}', "400 X")),
    Case("404", Answer(_error("model {key} does not exist"), "404 X")),
    Case("429", Answer(_error("slow down {key}"), "429 X", ("Retry-After: {key}",))),
    Case("429, daily", Answer(_error("daily quota of {key} exceeded {signed}"), "429 X")),
    Case("500", Answer(_error(), "500 X")),
    Case("502, a page", Answer("<html>{key} {signed}</html>", "502 X")),
    Case("a reason", Answer("{}", "400 {key}", ("WWW-Authenticate: {key}",))),
    Case("a redirect", Answer("", "307 X", ("Location: {signed}",))),
    Case("a relative redirect", Answer("", "307 X", (f"Location: /{{key}}/x?{SIGNED}",))),
    Case("a redirect of no scheme", Answer("", "307 X", (f"Location: //h/{{key}}?{SIGNED}",))),
    Case("no HTTP", Answer(raw="{key} {signed}\r\n\r\n")),
    Case("a bad header", Answer(raw="HTTP/1.1 200 OK\r\n{key} {signed}\r\n\r\n")),
    Case("a bad length", Answer(raw="HTTP/1.1 200 OK\r\nContent-Length: {key}\r\n\r\n")),
    Case("an encoding", Answer("{key}", headers=("Content-Encoding: {key}",))),
    Case("200, a page", Answer("<html>{key} {signed}</html>")),
    Case("200, cut", Answer('{"data": [], "x": "{key}", "y": "{signed}"', missing_bytes=1)),
    Case("200, cut in the key", Answer('{"data": "{key}{half}"}', missing_bytes=2)),
    Case("200, no picture", Answer('{"data": [], "error": "{key}", "usage": {"input_tokens": 1}}')),
    Case("200, no base64", Answer('{"data": [{"b64_json": "{key} @"}], "x": "{signed}"}')),
    Case("200, no count", Answer('{"data": [], "usage": {"input_tokens": "{key}"}}')),
    Case("200, refused", Answer('{"status": false, "message": "{key} {signed}"}')),
    Case("a task's id", Answer('{"task_id": "{key}"}')),
    Case("a task's long id", Answer('{"task_id": "image-{key}-1"}')),
    Case(
        "a queue",
        Answer('{"request_id": "r1", "status": "IN_QUEUE", "status_url":'
               ' "https://h/queue/{key}/requests/r1/status"}'),
    ),
    Case("a word of status", _TASK, (Answer('{"task_id": "t-1", "status": "{key}"}'), _LINKED)),
    Case("a broken poll", _TASK, (Answer("<{key} {signed}", "502 X"), Answer("{key}"), _LINKED)),
    Case("a refused poll", _TASK, (Answer(_error(), "401 X"),)),
    Case("a redirected poll", _TASK, (Answer("", "302 X", ("Location: {signed}",)),)),
    Case("a failed task", _TASK, (
        Answer('{"task_id": "t-1", "status": "failed", "status_message": "{key} {signed}"}'),
    )),
    Case("a vanished task", _TASK, (Answer(_error("task {key} not found"), "404 X"),)),
    Case("a page for a result", _TASK, (_LINKED,)),
    Case("an expired result", _TASK, (_LINKED,), (Answer("{key}", "403 {key}"),)),
    Case("a result led away", _TASK, (_LINKED,), (Answer("", "302 X", ("Location: {signed}",)),)),
    Case("a result at home", _TASK, (
        Answer('{"task_id": "t-1", "status": "succeed", "data": [{"url":'
               ' "https://127.0.0.1:1/{key}?token=SIGNED"}]}'),
    )),
    Case("links of any kind", _TASK, (
        Answer('{"task_id": "t-1", "status": "succeed", "data": [{"url": "file:///{key}"},'
               ' {"url": "http://["}, {"url": "{key}"}, {"url": "//h/{key}?token=SIGNED"}]}'),
    )),
)  # fmt: skip
