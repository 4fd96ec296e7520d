"""A run's mirror: had before anything is sent, and brought up to date at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from retouch.cli.buckets import MIRROR_PATIENCE_SECONDS, buckets_of, settings_of
from retouch.cli.output import say
from retouch.cli.workspace import Workspace
from retouch.engine.batch import Batch
from retouch.engine.mirror import Mirror, told
from retouch.errors import Refused
from retouch.ledger import Ledger
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import bucket_url

INCOMPLETE, INTERRUPTED = 1, 130
WITHOUT = "`--no-mirror` runs without it, and `retouch mirror MANIFEST` copies later"


@contextmanager
def mirrored(
    workspace: Workspace,
    *,
    rehearse: bool,
    wanted: bool = True,
    say: Callable[[str], None] = say,
) -> Iterator[Mirror | None]:
    """The manifest's mirror, held for this outputs folder; None where there is none to be had.

    A rehearsal stays on this machine. Raises Refused where the mirror is another machine's, or
    cannot be written as it is set up: found before a cent is spent. A server that does not answer
    hinders no run, which is said.
    """
    mirror = None
    if workspace.loaded.manifest.output.mirror is not None and wanted:
        if rehearse:
            say("a rehearsal stays on this machine: nothing is mirrored")
        else:
            mirror = _begun(workspace, say)
    try:
        yield mirror
    except BaseException:
        if mirror is not None:
            mirror.let_go()
        raise


def mirror_of(workspace: Workspace) -> Mirror:
    """The mirror that the manifest names. Raises Refused where its bucket cannot be reached as it
    is set up."""
    url = bucket_url(workspace.loaded.manifest.output.mirror or "")
    buckets = buckets_of(settings_of(workspace.loaded), patience_seconds=MIRROR_PATIENCE_SECONDS)
    bucket = buckets.at(url)
    return Mirror(bucket, url, workspace.folder, say=say, ledger=workspace.part.ledger)


def _begun(workspace: Workspace, say: Callable[[str], None]) -> Mirror:
    mirror = mirror_of(workspace)
    mirror.say = say
    try:
        mirror.begin(workspace.loaded.manifest.name)
    except BucketFault as fault:
        if not fault.may_pass:
            hint = f"{fault.hint}; {WITHOUT}" if fault.hint else WITHOUT
            raise Refused(f"mirror: {fault.message}; nothing was sent", hint=hint) from None
        say(
            f"mirror: {fault.message}. The run goes on without it, and nothing keeps another "
            "machine from going on at once; what is kept here is copied at the end"
        )
    return mirror


@asynccontextmanager
async def kept_up(
    mirror: Mirror | None, ledger: Ledger, batch: Batch, told_by: Callable[[str], None]
) -> AsyncIterator[None]:
    """Renew the mirror's lease and copy the ledger's lines, until the block ends."""
    if mirror is None:
        yield
        return
    mirror.say = told_by
    async with anyio.create_task_group() as group:
        group.start_soon(mirror.keep_up, lambda: ledger.durable_bytes, batch.stop)
        yield
        group.cancel_scope.cancel()
    mirror.say = say


def close_mirror(mirror: Mirror | None, code: int) -> int:
    """Bring the mirror up to date and let go of it; the run's exit code, 1 at least where the
    mirror is not whole."""
    if mirror is None:
        return code
    try:
        copied = mirror.finish(quick=code == INTERRUPTED)
    except KeyboardInterrupt:
        say("the mirror is not whole; `retouch mirror MANIFEST` copies the rest")
        return code or INTERRUPTED
    for line in told(mirror, copied):
        say(line)
    return code or (INCOMPLETE if copied.left or copied.other else 0)
