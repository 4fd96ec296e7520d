"""The Key: what is in it, what is not, and that it never changes again."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retouch.job import (
    KEY_SCHEMA,
    Job,
    Members,
    Picture,
    Prompt,
    Source,
    Terms,
    plain_text,
    unsigned,
)

CAT = Source("cats/1.png", Picture("sha256:" + "ab" * 32))
PLAIN = Job("gemini-2.5-flash-image", Prompt("white", "将图片中的猫改成白色"), CAT)


def test_golden_keys() -> None:
    """Schema 2 is frozen: a key that changes would buy everything again. Whoever must change it
    raises the schema and looks old keys up, too."""
    several = Job(
        "kling-v2",
        Prompt("p", "two lines\nand one more"),
        Source(
            "b",
            Picture("url:https://example.com/b.png", url="https://example.com/b.png"),
            mask=Picture("sha256:" + "01" * 32),
            images=(Picture("sha256:" + "cd" * 32, transforms=("orient", "convert")),),
        ),
        options=(
            ("aspect_ratio", "1:1"),
            ("image_config", Members((("image_size", "2K"),))),
            ("n", 3),
        ),
        placement="subject_image_list",
        repeat=2,
    )
    assert KEY_SCHEMA == 2
    assert PLAIN.key == "6381cfceb53ca954c9907e1f0876aca9706324545dd33452f542fb4cdc3995bd"
    assert several.key == "ef796f8e85c473d6cd0644f34aabed3e9398500a14e67ba66aff6fdc1ce65700"


@pytest.mark.parametrize(
    "written",
    [
        "make it white\r\nand bright\r\n",
        "make it white\nand bright\n\n",
        "\nmake it white  \nand bright\t",
        "make it white\rand bright",
    ],
)
def test_line_ends_and_blank_ends_are_cut(written: str) -> None:
    """A prompt file gone CRLF, a blank line at its end, `|` for a plain text."""
    assert plain_text(written) == "make it white\nand bright"


def test_a_character_has_one_form() -> None:
    """A name in NFC for one in NFD is the same prompt; what differs to the eye stays apart."""
    assert plain_text(unicodedata.normalize("NFD", "café ü が")) == "café ü が"
    assert plain_text("make it  white") == "make it  white"
    assert plain_text("ｗｈｉｔｅ") == "ｗｈｉｔｅ"


def test_signatures_are_cut_at_any_depth() -> None:
    """A re-signed URL inside a list, or a mapping in a list, is the same picture."""

    def key(token: str) -> str:
        url = f"https://cdn.example.com/style.png?v=2&e=1790000000&token={token}"
        deep = (("styles", (url, Members((("image", url),)))),)
        return Job("m", Prompt("p", "t"), CAT, options=deep).key

    assert key("ak:one") == key("ak:two")
    other = Job("m", Prompt("p", "t"), CAT, options=(("styles", ("https://cdn.example.com/x",)),))
    assert key("ak:one") != other.key


def test_repeats_of_several_pictures_share_no_path() -> None:
    """Three requests for two pictures each: six places."""
    jobs = [
        Job("m", Prompt("p", "t"), CAT, terms=Terms(n=2), repeat=repeat, output="images/{index}")
        for repeat in range(3)
    ]
    paths = {job.output_path(index) for job in jobs for index in range(2)}
    assert paths == {f"images/{number}" for number in range(6)}


def _canonical(job: Job) -> str:
    """The Key as its document has it: SHA-256 of the canonical JSON, made whole."""
    mask = job.source.mask
    canonical: dict[str, object] = {
        "schema": 2,
        "model": job.model,
        "prompt": job.prompt.text,
        "images": [picture.identity for picture in job.pictures],
        "mask": mask.identity if mask else None,
        "placement": job.placement,
        "options": {name: unsigned(value) for name, value in job.options},
        "repeat": job.repeat,
    }
    canonical |= {"draw": job.draw} if job.draw else {}
    canonical |= {"redone": job.redone} if job.redone else {}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
_PICTURES = st.builds(
    Picture, _TEXTS, transforms=st.sampled_from([(), ("orient",), ("orient", "convert")])
)
_OPTIONS = st.dictionaries(
    _TEXTS, st.one_of(_TEXTS, st.booleans(), st.integers(-9, 2**40), st.none()), max_size=3
)


@given(
    st.builds(
        Job,
        _TEXTS,
        st.builds(Prompt, _TEXTS, _TEXTS),
        st.builds(
            Source,
            _TEXTS,
            _PICTURES,
            st.none() | _PICTURES,
            st.lists(_PICTURES, max_size=2).map(tuple),
        ),
        _OPTIONS.map(lambda options: tuple(sorted(options.items()))),
        _TEXTS,
        st.integers(0, 300),
        draw=st.integers(0, 3),
        redone=st.integers(0, 3),
    )
)
def test_a_key_made_of_parts_is_that_of_the_whole(job: Job) -> None:
    """A source's, a model's and a prompt's part are made once for many Jobs: byte for byte what
    one JSON writer makes of it all."""
    assert job.key == _canonical(job)


def test_a_copy_forgets_the_key() -> None:
    """A Job that becomes another one (redone, another prompt) never keeps the Key it had."""
    job = replace(PLAIN).keyed(PLAIN.key)
    assert job == PLAIN
    other = replace(job, prompt=Prompt("white", "another text"))
    assert other.key == _canonical(other) != PLAIN.key
    assert job.redo().key == _canonical(job.redo()) != PLAIN.key


@given(st.text(st.sampled_from("aé が\u0301\u3000\r\n\t \u2028\x1c\x85"), max_size=8))
def test_a_plain_line_is_what_the_long_way_makes_of_it(text: str) -> None:
    """One line without blanks at its end passes at once, and unchanged."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    whole = "\n".join(line.rstrip() for line in lines.split("\n")).strip("\n")
    assert plain_text(text) == whole
