"""Text from outside (servers, file names, prompts) made fit for terminals, ledgers and reports.

Control characters and bidirectional overrides could rewrite what a reader sees; they are shown
in caret or escape notation instead. Secrets and what signs a URL are cut before anything is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MESSAGE_CHARACTERS = 500
_SIGNING = {
    "e", "token", "expires", "signature", "ossaccesskeyid", "security-token", "sig", "se", "sp",
    "sv", "sr", "st", "key-pair-id", "policy", "awsaccesskeyid", "googleaccessid", "keyid",
    "q-sign-algorithm", "q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-url-param-list",
    "q-signature",
}  # fmt: skip
_SIGNING_PREFIXES = ("x-amz-", "x-oss-", "x-goog-", "x-tos-", "x-cos-")
_URL = re.compile(r"(https?:(?:\\?/){2})([^\x00-\x20\"'<>]+)", re.IGNORECASE)  # also JSON's `\/`
_SECRET_HEAD = 8  # where a secret was cut short, so many characters of it are enough to be known
_CUT = "[secret]"
# Signatures outside of whole URLs: a relative one, `//host/...`, a query alone. Short names that
# plain queries use too (e, se, sv, ...) sign nothing by themselves.
_SIGNATURE = re.compile(
    r"((?:[?&;]|\\u0026|%26)(?:"
    + "|".join(
        (
            *sorted(name for name in _SIGNING if len(name) > 2),
            *(f"{prefix}[a-z-]+" for prefix in _SIGNING_PREFIXES),
        )
    )
    + r")(?:=|%3d))[^&\s\"'<>\\;,}\]]+",
    re.IGNORECASE,
)
_HOST = re.compile(r"[^\s/?#@\\%\[\]:<>\"'{}|^`\x00-\x20\x7f]+")
_HOST_BYTES = 254  # with a dot at its end
_PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


def how_many(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`, `10,000 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def one_clean_line(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """`text` as one line of at most `limit` characters, free of control and bidi characters."""
    line = " ".join(text[: limit * 8].split())
    is_plain = line.isascii() and line.isprintable()
    shown = line if is_plain else "".join(_visible(character) for character in line)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        code = ord(character)
        return "^" + chr((code + 64) % 128) if code < 128 else f"\\x{code:02x}"
    if category in ("Cf", "Cs", "Co", "Zl", "Zp"):
        return f"\\u{ord(character):04x}"
    return character


def fit_for_terminal(text: str) -> str:
    """`text` with its line ends kept and every other control or bidi character shown."""
    return "".join(one if one == "\n" else _visible(one) for one in text)


def without_secrets(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without any secret (nor the beginning of one that was cut), its URLs cut before
    their query, and whatever else signs a URL cut out."""
    text = _URL.sub(_bare, _CUT.join(_around(text, secrets)))
    return _SIGNATURE.sub(rf"\g<1>{_CUT}", text)


def holds_secret(text: str, secrets: tuple[str, ...]) -> bool:
    """Whether a secret, or the beginning of one, stands in `text`."""
    return any(secret and secret[:_SECRET_HEAD] in text for secret in secrets)


def body_without_secrets(body: bytes, secrets: tuple[str, ...] = ()) -> bytes:
    """A raw body as `without_secrets` would have it, every other byte as it was."""
    # latin-1 maps each byte to one character and back; secrets and URLs are ASCII.
    return without_secrets(body.decode("latin-1"), secrets).encode("latin-1")


def without_signatures(document: bytes) -> bytes:
    """A document with what signs its URLs cut out, and every other byte as it was."""
    text = document.decode("latin-1")
    return _SIGNATURE.sub(rf"\g<1>{_CUT}", text).encode("latin-1")


def _bare(url: re.Match[str]) -> str:
    """A URL in a text without user, query and fragment."""
    place, slash, path = re.split(r"[?#]", url[2], maxsplit=1)[0].partition("/")
    return url[1] + place.rpartition("@")[2] + slash + path


def _around(text: str, secrets: tuple[str, ...]) -> Iterator[str]:
    """The pieces of `text` between all occurrences of a secret, or of the beginning of one."""
    heads = "|".join(re.escape(secret[:_SECRET_HEAD]) for secret in secrets if secret)
    begun = 0
    while heads and (found := re.compile(heads).search(text, begun)):
        yield text[begun : found.start()]
        begun = found.start() + max(_common(text, found.start(), secret) for secret in secrets)
    yield text[begun:]


def _common(text: str, start: int, secret: str) -> int:
    """How many characters `text` has in common with `secret`, from `start` on."""
    there = text[start : start + len(secret)]
    differing = (
        at for at, (one, other) in enumerate(zip(there, secret, strict=False)) if one != other
    )
    return next(differing, len(there))


def url_without_query(url: str) -> str:
    """The URL without user, query and fragment: what may be logged and kept."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a server's text may hold what is no URL: http://[
        return re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def url_without_signature(url: str) -> str:
    """The URL without the parameters that only sign it: what identifies the picture behind it.

    Source: DESIGN §5; parameter names of Qiniu, S3, GCS, OSS, TOS, COS and Azure.
    """
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name.lower() not in _SIGNING and not name.lower().startswith(_SIGNING_PREFIXES)
    ]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme.lower(), host.lower(), parts.path, urlencode(kept), ""))


def is_host(host: str) -> bool:
    """Whether `host` is an address, or a name that a resolver can be asked for: no part of it is
    empty or over 63 bytes long (RFC 1035, 2.3.4)."""
    try:
        ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None and _fits_dns(host)
    return "%" not in host


def _fits_dns(name: str) -> bool:
    try:
        return len(name.encode("idna")) <= _HOST_BYTES
    except UnicodeError:
        return False


def is_loopback_name(host: str) -> bool:
    """Whether `host` names this machine itself, without asking a resolver."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_private_name(host: str) -> bool:
    """Whether `host` is a private address (RFC 1918, RFC 4193), or a name that only a private
    network can know: one without dots, or below `.local`, `.internal`, `.lan`, `.home.arpa`."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return "." not in name or name.endswith((".local", ".internal", ".lan", ".home.arpa"))
    return any(address in network for network in _PRIVATE if network.version == address.version)
