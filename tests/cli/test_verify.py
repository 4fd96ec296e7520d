"""`retouch verify` and `status`: the audit finds what was changed, and says the sums."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from retouch.cli import main
from retouch.ledger import Reader
from tests.support.ledgers import begins, done, started, unknown, write
from tests.support.priced import Priced, is_unknown, priced, was_done


@pytest.fixture
def cats(tmp_path: Path) -> Priced:
    made = priced(tmp_path)
    made.fill([was_done, was_done, is_unknown])
    return made


def verified(capsys: pytest.CaptureFixture[str], cats: Priced, *flags: str) -> dict[str, Any]:
    code = main(["verify", *cats.words, "--json", *flags])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found | {"code": code}


def test_sums_and_head(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound ledger: its sums in full and the digest of its last line."""
    found = verified(capsys, cats)
    assert found["confirmed"] == {"CNY": "0.5430642"}
    assert found["unknown_high"] == {"CNY": "0.600000"}
    assert len(found["head"]) == 16


def test_against_an_earlier_head(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A head noted before still proves the past when the ledger has grown, and not after a
    change, whoever makes the chain whole again."""
    head = verified(capsys, cats)["head"]
    records = list(Reader(cats.ledger))
    write(cats.ledger, [*records, started(80), unknown(80)])
    assert verified(capsys, cats, "--against", head)["records"] == len(records) + 2
    cheaper = cats.ledger.read_bytes().replace(b"0.2715321", b"0.1715321")
    cats.ledger.write_bytes(cheaper)
    assert main(["verify", *cats.words]) == 3
    write(cats.ledger, [])
    write(cats.ledger, records[:-1])
    assert main(["verify", *cats.words, "--against", head]) == 3
    assert f"no line has the digest {head}" in capsys.readouterr().err


def test_what_is_proved_is_said(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A noted head that is still there is said to prove so many records."""
    head = verified(capsys, cats)["head"]
    records = list(Reader(cats.ledger))
    write(cats.ledger, [*records, started(80), unknown(80)])
    assert verified(capsys, cats, "--against", head)["proved_records"] == len(records)
    assert main(["verify", *cats.words, "--against", head]) == 0
    assert f"the first {len(records)} are as they were" in capsys.readouterr().out


def test_a_ledger_needs_no_manifest(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder or a ledger alone can be verified; several at once cannot."""
    for name in (cats.ledger, cats.ledger.parent, cats.outputs):
        assert main(["verify", str(name)]) == 0
        assert "chain whole" in capsys.readouterr().out
    write(cats.outputs / "dogs" / "ledger.jsonl", [begins("other"), started(1)])
    assert main(["verify", str(cats.outputs)]) == 2
    assert "there are several ledgers" in capsys.readouterr().err


def test_costs_by_the_manifest_as_run(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the manifest, its copy beside the ledger knows the prices."""
    cats.write(price="{id: p, currency: CNY, input_per_million: 2.1, output_per_million: 210}")
    cats.fill([was_done, lambda job, number: was_done(job, number)[:1]])
    write(cats.ledger, _with_manifest(cats, cats.manifest.read_bytes()))
    for copied, said in ((False, "0 costs worked out again, 1 not"), (True, "1 costs worked")):
        if copied:
            shutil.copy(cats.manifest, cats.ledger.with_name("manifest.yaml"))
        assert main(["verify", str(cats.ledger.parent)]) == 0
        assert said in capsys.readouterr().out


def test_very_many_are_counted(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Of hundreds of lost pictures the first are named to people, and all to programs."""
    records = [record for n in range(130) for record in (started(n), done(n))]
    write(cats.ledger, [begins(), *records])
    assert main(["verify", *cats.words]) == 1
    told = capsys.readouterr().out
    assert told.count("missing: images/") == 100
    assert "missing: 30 more; --json names them all" in told
    assert "130 pictures recorded: 130 missing" in told
    assert len(verified(capsys, cats)["missing"]) == 130


def test_nothing_run_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first run there is nothing to verify, which is no error."""
    assert main(["verify", *priced(tmp_path).words]) == 0
    assert capsys.readouterr().out == "no records yet\n"


def test_rehearsals_are_virtual(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """The sums of a rehearsal are called virtual."""
    write(cats.ledger, [begins("rehearsal"), started(1), done(1, files=())])
    assert main(["verify", *cats.words]) == 0
    assert "confirmed 0.2715321 CNY (virtual" in capsys.readouterr().out
    assert verified(capsys, cats)["virtual"] is True


def test_a_wrong_cost_is_named(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """A cost that is not its counts at its price is named, even where the chain holds."""
    price = "{id: p, currency: CNY, input_per_million: 2.1, output_per_million: 210}"
    cats.write(price=price)
    jobs = cats.fill([was_done, lambda job, number: was_done(job, number)[:1]])
    text = cats.manifest.read_bytes()
    records = _with_manifest(cats, text)
    write(cats.ledger, records)
    found = verified(capsys, cats)
    assert (found["costs_checked"], found["wrong_costs"]) == (1, [])
    write(cats.ledger, _with_manifest(cats, text, amount="0.1"))
    found = verified(capsys, cats)
    assert found["wrong_costs"] == [jobs[0].key]
    assert found["code"] == 1


def _with_manifest(cats: Priced, text: bytes, amount: str | None = None) -> list[Any]:
    """The ledger's records as of a run of this very manifest; costs perhaps changed."""
    import hashlib  # noqa: PLC0415 - of this helper alone

    import msgspec  # noqa: PLC0415

    from retouch.ledger.records import Done, RunBegins  # noqa: PLC0415

    changed: list[Any] = []
    for record in Reader(cats.ledger):
        if isinstance(record, RunBegins):
            digest = hashlib.sha256(text).hexdigest()
            changed.append(msgspec.structs.replace(record, manifest_sha256=digest))
        elif isinstance(record, Done) and amount and record.cost:
            cost = msgspec.structs.replace(record.cost, amount=amount)
            changed.append(msgspec.structs.replace(record, cost=cost))
        else:
            changed.append(record)
    return changed


@pytest.mark.parametrize("digest", ["123", "x" * 16, ""])
def test_against_must_be_a_digest(
    cats: Priced, capsys: pytest.CaptureFixture[str], digest: str
) -> None:
    """What is no digest is refused rather than not found."""
    assert main(["verify", *cats.words, "--against", digest]) == 2
    assert "write the 16 hex digits" in capsys.readouterr().err


def test_status_says_what_is_held(cats: Priced, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts, the sums apart, and each held job with its ceiling."""
    assert main(["status", *cats.words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outcomes"] == {"done": 2, "unknown": 1}
    assert found["cost"]["confirmed"] == {"CNY": "0.5430642"}
    (held,) = found["held"]
    assert held["ceiling"] == {"amount": "0.600000", "currency": "CNY"}
    assert main(["status", *cats.words]) == 0
    assert "unknown between 0 and 0.6000 CNY" in capsys.readouterr().out
