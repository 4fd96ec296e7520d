"""A model's options and pictures, held against what the dialect says the model takes.

Wrong is: unknown, another model's, of another kind, outside its set or range. `not_yet` is said
and sent. `like` and `accepts` extend the table; nothing given is ever silently dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from retouch.dialects.base import Capabilities, Dialect, Parameter
from retouch.errors import Problem
from retouch.job import Members, Options, OptionValue, Picture
from retouch.manifest import Loaded, Location, Model
from retouch.manifest.kinds import PlainValue
from retouch.manifest.messages import close_to
from retouch.plan.candidates import unfit_url
from retouch.plan.option_pictures import Inspect, is_file, picture_named
from retouch.text import one_clean_line

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "image_url": "a public URL",
    "mapping": "a mapping",
}
_SAID_ELSEWHERE = {"model": "`model`", "prompt": "`prompts`", "mask": "`inputs.mask`"}


def capabilities_for(model: Model, dialect: Dialect, images: int) -> Capabilities:
    """What a model of the manifest takes when sent `images` pictures: the table, with `like`."""
    found = dialect.capabilities(model.model, images=images, placement=model.images)
    if not found.known and model.like:
        alike = dialect.capabilities(model.like, images=images, placement=model.images)
        return replace(alike, model=model.model)
    return found


def check_options(
    loaded: Loaded,
    index: int,
    dialect: Dialect,
    capabilities: Capabilities,
    inspect: Inspect,
) -> tuple[Options, list[Problem]]:
    """The options of the manifest's model `index` as a Job holds them, and what is wrong;
    `inspect` looks at the pictures they name."""
    model = loaded.manifest.models[index]
    taken = {parameter.name: parameter for parameter in capabilities.parameters}
    problems: list[Problem] = []
    pictures: dict[str, Picture] = {}
    for name, value in model.options.items():
        location: Location = ("models", index, "options", name)
        if name in taken and is_file(taken[name], value):
            picture, wrong = picture_named(loaded, str(value), taken[name].limits, inspect)
            shown = f"`{name}`: {one_clean_line(str(value), 80)}"
            problems += [loaded.problem(location, f"{shown} {what}", do) for what, do in wrong]
            pictures |= {name: picture} if picture else {}
        elif name in taken:
            accepted = name in model.accepts
            found = _wrong(taken[name], value, name, accepted=accepted)
            problems.extend(
                loaded.problem((*location, *where), what, remedy) for where, what, remedy in found
            )
            if taken[name].status == "not_yet" and not accepted:
                what = f"{model.model} does not support `{name}` yet, says the provider"
                problems.append(
                    loaded.problem(location, what, "it is sent all the same", "warning")
                )
        elif name not in model.accepts and capabilities.known:
            problems.append(loaded.problem(location, *_unknown(name, model, dialect, capabilities)))
        elif name not in model.accepts:
            what = f"whether {model.model} takes `{name}` is not known"
            remedy = f"it is sent all the same; `accepts: [{name}]` says that it is meant"
            problems.append(loaded.problem(location, what, remedy, "warning"))
    stated = {
        name: value
        for name, value in model.options.items()
        if name not in taken or not _is_default(taken[name], value)
    }
    options = dict(canonical(stated)) | pictures
    return tuple(sorted(options.items())), problems


def _is_default(parameter: Parameter, value: PlainValue) -> bool:
    """Whether an option only states what holds without it; True is not 1."""
    default = parameter.default
    return (
        default is not None
        and value == default
        and isinstance(value, bool) == isinstance(default, bool)
    )


def canonical(options: Mapping[str, PlainValue]) -> Options:
    """Options as a Job holds them: sorted by name, at any depth."""
    return tuple(sorted((name, _frozen(value)) for name, value in options.items()))


def _frozen(value: PlainValue) -> OptionValue:
    if isinstance(value, Mapping):
        return Members(tuple((name, _frozen(value[name])) for name in sorted(value)))
    if isinstance(value, tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1 and 1.0 ask for the same work
    return value


def _unknown(
    name: str, model: Model, dialect: Dialect, capabilities: Capabilities
) -> tuple[str, str]:
    shown = one_clean_line(name, 60)
    if name in _SAID_ELSEWHERE:
        return f"`{shown}` is not an option", f"say it by {_SAID_ELSEWHERE[name]}"
    if name in capabilities.reserved:
        remedy = f"the pictures are the inputs; `images: {shown}` says in which field they go"
        return f"`{shown}` is not an option", remedy
    others = [
        other
        for other in dialect.models()
        if any(each.name == name for each in dialect.capabilities(other).parameters)
    ]
    remedy = close_to(name, [each.name for each in capabilities.parameters])
    if others:
        named = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        what = f"{model.model} does not take `{shown}`, which is an option of {named}"
        return what, f"remove it, or write `accepts: [{shown}]` if the model takes it"
    return f"{model.model} takes no option `{shown}`", remedy


_Finding = tuple[tuple[str, ...], str, str]


def _wrong(
    parameter: Parameter, value: PlainValue, shown: str, *, accepted: bool
) -> Iterator[_Finding]:
    """What is wrong with an option's value: where inside it, what, and what to do."""
    if value is None:
        yield (), f"`{shown}` has no value", "remove it, or give it one"
        return
    if not _is_of_kind(parameter, value):
        yield (), f"`{shown}` must be {_KINDS[parameter.kind]}", _advice(parameter, value)
        return
    if accepted:  # the one who wrote it knows better than the table, but for the kind
        return
    if isinstance(value, str):
        yield from _wrong_text(parameter, value, shown)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = parameter.minimum, parameter.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            written = one_clean_line(str(value), 40)
            yield (), f"`{shown}` is {written}", f"it must be {_range(low, high)}"
    elif isinstance(value, Mapping):
        members = {member.name: member for member in parameter.members}
        for name, inner in value.items():
            if name in members:
                inside = _wrong(members[name], inner, f"{shown}.{name}", accepted=False)
                yield from (((name, *where), what, remedy) for where, what, remedy in inside)
            else:
                what = f"`{shown}` has no member `{one_clean_line(name, 60)}`"
                yield (name,), what, close_to(name, members)


def _is_of_kind(parameter: Parameter, value: PlainValue) -> bool:
    match parameter.kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number and math.isfinite(value)  # type: ignore[arg-type] # checked just now
        case "string" | "image_url":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "mapping":
            return isinstance(value, Mapping)


def _advice(parameter: Parameter, value: PlainValue) -> str:
    if parameter.kind in ("integer", "number"):
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value.strip()):
            return f"write {value.strip()} without quotes"
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN and infinity are no amounts"
        return f"write a number {_range(parameter.minimum, parameter.maximum)}".rstrip()
    if parameter.kind in ("string", "image_url") and isinstance(value, int | float):
        return f'quote it: "{one_clean_line(str(value), 40).lower()}"'
    return "see `retouch schema` and the provider's page"


def _wrong_text(parameter: Parameter, value: str, shown: str) -> Iterator[_Finding]:
    written = one_clean_line(value, 60)
    if parameter.kind == "image_url":
        if reason := unfit_url(value):
            yield (), f"`{shown}` {reason}", "give a public https:// URL"
    elif parameter.choices and value not in parameter.choices:
        yield (), f"`{shown}` cannot be `{written}`", f"one of {', '.join(parameter.choices)}"
    elif parameter.pattern and not re.fullmatch(parameter.pattern, value):
        example = "auto or like 1024x1024" if "x" in parameter.pattern else parameter.pattern
        yield (), f"`{shown}` cannot be `{written}`", f"write {example}"


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else ""
