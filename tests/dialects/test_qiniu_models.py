"""The capability table of the dialect `qiniu`, against the provider's page and PROTOCOL §1."""

from __future__ import annotations

import pytest

from retouch.dialects.base import Capabilities, Parameter
from retouch.dialects.qiniu import requests as qiniu

NOT_YET = {
    "size", "quality", "background", "input_fidelity", "output_format", "output_compression",
    "response_format", "stream",
}  # fmt: skip
RATIOS = {"16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"}


def parameter(capabilities: Capabilities, name: str) -> Parameter:
    return next(p for p in capabilities.parameters if p.name == name)


def marked(capabilities: Capabilities) -> set[str]:
    return {p.name for p in capabilities.parameters if p.status == "not_yet"}


def names(capabilities: Capabilities) -> set[str]:
    return {p.name for p in capabilities.parameters}


def test_gemini_takes_the_page_s_parameters_with_its_marks() -> None:
    """Every row of the page for gemini-2.5-flash-image, 暂不支持 as not_yet; Kling's rows not."""
    gemini = qiniu.capabilities("gemini-2.5-flash-image")
    assert names(gemini) == {"n", "image_config"} | NOT_YET
    assert marked(gemini) == NOT_YET
    assert (gemini.kind, gemini.takes_mask, gemini.known) == ("sync", True, True)
    assert (parameter(gemini, "n").minimum, parameter(gemini, "n").maximum) == (1, 10)
    assert parameter(gemini, "quality").choices == ("standard", "hd")
    compression = parameter(gemini, "output_compression")
    assert (compression.minimum, compression.maximum) == (0, 100)
    assert gemini.tokens is not None
    assert (gemini.tokens.input_per_image, gemini.tokens.output_per_image) == (258, 1290)


def test_kling_takes_several_pictures_by_url() -> None:
    """Every row of the page for kling-v2, its limits on references, and one to four of them."""
    kling = qiniu.capabilities("kling-v2", placement="subject_image_list")
    assert names(kling) == {"n", "scene_image", "style_image", "aspect_ratio"} | NOT_YET
    assert marked(kling) == NOT_YET
    assert set(parameter(kling, "aspect_ratio").choices) == RATIOS
    assert parameter(kling, "scene_image").kind == "image_url"
    placement = kling.placements[0]
    assert (placement.minimum, placement.maximum) == (1, 4)
    limits = placement.limits
    assert limits.media_types == ("image/jpeg", "image/png")
    assert limits.maximum_bytes == 10 * 1024 * 1024
    assert (limits.minimum_side, limits.maximum_ratio) == (300, 2.5)
    assert limits.urls_only
    assert (kling.kind, kling.slots_per_image) == ("task", 1)
    assert kling.maximum_prompt_characters == 2500


@pytest.mark.parametrize("model", ["kling-v2", "kling-v2-1"])
@pytest.mark.parametrize(
    ("images", "placement", "chosen"),
    [
        (1, None, "image"),
        (2, None, "subject_image_list"),
        (4, None, "subject_image_list"),
        (5, None, "subject_image_list"),
        (1, "subject_image_list", "subject_image_list"),
        (2, "image", "image"),
        (2, "no_such_field", "subject_image_list"),
    ],
)
def test_the_route_follows_the_field_else_the_number(
    model: str, images: int, placement: str | None, chosen: str
) -> None:
    """A model on two routes: the field named wins; else the first that takes so many pictures."""
    answer = qiniu.capabilities(model, images=images, placement=placement)
    assert answer.placements[0].name == chosen
    assert {p.name for p in answer.placements} == {"image", "subject_image_list"}


def test_one_picture_to_kling_may_be_a_file() -> None:
    """/images/generations takes base64 too, of one picture, without a mask."""
    kling = qiniu.capabilities("kling-v2")
    assert kling.placements[0].maximum == 1
    assert not kling.placements[0].limits.urls_only
    assert not kling.takes_mask
    assert {"image_reference", "image_fidelity", "human_fidelity", "negative_prompt"} <= names(
        kling
    )


@pytest.mark.parametrize(
    ("model", "not_yet"),
    [
        ("kling-v1", {"negative_prompt", "image_reference"}),
        ("kling-v1-5", {"negative_prompt"}),
        ("kling-v2", {"image_reference", "image_fidelity", "human_fidelity"}),
        ("openai/gpt-image-2", {"input_fidelity", "response_format", "stream"}),
    ],
)
def test_what_a_model_does_not_honour_is_marked(model: str, not_yet: set[str]) -> None:
    """Marked, so that it is warned about; never missing, so that it is never dropped."""
    assert marked(qiniu.capabilities(model)) == not_yet


def test_the_queue_counts_by_another_name() -> None:
    """kling-image-o1: up to ten pictures in, one to nine out, by num_images."""
    o1 = qiniu.capabilities("kling-image-o1")
    assert o1.placements[0].name == "image_urls"
    assert o1.placements[0].maximum == 10
    assert names(o1) == {"num_images", "resolution", "aspect_ratio"}
    assert (parameter(o1, "num_images").maximum, o1.maximum_images_wanted) == (9, 9)


def test_an_unknown_model_has_the_common_parameters() -> None:
    """Not known, so said; checked against the page's parameters and nothing else."""
    other = qiniu.capabilities("something-new")
    assert not other.known
    assert names(other) == {"n"} | NOT_YET
    assert other.placements[0].name == "image"
