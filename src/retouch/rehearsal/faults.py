"""Bad days on request: what goes wrong, how often, and the same way every time.

A fault is drawn from its seed and the request's content (and how often that content was seen),
not from arrival order: concurrent clients get the same bad day run after run. `after` and
`times` count matching requests in order of arrival.

Stages: `submit` (a POST that asks for pictures), `poll` (asking after a task), `file` (fetching
a result). What a fault does to charges is part of it; `charged` overrides that.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

Kind = Literal[
    "latency", "429", "1303", "500", "502", "503", "504",
    "reset_early", "reset_before", "reset_after", "truncated", "slow_body", "redirect",
    "not_json", "html", "empty_data", "fewer", "broken_base64", "not_a_picture", "no_usage",
    "refused", "task_failed", "task_stuck", "task_unknown_status", "task_vanished",
    "expired_url",
]  # fmt: skip
Stage = Literal["submit", "poll", "file"]

NEEDS_SOCKET = frozenset({"reset_early", "reset_before", "reset_after"})
FATES = frozenset({"task_failed", "task_stuck", "task_unknown_status", "task_vanished"})
SYNC_ONLY = frozenset({"empty_data", "fewer", "broken_base64", "not_a_picture", "no_usage"})
INSTEAD = frozenset({"429", "1303", "500", "502", "503", "504", "redirect", "refused"})
AFTERWARDS = frozenset({"truncated", "slow_body", "not_json", "html", "reset_after"}) | SYNC_ONLY


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value


class Fault(BaseModel):
    """One thing that goes wrong.

    `seconds`: how long latency or a slow body lasts, or what Retry-After says (null: no header);
    `retry_after`: the header's form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[Kind, BeforeValidator(_as_text)]
    probability: Annotated[float, Field(strict=True, ge=0, le=1)] = 1.0
    stage: Stage | None = None
    model: str | None = None
    after: Annotated[int, Field(strict=True, ge=0)] = 0
    times: Annotated[int, Field(strict=True, ge=1)] | None = None
    seconds: Annotated[float, Field(strict=True, ge=0, le=3600)] | None = None
    retry_after: Literal["seconds", "date"] = "seconds"
    charged: bool | None = None

    @property
    def at(self) -> Stage:
        """The stage the fault happens at."""
        return self.stage or ("poll" if self.kind == "expired_url" else "submit")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind in FATES | SYNC_ONLY | {"refused"} and self.at != "submit":
            raise ValueError(f"{self.kind} happens at submit only")
        if self.kind == "expired_url" and self.at != "poll":
            raise ValueError("expired_url happens at poll only")
        if self.model is not None and self.kind == "reset_early":
            raise ValueError("reset_early comes before the model is known: leave model out")
        return self


class Faults(BaseModel):
    """A day's faults. The first that is drawn for a request happens; latency adds to others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(strict=True)] = 0
    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, data: object) -> Faults:
        """Faults from plain data: a list of faults, or {seed, faults}. Raises ValueError."""
        if data is None:
            return cls()
        if isinstance(data, Sequence) and not isinstance(data, str | bytes):
            data = {"faults": list(data)}
        if not isinstance(data, Mapping):
            raise ValueError(  # noqa: TRY004  one kind of error for all that is wrong
                "faults: a list of faults is needed, or a mapping with seed and faults"
            )
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise ValueError("; ".join(_sentence(problem) for problem in error.errors())) from error

    @classmethod
    def parse_yaml(cls, text: str) -> Faults:
        """Faults from a YAML document. Raises ValueError."""
        try:
            return cls.parse(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ValueError(f"faults: not YAML: {error}") from error

    @property
    def need_socket(self) -> tuple[str, ...]:
        """The kinds here that only a real connection can show."""
        return tuple(sorted({fault.kind for fault in self.faults} & NEEDS_SOCKET))


def _sentence(problem: object) -> str:
    assert isinstance(problem, Mapping)  # noqa: S101  pydantic's own error document
    path = [str(part) for part in problem["loc"]]
    where = ".".join(path) or "faults"
    if path[-1:] == ["kind"]:
        return f"{where}: unknown kind {problem['input']!r}; known: {', '.join(get_args(Kind))}"
    return f"{where}: {problem['msg']}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What goes wrong with one request: at most one fault, and seconds of latency before it."""

    fault: Fault | None = None
    latency: float = 0.0

    def is_(self, *kinds: str) -> bool:
        """Whether the fault is one of `kinds`."""
        return self.fault is not None and self.fault.kind in kinds


class Dice:
    """Draws faults for requests and counts what it drew; safe to use from several threads."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._lock = Lock()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._matched: Counter[int] = Counter()
        self._fired: Counter[int] = Counter()

    def draw(
        self,
        stage: Stage,
        content: str,
        model: str | None,
        *,
        early: bool = False,
        is_task: bool = False,
    ) -> Drawn:
        """What happens to this request; `content` is its digest, or its task's.

        `early` draws only faults that come before the body is read; `is_task` says whether the
        model answers with tasks, which leaves out what only happens to the other kind.
        """
        fitting = [
            (index, fault)
            for index, fault in enumerate(self._faults.faults)
            if fault.at == stage
            and (fault.kind == "reset_early") == early
            and fault.model in (None, model)
            and fault.kind not in (SYNC_ONLY if is_task else FATES)
        ]
        if not fitting:
            return Drawn()
        with self._lock:
            occurrence = self._seen[(stage, content)]
            self._seen[(stage, content)] += 1
            return self._draw(fitting, f"{content}|{occurrence}")

    def _draw(self, fitting: list[tuple[int, Fault]], content: str) -> Drawn:
        latency, chosen = 0.0, None
        for index, fault in fitting:
            if chosen is not None and fault.kind != "latency":
                continue
            if not self._happens(index, fault, content):
                continue
            if fault.kind == "latency":
                latency += 1.0 if fault.seconds is None else fault.seconds
            else:
                chosen = fault
        return Drawn(chosen, latency)

    def _happens(self, index: int, fault: Fault, content: str) -> bool:
        self._matched[index] += 1
        if self._matched[index] <= fault.after:
            return False
        if fault.times is not None and self._fired[index] >= fault.times:
            return False
        text = f"{self._faults.seed}|{index}|{content}"
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56
        if draw >= fault.probability:
            return False
        self._fired[index] += 1
        return True
