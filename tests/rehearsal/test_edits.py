"""Edits change what they say, keep what a mask keeps, and come out the same every time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retouch_rehearsal.bench import BENCH
from retouch_rehearsal.edits import colour, cutout, scenes, style
from retouch_rehearsal.edits.arrays import cover
from retouch_rehearsal.edits.compose import keep
from retouch_rehearsal.edits.engine import Work, edit
from retouch_rehearsal.pictures import open_mask, open_picture
from retouch_rehearsal.sizes import GEMINI_BUCKETS, bucket_for, working_size
from retouch_rehearsal.understanding import understand
from tests.support.samples import encoded, photo

Array = np.ndarray[Any, np.dtype[Any]]


def work(
    prompt: str,
    *images: Image.Image,
    mask: Image.Image | None = None,
    size: tuple[int, int] | None = None,
    transparent: bool = False,
) -> Work:
    pictures = tuple(open_picture(encoded(image), "image") for image in images or (photo(),))
    own = pictures[0].size
    return Work(
        pictures=pictures,
        roles=tuple("image" for _ in pictures),
        mask=None if mask is None else open_mask(encoded(mask), "mask", "white", own),
        mask_digest="" if mask is None else hashlib.sha256(encoded(mask)).hexdigest(),
        prompt=prompt,
        model="test",
        plan=understand(prompt, images=len(pictures), is_masked=mask is not None),
        size=size or own,
        transparent=transparent,
    )


def run(prompt: str, *images: Image.Image, index: int = 0, **more: Any) -> Array:
    """The edit as the service finishes it, for pictures that are worked on at their own size."""
    task = work(prompt, *images, **more)
    pixels = edit(task, index)
    if task.mask is not None:
        pixels = keep(pixels, [task.pictures[0].pixels], task.mask)
    return cover(pixels, task.size)


ORIGINAL = np.asarray(photo())
PROMPTS = [
    "把猫改成白色,背景换成海滩", "水彩", "油画", "素描", "水墨画", "漫画", "夜晚", "日落", "偏暖",
    "偏冷", "复古", "黑白", "提高对比度", "降低饱和度", "提亮", "变暗", "锐化", "背景虚化", "模糊",
    "背景简洁干净", "天空换成晚霞", "背景换成星空", "背景换成雪景", "背景换成森林", "背景换成草地",
    "背景换成影棚", "背景换成海边日落", "背景换成蓝天白云", "背景换成红色", "什么也没有",
]  # fmt: skip


@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_edit_changes_the_picture_and_repeats_itself(prompt: str) -> None:
    """Visible, of the size asked for, and byte-equal the second time."""
    first, second = run(prompt), run(prompt)
    assert first.shape == ORIGINAL.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - ORIGINAL).mean() > 0.5


@pytest.mark.parametrize(
    "prompt", ["水彩", "偏暖", "把猫改成白色", "背景换成海滩", "黑白", "没有意义"]
)
def test_variants_differ_from_each_other(prompt: str) -> None:
    """Each index is another picture."""
    digests = {hashlib.sha256(run(prompt, index=index).tobytes()).hexdigest() for index in range(6)}
    assert len(digests) == 6


def half_mask(grey: int = 255) -> Image.Image:
    mask = Image.new("L", (96, 64), 0)
    mask.paste(grey, (0, 0, 48, 64))
    return mask


@pytest.mark.parametrize("prompt", ["把墙改成红色", "油画", "背景换成海滩", "去掉路人", "漫画"])
def test_black_keeps_every_byte(prompt: str) -> None:
    """Where the mask is black the input's pixels are untouched; where it is white they are not."""
    result = run(prompt, mask=half_mask())
    assert np.array_equal(result[:, 48:], ORIGINAL[:, 48:])
    assert not np.array_equal(result[:, :48], ORIGINAL[:, :48])


def test_grey_blends() -> None:
    """Half grey gives half of the edit, within rounding."""
    whole = run("把墙改成红色", mask=half_mask(255))[:, :48].astype(float)
    half = run("把墙改成红色", mask=half_mask(128))[:, :48].astype(float)
    expected = ORIGINAL[:, :48] + (whole - ORIGINAL[:, :48]) * 128 / 255
    assert np.abs(half - expected).max() <= 1


def test_all_black_keeps_all_and_all_white_edits_all() -> None:
    """The two extremes work."""
    black, white = Image.new("L", (96, 64), 0), Image.new("L", (96, 64), 255)
    assert np.array_equal(run("油画", mask=black), ORIGINAL)
    assert np.array_equal(run("把墙改成红色", mask=white), run("把墙改成红色"))


