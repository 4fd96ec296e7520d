"""The manifest's `run`: what a run may spend, how long it waits, what it does when in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from retouch.manifest.kinds import (
    TERMS,
    WORD,
    Amount,
    Currency,
    HookURL,
    NoticeAt,
    Number,
    Part,
    Size,
    Text,
    VariableName,
    bytes_of,
    described,
)


class Budget(Part):
    """Limits on money that are never passed. At least one of the amounts is set."""

    model_config = described(any_of=("amount", "total", "per_day"))

    amount: Amount | None = Field(None, description="The most that one run may cost.")
    total: Amount | None = Field(
        None, description="The most that all runs of this ledger may cost together."
    )
    per_day: Amount | None = Field(None, description="The most that a day (UTC) may cost.")
    currency: Currency = Field(description="ISO 4217 code; that of the prices.")


class ConfirmAbove(Part):
    """The amount of money above which a run asks first."""

    amount: Amount = Field(description="How much.")
    currency: Currency = Field(description="ISO 4217 code, like CNY or USD.")


class UpTo(Part):
    """The most that a run may pay again, knowingly."""

    amount: Amount = Field(description="How much, for one run.")
    currency: Currency = Field(description="ISO 4217 code; that of the prices.")


class PayAgain(Part):
    """Terms on which a run pays again, by itself, for what may have been charged already."""

    retry: int = Field(1, ge=1, le=10, description="How often a job is sent again at most.")
    up_to: UpTo = Field(description="The sum that is never passed; what is left is held.")


class Notify(Part):
    """Who is told while a run goes on. One of `url`, `url_env`, `command`."""

    model_config = described(one_of=("url", "url_env", "command"))

    url: HookURL | None = Field(
        None, description="Gets one JSON POST a notice; its `text` is a line for people."
    )
    url_env: VariableName | None = Field(
        None, description="The environment variable that holds such a URL, where it is a secret."
    )
    command: tuple[Text, ...] = Field(
        (),
        max_length=100,
        description="A program and its arguments, started without a shell: the JSON on its stdin, "
        "the line for people in RETOUCH_TEXT.",
    )
    at: tuple[NoticeAt, ...] = Field(
        ("80%", "100%", "end"),
        min_length=1,
        max_length=20,
        description="When: shares of each budget, like 80%, and `end`, a run's end.",
    )


def _word_or_terms(value: object) -> str:
    return TERMS if isinstance(value, Mapping | PayAgain) else WORD


OnUnknown = Annotated[
    Annotated[Literal["hold", "retry"], Tag(WORD)] | Annotated[PayAgain, Tag(TERMS)],
    Discriminator(_word_or_terms),
]


class RunSettings(Part):
    """What a run may spend, how long it waits, and what it does when in doubt."""

    budget: Budget | None = Field(None, description="What may be spent. Default: no limit.")
    confirm_above: ConfirmAbove | None = Field(
        None, description="Ask before a run that may cost more; refused where nobody can answer."
    )
    notify: Notify | None = Field(
        None, description="Who is told that a budget comes to its end, or a run to its own."
    )
    retries: int = Field(
        3, ge=0, le=20, description="How often a request that was surely not billed is sent again."
    )
    stop_after_losses: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="A model gets no more after so many answers in a row that may have been "
        "charged and gave no picture.",
    )
    stop_after_outage: Number = Field(
        3600.0,
        gt=0,
        le=604_800,
        description="Seconds after which a model that serves nothing gets no more; until then it "
        "is asked now and then.",
    )
    timeout: Number = Field(
        600.0, gt=0, le=86400, description="Seconds to wait for the reply to one request."
    )
    repeat: int = Field(
        1, ge=1, le=10_000, description="How often each job is done (and paid for)."
    )
    on_unknown: OnUnknown = Field(
        "hold",
        description="What to do with a request that may or may not have been charged: hold it "
        "until it is resolved; retry: send it (and perhaps pay) again with the next run; or, for "
        "unattended nights, {retry: 1, up_to: {amount: 5, currency: CNY}}: send it again at once, "
        "within that sum. It never overrides a resolution.",
    )
    retry_empty: int = Field(
        0,
        ge=0,
        le=5,
        description="How often a job is sent (and paid for) again when its answer was whole, "
        "charged and without a picture; within the budget, and counted as waste.",
    )
    memory: Size = Field(
        "512MB",
        description="What the pictures in flight may take of this machine's memory, like 512MB or "
        "2GB: requests wait until there is room, and replies that find none go to the disk as they "
        "come.",
    )
    on_bad_source: Literal["refuse", "skip"] = Field(
        "refuse", description="Whether one bad picture stops the run, or is skipped and said."
    )

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return bytes_of(self.memory)
