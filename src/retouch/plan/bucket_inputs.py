"""Inputs that lie in buckets: patterns over names of objects, tables and lists read from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from retouch.plan.globs import Pattern, UnfitPattern, alternatives, compiled, split_at_wildcard
from retouch.plan.objects import Objects
from retouch.storage.bucket_errors import BucketFault
from retouch.storage.bucket_url import (
    BucketURL,
    UnfitAddress,
    bucket_url,
    is_bucket,
    shown_address,
)
from retouch.storage.reading import UnreadableFile

NOWHERE = "buckets are named, and nobody says how these are reached"


@dataclass(frozen=True, slots=True)
class Found:
    """An object: its address as text, and its name below the pattern's first wildcard."""

    path: str
    name: str


def addressed(text: str) -> BucketURL:
    """The address a text is. Raises UnfitPattern."""
    try:
        return bucket_url(text)
    except UnfitAddress as error:
        raise UnfitPattern(f"`{shown_address(text)}` {error.what}", error.remedy) from None


def globbed(
    text: str, objects: Objects, exclude: Sequence[str], *, literal: bool
) -> Iterator[Found]:
    """Every object that a pattern matches, in the order of their names. Raises UnfitPattern, also
    for what the bucket refuses."""
    scheme, _, rest = text.partition("://")
    name, _, inside = rest.partition("/")
    root = addressed(f"{scheme}://{name}/")
    left_out = [_left_out(each, root) for each in exclude]
    found: dict[str, Found] = {}
    for pattern_text in [inside] if literal else alternatives(inside):
        before, rest = split_at_wildcard(pattern_text, literal=literal)
        base = root if before in (".", "/") else addressed(f"{root}{before.strip('/')}")
        pattern = compiled(rest, literal=literal)
        for one in _matching(base, pattern, objects):
            if not any(each(one) for each in left_out):
                found.setdefault(one.path, one)
    yield from sorted(found.values(), key=lambda one: one.path)


def _matching(base: BucketURL, pattern: Pattern, objects: Objects) -> Iterator[Found]:
    try:
        begin = len(base.key) + 1 if base.key else 0
        for stat in objects.buckets.at(base).list(base):
            name = stat.url.key[begin:]
            if stat.size and pattern.matches(name):
                yield Found(objects.note(stat), name)
    except BucketFault as fault:
        raise UnfitPattern(fault.message, fault.hint) from None


def _left_out(text: str, root: BucketURL) -> Callable[[Found], bool]:
    """Whether an object is left out: by its whole address, or by its name."""
    if is_bucket(text):
        patterns = [compiled(each) for each in alternatives(text.removeprefix(str(root)))]
        before = str(root)
        return lambda one: any(each.matches(one.path.removeprefix(before)) for each in patterns)
    patterns = [compiled(each) for each in alternatives(text)]
    return lambda one: any(each.matches(one.name) for each in patterns)


def reader_of(text: str, objects: Objects, cap: int) -> Callable[[], bytes]:
    """Reads a table or a list from a bucket; raises UnreadableFile as a file's reader does."""
    url = addressed(text)

    def read() -> bytes:
        try:
            return objects.buckets.at(url).get(url, cap)[0]
        except BucketFault as fault:
            raise UnreadableFile(fault.message.removeprefix(f"{url}: "), fault.hint) from None

    return read


def name_of(path: str, below: BucketURL | None) -> str:
    """What an object that a table or list names is called: its key below the table's folder, else
    with its bucket before it."""
    url = bucket_url(path)
    if below is not None and (url.scheme, url.bucket) == (below.scheme, below.bucket):
        inside = f"{below.key}/" if below.key else ""
        if url.key.startswith(inside):
            return url.key[len(inside) :]
    return f"{url.bucket}/{url.key}".lstrip("/")