def test_masks_of_another_size_are_fitted() -> None:
    """A mask at twice the size means the same."""
    large = half_mask().resize((192, 128))
    result = run("把墙改成红色", mask=large)
    assert np.array_equal(result[:, 49:], ORIGINAL[:, 49:])


def test_recolouring_moves_the_colour() -> None:
    """Red is red, blue is blue, white is light and black is dark."""
    red, blue = run("把墙改成红色").mean(axis=(0, 1)), run("把墙改成蓝色").mean(axis=(0, 1))
    assert red[0] > red[2] + 60
    assert blue[2] > blue[0] + 60
    assert run("把墙改成白色").mean() > ORIGINAL.mean() + 40
    assert run("把墙改成黑色").mean() < ORIGINAL.mean() - 40


def test_transparency_is_an_alpha_channel() -> None:
    """A cut-out keeps the subject and lets the rest through."""
    result = run("背景透明")
    assert result.shape == (64, 96, 4)
    assert result[32, 48, 3] > 200
    assert result[2, 2, 3] < 60


def test_black_is_opaque_where_a_masked_edit_is_cut_out() -> None:
    """What is kept is kept with all of its opacity, also at a corner that is cut out else."""
    result = run("背景透明", mask=half_mask())
    assert np.array_equal(result[:, 48:, :3], ORIGINAL[:, 48:])
    assert (result[:, 48:, 3] == 255).all()
    assert result[2, 2, 3] < 60


def test_fusion_takes_the_others_colours() -> None:
    """A picture fused with a red one turns redder; a comic page shows every picture."""
    red = Image.new("RGB", (80, 80), (220, 30, 30))
    fused = run("结合两张图的风格", photo(), red)
    assert fused.mean(axis=(0, 1))[0] > ORIGINAL.mean(axis=(0, 1))[0] + 20
    page = run(
        "画一个漫画", photo(), red, Image.new("RGB", (80, 80), (30, 200, 30)), size=(384, 256)
    )
    assert page.shape == (256, 384, 3)


def test_sizes_follow_the_shape() -> None:
    """A bucket keeps its size; others go to the nearest shape."""
    assert {bucket_for(size) for size in GEMINI_BUCKETS} == set(GEMINI_BUCKETS)
    assert bucket_for((512, 512)) == (1024, 1024)
    assert bucket_for((451, 300)) == (1248, 832)
    assert bucket_for((1, 16384)) == (768, 1344)


@pytest.mark.parametrize(
    ("size", "worked_on_at"),
    [
        ((96, 64), (96, 64)), ((1024, 1024), (1024, 1024)), ((1536, 672), (1536, 672)),
        ((5000, 5000), (1024, 1024)), ((4000, 3000), (1182, 887)), ((16_000, 100), (1536, 10)),
        ((1, 16_383), (1, 1536)),
    ],
)  # fmt: skip
def test_large_pictures_are_worked_on_at_a_buckets_size(
    size: tuple[int, int], worked_on_at: tuple[int, int]
) -> None:
    """In pixels and in length; what is no larger stays as it is."""
    assert working_size(size) == worked_on_at
    assert {working_size(bucket) for bucket in GEMINI_BUCKETS} == set(GEMINI_BUCKETS)


def test_changed_weights_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut-out net is loaded only if its digest is the known one."""
    monkeypatch.setattr(cutout, "WEIGHTS_SHA256", "0" * 64)
    monkeypatch.setattr(BENCH, "_net", None)
    with pytest.raises(cutout.WeightsChanged):
        cutout.subject_of(np.zeros((9, 9, 3), np.uint8), "unknown")


def test_the_net_finds_a_real_subject() -> None:
    """On a quickstart picture the subject is found where it is."""
    path = Path(__file__).parents[2] / "manifests" / "quickstart" / "person.jpg"
    if not path.exists():
        pytest.skip("the quickstart pictures are not here")
    picture = open_picture(path.read_bytes(), "image")
    subject = cutout.subject_of(picture.pixels, picture.digest)
    assert subject[350, 200] > 0.9
    assert subject[10, 500] < 0.1


@pytest.mark.parametrize("name", [*scenes.SCENES, *colour.COLOURS, "dark blue", "light red"])
@pytest.mark.parametrize("size", [(1, 1), (7, 33), (64, 48)])
def test_scenes_can_be_any_size(name: str, size: tuple[int, int]) -> None:
    """Even one pixel."""
    scene = scenes.paint(name, size, np.random.default_rng(1))
    assert scene.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", style.STYLES)
def test_styles_can_be_any_size(name: str) -> None:
    """From one pixel up."""
    for shape in ((1, 1, 3), (3, 40, 3)):
        result = style.stylise(np.full(shape, 90, np.uint8), name, np.random.default_rng(1))
        assert result.shape == shape
