"""Prompt templates and their variables: lists multiply, and each rendering has an id of its own.

An id is `<id>.<value>...`, made fit for a path. It depends on its own values and on nothing that
may be added later, so that paths and records keep their names when a list grows.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from retouch.errors import Problem
from retouch.manifest import Loaded, Location, PromptTemplate
from retouch.manifest.names import same_path
from retouch.plan.globs import UnfitPattern, located
from retouch.plan.templates import Template, TemplateError, parse
from retouch.storage.reading import UnreadableFile, read_regular
from retouch.text import one_clean_line

VALUE_CHARACTERS = 40
PROMPT_FILE_CAP_BYTES = 1024 * 1024
_UNFIT = re.compile(r"[^\w+~-]+")


@dataclass(frozen=True, slots=True)
class Variant:
    """One prompt to be rendered for each source: a template with its variables' values.

    `text` is the whole prompt where it depends on no source and no model, else None. `used` are
    the names it takes from the source. `location` is where the manifest has it. `when` and `models`
    say which sources and lanes it is for; `weight` is its share of its template's.
    """

    id: str
    template: Template
    values: Mapping[str, str]
    location: Location
    text: str | None
    used: tuple[str, ...]
    weight: float = 1.0
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: tuple[str, ...] = ()


def variants(loaded: Loaded, problems: list[Problem]) -> tuple[Variant, ...]:
    """Every prompt of the manifest, lists multiplied, in their order; what is wrong is added."""
    found: list[Variant] = []
    for index, prompt in enumerate(loaded.manifest.prompts):
        location: Location = ("prompts", index, "file" if prompt.file else "template")
        try:
            template = parse(_text_of(prompt, loaded.folder))
        except TemplateError as error:
            problems.append(loaded.problem(location, str(error), error.remedy))
        except UnreadableFile as error:
            what = f"{prompt.file} {error.reason}"
            problems.append(loaded.problem(location, what, error.remedy))
        else:
            _warn_unused(loaded, index, prompt, template, problems)
            of_template = list(_multiplied(prompt, template, location))
            weight = prompt.weight / len(of_template)
            found.extend(replace(each, weight=weight) for each in of_template)
    problems.extend(_same_ids(loaded, found))
    return tuple(found)


def _text_of(prompt: PromptTemplate, folder: Path) -> str:
    """The template's text; a file's without BOM and without the newline that ends it."""
    if prompt.file is None:
        return prompt.template or ""
    try:
        path = located(prompt.file, folder)
    except UnfitPattern as error:
        raise UnreadableFile(str(error), error.remedy) from None
    data = read_regular(path, cap=PROMPT_FILE_CAP_BYTES)
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start})"
        raise UnreadableFile(what, "save it as UTF-8") from None


def _warn_unused(
    loaded: Loaded, index: int, prompt: PromptTemplate, template: Template, problems: list[Problem]
) -> None:
    problems.extend(
        loaded.problem(
            ("prompts", index, "variables", name),
            f"the variable `{name}` is not used in prompt `{prompt.id}`",
            f"write {{{name}}} where it belongs, or remove it",
            "warning",
        )
        for name in prompt.variables
        if name not in template.names
    )


def _multiplied(
    prompt: PromptTemplate, template: Template, location: Location
) -> Iterator[Variant]:
    """A Variant for each combination of the lists' values; unused lists do not multiply."""
    used = {name: value for name, value in prompt.variables.items() if name in template.names}
    lists = {name: value for name, value in used.items() if isinstance(value, tuple)}
    fixed = {name: value for name, value in used.items() if isinstance(value, str)}
    shown = {
        name: dict(zip(values, fit_values(values), strict=True)) for name, values in lists.items()
    }
    from_source = tuple(name for name in template.names if name not in used)
    for combination in itertools.product(*lists.values()):
        chosen = dict(zip(lists, combination, strict=True))
        suffix = "".join(f".{shown[name][value]}" for name, value in chosen.items())
        values = {**fixed, **chosen}
        text = None if from_source else template.render(values)
        yield Variant(
            prompt.id + suffix, template, values, location, text, from_source,
            when=prompt.when, models=prompt.models,
        )  # fmt: skip


def fit_values(values: Iterable[str]) -> tuple[str, ...]:
    """The values made fit for a path, in their order, each different on every file system.

    Letters of every script, digits, `_`, `+`, `~` and `-` stay. What lost something that tells it
    from another value, or was cut, gets the beginning of its digest.
    """
    taken: set[str] = set()
    shown: list[str] = []
    for value in values:
        plain = unicodedata.normalize("NFC", value)
        fit = _UNFIT.sub("-", plain).strip("-")[:VALUE_CHARACTERS]
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        if not fit or len(plain) > VALUE_CHARACTERS or same_path(fit) in taken:
            fit = f"{fit}~{digest[:6]}".lstrip("~")
        taken.add(same_path(fit))
        shown.append(fit)
    return tuple(shown)


def _same_ids(loaded: Loaded, found: Iterable[Variant]) -> Iterator[Problem]:
    """`white` with a value `x` and another prompt `white.x` would share records and paths."""
    seen: dict[str, Variant] = {}
    for variant in found:
        first = seen.setdefault(same_path(variant.id), variant)
        if first is not variant:
            yield loaded.problem(
                variant.location,
                f"two prompts have the id `{one_clean_line(variant.id, 80)}`",
                "rename one of them",
            )
