"""The table of refusals: first row that matches decides, each with its reason.

`names` are exact (type or code, lower case) and believed at any status; `words` are searched in
the message at the row's statuses only; a row with neither is for its statuses. Errors are told by
words only where servers leave nothing else, and then here alone.
Sources: PROTOCOL §1 "Errors", the provider's FAQ, Kling's published codes (10xx to 50xx), and the
OpenAI-compatible gateways' types.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from retouch.dialects.base import ErrorKind, Scope


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as the server put it: its type, its code and one clean line; "" where not said."""

    type: str
    code: str
    message: str

    @property
    def names(self) -> frozenset[str]:
        """What a row's `names` are compared with."""
        return frozenset({self.type.lower(), self.code.lower()} - {""})


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One kind of refusal; `kind` None: whether it was charged is not known. `told`: only where
    the body is an error document. `retry_safe`: surely unbilled and worth another attempt."""

    reason: str
    kind: ErrorKind | None
    statuses: frozenset[int]
    names: frozenset[str]
    words: re.Pattern[str] | None
    scope: Scope
    retry_safe: bool
    told: bool

    def matches(self, status: int, error: ServerError | None) -> bool:
        """Whether this row speaks of an error told with this status."""
        if error is not None and self.names & error.names:
            return True
        if status not in self.statuses:
            return False
        if self.words is not None:
            return self.is_said_by(error)
        return error is not None or not self.told

    def is_said_by(self, error: ServerError | None) -> bool:
        """Whether the error's own name or words are this row's, whatever the status."""
        if error is None:
            return False
        if self.names & error.names:
            return True
        return self.words is not None and self.words.search(error.message) is not None


def _row(
    kind: ErrorKind | None,
    reason: str,
    *,
    at: Iterable[int] = (),
    names: str = "",
    words: str = "",
    scope: Scope = "job",
    retry_safe: bool = False,
    told: bool = False,
) -> ErrorRow:
    pattern = re.compile(words, re.IGNORECASE) if words else None
    named = frozenset(names.split())
    return ErrorRow(reason, kind, frozenset(at), named, pattern, scope, retry_safe, told)


CONTENT_WORDS = re.compile(
    r"content[ _-]polic|moderat|safety (?:system|filter|polic|check|setting)|image_safety"
    r"|prohibited|nsfw|sensitive|inappropriate|risk[ _-]?control"
    r"|violat\w* (?:our|the|content|polic)"
    r"|敏感|违规|违禁|审核|风控|不合规|内容安全",
    re.IGNORECASE,
)
VANISHED_WORDS = re.compile(
    r"(?:task|request|job)\b.{0,80}(?:not found|not exist|no longer|expired)"
    r"|no such (?:task|request)|任务.{0,20}(?:不存在|未找到|过期)",
    re.IGNORECASE,
)
_A_LIMIT = r"quota|limit|exceed|exhaust|额度|限额|配额|上限"
_A_DAY = r"\bdaily\b|\bper day\b|/day\b|\brpd\b|每日|每天|当日|今日"
_REFUSING = (*range(400, 500), 500, 503)

ROWS: tuple[ErrorRow, ...] = (
    # --- What the server names: permanent, for a model or for all -----------------------------
    _row(
        "bad_request",
        "a model the service does not sell says 503 and quota_exceeded_error (its FAQ); no other"
        " job of the lane can do better",
        at=_REFUSING,
        names="model_not_found model_not_supported invalid_model 1203",
        words=r"price of the model is not set|no such model|unknown model|invalid model"
        r"|\bmodel[\s:`'\"(]*[\w./-]*[`'\")]*\s*(?:is |was |does |could )?"
        r"(?:not found|not exist|not supported|not be found)"
        r"|模型[\s:：`'\"]*[\w./-]{0,64}[`'\"]?\s*(?:不存在|未找到|未开通|已下线)",
        scope="lane",
    ),
    _row(
        "quota",
        "a day's allowance is used up: waiting within the run is vain, other models go on",
        at=(402, 403, 429, 503),
        names="daily_quota_exceeded daily_limit_exceeded",
        words=rf"(?:{_A_DAY}).{{0,80}}(?:{_A_LIMIT})|(?:{_A_LIMIT}).{{0,80}}(?:{_A_DAY})",
        scope="lane",
    ),
    _row(
        "concurrency",
        "too many at once (Kling counts slots from submitted to finished): not begun",
        at=(429, 503),
        names="1303 concurrency_limit_exceeded",
        words=r"concurren|parallel|并发",
        retry_safe=True,
    ),
    _row(
        "rate",
        "too fast: not begun; must come before quota, for 'quota exceeded: requests per minute'",
        at=(429, 503),
        names="1302 rate_limit_exceeded rate_limit_error rate_limit_reached too_many_requests",
        words=r"per minute|per second|\b(?:rpm|tpm|qps|ipm)\b|rate.?limit|too many requests"
        r"|too frequent|每分钟|每秒|频率|频繁",
        retry_safe=True,
    ),
    _row(
        "quota",
        "no money: every further job would be refused, so the first one stops the run",
        at=(400, 402, 403, 429, 503),
        names="quota_exceeded_error insufficient_quota insufficient_user_quota"
        " insufficient_balance arrears arrearage billing_hard_limit_reached 1101 1102",
        words=r"insufficient.{0,20}(?:balance|quota|credit|fund)|quota is not enough|arrear|overdue"
        r"|out of credit|balance.{0,20}(?:not enough|too low|insufficient)"
        r"|余额不足|欠费|额度不足|余额.{0,6}不够",
        scope="run",
    ),
    _row(
        "auth",
        "the key is good but not for this model: the lane stops, the others go on",
        at=(403,),
        names="1103 model_access_denied",
        words=r"(?:permission|access|authori[sz]ed).{0,60}\bmodel\b"
        r"|\bmodel\b.{0,60}(?:permission|access|authori[sz]ed)|(?:无权|权限).{0,20}模型|模型.{0,20}权限",
        scope="lane",
    ),
    _row(
        "content",
        "the content was refused before or instead of work; sent again it is refused again",
        names="content_policy_violation moderation_blocked content_filter content_filtered"
        " data_inspection_failed sensitive_words_detected prohibited_content 1300 1301",
    ),
    _row(
        "content",
        "a moderation message behind 400 or 403 (PROTOCOL §1); before 403 is read as a bad key",
        at=(400, 403, 406, 422, 451),
        words=CONTENT_WORDS.pattern,
    ),
    _row(
        "auth",
        "a bad key, or an account that is locked: the first one stops the run",
        at=(401,),
        names="authentication_error invalid_api_key invalid_authentication unauthorized"
        " account_deactivated 1000 1001 1002 1003 1004 1100 1304",
        scope="run",
    ),
    # --- What only the status tells ------------------------------------------------------------
    _row("quota", "payment required", at=(402,), scope="run"),
    _row("auth", "forbidden, not for the content: stopping costs nothing", at=(403,), scope="run"),
    _row("rate", "turned away at the door: not begun", at=(429,), retry_safe=True),
    _row(
        None,
        "a gateway gave up waiting or believed we had left; the work behind it may go on",
        at=(408, 499),
    ),
    _row("bad_request", "something the request names was not found", at=(404,), told=True),
    _row(
        "bad_request",
        "the address itself is wrong (base_url without /v1?): so for the whole lane",
        at=(404, 405),
        scope="lane",
    ),
    _row("bad_request", "the request is wrong; sent again it is as wrong", at=range(400, 500)),
    _row(
        None,
        "an error about time tells that work was begun, and not that it was not charged",
        at=(500, 502, 503),
        names="5002 timeout timeout_error gateway_timeout",
        words=r"time[sd]?[ -]?out|timed out|deadline exceeded|超时",
    ),
    _row(
        "transient",
        "an error of the service's own, told by the service: unbilled by its profile (DESIGN §3)",
        at=(500, 502, 503),
        retry_safe=True,
        told=True,
    ),
    _row(
        None,
        "504, 524, and pages from proxies: nobody says whether the work was done",
        at=range(500, 600),
    ),
)
