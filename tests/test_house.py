"""The house as one sees it: rooms by name in the map, in the layers and in the folder alike."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import retouch

HOUSE = Path(retouch.__file__).parent
ROOT = Path(__file__).parents[1]
ENTRY = {"__init__", "__main__"}
ROOMS = sorted(each.parent.name for each in HOUSE.glob("*/__init__.py"))
SHORT = 30  # lines
COMMANDS = HOUSE / "cli"


def _modules() -> set[str]:
    return {each.stem for each in HOUSE.glob("*.py")} - ENTRY


def test_the_map_names_every_room_and_no_other() -> None:
    """`ls src/retouch` and the map in its README say the same."""
    named = re.findall(r"\*\*([a-z_]+)\*\*", (HOUSE / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted({*ROOMS, *_modules()})


def test_the_layers_name_every_room_and_no_other() -> None:
    """Floor by floor; a room in brackets may be there or not."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    house = next(each for each in contracts if each.get("containers") == ["retouch"])
    floors = [re.findall(r"(\()?([a-z_]+)\)?", floor) for floor in house["layers"]]
    sure = {name for floor in floors for bracket, name in floor if not bracket} - ENTRY
    perhaps = {name for floor in floors for bracket, name in floor if bracket}
    assert sure <= {*ROOMS, *_modules()} <= sure | perhaps


def test_few_modules_stand_loose() -> None:
    """Words that any room may use, and nothing else."""
    assert len(_modules() | ENTRY) <= 8


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room: str) -> None:
    """A package opens with its one sentence."""
    assert ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8")))


def test_no_file_is_a_few_lines_but_a_command() -> None:
    """What is that short goes home to a neighbour; a file a command is cli's own rule."""
    short = [
        str(each.relative_to(HOUSE))
        for each in HOUSE.rglob("*.py")
        if each.stem not in ENTRY
        and each.parent != COMMANDS
        and len(each.read_text(encoding="utf-8").splitlines()) < SHORT
    ]
    assert short == []
