"""The requests of the dialect `qiniu`, against the page's own examples and PROTOCOL §1."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.dialects.base import Base64, Endpoint, Request
from retouch.dialects.qiniu import requests as qiniu
from retouch.job import Job, Members, Options, OptionValue, Picture, Prompt, Source

BASE = "https://api.qnaigc.com/v1"
ROOT = "https://api.qnaigc.com"
PNG = Picture("sha256:1", file="a.png", media_type="image/png")
JPEG = Picture("sha256:2", file="b.jpg", media_type="image/jpeg")
LINK = Picture("url:https://e.com/i.jpg", url="https://e.com/i.jpg?e=1&token=t")
CONTENTS = {PNG: b"\x89PNG one", JPEG: b"\xff\xd8 two \x00\xff"}

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def job_of(
    model: str,
    *pictures: Picture,
    options: Options = (),
    placement: str = "image",
    mask: Picture | None = None,
    prompt: str = "把猫改成白色",
) -> Job:
    source = Source("a", pictures[0], mask=mask, images=pictures[1:])
    return Job(model, Prompt("p", prompt), source, options, placement)


def body_of(request: Request) -> Any:
    """The body as the service reads it."""
    parts = (
        base64.b64encode(CONTENTS[s.picture]) if isinstance(s, Base64) else s for s in request.body
    )
    return json.loads(b"".join(part for part in parts if isinstance(part, bytes)))


def uri_of(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(CONTENTS[picture]).decode()}"


CASES: dict[str, tuple[Job, str, dict[str, object]]] = {
    "one file": (
        job_of("gemini-2.5-flash-image", PNG),
        f"{BASE}/images/edits",
        {"model": "gemini-2.5-flash-image", "image": uri_of(PNG), "prompt": "把猫改成白色", "n": 1},
    ),
    "a URL, four wanted": (
        job_of("gemini-2.5-flash-image", LINK, options=(("n", 4),)),
        f"{BASE}/images/edits",
        {"model": "gemini-2.5-flash-image", "image": LINK.url, "prompt": "把猫改成白色", "n": 4},
    ),
    "a file and a URL": (
        job_of("gemini-2.5-flash-image", JPEG, LINK),
        f"{BASE}/images/edits",
        {
            "model": "gemini-2.5-flash-image",
            "image": [uri_of(JPEG), LINK.url],
            "prompt": "把猫改成白色",
            "n": 1,
        },
    ),
    "a mask, white = edit, as it is": (
        job_of("gemini-2.5-flash-image", LINK, mask=PNG),
        f"{BASE}/images/edits",
        {
            "model": "gemini-2.5-flash-image",
            "image": LINK.url,
            "prompt": "把猫改成白色",
            "mask": uri_of(PNG),
            "n": 1,
        },
    ),
    "what the page marks is sent all the same": (
        job_of(
            "gemini-2.5-flash-image",
            LINK,
            options=(("output_compression", 80), ("quality", "hd"), ("stream", False)),
        ),
        f"{BASE}/images/edits",
        {
            "model": "gemini-2.5-flash-image",
            "image": LINK.url,
            "prompt": "把猫改成白色",
            "n": 1,
            "output_compression": 80,
            "quality": "hd",
            "stream": False,
        },
    ),
    "image_config is a mapping": (
        job_of(
            "gemini-3.0-pro-image-preview",
            LINK,
            options=(("image_config", Members((("aspect_ratio", "16:9"), ("image_size", "2K")))),),
        ),
        f"{BASE}/images/edits",
        {
            "model": "gemini-3.0-pro-image-preview",
            "image": LINK.url,
            "prompt": "把猫改成白色",
            "n": 1,
            "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
        },
    ),
    "gpt-image": (
        job_of("openai/gpt-image-2", LINK, options=(("size", "1024x1024"),)),
        f"{BASE}/images/edits",
        {
            "model": "openai/gpt-image-2",
            "image": LINK.url,
            "prompt": "把猫改成白色",
            "n": 1,
            "size": "1024x1024",
        },
    ),
    "several pictures to Kling, the empty image sent": (
        job_of(
            "kling-v2",
            LINK,
            LINK,
            options=(("aspect_ratio", "1:1"), ("style_image", "https://e.com/s.png")),
            placement="subject_image_list",
        ),
        f"{BASE}/images/edits",
        {
            "model": "kling-v2",
            "image": "",
            "prompt": "把猫改成白色",
            "subject_image_list": [{"subject_image": LINK.url}, {"subject_image": LINK.url}],
            "aspect_ratio": "1:1",
            "style_image": "https://e.com/s.png",
            "n": 1,
        },
    ),
    "one picture may be a list of one": (
        job_of("kling-v2-1", LINK, placement="subject_image_list"),
        f"{BASE}/images/edits",
        {
            "model": "kling-v2-1",
            "image": "",
            "prompt": "把猫改成白色",
            "subject_image_list": [{"subject_image": LINK.url}],
            "n": 1,
        },
    ),
    "one picture to Kling": (
        job_of("kling-v1-5", JPEG, options=(("human_fidelity", 0.4), ("image_reference", "face"))),
        f"{BASE}/images/generations",
        {
            "model": "kling-v1-5",
            "image": uri_of(JPEG),
            "prompt": "把猫改成白色",
            "human_fidelity": 0.4,
            "image_reference": "face",
            "n": 1,
        },
    ),
    "the queue, whose address names the model": (
        job_of("kling-image-o1", LINK, LINK, options=(("num_images", 3),), placement="image_urls"),
        f"{ROOT}/queue/fal-ai/kling-image/o1",
        {"prompt": "把猫改成白色", "image_urls": [LINK.url, LINK.url], "num_images": 3},
    ),
    "an unknown model is sent what was given and no more": (
        job_of("seedream-9", LINK, options=(("seed", 7),)),
        f"{BASE}/images/edits",
        {"model": "seedream-9", "image": LINK.url, "prompt": "把猫改成白色", "seed": 7},
    ),
    "an unknown Kling goes where Kling's single pictures go": (
        job_of("kling-v9", LINK),
        f"{BASE}/images/generations",
        {"model": "kling-v9", "image": LINK.url, "prompt": "把猫改成白色"},
    ),
}


@pytest.mark.parametrize(("job", "url", "body"), CASES.values(), ids=CASES.keys())
def test_a_job_is_sent_as_the_page_says(job: Job, url: str, body: dict[str, object]) -> None:
    """Address and body of each kind of call, to the letter."""
    request = qiniu.submit(job, Endpoint(BASE))
    assert request.url == url
    assert body_of(request) == body


def test_transformed_pictures_are_sent_as_png() -> None:
    """What orient and convert write is PNG, whatever the file was."""
    turned = Picture("sha256:2", "b.jpg", media_type="image/jpeg", transforms=("orient",))
    request = qiniu.submit(job_of("gemini-2.5-flash-image", turned), Endpoint(BASE))
    assert b'"data:image/png;base64,' in b"".join(s for s in request.body if isinstance(s, bytes))


def test_no_option_displaces_a_field() -> None:
    """An option by the name of a field (let through by `accepts`) does not change what is sent."""
    options: Options = (("image", "x"), ("model", "x"), ("prompt", "x"))
    job = job_of("gemini-2.5-flash-image", LINK, options=options)
    assert body_of(qiniu.submit(job, Endpoint(BASE))) == {
        "model": "gemini-2.5-flash-image",
        "image": LINK.url,
        "prompt": job.prompt.text,
        "n": 1,
    }


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
option_values = scalars | st.floats(-1e6, 1e6) | st.lists(scalars, max_size=3).map(tuple)
names = st.text("abcdefghijk_", min_size=2, max_size=8)


@steady
@given(
    prompt=st.text(),
    options=st.dictionaries(names, option_values, max_size=4),
    pictures=st.lists(st.sampled_from([PNG, JPEG, LINK]), min_size=1, max_size=4),
    mask=st.sampled_from([None, PNG, LINK]),
)
def test_the_spliced_body_is_the_expected_document(
    prompt: str,
    options: dict[str, OptionValue],
    pictures: list[Picture],
    mask: Picture | None,
) -> None:
    """Whatever stands in prompt and options (NUL, quotes, base64), the pictures land in place."""
    given_options = tuple(sorted(options.items()))
    job = job_of("x", *pictures, options=given_options, mask=mask, prompt=prompt)
    placed = [picture.url or uri_of(picture) for picture in pictures]
    expected: dict[str, object] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in given_options
    }
    expected |= {"model": "x", "prompt": prompt}
    expected["image"] = placed[0] if len(placed) == 1 else placed
    if mask is not None:
        expected["mask"] = mask.url or uri_of(mask)
    assert body_of(qiniu.submit(job, Endpoint(BASE))) == expected
