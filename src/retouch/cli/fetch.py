"""`retouch fetch`: a mirror's ledger and pictures onto this machine, to go on from here."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec

from retouch.cli.buckets import buckets_of, say_traffic
from retouch.cli.output import say
from retouch.engine.mirror import (
    ABOUT,
    AT_ONCE,
    READ_CAP_BYTES,
    SMALL,
    About,
    LedgerPart,
    Mirror,
    ledger_parts,
)
from retouch.engine.outputs import Outputs, Restored
from retouch.errors import InputRefused, LedgerDamaged, Refused
from retouch.ledger import Parts, Reader, open_ledger
from retouch.ledger.head import Head, head_path, write_head
from retouch.ledger.records import Done, FileRecord, Reused, Salvaged
from retouch.manifest.names import unfit_for_a_path
from retouch.storage.bucket_access import BucketSettings
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import (
    BucketURL,
    UnfitAddress,
    bucket_url,
    checked_endpoint,
    shown_address,
)
from retouch.storage.buckets import Bucket
from retouch.storage.durable import make_folder, replace_whole
from retouch.storage.lock import Hold, exclusive
from retouch.storage.part import WHOLE, part_of
from retouch.text import how_many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch fetch`."""
    parser.add_argument("mirror", metavar="URL", help="the mirror, like s3://bucket/cats")
    parser.add_argument(
        "--to",
        metavar="DIR",
        type=Path,
        default=Path(os.environ.get("RETOUCH_OUTPUTS") or "outputs"),
        help="the outputs folder (default: RETOUCH_OUTPUTS, else outputs)",
    )
    parser.add_argument("--endpoint", metavar="URL", help="as in `storage:` of a manifest")
    parser.add_argument("--region", metavar="NAME", help="as in `storage:` of a manifest")
    parser.add_argument("--style", choices=("path", "host"), help="as in `storage:` of a manifest")


def run(arguments: argparse.Namespace) -> int:
    """Fetch; 0 when all is here, 1 when a picture is missing or something is held."""
    try:
        url = bucket_url(arguments.mirror)
    except UnfitAddress as error:
        raise InputRefused(f"{shown_address(arguments.mirror)}: {error.what}",
                           hint=error.remedy) from None  # fmt: skip
    endpoint = checked_endpoint(arguments.endpoint) if arguments.endpoint else None
    buckets = buckets_of((BucketSettings(endpoint, arguments.region, arguments.style),))
    bucket = buckets.at(url)
    name = _name_of(bucket, url)
    folder = arguments.to / name
    make_folder(folder)
    with exclusive(folder) as hold:
        code = _Fetch(bucket, url, folder, name, hold).run()
    say_traffic()
    return code


