"""`retouch verify`: the audit. The ledger's chain, its sums and costs worked out again, the
pictures' digests, the prices' digest, and what lies there unrecorded.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from retouch.cli.ledgers import Found, add_ledger, one_ledger
from retouch.cli.output import json_text
from retouch.cli.prune import PRUNED
from retouch.costs.audit import CostAudit
from retouch.dialects import DIALECTS
from retouch.errors import InputRefused, LedgerDamaged
from retouch.ledger import Parts
from retouch.ledger.lines import NamedPaths
from retouch.ledger.records import Done, FileRecord, Reused
from retouch.ledger.state import Replay
from retouch.manifest import Loaded, load
from retouch.money import exact
from retouch.text import one_clean_line
from retouch.threads import uncollected

_LISTED = 100  # findings of a kind that people are shown
_CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True, slots=True)
class Chain:
    """One part's chain: its records, the digest of its last line, what is torn after that."""

    ledger: str
    records: int
    head: str
    torn_bytes: int


@dataclass(slots=True)
class Findings:
    """What was checked and what is wrong; paths are relative to the outputs folder.

    `proved_records`: so many from the beginning are as they were when `--against` was noted.
    `parts`: each file of a ledger that lies in several, for itself.
    """

    records: int = 0
    parts: list[Chain] = field(default_factory=list)
    head: str = ""
    torn_bytes: int = 0
    pruned: int = 0
    files: int = 0
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    wrong_costs: list[str] = field(default_factory=list)
    costs_checked: int = 0
    costs_unchecked: int = 0
    confirmed: dict[str, str] = field(default_factory=dict)
    unknown_high: dict[str, str] = field(default_factory=dict)
    unpriced: int = 0
    prices_sha256: str | None = None
    prices_changed: bool = False
    virtual: bool = False
    proved_records: int | None = None
    proved_ledger: str | None = None

    @property
    def is_sound(self) -> bool:
        return not (self.missing or self.changed or self.orphans or self.wrong_costs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch verify`."""
    add_ledger(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--against",
        metavar="DIGEST",
        help="a head digest noted earlier: proves that nothing before it has changed",
    )
    parser.add_argument(
        "--dataset",
        metavar="DIGEST",
        help="a dataset digest: proves that a manifest's pictures, or an exported folder, are "
        "that data set",
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify; 0 when all is there and as recorded, 1 when pictures are not, 3 for the ledger."""
    if arguments.against is not None and not _DIGEST.fullmatch(arguments.against):
        raise InputRefused(
            f"--against {one_clean_line(arguments.against, 80)}: write the 16 hex digits that "
            "`retouch verify` called head"
        )
    if arguments.dataset is not None:
        from retouch.cli.dataset_proof import prove_dataset  # noqa: PLC0415 - start-up time

        return prove_dataset(
            Path(arguments.ledger),
            arguments.dataset,
            arguments.outputs,
            rehearse=arguments.rehearse,
            as_json=arguments.json,
        )
    found = one_ledger(arguments.ledger, arguments.outputs, rehearse=arguments.rehearse)
    folder = found.path.parent
    findings = Findings()
    audit = CostAudit(_as_run(found))
    root = os.fspath(folder)  # not a Path: joining half a million of them takes seconds
    with uncollected():
        state, known = _read(found.path, findings, audit, arguments.against)
        for file in _standing(state, known):
            _check(root, file, findings)
    _sum_up(state, audit, findings)
    findings.missing.sort()
    findings.changed.sort()
    findings.orphans = sorted(path for path in _files(root) if path not in known)
    if arguments.json:
        print(json_text(asdict(findings)))
    else:
        _print(findings)
    return 0 if findings.is_sound else 1


def _as_run(found: Found) -> Loaded | None:
    """The manifest that a ledger was named by, else the copy that its last run left beside it."""
    if found.loaded is not None:
        return found.loaded
    with contextlib.suppress(InputRefused):
        return load(found.path.with_name("manifest.yaml"), dialects=DIALECTS)
    return None


def _sum_up(state: Replay, audit: CostAudit, findings: Findings) -> None:
    findings.confirmed = {code: exact(each.amount) for code, each in state.totals.confirmed.items()}
    findings.unknown_high = {code: exact(each.amount) for code, each in state.unknown_high.items()}
    findings.unpriced = state.totals.unpriced
    findings.wrong_costs = audit.found.wrong
    findings.costs_checked = audit.found.checked
    findings.costs_unchecked = audit.found.unchecked
    findings.prices_sha256 = audit.last_run.prices_sha256 if audit.last_run else None
    findings.prices_changed = audit.prices_changed
    findings.virtual = audit.last_run is not None and audit.last_run.provider == "rehearsal"


def _read(
    path: Path, findings: Findings, audit: CostAudit, against: str | None
) -> tuple[Replay, NamedPaths]:
    """The replayed ledger, and every path it ever named (also of work redone since)."""
    parts, state, known = Parts.of(path), Replay(), NamedPaths()
    bases = parts.bases(state)
    noted = None if against is None else against[:16]
    for number, record in parts.numbered():
        reader = parts.readers[number]
        audit.apply(record, state.apply(record, reader.where(bases[number])))
        if isinstance(record, Done | Reused):
            known.add(file.path for file in record.files)
        if noted is not None and reader.end.prev == noted:
            findings.proved_records = reader.end.lines
            findings.proved_ledger = reader.path.name
    parts.reached(state, bases)
    _note_ends(parts, findings)
    if noted is not None and findings.proved_records is None:
        raise LedgerDamaged(
            f"{path}: no line has the digest {against}: what came before it was changed or cut, "
            "or it is another ledger's"
        )
    return state, known


def _note_ends(parts: Parts, findings: Findings) -> None:
    """How far each part's chain goes; a ledger in one file is that file."""
    ends = [(reader.path.name, reader.end) for reader in parts.readers]
    findings.records = sum(end.lines for _, end in ends)
    findings.torn_bytes = sum(end.torn_bytes for _, end in ends)
    if len(ends) == 1:
        findings.head = ends[0][1].prev
    else:
        findings.parts = [Chain(name, end.lines, end.prev, end.torn_bytes) for name, end in ends]


def _standing(state: Replay, known: NamedPaths) -> Iterator[FileRecord]:
    """Every picture that still counts, read again from the ledger; of one path the latest."""
    several: dict[str, FileRecord] = {}
    named_twice = known.hashes_named_twice
    for outcome in state.outcomes.values():
        for files in state.places_of(outcome):
            for file in files:
                if hash(file.path) in named_twice:
                    several[file.path] = file
                else:
                    yield file
    yield from several.values()


def _check(root: str, file: FileRecord, findings: Findings) -> None:
    findings.files += 1
    path = file.path
    try:
        descriptor = os.open(f"{root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        if _is_pruned(root, path, file):
            findings.pruned += 1
        else:
            findings.missing.append(path)
        return
    try:
        if _digest_of(descriptor) != file.sha256:
            findings.changed.append(path)
    finally:
        os.close(descriptor)


def _digest_of(descriptor: int) -> str:
    """The SHA-256 of an open file's bytes, in hex."""
    digest = hashlib.sha256()
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _is_pruned(root: str, path: str, file: FileRecord) -> bool:
    """Whether `retouch prune` moved the picture away, whole."""
    try:
        status = os.lstat(f"{root}/{PRUNED}/{path}")
    except OSError:
        return False
    return status.st_size == file.bytes


def _files(root: str) -> Iterator[str]:
    """What lies below images/, relative to the outputs folder."""
    for place, _, names in os.walk(f"{root}/images"):
        below = Path(place).relative_to(root).as_posix()
        yield from (f"{below}/{name}" for name in names)


def _print(findings: Findings) -> None:
    if not findings.records:
        print("no records yet")
        return
    for part in findings.parts:
        torn = f", and {part.torn_bytes} torn bytes" if part.torn_bytes else ""
        print(f"{part.ledger}: {part.records:,} records, chain whole, head {part.head}{torn}")
    if not findings.parts:
        print(f"{findings.records:,} records, chain whole, head {findings.head}")
    if findings.proved_records is not None:
        of = f" of {findings.proved_ledger}" if findings.parts else ""
        print(
            f"the first {findings.proved_records:,}{of} are as they were: their digest is the one "
            "noted"
        )
    if findings.torn_bytes:
        print(
            f"the end is not whole ({findings.torn_bytes} bytes): a run writes it, or was cut off"
        )
    print(_sums(findings))
    unchecked = findings.costs_unchecked
    print(
        f"{findings.costs_checked:,} costs worked out again"
        + (f", {unchecked:,} not: their prices are not at hand" if unchecked else "")
    )
    if findings.prices_sha256:
        now = "; the file is another one now" if findings.prices_changed else ""
        print(f"prices {findings.prices_sha256}{now}")
    print(f"{findings.files:,} pictures recorded{_as_recorded(findings)}")
    _list("wrong cost: job", findings.wrong_costs)
    _list("missing:", findings.missing)
    _list("changed:", findings.changed)
    _list("orphan:", findings.orphans)


def _list(what: str, names: list[str]) -> None:
    """Each by its name; of very many the first."""
    for name in names[:_LISTED]:
        print(f"{what} {one_clean_line(name)}")
    if len(names) > _LISTED:
        print(f"{what} {len(names) - _LISTED:,} more; --json names them all")


def _sums(findings: Findings) -> str:
    sums = [f"confirmed {amount} {code}" for code, amount in findings.confirmed.items()]
    sums += [f"unknown up to {amount} {code}" for code, amount in findings.unknown_high.items()]
    sums += [f"{findings.unpriced} charges unpriced"] if findings.unpriced else []
    virtual = " (virtual: a rehearsal)" if findings.virtual and sums else ""
    return (", ".join(sums) or "nothing was charged") + virtual


def _as_recorded(findings: Findings) -> str:
    """What became of the pictures, in few words; each is named below."""
    counts = {
        "pruned": findings.pruned,
        "missing": len(findings.missing),
        "changed": len(findings.changed),
        "lie there unrecorded": len(findings.orphans),
    }
    said = [f"{count:,} {word}" for word, count in counts.items() if count]
    return f": {', '.join(said)}" if said else ", all there and unchanged" if findings.files else ""
