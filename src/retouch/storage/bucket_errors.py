"""What a store refuses, told apart by what is to be done about it, with the action's name.

The library tells status and body of a reply in its message alone, so these are read from there
(`_STATUS`, the error document's elements). Nothing else of that message is shown: it holds
addresses and, with some servers, what was signed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeVar

from retouch.errors import BucketFailed
from retouch.storage.bucket_url import BucketURL
from retouch.text import one_clean_line, without_secrets

T = TypeVar("T")
Action = Literal["list", "get", "put", "link"]
Why = Literal[
    "bucket", "denied", "credentials", "clock", "region", "throttled", "unreachable", "missing",
    "exists", "changed", "unsupported", "other",
]  # fmt: skip
_RIGHTS = {"list": "s3:ListBucket", "get": "s3:GetObject", "put": "s3:PutObject", "link": ""}
_DONE = {"list": "listed", "get": "read", "put": "written", "link": "linked to"}
_STATUS = re.compile(r"status code: (\d{3})")
_ELEMENT = re.compile(r"<(Code|Message|Region|Endpoint|ServerTime)>([^<]{0,500})</\1>")
_CREDENTIALS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "InvalidSecurity", "TokenRefreshRequired", "InvalidClientTokenId", "RequestExpired",
}  # fmt: skip
_THROTTLED = {"SlowDown", "TooManyRequests", "ServiceUnavailable", "RequestLimitExceeded"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect",
           "IllegalLocationConstraintException"}  # fmt: skip
TRANSIENT = ("throttled", "unreachable")


class BucketFault(BucketFailed):
    """A store's refusal: `why`, of which `action`, and the region the bucket is in where the store
    says so."""

    def __init__(
        self, message: str, *, why: Why, action: Action, hint: str = "", region: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.why = why
        self.action = action
        self.region = region

    @property
    def may_pass(self) -> bool:
        """Whether the same may go well in a while."""
        return self.why in TRANSIENT


def translated(
    error: Exception, action: Action, url: BucketURL, secrets: tuple[str, ...] = ()
) -> BucketFault:
    """A foreign exception of the library as ours."""
    text = str(error).partition("Debug source")[0]
    told = {key: value.strip() for key, value in _ELEMENT.findall(text)}
    status = _STATUS.search(text)
    name = type(error).__name__
    why = _why(name, int(status[1]) if status else None, told.get("Code", ""), text)
    shown = without_secrets(one_clean_line(told.get("Message", ""), 200), secrets)
    code = one_clean_line(told.get("Code", ""), 60)
    server = f"; the server says {code}: {shown}".rstrip(": ") if code else ""
    what, hint = _said(why, action, url, told)
    if why == "other" and not code:
        reason = f" ({status[1]})" if status else f" ({one_clean_line(_bare(text), 200)})"
        server = without_secrets(reason, secrets)
    return BucketFault(
        f"{url}: {what}{server}", why=why, action=action, hint=hint, region=told.get("Region", "")
    )


def _bare(text: str) -> str:
    """What went wrong, without the request it went wrong with."""
    return text.rpartition(" - ")[2] or text


def _why(name: str, status: int | None, code: str, text: str) -> Why:
    if code == "NoSuchBucket":
        return "bucket"
    if name in ("NotFoundError", "FileNotFoundError") or status == 404:
        return "missing"
    if name == "AlreadyExistsError":
        return "exists"
    if name == "PreconditionError" or status == 412:
        return "changed"
    if code == "NotImplemented" or status == 501 or name == "NotSupportedError":
        return "unsupported"
    if code in ("RequestTimeTooSkewed", "RequestInTheFuture"):
        return "clock"
    if code in _CREDENTIALS or name == "UnauthenticatedError" or status == 401:
        return "credentials"
    if code in _REGION or status in (301, 307, 308) or "redirect" in text.lower():
        return "region"
    if code in _THROTTLED or status in (429, 503):
        return "throttled"
    if name == "PermissionDeniedError" or status == 403:
        return "denied"
    if status is None and _is_credentials(text):
        return "credentials"
    if status is None or status >= 500:
        return "unreachable"
    return "other"


def _is_credentials(text: str) -> bool:
    return "credential" in text.lower() or "metadata" in text.lower()


def _said(why: Why, action: Action, url: BucketURL, told: dict[str, str]) -> tuple[str, str]:
    """What is wrong and what to do."""
    right = f" ({_RIGHTS[action]})" if _RIGHTS[action] and url.scheme == "s3" else ""
    match why:
        case "bucket":
            return f"there is no bucket {url.bucket!r} at this endpoint", (
                "check its name, the endpoint and the region; on Kodo a bucket's name for S3 may "
                "be another than its own: the console shows it as the space's S3 name"
            )
        case "denied":
            hint = f"give these credentials the right to {action} there{right}"
            if told.get("Code") == "SecondLevelDomainForbidden":
                hint = "write `storage: {style: host}`: this server wants the bucket in the host"
            return f"may not be {_DONE[action]}{right}", hint
        case "credentials":
            return "the credentials were refused", (
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile): mistyped, "
                "expired, or another provider's"
            )
        case "clock":
            return f"this machine's clock is {_off_by(told)}, and its requests are refused", (
                "set the clock (by NTP), and go on"
            )
        case "region":
            return "the bucket is in another region", (
                "write `storage: {region: ..., endpoint: ...}` as the provider shows them"
            )
        case "throttled":
            return "the server has asked to slow down, again and again", "try again in a while"
        case "unreachable":
            return f"could not be {_DONE[action]}: the server does not answer as it should", (
                "check the endpoint and the network; try again in a while"
            )
        case "missing":
            return "is not there", "check its name"
        case "exists":
            return "is there already", ""
        case "changed":
            return "was changed by somebody else in the meantime", ""
        case "unsupported":
            return f"the server does not know this way to have it {_DONE[action]}", ""
    return f"could not be {_DONE[action]}", ""


def _off_by(told: dict[str, str]) -> str:
    try:
        there = datetime.fromisoformat(told.get("ServerTime", ""))
    except ValueError:
        return "wrong"
    minutes = (datetime.now(UTC) - there.astimezone(UTC)).total_seconds() / 60
    return f"{abs(minutes):,.0f} min {'fast' if minutes > 0 else 'slow'}"


def guarded(
    call: Callable[[], T], action: Action, url: BucketURL, secrets: tuple[str, ...] = ()
) -> T:
    """What `call` returns; what the library raises, as BucketFault."""
    try:
        return call()
    except BucketFault:
        raise
    except Exception as error:  # the library raises its own kinds and Python's
        raise translated(error, action, url, secrets) from None
