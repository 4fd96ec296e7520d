"""From candidates to Sources: each with its pictures' facts, or with the reasons why it is bad.

What is checked here holds for every model; what a model takes is its lane's to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from retouch.job import Picture, Source
from retouch.manifest import Input, Loaded
from retouch.pictures import BadPicture, Facts, Role
from retouch.plan.candidates import Candidate, is_url
from retouch.plan.inspections import Album
from retouch.plan.planned import BadSource
from retouch.plan.warnings import Warnings
from retouch.text import one_clean_line, url_without_signature


@dataclass(frozen=True, slots=True)
class Checked:
    """A Source with the facts of its pictures, in the order they are sent; None for a URL."""

    source: Source
    candidate: Candidate
    facts: tuple[Facts | None, ...]
    mask_facts: Facts | None = None


def files_of(candidates: Iterable[Candidate]) -> Iterator[tuple[str, Role]]:
    """Every file the candidates refer to, with what it is used as."""
    for candidate in candidates:
        for reference in (candidate.reference, *candidate.images):
            if not is_url(reference):
                yield reference, "picture"
        if candidate.mask is not None and not is_url(candidate.mask):
            yield candidate.mask, "mask"


class Checks:
    """Makes Sources of candidates; files shared by many are one Picture."""

    def __init__(self, loaded: Loaded, album: Album, tally: Warnings) -> None:
        self._loaded = loaded
        self._album = album
        self._tally = tally
        self._pictures: dict[str, Picture] = {}

    def check(self, candidate: Candidate) -> Checked | BadSource:
        """The candidate's Source, or every reason why it cannot be one."""
        shown = one_clean_line(candidate.name)
        reasons = list(self._reasons(candidate))
        if reasons:
            return BadSource(shown, "; ".join(reasons))
        references = (candidate.reference, *candidate.images)
        facts = tuple(self._facts(reference) for reference in references)
        mask_facts = self._facts(candidate.mask, "mask") if candidate.mask else None
        given = self._loaded.manifest.inputs[candidate.input]
        first = facts[0]
        if first and mask_facts:
            wanted, has = _sent_size(first, given), _sent_size(mask_facts, given)
            if wanted != has:
                reason = f"its mask {candidate.mask} is {has[0]}x{has[1]}, the picture "
                return BadSource(shown, reason + f"{wanted[0]}x{wanted[1]}: make them equal")
        self._warn(candidate, given, references, facts, mask_facts)
        columns = candidate.columns
        source = Source(
            name=candidate.name,
            picture=self._picture(candidate.reference, first),
            mask=self._picture(candidate.mask, mask_facts) if candidate.mask else None,
            images=tuple(map(self._picture, candidate.images, facts[1:])),
            columns=columns.measured(_sent_size(first, given)) if first else columns,
        )
        return Checked(source, candidate, facts, mask_facts)

    def _reasons(self, candidate: Candidate) -> Iterator[str]:
        try:
            candidate.name.encode()
        except UnicodeEncodeError:
            yield "its name is not UTF-8: rename it"
            return
        named: list[tuple[str, str, Role]] = [("", candidate.reference, "picture")]
        named += [(f"its image {each} ", each, "picture") for each in candidate.images]
        if candidate.mask is not None:
            named.append((f"its mask {candidate.mask} ", candidate.mask, "mask"))
        for who, reference, role in named:
            if is_url(reference):
                continue
            facts = self._album.facts(reference, role)
            if isinstance(facts, BadPicture):
                what = f"{one_clean_line(who, 200)} " if who else ""
                yield what + facts.reason + (f" ({facts.remedy})" if facts.remedy else "")

    def _facts(self, reference: str, role: Role = "picture") -> Facts | None:
        if is_url(reference):
            return None
        facts = self._album.facts(reference, role)
        return facts if isinstance(facts, Facts) else None

    def _picture(self, reference: str, facts: Facts | None) -> Picture:
        known = self._pictures.get(reference)
        if known is None:
            if facts is None:
                known = Picture(f"url:{url_without_signature(reference)}", url=reference)
            else:
                known = Picture(
                    f"sha256:{facts.sha256}", path=self._album.folder / reference,
                    media_type=facts.media_type, bytes=facts.bytes,
                    width=facts.width, height=facts.height,
                )  # fmt: skip
            self._pictures[reference] = known
        return known

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
                self._tally.add(where, f"a picture {warning}", "rename it", reference)
            if each.is_turned and not given.apply_orientation:
                what = f"EXIF says to turn the picture (orientation {each.orientation}), and it is "
                remedy = "write `apply_orientation: true` to have it turned first"
                self._tally.add(where, what + "sent as it stands", remedy, reference)
        if candidate.mask and mask_facts and mask_facts.brightest == 0:
            what = "a mask is all black: black is kept, so nothing would be edited"
            self._tally.add(where, what, "paint white what is to be edited", candidate.mask)


def _sent_size(facts: Facts, given: Input) -> tuple[int, int]:
    """Width and height as sent."""
    return facts.upright_size if given.apply_orientation else (facts.width, facts.height)
