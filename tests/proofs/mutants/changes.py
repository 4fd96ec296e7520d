"""What is changed, one change at a time, and which changes say nothing about the tests.

Left out by rule, each because no promise hangs on it:
- words: the letters of a sentence for people (a text of two words or more that nothing compares);
  that the sentence is said at all stays in: it changed to None counts.
- a codec's name in other letters: UTF-8 is utf-8.
- `strict` of zip: it guards against a fault of the code's own that nothing shows.
- the type of a `cast`: only the type checker reads it.

What remains equivalent is named one by one in equivalent.toml, with its reason. mutmut itself
changes no decorated functions but class and static methods, and nothing outside of functions.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_TWO_WORDS = re.compile(r"[^\W\d_][,;:.)']*\s+[('\"]?\w")
_TEXT_METHODS = {"startswith", "endswith", "split", "removeprefix", "removesuffix", "get", "find"}


@dataclass(frozen=True)
class Change:
    """One mutant: mutmut's name for it and the function's source before and after."""

    name: str
    before: str
    after: str

    @property
    def function(self) -> str:
        """The function as a person writes it: retouch.costs.pricing.Price.ceiling."""
        module, _, function = self.name.partition("__mutmut_")[0].rpartition(".")
        bare = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        return f"{module}.{bare}"

    @property
    def lines(self) -> tuple[str, str]:
        """The first line taken away and the first line put in its place, without indentation."""
        lines = list(difflib.ndiff(self.before.splitlines(), self.after.splitlines()))
        first = {
            sign: next((each[2:].strip() for each in lines if each[0] == sign), "") for sign in "-+"
        }
        return first["-"], first["+"]


@dataclass(frozen=True)
class Equivalent:
    """A change that changes nothing for anyone; without `becomes`, each change of the line."""

    function: str
    line: str
    reason: str
    becomes: str | None = None

    def names(self, change: Change) -> bool:
        """Whether this is the change meant."""
        if change.function != self.function:
            return False
        line, becomes = change.lines
        return line == self.line and self.becomes in (None, becomes)


@cache
def mutated_file(path: Path, root: Path) -> MutatedFile:
    """A file with each of its changes in it, asleep: MUTANT_UNDER_TEST wakes one."""
    return mutate_file_contents(str(path.relative_to(root)), path.read_text(), None, None)


def made(path: Path, root: Path) -> list[Change]:
    """Every change that mutmut makes to a file."""
    relative, mutated = path.relative_to(root), mutated_file(path, root)
    lines = mutated.code.splitlines(keepends=True)

    def source(name: str) -> str:
        span = mutated.line_span_by_function_name[name]
        text = textwrap.dedent("".join(lines[span.start - 1 : span.end]))
        return text.replace(name, name.partition("__mutmut_")[0], 1)

    changes = []
    for name in mutated.mutant_names:
        original = source(name.partition("__mutmut_")[0] + "__mutmut_orig")
        changes.append(Change(get_mutant_name(relative, name), original, source(name)))
    return changes


def equivalents(path: Path = EQUIVALENT) -> list[Equivalent]:
    """The changes named as equivalent."""
    return [Equivalent(**each) for each in tomllib.loads(path.read_text()).get("equivalent", ())]


def says_nothing(change: Change) -> str | None:
    """The rule that leaves a change out, None where it stays in."""
    old, new, above = _differing(ast.parse(change.before), ast.parse(change.after))
    if _guards(old, new, above):
        return "strict of zip"
    call = next((each for each in reversed(above) if isinstance(each, ast.Call)), None)
    if call and _called(call) == "cast" and any(old is each for each in ast.walk(call.args[0])):
        return "the type of a cast"
    if not (isinstance(old, ast.Constant) and isinstance(new, ast.Constant)):
        return None
    if not (isinstance(old.value, str) and isinstance(new.value, str)):
        return None
    if _same_codec(old.value, new.value):
        return "a codec's name in other letters"
    return "words" if _TWO_WORDS.search(old.value) and not _compared(above) else None


def drawn(changes: Sequence[Change], number: int, seed: str) -> list[Change]:
    """As many of the changes as asked for, the same ones for the same seed."""
    ordered = sorted(changes, key=lambda each: each.name)
    return random.Random(seed).sample(ordered, min(number, len(ordered)))


def wilson(noticed: int, judged: int) -> tuple[float, float]:
    """The shares (0 to 1) between which the true one lies, 95 % sure: Wilson's interval."""
    if not judged:
        return 0.0, 1.0
    z, share = 1.96, noticed / judged
    middle = share + z * z / (2 * judged)
    half = z * sqrt(share * (1 - share) / judged + z * z / (4 * judged * judged))
    whole = 1 + z * z / judged
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def _differing(old: ast.AST, new: ast.AST) -> tuple[ast.AST, ast.AST, list[ast.AST]]:
    """The smallest parts that differ, and what stands above the old one, from outside in."""
    above: list[ast.AST] = []
    while type(old) is type(new):
        pairs = list(_parts(old, new))
        if len(pairs) != 1 or not all(isinstance(each, ast.AST) for each in pairs[0]):
            break
        above.append(old)
        old, new = pairs[0]
    return old, new, above


def _parts(old: ast.AST, new: ast.AST) -> Iterator[tuple[Any, Any]]:
    for name, before in ast.iter_fields(old):
        after = getattr(new, name)
        if not isinstance(before, list):
            pairs: Iterable[tuple[Any, Any]] = [(before, after)]
        elif len(before) == len(after):
            pairs = zip(before, after, strict=True)
        else:
            pairs = [(before, after)]
        yield from (pair for pair in pairs if _dumped(pair[0]) != _dumped(pair[1]))


def _dumped(part: Any) -> str:
    return (
        ast.dump(part)
        if isinstance(part, ast.AST)
        else repr(part)
        if not isinstance(part, list)
        else str([_dumped(each) for each in part])
    )


def _guards(old: ast.AST, new: ast.AST, above: Sequence[ast.AST]) -> bool:
    """Whether what was changed or taken away is zip(…, strict=True)'s strict and nothing else."""
    if isinstance(old, ast.Call) and isinstance(new, ast.Call):  # taken away
        strict = old.keywords[-1] if old.keywords and not new.keywords else None
        call: ast.AST | None = old
    else:
        strict = above[-1] if above and isinstance(above[-1], ast.keyword) else None
        call = above[-2] if strict else None
    return (
        strict is not None
        and strict.arg == "strict"
        and ast.unparse(strict.value) == "True"
        and _called(call) == "zip"
    )


def _called(call: ast.AST | None) -> str | None:
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else None


def _same_codec(old: str, new: str) -> bool:
    return old.lower() == new.lower() and old.lower().replace("-", "").startswith(("utf", "ascii"))


def _compared(above: Sequence[ast.AST]) -> bool:
    for each in reversed(above):
        if isinstance(each, (ast.JoinedStr, ast.BinOp, ast.IfExp, ast.Tuple, ast.List, ast.Set)):
            continue
        if isinstance(each, ast.Call):
            return isinstance(each.func, ast.Attribute) and each.func.attr in _TEXT_METHODS
        return isinstance(each, (ast.Compare, ast.Subscript, ast.Dict, ast.MatchValue))
    return False
