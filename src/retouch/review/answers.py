"""How the review server answers: with what rules for the browser, and how it refuses."""

from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

IDLE_SECONDS = 30
_PAGE = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
POLICY = f"{_PAGE}frame-ancestors 'none'"
PICTURES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
    ".gif": "image/gif", ".svg": "image/svg+xml", ".bmp": "image/bmp", ".tif": "image/tiff",
    ".tiff": "image/tiff",
}  # fmt: skip
_SHOWN = frozenset(PICTURES.values())


class Refusal(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


class Answering(BaseHTTPRequestHandler):
    """Answers as every one of this server is: its length said, its rules with it."""

    protocol_version = "HTTP/1.1"
    server_version = "retouch"
    sys_version = ""
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a request's line holds the token."""

    def send_picture(self, data: bytes, media_type: str) -> None:
        """Bytes from outside: shown as a picture, never as a page."""
        shown = media_type if media_type in _SHOWN else "application/octet-stream"
        self.send(data, shown, is_kept=True, policy="default-src 'none'; sandbox")

    def send(
        self,
        data: bytes,
        media_type: str,
        status: HTTPStatus = HTTPStatus.OK,
        *,
        is_kept: bool = False,
        policy: str = POLICY,
    ) -> None:
        """A whole answer; `is_kept`: the browser may keep it, for its name changes with it."""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_rules(policy, "private, max-age=3600" if is_kept else "no-store")
        self.end_headers()
        self.wfile.write(data)

    def send_rules(self, policy: str, caching: str) -> None:
        """The headers of every answer that say what a browser may do with it."""
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

    def redirect(self, path: str) -> None:
        """Send the browser on to a path of ours."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", path)
        self.send_header("Content-Length", "0")
        self.send_rules(POLICY, "no-store")
        self.end_headers()
