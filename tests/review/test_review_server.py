"""`retouch review`: a real process, asked by a real browser, by other origins, by hand."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from retouch.ledger import digest_of
from retouch.ledger.records import RunEnds, decode, encode
from tests.support.albums import Album, common_album, key_of
from tests.support.browser import REBOUND, Browser
from tests.support.ledgers import GEMINI, write
from tests.support.reviewing import Served, served

KEY = key_of("data/cats/0.png", GEMINI, "white")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Album:
    return common_album(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def review(shared: Album) -> Iterator[Served]:
    with served(shared) as running:
        yield running


def marks(album: Album) -> list[dict[str, object]]:
    path = album.folder / "review.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_marks_are_written_at_once(shared: Album, review: Served, page: Browser) -> None:
    """A key pressed in the page is a line in review.jsonl; undone, another one."""
    before = (shared.folder / "ledger.jsonl").read_bytes()
    page.open(review.url)
    page.press("j", "r", *"bad", "Enter")
    page.until(lambda: page.current()["mark"] == "reject")
    (line,) = marks(shared)
    assert {name: line[name] for name in ("v", "key", "index", "mark", "reason")} == {
        "v": 1, "key": KEY, "index": 0, "mark": "reject", "reason": "bad",
    }  # fmt: skip
    page.press("u")
    page.until(lambda: page.current()["mark"] == "")
    assert [line["mark"] for line in marks(shared)] == ["reject", "none"]
    page.press(" ")
    page.until(lambda: page.script("return document.getElementById('before').naturalWidth > 0"))
    page.until(lambda: page.script("return document.getElementById('after').naturalWidth > 0"))
    assert page.complaints == []
    assert {urlsplit(url).netloc for url in page.requests if url != "about:blank"} == {
        f"127.0.0.1:{review.port}"
    }
    assert (shared.folder / "ledger.jsonl").read_bytes() == before


def test_what_is_served_and_what_is_not(shared: Album, review: Served) -> None:
    """Pages, thumbnails, pictures and sources to who knows the token; nothing else to anybody."""
    home = f"/{review.token}"
    status, _ = review.ask("GET", f"/?token={review.token}")
    assert status == 303
    picture = f"images/{GEMINI}/white/cats/0-0.png"
    known = (shared.folder / picture).read_bytes()
    assert review.ask("GET", f"{home}/{picture}") == (200, known)
    source = (shared.root / "data/cats/0.png").read_bytes()
    assert review.ask("GET", f"{home}/sources/0") == (200, source)
    assert review.ask("GET", f"{home}/report/costs.html")[0] == 200
    for path in ("/", "/?token=x", f"/{picture}", "/x/report/index.html", f"//{picture}"):
        assert review.ask("GET", path)[0] == 403, path
    for path in (
        "ledger.jsonl", "review.jsonl", "../cats.yaml", "%2e%2e/cats.yaml", "sources/99",
        "sources/-1", "images/../ledger.jsonl", "report/static/../../../cats.yaml",
        "report/thumbs/../index.html", "report/thumbs/" + "0" * 32 + ".webp", "marks",
        "/etc/passwd", "report/data/", "images/%00",
    ):  # fmt: skip
        assert review.ask("GET", f"{home}/{path}")[0] == 404, path


def test_a_mark_needs_everything(shared: Album, review: Served) -> None:
    """Without our Origin, Host, site, type, token, size or a known picture nothing is written."""
    path = f"/{review.token}/marks"
    body = json.dumps({"key": KEY, "index": 0, "mark": "keep", "reason": ""})
    ours = f"http://127.0.0.1:{review.port}"
    good = {"Origin": ours, "Content_Type": "application/json"}
    count = len(marks(shared)) if (shared.folder / "review.jsonl").exists() else 0
    refused: list[tuple[str, str, dict[str, str], int]] = [
        (path, body, {"Content_Type": "application/json"}, 403),
        (path, body, good | {"Origin": "http://evil.example"}, 403),
        (path, body, good | {"Origin": "null"}, 403),
        (path, body, good | {"Sec_Fetch_Site": "same-site"}, 403),
        (path, body, good | {"Sec_Fetch_Site": "cross-site"}, 403),
        (path, body, good | {"Host": f"evil.example:{review.port}"}, 421),
        (path, body, good | {"Host": f"127.0.0.1.evil.example:{review.port}"}, 421),
        (path, body, good | {"Host": f"localhost.evil.example:{review.port}"}, 421),
        (path, body, good | {"Origin": f"{ours}.evil.example"}, 403),
        (path, body, good | {"Origin": ours.replace("127.0.0.1", "127.0.0.2")}, 403),
        (path, body, good | {"Content_Type": "text/plain"}, 415),
        ("/x/marks", body, good, 403),
        ("/marks", body, good, 403),
        (path, "x" * 10_000, good, 413),
        (path, "{}", good, 400),
        (path, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), good, 400),
        (path, json.dumps({"key": KEY, "index": 0, "mark": "love"}), good, 400),
        (path, json.dumps({"key": KEY, "index": 7, "mark": "keep"}), good, 404),
        (path, json.dumps({"key": "0" * 64, "index": 0, "mark": "keep"}), good, 404),
    ]
    for where, content, headers, status in refused:
        assert review.ask("POST", where, content, **headers)[0] == status, (where, headers)
    now = len(marks(shared)) if (shared.folder / "review.jsonl").exists() else 0
    assert now == count
    assert review.ask("POST", path, body, **good)[0] == 200
    assert len(marks(shared)) == count + 1


@contextmanager
def other_origin(script: str) -> Iterator[str]:
    """Another server on this machine, whose page runs a script."""

    class Page(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            data = f"<!doctype html><title>x</title><body><script>{script}</script>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def test_another_origin_cannot_mark_nor_read(shared: Album, review: Served, page: Browser) -> None:
    """Even one that has learnt the token: by form, fetch, image, script, frame or event stream."""
    home = f"http://127.0.0.1:{review.port}/{review.token}"
    picture = f"{home}/images/{GEMINI}/white/cats/0-0.png"
    script = f"""
    window.told = {{}};
    const body = JSON.stringify({{key: "{KEY}", index: 0, mark: "reject", reason: "evil"}});
    const tell = (name, value) => {{ told[name] = value; }};
    fetch("{home}/marks", {{method: "POST", mode: "no-cors", body}})
      .then(r => tell("post", r.type), () => tell("post", "failed"));
    fetch("{home}/report/data/gallery.js").then(() => tell("fetch", "READ"),
      () => tell("fetch", "failed"));
    fetch("{home}/report/data/gallery.js", {{mode: "no-cors"}}).then(r => tell("opaque", r.type),
      () => tell("opaque", "failed"));
    const add = (tag, source, name) => {{ const e = document.createElement(tag); e.src = source;
      e.onload = () => tell(name, "LOADED"); e.onerror = () => tell(name, "failed");
      document.body.append(e); }};
    add("img", "{picture}", "image");
    add("script", "{home}/report/data/gallery.js", "script");
    const events = new EventSource("{home}/events");
    events.onmessage = () => tell("events", "READ");
    events.onerror = () => {{ events.close(); tell("events", "failed"); }};
    """
    count = len(marks(shared)) if (shared.folder / "review.jsonl").exists() else 0
    with other_origin(script) as url:
        for address in (url, url.replace("127.0.0.1", "localhost")):
            page.page.goto(address)
            page.until(lambda: page.script("return Object.keys(told).length === 6"))
            told = page.script("return told")
            read = {name: value for name, value in told.items() if value in ("READ", "LOADED")}
            assert read == {}
            assert page.script("return typeof retouchGallery") == "undefined"
    now = len(marks(shared)) if (shared.folder / "review.jsonl").exists() else 0
    assert now == count


def test_a_name_that_is_bound_anew_is_no_way_in(review: Served, page: Browser) -> None:
    """DNS rebinding: the browser sends the attacker's name as Host, and gets nothing."""
    page.page.goto(f"http://{REBOUND}:{review.port}/?token={review.token}")
    assert page.one("body").inner_text() == "this is another host's name"


