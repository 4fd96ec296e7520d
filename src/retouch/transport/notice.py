"""One POST to an address of the user's own, which is no provider: no key, no second try.

What the server answers is not read beyond its status, and a redirect is not followed.
"""

from __future__ import annotations

import logging

import anyio
import httpx

from retouch.transport.faults import told

_ACCEPTED = range(200, 300)


async def post_notice(
    url: str, body: bytes, *, timeout_seconds: float, trust_env: bool = False
) -> str | None:
    """POST `body`, a JSON document, within `timeout_seconds`; None where the server took it, else
    why not, without the URL, which may be a secret. Raises nothing but cancellation."""
    for name in ("httpx", "httpcore"):  # below WARNING they log URLs
        logging.getLogger(name).setLevel(logging.WARNING)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "retouch"}
    status = None
    with anyio.move_on_after(timeout_seconds):
        try:
            async with (
                httpx.AsyncClient(trust_env=trust_env, timeout=timeout_seconds) as client,
                client.stream("POST", url, content=body, headers=headers) as reply,
            ):
                status = reply.status_code
        except Exception as error:
            if status is None:
                return told(error)
    if status is None:
        return f"no answer within {timeout_seconds:g} s"
    return None if status in _ACCEPTED else f"HTTP {status}"
