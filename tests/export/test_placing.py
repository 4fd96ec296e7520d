"""Labels follow the edit, or are refused with the reason: the rules of `placing`, one by one."""

from __future__ import annotations

import pytest

from retouch.export.placing import Mode, Placed, place, unplaced
from retouch.pictures.geometry import Affine, Geometry
from retouch.plan.annotations import Annotations, Box, Instance, Keypoint, Mask, Polygon

SOURCE, OUTPUT = (192, 128), (1248, 832)
CAT = Instance("cat", Box(10, 20, 30, 40), keypoints=(Keypoint(11, 21), Keypoint(0, 0, 0)))
KNOWN = Annotations("cat", ("cat",), (CAT,), (("bbox", "[1,2,3,4]"), ("caption", '"a cat"')))


def pure(source: tuple[int, int], output: tuple[int, int], displacement: float = 0.0) -> Geometry:
    """What is measured of a picture that was scaled by both sizes, more or less."""
    affine = Affine(output[0] / source[0], 0, 0, 0, output[1] / source[1], 0)
    return Geometry(source, output, affine, displacement)


def unmeasured(source: tuple[int, int], output: tuple[int, int]) -> Geometry:
    return Geometry(source, output)


def placed(found: Placed | str) -> Placed:
    assert isinstance(found, Placed)
    return found


def test_boxes_grow_with_the_picture() -> None:
    """x6.5 where 192x128 became 1248x832; columns that lie nowhere stay as they are."""
    found = placed(place(KNOWN, SOURCE, OUTPUT, pure(SOURCE, OUTPUT), "scale"))
    assert found.placing == "scaled"
    assert found.annotations.instances[0].box == Box(65, 130, 195, 260)
    assert dict(found.annotations.columns) == {"bbox": "[6.5,13.0,19.5,26.0]", "caption": '"a cat"'}
    eight = placed(place(KNOWN, SOURCE, (1536, 1024), None, "scale"))
    assert eight.annotations.instances[0].box == Box(80, 160, 240, 320)


@pytest.mark.parametrize("mode", ["scale", "register"])
def test_flat_pictures_of_the_same_aspect_are_scaled_and_say_so(mode: Mode) -> None:
    found = placed(place(KNOWN, SOURCE, OUTPUT, unmeasured(SOURCE, OUTPUT), mode))
    assert found.placing == "unmeasured"
    assert found.annotations.instances[0].box == Box(65, 130, 195, 260)


def test_a_stretch_that_features_show_is_scaled_by_both_factors() -> None:
    found = placed(place(KNOWN, SOURCE, (1024, 1024), pure(SOURCE, (1024, 1024)), "scale"))
    box = found.annotations.instances[0].box
    assert box.x == pytest.approx(10 * 1024 / 192)
    assert (box.width, box.y, box.height) == (160, 160, 320)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (pure(SOURCE, (1024, 1024), 0.2), "it was cropped or padded (192x128 became 1024x1024)"),
        (unmeasured(SOURCE, (1024, 1024)), "cannot be measured"),
        (None, "cannot be measured"),
    ],
)
def test_a_changed_aspect_that_is_no_stretch_is_refused(
    geometry: Geometry | None, reason: str
) -> None:
    found = place(KNOWN, SOURCE, (1024, 1024), geometry, "scale")
    assert isinstance(found, str)
    assert reason in found


def test_an_aspect_within_two_percent_is_the_same() -> None:
    assert isinstance(place(KNOWN, (451, 300), (1248, 832), None, "scale"), Placed)
    assert isinstance(place(KNOWN, (100, 100), (103, 100), None, "scale"), str)


def test_register_moves_everything_by_the_fitted_map() -> None:
    """A crop of the left two thirds, seen twice as large: what leaves the picture is cut, or is no
    more in it."""
    crop = Affine(2, 0, -20, 0, 2, -10)
    away = Instance("dog", Box(180, 100, 10, 10))
    outlined = Instance("cup", Box(20, 20, 10, 10), (Polygon(((20, 20), (30, 20), (30, 30))),))
    known = Annotations(None, (), (CAT, away, outlined), (("keypoints", "[11,21,2,0,0,0]"),))
    geometry = Geometry(SOURCE, (256, 200), crop, 0.3)
    found = placed(place(known, SOURCE, (256, 200), geometry, "register"))
    assert found.placing == "registered"
    cat, cup = found.annotations.instances
    assert cat.box == Box(0, 30, 60, 80)
    assert cat.keypoints == (Keypoint(2, 32), Keypoint(0, 0, 0))
    assert cup.polygons[0].points == ((20, 30), (40, 30), (40, 50))
    assert dict(found.annotations.columns) == {"keypoints": "[2,32,2,0,0,0]"}


def test_a_box_that_is_cut_by_the_edge_ends_there() -> None:
    shift = Geometry(SOURCE, SOURCE, Affine(1, 0, -20, 0, 1, 0), 0.1)
    found = placed(place(KNOWN, SOURCE, SOURCE, shift, "register"))
    assert found.annotations.instances[0].box == Box(0, 20, 20, 40)


def test_a_mask_is_moved_by_the_map() -> None:
    """Columns 10 to 14 of 40 become columns 10 to 19 of 60."""
    mask = Mask(40, 20, (10 * 20, 5 * 20, 25 * 20))
    known = Annotations(instances=(Instance("cat", Box(10, 0, 5, 20), mask=mask),))
    geometry = Geometry((40, 20), (60, 40), Affine(2, 0, -10, 0, 2, 0), 0.2)
    found = placed(place(known, (40, 20), (60, 40), geometry, "register"))
    moved = found.annotations.instances[0].mask
    assert moved == Mask(60, 40, (10 * 40, 10 * 40, 40 * 40))


def test_dropped_labels_leave_classes_and_plain_columns() -> None:
    assert unplaced(KNOWN) == Annotations("cat", ("cat",), (), (("caption", '"a cat"'),))
