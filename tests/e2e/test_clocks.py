"""Days that end and clocks that are set, on the real program under libfaketime.

The provider, in another process, has the true time; only the program's clock is another one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from retouch.ledger import Reader
from retouch.ledger.records import Done, Started
from tests.e2e.house import House, house

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
HELD_AFTER = 2
MODEL = "{model: gemini-2.5-flash-image, limits: {concurrency: 1}"
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="libfaketime is not installed (apt-get install faketime)"
)


def doubled(place: House) -> int:
    """How many requests were charged more than once."""
    return sum(times - 1 for times in Counter(charge.request for charge in place.book).values())


@dataclass(frozen=True, slots=True)
class Clocked:
    """Runs of a House by a clock of their own."""

    place: House
    file: Path

    def set_to(self, moment: datetime) -> None:
        """Set the clock, whole at once; a run that is under way sees it at its next look."""
        offset = moment - datetime.now(UTC)
        anew = self.file.with_suffix(".new")
        anew.write_text(f"{offset.total_seconds():+.3f}\n")
        anew.replace(self.file)

    def start(self) -> subprocess.Popen[str]:
        """The monotonic clock stays true, as it does where a machine's time is set."""
        return self.place.start_program(
            [sys.executable, "-m", "retouch", "run", "manifest.yaml"],
            {
                "LD_PRELOAD": str(LIBRARY),
                "FAKETIME_TIMESTAMP_FILE": str(self.file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else timed waits of threads spin
                "NO_FAKE_STAT": "1",
                "TZ": "America/New_York",  # whose midnight is nobody's
            },
        )

    def run(self, turn: datetime | None = None) -> tuple[int, str]:
        """A run to its end: its exit code and what it said. `turn`: what the clock is set to when
        HELD_AFTER charges are in the provider's book."""
        process = self.start()
        if turn is not None:
            self.place.wait_until(lambda: self.place.posts_arrived() == HELD_AFTER + 1, process)
            self.set_to(turn)
            self.place.release()
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def days(self) -> Counter[str]:
        """How many Attempts began on each day, by the ledger."""
        records = Reader(self.place.outputs / "ledger.jsonl")
        return Counter(each.at[:10] for each in records if isinstance(each, Started))


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    """Twelve pictures, and a provider that takes a while for each, and rests after the first."""
    with house(tmp_path, seconds=0.15, held_after=HELD_AFTER) as place:
        place.pictures(12)
        yield Clocked(place, tmp_path / "clock")


def test_a_days_budget_over_the_days_end(clocked: Clocked) -> None:
    """One run over midnight: each day has an amount of its own, and no day has more."""
    place = clocked.place
    budget = "budget: {per_day: 1.30, currency: CNY}"  # six pictures a day
    place.manifest(f"  - {MODEL}, price: {{currency: CNY, per_image: 0.20}}}}", run=f"{{{budget}}}")
    clocked.set_to(MIDNIGHT - timedelta(hours=1))
    code, errors = clocked.run(turn=MIDNIGHT - timedelta(seconds=0.1))
    assert code == 6, errors
    first, second = (clocked.days()[day] for day in ("2026-03-01", "2026-03-02"))
    assert HELD_AFTER < first < 6, errors
    assert second == 6, errors
    assert (len(place.book), doubled(place)) == (first + second, 0)
    clocked.set_to(MIDNIGHT + timedelta(days=1))
    code, errors = clocked.run()
    assert code == 0, errors
    assert (len(place.book), doubled(place)) == (12, 0)


def test_a_price_that_changes_at_the_local_midnight(clocked: Clocked) -> None:
    """The price file's zone says when: what began before it costs the old price, what began after
    it the new one, whatever zone this machine is in; `verify` finds every cost right."""
    place = clocked.place
    place.manifest(f"  - {MODEL}}}")
    with (place.folder / "manifest.yaml").open("a") as manifest:
        manifest.write("prices: prices.yaml\n")
    model = "model: gemini-2.5-flash-image, currency: CNY"
    (place.folder / "prices.yaml").write_text(
        "version: 1\nutc_offset: '+08:00'\n"
        "prices:\n"
        f"  - {{id: old, {model}, per_image: 0.20, valid_to: 2026-03-01}}\n"
        f"  - {{id: new, {model}, per_image: 0.50, valid_from: 2026-03-02}}\n"
    )
    turn = datetime(2026, 3, 2, tzinfo=timezone(timedelta(hours=8)))
    clocked.set_to(turn - timedelta(hours=1))
    code, errors = clocked.run(turn=turn - timedelta(seconds=0.1))
    assert code == 0, errors
    records = list(Reader(place.outputs / "ledger.jsonl"))
    began = {
        each.key: datetime.fromisoformat(each.at) for each in records if isinstance(each, Started)
    }
    paid = Counter(
        (began[each.key] >= turn, each.cost.price, each.cost.amount)
        for each in records
        if isinstance(each, Done) and each.cost
    )
    before = paid[False, "old", "0.200000"]
    assert paid == {(False, "old", "0.200000"): before, (True, "new", "0.500000"): 12 - before}
    assert HELD_AFTER < before < 12
    assert place.retouch("verify").returncode == 0


@pytest.mark.parametrize("by", [timedelta(days=-1), timedelta(days=400)], ids=str)
def test_a_clock_that_jumps_in_mid_run(clocked: Clocked, by: timedelta) -> None:
    """Back over midnight (a dual boot, an NTP that corrects) or far ahead: nothing is bought twice
    or lost, no day's budget is passed, and a second run is still told that the folder is held."""
    place = clocked.place
    budget = "budget: {per_day: 2.50, currency: CNY}"
    place.manifest(f"  - {MODEL}, price: {{currency: CNY, per_image: 0.20}}}}", run=f"{{{budget}}}")
    clocked.set_to(MIDNIGHT + timedelta(minutes=5))
    process = clocked.start()
    place.wait_until(lambda: place.posts_arrived() == HELD_AFTER + 1, process)
    clocked.set_to(MIDNIGHT + timedelta(minutes=5) + by)
    os.kill(process.pid, signal.SIGSTOP)
    second = place.retouch("run")  # by the true clock, as from another machine
    os.kill(process.pid, signal.SIGCONT)
    assert second.returncode == 4, second.stderr
    place.release()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (place.state.counts(), len(place.book), doubled(place)) == (Counter(done=12), 12, 0)
    assert len(clocked.days()) == 2
    assert place.retouch("verify").returncode == 0
    assert place.retouch("run").returncode == 0
    assert len(place.book) == 12