def _name_of(bucket: Bucket, url: BucketURL) -> str:
    """Which manifest's outputs are mirrored there. Raises InputRefused."""
    try:
        about = msgspec.json.decode(bucket.get(url / ABOUT, 65_536)[0], type=About)
    except BucketFault as fault:
        if fault.why != "missing":
            raise
        raise InputRefused(
            f"{url}: there is no mirror here", hint="name what `output.mirror` names"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InputRefused(f"{url / ABOUT}: is not what retouch wrote there") from None
    if unfit_for_a_path(about.name):
        raise InputRefused(f"{url / ABOUT}: names no folder")
    return about.name


class _Fetch:
    """One mirror fetched into one outputs folder, which is locked."""

    def __init__(self, bucket: Bucket, url: BucketURL, folder: Path, name: str, hold: Hold) -> None:
        self.bucket, self.url, self.folder, self.name = bucket, url, folder, name
        self.hold = hold

    def run(self) -> int:
        """Ledgers first, then the pictures they name; then the mirror is free to be gone on
        from."""
        there = ledger_parts(self.bucket, self.url)
        names = self._ledgers(there)
        is_left = False
        with ExitStack() as unless_done:
            mirrors = [Mirror(self.bucket, self.url, self.folder, say=say, ledger=name)
                       for name in names]  # fmt: skip
            left = {}
            for name, mirror in zip(names, mirrors, strict=True):
                left[name] = mirror.take_over()
                unless_done.callback(mirror.let_go)
            if not there:
                raise InputRefused(
                    f"{self.url}: no ledger is here yet", hint="a run's end puts it here"
                )
            for name, parts in there.items():
                self._fetch_ledger(self.folder / name, parts)
            self._fetch_small()
            lacking = self._fetch_pictures()
            for name, mirror in zip(names, mirrors, strict=True):
                left_by = left[name]
                if left_by is not None:
                    anyio.run(self._hold_all, self.folder / name, left_by)
                self._let_be_gone_on_from(mirror)
                is_left |= left_by is not None
                if left_by is not None:
                    self._tell_left(left_by)
            unless_done.pop_all()
        return 1 if lacking or is_left else 0

    def _ledgers(self, there: Iterable[str]) -> list[str]:
        """The ledgers that are there, or that a run which goes on will put there."""
        leases = (stat.url.key.rpartition("/")[2] for stat in self.bucket.list(self.url / "lease"))
        begun = (name.removesuffix(".json") for name in leases if name.endswith(".json"))
        known = sorted({name for name in (*there, *begun) if part_of(Path(name)) is not None})
        return known or [WHOLE.ledger]

    def _let_be_gone_on_from(self, mirror: Mirror) -> None:
        mirror.begin(self.name)
        copied = mirror.finish(quick=True)
        if copied.fault is not None:
            raise copied.fault

    def _tell_left(self, left_by: str) -> None:
        say(
            f"the run that this mirror is of did not end ({left_by}): what it sent last may "
            "not be in the ledger, so no job that it does not name is sent; `retouch resolve "
            "--all --not-charged` says that none was, once that is known"
        )

    def _fetch_ledger(self, ledger: Path, parts: list[LedgerPart]) -> None:
        """The ledger there, unless the one here goes further. Raises Refused for two that differ,
        LedgerDamaged for one that is none."""
        there = b"".join(self.bucket.get(part.stat.url, READ_CAP_BYTES)[0] for part in parts)
        here = ledger.read_bytes() if ledger.exists() else b""
        if here.startswith(there):
            return
        if not there.startswith(here):
            raise Refused(
                f"{ledger}: this ledger and the one in {self.url} both went on from where "
                "they were alike; nothing was changed",
                hint="each of them paid for what it names: keep both, in folders of their own",
            )
        new = ledger.with_name(f".{ledger.name}.fetched")
        replace_whole(new, there)
        reader = Reader(new)
        try:
            for _ in reader:
                pass
        except LedgerDamaged as error:
            new.unlink()
            raise LedgerDamaged(
                error.message.replace(str(new), str(self.url / f"ledger/{ledger.name}")),
                hint="what is in the mirror was changed; nothing was changed here",
            ) from None
        new.unlink()
        head_path(ledger).unlink(missing_ok=True)
        replace_whole(ledger, there)
        write_head(ledger, Head(reader.end.lines, reader.end.prev))
        say(f"{how_many(reader.end.lines, 'record')} fetched as {ledger}")

    def _fetch_small(self) -> None:
        """What lies beside the ledger; marks and texts that are here stay."""
        for name in SMALL:
            path = self.folder / name
            if path.exists():
                continue
            try:
                data = self.bucket.get(self.url / name, READ_CAP_BYTES)[0]
            except BucketFault as fault:
                if fault.why != "missing":
                    raise
            else:
                replace_whole(path, data)

    def _fetch_pictures(self) -> int:
        """Every picture that the ledger names and that is not here; how many could not be had."""
        outputs = Outputs(self.folder)
        wanted: dict[str, FileRecord] = {}
        for record in Parts.of(self.folder / WHOLE.ledger):
            if isinstance(record, Done | Reused):
                wanted |= {file.path: file for file in record.files}
        missing = [file for file in wanted.values() if not outputs.is_whole(file)]

        def fetch(file: FileRecord) -> Restored | str:
            try:
                data = self.bucket.get(self.url / file.path, READ_CAP_BYTES)[0]
            except BucketFault as fault:
                return fault.message
            return outputs.restore(file, data)

        got, lacking = 0, []
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            for file, result in zip(missing, pool.map(fetch, missing), strict=True):
                got += result == "kept"
                if result != "kept":
                    why = {"changed": "is not what the ledger says", "taken": "another file is "
                           "here under its name"}.get(result, result)  # fmt: skip
                    lacking.append(f"{file.path}: {why}")
        say(f"{how_many(got, 'picture')} fetched, {len(wanted) - len(missing):,} were here")
        if lacking:
            say(f"{how_many(len(lacking), 'picture')} missing, like {lacking[0]}")
        return len(lacking)

    async def _hold_all(self, ledger: Path, left_by: str) -> None:
        """Say in the ledger that lines of it may be lost."""
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        async with open_ledger(ledger, run_id, hold=self.hold, say=say) as opened:
            note = f"fetched from a mirror that {left_by} left"
            await opened.append(Salvaged(lost_lines=None, note=note))
