"""The table of refusals: first row that matches decides, each with its reason.

The question is always whether the provider could have done the work, never whether it looks like
an error (DESIGN §3). `names` are exact (type, code or reason) and believed at any status; `words`
are searched in the message at the row's statuses only; a row with neither is for its statuses.
Errors are told by words only where servers leave nothing else, and then here alone.
Sources: PROTOCOL §1 "Errors", the provider's FAQ, Kling's published codes (10xx to 50xx), the
OpenAI-compatible gateways' types, and what gateways answer (tests/support/gateways.toml).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from retouch.dialects.base import ErrorKind, Scope

Of = Literal["anybody", "document", "own", "any_text", "bare"]


@cache
def _pattern(words: str) -> re.Pattern[str]:
    """Start-up: thirty patterns are compiled when an error is first read, not at every import."""
    return re.compile(words, re.IGNORECASE)


def says(words: str, text: str) -> bool:
    """Whether a text holds any of the words: a pattern, in upper or lower case."""
    return _pattern(words).search(text) is not None


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as the server put it: its type, its code and one clean line; "" where not said.

    `reasons`: further names it gives. `is_own`: in a shape of the services' own, not only of a
    gateway before them. `wait_seconds`: how long it asks to be left alone.
    """

    type: str
    code: str
    message: str
    reasons: tuple[str, ...] = field(default=(), compare=False)
    is_own: bool = field(default=False, compare=False)
    wait_seconds: float | None = field(default=None, compare=False)

    @property
    def names(self) -> frozenset[str]:
        """What a row's `names` are compared with."""
        return frozenset(name.lower() for name in (self.type, self.code, *self.reasons)) - {""}

    @property
    def text(self) -> str:
        """What a row's `words` are searched in."""
        return " ".join((self.message, *self.reasons))


