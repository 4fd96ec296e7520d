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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import orjson

from retouch.engine.outputs import Outputs
from retouch.errors import RetouchError
from retouch.ledger.records import FileRecord
from retouch.pictures import sniff
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
IDLE_SECONDS = 30
TELL_EVERY_SECONDS = 1.0
JOBS_AT_ONCE = 500  # told to a page in one event
PICTURES_AT_ONCE = 2  # thumbnails made at the same time
LISTENERS = 32
_DIGITS = 12  # of a source's number
_PAGE_POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
_POLICY = f"{_PAGE_POLICY}frame-ancestors 'none'"
_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip
_PICTURES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
    ".gif": "image/gif", ".svg": "image/svg+xml", ".bmp": "image/bmp", ".tif": "image/tiff",
    ".tiff": "image/tiff",
}  # fmt: skip
_SHOWN = frozenset(_PICTURES.values())


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


class _Refused(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


class _Handler(BaseHTTPRequestHandler):
    review: ClassVar[ReviewServer]
    protocol_version = "HTTP/1.1"
    server_version = "retouch"
    sys_version = ""
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a request's line holds the token."""

    def do_GET(self) -> None:
        """A page, a script, a picture, or the stream of events."""
        try:
            self._check()
            self._get()
        except _Refused as refused:
            self._send(refused.why.encode(), "text/plain; charset=utf-8", refused.status)
        except RetouchError as error:
            self._send(
                error.message.encode(), "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE
            )

    def do_POST(self) -> None:
        """A mark, and nothing else."""
        try:
            self._check()
            self._post()
        except _Refused as refused:
            self.close_connection = True  # its body was not read
            self._send(refused.why.encode(), "text/plain; charset=utf-8", refused.status)
        except RetouchError as error:
            self._send(
                error.message.encode(), "text/plain; charset=utf-8", HTTPStatus.SERVICE_UNAVAILABLE
            )

    # --- Who asks --------------------------------------------------------------------------

    def _check(self) -> None:
        """Refuse what does not come from our own pages, or from a person who opens one."""
        origins = self.review.origins
        if f"http://{self.headers.get('Host', '')}" not in origins:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this is another host's name")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in origins:
            raise _Refused(HTTPStatus.FORBIDDEN, "another origin may not read or mark")
        site = self.headers.get("Sec-Fetch-Site", "none")
        is_opened = (
            self.command == "GET"
            and self.headers.get("Sec-Fetch-Mode") == "navigate"
            and self.headers.get("Sec-Fetch-Dest") == "document"
        )
        if site not in ("none", "same-origin") and not is_opened:
            raise _Refused(HTTPStatus.FORBIDDEN, "another site may not read or mark")

    def _place(self) -> str:
        """The path below the token."""
        path = urlsplit(self.path).path
        token, _, place = path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.review.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "open the URL that `retouch review` printed")
        return unquote(place)

    # --- What is served --------------------------------------------------------------------

    def _get(self) -> None:
        split = urlsplit(self.path)
        if split.path == "/":
            given = parse_qs(split.query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.review.token.encode()):
                raise _Refused(HTTPStatus.FORBIDDEN, "open the URL that `retouch review` printed")
            self._redirect(f"/{self.review.token}/{FOLDER}/index.html")
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
            self._send(page.encode(), _TYPES[".html"])
        elif name == "data/gallery.js":
            review.following.refresh()
            with review.document() as document:
                whole = document.whole(review.about)
            self._send(data_script(whole), _TYPES[".js"])
        elif name.startswith("static/") and name.removeprefix("static/") in STATIC:
            file = name.removeprefix("static/")
            self._send(static(file), _TYPES[Path(file).suffix])
        elif name.startswith(f"{THUMBS}/"):
            self._thumbnail(name.removeprefix(f"{THUMBS}/"))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _thumbnail(self, name: str) -> None:
        review = self.review
        known = review.following.pictured(name.removesuffix(".webp"))
        if known is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such picture")
        digest, read = known.sha256 if isinstance(known, FileRecord) else known.digest, known
        with review.making:
            data = review.thumbnails.make(digest, lambda: self._bytes_of(read))
        if data is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "this picture cannot be shown")
        self._send(data, "image/webp", is_kept=True)

    def _bytes_of(self, known: FileRecord | Original) -> bytes | None:
        if isinstance(known, FileRecord):
            return self.review.outputs.read(known)
        return known.to_show()

    def _source(self, number: str) -> None:
        is_number = number.isascii() and number.isdecimal() and len(number) < _DIGITS
        original = self.review.following.source(int(number)) if is_number else None
        data = None if original is None else original.as_stored()
        if original is None or original.path is None or data is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such source")
        self._send_picture(data, sniff(data) or _PICTURES.get(original.path.suffix.lower(), ""))

    def _tell_geometry(self) -> None:
        """How one edit lies over its source, measured if it was not before."""
        query = parse_qs(urlsplit(self.path).query)
        key, index = query.get("key", [""])[0], query.get("index", [""])[0]
        with self.review.following.lock:
            shown = self.review.following.gallery.shown(key)
        at = int(index) if index.isascii() and index.isdecimal() and len(index) < _DIGITS else 0
        if shown is None or at >= len(shown.files):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such picture")
        with self.review.making:
            found = self.review.measuring.measure(shown.words.source, shown.files[at])
        self._send(orjson.dumps({"moved": moved(found)}), "application/json")

    def _picture(self, path: str) -> None:
        file = self.review.following.file_at(path)
        data = None if file is None else self.review.outputs.read(file)
        if file is None or data is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such picture")
        self._send_picture(data, file.media_type)

    def _send_picture(self, data: bytes, media_type: str) -> None:
        """Bytes from outside: shown as a picture, never as a page."""
        shown = media_type if media_type in _SHOWN else "application/octet-stream"
        self._send(data, shown, is_kept=True, policy="default-src 'none'; sandbox")

    def _send(
        self,
        data: bytes,
        media_type: str,
        status: HTTPStatus = HTTPStatus.OK,
        *,
        is_kept: bool = False,
        policy: str = _POLICY,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self._send_rules(policy, "private, max-age=3600" if is_kept else "no-store")
        self.end_headers()
        self.wfile.write(data)

    def _send_rules(self, policy: str, caching: str) -> None:
        for name, value in (
            ("Cache-Control", caching),
            ("Content-Security-Policy", policy),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)

    def _redirect(self, path: str) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", path)
        self.send_header("Content-Length", "0")
        self._send_rules(_POLICY, "no-store")
        self.end_headers()

    # --- Marks -----------------------------------------------------------------------------

    def _post(self) -> None:
        if self._place() != "marks":
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing to write here")
        if self.headers.get("Origin") is None:
            raise _Refused(HTTPStatus.FORBIDDEN, "a mark comes from the page")
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a mark is JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > BODY_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a mark is shorter")
        try:
            given = msgspec.json.decode(self.rfile.read(int(length)), type=Judgement)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"not a mark: {error}") from None
        self._write(given)

    def _write(self, given: Judgement) -> None:
        following = self.review.following
        with following.lock:
            shown = following.gallery.shown(given.key)
        pictures = len(shown.files) if shown else 0
        if not pictures or (given.index is not None and not 0 <= given.index < pictures):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such picture")
        mark = mark_now(given.key, given.index, given.mark, given.reason[:REASON_CHARACTERS])
        following.mark(mark)
        self._send(msgspec.json.encode(mark), "application/json")

    # --- The live view ---------------------------------------------------------------------

    def _stream(self) -> None:
        """Server-sent events until the page goes away or the server ends."""
        review = self.review
        if not review.listeners.acquire(blocking=False):
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open")
        try:
            self.close_connection = True
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self._send_rules(_POLICY, "no-store")
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
