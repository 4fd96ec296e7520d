"""`make mutants`: small changes of meaning, one at a time, that the tests beside them must notice.

mutmut makes them, in a copy of the project; cosmic-ray would start a new interpreter for each,
mutmut forks after the imports. What lives on is printed with its change, to be read: a test is
missing, the code does nothing for anyone, or the two are equivalent.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "ledger": ("tests/ledger", "tests/costs/test_audit.py"),
    "costs": ("tests/costs",),
    "engine": ("tests/engine",),
    "dialects": ("tests/dialects",),
    "reconcile": ("tests/reconcile",),
}
SLOW = (  # proofs over thousands of jobs: they notice much, but once an hour
    "not rehearsed and not cut_at_every_byte and not every_byte_flipped and not budget_runs "
    "and not batch_asyncio and not simulation and not keep_to_the_limit"
)
_RESULT = re.compile(r"^\s*(\S+__mutmut_\d+): (.+)$", re.MULTILINE)


def main() -> int:
    """Mutate the packages named (default: all) and print each one's score; 0."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), metavar="PACKAGE")
    parser.add_argument("--only", default="*.py", help="the files of a package, as a pattern")
    parser.add_argument("--show", type=int, default=20, help="how many survivors are shown whole")
    options = parser.parse_args()
    for package in options.packages:
        with tempfile.TemporaryDirectory(prefix="retouch-mutants-") as folder:
            copy = copied(Path(folder))
            configure(copy, package, options.only)
            judge(copy, package, options.show)
    return 0


def copied(folder: Path) -> Path:
    """The project's files in a folder of their own."""
    names = _output(ROOT, "git", "ls-files", "-z").split("\0")
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def configure(copy: Path, package: str, only: str) -> None:
    """Tell mutmut what to change and which tests are to notice."""
    pyproject = copy / "pyproject.toml"
    tests = ", ".join(f'"{each}"' for each in PACKAGES[package])
    words = f"""
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/retouch/{package}/{only}"]
also_copy = ["tests", "manifests", "pyproject.toml"]
pytest_add_cli_args = ["-q", "-n0", "-p", "no:cacheprovider", "-k", "{SLOW}"]
pytest_add_cli_args_test_selection = [{tests}]
"""
    pyproject.write_text(pyproject.read_text() + words)
    tomllib.loads(pyproject.read_text())


def judge(copy: Path, package: str, show: int) -> None:
    """Run mutmut and print the score and the survivors."""
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "run"], cwd=copy, check=False, stdout=sys.stderr)
    found = _RESULT.findall(_output(copy, str(mutmut), "results", "--all", "true"))
    lived = [name for name, how in found if how == "survived"]
    judged = [how for _, how in found if how in ("survived", "killed", "timeout", "suspicious")]
    untested = len(found) - len(judged)
    score = 100 * (1 - len(lived) / len(judged)) if judged else 0.0
    told = [
        f"{package}: {len(judged)} mutants, {len(lived)} lived, {score:.1f} % noticed; "
        f"{untested} that no test of the package comes to"
    ]
    told += [_output(copy, str(mutmut), "show", name).rstrip() for name in lived[:show]]
    sys.stdout.write("\n".join((*told, *lived[show:])) + "\n")


def _output(folder: Path, *command: str) -> str:
    quiet = os.environ | {"NO_COLOR": "1"}
    return subprocess.run(
        command, cwd=folder, env=quiet, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
