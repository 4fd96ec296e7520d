"""Prompts become the plans a person would make, or are honestly not understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from retouch_rehearsal import words
from retouch_rehearsal.edits import colour, scenes, style
from retouch_rehearsal.understanding import EditPlan, Operation, understand

BLIND: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("blind_prompts.json").read_text(encoding="utf-8")
)
SEEDS = [
    ("将图片中的猫改成白色,背景改为蓝天白云", 1,
     "recolour(subject, white) > background(background, clouds)"),
    ("为这个场景添加日落效果,让整体色调更温暖", 1, "tone(whole, sunset) > tone(whole, warm)"),
    ("将这张照片转换为水彩画风格", 1, "style(whole, watercolour)"),
    ("结合这两张图片的风格,生成一张新的艺术作品", 2, "fusion(whole)"),
    ("综合两个图像画一个漫画图", 2, "comic(whole, panels)"),
    ("将图片中的天空改为日落时分的橙红色,增加温暖的氛围", 1,
     "background(sky, sunset) > tone(whole, warm)"),
    ("将照片转换为油画风格,保持主体不变,增强色彩饱和度", 1,
     "saturation(whole, up) > style(whole, oil)"),
    ("移除背景中的杂物,让背景变得简洁干净", 1, "remove(background)"),
    ("将这张照片转换为印象派油画风格,使用莫奈的色彩表现手法", 1, "style(whole, oil)"),
    ("保持人物不变,将背景替换为海滩日落场景", 1, "background(background, beach_sunset)"),
    ("提升图像清晰度,增强色彩饱和度和对比度,去除噪点", 1,
     "denoise(whole) > contrast(whole, up) > saturation(whole, up) > sharpen(whole)"),
    ("将墙壁改成深蓝色", 1, "recolour(whole, dark blue)"),
]  # fmt: skip


def _parts(plan: EditPlan) -> list[set[str]]:
    """Each step as the words the blind list uses."""
    if plan.is_fallback:
        return []
    steps = []
    for step in plan.steps:
        is_blurred = step.operation == "blur" and step.target == "background"
        operation = "blur_background" if is_blurred else step.operation
        steps.append({operation, step.target, *step.value.split()})
    return steps


def _agrees(expected: list[list[str]], plan: EditPlan) -> bool:
    parts = _parts(plan)
    return len(expected) == len(parts) and all(
        any(set(wanted) <= part for part in parts) for wanted in expected
    )


def test_blind_list_is_read_as_a_person_would() -> None:
    """Of 40 prompts written before the table, at least 80 % map exactly; the rest is reported."""
    wrong = []
    for row in BLIND:
        images = 2 if "second image" in row["prompt"] else 1
        plan = understand(row["prompt"], images=images)
        if not _agrees(row["expect"], plan):
            wrong.append((row["prompt"], str(plan)))
    assert len(BLIND) == 40
    assert len(wrong) <= 8, wrong


@pytest.mark.parametrize(
    "row", [row for row in BLIND if not row["expect"]], ids=lambda r: r["prompt"]
)
def test_what_the_service_cannot_do_is_said(row: dict[str, Any]) -> None:
    """A prompt beyond the engine yields a warning that names it, and no pretence."""
    plan = understand(row["prompt"])
    assert plan.is_fallback
    assert any("nothing was understood" in warning for warning in plan.warnings)


@pytest.mark.parametrize(("prompt", "images", "expected"), SEEDS)
def test_the_pages_own_prompts(prompt: str, images: int, expected: str) -> None:
    """Every prompt of the provider's page is understood whole."""
    plan = understand(prompt, images=images)
    assert str(plan) == expected
    assert plan.warnings == ()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("make the white cat black", "recolour(subject, black)"),
        ("把白色的猫改成黑色", "recolour(subject, black)"),
        ("make it red instead of blue", "recolour(subject, red)"),
        ("Make the cat in the picture white", "recolour(subject, white)"),
        ("Add a red hat", "mild_tone(whole)"),
        ("don't blur the background", "mild_tone(whole)"),
        ("Make the sky blue", "background(sky, sky)"),
        ("去除背景", "background(background, transparent)"),
        ("稍微提亮", "brightness(whole, up) x0.6"),
        ("MAKE IT BLACK AND WHITE", "grayscale(whole)"),
        ("图片转成黑白", "grayscale(whole)"),
        ("", "mild_tone(whole)"),
    ],
)
def test_readings(prompt: str, expected: str) -> None:
    """Last colours win, negations ask for nothing, places are not targets."""
    assert str(understand(prompt)) == expected


def test_half_understood_prompts_name_the_other_half() -> None:
    """What was not understood stands in the warnings beside what was done."""
    plan = understand("给猫戴上帽子,背景改为蓝天")
    assert str(plan) == "background(background, sky)"
    assert plan.warnings == ('not understood: "给猫戴上帽子"',)


def test_removal_without_a_mask_is_warned_of() -> None:
    """Nothing but a mask says where a thing is."""
    assert any("mask" in warning for warning in understand("去掉路人").warnings)
    assert understand("去掉路人", is_masked=True).warnings == ()


def test_every_word_leads_to_an_edit_that_exists() -> None:
    """The table's names are the engine's names."""
    assert {name for name, _ in words.COLOURS} == set(colour.COLOURS)
    assert {name for name, _ in words.SCENES} | {"beach_sunset"} == set(scenes.SCENES)
    assert {name for name, _ in words.STYLES} == set(style.STYLES)
    assert {name for name, _ in words.ADJUSTMENTS} <= set(get_args(Operation))
