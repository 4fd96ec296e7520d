"""The service over HTTP: an ASGI application, in process or behind a server.

A request passes, in order: key, early faults, minute limit, body, order, faults, the work in a
thread (which charges), the reply, and what a fault does to the reply.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from . import openapi, replies
from .book import Book, digest_of_key
from .catalogue import ModelCard, with_others
from .faults import EDITED_BADLY, Dice, Drawn, Faults, Stage
from .files import LinkBroken
from .marks import HANDLERS, Marked
from .orders import Endpoint, Order, read_order
from .pictures import kind_of
from .refusal import JsonObject, JsonValue, unauthorized
from .sending import Reset
from .service import SECONDS_VALID, Service, Terms, fate_of
from .statistics import QueryRefused, read_period, usage_document
from .tasks import Task
from .traffic import Caps, MinuteLimit, Traffic

VARIANT = "x-rehearsal-variant"  # sent by retouch in process alone
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service behaves, wherever it runs.

    `api_key`: the one key accepted (None: any, but one must be given). `url_map`: input URLs to
    the files or folders that answer for them. `seconds_valid`: how long a result's URL lasts.
    `fetches_loopback`: input URLs on this machine are fetched, as a provider fetches public ones.
    `other_models`: names of others' models of OpenAI's shape, to be edited with all the same.
    """

    api_key: str | None = None
    faults: Faults = field(default_factory=Faults)
    url_map: Mapping[str, Path] = field(default_factory=dict)
    requests_per_minute: int | None = None
    seconds_per_task: float = 2.0
    seconds_valid: float = SECONDS_VALID
    caps: Caps = field(default_factory=Caps)
    refuses_real_keys: bool = False
    fetches_loopback: bool = False
    other_models: tuple[str, ...] = ()


