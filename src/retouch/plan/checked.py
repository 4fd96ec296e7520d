"""From candidates to Sources: each with its pictures' facts, or with the reasons why it is bad.

What is checked here holds for every model; what a model takes is its lane's to check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
from msgspec import structs

from retouch.job import Picture, Source
from retouch.manifest import Input, Loaded
from retouch.pictures import BadPicture, Facts, Role
from retouch.plan.candidates import Candidate, Span, is_url
from retouch.plan.inspections import Album, Look, OnProgress
from retouch.plan.option_pictures import picture_of
from retouch.plan.planned import BadSource
from retouch.plan.warnings import Warnings
from retouch.storage.bucket_url import is_bucket
from retouch.text import one_clean_line, url_without_signature

AT_ONCE = 2048  # candidates whose files are asked for together
_SENT_AS_THEY_ARE = ("image/png", "image/jpeg", "image/webp")


class Checked(msgspec.Struct, frozen=True, gc=False):
    """A Source with the facts of its pictures, in the order they are sent; None for a URL.

    `input` is that of the manifest which names it. The facts are kinds of pictures (`Kinds`),
    which many have in common.
    """

    source: Source
    input: int
    facts: tuple[Facts | None, ...]
    mask_facts: Facts | None = None


class Kinds:
    """Facts without what tells two pictures of one size and kind apart: one object for them all.

    Digest and bytes stand in the Picture.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Facts] = {}
        self._alone: dict[int, tuple[tuple[Facts], tuple[int, int]]] = {}

    def alone(self, kind: Facts) -> tuple[tuple[Facts], tuple[int, int]]:
        """What a source has that is one picture of a kind: its facts, and width and height."""
        known = self._alone.get(id(kind))
        if known is None:
            known = ((kind,), (kind.width, kind.height))
            if kind.looks is None:
                self._alone[id(kind)] = known
        return known

    def of(self, facts: Facts) -> Facts:
        """The kind of a picture; what tells how it looks is its own."""
        if facts.looks is not None:
            return facts
        kind = (
            facts.media_type, facts.width, facts.height, facts.mode, facts.orientation,
            facts.has_alpha, facts.darkest, facts.brightest, facts.frames, facts.warnings,
        )  # fmt: skip
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = structs.replace(facts, sha256="", bytes=0, etag="")
        return known


class Looks(msgspec.Struct, frozen=True, gc=False):
    """What of a candidate is to be looked at; None for a URL."""

    source: Look | None
    images: tuple[Look | None, ...]
    mask: Look | None
    segmentation: Look | None = None

    def all(self) -> list[Look]:
        """Every file."""
        every = (self.source, *self.images, self.mask, self.segmentation)
        return [each for each in every if each is not None]


def looks_of(candidate: Candidate, given: Input, *, hashed: bool) -> Looks:
    """The files a candidate refers to; `hashed`: with how its picture looks."""
    role: Role = "foreign" if given.convert else "picture"
    mask, segmentation = candidate.mask, candidate.segmentation
    source = _look(candidate.reference, role, candidate.span, hashed=hashed)
    if mask is segmentation is None and not candidate.images:
        return Looks(source, (), None)
    return Looks(
        source,
        tuple(_look(each, role) for each in candidate.images),
        None if mask is None else _look(mask, "mask"),
        None if segmentation is None else _look(segmentation, "picture"),
    )


def _look(
    reference: str, role: Role, span: Span | None = None, *, hashed: bool = False
) -> Look | None:
    if is_url(reference) and not is_bucket(reference):
        return None
    return Look(reference, role, span, hashed)


_Quiet = tuple[Facts, tuple[Facts] | None, tuple[int, int], str]
"""A kind as it was read (held, so that no other has its id), and what its Sources share."""


