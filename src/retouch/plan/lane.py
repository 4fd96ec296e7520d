"""One model's lane: its options, request fields, counts, and every picture against its limits."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from msgspec import structs

from retouch.dialects.base import Capabilities, Dialect, PictureLimits, Placement
from retouch.errors import Problem
from retouch.job import Options, Picture, Source
from retouch.manifest import Loaded, Location
from retouch.manifest.messages import close_to
from retouch.pictures import Facts
from retouch.plan.checked import Checked
from retouch.plan.columns import Columns
from retouch.plan.limits import faults, transforms_for
from retouch.plan.option_pictures import Inspect
from retouch.plan.options import capabilities_for, check_options
from retouch.plan.paths import OutputPaths
from retouch.plan.planned import BadSource, Identity, Lane, identity
from retouch.plan.prompts import Variant
from retouch.plan.validation import check_prompts
from retouch.plan.warnings import Warnings
from retouch.text import one_clean_line

KINDS_CAP = 1_000  # of pictures that are seen at a glance


class LaneBuilder:
    """Builds the lane of the manifest's model `index`; what is wrong gathers in `problems`."""

    def __init__(
        self,
        loaded: Loaded,
        dialect: Dialect,
        index: int,
        tally: Warnings,
        shared: Shared,
    ) -> None:
        self._inspect, self._shared = shared.inspect, shared
        self.loaded = loaded
        self.model = loaded.manifest.models[index]
        self.problems: list[Problem] = []
        self.bad_sources: list[BadSource] = []
        self._dialect = dialect
        self._index = index
        self._tally = tally
        self._by_images: dict[int, Capabilities] = {}
        self._placements: dict[int, Placement] = {}
        self._fit_kinds: dict[tuple[int, int], float] = {}  # the most bytes that each may have

    def lane(
        self, checked: list[Checked], prompts: tuple[Variant, ...], output: OutputPaths
    ) -> Lane | None:
        """The lane of the sources the model takes; None if it cannot be sent pictures at all."""
        shared = self._shared
        survey = shared.survey(checked)
        counts = survey.pictures or {1: None}
        options: Options = ()
        for images in counts:
            options = self._meet(images)
        if len(self._placements) < len(counts):
            return None
        numbers: Sequence[int] = range(len(checked))
        if survey.examples is not None and all(map(self._goes_as_it_is, survey.examples)):
            sources = survey.sources
        else:
            taken: list[Source] = []
            numbers = array("L")
            for number, source in self._taken(checked):
                taken.append(source)
                numbers.append(number)
            sources = shared.sources(tuple(taken))
        if not sources and any(map(_is_edited, checked)):
            what = f"no source is left that {self.model.model} takes"
            self.problems.append(
                self.loaded.problem(("models", self._index), what, "see the bad sources")
            )
        first = len(sources[0].images) + 1 if sources else next(iter(counts))
        lane = Lane(
            model=self.model,
            capabilities=self._by_images[first],
            options=options,
            placements={images: each.name for images, each in self._placements.items()},
            sources=sources,
            prompts=prompts,
            repeat=self.loaded.manifest.run.repeat,
            output=output,
            jobs_count=0,
            repeated=self._shared.repeated(sources),
            terms=self._dialect.terms(options),
            like=None if self.model.model in self._dialect.models() else self.model.like,
            combine=self.loaded.manifest.combine,
            numbers=numbers if len(numbers) < len(checked) else range(len(numbers)),
        )
        found = check_prompts(self.loaded, lane, self._by_images, self._tally, shared.renderings)
        self.problems.extend(found.problems)
        return replace(
            lane,
            jobs_count=found.renderings * lane.repeat,
            copies_count=found.copies * lane.repeat,
        )

    def _meet(self, images: int) -> Options:
        """Learn what the model takes with `images` pictures, and check what the manifest says."""
        capabilities = capabilities_for(self.model, self._dialect, images)
        self._by_images[images] = capabilities
        options, problems = check_options(
            self.loaded, self._index, self._dialect, capabilities, self._inspect
        )
        self.problems.extend(each for each in problems if each not in self.problems)
        self._check_known(capabilities)
        name = self.model.images or capabilities.placements[0].name
        fields = {each.name: each for each in capabilities.placements}
        where: Location = ("models", self._index, "images")
        if name not in fields:
            what = f"{self.model.model} takes no pictures in `{one_clean_line(name, 60)}`"
            self._say(where, what, close_to(name, fields))
            return options
        placement = self._placements[images] = fields[name]
        if not placement.minimum <= images <= placement.maximum:
            what = (
                f"{self.model.model} takes {placement.minimum} to {placement.maximum} pictures in "
                f"`{placement.name}`, and would be sent {images}"
            )
            self._say(where, what, "change the inputs' further `images`, or the field")
        return options

    def _check_known(self, capabilities: Capabilities) -> None:
        where: Location = ("models", self._index, "model")
        known = self._dialect.models()
        if self.model.like and self.model.like not in known:
            what = f"`like` names a model that is not known: {one_clean_line(self.model.like, 60)}"
            self._say(("models", self._index, "like"), what, close_to(self.model.like, known))
        elif self.model.like and not capabilities.named_in_body:
            what = f"{self.model.like} has an address of its own: no other model can be like it"
            self._say(("models", self._index, "like"), what, "take the model itself")
        elif capabilities.note:
            what = f"{self.model.model}: {capabilities.note}"
            self._say(where, what, "name a later model if the server has it", is_warning=True)
        elif not capabilities.known:
            what = f"{self.model.model} is not in the table of known models: little is checked"
            remedy = f"{close_to(self.model.model, known)}; or say which one it is `like`"
            self._say(where, what, remedy, is_warning=True)

    def _say(self, where: Location, what: str, remedy: str, *, is_warning: bool = False) -> None:
        problem = self.loaded.problem(where, what, remedy, "warning" if is_warning else "error")
        if problem not in self.problems:
            self.problems.append(problem)

    # --- Sources ---------------------------------------------------------------------------

    def _taken(self, checked: Iterable[Checked]) -> Iterator[tuple[int, Source]]:
        """The sources the model takes, by their numbers, with what must be done to their pictures
        first."""
        name = self.model.name
        for number, each in enumerate(checked):
            if not _is_edited(each):
                continue
            source = each.source
            if self._goes_as_it_is(each):
                yield number, source
                continue
            images = len(each.facts)
            limits = self._placements[images].limits
            pictures = tuple(
                self._fitted(picture, facts, limits, each)
                for picture, facts in zip((source.picture, *source.images), each.facts, strict=True)
            )
            reasons = [
                (f"its image {position} " if position else "") + fault
                for position, (picture, facts) in enumerate(zip(pictures, each.facts, strict=True))
                for fault in faults(picture, facts, limits)
            ]
            mask, mask_reasons = self._mask(each, self._by_images[images])
            reasons += mask_reasons
            if reasons:
                shown = one_clean_line(source.name)
                self.bad_sources.append(BadSource(shown, f"{name}: {'; '.join(reasons)}", name))
            elif (mask, *pictures) == (source.mask, source.picture, *source.images):
                yield number, source  # one for all lanes, unless this model needs another
            else:
                changed = structs.replace(
                    source, picture=pictures[0], images=pictures[1:], mask=mask
                )
                yield number, changed

    def _goes_as_it_is(self, each: Checked) -> bool:
        """Whether a picture that goes alone is fit without a change, seen by its kind: one look for
        all that are alike."""
        source, kind = each.source, each.facts[0]
        if kind is None or len(each.facts) > 1 or source.mask is not None:
            return False
        place = (id(kind), each.input)
        most = self._fit_kinds.get(place)
        if most is None:
            limits = self._placements[1].limits
            any_size = replace(limits, maximum_bytes=None)
            picture = self._fitted(source.picture, kind, limits, each)
            is_fit = picture is source.picture and not any(faults(picture, kind, any_size))
            most = inf if limits.maximum_bytes is None else limits.maximum_bytes
            most = self._fit_kinds[place] = most if is_fit else -1
        return (source.picture.bytes or 0) <= most

    def _mask(self, each: Checked, capabilities: Capabilities) -> tuple[Picture | None, list[str]]:
        mask = each.source.mask
        if mask is None or not self.model.send_mask:
            return None, []
        if not capabilities.takes_mask:
            where = ("inputs", each.input, "mask")
            self._say(where, f"{self.model.model} takes no mask", "say `send_mask: false` for it")
            return mask, []
        limits = capabilities.mask_limits
        if capabilities.mask_polarity == "transparent" and mask.url is None:
            mask = structs.replace(mask, transforms=(*mask.transforms, "cut_out"))
        else:
            mask = self._fitted(mask, each.mask_facts, limits, each)
        return mask, [f"its mask {fault}" for fault in faults(mask, each.mask_facts, limits)]

    def _fitted(
        self, picture: Picture, facts: Facts | None, limits: PictureLimits, each: Checked
    ) -> Picture:
        if facts is None:
            return picture
        given = self.loaded.manifest.inputs[each.input]
        transforms = transforms_for(
            facts, limits, convert=given.convert, orient=given.apply_orientation
        )
        by_link = limits.urls_only and self.loaded.manifest.publish is not None
        if not (transforms or by_link):
            return picture
        return structs.replace(picture, transforms=transforms, by_link=by_link)


