"""Errors of every shape (PROTOCOL §1 "Errors") and the verdict each gets, for submit and poll."""

from __future__ import annotations

import json

import pytest

from retouch.dialects.base import Rejected, Reply, Unreadable
from retouch.dialects.openai_like.error_table import ROWS, ServerError
from retouch.dialects.openai_like.errors import poll_refused, read_error, submit_refused


def reply(status: int, body: object, **headers: str) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return Reply(status, headers, text.encode())


SHAPES: dict[str, tuple[object, ServerError | None]] = {
    "OpenAI": (
        {"error": {"message": "m", "type": "t", "param": None, "code": "c"}},
        ServerError("t", "c", "m"),
    ),
    "OpenAI without code": ({"error": {"message": "m", "type": "t"}}, ServerError("t", "", "m")),
    "status false": ({"status": False, "message": "m"}, ServerError("", "", "m")),
    "code and message": ({"code": 401, "message": "m"}, ServerError("", "401", "m")),
    "a text": ({"error": "m"}, ServerError("", "", "m")),
    "FastAPI's text": ({"detail": "m"}, ServerError("", "", "m")),
    "FastAPI's list": ({"detail": [{"msg": "m", "loc": []}]}, ServerError("", "", "m")),
    "a number as code": ({"error": {"code": 1301, "message": "m"}}, ServerError("", "1301", "m")),
    "only nulls": ({"error": {"message": None, "code": None}}, None),
    "code 0 is success": ({"code": 0}, None),
    "a page": ("<html>502</html>", None),
    "nothing": ("", None),
    "a list": ("[]", None),
    "a signed URL": (
        {"error": "cannot fetch https://e.com/i.jpg?e=1&token=secret now"},
        ServerError("", "", "cannot fetch https://e.com/i.jpg now"),
    ),
    "control and bidi characters": (
        {"error": "a\r\n\x1b[2Jb\u202ec"},
        ServerError("", "", "a ^[[2Jb\\u202ec"),
    ),
    "no URL at all": ({"error": "see http://[x"}, ServerError("", "", "see http://[x")),
}


@pytest.mark.parametrize(("body", "error"), SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_of_error_is_read(body: object, error: ServerError | None) -> None:
    """Type, code and one clean line, wherever the server put them."""
    assert read_error(reply(500, body)) == error


def openai(message: str, kind: str = "", code: str | int | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "code": code}}


NO_QUOTA = "quota_exceeded_error"

