"""`retouch mirror`: bring the mirror of a manifest's outputs up to date, and compare it."""

from __future__ import annotations

import argparse
from dataclasses import replace

from retouch.cli.buckets import say_traffic
from retouch.cli.mirroring import INCOMPLETE, mirror_of
from retouch.cli.output import say
from retouch.cli.workspace import add_manifest, open_workspace
from retouch.engine.mirror import Copied, told
from retouch.errors import InputRefused
from retouch.storage.lock import exclusive
from retouch.storage.part import ledgers_in, part_of
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
    parts = [part for path in ledgers_in(workspace.folder) if (part := part_of(path))]
    if not parts:
        raise InputRefused(f"{workspace.folder}: there is no ledger here, so nothing to mirror")
    is_incomplete = False
    with exclusive(workspace.folder):
        for number, part in enumerate(parts):
            mirror = mirror_of(replace(workspace, part=part))
            mirror.begin(workspace.loaded.manifest.name)
            is_first = number == 0  # pictures are compared once, whoever made them
            try:
                copied = mirror.finish(quick=not is_first, compare=is_first)
            except BaseException:
                mirror.let_go()
                raise
            if is_first:
                _tell(mirror.url, copied)
            for line in told(mirror, copied):
                say(line)
            is_incomplete |= bool(copied.left or copied.other)
    say_traffic()
    return INCOMPLETE if is_incomplete else 0


def _tell(url: object, copied: Copied) -> None:
    if not (copied.left or copied.other or copied.put):
        say(f"{url}: all is there, {how_many(copied.compared, 'picture')} compared by digest")
