"""Rules that concern several keys at once, read off the plain data.

They look at what was written rather than at the validated model, so that a mistake elsewhere
does not hide them: all problems of a manifest are told together. What is no mapping, list or
text where one belongs is `messages`' to say, and passed over here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from retouch.errors import Problem
from retouch.manifest.document import REFUSED, Data, Document, Location
from retouch.manifest.inputs import SOURCES
from retouch.manifest.messages import close_to
from retouch.manifest.model import SUPPORTED_VERSIONS
from retouch.manifest.names import same_path
from retouch.manifest.urls import UnfitURL, base_url, unfit_in_the_clear
from retouch.text import one_clean_line

MAXIMUM_IMAGES_WANTED = 10  # the seed's page: n is 1-10


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a location."""

    location: Location
    what: str
    remedy: str
    severity: Literal["error", "warning"] = "error"


Mapped = Mapping[str, Data]


def mapping(data: Data) -> Mapped:
    """The data if it is a mapping, else an empty one."""
    return data if isinstance(data, Mapping) else {}


def items(data: Data) -> Iterator[tuple[int, Mapped]]:
    """The mappings of a list, with their positions."""
    if isinstance(data, tuple):
        for index, item in enumerate(data):
            if isinstance(item, Mapping):
                yield index, item


def placed(document: Document, finding: Finding) -> Problem:
    """The finding as a Problem, with its line and column."""
    line, column = document.place(finding.location)
    return Problem(document.file, line, column, finding.what, finding.remedy, finding.severity)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems by file, line and column, each once."""
    by_place = sorted(problems, key=lambda each: (each.file, each.line, each.column, each.what))
    return list(dict.fromkeys(by_place))


def version_problem(data: Mapped) -> Finding | None:
    """Why the version is not one this retouch reads."""
    supported = ", ".join(map(str, SUPPORTED_VERSIONS))
    if "version" not in data:
        return Finding((), "`version` is missing", f"begin with `version: {supported}`")
    version = data["version"]
    if isinstance(version, int) and not isinstance(version, bool):
        if version in SUPPORTED_VERSIONS:
            return None
        newer = version > max(SUPPORTED_VERSIONS)
        return Finding(
            ("version",),
            f"version {one_clean_line(str(version), 20)} is not supported (supported: {supported})",
            "use a newer retouch" if newer else f"write `version: {supported}`",
        )
    return Finding(("version",), "`version` must be a whole number", f"write {supported}")


def findings(data: Mapped, dialects: Collection[str] | None) -> Iterator[Finding]:
    """Everything the rules find in a manifest, but for its prices."""
    yield from _provider(mapping(data.get("provider")), dialects)
    for index, given in items(data.get("inputs")):
        yield from exactly_one(("inputs", index), given, SOURCES)
        yield from _misplaced(("inputs", index), given)
        sample = given.get("sample")
        if isinstance(sample, Mapping):
            yield from exactly_one(("inputs", index, "sample"), sample, ("count", "fraction"))
    for index, given in items(data.get("prompts")):
        yield from exactly_one(("prompts", index), given, ("template", "file"))
        yield from _variables(("prompts", index, "variables"), mapping(given.get("variables")))
    yield from _repeated(data, "prompts", "id")
    yield from _same_lanes(data)
    yield from _splits(data.get("splits"))
    yield from _storage(data.get("storage"))
    yield from _combine(data)
    for index, given in items(data.get("models")):
        yield from _options(("models", index, "options"), mapping(given.get("options")))
        yield from _poll(("models", index, "poll"), mapping(given.get("poll")))
        yield from _budget(("models", index, "budget"), given.get("budget"))
    run = mapping(data.get("run"))
    yield from _budget(("run", "budget"), run.get("budget"))
    if isinstance(notify := run.get("notify"), Mapping):
        yield from exactly_one(("run", "notify"), notify, ("url", "url_env", "command"))


def exactly_one(location: Location, given: Mapped, keys: tuple[str, ...]) -> Iterator[Finding]:
    """Complains unless one of the keys, and one alone, has a value."""
    present = [key for key in keys if given.get(key) is not None]
    if len(present) != 1:
        names = ", ".join(f"`{key}`" for key in keys)
        found = " and ".join(f"`{key}`" for key in present) or "none"
        yield Finding(location, f"exactly one of {names} is needed, found {found}", "give one")


_GOES_WITH = {
    "exclude": ("glob", "imagefolder"),
    "literal": ("glob", "webdataset"),
    "image_column": ("table",),
}


def _misplaced(location: Location, given: Mapped) -> Iterator[Finding]:
    """Keys of an input that say nothing beside the kind of source it names."""
    for key, kinds in _GOES_WITH.items():
        if given.get(key) and not any(kind in given for kind in kinds):
            names = " or ".join(f"`{kind}`" for kind in kinds)
            yield Finding((*location, key), f"`{key}` goes with {names} alone", "remove it")


def _same_lanes(data: Mapped) -> Iterator[Finding]:
    """Two models of one name, which an `id` tells apart."""
    lanes = tuple(
        {"id": given.get("id") or given.get("model"), "at": index, "named": "id" in given}
        for index, given in items(data.get("models"))
    )
    for finding in _repeated({"models": lanes}, "models", "id"):
        at, key = lanes[int(finding.location[1])], "model"
        remedy = "name each once"
        if at["named"]:
            key = "id"
        elif finding.what.startswith("id "):
            remedy = "name each once, or tell them apart by `id: ...`"
        what = key + finding.what.removeprefix("id")
        yield Finding(("models", int(finding.location[1]), key), what, remedy)


def _splits(given: Data) -> Iterator[Finding]:
    if not isinstance(given, Mapping):
        return
    yield from exactly_one(("splits",), given, ("from", "column", "ratios"))
    if given.get("seed") and "ratios" not in given:
        yield Finding(("splits", "seed"), "`seed` goes with `ratios` alone", "remove it")


def _storage(given: Data) -> Iterator[Finding]:
    """Entries that are about the same bucket."""
    seen: dict[str, int] = {}
    for index, entry in items(given):
        name = entry.get("bucket", "")
        if not isinstance(name, str):
            continue
        first = seen.setdefault(name, index)
        if first != index:
            about = f"bucket `{one_clean_line(name, 60)}`" if name else "all other buckets"
            what = f"two entries are about {about} (the first is number {first + 1})"
            yield Finding(("storage", index), what, "write one, or name another `bucket`")


def _combine(data: Mapped) -> Iterator[Finding]:
    given = mapping(data.get("combine"))
    if given.get("mode") == "choose":
        return
    for key in ("variants", "seed"):
        if key in given:
            what = f"`{key}` goes with `mode: choose` alone"
            yield Finding(("combine", key), what, "remove it, or write `mode: choose`")
    for index, prompt in items(data.get("prompts")):
        if "weight" in prompt:
            what = "`weight` goes with `combine: {mode: choose}` alone"
            yield Finding(("prompts", index, "weight"), what, "remove it, or write the `combine`")


def _provider(given: Mapped, dialects: Collection[str] | None) -> Iterator[Finding]:
    dialect = given.get("dialect", "qiniu")
    if dialects is not None and isinstance(dialect, str) and dialect not in dialects:
        yield Finding(
            ("provider", "dialect"),
            f"unknown dialect `{one_clean_line(dialect, 60)}`",
            close_to(dialect, dialects),
        )
    with_key = given.get("api_key_env", "") is not None
    fallbacks = given.get("fallback_urls")
    named = list(enumerate(fallbacks if isinstance(fallbacks, tuple) else ()))
    places: list[tuple[Location, Data]] = [(("base_url",), given.get("base_url"))]
    places += [(("fallback_urls", index), url) for index, url in named]
    for place, url in places:
        unfit = unfit_in_the_clear(_address(url), with_key=with_key)
        if unfit is not None:
            yield Finding(("provider", *place), unfit.what, unfit.remedy)
    seen = {_address(given.get("base_url"))}
    for index, url in named:
        address = _address(url)
        if address and address in seen:
            yield Finding(
                ("provider", "fallback_urls", index),
                "this address was named before",
                "a fallback helps only if it is another",
                "warning",
            )
        seen.add(address)


def _address(url: Data) -> str:
    try:
        return base_url(url) if isinstance(url, str) else ""
    except UnfitURL:
        return ""


def _variables(location: Location, given: Mapped) -> Iterator[Finding]:
    for name in given:
        if not name.isidentifier():
            yield Finding(
                (*location, name),
                f"`{one_clean_line(name, 60)}` cannot stand in a template as {{name}}",
                "use letters, digits and _, beginning with a letter",
            )


def _repeated(data: Mapped, part: str, key: str) -> Iterator[Finding]:
    """A name that two items have in common, or that some file systems cannot tell apart."""
    seen: dict[str, tuple[int, str]] = {}
    for index, given in items(data.get(part)):
        name = given.get(key)
        if not isinstance(name, str):
            continue
        known, first = seen.setdefault(same_path(name), (index, name))
        if known == index:
            continue
        shown = one_clean_line(name, 60)
        what = f"{key} `{shown}` is used by two {part} (the first is number {known + 1})"
        if name != first:
            what = (
                f"{key} `{shown}` is the same path as `{one_clean_line(first, 60)}` on some disks"
            )
        yield Finding((part, index, key), what, "name each once")


def _options(location: Location, given: Mapped) -> Iterator[Finding]:
    """What holds for the number of pictures at every model; the rest is the dialect's to check."""
    for name in ("n", "num_images"):
        value = given.get(name, 1)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if value is REFUSED or (is_whole and value in range(1, MAXIMUM_IMAGES_WANTED + 1)):
            continue
        yield Finding(
            (*location, name),
            f"`{name}` must be a whole number from 1 to {MAXIMUM_IMAGES_WANTED}",
            "`run.repeat` asks again" if is_whole else "write it without quotes or fraction",
        )


def _poll(location: Location, given: Mapped) -> Iterator[Finding]:
    interval, timeout = given.get("interval"), given.get("timeout")
    if (
        isinstance(interval, int | Decimal)
        and isinstance(timeout, int | Decimal)
        and interval > timeout
    ):
        yield Finding(location, "`interval` is longer than `timeout`", "poll more often")


def _budget(location: Location, given: Data) -> Iterator[Finding]:
    budget = mapping(given)
    amounts = ("amount", "total", "per_day")
    if isinstance(given, Mapping) and all(budget.get(key) is None for key in amounts):
        yield Finding(location, "the budget sets no limit", "add `amount: ...`")
