"""Where notices go: a URL of the user's, or a program of the user's on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import DEVNULL, PIPE
from urllib.parse import urlsplit

import anyio

from retouch.engine.notices import NOTICE_SECONDS, Notice
from retouch.transport.notice import post_notice


@dataclass(frozen=True, slots=True)
class URLHook:
    """Posts a notice; problems name the host alone, for the rest may be a secret."""

    url: str = field(repr=False)
    trust_env: bool = False

    async def __call__(self, notice: Notice) -> str | None:
        """Why the server did not take it, if it did not."""
        problem = await post_notice(
            self.url, notice.document, timeout_seconds=NOTICE_SECONDS, trust_env=self.trust_env
        )
        if problem is None:
            return None
        host = urlsplit(self.url).hostname
        return f"{host}: {problem.replace(self.url, str(host))}"


@dataclass(frozen=True, slots=True)
class CommandHook:
    """Starts a program without a shell, in a session of its own; its output goes nowhere.

    `environment` is what it is given, besides the notice's line in RETOUCH_TEXT.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)

    async def __call__(self, notice: Notice) -> str | None:
        """Why it did not end well, if it did not; killed with its children where it is late."""
        name = self.command[0]
        try:
            with anyio.CancelScope(shield=True):  # begun is known by its number, to be ended
                process = await anyio.open_process(
                    self.command,
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                    env={**self.environment, "RETOUCH_TEXT": notice.text},
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            return f"{name} cannot be started: {error}"
        code = None
        try:
            with anyio.move_on_after(NOTICE_SECONDS):
                if process.stdin is not None:
                    # A command may ignore its standard input.
                    with suppress(anyio.BrokenResourceError, OSError):
                        await process.stdin.send(notice.document)
                        await process.stdin.aclose()
                code = await process.wait()
        finally:
            if code is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.aclose()
        if code is None:
            return f"{name} did not end within {NOTICE_SECONDS:g} s and was killed"
        return f"{name} ended with {code}" if code else None
