"""The ledger's lines as types, and what they add up to (DESIGN §3 and §4).

A Record is parsed once, strictly, by msgspec (typed tagged structs: a million lines in seconds).
`replay` is the only place where Records become Outcomes; it is pure and takes any prefix of a
ledger. A Charge belongs to an Attempt: an attempt that ended unknown stays unknown whatever a
later attempt of the same Job brings, until it is resolved.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from retouch.dialects.base import Billed, ErrorKind
from retouch.money import Money

VERSION = 1
Basis = Literal["tokens", "images", "request", "none"]

Amount = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,40}(\.[0-9]{1,40})?\Z")]
"""A decimal in full: whatever else a damaged line may hold there is no amount."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Frozen values in frozen values hold no cycles: the collector need not look at millions."""


class AmountRecord(_Part, frozen=True, kw_only=True):
    """An exact amount in one currency."""

    amount: Amount
    currency: str

    @property
    def money(self) -> Money:
        return Money(Decimal(self.amount), self.currency)


class UsageRecord(_Part, frozen=True, kw_only=True):
    """Null where the server said nothing. `text_tokens` and `image_tokens` are kinds of input,
    `cached_tokens` a part of it; `svg_…` are counted apart, of a drawing's author; `stated` is
    what the server itself says it charged."""

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
    stated: AmountRecord | None = None


class CostRecord(AmountRecord, frozen=True, kw_only=True):
    """A confirmed cost: what it was worked out from, and at which price."""

    basis: Basis
    price: str


class FileRecord(_Part, frozen=True, kw_only=True):
    """A kept picture; `path` is relative to the manifest's outputs folder."""

    path: str
    sha256: str
    bytes: int
    media_type: str
    width: int
    height: int


class ErrorRecord(_Part, frozen=True, kw_only=True):
    kind: ErrorKind
    status: int | None = None
    code: str | None = None
    message: str


class TermsRecord(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """What a Job asked for: digests of its input, prompt text and options (12 hex digits each),
    and the options a price or a check of the result looks at. `replaces` is the Key of the Job
    whose rejected picture this one takes the place of."""

    input: str
    prompt: str
    options: str
    n: int = 1
    size: str | None = None
    quality: str | None = None
    aspect_ratio: str | None = None
    replaces: str | None = None


class Record(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    gc=False,
    tag_field="event",
):
    """What every line has; the ledger fills in `at`, `run` and `prev` when it appends."""

    v: int = VERSION
    at: str = ""
    run: str = ""
    prev: str = ""


class RunBegins(Record, frozen=True, kw_only=True, tag="run"):
    manifest: str
    manifest_sha256: str
    retouch: str
    provider: str
    base_url: str
    jobs: int
    prices_sha256: str | None = None
    tags: dict[str, str] | None = None


class _OfAttempt(Record, frozen=True, kw_only=True):
    key: str
    attempt: int


class _OfWork(_OfAttempt, frozen=True, kw_only=True):
    """Says again what was asked for, so that one line can be read alone."""

    model: str
    prompt: str
    source: str


class _OfSource(_OfWork, frozen=True, kw_only=True):
    """Says which bytes were edited (None for a URL), and on which lane, where that has a name of
    its own."""

    source_sha256: str | None = None
    source_bytes: int | None = None
    lane: str | None = None


class Started(_OfSource, frozen=True, kw_only=True, tag="started"):
    ceiling: AmountRecord | None = None
    terms: TermsRecord | None = None


class Unsent(_OfAttempt, frozen=True, kw_only=True, tag="unsent"):
    error: ErrorRecord


class TaskAccepted(_OfAttempt, frozen=True, kw_only=True, tag="accepted"):
    """All that fetching the Task needs, whatever the manifest says by then: the `endpoint` that
    took it, and where its pictures go (`output` and `repeat` as in a Job)."""

    task: str
    endpoint: str = ""
    output: str = ""
    repeat: int = 0


class Done(_OfSource, frozen=True, kw_only=True, tag="done"):
    """`least`: where the server counted too little for a cost, what it cost at least."""

    task: str | None = None
    usage: UsageRecord | None = None
    cost: CostRecord | None = None
    least: AmountRecord | None = None
    files: tuple[FileRecord, ...]
    seconds: float
    warnings: tuple[str, ...] = ()


class Failed(_OfWork, frozen=True, kw_only=True, tag="failed"):
    error: ErrorRecord
    billed: Billed
    usage: UsageRecord | None = None
    cost: CostRecord | None = None
    least: AmountRecord | None = None
    ceiling: AmountRecord | None = None
    task: str | None = None
    final: bool


class Unknown(_OfWork, frozen=True, kw_only=True, tag="unknown"):
    error: ErrorRecord
    ceiling: AmountRecord | None = None
    task: str | None = None


class Resolved(_OfAttempt, frozen=True, kw_only=True, tag="resolved"):
    verdict: Literal["charged", "not_charged"]
    amount: AmountRecord | None = None
    note: str = ""


class Reused(Record, frozen=True, kw_only=True, tag="reused"):
    """Finished work delivered to one more place; `attempt` is the one that was paid for (0: in
    another ledger)."""

    key: str
    attempt: int = 0
    model: str = ""
    prompt: str = ""
    source: str = ""
    source_sha256: str | None = None
    source_bytes: int | None = None
    lane: str | None = None
    source_ledger: str = msgspec.field(name="from")
    files: tuple[FileRecord, ...]


class Salvaged(Record, frozen=True, kw_only=True, tag="salvaged"):
    """This ledger is the good beginning of a damaged one. `lost_lines` came after it and cannot be
    read any more, at least; None: nothing says how many. 0 takes that back: all is settled."""

    lost_lines: int | None
    note: str = ""


class RunEnds(Record, frozen=True, kw_only=True, tag="end"):
    outcome: Literal["finished", "interrupted", "stopped"]
    counts: dict[str, int]
    cost: dict[str, object]


AnyRecord = (
    RunBegins | Started | Unsent | TaskAccepted | Done | Failed | Unknown | Resolved | Reused
    | Salvaged | RunEnds
)  # fmt: skip

_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)
_encoder = msgspec.json.Encoder()


def decode(line: bytes) -> AnyRecord:
    """One line as a Record; raises msgspec.MsgspecError (a ValueError) when it is not one."""
    return _decoder.decode(line)


def encode(record: AnyRecord) -> bytes:
    """The Record as one line of UTF-8 JSON, without its newline."""
    return _encoder.encode(record)
