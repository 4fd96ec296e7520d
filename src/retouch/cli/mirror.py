"""`retouch mirror`: bring the mirror of a manifest's outputs up to date, and compare it."""

from __future__ import annotations

import argparse

from retouch.cli.buckets import say_traffic
from retouch.cli.mirroring import INCOMPLETE, mirror_of
from retouch.cli.output import say
from retouch.cli.workspace import add_manifest, open_workspace
from retouch.engine.mirror import Copied, told
from retouch.errors import InputRefused
from retouch.storage.lock import exclusive
from retouch.text import how_many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch mirror`."""
    add_manifest(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy what the mirror lacks and compare the rest by digest; 0 when it is whole, 1 when not.

    Sends nothing to the provider.
    """
    workspace = open_workspace(arguments.manifest, arguments.outputs, rehearse=arguments.rehearse)
    if workspace.loaded.manifest.output.mirror is None:
        raise InputRefused(
            f"{arguments.manifest}: names no mirror",
            hint="write `output: {mirror: s3://bucket/folder}`",
        )
    if arguments.rehearse:
        raise InputRefused("a rehearsal stays on this machine: it has no mirror")
    if not workspace.ledger.exists():
        raise InputRefused(f"{workspace.folder}: there is no ledger here, so nothing to mirror")
    with exclusive(workspace.folder):
        mirror = mirror_of(workspace)
        mirror.begin(workspace.loaded.manifest.name)
        try:
            copied = mirror.finish(quick=False, compare=True)
        except BaseException:
            mirror.let_go()
            raise
    _tell(mirror.url, copied)
    for line in told(mirror, copied):
        say(line)
    say_traffic()
    return INCOMPLETE if copied.left or copied.other else 0


def _tell(url: object, copied: Copied) -> None:
    if not (copied.left or copied.other or copied.put):
        say(f"{url}: all is there, {how_many(copied.compared, 'picture')} compared by digest")
