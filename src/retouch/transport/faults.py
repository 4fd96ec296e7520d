"""What went wrong with a connection, in words: the deepest cause, which says most, and what a
company's network may have to do with it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator


def told(error: BaseException) -> str:
    """The innermost cause of `error`, as its type and text."""
    *_, innermost = _causes(error)
    text = str(innermost)
    return f"{type(innermost).__name__}: {text}" if text else type(innermost).__name__


_UNKNOWN_ISSUER = frozenset({18, 19, 20, 21})  # X509_V_ERR_*: self-signed, no issuer at hand


def is_distrusted(error: BaseException) -> bool:
    """Whether the server's certificate was refused; that is no outage."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def advice(error: BaseException, connected: bool, unused_proxy: str) -> str:
    """What to set where this machine's network may be the reason; a clause, or "".

    `unused_proxy`: the variable that names a proxy which is not used.
    """
    if any(
        isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _UNKNOWN_ISSUER
        for cause in _causes(error)
    ):
        return (
            "; a company's own CA is trusted with SSL_CERT_FILE=FILE and "
            "`provider: {trust_env: true}`"
        )
    if unused_proxy and not connected:
        return f"; {unused_proxy} is set but not used: `provider: {{trust_env: true}}` uses it"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it came from, the innermost last."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            error = error.__context__
