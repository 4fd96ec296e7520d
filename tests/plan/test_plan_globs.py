"""Patterns: what they match, in which order, and what they may never reach."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.plan.globs import Files, Trouble, UnfitPattern, compiled, find, glob_of

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TREE = (
    "a.jpg", "b.png", "A.JPG", ".hidden.jpg", "cats/1.jpg", "cats/2.jpg", "cats/10.jpg",
    "cats/drafts/3.jpg", "cats/drafts/deep/4.jpg", "dogs/1.jpg", ".cache/5.jpg", "cats-2/6.jpg",
    "猫/七.jpg",
)  # fmt: skip


CATS = [
    "cats/1.jpg", "cats/10.jpg", "cats/2.jpg", "cats/drafts/3.jpg", "cats/drafts/deep/4.jpg",
]  # fmt: skip


SEGMENTS = ("*", "**", "?.jpg", "*.jpg", "cats", "drafts", "[a-z]*", "1*")


def planted(folder: Path) -> Path:
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return planted(tmp_path)


def found(folder: Path, pattern: str) -> list[str | Trouble]:
    return in_full(find(folder, compiled(pattern)))


def in_full(found: Iterable[Files | str | Trouble]) -> list[str | Trouble]:
    """Files by their paths, each for itself."""
    paths: list[str | Trouble] = []
    for each in found:
        if isinstance(each, Files):
            paths += [each.folder + name for name in each.names]
        else:
            paths.append(each)
    return paths


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["A.JPG", "a.jpg"]),
        ("./a.jpg", ["a.jpg"]),
        ("cats/*.jpg", ["cats/1.jpg", "cats/10.jpg", "cats/2.jpg"]),
        ("cats/?.jpg", ["cats/1.jpg", "cats/2.jpg"]),
        ("cats*/[16].jpg", ["cats/1.jpg", "cats-2/6.jpg"]),
        ("cats/**", CATS),
        ("cats/**/*.jpg", CATS),
        ("**/deep/*", ["cats/drafts/deep/4.jpg"]),
        ("**/drafts/**/*.jpg", ["cats/drafts/3.jpg", "cats/drafts/deep/4.jpg"]),
        ("**/1.jpg", ["cats/1.jpg", "dogs/1.jpg"]),
        (".cache/*", [".cache/5.jpg"]),
        (".*.jpg", [".hidden.jpg"]),
        ("猫/*", ["猫/七.jpg"]),
        ("cats", []),
        ("cats/", ["cats/1.jpg", "cats/10.jpg", "cats/2.jpg"]),
        ("none/*.jpg", []),
        ("a.jpg/*", []),
        ("**/**/6.jpg", ["cats-2/6.jpg"]),
    ],
)  # fmt: skip
def test_a_pattern_matches_what_a_shell_would(
    tree: Path, pattern: str, expected: list[str]
) -> None:
    """In the order of names, folder by folder; dotted names only where they are asked for."""
    assert found(tree, pattern) == expected


@pytest.fixture(scope="module")
def standing_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("tree"))


@steady
@given(segments=st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4))
def test_walking_and_matching_agree(standing_tree: Path, segments: list[str]) -> None:
    """What is found in a tree is what each of its paths says of itself."""
    pattern = compiled("/".join(segments))
    walked = in_full(find(standing_tree, pattern))
    assert len(set(walked)) == len(walked)
    assert set(walked) == {name for name in TREE if pattern.matches(name)}


@pytest.mark.parametrize(
    "pattern", ["*/../../b", "~nobody-here/x.jpg", "C:/x", "a\\b", "a\0b", "{1..999}{1..999}"]
)
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, pattern: str) -> None:
    """`..` after a wildcard, an unknown home, a drive, a backslash, too many alternatives."""
    with pytest.raises(UnfitPattern):
        glob_of(pattern, tmp_path)


def everywhere(folder: Path, pattern: str, *, literal: bool = False) -> list[str | Trouble]:
    return list(glob_of(pattern, folder, literal=literal).paths())


def test_a_pattern_begins_anywhere(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute, above by `..`, at home, through a link: the same files, from any folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "link").symlink_to(tree)
    monkeypatch.setenv("HOME", str(tree))
    cats = [f"{tree}/{name}" for name in CATS]
    up = os.path.relpath(tree, elsewhere)
    for pattern in (f"{tree}/cats/**/*.jpg", f"{up}/cats/**/*.jpg", "~/cats/**/*.jpg"):
        assert everywhere(elsewhere, pattern) == cats
    assert everywhere(elsewhere, "link/cats/**/*.jpg") == [
        f"{elsewhere}/link/{name}" for name in CATS
    ]


def test_braces_are_alternatives_and_each_file_is_found_once(tree: Path) -> None:
    """Names, folders, numbers; an extension in any case."""
    assert everywhere(tree, "{a,b,a}.{jpg,png}") == [f"{tree}/a.jpg", f"{tree}/b.png"]
    assert everywhere(tree, "{cats,dogs}/{1..2}.jpg") == [
        f"{tree}/cats/1.jpg", f"{tree}/cats/2.jpg", f"{tree}/dogs/1.jpg",
    ]  # fmt: skip
    assert everywhere(tree, "A.jpg") == [f"{tree}/A.JPG"]


def test_signs_in_names_are_meant_by_brackets_or_by_literal(tmp_path: Path) -> None:
    """A folder called `[2024] a{b}?` is reached both ways."""
    folder = tmp_path / "[2024] a{b}?"
    folder.mkdir()
    (folder / "1.jpg").touch()
    (tmp_path / "2 ab").mkdir()
    (tmp_path / "2 ab" / "1.jpg").touch()
    wanted = [f"{folder}/1.jpg"]
    assert everywhere(tmp_path, "[2024] a{b}?/*.jpg", literal=True) == wanted
    assert everywhere(tmp_path, "[[]2024] a{b}[?]/*.jpg") == wanted
    assert everywhere(tmp_path, "[2024] a{b}/*.jpg") == []


def test_linked_folders_are_followed_only_by_name(tree: Path, tmp_path: Path) -> None:
    """`**` does not run through links (nor in circles), and says so; by name they lead anywhere."""
    (tree / "link").symlink_to("cats")
    (tree / "cats" / "self").symlink_to("..")
    (tree / "out").symlink_to(tmp_path.parent)
    (tmp_path.parent / "there.jpg").touch()
    assert found(tree, "link/1.jpg") == ["link/1.jpg"]
    assert found(tree, "*/1.jpg")[:1] == ["cats/1.jpg"]
    files = [each for each in found(tree, "**/1.jpg") if isinstance(each, str)]
    links = [each.path for each in found(tree, "**/1.jpg") if isinstance(each, Trouble)]
    assert "link/1.jpg" not in files
    assert links == ["cats/self", "link", "out"]
    assert "out/there.jpg" in found(tree, "out/*.jpg")


def test_pipes_and_broken_links_are_found_so_that_they_are_told(tree: Path) -> None:
    """What matches and is no file is not passed over in silence."""
    os.mkfifo(tree / "pipe.jpg")
    (tree / "gone.jpg").symlink_to("nowhere")
    assert found(tree, "*.jpg") == ["A.JPG", "a.jpg", "gone.jpg", "pipe.jpg"]


def test_a_very_deep_tree_is_walked(tmp_path: Path) -> None:
    """Depth is the file system's to limit, not the interpreter's."""
    deep = tmp_path
    for _ in range(600):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x.jpg").touch()
    assert len(found(tmp_path, "**/x.jpg")) == 1
