"""A scripted gateway in front of the tests' provider, with the shapes of real ones.

`gateways.toml` is the table: what each answers in the provider's place, before it began or after
it was paid, and what is right. The front draws from it and keeps a book of its own of what it
struck; what was charged stands in the provider's.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retouch.dialects.base import Reply

When = Literal["before", "after", "either"]
Right = Literal["unsent", "unknown", "failed", "stopped"]
Message = MutableMapping[str, Any]
App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[Message]],
        Callable[[Message], Awaitable[None]],
    ],
    Awaitable[None],
]


@dataclass(frozen=True, slots=True)
class Shape:
    """One answer of one gateway, and what is right about it."""

    gateway: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    when: When
    right: Right
    why: str
    source: str

    @property
    def reply(self) -> Reply:
        """The answer as a dialect reads it."""
        return Reply(self.status, dict(self.headers), self.body)

    @property
    def times(self) -> tuple[Literal["before", "after"], ...]:
        """When it may strike."""
        return ("before", "after") if self.when == "either" else (self.when,)

    def __str__(self) -> str:
        return f"{self.gateway} {self.status}"


def shapes() -> tuple[Shape, ...]:
    """The table, row by row."""
    document = tomllib.loads((Path(__file__).parent / "gateways.toml").read_text("utf-8"))
    return tuple(
        Shape(
            **{
                **row,
                "headers": tuple(row["headers"].items()),
                "body": row["body"].encode(),
            }
        )
        for row in document["shape"]
    )


SHAPES = shapes()


@dataclass(frozen=True, slots=True)
class Strike:
    """One submit that the gateway answered itself."""

    shape: Shape
    is_charged: bool


@dataclass(slots=True)
class Front:
    """An ASGI application before another one: of its submits the share `share` is answered here,
    from `drawn`, after the work was done or before it was begun."""

    app: App
    chance: random.Random
    share: float
    drawn: Sequence[Shape] = SHAPES
    strikes: list[Strike] = field(default_factory=list)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["method"] != "POST" or self.chance.random() >= self.share:
            await self.app(scope, receive, send)
            return
        asked = await _all_of(receive)  # gateways take in the whole request before they pass it on
        shape = self.chance.choice(self.drawn)
        is_charged = self.chance.choice(shape.times) == "after"
        if is_charged:
            await self.app(scope, _again(asked), _lost)
        self.strikes.append(Strike(shape, is_charged))
        headers = [(name.encode(), value.encode()) for name, value in shape.headers]
        headers.append((b"content-length", str(len(shape.body)).encode()))
        await send({"type": "http.response.start", "status": shape.status, "headers": headers})
        await send({"type": "http.response.body", "body": shape.body})


async def _all_of(receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    """A request's body, message by message."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _again(messages: list[Message]) -> Callable[[], Awaitable[Message]]:
    """The same messages, to be received once more."""
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


async def _lost(_: Message) -> None:
    """The provider's answer, which goes no further than the gateway."""