class Checks:
    """Makes Sources of candidates; files shared by many are one Picture."""

    def __init__(
        self, loaded: Loaded, album: Album, tally: Warnings, *, hashed: bool = False
    ) -> None:
        self._hashed = hashed
        self._loaded = loaded
        self._album = album
        self._tally = tally
        self._pictures: dict[tuple[str, Span | None], Picture] = {}
        self._shared = _Shared()
        self._kinds = Kinds()
        self._quiet: dict[int, _Quiet] = {}
        self._as_they_are = [
            not (hashed or given.convert or given.mask or given.images or given.segmentation)
            for given in loaded.manifest.inputs
        ]
        self._before = f"{str(loaded.folder).rstrip('/')}/"

    def all(
        self, candidates: list[Candidate], on_progress: OnProgress | None
    ) -> Iterator[Checked | BadSource]:
        """Every candidate looked at and checked, in order. They are taken from their list, so that
        none is held twice."""
        self._shared.add(candidates)
        candidates.reverse()
        while candidates:
            some = [candidates.pop() for _ in range(min(AT_ONCE, len(candidates)))]
            known = self._known(some)
            if on_progress and len(known) > known.count(None):
                on_progress(len(known) - known.count(None))
            unknown = [each for each, found in zip(some, known, strict=True) if found is None]
            closely = self._looked_at(unknown, on_progress)
            for found in known:
                yield next(closely) if found is None else found

    def _looked_at(
        self, candidates: list[Candidate], on_progress: OnProgress | None
    ) -> Iterator[Checked | BadSource]:
        """These candidates, each looked at closely."""
        inputs = self._loaded.manifest.inputs
        looks = [looks_of(each, inputs[each.input], hashed=self._hashed) for each in candidates]
        self._album.look((look for each in looks for look in each.all()), on_progress)
        for candidate, each in zip(candidates, looks, strict=True):
            yield self._check(candidate, each)
            for look in each.all():
                if look.path not in self._shared:
                    self._album.forget(look)

    def _known(self, candidates: list[Candidate]) -> list[Checked | None]:
        """The Sources of pictures that go alone, were looked at before and of which nothing is to
        be said: most are, and few words are made of each. None for all others."""
        found: list[Checked | None] = [None] * len(candidates)
        plain = [at for at, each in enumerate(candidates) if self._goes_alone(each)]
        pictures = self._album.pictures([candidates[at].reference for at in plain])
        for at, picture in zip(plain, pictures, strict=True):
            if picture is None:
                continue
            sha256, kind, size = picture
            if (quiet := self._quiet.get(id(kind))) is None:
                quiet = self._quiet[id(kind)] = self._quiet_kind(kind)
            _, alone, sides, media_type = quiet
            if alone is None or not sha256:
                continue
            each = candidates[at]
            width, height = sides
            found[at] = Checked(
                Source(
                    each.name,
                    Picture(
                        f"sha256:{sha256}", each.reference, None, media_type, size, width, height
                    ),
                    None,
                    (),
                    each.columns.take(sides),
                ),
                each.input,
                alone,
            )
        return found

    def _goes_alone(self, each: Candidate) -> bool:
        """Whether it is a file of its own with one picture in it, which nothing goes with."""
        return (
            each.mask is None
            and each.span is None
            and not each.in_shares
            and not each.images
            and each.segmentation is None
            and self._as_they_are[each.input]
            and each.reference[:1] == "/"
            and "://" not in each.reference[:40]
            and each.reference not in self._shared
            and _is_text(each.name)
        )

    def _quiet_kind(self, kind: Facts) -> _Quiet:
        """What Sources of a kind have in common, where nothing is to be said of it."""
        is_quiet = (
            not (kind.warnings or kind.frames > 1 or kind.is_turned)
            and kind.media_type in _SENT_AS_THEY_ARE
            and kind.looks is None
        )
        same = self._kinds.of(kind)
        alone, sides = self._kinds.alone(same)
        return kind, alone if is_quiet else None, sides, same.media_type

    def _check(self, candidate: Candidate, looks: Looks) -> Checked | BadSource:
        """The candidate's Source, or every reason why it cannot be one."""
        if (quick := self._plain(candidate, looks)) is not None:
            return quick
        shown = one_clean_line(candidate.name)
        given = self._loaded.manifest.inputs[candidate.input]
        reasons = list(self._reasons(candidate, looks))
        if reasons:
            return BadSource(shown, "; ".join(reasons))
        references = (candidate.reference, *candidate.images)
        facts = tuple(map(self._facts, (looks.source, *looks.images)))
        mask_facts = self._facts(looks.mask)
        first = facts[0]
        if first and mask_facts:
            wanted, has = _sent_size(first, given), _sent_size(mask_facts, given)
            if wanted != has:
                reason = f"its mask {self._named(candidate.mask)} is {has[0]}x{has[1]}, the "
                return BadSource(
                    shown, reason + f"picture {wanted[0]}x{wanted[1]}: make them equal"
                )
        labels = self._facts(looks.segmentation)
        if first and labels and _sent_size(first, given) != (labels.width, labels.height):
            wanted = _sent_size(first, given)
            reason = (
                f"its segmentation {self._named(candidate.segmentation)} is "
                f"{labels.width}x{labels.height}, the picture {wanted[0]}x{wanted[1]}"
            )
            return BadSource(shown, f"{reason}: make them equal")
        self._warn(candidate, given, references, facts, mask_facts)
        columns = candidate.columns
        if first:
            columns = columns.measured(_sent_size(first, given), in_shares=candidate.in_shares)
        source = Source(
            name=candidate.name,
            picture=self._picture(candidate.reference, first, candidate.span),
            mask=self._picture(candidate.mask, mask_facts) if candidate.mask else None,
            images=tuple(map(self._picture, candidate.images, facts[1:])),
            columns=columns,
            segmentation=self._picture(candidate.segmentation, labels)
            if candidate.segmentation
            else None,
        )
        kinds = tuple(self._kind(each) for each in facts)
        return Checked(source, candidate.input, kinds, self._kind(mask_facts))

    def _kind(self, facts: Facts | None) -> Facts | None:
        return None if facts is None else self._kinds.of(facts)

    def _plain(self, candidate: Candidate, looks: Looks) -> Checked | None:
        """The Source of a file of which nothing is to be said and that goes alone: most are."""
        look = looks.source
        if look is None or candidate.images or candidate.mask or candidate.segmentation:
            return None
        facts = self._album.facts(look)
        if (
            not isinstance(facts, Facts) or facts.warnings or facts.frames > 1 or facts.is_turned
            or facts.media_type not in _SENT_AS_THEY_ARE or not _is_text(candidate.name)
        ):  # fmt: skip
            return None
        alone, size = self._kinds.alone(self._kinds.of(facts))
        picture = self._picture(candidate.reference, facts, candidate.span)
        columns = candidate.columns.measured(size, in_shares=candidate.in_shares)
        source = Source(candidate.name, picture, None, (), columns)
        return Checked(source, candidate.input, alone)

    def _named(self, reference: str | None) -> str:
        """A file as messages name it: relative where it lies below the manifest's folder."""
        return one_clean_line((reference or "").removeprefix(self._before), 200)

    def _reasons(self, candidate: Candidate, looks: Looks) -> Iterator[str]:
        try:
            candidate.name.encode()
        except UnicodeEncodeError:
            yield "its name is not UTF-8: rename it"
            return
        named = [("", looks.source), *(("image", each) for each in looks.images)]
        labels = ("segmentation", looks.segmentation)
        for what, look in (*named, ("mask", looks.mask), labels):
            facts = None if look is None else self._album.facts(look)
            if isinstance(facts, BadPicture) and look is not None:
                who = f"its {what} {self._named(look.path)} " if what else ""
                yield who + facts.reason + (f" ({facts.remedy})" if facts.remedy else "")

    def _facts(self, look: Look | None) -> Facts | None:
        facts = None if look is None else self._album.facts(look)
        return facts if isinstance(facts, Facts) else None

    def _picture(self, reference: str, facts: Facts | None, span: Span | None = None) -> Picture:
        known = self._pictures.get((reference, span))
        if known is not None:
            return known
        if facts is None:
            picture = Picture(f"url:{url_without_signature(reference)}", url=reference)
        else:
            picture = picture_of(reference, facts, span=span, kind=self._kinds.of(facts))
        if reference in self._shared:
            self._pictures[reference, span] = picture
        return picture

    def _warn(
        self,
        candidate: Candidate,
        given: Input,
        references: tuple[str, ...],
        facts: tuple[Facts | None, ...],
        mask_facts: Facts | None,
    ) -> None:
        where = ("inputs", candidate.input)
        for reference, each in zip(references, facts, strict=True):
            if each is None:
                continue
            for warning in each.warnings:
                self._tally.add(where, f"a picture {warning}", "rename it", self._named(reference))
            if each.media_type not in _SENT_AS_THEY_ARE or each.frames > 1:
                kind = each.media_type.removeprefix("image/").upper()
                frames = f"the first of {each.frames} frames of " if each.frames > 1 else ""
                what = f"{frames}a {kind} picture is converted to PNG before it is sent"
                self._tally.add(where, what, "", self._named(reference))
            if each.is_turned and not given.apply_orientation:
                what = f"EXIF says to turn the picture (orientation {each.orientation}), and it is "
                remedy = "write `apply_orientation: true` to have it turned first"
                self._tally.add(where, what + "sent as it stands", remedy, self._named(reference))
        if candidate.mask and mask_facts and mask_facts.brightest == 0:
            what = "a mask is all black: black is kept, so nothing would be edited"
            self._tally.add(
                where, what, "paint white what is to be edited", self._named(candidate.mask)
            )


class _Shared:
    """References that are named more than once."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()

    def add(self, candidates: list[Candidate]) -> None:
        """Find them in all there are."""
        named = [each.reference for each in candidates]
        for each in candidates:
            if each.images or each.mask is not None or each.segmentation is not None:
                others = (*each.images, each.mask, each.segmentation)
                named += [other for other in others if other is not None]
        if len(set(named)) < len(named):
            counts = Counter(named)
            self._known = frozenset(name for name, times in counts.items() if times > 1)

    def __contains__(self, reference: str) -> bool:
        return reference in self._known


def _is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sent_size(facts: Facts, given: Input) -> tuple[int, int]:
    """Width and height as sent."""
    return facts.upright_size if given.apply_orientation else (facts.width, facts.height)