def create_app(
    settings: Settings = Settings(),
    *,
    base_url: str = "http://rehearsal.invalid",
    book: Book | None = None,
    folder: Path | None = None,
    clock: Callable[[], float] = time.time,
    has_socket: bool = False,
    inline: bool = False,
) -> ASGIApp:
    """The service as an ASGI application; needs no lifespan, works under asyncio and trio.

    `base_url`: where it is reached, with or without /v1. `folder`: where tasks are kept, so that
    a service opened on it again goes on with them. `clock`: Unix time in seconds. `inline`: work
    on the event loop, for tests in virtual time.
    Raises ValueError for faults that need a real connection where there is none.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    service = Service(
        root=root,
        book=book if book is not None else Book(),
        url_map=settings.url_map,
        fetches_loopback=settings.fetches_loopback,
        seconds_per_task=settings.seconds_per_task,
        clock=clock,
        seconds_valid=settings.seconds_valid,
        folder=folder,
    )
    door = Door(
        service=service,
        root=root,
        dice=Dice(_possible(settings.faults, has_socket)),
        traffic=Traffic(settings.caps, inline=inline),
        limit=MinuteLimit(settings.requests_per_minute, clock),
        api_key=settings.api_key,
        refuses_real_keys=settings.refuses_real_keys,
        sold=with_others(settings.other_models),
    )
    return Marked(Starlette(routes=door.routes(), exception_handlers=HANDLERS), service)


def _possible(faults: Faults, has_socket: bool) -> Faults:
    if faults.need_socket and not has_socket:
        raise ValueError(
            f"faults {', '.join(faults.need_socket)} need a real connection: use `retouch serve`"
        )
    return faults


@dataclass(frozen=True, slots=True)
class Door:
    """The handlers, and what they share."""

    service: Service
    root: str
    dice: Dice
    traffic: Traffic
    limit: MinuteLimit
    api_key: str | None
    refuses_real_keys: bool
    sold: Mapping[str, ModelCard]

    def routes(self) -> list[Route]:
        """Every path of the service."""
        queue = "/queue/fal-ai/kling-image"
        return [
            Route("/v1/images/edits", self._submit("edits"), methods=["POST"]),
            Route("/v1/images/generations", self._submit("generations"), methods=["POST"]),
            Route(f"{queue}/o1", self._submit("queue"), methods=["POST"]),
            Route("/v1/images/tasks/{task_id}", self.poll, methods=["GET"]),
            Route(f"{queue}/requests/{{task_id}}", self.poll_queue, methods=["GET"]),
            Route(f"{queue}/requests/{{task_id}}/status", self.poll_queue, methods=["GET"]),
            Route("/files/{task_id}/{name}", self.file, methods=["GET"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v2/stat/usage", self.usage, methods=["GET"]),
            Route("/openapi.json", self.description, methods=["GET"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/_book", self.charges, methods=["GET"]),
        ]

    def _submit(self, endpoint: Endpoint) -> Handler:
        async def submit(request: Request) -> Response:
            key = self._authorized(request)
            if self.dice.draw("submit", request.url.path, None, early=True).fault:
                return Reset()
            self.limit.enter(key)
            async with self.traffic.room(request):
                order = await self._order(endpoint, request)
                drawn = self._drawn_for(order)
                return await self._answer(order, digest_of_key(key), drawn)

        return submit

    async def _order(self, endpoint: Endpoint, request: Request) -> Order:
        """What a request asks for; its raw body is let go of here."""
        content_type = request.headers.get("content-type", "")
        body = await self.traffic.read(request)
        order = await self.traffic.work(lambda: read_order(endpoint, content_type, body, self.sold))
        variant = request.headers.get(VARIANT, "0")
        return replace(order, variant=int(variant)) if variant.isdecimal() else order

    async def _answer(self, order: Order, key: str, drawn: Drawn) -> Response:
        """Carry out an order under what was drawn for it."""
        fault, noise = drawn.fault, self.dice.noise(order.digest)
        await anyio.sleep(drawn.latency)
        reply = None
        if fault is None:
            reply = await self._own_reply(order, Terms(key, noise=noise))
        elif fault.lets_work_be_done:
            images = {"empty_data": 0, "fewer": max(1, order.n - 1)}.get(fault.kind)
            fate, moves = fate_of(fault.kind), fault.kind in EDITED_BADLY
            terms = Terms(key, images, fault.is_charged, fate, noise, moves)
            reply = await self._own_reply(order, terms, fault.kind)
        return replies.struck(fault, reply, self.service.clock())

    async def _own_reply(self, order: Order, terms: Terms, spoilt: str | None = None) -> Response:
        service, clock = self.service, self.service.clock

        def accept() -> Response:
            task = service.accept(order, terms)
            if order.endpoint == "queue":
                return replies.json_reply(self._queue_document(task))
            return replies.json_reply({"task_id": task.id})

        def carry_out() -> Response:
            edited = service.carry_out(order, terms)
            return replies.edited_reply(edited, order, clock(), spoilt)

        return await self.traffic.work(accept if order.model.is_task else carry_out)

    def _queue_document(self, task: Task, *, expired: bool = False) -> JsonObject:
        now = self.service.clock()
        return replies.queue_document(task, self.service.signer, self.root, now, expired=expired)

    async def poll(self, request: Request) -> Response:
        """`GET /v1/images/tasks/{task_id}`."""
        return await self._polled(request, is_queue=False)

    async def poll_queue(self, request: Request) -> Response:
        """`GET /queue/fal-ai/kling-image/requests/{task_id}` and its `/status`."""
        return await self._polled(request, is_queue=True)

    async def _polled(self, request: Request, *, is_queue: bool) -> Response:
        self._authorized(request)
        now = self.service.clock()
        task = self.service.tasks.get(request.path_params["task_id"], now)
        drawn = await self._drawn("poll", task.order)
        expired = drawn.is_("expired_url")
        if is_queue:
            document = self._queue_document(task, expired=expired)
        else:
            document = replies.task_document(task, self.service.signer, now, expired=expired)
        return replies.struck(drawn.fault, replies.json_reply(document), now)

    async def file(self, request: Request) -> Response:
        """A result, by its signed URL; no key is wanted."""
        now = self.service.clock()
        try:
            link = self.service.signer.read(str(request.url), now)
        except LinkBroken as error:
            return replies.json_reply({"error": str(error)}, 403)
        drawn = await self._drawn("file", self.service.tasks.get(link.task_id, now).order)
        data = await self.traffic.work(lambda: self.service.file_of(link))
        return replies.struck(drawn.fault, Response(data, media_type=kind_of(data)), now)

    def _drawn_for(self, order: Order) -> Drawn:
        model = order.model
        return self.dice.draw("submit", order.digest, model.name, is_task=model.is_task)

    async def _drawn(self, stage: Stage, order: Order) -> Drawn:
        drawn = self.dice.draw(stage, order.digest, order.model.name)
        await anyio.sleep(drawn.latency)
        return drawn

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        self._authorized(request)
        data: list[JsonValue] = [
            {"id": name, "object": "model", "created": 0, "owned_by": "retouch-rehearsal"}
            for name in self.sold
        ]
        return replies.json_reply({"object": "list", "data": data})

    async def usage(self, request: Request) -> Response:
        """`GET /v2/stat/usage`: what this key was charged."""
        key = digest_of_key(self._authorized(request))
        try:
            period = read_period(request.query_params)
        except QueryRefused as error:
            return replies.json_reply({"status": False, "message": str(error)}, 400)
        charges = [charge for charge in list(self.service.book.charges) if charge.key == key]
        return replies.json_reply(usage_document(charges, period))

    async def description(self, _request: Request) -> Response:
        """`GET /openapi.json`."""
        return replies.json_reply(openapi.document())

    async def healthz(self, _request: Request) -> Response:
        """Whether the service is up."""
        return replies.json_reply({"status": "ok"})

    async def charges(self, _request: Request) -> Response:
        """The service's own book."""
        return replies.json_reply(self.service.book.document())

    def _authorized(self, request: Request) -> str:
        """The request's key; raises a 401 without one, or with a wrong one."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() not in ("bearer", "key") or not key:
            raise unauthorized("no API key: send Authorization: Bearer <key>")
        if self.refuses_real_keys and key.startswith("sk-"):
            raise unauthorized("this key looks real: the rehearsal service takes any other word")
        if self.api_key is not None and not hmac.compare_digest(
            key.encode(), self.api_key.encode()
        ):
            raise unauthorized("invalid api key")
        return key
