"""`{name}` is substitution and nothing more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.manifest.names import same_path, unfit_for_a_path
from retouch.plan.prompts import fit_values
from retouch.plan.templates import TemplateError, parse

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.text(
    st.characters(exclude_characters="{}.[!:(", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: name == name.strip())


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("将{animal}改成白色", {"animal": "猫"}, "将猫改成白色"),
        ("{{{a}}}", {"a": "x"}, "{x}"),
        ("{{a}}", {}, "{a}"),
        ("{a}{a}", {"a": "{b}"}, "{b}{b}"),
        ("{File Name}", {"File Name": "x"}, "x"),
        ("", {}, ""),
    ],
)
def test_names_are_replaced_and_doubled_braces_are_braces(
    text: str, values: dict[str, str], rendered: str
) -> None:
    """Values are put in as they are, never looked at again."""
    assert parse(text).render(values) == rendered


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a {x.__class__}", "column 3"),
        ("{x[0]}", "column 1"),
        ("{x!r}", "column 1"),
        ("{x:>99999999}", "column 1"),
        ("{x()}", "column 1"),
        ("line\n{}", "line 2, column 1"),
        ("{ x }", "column 1"),
        ("a } b", "column 3"),
        ("a { b", "column 3"),
        ("{a{b}}", "column 1"),
    ],
)
def test_anything_but_a_name_is_refused_with_its_place(text: str, place: str) -> None:
    """No attributes, indexes, conversions, format specs, calls; no brace left over."""
    with pytest.raises(TemplateError, match=rf"at {place} of the template"):
        parse(text)


@steady
@given(st.text())
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Nothing else is ever raised, and a template without names renders to its own braces."""
    try:
        template = parse(text)
    except TemplateError:
        return
    if not template.names:
        assert template.render({}).replace("{", "{{").replace("}", "}}") == text


@steady
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"])), NAMES.map(lambda name: (name,))
        )
    )
)
def test_what_is_written_is_what_is_rendered(pieces: list[str | tuple[str]]) -> None:
    """Literals with their braces doubled and names come back in order, whatever they hold."""
    text = "".join(
        f"{{{piece[0]}}}"
        if isinstance(piece, tuple)
        else piece.replace("{", "{{").replace("}", "}}")
        for piece in pieces
    )
    template = parse(text)
    values = {name: f"<{name}>" for name in template.names}
    expected = "".join(f"<{piece[0]}>" if isinstance(piece, tuple) else piece for piece in pieces)
    assert template.render(values) == expected


@steady
@given(st.lists(st.text(), min_size=1, max_size=8, unique=True))
def test_values_become_parts_of_ids_that_no_file_system_confuses(values: list[str]) -> None:
    """Each is fit for a path and different from the others, whatever the values are."""
    fit = fit_values(values)
    assert len({same_path(each) for each in fit}) == len(values)
    assert not [each for each in fit if unfit_for_a_path(f"id.{each}")]


def test_an_id_depends_on_its_own_value() -> None:
    """A list that grows keeps the ids it had; Chinese stays Chinese."""
    assert fit_values(["蓝天白云", "sun set", "1.5"]) == ("蓝天白云", "sun-set", "1-5")
    assert fit_values(["a b", "a/b"])[0] == fit_values(["a b"])[0]
    assert fit_values(["a b", "a/b", "c"])[1] == fit_values(["a b", "a/b"])[1] != "a-b"