# status, body -> kind, scope, "retry" where retry_safe, billed where it is not "no"
VERDICTS: list[tuple[int, object, str]] = [
    # permanent, told by name or words
    (503, openai("the price of the model is not set (model: x)", NO_QUOTA), "bad_request lane"),
    (404, openai("The model `x` does not exist"), "bad_request lane"),
    (400, openai("model not found"), "bad_request lane"),
    (503, openai("no channel", code="model_not_found"), "bad_request lane"),
    (400, openai("模型 x 不存在"), "bad_request lane"),
    (429, openai("daily quota exceeded"), "quota lane"),
    (429, openai("今日额度已用完"), "quota lane"),
    (429, openai("Quota exceeded for requests per minute"), "rate job retry"),
    (503, openai("user quota is not enough error", NO_QUOTA), "quota run"),
    (429, openai("You exceeded your current quota", "insufficient_quota"), "quota run"),
    (403, openai("账户余额不足"), "quota run"),
    (402, "", "quota run"),
    (429, {"code": 1101, "message": "account in arrears"}, "quota run"),
    (429, {"code": 1102, "message": "resource pack depleted"}, "quota run"),
    (401, "<html>", "auth run"),
    (401, {"code": 1002, "message": "authorization is invalid"}, "auth run"),
    (403, "", "auth run"),
    (403, openai("no permission for model x"), "auth lane"),
    (403, {"code": 1103, "message": "unauthorized"}, "auth lane"),
    (403, openai("rejected by our content policy"), "content job"),
    (400, openai("x", code="moderation_blocked"), "content job"),
    (400, {"code": 1301, "message": "x"}, "content job"),
    (400, openai("提示词包含敏感内容"), "content job"),
    # passing, surely unbilled
    (429, {"code": 1303, "message": "over the limit"}, "concurrency job retry"),
    (429, {"code": 1302, "message": "x"}, "rate job retry"),
    (429, "", "rate job retry"),
    (500, openai("internal error"), "transient job retry"),
    (502, {"message": "bad gateway"}, "transient job retry"),
    (503, {"error": "overloaded"}, "transient job retry"),
    # the request
    (400, openai("invalid image"), "bad_request job"),
    (413, "<html>", "bad_request job"),
    (404, openai("the image could not be found"), "bad_request job"),
    (404, "<html>", "bad_request lane"),
    (405, "", "bad_request lane"),
    # no behind a yes
    (200, {"status": False, "message": "余额不足"}, "quota run"),
    (200, {"code": 401, "message": "who?"}, "auth run"),
    (200, openai("something odd"), "bad_request job unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "verdict"), VERDICTS)
def test_a_submit_is_refused_for_what_it_is(status: int, body: object, verdict: str) -> None:
    """Type, code and message before the status."""
    found = submit_refused(reply(status, body))
    assert isinstance(found, Rejected)
    retry = ["retry"] if found.retry_safe else []
    billed = [found.billed] if found.billed != "no" else []
    assert [found.kind, found.scope, *retry, *billed] == verdict.split()
    assert found.status == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "<html>"),
        (502, ""),
        (503, "upstream connect error"),
        (504, openai("gateway timeout")),
        (524, "<html>"),
        (500, openai("upstream request timeout")),
        (503, {"code": 5002, "message": "x"}),
        (529, openai("overloaded")),
        (408, ""),
        (499, ""),
        (303, ""),
        (304, ""),
        (100, ""),
        (200, ""),
        (200, "<html>"),
        (600, ""),
    ],
)
def test_where_the_charge_cannot_be_known_nothing_is_claimed(status: int, body: object) -> None:
    """Unreadable: the attempt becomes unknown, and is said."""
    found = submit_refused(reply(status, body))
    assert isinstance(found, Unreadable)
    assert found.status == status


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_stops_the_run_with_the_address(status: int) -> None:
    """Nothing was done and every job would meet it; the address is told without its query."""
    found = submit_refused(reply(status, "", location="https://e.com/v1/images/edits?token=secret"))
    assert isinstance(found, Rejected)
    assert (found.kind, found.scope, found.billed) == ("bad_request", "run", "no")
    assert "https://e.com/v1/images/edits;" in found.message
    assert "secret" not in found.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "retry_safe"),
    [
        (404, openai("task not found"), "expired", False),
        (410, openai("gone"), "expired", False),
        (400, openai("the task does not exist"), "expired", False),
        (200, openai("任务不存在"), "expired", False),
        (404, "<html>", "transient", True),
        (429, "", "rate", True),
        (429, {"code": 1303, "message": "x"}, "concurrency", True),
        (500, openai("internal error"), "transient", True),
        (502, "<html>", "transient", True),
        (504, "", "transient", True),
        (408, "", "transient", True),
        (401, "", "auth", False),
        (403, openai("余额不足"), "quota", False),
        (400, openai("blocked by moderation"), "content", False),
        (405, "", "bad_request", False),
    ],
)
def test_a_refused_poll_says_nothing_of_the_task(
    status: int, body: object, kind: str, retry_safe: bool
) -> None:
    """Polls are free and are repeated; the Task's charge stays unknown, never 'no'."""
    found = poll_refused(reply(status, body))
    assert isinstance(found, Rejected)
    assert (found.kind, found.retry_safe, found.billed) == (kind, retry_safe, "unknown")


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<html>"), (200, openai("odd")), (303, ""), (422, openai("odd"))]
)
def test_a_poll_that_says_nothing_is_asked_again(status: int, body: object) -> None:
    """Unreadable at a poll is no end: only a deadline is."""
    assert isinstance(poll_refused(reply(status, body)), Unreadable)


def test_every_row_has_its_reason() -> None:
    """The table explains itself; only what is surely unbilled is retried, for its job alone."""
    for row in ROWS:
        assert len(row.reason) > 10
        assert not row.retry_safe or (row.kind is not None and row.scope == "job")
        assert row.statuses or row.names