def _is_edited(each: Checked) -> bool:
    """Whether the source's split is edited at all."""
    columns = each.source.columns
    return not isinstance(columns, Columns) or columns.is_augmented


@dataclass(frozen=True, slots=True)
class Survey:
    """All sources of a plan: how many pictures some of them have, in the order they come.

    `examples`: of each kind the one with the most bytes, where every source goes alone and is
    edited: what fits these fits all. None where some are to be looked at one by one.
    """

    sources: tuple[Source, ...]
    pictures: dict[int, None]
    examples: tuple[Checked, ...] | None


def _surveyed(checked: list[Checked]) -> Survey:
    sources = tuple([each.source for each in checked])
    pictures = dict.fromkeys([len(each.facts) for each in checked])
    examples: dict[tuple[int, int], Checked] = {}
    if pictures == {1: None}:
        for each in checked:
            source = each.source
            place = (id(each.facts), each.input)
            largest = examples.get(place)
            if largest is None:
                if len(examples) == KINDS_CAP:
                    return Survey(sources, pictures, None)
                examples[place] = each
            elif (source.picture.bytes or 0) > (largest.source.picture.bytes or 0):
                examples[place] = each
            if source.mask is not None or not _is_edited(each):
                return Survey(sources, pictures, None)
    return Survey(sources, pictures, tuple(examples.values()) or None)


