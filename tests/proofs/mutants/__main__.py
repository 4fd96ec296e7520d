"""`make mutants`: small changes of meaning, one at a time, that the tests beside them must notice.

mutmut makes them, in a copy of the project; loop.py runs the tests, collected once, where mutmut's
own runner collects them anew for each mutant. What lives on is printed with its change, to be read:
a test is missing, the code does nothing for anyone, or the two are equivalent (see changes.py,
which leaves out what is).

All would take hours: `--sample N` draws N of each package, the same for the same `--seed`, and the
score says between which bounds the share of all lies (95 % sure). What no test comes to counts as
lived. hypothesis draws the same examples each time and knows no deadline (its own profile "ci"),
so that a verdict can be had again.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.proofs.mutants.changes import (
    Change,
    drawn,
    equivalents,
    made,
    mutated_file,
    says_nothing,
    wilson,
)

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "ledger": ("tests/ledger", "tests/costs/test_audit.py"),
    "costs": ("tests/costs",),
    "engine": ("tests/engine",),
    "dialects": ("tests/dialects",),
    "reconcile": ("tests/reconcile",),
}
WIDER = {  # what lives on is tried against these too: the same promises, seen from further up
    "ledger": ("tests/engine", "tests/cli", "tests/storage/test_lock.py"),
    "costs": ("tests/cli", "tests/engine", "tests/report"),
    "engine": ("tests/cli", "tests/report"),
    "dialects": ("tests/engine", "tests/cli", "tests/reconcile"),
    "reconcile": ("tests/cli", "tests/report"),
}
# Proofs over thousands of jobs, which notice much but slowly, one that weighs what is in flight,
# and a reader of the source.
UNFIT = (
    "not rehearsed and not budget_runs and not batch_asyncio and not simulation "
    "and not keep_to_the_limit and not costs_little and not no_floats_in_money and not startup"
)
NOTICED = ("killed", "timeout")
LOADING = "while loading"  # as loop.py says it


def main() -> int:
    """Mutate the packages named (default: all) and print each one's score; 0."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), metavar="PACKAGE")
    parser.add_argument("--only", nargs="+", default=["*.py"], help="files of it, as patterns")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="instead of those beside it")
    parser.add_argument("--sample", type=int, help="how many are drawn of each package")
    parser.add_argument("--seed", default="1", help="which ones are drawn")
    parser.add_argument("--beside", action="store_true", help="by the tests beside it alone")
    parser.add_argument("--these", nargs="+", default=[], metavar="NAME", help="mutants by name")
    parser.add_argument("--show", type=int, default=20, help="how many survivors are shown whole")
    options = parser.parse_args()
    for package in options.packages:
        found, told = chosen(package, options)
        with tempfile.TemporaryDirectory(prefix="retouch-mutants-") as folder:
            copy = copied(Path(folder))
            for file in _files(package, options.only):
                mutated = mutated_file(file, ROOT)
                (copy / file.relative_to(ROOT)).write_text(mutated.code)
            by = [options.tests or PACKAGES[package]]
            by += [] if options.beside else [WIDER[package]]
            how = judged(copy, [each.name for each in found], by)
        told += verdict(found, how, options.show)
        sys.stdout.write("\n".join((f"{package}: {told[0]}", *told[1:])) + "\n")
        sys.stdout.flush()
    return 0


def chosen(package: str, options: argparse.Namespace) -> tuple[list[Change], list[str]]:
    """The changes to be tried, and how they came to be these."""
    every = [change for file in _files(package, options.only) for change in made(file, ROOT)]
    if options.these:
        return [each for each in every if each.name in options.these], ["those named"]
    rules, named = Counter[str](), 0
    known = equivalents()
    unused = {each for each in known if each.function.startswith(f"retouch.{package}.")}
    whole, stay = options.sample is None, list[Change]()
    for change in every if whole else drawn(every, len(every), f"{options.seed} {package}"):
        if len(stay) == options.sample:
            break
        rule = says_nothing(change)
        same = next((each for each in known if each.names(change)), None)
        if rule:
            rules[rule] += 1
        elif same:
            unused.discard(same)
            named += 1
        else:
            stay.append(change)
    for each in unused if whole and options.only == ["*.py"] else ():
        sys.stderr.write(f"equivalent.toml names what is not there: {each}\n")
    left = ", ".join(f"{count} {rule}" for rule, count in rules.most_common())
    seed = "" if whole else f"seed {options.seed}: "
    return stay, [
        f"{len(every)} mutants; {seed}{named + rules.total() + len(stay)} drawn, of them left out "
        f"{named} named equivalent and by rule {left or 'none'}"
    ]


def _files(package: str, only: Iterable[str]) -> list[Path]:
    folder = ROOT / "src/retouch" / package
    return sorted({file for pattern in only for file in folder.rglob(pattern)})


def copied(folder: Path) -> Path:
    """The project's files in a folder of their own."""
    names = _output(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def judged(copy: Path, names: Sequence[str], by: Iterable[Sequence[str]]) -> dict[str, str]:
    """What became of each mutant named: by the first tests, and what lives on by the next."""
    how: dict[str, str] = {}
    for tests in by:
        left = [name for name in names if how.get(name) not in (*NOTICED, LOADING)]
        if left:
            how |= _run(copy, left, tests)
    return how


def _run(copy: Path, names: Sequence[str], tests: Sequence[str]) -> dict[str, str]:
    asked, answer = copy / "asked.json", copy / "answer.json"
    asked.write_text(json.dumps(names))
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.proofs.mutants.loop", str(asked), str(answer)]
    subprocess.run(
        [*command, "-q", "-n0", "--hypothesis-profile=ci", "-k", UNFIT, *tests],
        cwd=copy,
        check=False,
        stdout=sys.stderr,
        env=os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}"},
    )
    found: dict[str, str] = json.loads(answer.read_text())
    if found.keys() != set(names):
        raise SystemExit("the tests themselves failed: see above")
    return found


def verdict(found: Iterable[Change], how: dict[str, str], show: int) -> list[str]:
    """The score and the survivors, each with its change."""
    counted = Counter(how[each.name] for each in found)
    lived = [each for each in found if how[each.name] not in (*NOTICED, LOADING)]
    number = counted.total() - counted[LOADING]
    right = number - len(lived)
    low, high = (100 * each for each in wilson(right, number))
    told = [
        f"{right} of {number} noticed, {100 * right / max(number, 1):.1f} % "
        f"({low:.1f} to {high:.1f}); {counted['timeout']} of them by time; "
        f"{len(lived)} lived, {counted['no tests']} of them no test comes to; not judged: "
        f"{counted[LOADING]} that run while modules are loaded"
    ]
    for change in lived[:show]:
        told += [f"{change.name}: {how[change.name]}", *_told(change)]
    return told + [each.name for each in lived[show:]]


def _told(change: Change) -> list[str]:
    before, after = change.before.splitlines(), change.after.splitlines()
    return list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]


def _output(folder: Path, *command: str) -> str:
    quiet = os.environ | {"NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=quiet, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
