"""How a server is spoken to, as pure functions: what every dialect must offer and return.

A dialect turns a Job into a Request and a Reply into a Reading; it does no I/O, holds no key and
knows no clock. Bodies hold the pictures by reference; the transport splices their bytes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timezone
from typing import Literal, Protocol, runtime_checkable

from retouch.dialects.bill import Bill
from retouch.job import Job, Options, Picture, Terms
from retouch.money import Money

ErrorKind = Literal[
    "auth", "quota", "rate", "concurrency", "content", "bad_request", "transient", "network",
    "timeout", "broken_reply", "task_failed", "expired", "unpriced",
]  # fmt: skip
Billed = Literal["no", "yes", "unknown"]
Scope = Literal["job", "lane", "run"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is reached; `base` ends in its version, like `/v1` (no slash after), `root`
    is without it. `encoding` is how bodies are written where a dialect has several ways ("": its
    default).
    """

    base: str
    encoding: str = ""

    @property
    def root(self) -> str:
        parent, _, version = self.base.rpartition("/")
        return parent if version[:1] in ("v", "V") and version[1:2].isdigit() else self.base


@dataclass(frozen=True, slots=True)
class Base64:
    """A place in a body where a picture's bytes stand in standard base64, without line breaks."""

    picture: Picture


@dataclass(frozen=True, slots=True)
class Raw:
    """A place in a body where a picture's bytes stand as they are (multipart)."""

    picture: Picture


