"""One Chromium for all tests of pages, and the pages of a common outputs folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from retouch.cli import main
from tests.support.albums import Album, common_album
from tests.support.browser import Browser, browser


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    """An English Chromium, closed with its module: this thread has an event loop while it is open,
    and tests elsewhere begin their own."""
    with browser() as opened:
        yield opened


@pytest.fixture
def page(window: Browser) -> Browser:
    """The window as it is at first, without what earlier tests left."""
    window.size(1280, 800)
    window.prefer("light")
    window.page.goto("about:blank")
    window.complaints.clear()
    window.requests.clear()
    return window


@pytest.fixture(scope="package")
def common(tmp_path_factory: pytest.TempPathFactory) -> Album:
    """Written once; whoever changes it takes `album`."""
    made = common_album(tmp_path_factory.mktemp("common"))
    write_pages(made)
    return made


@pytest.fixture
def album(common: Album, tmp_path: Path) -> Album:
    """The common folder, one's own."""
    shutil.copytree(common.root, tmp_path / "own")
    return Album(tmp_path / "own")


def write_pages(album: Album) -> None:
    """What `report --format html` does."""
    words = ["report", str(album.manifest), "--outputs", str(album.outputs), "--format", "html"]
    assert main(words) == 0
