"""`retouch review`: the pages on loopback, live, with marks written at once.

What another page in the same browser may try is refused. Every path begins with a token that only
the first URL tells, so no other origin can name one; the Host must be ours (a name that was bound
anew to this address is not), and so must the Origin and what the browser says of the site that
asks. A mark needs all of them. Nothing is served but the pages, recorded pictures, and sources of
the plan by their number.
"""

from __future__ import annotations

import hmac
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import orjson

from retouch.engine.outputs import Outputs
from retouch.errors import RetouchError
from retouch.ledger.records import FileRecord
from retouch.pictures import sniff
from retouch.review.answers import PICTURES, POLICY, Answering, Refusal
from retouch.review.costs import Costs
from retouch.review.document import About, Document, Plain, moved
from retouch.review.gallery import Original
from retouch.review.live import Following
from retouch.review.marks import REASON_CHARACTERS, Verdict, mark_now
from retouch.review.measuring import Measuring
from retouch.review.page import FOLDER, STATIC, costs_page, data_script, index_page, static
from retouch.review.thumbnails import FOLDER as THUMBS
from retouch.review.thumbnails import Thumbnails

ADDRESS = "127.0.0.1"
BODY_BYTES = 8192
TELL_EVERY_SECONDS = 1.0
JOBS_AT_ONCE = 500  # told to a page in one event
PICTURES_AT_ONCE = 2  # thumbnails made at the same time
LISTENERS = 32
_DIGITS = 12  # of a source's number
_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip


class Judgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page asks to be written; the time is the server's."""

    key: str
    index: int | None
    mark: Verdict
    reason: str = ""