def test_the_numbers_move_while_a_run_goes_on(tmp_path: Path, page: Browser) -> None:
    """Records that are appended appear without a reload; the end of the run is said."""
    album = common_album(tmp_path)
    path = album.folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]))
    with served(album) as running:
        page.size(1280, 2400)
        page.open(running.url)
        page.until(lambda: page.one("#live").get_attribute("data-running") == "true")
        assert len(page.all("[data-key]")) == 5
        assert re.search(r"\d+ d since the last record", page.one("#live").inner_text())
        with path.open("ab") as file:
            file.write(lines[9][:50])
            file.flush()
            told = running.events()
            for _ in range(3):  # it has looked since
                next(told)
            told.close()
            file.write(lines[9][50:] + b"".join(lines[10:]))
        page.until(lambda: len(page.all("[data-key]")) == 19)
        ended = RunEnds(outcome="finished", counts={}, cost={}, at="2026-01-01T00:00:00Z")
        last = decode(lines[-1][:-1])
        whole = msgspec.structs.replace(ended, run=last.run, prev=digest_of(lines[-1][:-1]))
        with path.open("ab") as file:
            file.write(encode(whole) + b"\n")
        page.until(lambda: "the run has ended" in page.one("#live").inner_text())
        assert page.one("#live progress").get_attribute("value") == "16"
    assert page.complaints == []


