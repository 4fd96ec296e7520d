"""Every row of BAD-INPUT that is the manifest's: what is said, where, and what to do.

The table is in `bad_manifests`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retouch.errors import InputRefused, Problem
from retouch.manifest import load, read
from tests.support.bad_manifests import CASES, PRICED, SECTIONS, Case

DIALECTS = ("qiniu", "rehearsal")


def expected(text: bytes) -> tuple[bytes, tuple[int, int]]:
    """The text without its mark, and the place that was marked; (0, 0): none was."""
    before, mark, after = text.partition("«".encode())
    if not mark:
        return text, (0, 0)
    line = before.rpartition(b"\n")[2]
    return before + after, (before.count(b"\n") + 1, len(line.decode()) + 1)


def problems(text: bytes) -> tuple[Problem, ...]:
    with pytest.raises(InputRefused) as caught:
        read(text, "m.yaml", Path(), dialects=DIALECTS)
    assert caught.value.exit_code == 2
    return caught.value.problems


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.row)
def test_bad_manifest_is_refused_with_place_and_remedy(bad: Case) -> None:
    """Each row names what is wrong, at its line and column, and says what to do."""
    text, place = expected(bad.text())
    found = [problem for problem in problems(text) if bad.what in problem.what]
    assert len(found) == 1, list(map(str, problems(text)))
    assert (found[0].line, found[0].column) == place
    assert bad.remedy in found[0].remedy
    assert found[0].remedy
    assert "canary" not in str(problems(text))


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.row)
def test_bad_manifest_is_complained_of_once(bad: Case) -> None:
    """One mistake gives one message, not a trail of others."""
    text, _place = expected(bad.text())
    assert len(problems(text)) == 1, list(map(str, problems(text)))


def test_alias_is_refused_beside_its_anchor() -> None:
    """An alias is named at its own place; nothing it stood for is complained of."""
    text = b"version: 1\ninputs: &i [{glob: a}]\nprompts: *i\nmodels: [{model: m}]\n"
    assert [(each.line, each.column) for each in problems(text)] == [(2, 9), (3, 10)]


def test_all_problems_are_told_at_once_in_order() -> None:
    """Problems of every kind, in every part, come in one refusal, sorted by place."""
    text = (
        b"version: 1\nname: con\nprovider: {base_url: x, dialect: y}\n"
        b"inputs: [{glob: a, table: b}]\nprompts: [{id: p, template: ''}, {id: p, file: 3}]\n"
        b"models: [{model: 16:9, options: {n: 0}}, {model: m, model: m, limits: {x: 1}}]\n"
        b"run: {retries: -1, budget: {currency: cny}}\nzzz: 1\n"
    )
    lines = [each.line for each in problems(text)]
    assert lines == sorted(lines)
    assert [lines.count(line) for line in range(2, 9)] == [1, 2, 1, 3, 5, 3, 1]


def test_budget_limits_that_all_are_free_of_problems_load() -> None:
    """A per-run, a lifetime and a daily budget stand beside each other."""
    sections = {**SECTIONS, "models": PRICED}
    text = "\n".join(sections.values()) + (
        "\nrun: {budget: {amount: 1, total: 2.50, per_day: 0.1, currency: CNY}}"
    )
    budget = read(text.encode(), "m.yaml", Path()).manifest.run.budget
    assert budget is not None
    assert str(budget.total) == "2.50"


class TestFiles:
    """Row 1: what cannot be opened as a file."""

    def refusal(self, path: Path) -> Problem:
        with pytest.raises(InputRefused) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert problem.file.strip("'") == str(path) or "\\x00" in problem.file
        return problem

    def test_missing(self, tmp_path: Path) -> None:
        """A path without a file says so, and how to begin."""
        problem = self.refusal(tmp_path / "none.yaml")
        assert problem.what == "no such file"
        assert "retouch init" in problem.remedy

    def test_folder(self, tmp_path: Path) -> None:
        """A folder is called a folder."""
        assert self.refusal(tmp_path).what == "is not a regular file but a folder"

    def test_pipe(self, tmp_path: Path) -> None:
        """A FIFO is refused without waiting for a writer."""
        os.mkfifo(tmp_path / "pipe")
        assert self.refusal(tmp_path / "pipe").what == "is not a regular file but a named pipe"

    def test_device(self) -> None:
        """A device is no manifest."""
        assert self.refusal(Path("/dev/zero")).what == "is not a regular file but a device"

    def test_loop(self, tmp_path: Path) -> None:
        """A link onto itself is called that."""
        loop = tmp_path / "loop.yaml"
        loop.symlink_to(loop)
        assert "leads to itself" in self.refusal(loop).what

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable(self, tmp_path: Path) -> None:
        """A file without permission gives the system's reason."""
        path = tmp_path / "m.yaml"
        path.touch(mode=0)
        assert "Permission denied" in self.refusal(path).what

    def test_nul_in_path(self) -> None:
        """A path the system cannot have is refused like any other."""
        assert self.refusal(Path("a\0b")).what == "is no path"

    def test_unfit_stem(self, tmp_path: Path) -> None:
        """A file name that cannot name a folder is refused, unless the manifest has a name."""
        path = tmp_path / "con.yaml"
        path.write_text("\n".join(SECTIONS.values()))
        assert "the file's name cannot name a folder of outputs" in self.refusal(path).what
        path.write_text("name: fine\n" + "\n".join(SECTIONS.values()))
        assert load(path).manifest.name == "fine"
