"""A fresh clone sets itself up from its locks with the oldest pip, whatever is published later.

Run by `make fresh` with a bare Python: nothing of ours is installed yet, and nothing that an
earlier step left behind is used, pip's cache included. Beside the index lies a newer stub of every
locked package, so that an install that looks versions up takes a stub and is caught.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

OLDEST_PIP = "22.3"  # what Python 3.11.0 brought; later Pythons bring newer ones and need them
STUB_VERSION = "9999.0"
ROOT = Path(__file__).parents[2]
_PIP = [".venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
PINNED = re.compile(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==", re.MULTILINE)
OURS_TO_SAY = re.compile(r"setting up \S.* ...$")


class NotFresh(Exception):
    """The set-up did something other than what the locks say."""


def main() -> int:
    """Set up a copy of the checkout; exit 1 with what went wrong."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fresh-machine-") as folder:
        try:
            told = _prove(Path(folder))
        except NotFresh as wrong:
            sys.stderr.write(f"fresh machine: {wrong}\n")
            return 1
    sys.stdout.write(f"fresh machine: {told} in {time.monotonic() - began:.0f} s\n")
    return 0


def _prove(folder: Path) -> str:
    clone, stubs = folder / "clone", folder / "stubs"
    _copy_tracked(clone)
    locked = sorted({name for lock in clone.glob("*.lock") for name in _names(lock)})
    _write_stubs(stubs, locked)
    env = _bare_environment(folder, stubs)
    pip = _make_venv(clone, env)
    _check_stubs_lure(clone, env)
    _make(clone, env, "dev")
    _make(clone, env, "run", "MANIFEST=manifests/quickstart.yaml")
    _check_versions(clone, env)
    return f"both locks, {len(locked)} packages, by pip {pip} beside newer stubs of each"


def _copy_tracked(clone: Path) -> None:
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)


def _names(lock: Path) -> list[str]:
    return PINNED.findall(lock.read_text("utf-8"))


def _write_stubs(stubs: Path, names: list[str]) -> None:
    """A wheel each that holds nothing: newer than any release, and without hashes in our locks."""
    stubs.mkdir()
    for name in names:
        stem = f"{re.sub('[-.]+', '_', name)}-{STUB_VERSION}"
        info = f"{stem}.dist-info"
        files = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {STUB_VERSION}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(stubs / f"{stem}-py3-none-any.whl", "w") as wheel:
            for path, text in files.items():
                wheel.writestr(path, text)
            wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files))


def _bare_environment(folder: Path, stubs: Path) -> dict[str, str]:
    """The caller's environment, for its way to the index; but no venv, no key, no cache."""
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "OPENAI_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    links = [env.get("PIP_FIND_LINKS", ""), str(stubs)]
    return env | {
        "PIP_FIND_LINKS": " ".join(filter(None, links)),
        "PIP_CACHE_DIR": str(folder / "cache"),
        "PIP_NO_COMPILE": "1",  # few of these modules are imported here
    }


def _make_venv(clone: Path, env: Mapping[str, str]) -> str:
    _run([sys.executable, "-m", "venv", ".venv"], clone, env)
    if sys.version_info < (3, 12):
        _run([*_PIP, "install", "-qq", f"pip=={OLDEST_PIP}"], clone, env)
    return _run([*_PIP, "--version"], clone, env).split()[1]


def _check_stubs_lure(clone: Path, env: Mapping[str, str]) -> None:
    """A stub that pip cannot see would prove nothing."""
    looked_up = _run([*_PIP, "install", "--dry-run", "coverage"], clone, env)
    if f"coverage-{STUB_VERSION}" not in looked_up:
        raise NotFresh(f"pip did not see the newer coverage:\n{looked_up}")


def _make(clone: Path, env: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        ["make", *arguments], cwd=clone, env=env, check=False, capture_output=True, text=True
    )
    told = f"make {' '.join(arguments)}"
    if done.returncode:
        raise NotFresh(f"{told} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    noise = [line for line in done.stderr.splitlines() if not OURS_TO_SAY.match(line)]
    if arguments[0] == "dev" and noise:
        raise NotFresh(f"{told} says on stderr what does not matter:\n" + "\n".join(noise))


def _check_versions(clone: Path, env: Mapping[str, str]) -> None:
    listed = json.loads(_run([*_PIP, "list", "--format", "json"], clone, env))
    stubs = [each["name"] for each in listed if each["version"] == STUB_VERSION]
    if stubs:
        raise NotFresh(f"taken from the index in place of the lock: {', '.join(stubs)}")


def _run(command: list[str], cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotFresh(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
