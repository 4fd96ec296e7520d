"""A real Chromium for tests of pages: what it logs and asks the network for is part of the test.

Debian's `chromium`, driven by playwright, which brings no browser of its own. Where it is not
installed, a test is skipped and says so; under CI it fails, for there somebody forgot it. While it
is open, this thread has an event loop: a command that needs one of its own runs as a process.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import axe_playwright_python
import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, sync_playwright

SECONDS = 45.0  # what takes one on a quiet machine may take many beside others
SLACK = 5.0  # a wait that times out by itself says more than one that is cut off
REBOUND = "rebound.example"  # a name that leads to this machine, as an attacker's may
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps",
    # Nothing but this machine is anywhere.
    f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, "
    "EXCLUDE localhost",
)  # fmt: skip
_AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")


def chromium() -> str:
    """Where it is installed."""
    found = shutil.which("chromium")
    if found is None:
        why = "Chromium is not installed: apt-get install chromium fonts-noto-cjk"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


def _end(mark: str) -> None:
    """End the Chromium whose command line has this mark; what waits for it fails then."""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark.encode() in each.read_bytes().split(b"\0"):
                os.kill(int(each.parent.name), signal.SIGKILL)


class Browser:
    """One Chromium window, and what became of the page in it."""

    def __init__(self, context: BrowserContext, mark: str) -> None:
        self.context = context
        self.mark = mark
        context.set_default_timeout(1000 * SECONDS)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, url: str) -> None:
        """Open a page of ours and wait until it is drawn."""
        self.page.goto("about:blank")  # a new fragment alone would open nothing
        self.page.goto(url)
        self.drawn()

    def drawn(self) -> None:
        """Wait until the page is."""
        self.until(lambda: self.script("return document.documentElement.dataset.ready === ''"))

    def until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something is so; fail when it is late, or when the page no longer answers."""
        deadline = time.monotonic() + seconds
        # Playwright waits for ever for a page whose script hangs, until its Chromium is gone.
        cut = threading.Timer(seconds + SLACK, _end, [self.mark])
        cut.start()
        try:
            while not condition():
                assert time.monotonic() < deadline, "it did not come to be"
                self.page.wait_for_timeout(30)
        finally:
            cut.cancel()

    def script(self, text: str, *given: object) -> Any:
        """Run JavaScript in the page and return what it returns; `given` is the list of those."""
        return self.page.evaluate(f"(given) => {{ {text} }}", list(given))

    def all(self, selector: str) -> list[Locator]:
        """The elements that a CSS selector finds."""
        return self.page.locator(selector).all()

    def one(self, selector: str) -> Locator:
        """The first of them."""
        return self.page.locator(selector).first

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def current(self) -> dict[str, str]:
        """The data attributes of the cell that has the focus."""
        found: dict[str, str] = self.script(
            "return {...(document.querySelector('[data-key][aria-current=true]') ?? {}).dataset}"
        )
        return found

    def size(self, width: int, height: int) -> None:
        """Make the page's window so large, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    def prefer(self, scheme: Literal["dark", "light"]) -> None:
        """Prefer a colour scheme."""
        self.page.emulate_media(color_scheme=scheme)

    def violations(self) -> list[tuple[str, list[str]]]:
        """The rules of accessibility that the page breaks, with elements that do."""
        self.page.evaluate(_AXE.read_text("utf-8"))
        found = self.page.evaluate("() => axe.run().then(found => found.violations)")
        return [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]


@contextmanager
def browser(*, language: str = "en-US") -> Iterator[Browser]:
    """A Chromium of this language."""
    path = chromium()
    mark = f"--of-test={uuid.uuid4()}"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, mark])
        try:
            yield Browser(opened.new_context(locale=language), mark)
        finally:
            opened.close()


@contextmanager
def in_language(window: Browser, language: str) -> Iterator[Browser]:
    """Another window of the same Chromium, whose reader speaks another language."""
    running = window.context.browser
    assert running is not None
    context = running.new_context(locale=language)
    try:
        yield Browser(context, window.mark)
    finally:
        context.close()
