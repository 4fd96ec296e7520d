"""One manifest by several real processes: side by side, one after the other, divided otherwise."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml

from retouch.ledger import read
from tests.e2e.forked import ROOT
from tests.e2e.house import House, house

GEMINI = """
  - model: gemini-2.5-flash-image
    limits: {concurrency: 12, requests_per_minute: 60000}
    price: {currency: CNY, per_image: 0.1}
"""
KLING = """
  - model: kling-v2
    limits: {concurrency: 12}
    poll: {interval: 0.1}
    price: {currency: CNY, per_image: 0.20}
"""
REHEARSED = """version: 1
name: NAME
provider: {dialect: rehearsal}
inputs: [{glob: pictures/*.png}]
prompts: [{id: blue, template: make it blue}, {id: snow, template: add snow}]
models:
  - model: gemini-2.5-flash-image
    limits: {concurrency: 8}
    price: {currency: CNY, input_per_million: 2.1, output_per_million: 210}
"""
QUIET = "--no-report"
CHAINS = ("records", "head", "parts")


def bought(place: House) -> Counter[str]:
    """How often each piece of work was bought."""
    return Counter(charge.request for charge in place.book)


def test_a_run_in_shards_is_told_of_as_a_run_of_one(tmp_path: Path) -> None:
    """The same pictures, keys and sums; status, verify, report and the exported data set are
    equal but for names, times and how many runs there were."""
    place = House(tmp_path)
    place.pictures(3)
    for name in ("one", "many"):
        (tmp_path / f"{name}.yaml").write_text(REHEARSED.replace("NAME", name))
    assert on(place, "run", "one.yaml", QUIET)[0] == 0
    assert on(place, "run", "many.yaml", "--shard", "1/3", QUIET)[0] == 0
    status = json.loads(on(place, "status", "many.yaml", "--json")[1])
    assert status["missing_parts"] == ["ledger.2-of-3.jsonl", "ledger.3-of-3.jsonl"]
    assert status["left"]["to_send"] < 6
    for shard in ("3/3", "2/3"):
        assert on(place, "run", "many.yaml", "--shard", shard, QUIET)[0] == 0
    code, _, said = on(place, "run", "many.yaml", QUIET)
    assert (code, "nothing to send: 6 done" in said) == (0, True)
    one, many = (told(place, name) for name in ("one", "many"))
    assert one == many
    _, lines, _ = on(place, "verify", "many.yaml")
    parts = re.findall(
        r"^(ledger\S*): [\d,]+ records, chain whole, head \w{16}$", lines, re.MULTILINE
    )
    assert parts == ["ledger.jsonl", *(f"ledger.{index}-of-3.jsonl" for index in (1, 2, 3))]
    head = json.loads(on(place, "verify", "many.yaml", "--json")[1])["parts"][2]["head"]
    assert on(place, "verify", "many.yaml", "--against", head)[0] == 0


def on(place: House, *words: str) -> tuple[int, str, str]:
    """`retouch WORDS`: its exit code and what it printed."""
    ran = place.retouch_on(*words)
    return ran.returncode, ran.stdout, ran.stderr


def told(place: House, name: str) -> dict[str, object]:
    """What each reader says of a finished run."""
    manifest = f"{name}.yaml"
    outputs = place.folder / "outputs" / name
    verified = json.loads(on(place, "verify", manifest, "--json")[1])
    status = json.loads(on(place, "status", manifest, "--json")[1])
    report = json.loads(on(place, "report", manifest, "--json")[1])
    rows = on(place, "report", manifest, "--jobs", "--format", "jsonl")[1].splitlines()
    to = place.folder / f"set-{name}"
    code, exported, said = on(place, "export", manifest, "--to", str(to), "--format", "imagefolder")
    assert code == 0, said
    apart = ("ledger", "line", "at", "day", "run")
    return {
        "pictures": {
            path.relative_to(outputs).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((outputs / "images").rglob("*.png"))
        },
        "verify": {
            key: verified[key] for key in verified if key not in ("records", "head", "parts")
        },
        "status": {key: status[key] for key in status if key != "manifest"},
        "totals": report["totals"],
        "by": [{key: row[key] for key in row if key not in apart} for row in report["by"]],
        "charges": sorted(
            json.dumps({key: value for key, value in json.loads(row).items() if key not in apart})
            for row in rows
        ),
        "digest": exported.splitlines()[-1],
    }


def test_what_excludes_a_shard_is_refused_while_it_is_at_work(tmp_path: Path) -> None:
    """The same one, one of another N, and a run of the whole: exit 4, nothing sent; another one
    of the same N goes on beside it."""
    with house(tmp_path, held_after=1) as place:
        place.pictures(12)
        place.manifest(GEMINI, prompts=2)
        first = place.start("run", "--shard", "1/2", QUIET)
        place.wait_until(lambda: len(place.book) == 1, first)
        for words in (("--shard", "1/2"), ("--shard", "2/3"), ()):
            refused = place.retouch("run", QUIET, *words)
            assert refused.returncode == 4, (words, refused.stderr)
            assert "holds this outputs folder" in refused.stderr
        place.release()
        beside = place.retouch("run", "--shard", "2/2", QUIET)
        assert beside.returncode == 0, beside.stderr
        first.communicate(timeout=60)
        assert first.returncode == 0
        assert bought(place) == dict.fromkeys(bought(place), 1)
        assert len(place.book) == 24


def test_a_task_that_one_division_sent_another_fetches(tmp_path: Path) -> None:
    """Two shards are killed with their tasks at the server; three others, then a run of the whole
    bring what is paid for: nothing is sent twice, and no charge stays open."""
    with house(tmp_path, seconds=0.02, task_seconds=1.5) as place:
        place.pictures(8)
        place.manifest(KLING)
        running = [place.start("run", "--shard", f"{index}/2", QUIET) for index in (1, 2)]
        place.wait_until(lambda: read(place.outputs / "ledger.jsonl").tasks_out >= 6, running[0])
        for each in running:
            each.kill()
            each.communicate()
        for words in (("--shard", "2/3"), ("--shard", "1/3"), ()):
            ran = place.retouch("run", QUIET, *words)
            assert ran.returncode in (0, 1), ran.stderr
        assert max(bought(place).values()) == 1
        state = read(place.outputs / "ledger.jsonl")
        counts = state.counts()
        assert counts["done"] + counts["unknown"] == 8
        assert counts["done"] >= 6
        assert len(state.open_charges) == counts["unknown"]
        assert json.loads(place.retouch("verify", "--json").stdout)["missing"] == []


def test_limits_that_cannot_be_divided_are_refused(tmp_path: Path) -> None:
    """With the place in the manifest and what to do; the whole for each is no division."""
    place = House(tmp_path, 9)
    place.pictures(1)
    place.manifest(GEMINI)
    refused = place.retouch("run", "--shard", "1/13", QUIET)
    assert refused.returncode == 2
    assert "allows 12 requests in flight" in refused.stderr
    assert "at most 12 shards" in refused.stderr
    planned = place.retouch("plan", "--shard", "1/13")
    assert planned.returncode == 2
    planned = place.retouch("plan", "--shard", "1/13", "--shards-share", "all")
    assert planned.returncode == 0, planned.stderr
    shares = json.loads(place.retouch("plan", "--shards", "4", "--json").stdout)["shards"]
    limits = [each["limits"]["gemini-2.5-flash-image"] for each in shares]
    assert [each["requests_per_minute"] for each in limits] == [15_000.0] * 4
    assert sum(each["concurrency"] for each in limits) == 12
    assert sum(each["jobs"] for each in shares) == 1


def _block(fence: str, mark: str) -> str:
    readme = (ROOT / "README.md").read_text()
    blocks: list[str] = re.findall(rf"```{fence}\n(.*?)```", readme, re.DOTALL)
    return next(text for text in blocks if mark in text)


def test_the_kubernetes_job_of_the_readme_is_one() -> None:
    """By Kubernetes' own schema, which refuses names that it does not know."""
    schema = json.loads((ROOT / "tests/support/kubernetes_job.json").read_text())
    job = yaml.safe_load(_block("yml", "kind: Job"))
    jsonschema.Draft202012Validator(schema).validate(job)
    assert job["spec"]["completionMode"] == "Indexed"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert f"auto/{job['spec']['completions']}" in container["args"]
    job["spec"]["completion"] = 4
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(job)


def test_the_readmes_array_and_job_do_their_shards(tmp_path: Path) -> None:
    """Slurm's script and Kubernetes' arguments as they stand, with the variables that these set."""
    script = tmp_path / "array.sh"
    script.write_text(_block("sh", "#SBATCH"))
    subprocess.run(["bash", "-n", str(script)], check=True)
    job = yaml.safe_load(_block("yml", "kind: Job"))
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    path = {"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin"}
    with house(tmp_path, seconds=0.01) as place:
        place.pictures(8)
        place.manifest(GEMINI)
        (tmp_path / "manifest.yaml").rename(tmp_path / "cats.yaml")
        array = {
            "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_STEP": "1", "SLURM_JOB_ID": "31",
        }  # fmt: skip
        for words, environment in (
            (["bash", str(script)], array),
            (arguments, {"JOB_COMPLETION_INDEX": "2"}),
        ):
            process = place.start_program(words, path | environment)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        ledgers = sorted(each.name for each in (tmp_path / "outputs/cats").glob("ledger*.jsonl"))
        assert ledgers == ["ledger.2-of-4.jsonl", "ledger.3-of-4.jsonl"]
