"""`retouch status`: what is left, what failed and what to do, what budgets have left."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from rich.cells import cell_len

from retouch.cli import main
from retouch.cli.failures import failures_of
from retouch.job import Job
from retouch.ledger import read
from retouch.ledger.decision import Redo
from retouch.ledger.records import AnyRecord, ErrorRecord
from retouch.ledger.terms import terms_of
from tests.support.ledgers import FIRST, failed, started, unknown, words_of
from tests.support.priced import Priced, is_unknown, priced, was_done


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    return priced(tmp_path, 5)


def _failing(kind: str, message: str = "refused", *, final: bool = True, billed: str = "no") -> Any:
    def life(job: Job, number: int) -> list[AnyRecord]:
        at = FIRST + timedelta(seconds=number)
        words = words_of(job)
        error = ErrorRecord(kind=kind, message=message)  # type: ignore[arg-type]
        return [
            started(number, at, terms=terms_of(job), **words),
            failed(number, billed, at=at, error=error, final=final, **words),
        ]

    return life


def _has_a_task(job: Job, number: int) -> list[AnyRecord]:
    at = FIRST + timedelta(seconds=number)
    words = words_of(job)
    return [
        started(number, at, terms=terms_of(job), **words),
        unknown(number, at, task="image-1", **words),
    ]


def _status(cats: Priced, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["status", *cats.words, *more]) == 0
    return capsys.readouterr().out


def test_what_is_left_is_what_a_run_would_do(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five: one done, one held, one that failed for good; one to fetch, one to send."""
    cats.fill([was_done, is_unknown, _failing("content"), _has_a_task])
    assert "2 left of 5 jobs: 1 to send, 1 to fetch" in _status(cats, capsys)
    found = json.loads(_status(cats, capsys, "--json"))
    assert found["left"] == {"jobs": 5, "to_send": 1, "to_fetch": 1}
    plan = [main(["plan", *cats.words, "--json"]), json.loads(capsys.readouterr().out)]
    assert plan[1]["lanes"][0]["to_send"] == found["left"]["to_send"]


def test_pictures_added_since_the_last_run_are_left(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan says what is left, not the ledger's last count; and a finished one says so."""
    cats.fill([was_done] * 5)
    assert "nothing left to send of 5 jobs" in _status(cats, capsys)
    Image.new("RGB", (32, 32), "red").save(cats.folder / "data" / "new.png")
    assert "1 left of 6 jobs: 1 to send" in _status(cats, capsys)
    cats.write(prompt="make it blue")
    assert "6 left of 6 jobs: 6 to send" in _status(cats, capsys)


def test_where_inputs_are_gone_the_rest_is_told(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ledger away from its pictures still tells outcomes and costs."""
    cats.fill([was_done] * 5)
    for picture in (cats.folder / "data").iterdir():
        picture.unlink()
    told = _status(cats, capsys)
    assert "5 done" in told
    assert "cannot be told: `retouch plan` says what is wrong" in told
    assert json.loads(_status(cats, capsys, "--json"))["left"] is None


@pytest.mark.parametrize("columns", [80, 140])
def test_failed_jobs_are_listed_with_what_to_do(
    cats: Priced,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    """Key, source, prompt, kind of error and remedy are whole at 80 columns, too."""
    monkeypatch.setenv("COLUMNS", str(columns))
    jobs = cats.fill([_failing("content"), _failing("network", "reset", final=False), was_done])
    told = _status(cats, capsys, "--failed")
    lines = told.splitlines()
    assert max(map(cell_len, lines)) <= columns
    for job, words in zip(
        jobs, (("content", "change prompt"), ("network", "next run")), strict=False
    ):
        [row] = [line for line in lines if line.startswith(job.key[:12])]
        assert all(word in row for word in (job.source.name, job.prompt.id, *words))
    assert ("gemini-2.5-flash-image" in told) == (columns == 140)
    found = json.loads(_status(cats, capsys, "--failed", "--json"))["failed"]
    assert [(each["key"], each["kind"], each["final"]) for each in found] == [
        (jobs[0].key, "content", True), (jobs[1].key, "network", False),
    ]  # fmt: skip


def test_without_being_asked_failures_are_counted(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the flag; no key in a document that did not ask for it."""
    cats.fill([_failing("content"), _failing("content")])
    assert "2 jobs failed: --failed lists them" in _status(cats, capsys)
    assert "failed" not in json.loads(_status(cats, capsys, "--json"))


def test_a_job_that_was_sent_again_with_success_is_no_failure(cats: Priced) -> None:
    """The latest attempt decides."""

    def mended(job: Job, number: int) -> list[AnyRecord]:
        again = (msgspec.structs.replace(each, attempt=2) for each in was_done(job, number))
        return [*_failing("network")(job, number), *again]

    cats.fill([mended])
    assert list(failures_of(read(cats.ledger), Redo())) == []


def test_budgets_say_what_they_have_left_and_how_long_that_lasts(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spent, reserved, left, and for how many jobs: in status and in plan alike."""
    cats.write(more="run: {budget: {total: 1.7, currency: CNY}}")
    cats.fill([was_done, is_unknown])
    told = _status(cats, capsys)
    assert "budget 1.70 CNY in total: 0.2715 spent, 0.6000 reserved, 0.8285 left" in told
    assert "lasts for 2 of 3 jobs" in told
    [budget] = json.loads(_status(cats, capsys, "--json"))["budgets"]
    assert (budget["left"], budget["lasts"], budget["jobs"]) == ("0.8284679", 2, 3)
    main(["plan", *cats.words])
    assert "lasts for 2 of 3 jobs" in capsys.readouterr().out
    main(["plan", *cats.words, "--json"])
    assert json.loads(capsys.readouterr().out)["budgets"] == [budget]


def test_a_report_tells_the_same_of_its_budget(
    cats: Priced, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the digit, whatever it is grouped by; without a plan, for about how many jobs more. Of a
    part of the days, or at other prices, it says nothing."""
    cats.write(
        more="run: {budget: {total: 3, per_day: 2, currency: CNY}}",
        price="{currency: CNY, input_per_million: 2.1, output_per_million: 210}, "
        "budget: {total: 2.5, currency: CNY}",
    )
    cats.fill([was_done, was_done, is_unknown])
    known = {
        (each["span"], each["model"]): each
        for each in json.loads(_status(cats, capsys, "--json"))["budgets"]
    }
    for by in ("model", "source", "day,model"):
        assert main(["report", *cats.words, "--json", "--by", by]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(each["span"], each["model"]) for each in found["budgets"]] == [
            ("total", None), ("total", "gemini-2.5-flash-image"),
        ]  # fmt: skip
        for each in found["budgets"]:
            there = known[each["span"], each["model"]]
            for name in ("limit", "spent", "reserved", "left", "per_day"):
                assert each[name] == there[name]
        assert [each["lasts"] for each in found["budgets"]] == [6, 4]  # 0.2715 a job
        assert all(set(by.split(",")) <= set(row) for row in found["by"])
        assert len(found["by"]) == (3 if by == "source" else 1)
    main(["report", *cats.words])
    assert "lasts for about 6 more jobs" in " ".join(capsys.readouterr().out.split())
    main(["report", *cats.words, "--json", "--since", "2025-10-01"])
    assert "budgets" not in json.loads(capsys.readouterr().out)