class ReviewServer:
    """The server of one outputs folder. `costs` makes the costs page's content anew, `cache` is the
    folder that remembers what was measured."""

    def __init__(
        self,
        folder: Path,
        about: About,
        following: Following,
        costs: Callable[[], Costs],
        cache: Path | None = None,
    ) -> None:
        self.folder = folder
        self.about = about
        self.following = following
        self.costs = costs
        self.token = secrets.token_urlsafe(24)
        self.outputs = Outputs(folder)
        self.measuring = Measuring(cache, following.gallery.known, self.outputs)
        self.thumbnails = Thumbnails(folder / FOLDER)
        self.making = threading.BoundedSemaphore(PICTURES_AT_ONCE)
        self.listeners = threading.BoundedSemaphore(LISTENERS)
        self.ended = threading.Event()
        self.port = 0

    @contextmanager
    def document(self) -> Iterator[Document]:
        """The pages' document as it stands, for one thread, with `following.lock` held."""
        following, report = self.following, self.folder / FOLDER
        with following.lock, self.measuring.looking_up() as geometry:
            yield Document(
                following.gallery, following.marks, report, geometry=geometry, is_served=True
            )

    def open(self, port: int) -> ThreadingHTTPServer:
        """Listen; 0 is any port. Raises OSError."""
        server = _Server((ADDRESS, port), type("Bound", (_Handler,), {"review": self}))
        self.port = server.server_address[1]
        return server

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://{ADDRESS}:{self.port}/?token={self.token}"

    @property
    def origins(self) -> frozenset[str]:
        """How a browser may call this server."""
        return frozenset(f"http://{name}:{self.port}" for name in (ADDRESS, "localhost"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to tell; anything else is a defect, and is."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(Answering):
    review: ClassVar[ReviewServer]

    def do_GET(self) -> None:  # noqa: N802 - the base's name
        """A page, a script, a picture, or the stream of events."""
        try:
            self._check()
            self._get()
        except Refusal as refused:
            self.send(refused.why.encode(), "text/plain; charset=utf-8", refused.status)
        except RetouchError as error:
            self.send(
                error.message.encode(), "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE
            )

    def do_POST(self) -> None:  # noqa: N802 - the base's name
        """A mark, and nothing else."""
        try:
            self._check()
            self._post()
        except Refusal as refused:
            self.close_connection = True  # its body was not read
            self.send(refused.why.encode(), "text/plain; charset=utf-8", refused.status)
        except RetouchError as error:
            self.send(
                error.message.encode(), "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE
            )

    # --- Who asks --------------------------------------------------------------------------

    def _check(self) -> None:
        """Refuse what does not come from our own pages, or from a person who opens one."""
        origins = self.review.origins
        if f"http://{self.headers.get('Host', '')}" not in origins:
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, "this is another host's name")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in origins:
            raise Refusal(HTTPStatus.FORBIDDEN, "another origin may not read or mark")
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_opened = (
            self.command == "GET"
            and self.headers.get("Sec-Fetch-Mode") == "navigate"
            and self.headers.get("Sec-Fetch-Dest") == "document"
        )
        if site not in ("none", "same-origin") and not is_opened:
            raise Refusal(HTTPStatus.FORBIDDEN, "another site may not read or mark")

    def _place(self) -> str:
        """The path below the token."""
        path = urlsplit(self.path).path
        token, _, place = path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.review.token.encode()):
            raise Refusal(HTTPStatus.FORBIDDEN, "open the URL that `retouch review` printed")
        return unquote(place)

    # --- What is served --------------------------------------------------------------------

    def _get(self) -> None:
        split = urlsplit(self.path)
        if split.path == "/":
            given = parse_qs(split.query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.review.token.encode()):
                raise Refusal(HTTPStatus.FORBIDDEN, "open the URL that `retouch review` printed")
            self.redirect(f"/{self.review.token}/{FOLDER}/index.html")
            return
        place = self._place()
        head, _, rest = place.partition("/")
        if place == "events":
            self._stream()
        elif place == "geometry":
            self._tell_geometry()
        elif head == FOLDER:
            self._report(rest)
        elif head == "sources":
            self._source(rest)
        else:
            self._picture(place)

    def _report(self, name: str) -> None:
        review = self.review
        if name in ("index.html", "costs.html"):
            review.following.refresh()
            if name == "index.html":
                page = index_page(review.about)
            else:
                page = costs_page(review.about, review.costs())
            self.send(page.encode(), _TYPES[".html"])
        elif name == "data/gallery.js":
            review.following.refresh()
            with review.document() as document:
                whole = document.whole(review.about)
            self.send(data_script(whole), _TYPES[".js"])
        elif name.startswith("static/") and name.removeprefix("static/") in STATIC:
            file = name.removeprefix("static/")
            self.send(static(file), _TYPES[Path(file).suffix])
        elif name.startswith(f"{THUMBS}/"):
            self._thumbnail(name.removeprefix(f"{THUMBS}/"))
        else:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such page")

    def _thumbnail(self, name: str) -> None:
        review = self.review
        known = review.following.pictured(name.removesuffix(".webp"))
        if known is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture")
        digest, read = known.sha256 if isinstance(known, FileRecord) else known.digest, known
        with review.making:
            data = review.thumbnails.make(digest, lambda: self._bytes_of(read))
        if data is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "this picture cannot be shown")
        self.send(data, "image/webp", is_kept=True)

    def _bytes_of(self, known: FileRecord | Original) -> bytes | None:
        if isinstance(known, FileRecord):
            return self.review.outputs.read(known)
        return known.to_show()

    def _source(self, number: str) -> None:
        is_number = number.isascii() and number.isdecimal() and len(number) < _DIGITS
        original = self.review.following.source(int(number)) if is_number else None
        data = None if original is None else original.as_stored()
        if original is None or original.path is None or data is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such source")
        self.send_picture(data, sniff(data) or PICTURES.get(original.path.suffix.lower(), ""))

    def _tell_geometry(self) -> None:
        """How one edit lies over its source, measured if it was not before."""
        query = parse_qs(urlsplit(self.path).query)
        key, index = query.get("key", [""])[0], query.get("index", [""])[0]
        with self.review.following.lock:
            shown = self.review.following.gallery.shown(key)
        at = int(index) if index.isascii() and index.isdecimal() and len(index) < _DIGITS else 0
        if shown is None or at >= len(shown.files):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture")
        with self.review.making:
            found = self.review.measuring.measure(shown.words.source, shown.files[at])
        self.send(orjson.dumps({"moved": moved(found)}), "application/json")

    def _picture(self, path: str) -> None:
        file = self.review.following.file_at(path)
        data = None if file is None else self.review.outputs.read(file)
        if file is None or data is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture")
        self.send_picture(data, file.media_type)

    # --- Marks -----------------------------------------------------------------------------

    def _post(self) -> None:
        if self._place() != "marks":
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing to write here")
        if self.headers.get("Origin") is None:
            raise Refusal(HTTPStatus.FORBIDDEN, "a mark comes from the page")
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a mark is JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > BODY_BYTES:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a mark is shorter")
        try:
            given = msgspec.json.decode(self.rfile.read(int(length)), type=Judgement)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"not a mark: {error}") from None
        self._write(given)

    def _write(self, given: Judgement) -> None:
        following = self.review.following
        with following.lock:
            shown = following.gallery.shown(given.key)
        pictures = len(shown.files) if shown else 0
        if not pictures or (given.index is not None and not 0 <= given.index < pictures):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such picture")
        mark = mark_now(given.key, given.index, given.mark, given.reason[:REASON_CHARACTERS])
        following.mark(mark)
        self.send(msgspec.json.encode(mark), "application/json")

    # --- The live view ---------------------------------------------------------------------

    def _stream(self) -> None:
        """Server-sent events until the page goes away or the server ends."""
        review = self.review
        if not review.listeners.acquire(blocking=False):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open")
        try:
            self.close_connection = True
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self.send_rules(POLICY, "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self._tell_changes(self._last_line())
        finally:
            review.listeners.release()

    def _last_line(self) -> int:
        """The ledger's line that the page knows of."""
        query = parse_qs(urlsplit(self.path).query)
        given = self.headers.get("Last-Event-ID") or query.get("lines", ["0"])[0]
        return int(given) if given.isascii() and given.isdecimal() else 0

    def _tell_changes(self, line: int) -> None:
        following = self.review.following
        marks = 0  # the page may have been hidden: it gets all events first
        while not self.review.ended.is_set():
            try:
                following.refresh()
            except RetouchError as error:
                self._event("trouble", error.message, line)
            with following.lock:
                keys = following.gallery.changed_after(line)
                upto = following.gallery.lines
                told = following.marks_taken[marks:]
                marks = len(following.marks_taken)
            for at in range(0, len(keys), JOBS_AT_ONCE):
                some = self._plain(keys[at : at + JOBS_AT_ONCE])
                # A page that got no further asks for these again.
                self._event("jobs", some, upto if at + JOBS_AT_ONCE >= len(keys) else line)
            line = upto
            if told:
                self._event("marks", msgspec.to_builtins(told), line)
            self._event("progress", following.progress().document(), line)
            self.review.ended.wait(TELL_EVERY_SECONDS)

    def _plain(self, keys: Sequence[str]) -> list[Plain]:
        """Some Jobs as a page takes them."""
        with self.review.document() as document:
            return [each for key in keys if (each := document.plain(key))]

    def _event(self, name: str, content: object, line: int) -> None:
        data = orjson.dumps(content)
        self.wfile.write(f"event: {name}\nid: {line}\ndata: ".encode() + data + b"\n\n")


def serve(server: ThreadingHTTPServer, review: ReviewServer) -> None:
    """Serve until interrupted; what is open then is closed."""
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        review.ended.set()
        server.server_close()
