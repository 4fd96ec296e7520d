"""Patterns: what they match, in which order, and what they may never reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.plan.globs import Trouble, UnfitPattern, compiled, find

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
    return list(find(folder, compiled(pattern)))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
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
    walked = list(find(standing_tree, pattern))
    assert len(set(walked)) == len(walked)
    assert set(walked) == {name for name in TREE if pattern.matches(name)}


@pytest.mark.parametrize(
    "pattern", ["../*.jpg", "a/../../b", "/etc/*", "~/x.jpg", "C:/x", "a\\b", "a\0b"]
)
def test_a_pattern_that_leaves_the_folder_is_refused(pattern: str) -> None:
    """Neither by `..` nor by an absolute path."""
    with pytest.raises(UnfitPattern):
        compiled(pattern)


def test_linked_folders_are_followed_only_by_name_and_inside(tree: Path, tmp_path: Path) -> None:
    """`**` does not run through links (nor in circles); a link out of the folder is told."""
    (tree / "link").symlink_to("cats")
    (tree / "cats" / "self").symlink_to("..")
    (tree / "out").symlink_to(tmp_path.parent)
    assert found(tree, "link/1.jpg") == ["link/1.jpg"]
    assert found(tree, "*/1.jpg")[:1] == ["cats/1.jpg"]
    assert "link/1.jpg" not in found(tree, "**/1.jpg")
    told = found(tree, "out/*.jpg")
    assert isinstance(told[0], Trouble)
    assert "outside" in told[0].reason


def test_pipes_and_broken_links_are_found_so_that_they_are_told(tree: Path) -> None:
    """What matches and is no file is not passed over in silence."""
    os.mkfifo(tree / "pipe.jpg")
    (tree / "gone.jpg").symlink_to("nowhere")
    assert found(tree, "*.jpg") == ["a.jpg", "gone.jpg", "pipe.jpg"]


def test_a_very_deep_tree_is_walked(tmp_path: Path) -> None:
    """Depth is the file system's to limit, not the interpreter's."""
    deep = tmp_path
    for _ in range(600):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x.jpg").touch()
    assert len(found(tmp_path, "**/x.jpg")) == 1
