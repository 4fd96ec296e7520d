"""Around the application: the mark on every reply, the note in the book, errors as documents."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .book import Seen
from .refusal import Refusal
from .replies import refusal_reply
from .service import Service

HEADER = b"x-retouch-rehearsal"


class Marked:
    """Marks every reply as a rehearsal's and notes every request in the book."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, b"1")]
            await send(message)

        try:
            await self._app(scope, receive, marked)
        finally:
            authorized = any(name == b"authorization" for name, _ in scope["headers"])
            self._service.book.saw(
                Seen(self._service.clock(), scope["method"], scope["path"], status, authorized)
            )


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101  how Starlette's handlers are typed
    return refusal_reply(error)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    refusal = Refusal(error.status_code, error.detail, headers=error.headers)
    return refusal_reply(refusal)


async def _crashed(_request: Request, _error: Exception) -> Response:
    return refusal_reply(Refusal(500, "internal error", kind="internal_error"))


HANDLERS = {Refusal: _refused, HTTPException: _http_error, Exception: _crashed}
