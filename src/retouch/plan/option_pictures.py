"""Options that name a picture of the user's own where the model takes a URL: looked at, held
against the model's limits, and sent as a link.
"""

from __future__ import annotations

from collections.abc import Callable

from retouch.dialects.base import Parameter, PictureLimits
from retouch.job import Picture
from retouch.manifest import Loaded
from retouch.pictures import BadPicture, Facts
from retouch.plan.candidates import is_url
from retouch.plan.globs import UnfitPattern, located
from retouch.plan.inspections import Look
from retouch.plan.limits import faults
from retouch.storage.bucket_url import is_bucket

Inspect = Callable[[Look], Facts | BadPicture]
PUBLISH = "write `publish: {to: s3://...}` to hand out links to it, or give a public https:// URL"


def is_file(parameter: Parameter, value: object) -> bool:
    """Whether an option of this kind names a file or an object, and no URL."""
    is_named = parameter.kind == "image_url" and isinstance(value, str) and bool(value.strip())
    return is_named and (is_bucket(str(value)) or not is_url(str(value)))


def picture_named(
    loaded: Loaded, value: str, limits: PictureLimits | None, inspect: Inspect
) -> tuple[Picture | None, list[tuple[str, str]]]:
    """The picture an option names; or what is wrong with it, and what to do, a pair each."""
    if loaded.manifest.publish is None:
        return None, [("is a file, and the model takes public URLs only", PUBLISH)]
    try:
        path = value if is_bucket(value) else str(located(value, loaded.folder))
    except UnfitPattern as error:
        return None, [(str(error), error.remedy)]
    facts = inspect(Look(path))
    if isinstance(facts, BadPicture):
        return None, [(facts.reason, facts.remedy)]
    picture = picture_of(path, facts, by_link=True)
    found = faults(picture, facts, limits) if limits else ()
    wrong = [(fault, "name another picture") for fault in found]
    return (None if wrong else picture), wrong


def picture_of(
    reference: str,
    facts: Facts,
    *,
    span: tuple[int, int] | None = None,
    by_link: bool = False,
    kind: Facts | None = None,
) -> Picture:
    """A file or an object as a Picture, with what is known of it; texts and numbers that others
    have too are those of its `kind`."""
    in_bucket = is_bucket(reference)
    kind = kind or facts
    return Picture(
        facts.digest, None if in_bucket else reference, None, kind.media_type, facts.bytes,
        kind.width, kind.height, (), span, reference if in_bucket else None, by_link,
    )  # fmt: skip
