"""Who answers: the provider with the user's key, or the embedded rehearsal service without one."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from retouch.cli.publishing import rehearsed_folder
from retouch.cli.workspace import Workspace
from retouch.dialects.base import Request
from retouch.errors import InputRefused, Refused
from retouch.ledger.state import Replay
from retouch.storage.descriptors import raise_limit
from retouch.storage.durable import make_folder
from retouch.text import is_loopback_name
from retouch.transport import ApiKey, Connection, Proxies, Transport, endpoint_of, trusted

MARK = "x-retouch-rehearsal"  # on every reply of the rehearsal service, `retouch serve` too
MARK_SECONDS = 5.0
REHEARSAL_FOLDER = ".rehearsal"  # the service's tasks, while a later run may still ask for them
_FOR_FILES = 64  # descriptors: ledger, locks, and pictures on their way in and out
_COMFORT = 256  # files of every thread there may be, polls, downloads
REHEARSAL_BASE_URL = "http://127.0.0.1/v1"  # never connected to: the service is mounted in process


def add_url_map(parser: argparse.ArgumentParser) -> None:
    """`--map`, for rehearsing manifests whose sources are URLs."""
    parser.add_argument(
        "--map",
        metavar="URL=DIR",
        action="append",
        default=[],
        help="rehearsals: answer for URLs below URL with the files of DIR (nothing is fetched)",
    )


def base_url_of(workspace: Workspace, environment: Mapping[str, str]) -> str:
    """The provider's address: the manifest's, else the environment's, else the dialect's own."""
    if workspace.is_rehearsal:
        return REHEARSAL_BASE_URL
    provider = workspace.loaded.manifest.provider
    named = provider.base_url or environment.get("OPENAI_BASE_URL", "").strip()
    return endpoint_of(named or workspace.dialect.DEFAULT_BASE_URL).base


def connect(
    workspace: Workspace, environment: Mapping[str, str], url_map: Sequence[str]
) -> Connection:
    """Work out who answers. Raises Refused for a key or an address that cannot be used,
    InputRefused for a proxy or for certificates."""
    provider = workspace.loaded.manifest.provider
    base_url = base_url_of(workspace, environment)
    if not workspace.is_rehearsal:
        named = provider.api_key_env
        key = None if named is None else ApiKey.from_environment(environment, named)
        if provider.trust_env:
            Proxies.from_environment()  # refused before anything is written
            trusted(trust_env=True)
        return Connection(
            base_url=base_url,
            fallback_urls=provider.fallback_urls,
            key=key,
            trust_env=provider.trust_env,
            fake_ip=provider.fake_ip,
            encoding=provider.encoding or "",
        )
    key = ApiKey("rehearsal", variable="the rehearsal's key")
    return Connection(
        base_url=base_url,
        key=key,
        app=_service(workspace, _mapped(url_map)),
        encoding=provider.encoding or "",
    )


def _service(workspace: Workspace, url_map: dict[str, Path]) -> Callable[..., Any]:
    try:
        # Here and not above: OpenCV takes longer to import than a finished run takes to end.
        from retouch_rehearsal import Faults, Settings, create_app  # noqa: PLC0415
    except ImportError as error:
        raise Refused(
            f"the rehearsal service is not installed ({error.name} is missing)",
            hint="pip install 'retouch[rehearsal]'",
        ) from error
    folder = workspace.folder / REHEARSAL_FOLDER
    make_folder(folder)
    try:
        faults = Faults.parse(workspace.loaded.manifest.provider.faults or [])
        url_map |= rehearsed_folder(workspace, folder)
        settings = Settings(faults=faults, url_map=url_map, other_models=_others(workspace))
        return create_app(settings, base_url=REHEARSAL_BASE_URL, folder=folder)
    except ValueError as error:
        problem = workspace.loaded.problem(("provider", "faults"), str(error))
        raise InputRefused([problem]) from error


def _others(workspace: Workspace) -> tuple[str, ...]:
    """The models whose dialect knows nothing of them: a rehearsal edits with these all the same."""
    models = workspace.loaded.manifest.models if workspace.dialect.NAME == "openai" else ()
    return tuple({each.model: None for each in models})


def forget_tasks(workspace: Workspace, state: Replay) -> None:
    """Remove what the rehearsal service keeps of its tasks, once no run can ask for one again."""
    if not state.tasks_out:
        shutil.rmtree(workspace.folder / REHEARSAL_FOLDER, ignore_errors=True)


def _mapped(pairs: Sequence[str]) -> dict[str, Path]:
    mapped = {}
    for pair in pairs:
        url, separator, folder = pair.rpartition("=")
        if not separator or not url or not Path(folder).is_dir():
            raise InputRefused(f"--map {pair}: not URL=DIR with an existing folder")
        mapped[url] = Path(folder)
    return mapped


def connections_allowed(concurrency: int) -> int:
    """How many connections may be open at once, the soft limit raised to what `concurrency` needs.

    Fewer than `concurrency` is slower and loses nothing: a request then waits before it is sent.
    Raises InputRefused where the concurrencies of the manifest come to more than there can be.
    """
    descriptors = raise_limit(concurrency + _COMFORT)
    if concurrency > descriptors:
        raise InputRefused(
            f"the models' `concurrency` comes to {concurrency:,}, but this process may open "
            f"{descriptors:,} files",
            hint=f"`ulimit -n {concurrency + _COMFORT}` allows for more; or lower `limits`",
        )
    return max(1, descriptors - min(_FOR_FILES, descriptors // 4))


async def is_marked(transport: Transport) -> bool:
    """Whether a server on this machine marks its replies as a rehearsal: nobody is paid there."""
    base = transport.endpoints[0].base
    if not is_loopback_name(urlsplit(base).hostname or ""):
        return False
    asked = Request("GET", f"{base}/models", authorized=False)
    exchange = await transport.exchange(asked, {}, timeout_seconds=MARK_SECONDS)
    return exchange.reply is not None and MARK in exchange.reply.headers