def test_a_tab_out_of_sight_lets_its_connection_go(tmp_path: Path, page: Browser) -> None:
    """A browser has six connections for all tabs of a server; seen again, a tab catches up."""
    album = common_album(tmp_path)
    path = album.folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:9]))
    sight = (
        "Object.defineProperty(document, 'visibilityState', {value: given[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    with served(album) as running:
        page.size(1280, 2400)
        page.open(running.url)
        page.until(lambda: page.one("#live").get_attribute("data-running") == "true")
        page.script(sight, "hidden")
        with path.open("ab") as file:
            file.write(b"".join(lines[9:]))
        for name, content in running.events():  # another page is told
            if name == "progress" and content["outcomes"].get("unknown"):
                break
        assert len(page.all("[data-key]")) == 5
        page.script(sight, "visible")
        page.until(lambda: len(page.all("[data-key]")) == 19)


def test_a_ledger_that_is_replaced_is_not_followed(tmp_path: Path, page: Browser) -> None:
    """What was read stays, and an open page says why; nothing of another file is mixed in."""
    album = common_album(tmp_path)
    path = album.folder / "ledger.jsonl"
    with served(album) as running:
        page.open(running.url)
        other = path.with_name("other.jsonl")
        other.write_bytes(path.read_bytes())
        other.replace(path)
        asked = f"/{running.token}/report/index.html"
        page.until(lambda: running.ask("GET", asked)[0] == 503)
        assert b"was replaced" in running.ask("GET", asked)[1]
        page.until(lambda: "was replaced" in page.one("#live").inner_text())
        page.page.goto("about:blank")


def test_a_page_says_when_nobody_tells_it_any_more(tmp_path: Path, page: Browser) -> None:
    """A server that has ended is no run that stands still."""
    with served(common_album(tmp_path)) as running:
        page.open(running.url)
        page.until(lambda: page.one("#live dl").is_visible())
        assert "not connected" not in page.one("#live").inner_text()
    page.until(lambda: "not connected" in page.one("#live").inner_text())
    page.page.goto("about:blank")


def test_what_is_looked_at_stays_where_it_is(tmp_path: Path, page: Browser) -> None:
    """A row above that grows by a variant moves nothing in view."""
    album = common_album(tmp_path)
    path = album.folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    # The first source's two variants come last.
    first = key_of("data/cats/0.png", GEMINI, "white")
    records = [decode(line[:-1]) for line in lines]
    late = [each for each in records if getattr(each, "key", "") == first]
    early = [each for each in records if each not in late]
    write(path, early)
    kept = path.read_bytes()
    write(path, [*early, *late])
    whole = path.read_bytes()
    path.write_bytes(kept)
    place = (
        "const row = [...document.querySelectorAll('.row')].find(e => e.textContent"
        ".includes('dogs/2.png')); const top = document.getElementById('grid')"
        ".getBoundingClientRect().top; return row && row.getBoundingClientRect().top - top"
    )
    with served(album) as running:
        page.size(1280, 700)
        page.open(running.url)
        page.until(lambda: page.one("#live dl").is_visible())
        page.script("document.getElementById('grid').scrollTop = 100000")
        page.until(lambda: page.script(place))
        before = page.script(place)
        with path.open("ab") as file:
            file.write(whole[len(kept) :])
        page.until(lambda: page.one("#count").inner_text().startswith("19 "))
        assert abs(page.script(place) - before) <= 1
        assert page.script("return document.getElementById('grid').scrollTop") > 0