Segment = bytes | Base64 | Raw


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; Authorization is the transport's to add, and only if `authorized`.

    `variant` never leaves this process: it tells the embedded service, which draws the same for
    the same request, that the same was asked for before and something else is wanted.
    """

    method: Literal["GET", "POST"]
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[Segment, ...] = ()
    authorized: bool = True
    variant: int = 0


class Aside(Protocol):
    """A long string of a reply's that is held elsewhere: in the body stand its beginning and, for
    the rest of it, `mark`, which no server can have written."""

    @property
    def mark(self) -> bytes: ...

    def rest(self) -> bytes:
        """What stood where the mark stands."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole HTTP reply; header names are lower case. `aside`: what its body leaves out."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    aside: tuple[Aside, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What happened to one request: the whole reply, or how and where it broke off.

    `sent_bytes` counts the body bytes handed to the socket, of `body_bytes`. `connected` is False
    when no connection was made (or, for a request without a body, nothing was written).
    `partial` holds what came of a 2xx reply that was cut or refused (capped), for quarantine, but
    for what is held `aside`;
    `status` is known as soon as a status line came. `is_distrusted`: its certificate proves
    nothing to this machine, and will not the next time.
    """

    reply: Reply | None
    body_bytes: int
    sent_bytes: int
    connected: bool
    status: int | None = None
    partial: bytes = b""
    error_kind: Literal["network", "timeout", "broken_reply", None] = None
    error: str = ""
    is_distrusted: bool = False
    aside: tuple[Aside, ...] = ()

    @property
    def sent_whole(self) -> bool:
        """Whether the server may have the whole request: from here on it may be charged."""
        return self.connected and self.sent_bytes >= self.body_bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server says it counted; None where it said nothing (or nothing credible).

    `text_tokens` and `image_tokens` are kinds of input, `cached_tokens` a part of it; of output
    there are text, images and `reasoning_tokens` (billed as text). `svg_…` are those of the model
    that wrote a drawing, counted and billed apart. `stated`: what it says it charged.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    text_tokens: int | None = None
    image_tokens: int | None = None
    images: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    text_output_tokens: int | None = None
    image_output_tokens: int | None = None
    cached_text_tokens: int | None = None
    cached_image_tokens: int | None = None
    svg_input_tokens: int | None = None
    svg_output_tokens: int | None = None
    stated: Money | None = None


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture in the reply itself, still in base64 (a `data:` prefix already cut); of one that
    is held aside, its beginning and its mark."""

    base64: str


@dataclass(frozen=True, slots=True)
class LinkedPicture:
    """A picture to be downloaded; the URL may be signed: never log, record or key it."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Produced:
    """The work is done; `pictures` may be fewer than asked for, or none. None usage = not said.

    `reason`: why there is no picture, in the server's words; `is_refused`: that is the content.
    `model`: who answered, where the reply names it. `told`: warnings that are also said at once.
    """

    pictures: tuple[EncodedPicture | LinkedPicture, ...]
    usage: Usage
    warnings: tuple[str, ...] = ()
    reason: str = ""
    is_refused: bool = False
    model: str = ""
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has begun a Task; `task` is all that is needed to poll it, and safe to record."""

    task: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """The Task is not finished; `warning` says when its status is not a known one."""

    status: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server said no, in a way that was understood.

    `retry_safe`: surely unbilled and worth another attempt (429, 5xx the profile calls unbilled).
    `scope`: `run` stops everything (key, money), `lane` its model (no such model, daily quota).
    `wait_seconds`: how long the body asks to be left alone.
    """

    kind: ErrorKind
    status: int | None
    code: str | None
    message: str
    billed: Billed = "no"
    retry_safe: bool = False
    scope: Scope = "job"
    usage: Usage | None = None
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The reply is not what the protocol says; whether it was charged is not known."""

    message: str
    status: int | None = None


Reading = Produced | Accepted | Pending | Rejected | Unreadable

OptionKind = Literal["integer", "number", "string", "boolean", "image_url", "mapping"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option a model takes: its kind and set, and whether the provider honours it yet.

    `members` describes the keys of a `mapping` (each a Parameter). `pattern` is a full-match
    regular expression for strings. `status` `not_yet`: documented, not yet supported for this
    model (暂不支持): sent, with a warning. `default` is the documented one, None where none is: an
    option that states it is as if absent. `limits` are those of the picture a URL leads to.
    """

    name: str
    kind: OptionKind
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    members: tuple[Parameter, ...] = ()
    status: Literal["supported", "not_yet"] = "supported"
    default: str | int | float | bool | None = None
    limits: PictureLimits | None = None


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What a model takes as input pictures; None = no limit known. Ratio is the longer side
    over the shorter one. `urls_only`: only public URLs are taken, no file contents."""

    media_types: tuple[str, ...] = ("image/png", "image/jpeg", "image/webp")
    modes: tuple[str, ...] = ("RGB", "RGBA", "L")
    maximum_bytes: int | None = None
    minimum_side: int | None = None
    maximum_pixels: int | None = None
    maximum_ratio: float | None = None
    urls_only: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """A request field the pictures may go to, and how many it takes."""

    name: str
    minimum: int = 1
    maximum: int = 16
    limits: PictureLimits = PictureLimits()


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """What a request of this model tends to count, and a ceiling for one picture of it.

    Source: PROTOCOL §1 Billing (Gemini: 1,290 output tokens a picture, 258 an input tile)."""

    input_per_image: int
    output_per_image: int
    ceiling_output_per_image: int
    ceiling_input_per_image: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one model of one dialect takes and does.

    `placements`: the first is the default. `slots_per_image`: provider-side concurrency slots a
    task holds for each picture (PROTOCOL: Kling counts n); 0 where a request holds one slot.
    `known` is False for a model the dialect's table does not list: nothing is checked but the
    common parameters, and the plan says so. `named_in_body` is False where the address names the
    model, so that no other model can be sent there (`like` is refused). `mask_polarity` is what is
    edited there: a mask of ours (white = edit) is converted. `note` is said by the plan.
    `reserved` are the request fields that hold the pictures: no option may have their names.
    """

    model: str
    kind: Literal["sync", "task"]
    placements: tuple[Placement, ...]
    parameters: tuple[Parameter, ...]
    takes_mask: bool = True
    mask_limits: PictureLimits = PictureLimits()
    mask_polarity: Literal["white", "transparent"] = "white"
    maximum_prompt_characters: int | None = None
    maximum_images_wanted: int = 10
    slots_per_image: int = 0
    tokens: TokenEstimate | None = None
    known: bool = True
    named_in_body: bool = True
    note: str = ""
    reserved: tuple[str, ...] = ("image", "images")


class Dialect(Protocol):
    """A module of pure functions; listed in `retouch.dialects.DIALECTS`."""

    @property
    def NAME(self) -> str: ...  # noqa: N802 - module constants are upper case
    @property
    def DEFAULT_BASE_URL(self) -> str: ...  # noqa: N802

    def models(self) -> tuple[str, ...]:
        """The models the table knows, for messages."""
        ...

    def capabilities(
        self, model: str, *, images: int = 1, placement: str | None = None
    ) -> Capabilities:
        """What `model` takes when sent `images` pictures in `placement` (routing may differ)."""
        ...

    def terms(self, options: Options) -> Terms:
        """What the options ask for, under this dialect's names."""
        ...

    def submit(self, job: Job, endpoint: Endpoint) -> Request:
        """The POST that asks for the job."""
        ...

    def poll(self, task: str, endpoint: Endpoint) -> Request:
        """The GET that asks how a Task stands."""
        ...

    def read_submit(self, reply: Reply) -> Produced | Accepted | Rejected | Unreadable:
        """What the reply to a submit means; a result or a task by its own fields (trap 4)."""
        ...

    def read_poll(self, reply: Reply) -> Produced | Pending | Rejected | Unreadable:
        """What the reply to a poll means; an unknown status is Pending with a warning."""
        ...


@runtime_checkable
class KeepsUsage(Protocol):
    """A Dialect whose servers tell what was used: these two functions beside the others."""

    def usage_requests(self, endpoint: Endpoint, first: date, last: date) -> Iterator[Request]:
        """The GETs that ask for the days from `first` to `last`, both included."""
        ...

    def read_usage(self, name: str, replies: Iterable[bytes], zone: timezone) -> Bill:
        """The bodies of their replies as a Bill. Raises InputRefused."""
        ...
