"""A command's arguments are parsed once: below its top nothing knows argparse's Namespace."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import retouch

ROOM = Path(retouch.__file__).parent
TOPS = {"run", "_options"}  # the Command protocol, and what turns arguments into options


def _takers(path: Path) -> set[str]:
    """The functions of a module that take a Namespace, under any name."""
    return {
        each.name
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(
            argument.annotation is not None and "Namespace" in ast.unparse(argument.annotation)
            for argument in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)
        )
    }


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.stem)
def test_only_a_commands_top_takes_a_namespace(path: Path) -> None:
    """Helpers take values, so that they can be called without a command line."""
    assert _takers(path) <= TOPS


@pytest.mark.parametrize("path", sorted((ROOM / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_no_command_writes_into_its_arguments(path: Path) -> None:
    """What the parser made is read, never changed or handed on by attribute."""
    text = path.read_text(encoding="utf-8")
    written = [
        ast.unparse(target)
        for each in ast.walk(ast.parse(text))
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "arguments"
    ]
    assert written == []
