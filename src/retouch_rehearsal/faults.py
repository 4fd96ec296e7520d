"""Bad days on request: what goes wrong, how often, and the same way every time.

A fault is drawn from its seed and the request's content (and how often that content was seen),
not from arrival order: concurrent clients get the same bad day run after run. `after` and
`times` count matching requests in order of arrival.

`usage_noise` is no fault but a habit of real servers: the same request is not counted the same
twice. It is drawn in the same way.

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
    "expired_url", "moved",
]  # fmt: skip
Stage = Literal["submit", "poll", "file"]

NEEDS_SOCKET = frozenset({"reset_early", "reset_before", "reset_after"})
FATES = frozenset({"task_failed", "task_stuck", "task_unknown_status", "task_vanished"})
SYNC_ONLY = frozenset({"empty_data", "fewer", "broken_base64", "not_a_picture", "no_usage"})
INSTEAD = frozenset({"429", "1303", "500", "502", "503", "504", "redirect", "refused"})
EDITED_BADLY = frozenset({"moved"})
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

    @property
    def is_charged(self) -> bool:
        """Whether the submit it strikes is charged."""
        if self.charged is not None:
            return self.charged
        return self.kind == "504" or self.kind in AFTERWARDS | FATES | EDITED_BADLY

    @property
    def lets_work_be_done(self) -> bool:
        """Whether the submit it strikes is carried out: it is charged, or spoilt afterwards."""
        return self.is_charged or self.kind in AFTERWARDS | FATES | EDITED_BADLY

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind in FATES | SYNC_ONLY | EDITED_BADLY | {"refused"} and self.at != "submit":
            raise ValueError(f"{self.kind} happens at submit only")
        if self.kind == "expired_url" and self.at != "poll":
            raise ValueError("expired_url happens at poll only")
        if self.model is not None and self.kind == "reset_early":
            raise ValueError("reset_early comes before the model is known: leave model out")
        return self


class Faults(BaseModel):
    """A day's faults. The first that is drawn for a request happens; latency adds to others.

    `usage_noise`: the share by which a synchronous request's tokens are more or fewer, at most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(strict=True)] = 0
    usage_noise: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, data: object) -> Faults:
        """Faults from plain data: a list of faults, or {seed, usage_noise, faults}. Raises
        ValueError."""
        if data is None:
            return cls()
        if isinstance(data, Sequence) and not isinstance(data, str | bytes):
            data = {"faults": list(data)}
        if not isinstance(data, Mapping):
            raise ValueError(  # noqa: TRY004  one kind of error for all that is wrong
                "faults: a list of faults is needed, or a mapping with seed, usage_noise and faults"
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
            return self._draw(fitting, self._occasion(stage, content))

    def noise(self, content: str) -> tuple[float, float]:
        """The shares by which this request's input and output tokens differ from the table's."""
        most = self._faults.usage_noise
        if not most:
            return 0.0, 0.0
        with self._lock:
            occasion = self._occasion("usage", content)
        inputs, outputs = (
            most * (2 * _chance(f"{self._faults.seed}|{what}|{occasion}") - 1)
            for what in ("input", "output")
        )
        return inputs, outputs

    def _occasion(self, what: str, content: str) -> str:
        """The content and how often it was met before, which is counted."""
        self._seen[(what, content)] += 1
        return f"{content}|{self._seen[(what, content)] - 1}"

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
        if _chance(f"{self._faults.seed}|{index}|{content}") >= fault.probability:
            return False
        self._fired[index] += 1
        return True


def _chance(text: str) -> float:
    """A number from 0 to 1, always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56
