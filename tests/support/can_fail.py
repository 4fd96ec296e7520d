"""Which tests can fail: each asserts something, and not only of what may be nothing at all.

Read from the syntax, so a look and not a proof: a loop, `all(...)` or `not any(...)` over what
may be empty says nothing, and neither does a helper that asserts nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
RAISES = frozenset({"raises", "warns", "fail"})


def functions(trees: Iterable[ast.AST]) -> Iterator[Function]:
    """Every function of the modules, whatever it is part of."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield node


def called(node: ast.AST) -> str:
    """The last name of what a call calls; "" where that is no name."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def asserting(trees: Iterable[ast.AST]) -> frozenset[str]:
    """The names of functions that assert, themselves or by one that they call."""
    known = list(functions(trees))
    found = {each.name for each in known if any(map(_is_assertion, ast.walk(each)))}
    while True:
        more = {
            each.name
            for each in known
            if each.name not in found and any(called(node) in found for node in ast.walk(each))
        }
        if not more:
            return frozenset(found)
        found |= more


def _is_assertion(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert | ast.Raise) or called(node) in RAISES


def says_something(test: Function, helpers: frozenset[str]) -> bool:
    """Whether the test asserts outside of what may be empty."""
    return _says(test, helpers)


def _says(node: ast.AST, helpers: frozenset[str]) -> bool:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.For | ast.AsyncFor) and _may_be_empty(child.iter):
            continue
        if isinstance(child, ast.Assert) and not _is_of_all(child.test):
            return True
        if called(child) in RAISES | helpers or _says(child, helpers):
            return True
    return False


def _may_be_empty(over: ast.expr) -> bool:
    """Whether what is gone through may hold nothing; a constant, a display, a count and what is
    zipped strictly with others do not."""
    if isinstance(over, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Constant):
        return False
    if isinstance(over, ast.Name):
        return not over.id.isupper()
    if isinstance(over, ast.Call) and called(over) == "enumerate":
        return _may_be_empty(over.args[0])
    if isinstance(over, ast.Call) and called(over) == "zip":
        return not any(word.arg == "strict" for word in over.keywords)
    return called(over) not in ("range", "product")


def _is_of_all(test: ast.expr) -> bool:
    """Whether it holds of nothing at all: `all(... for ...)`, `not any(... for ...)`."""
    wanted = "all"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        wanted, test = "any", test.operand
    if called(test) != wanted or not isinstance(test, ast.Call):
        return False
    given = test.args[0]
    return not isinstance(given, ast.GeneratorExp) or _may_be_empty(given.generators[0].iter)


def parsed(folder: Path) -> dict[Path, ast.Module]:
    """Every module below a folder, by its path."""
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))}
