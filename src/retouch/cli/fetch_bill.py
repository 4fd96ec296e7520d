"""`reconcile --fetch`: the provider's own usage export, asked for with the manifest's key."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import anyio

from retouch.cli.connection import Connection, connect
from retouch.cli.workspace import open_workspace
from retouch.dialects.bill import Bill
from retouch.dialects.qiniu.usage import usage_bill, usage_requests
from retouch.errors import InputRefused, Refused

TIMEOUT_SECONDS = 60.0
KNOW_HOW = ("qiniu",)  # dialects whose servers have an export that is known


def fetch_bill(
    arguments: argparse.Namespace, first: date, last: date, environment: Mapping[str, str]
) -> Bill:
    """The days from `first` to `last` as a Bill. Raises InputRefused, Refused."""
    manifests = [Path(name) for name in arguments.ledgers if name.endswith((".yaml", ".yml"))]
    if len(manifests) != 1:
        raise InputRefused("--fetch: name one manifest, which says whom to ask and with which key")
    arguments.manifest = manifests[0]
    workspace = open_workspace(arguments)
    if workspace.is_rehearsal:
        raise InputRefused(
            "--fetch: a rehearsal in this process keeps no bill",
            hint="`retouch serve` keeps one: name its address as base_url",
        )
    if workspace.dialect.NAME not in KNOW_HOW:
        raise InputRefused(
            f"--fetch: no usage export is known of the dialect {workspace.dialect.NAME}",
            hint="export a CSV from the provider's pages and give it by --bill",
        )
    connection = connect(workspace, environment, [])
    replies = anyio.run(_fetch, connection, first, last)
    return usage_bill(connection.base_url, replies)


async def _fetch(connection: Connection, first: date, last: date) -> list[bytes]:
    replies = []
    async with connection.open(1) as transport:
        for request in usage_requests(transport.endpoints[0], first, last):
            exchange = await transport.exchange(request, {}, timeout_seconds=TIMEOUT_SECONDS)
            reply = exchange.reply
            if reply is None or reply.status != 200:
                said = exchange.error if reply is None else f"HTTP {reply.status}"
                raise Refused(f"{request.url.partition('?')[0]}: no usage export: {said}")
            replies.append(reply.body)
    return replies
