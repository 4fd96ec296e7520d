"""Which certificates a server may prove itself with: those that come along, or, where the manifest
says `trust_env: true`, what SSL_CERT_FILE or SSL_CERT_DIR name (a company's own CA)."""

from __future__ import annotations

import os
import ssl

import httpx

from retouch.errors import InputRefused


def trusted(*, trust_env: bool) -> ssl.SSLContext:
    """A client's context. Raises InputRefused for a variable that names no certificates."""
    variables = ("SSL_CERT_FILE", "SSL_CERT_DIR") if trust_env else ()
    variable = next((name for name in variables if os.environ.get(name)), "")
    if variable == "SSL_CERT_DIR" and not os.path.isdir(os.environ[variable]):  # noqa: PTH112 - as ssl reads it
        raise _refused(variable, "names no folder")
    try:
        return httpx.create_ssl_context(trust_env=trust_env)
    except OSError as error:  # an ssl.SSLError too
        if not variable:
            raise
        missing = isinstance(error, FileNotFoundError)
        raise _refused(variable, "names no file" if missing else "holds no certificates") from None


def _refused(variable: str, reason: str) -> InputRefused:
    hint = "it names a PEM file of CA certificates; without `trust_env` it is not used"
    return InputRefused(f"{variable} {reason}", hint=hint)
