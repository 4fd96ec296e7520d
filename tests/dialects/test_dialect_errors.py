"""Errors of every shape (PROTOCOL §1 "Errors") and the verdict each gets, for submit and poll."""

from __future__ import annotations

import json

import pytest

from retouch.dialects.base import Rejected, Reply, Unreadable
from retouch.dialects.openai_like.error_shapes import read_error
from retouch.dialects.openai_like.error_table import ROWS, ServerError
from retouch.dialects.openai_like.errors import poll_refused, submit_refused


def reply(status: int, body: object, **headers: str) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return Reply(status, headers, text.encode())


SHAPES: dict[str, tuple[object, ServerError | None]] = {
    "a list of one error": ([{"error": {"message": "m", "code": 4}}], ServerError("", "4", "m")),
    "errors in a list": (
        {"success": False, "errors": [{"code": 2005, "message": "m"}]},
        ServerError("", "2005", "m"),
    ),
    "Apigee's fault": (
        {"fault": {"faultstring": "m", "detail": {"errorcode": "c"}}},
        ServerError("", "", "m"),
    ),
    "RFC 9457": ({"type": "t", "title": "m", "status": 429}, ServerError("t", "", "m")),
    "Spring's": (
        {"timestamp": "x", "status": 503, "error": "Service Unavailable", "message": "m"},
        ServerError("", "", "m"),
    ),
    "Lambda's": ({"errorMessage": "m", "errorType": "t"}, ServerError("", "", "m")),
    "a document in the message": (
        {"error": {"message": '{"error": {"message": "m", "code": 5}}', "type": "t"}},
        ServerError("t", "5", "m"),
    ),
    "MiniMax's": (
        {"base_resp": {"status_code": 1008, "status_msg": "m"}},
        ServerError("", "1008", "m"),
    ),
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
    assert read_error(reply(500, body).body) == error


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
    (500, openai("The model is overloaded"), "transient job retry"),
    (503, openai("当前分组 default 下对于模型 x 无可用渠道"), "transient job retry"),
    (503, {"code": 5001, "message": "maintenance"}, "transient job retry"),
    (503, "no healthy upstream", "transient job retry"),
    (502, "dial tcp 10.0.0.7:443: connect: connection refused", "transient job retry"),
    (503, "", "transient job retry"),
    (503, "<html><h1>503 Service Temporarily Unavailable", "transient job retry"),
    *((status, "<html>", "transient job retry") for status in (521, 523, 525, 526, 529, 530)),
    (529, openai("overloaded"), "transient job retry"),
    # the same for every job, whatever the status and the shape
    (400, openai("API key not valid. Please pass a valid API key."), "auth run"),
    (400, [openai("x", code="400") | {"error": {"message": "x", "details": [
        {"@type": "google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}], "auth run"),
    (400, [openai("User location is not supported for the API use.")], "auth run"),
    (403, openai("Country, region, or territory not supported"), "auth run"),
    (500, openai("无效的令牌 (request id: 2)"), "auth run"),
    (407, "<html>", "auth run"),
    (500, openai("insufficient balance", code="insufficient_balance"), "quota run"),
    (400, {"code": "Arrearage", "message": "Access denied"}, "quota run"),
    (403, {"error": {"code": "AccountOverdueError", "message": "x"}}, "quota run"),
    (403, openai("x", code="pre_consume_token_quota_failed"), "quota run"),
    (429, openai("x", "exceeded_current_quota_error"), "quota run"),
    (403, {"detail": "User is locked. Reason: Exhausted balance."}, "quota run"),
    (403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished"
                                         " in 03:12:42."}, "quota run"),
    (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "quota run"),
    (429, openai('{"error":{"message":"out of credit","status":"RESOURCE_EXHAUSTED"}}'),
     "quota run"),
    # a quota that comes back
    (429, {"error": {"message": "You exceeded your current quota", "details": [{"violations": [
        {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}, "quota lane"),
    (429, {"error": {"message": "You exceeded your current quota", "details": [{"violations": [
        {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}]}}, "rate job retry"),
    # content refused is refused, whatever it is wrapped in
    (500, openai("Your request was rejected as a result of our safety system"), "content job"),
    (502, openai("x", code="moderation_blocked"), "content job"),
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
        (500, openai("internal error")),
        (502, {"message": "bad gateway"}),
        (503, {"error": "overloaded"}),
        (503, openai("service unavailable")),
        (500, openai("bad response from upstream: overloaded")),
        (503, "<html><title>503 Backend fetch failed</title><h3>Guru Meditation:</h3>"),
        (503, "<html><h2>Our services aren't available right now</h2>"),
        (503, "Service Unavailable"),
        (503, '<?xml version="1.0"?><Error><Code>InternalError</Code></Error>'),
        (500, openai("Connection refused. LiteLLM Retried: 2 times")),
        (500, "<html><p>content policy</p>"),
        (520, "<html>"),
        (522, "<html>"),
        (200, openai("Our servers are currently overloaded", code="server_is_overloaded")),
        (408, ""),
        (409, openai("an identical request is being processed", code="request_in_progress")),
        (460, ""),
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
        (500, openai("The model is overloaded"), "transient", True),
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


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (openai("Rate limit reached. Please try again in 20s."), 20.0),
        (openai("Please try again in 1m12.5s. Visit https://e.com"), 72.5),
        (openai("Please try again in 350ms."), 0.35),
        ({"statusCode": 429, "message": "Rate limit is exceeded. Try again in 54 seconds."}, 54.0),
        ({"message": "Quota will be replenished in 03:12:42."}, 11562.0),
        ({"title": "Error 1015", "status": 429, "retry_after": 30}, 30.0),
        ({"error": {"message": "x", "retry_after_ms": 1500}}, 1.5),
        ([{"error": {"message": "x", "details": [{"retryDelay": "26s"}]}}], 26.0),
        ([{"error": {"message": "x", "details": [{"retryDelay": "0.847655010s"}]}}], 0.847655010),
        (openai("请在 5 秒后重试"), 5.0),
        (openai("You can retry your request up to 3 times, model v2 seconds faster"), None),
        (openai("please try again later"), None),
        ({"error": {"message": "x", "retry_after": -3}}, None),
        ({"error": {"message": "x", "retry_after": True}}, None),
        ({"error": {"message": "x", "retryDelay": "soon"}}, None),
    ],
)
def test_a_delay_told_in_the_body_is_read(body: object, seconds: float | None) -> None:
    """As a member of any shape, or in words (CASES C7)."""
    found = submit_refused(reply(429, body))
    assert isinstance(found, Rejected)
    assert found.wait_seconds == (pytest.approx(seconds) if seconds else None)