class Shared:
    """What lanes have in common: how a file is looked at, and what is found out of the same
    sources once."""

    def __init__(self, inspect: Inspect) -> None:
        self.inspect = inspect
        self.renderings: dict[object, int | None] = {}
        self._known: list[tuple[tuple[Source, ...], frozenset[Identity]]] = []
        self._survey: tuple[list[Checked], Survey] | None = None

    def survey(self, checked: list[Checked]) -> Survey:
        """What all sources come to."""
        if self._survey is None or self._survey[0] is not checked:
            self._survey = (checked, _surveyed(checked))
        return self._survey[1]

    def sources(self, taken: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources, as an earlier lane holds them if it has the same."""
        return next((known for known, _ in self._known if known == taken), taken)

    def repeated(self, sources: tuple[Source, ...]) -> frozenset[Identity]:
        """Identities of content that several sources share."""
        for known, repeated in self._known:
            if known is sources:
                return repeated
        repeated = _repeated(sources)
        self._known.append((sources, repeated))
        return repeated


def _repeated(sources: Iterable[Source]) -> frozenset[Identity]:
    sources = tuple(sources)
    if len({each.picture.digest for each in sources}) == len(sources):
        return frozenset()  # no content twice, whatever goes with it
    if len({hash(identity(source)) for source in sources}) == len(sources):
        return frozenset()
    counts = Counter(map(identity, sources))
    return frozenset(content for content, times in counts.items() if times > 1)