@dataclass(frozen=True, slots=True)
class Told:
    """What a reply that is no result says: its error document, if it is one, and its text.

    `is_bare`: an empty body or a web page, so nothing that an application wrote.
    """

    status: int
    error: ServerError | None
    text: str
    is_bare: bool


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One kind of refusal; `kind` None: whether it was charged is not known.

    `of` says who must have told it: anybody; a `document` of an error; the service's `own` shape;
    `any_text`: words are searched in pages and plain texts too; `bare`: nobody did, the body is
    empty or a page. `retry_safe`: surely unbilled and worth another attempt.
    """

    reason: str
    kind: ErrorKind | None
    statuses: frozenset[int]
    names: frozenset[str]
    words: str
    scope: Scope
    retry_safe: bool
    of: Of

    def matches(self, told: Told) -> bool:
        """Whether this row speaks of what is told."""
        if self.of != "own" and self._is_named_by(told.error):
            return True
        if told.status not in self.statuses:
            return False
        match self.of:
            case "any_text":
                return self._is_in(told.text)
            case "bare":
                return told.is_bare
            case "own":
                return told.error is not None and told.error.is_own and self.is_said_by(told.error)
            case "document":
                return told.error is not None
            case "anybody":
                return not self.words or self.is_said_by(told.error)

    def is_said_by(self, error: ServerError | None) -> bool:
        """Whether the error's own name or words are this row's, whatever the status."""
        if error is None:
            return False
        return self._is_named_by(error) or self._is_in(error.text)

    def _is_in(self, text: str) -> bool:
        return bool(self.words) and says(self.words, text)

    def _is_named_by(self, error: ServerError | None) -> bool:
        return error is not None and not self.names.isdisjoint(error.names)


def _row(
    kind: ErrorKind | None,
    reason: str,
    *,
    at: Iterable[int] = (),
    names: str = "",
    words: str = "",
    scope: Scope = "job",
    retry_safe: bool = False,
    of: Of = "anybody",
) -> ErrorRow:
    named = frozenset(names.lower().split())
    return ErrorRow(reason, kind, frozenset(at), named, words, scope, retry_safe, of)


CONTENT_WORDS = (
    r"content[ _-](?:polic|filter)|moderat|image_recitation|blocklist"
    r"|safety (?:system|filter|polic|check|setting)|image_safety"
    r"|prohibited|nsfw|sensitive|inappropriate|risk[ _-]?control"
    r"|violat\w* (?:our|the|content|polic)"
    r"|敏感|违规|违禁|审核|风控|不合规|内容安全"
)
VANISHED_WORDS = (
    r"(?:task|request|job)\b.{0,80}(?:not found|not exist|no longer|expired)"
    r"|no such (?:task|request)|任务.{0,20}(?:不存在|未找到|过期)"
)
_A_LIMIT = r"quota|limit|exceed|exhaust|额度|限额|配额|上限"
_A_DAY = r"\bdaily\b|\bper day\b|/day\b|\brpd\b|每日|每天|当日|今日"
_REFUSING = (*range(400, 500), 500, 503)
_ANY_ERROR = range(400, 600)
_A_KEY = (
    r"api[ _-]?key|access[ _-]?key|\btoken\b(?= (?:is |has )?(?:invalid|expired|revoked))|令牌|密钥"
)
# A gateway that tried several times tells the last error only.
_TRIED_BEFORE = r"\bretried\b|\bretries\b|\b\d+ (?:attempts|tries)\b"
_NOT_CONNECTED = (
    r"connection refused|connection failure|connect call failed|\bECONNREFUSED\b"
    r"|no healthy upstream|reset reason: overflow|no upstreams? available"
    r"|no (?:available )?(?:server|instance|upstream|peer)s? (?:is |are )?available"
    r"|no available (?:server|instance|upstream)|unable to find instance|NoActiveTargets"
    r"|get a peer from the ring-balancer|name resolution failed|no such host|\bENOTFOUND\b"
    r"|(?:could not|cannot|unable to|failed to) resolve|no route to host|network is unreachable"
    r"|\bdial tcp \S+ i/o timeout"
)
_A_TRANSPORT = (
    r"upstream|\breset\b|\bEOF\b|disconnect|terminated|context cancell?ed|broken pipe"
    r"|prematurely|socket hang up|connection (?:error|closed|aborted|lost|was closed)|zero.size"
    r"|(?:fetch|read|write|communication|proxy|gateway|tcp).(?:failed|error)|invalid response"
    r"|incomplete|(?:first|between) bytes? timeout|guru meditation"
)
# Edges that send this page at 503 also when a request broke after it was passed on.
_LATE_PAGES = (
    r"services aren.t available right now|application error|incident id"
    r"|an error occurred while processing your request"
)

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
        words=rf"(?:{_A_DAY}).{{0,80}}(?:{_A_LIMIT})|(?:{_A_LIMIT}).{{0,80}}(?:{_A_DAY})"
        r"|PerDay|_per_day",
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
        words=r"per.?minute|per.?second|\b(?:rpm|tpm|qps|ipm)\b|rate.?limit|too many requests"
        r"|too frequent|每分钟|每秒|频率|频繁",
        retry_safe=True,
    ),
    _row(
        "quota",
        "no money: every further job would be refused, so the first one stops the run",
        at=_ANY_ERROR,
        names="quota_exceeded_error insufficient_quota insufficient_user_quota"
        " insufficient_balance insufficient_balance_error InsufficientBalance"
        " pre_consume_token_quota_failed exceeded_current_quota_error AccountOverdueError"
        " AllocationQuota.FreeTierOnly arrears arrearage billing_hard_limit_reached 1101 1102",
        words=r"insufficient.{0,20}(?:balance|quota|credit|fund)|balance.{0,20}insufficient"
        r"|quota is not enough|arrear|overdue|out of (?:call volume )?(?:credit|quota)"
        r"|exhausted balance|credit limit|free tier.{0,40}exhausted"
        r"|balance.{0,20}(?:not enough|too low)|余额不足|欠费|额度不足|余额.{0,6}不够",
        scope="run",
    ),
    _row(
        "auth",
        "this country is not served: so for every job, at whatever status",
        at=_ANY_ERROR,
        names="unsupported_country_region_territory country_not_supported",
        words=r"(?:country|region|location|territory)\b.{0,40}not (?:supported|available|allowed)"
        r"|not (?:supported|available) in your (?:country|region|location)"
        r"|(?:国家|地区).{0,10}不(?:支持|可用|提供)",
        scope="run",
    ),
    _row(
        "auth",
        "a key that is none, behind whatever status (Google says 400)",
        at=(*range(400, 500), 500, 503),
        names="API_KEY_INVALID API_KEY_SERVICE_BLOCKED invalid_api_key incorrect_api_key",
        words=rf"(?:{_A_KEY}).{{0,20}}"
        r"(?:not valid|invalid|incorrect|expired|revoked|无效|过期|错误)"
        r"|(?:invalid|incorrect|wrong|expired|无效的?)[ :]?(?:api[ _-]?key|令牌|密钥)",
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
        words=CONTENT_WORDS,
    ),
    _row(
        "content",
        "a moderation message of the service's own that a gateway wrapped in a 5xx",
        at=(500, 502, 503),
        words=CONTENT_WORDS,
        of="own",
    ),
    _row(
        "auth",
        "a bad key, or an account that is locked: the first one stops the run",
        at=(401,),
        names="authentication_error invalid_authentication unauthorized"
        " account_deactivated 1000 1001 1002 1003 1004 1100 1304",
        scope="run",
    ),
    # --- What only the status tells ------------------------------------------------------------
    _row("quota", "payment required", at=(402,), scope="run"),
    _row("auth", "forbidden, not for the content: stopping costs nothing", at=(403,), scope="run"),
    _row("auth", "a proxy wants a login, from every job", at=(407,), scope="run"),
    _row("rate", "turned away at the door: not begun", at=(429,), retry_safe=True),
    _row(
        None,
        "a gateway gave up waiting or believed we had left; the work behind it may go on",
        at=(408, 460, 499),
    ),
    _row(
        None,
        "the same request is being worked on: who sent it twice is a gateway on the way",
        at=(409,),
    ),
    _row("bad_request", "something the request names was not found", at=(404,), of="document"),
    _row(
        "bad_request",
        "the address itself is wrong (base_url without /v1?): so for the whole lane",
        at=(404, 405),
        scope="lane",
    ),
    _row("bad_request", "the request is wrong; sent again it is as wrong", at=range(400, 500)),
    # --- Who stood between, and when it broke ---------------------------------------------------
    _row(
        None,
        "a gateway that tried more than once: only its last try made no connection",
        at=range(500, 600),
        words=_TRIED_BEFORE,
        of="any_text",
    ),
    _row(
        "transient",
        "no connection to the provider was made, so it never had the request",
        at=(500, 502, 503),
        words=_NOT_CONNECTED,
        retry_safe=True,
        of="any_text",
    ),
    _row(
        "transient",
        "the edge's own words for an origin that was not reached, or that is overloaded (529)",
        at=(521, 523, 525, 526, 529, 530),
        retry_safe=True,
    ),
    _row(
        None,
        "a transport broke, and nothing says that it broke before the work",
        at=range(500, 600),
        words=_A_TRANSPORT,
        of="any_text",
    ),
    _row(
        None,
        "an edge that says 503 also for an origin that was too slow (Azure Front Door, Heroku)",
        at=(503,),
        words=_LATE_PAGES,
        of="any_text",
    ),
    _row(
        None,
        "an error about time tells that work was begun, and not that it was not charged",
        at=(500, 502, 503),
        names="5002 timeout timeout_error gateway_timeout",
        words=r"time[sd]?[ -]?out|timed out|deadline exceeded|超时",
    ),
    _row(
        "transient",
        "too busy to begin, in the service's own shape and words",
        at=(500, 503),
        names="overloaded overloaded_error server_overloaded server_is_overloaded"
        " engine_overloaded engine_overloaded_error model_overloaded service_overloaded"
        " system_busy no_available_channel 5001",
        words=r"overloaded|too busy|\bis busy\b|(?:at|over) capacity|no available channel"
        r"|无可用渠道|负载已?(?:饱和|过高)|(?:系统|服务|服务器)繁忙",
        retry_safe=True,
        of="own",
    ),
    _row(
        "transient",
        "503 with a page or nothing: a balancer or a limiter at the door, before the provider",
        at=(503,),
        retry_safe=True,
        of="bare",
    ),
    _row(
        None,
        "502, 504, 520, 522, 524 and every other 5xx: nobody says whether the work was done",
        at=range(500, 600),
    ),
)
