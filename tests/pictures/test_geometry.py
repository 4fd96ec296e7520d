"""Where a picture's features went is measured: scaled, stretched, cropped, moved, or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from retouch.pictures.geometry import Geometry, changes_aspect, measure_geometry

PHOTOGRAPHS = Path(__file__).parents[2] / "manifests" / "quickstart"
NAMES = ("cat", "coffee", "person", "rocket", "galaxies")

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def photograph(name: str) -> Pixels:
    image = cv2.imread(str(PHOTOGRAPHS / f"{name}.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def encoded(image: Pixels, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def edited(image: Pixels) -> Pixels:
    """Another light, as an edit has."""
    return np.asarray(cv2.convertScaleAbs(image, alpha=0.7, beta=40), np.uint8)


def resized(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(cv2.resize(image, (width, height)), np.uint8)


def measured(source: Pixels, output: Pixels) -> Geometry:
    found = measure_geometry(encoded(source), encoded(edited(output), ".png"))
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_scaled_edit_has_not_moved(name: str) -> None:
    image = photograph(name)
    height, width = image.shape[:2]
    found = measured(image, resized(image, width * 3 // 2, height * 3 // 2))
    assert found.is_resized
    assert not found.changes_aspect
    assert found.displacement is not None
    assert found.displacement < 0.01
    assert not found.has_moved


@pytest.mark.parametrize("name", NAMES)
def test_a_stretched_edit_has_its_points_where_both_factors_put_them(name: str) -> None:
    image = photograph(name)
    height, width = image.shape[:2]
    found = measured(image, resized(image, 640, 960))
    assert found.changes_aspect == changes_aspect((width, height), (640, 960))
    assert found.scale == (640 / width, 960 / height)
    assert not found.has_moved


@pytest.mark.parametrize("name", NAMES)
def test_a_zoomed_and_shifted_edit_has_moved_and_is_followed(name: str) -> None:
    """The fitted map leads to within 1 % of the width of where points really are."""
    image = photograph(name)
    height, width = image.shape[:2]
    truth = np.array([[2.2, 0.0, -50.0], [0.0, 2.2, -20.0]])
    found = measured(
        image, np.asarray(cv2.warpAffine(image, truth, (width * 2, height * 2)), np.uint8)
    )
    assert found.has_moved
    assert found.affine is not None
    for x, y in ((width * 0.3, height * 0.3), (width * 0.6, height * 0.5)):
        there = found.affine.of(x, y)
        assert there[0] == pytest.approx(2.2 * x - 50, abs=width * 0.02)
        assert there[1] == pytest.approx(2.2 * y - 20, abs=width * 0.02)


@pytest.mark.parametrize("name", ["cat", "coffee", "rocket"])
def test_a_cropped_edit_has_moved(name: str) -> None:
    image = photograph(name)
    side = min(image.shape[:2])
    found = measured(image, resized(image[:side, :side], 1024, 1024))
    assert found.changes_aspect
    assert found.has_moved


@pytest.mark.parametrize(
    "other",
    [
        np.full((300, 450, 3), 128, np.uint8),
        np.random.default_rng(1).integers(0, 255, (300, 450, 3), dtype=np.uint8),
    ],
    ids=["flat", "noise"],
)
def test_what_has_nothing_in_common_is_not_measurable(other: Pixels) -> None:
    found = measured(photograph("cat"), other)
    assert found.affine is None
    assert found.displacement is None
    assert not found.has_moved


def test_two_different_photographs_are_not_measurable() -> None:
    assert measured(photograph("coffee"), photograph("person")).affine is None


def test_what_is_no_picture_is_not_compared() -> None:
    assert measure_geometry(b"no picture", encoded(photograph("cat"))) is None


def test_the_same_pair_is_measured_the_same_twice() -> None:
    image = photograph("coffee")
    output = resized(image, 900, 600)
    assert measured(image, output) == measured(image, output)


@given(some.integers(1, 5000), some.integers(1, 5000), some.floats(0.1, 10))
def test_scaling_by_one_factor_keeps_the_aspect(width: int, height: int, factor: float) -> None:
    scaled = (max(1, round(width * factor)), max(1, round(height * factor)))
    if min(*scaled, width, height) > 100:
        assert not changes_aspect((width, height), scaled)
