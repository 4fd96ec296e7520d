"""`reconcile --fetch`: the provider's own usage export, asked for with the manifest's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date
from pathlib import Path

import anyio

from retouch.cli.connection import connect
from retouch.cli.workspace import Workspace, open_workspace
from retouch.dialects.base import KeepsUsage
from retouch.dialects.bill import Bill
from retouch.errors import InputRefused, Refused
from retouch.transport import Connection, open_transport

TIMEOUT_SECONDS = 60.0


def workspace_to_ask(named: Sequence[str], outputs: Path, *, rehearse: bool) -> Workspace:
    """The one manifest among what the user named. Raises InputRefused where there is not one."""
    manifests = [Path(name) for name in named if name.endswith((".yaml", ".yml"))]
    if len(manifests) != 1:
        raise InputRefused("--fetch: name one manifest, which says whom to ask and with which key")
    return open_workspace(manifests[0], outputs, rehearse=rehearse)


def fetch_bill(
    workspace: Workspace, first: date, last: date, environment: Mapping[str, str]
) -> Bill:
    """The days from `first` to `last` as a Bill. Raises InputRefused, Refused."""
    if workspace.is_rehearsal:
        raise InputRefused(
            "--fetch: a rehearsal in this process keeps no bill",
            hint="`retouch serve` keeps one: name its address as base_url",
        )
    dialect = workspace.dialect
    if not isinstance(dialect, KeepsUsage):
        raise InputRefused(
            f"--fetch: no usage export is known of the dialect {dialect.NAME}",
            hint="export a CSV from the provider's pages and give it by --bill",
        )
    connection = connect(workspace, environment, [])
    replies = anyio.run(_fetch, connection, dialect, first, last)
    return dialect.read_usage(connection.base_url, replies, UTC)


async def _fetch(
    connection: Connection, dialect: KeepsUsage, first: date, last: date
) -> list[bytes]:
    replies = []
    async with open_transport(connection, concurrency=1) as transport:
        for request in dialect.usage_requests(transport.endpoints[0], first, last):
            exchange = await transport.exchange(request, {}, timeout_seconds=TIMEOUT_SECONDS)
            reply = exchange.reply
            if reply is None or reply.status != 200:
                said = exchange.error if reply is None else f"HTTP {reply.status}"
                raise Refused(f"{request.url.partition('?')[0]}: no usage export: {said}")
            replies.append(reply.body)
    return replies
