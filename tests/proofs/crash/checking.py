"""What must hold after any crash, checked on the files it left against the provider's book."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from retouch.errors import LedgerDamaged
from retouch.ledger import Reader, read
from retouch.ledger.decision import Send, decide
from retouch.ledger.records import AnyRecord, Failed, Started, Unsent
from retouch.ledger.state import replay
from tests.proofs.crash.recorder import Recorder
from tests.proofs.crash.stage import Probe, Stage
from tests.proofs.crash.states import Disk

LEDGER = "ledger.jsonl"


@dataclass(slots=True)
class Findings:
    """States looked at, and how many of them a user would have to mend by hand (exit 3).

    `scratch`: where a state's ledger is put to be read.
    """

    scratch: Path
    states: int = 0
    refused: int = 0
    torn: int = 0
    holes: int = 0


def check_states(
    stage: Stage, recorder: Recorder, count: int, *, seed: int, found: Findings
) -> None:
    """Cut the power at `count` random moments of a recorded script and check what is left."""
    chance = random.Random(seed)
    moments = sorted(chance.randrange(len(recorder.steps) + 1) for _ in range(count))
    disk, at = Disk(), 0
    bought: dict[int, Counter[str]] = {}
    for moment in moments:
        for step in recorder.steps[at:moment]:
            disk.apply(step.change)
        at = moment
        world = recorder.steps[moment - 1].probe if moment else Probe(0, 0)
        # What was posted by the next change may have been charged before this one's crash.
        ahead = recorder.steps[moment].probe if moment < len(recorder.steps) else stage.probe
        charges = chance.randint(min(world.charges, ahead.charges), ahead.charges)
        book = bought.setdefault(charges, stage.bought(charges))
        in_flight = max(world.in_flight, ahead.in_flight)
        if recorder.died_after is not None and moment >= recorder.died_after:
            dying = recorder.steps[max(0, recorder.died_after - 1)]
            in_flight += dying.probe.in_flight
        check(disk.after_a_crash(chance), stage, book, in_flight, found)


def check(
    files: dict[str, bytes],
    stage: Stage,
    bought: Counter[str],
    in_flight: int,
    found: Findings,
) -> None:
    """One state: nothing would be bought twice, no charge is unsaid, what is done is whole."""
    found.states += 1
    records = _records(files, found)
    if records is None:
        return
    state = replay(records)
    maybe = _perhaps_charged(records)
    for key, times in bought.items():
        assert times == 1, "bought twice already"
        assert maybe[key] >= times, "a charge is unsaid"
        assert not isinstance(decide(key, state.outcomes.get(key)), Send), "would be bought twice"
    for outcome in state.outcomes.values():
        for file in outcome.files:
            assert file.path in files, "done without its file"
            assert hashlib.sha256(files[file.path]).hexdigest() == file.sha256
    assert sum(1 for _ in state.unanswered()) <= in_flight
    assert set(state.outcomes) <= set(stage.keys)


def _records(files: dict[str, bytes], found: Findings) -> list[AnyRecord] | None:
    """The Records that are left; None where the ledger is refused, which sends nothing."""
    path = found.scratch / LEDGER
    for name in (LEDGER, f"{LEDGER}.head"):
        (found.scratch / name).unlink(missing_ok=True)
        if name in files:
            (found.scratch / name).write_bytes(files[name])
    reader = Reader(path)
    try:
        records = list(reader)
    except LedgerDamaged:
        found.refused += 1
        return None
    found.torn += bool(reader.end.torn_bytes)
    found.holes += b"\0" in files.get(LEDGER, b"")
    return records


def _perhaps_charged(records: list[AnyRecord]) -> Counter[str]:
    """By key: attempts begun and not known to have cost nothing."""
    attempts = {(each.key, each.attempt) for each in records if isinstance(each, Started)}
    for each in records:
        if isinstance(each, Unsent) or (isinstance(each, Failed) and each.billed == "no"):
            attempts.discard((each.key, each.attempt))
    return Counter(key for key, _ in attempts)


def check_nothing_lost(stage: Stage) -> None:
    """Each Job bought at most once; done with whole files, said to be unknown, or refused and
    not in the book."""
    state, bought = read(stage.folder / "ledger.jsonl"), stage.bought()
    assert set(bought.values()) <= {1}
    held = 0
    for key in stage.keys:
        outcome = state.outcomes[key]
        held += outcome.state == "unknown"
        if isinstance(outcome.decided, Failed):
            was_stored_nowhere = outcome.decided.error.code == "disk"
            assert outcome.decided.billed == ("yes" if was_stored_nowhere else "no")
            assert (key in bought) == was_stored_nowhere
        else:
            assert outcome.state in ("done", "unknown")
            assert outcome.state == "done" or (key, outcome.attempt) in state.open_charges
        for file in outcome.files:
            data = (stage.folder / file.path).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file.sha256
    # A reply that could not be kept is gone, but never more than was in flight.
    assert held <= 2 * stage.concurrency
