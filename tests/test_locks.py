"""The lock files hold all that the installed retouch asks for, extra by extra, and agree."""

import ast
import json
import re
import sys
from importlib.metadata import distribution, metadata, packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DEV = ROOT / "requirements-dev.lock"
PINNED = re.compile(
    r"^(?P<name>[a-z0-9._-]+)(?P<extras>\[[^]]*\])?==(?P<version>\S+)", re.MULTILINE
)
IN_EVERY_SETUP = {"rehearsal", "build"}
EXTRAS = sorted({*(metadata("retouch").get_all("Provides-Extra") or [])} - IN_EVERY_SETUP - {"dev"})


def pins(*locks: Path) -> dict[str, set[str]]:
    """Name to the versions locked for it: one, or one for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for lock in locks:
        for pin in PINNED.finditer(lock.read_text("utf-8")):
            found.setdefault(pin["name"], set()).add(pin["version"])
    return found


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, str]]) -> set[str]:
    """All that `name[extras]` asks for on this machine, however far down."""
    names: set[str] = set()
    for extra in ("", *extras):
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for wanted in map(Requirement, distribution(name).requires or ()):
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                below = canonicalize_name(wanted.name)
                names |= {below} | needed(below, frozenset(wanted.extras), seen)
    return names - {"retouch"}


def lock_of(extra: str) -> Path:
    return ROOT / f"requirements-{extra}.lock"


@pytest.mark.parametrize("extra", EXTRAS)
def test_setup_with_an_extra_installs_all_that_the_extra_needs(extra: str) -> None:
    asked = needed("retouch", frozenset({extra, *IN_EVERY_SETUP}), set())
    assert asked - set(pins(ROOT / "requirements.lock", lock_of(extra))) == set()


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names


def test_all_that_src_imports_is_installed_without_the_tools_of_the_tests() -> None:
    """What only a test's own tool brings along would be missed in a user's clone."""
    locked = set(pins(ROOT / "requirements.lock", *map(lock_of, EXTRAS)))
    from_where = packages_distributions()
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "src").rglob("*.py")
        for name in imported(path) - {"retouch", "retouch_rehearsal"}
        if locked.isdisjoint(map(canonicalize_name, from_where.get(name, [])))
    }
    assert missing == set()


def test_the_dev_lock_holds_every_extra() -> None:
    asked = needed("retouch", frozenset({"dev", *IN_EVERY_SETUP, *EXTRAS}), set())
    assert asked - set(pins(DEV)) == set()


def test_all_locks_agree_with_the_dev_lock_on_every_version() -> None:
    dev = pins(DEV)
    others = pins(ROOT / "requirements.lock", *map(lock_of, EXTRAS))
    assert {name: found for name, found in others.items() if not found <= dev[name]} == {}


def test_locks_keep_the_extras_that_pip_check_does_not_ask_about() -> None:
    locked = chain.from_iterable(PINNED.finditer(lock.read_text()) for lock in ROOT.glob("*.lock"))
    assert {("coverage", "[toml]"), ("uvicorn", "[standard]")} <= {
        (pin["name"], pin["extras"]) for pin in locked
    }


def test_locks_name_no_index_and_no_folder_of_the_machine_that_wrote_them() -> None:
    told = [
        (lock.name, line)
        for lock in (
            *ROOT.glob("*.lock"),
            ROOT / "tests/peers/requirements.lock",
            ROOT / "tests/bench/peers.lock",
        )
        for line in lock.read_text("utf-8").splitlines()
        if re.search(r"://|^-|(^|\s)/", line)
    ]
    assert told == []


def test_the_peers_lock_has_a_digest_for_each_package_and_no_address_of_one() -> None:
    lock = json.loads((ROOT / "tests/peers/package-lock.json").read_text("utf-8"))
    packages = {path: held for path, held in lock["packages"].items() if path}
    assert all(held["integrity"].startswith("sha512-") for held in packages.values())
    assert [path for path, held in packages.items() if "resolved" in held] == []
