"""What a plan is: lanes of Jobs, made one by one as they are asked for, and what was found wrong.

Sources stand in memory, Jobs do not: 100,000 sources with five prompts on two models are a
million Jobs. The order is the same every time: sources outermost, then prompts, then repeats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import Literal, cast

from retouch.dialects.base import Capabilities
from retouch.errors import Problem
from retouch.job import (
    Job,
    Options,
    Prompt,
    Source,
    Terms,
    digest_of,
    key_draw,
    key_end,
    key_redo,
    keyed_pictures,
    keyed_request,
    keyed_text,
    plain_text,
    plain_texts,
)
from retouch.manifest import Combine, Model
from retouch.plan.choosing import drawn, fits
from retouch.plan.columns import batched, in_all
from retouch.plan.paths import OutputPaths
from retouch.plan.prompts import Variant

Identity = tuple[str | None, ...]
IsOwn = Callable[[bytes], bool]
"""Whether a Job is one of those asked for: by its Key's 32 bytes."""
IsPassed = Callable[[bytes], bool]
"""Whether a Job is not wanted now: by its Key's 32 bytes."""
IsOver = Callable[[bytes, str], bool]
"""Whether nothing is left to do about a Job: by its Key's 32 bytes and the place of its picture,
without suffix."""


@dataclass(frozen=True, slots=True)
class BadSource:
    """A source that cannot be sent, with every reason; `model`: the lane that does not take it,
    where others may."""

    source: str
    reason: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Leak:
    """Two sources in two splits with the same bytes (`exact`) or that look the same (`near`);
    `distance` counts the bits of their perceptual hashes that differ."""

    kind: Literal["exact", "near"]
    a: str
    b: str
    splits: tuple[str, str]
    distance: int = 0


@dataclass(frozen=True, slots=True)
class Rendering:
    """A prompt rendered for one source. `keyed` is its part of a Key; `draw` its place among those
    drawn. `is_copy`: the same work is planned for an earlier source, and is delivered to this one
    too."""

    prompt: Prompt
    keyed: bytes = field(repr=False)
    draw: int = 0
    is_copy: bool = False

    @property
    def text(self) -> str:
        """The prompt's text."""
        return self.prompt.text


@dataclass(frozen=True, slots=True)
class Lane:
    """The stream of Jobs for one model.

    `capabilities` are those for the first source's number of pictures; `placements` names the
    request field by number of pictures. `jobs_count` is how many places `jobs` and `copies` give
    pictures to, `copies_count` those of `copies` alone. `repeated` holds the identities of content
    that several sources share. `like` is the known model by whose route an unknown one is sent.
    `numbers` are the sources' positions among all of the plan. `rejected` are
    Keys of Jobs whose picture was rejected: in their place stands the Job done once more.
    `is_own`: of all these Jobs those alone are made, as of a shard; the counts stay those of all.
    """

    model: Model
    capabilities: Capabilities
    options: Options
    placements: Mapping[int, str]
    sources: tuple[Source, ...] = field(repr=False)
    prompts: tuple[Variant, ...] = field(repr=False)
    repeat: int
    output: OutputPaths
    jobs_count: int
    repeated: frozenset[Identity] = field(default=frozenset(), repr=False)
    like: str | None = None
    terms: Terms = field(default_factory=Terms)
    combine: Combine = field(default_factory=Combine)
    numbers: Sequence[int] = field(default=(), repr=False)
    copies_count: int = 0
    rejected: frozenset[str] = field(default=frozenset(), repr=False)
    is_own: IsOwn | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What the lane is called: the model's `id`, else its name."""
        return self.model.name

    @property
    def whole_count(self) -> int:
        """How many Jobs are gone through for its own."""
        return self.jobs_count - self.copies_count

    @property
    def one_in(self) -> int:
        """Of how many of those about one is its own: each is."""
        return 1

    def jobs(self) -> Iterator[Job]:
        """Every Job to be paid for once, in the same order every time; each Key once."""
        return cast("Iterator[Job]", self._made(of_copies=False))

    def jobs_but(self, is_passed: IsPassed) -> Iterator[Job | None]:
        """`jobs`, with None in the place of each that is passed over: no more than its Key is
        made."""
        return self._made(of_copies=False, is_passed=is_passed)

    def some(self, count: int) -> Iterator[Job]:
        """So many of `jobs` or a few more, from all over the lane to its end. None where a source's
        Jobs hang on other sources."""
        if self.repeated:
            return iter(())
        step = max(1, self.jobs_count // count)
        return self._of_sources(range(len(self.sources) - 1, -1, -step)).jobs()

    def jobs_of(self, names: Container[str]) -> Iterator[Job]:
        """Those of `jobs` whose source is so named. None where a source's Jobs hang on other
        sources."""
        if self.repeated:
            return iter(())
        named = [at for at, source in enumerate(self.sources) if source.name in names]
        return self._of_sources(named).jobs()

    def _of_sources(self, places: Sequence[int]) -> Lane:
        """The lane of some of its sources alone."""
        sources = tuple([self.sources[at] for at in places])
        numbers = [self.numbers[at] for at in places] if self.numbers else places
        return replace(self, sources=sources, numbers=numbers)

    def jobs_left(self, is_over: IsOver) -> Iterator[Job]:
        """`jobs` without those that are over, of which none is made."""
        return cast("Iterator[Job]", self._made(of_copies=False, is_over=is_over))

    def texts(self) -> Iterator[str]:
        """The prompts that are one text for every source."""
        return (plain_text(each.text) for each in self.prompts if each.text is not None)

    def asked(self, limit: int | None = None) -> Counter[tuple[int, int]]:
        """What the Jobs (or the first `limit`) ask for, without making them: how many have a text
        of so many UTF-8 bytes, and so many pictures and masks."""
        if limit is None and self._asks_alike:
            return self._asked_by_all()
        found: Counter[tuple[int, int]] = Counter()
        for source, each, *_ in islice(self._keyed(of_copies=False), limit):
            found[len(each.prompt.text.encode()), _pictures(source)] += 1
        return found

    @property
    def _asks_alike(self) -> bool:
        """Whether every source has every prompt, each for work of its own, and all are asked of."""
        every = len(self._fitting) * len(self.sources) * self.repeat
        is_all = self.is_own is None and self.jobs_count == every
        return is_all and self.fits_all and not self.repeated

    def _asked_by_all(self) -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        rendering = [Renderer(each, self.name) for each in self._fitting]
        fixed = [len(each.fixed.text.encode()) for each in rendering if each.fixed is not None]
        own = [each for each in rendering if each.fixed is None]
        for sources in batched(self.sources, _AT_ONCE):
            pictures = list(map(_pictures, sources))
            for count, sources_count in Counter(pictures).items():
                for length in fixed:
                    found[length, count] += sources_count
            columns = [source.columns for source in sources] if own else []
            for each in own:
                lengths = (len(text.encode()) for text in each.texts(columns))
                found.update(zip(lengths, pictures, strict=True))
        return Counter({asked: count * self.repeat for asked, count in found.items()})

    @property
    def _fitting(self) -> list[Variant]:
        """The prompts that are for this lane."""
        return [each for each in self.prompts if not each.models or self.name in each.models]

    def copies(self) -> Iterator[Job]:
        """The Jobs whose Key an earlier source's has: what that brings is delivered here too."""
        made = self._made(of_copies=True) if self.copies_count else iter(())
        return cast("Iterator[Job]", made)

    def _made(
        self,
        *,
        of_copies: bool,
        is_passed: IsPassed | None = None,
        is_over: IsOver | None = None,
    ) -> Iterator[Job | None]:
        name, lane, options, like, terms = (
            self.model.model, self.name, self.options, self.like, self.terms
        )  # fmt: skip
        if terms.n != 1:
            is_over = None
        numbers = [str(again) for again in range(self.repeat)]
        of, by, output = None, None, ""
        for source, each, again, redone, digest in self._keyed(of_copies=of_copies):
            if is_passed is not None and is_passed(digest):
                yield None
                continue
            if source is not of:
                of, by = source, None
                paths = self.output.of(source.columns)
                placement = self.placements[1 + len(source.images)]
            if each is not by:
                by, output = each, paths.render(lane, each.prompt.id)
            place = output.replace("{index}", numbers[again])
            if is_over is not None and not redone and is_over(digest, place):
                continue
            yield Job(
                name, each.prompt, source, options, placement, again, output,
                like, terms, each.draw, lane, redone,
            ).keyed(digest.hex())  # fmt: skip

    def _keyed(self, *, of_copies: bool) -> Iterator[tuple[Source, Rendering, int, int, bytes]]:
        """Of each Job its source, its prompt, which repeat it is, how often it is done once more,
        and its Key's 32 bytes: enough to know whose it is, at a tenth of what making it takes."""
        ends = [(again, key_end(again)) for again in range(self.repeat)]
        requests = {
            placement: keyed_request(self.model.model, self.options, placement)
            for placement in self.placements.values()
        }
        is_own, rejected = self.is_own, self.rejected
        for source, wanted in self.renderings():
            before = keyed_pictures(source) + requests[self.placements[1 + len(source.images)]]
            for each in wanted:
                if each.is_copy != of_copies:
                    continue
                begin = key_draw(each.draw) + before
                for again, end in ends:
                    digest, redone = digest_of(begin, each.keyed, end), 0
                    while rejected and digest.hex() in rejected:
                        redone += 1
                        digest = digest_of(begin, each.keyed + key_redo(redone), end)
                    if is_own is None or is_own(digest):
                        yield source, each, again, redone, digest

    def renderings(self) -> Iterator[tuple[Source, Sequence[Rendering]]]:
        """Each source with its prompts, rendered; without what would ask for the same work again.

        KeyError for a name without a value: a plan without problems has none.
        """
        rendering = [Renderer(each, self.name) for each in self.prompts]
        if self.fits_all and not self.repeated:
            yield from self._renderings_of_all(rendering)
            return
        shared: dict[Identity, dict[tuple[str, int], set[str]]] = {}
        by_variant = {id(each.variant): each for each in rendering}
        for at, source in enumerate(self.sources):
            own: set[tuple[str, int]] = set()
            elsewhere: dict[tuple[str, int], set[str]] = {}
            if self.repeated:
                content = identity(source)
                if content in self.repeated:
                    elsewhere = shared.setdefault(content, elsewhere)
            wanted: list[Rendering] = []
            for draw, variant in self.chosen(at):
                made = by_variant[id(variant)].of(source)
                work = (made.text, draw)
                places = elsewhere.get(work, ())
                if work not in own and source.name not in places:
                    own.add(work)
                    is_plain = not draw and not places
                    wanted.append(
                        made if is_plain else replace(made, draw=draw, is_copy=bool(places))
                    )
            if self.repeated:
                for work in own:
                    elsewhere.setdefault(work, set()).add(source.name)
            yield source, wanted

    def _renderings_of_all(
        self, rendering: Sequence[Renderer]
    ) -> Iterator[tuple[Source, Sequence[Rendering]]]:
        """Where every source has every prompt, and no other source's content: quickly."""
        lane = self.name
        fitting = [
            each for each in rendering if not each.variant.models or lane in each.variant.models
        ]
        fixed = [each.fixed for each in fitting if each.fixed is not None]
        if len(fixed) == len(fitting):
            for_all = _each_once(fixed)
            for source in self.sources:
                yield source, for_all
            return
        for sources in batched(self.sources, _AT_ONCE):
            columns = [source.columns for source in sources]
            rows = zip(*[each.all(columns) for each in fitting], strict=True)
            for source, row in zip(sources, rows, strict=True):
                yield source, _each_once(row)

    @property
    def fits_all(self) -> bool:
        """Whether every source has every prompt of the lane."""
        return self.combine.mode == "product" and not any(each.when for each in self.prompts)

    def chosen(self, at: int) -> Iterator[tuple[int, Variant]]:
        """The prompts of the source at a position, each with its place among those drawn."""
        source = self.sources[at]
        match self.combine.mode:
            case "zip":
                count = len(self.prompts)
                number = self.numbers[at] if self.numbers else at
                fitting = [self.prompts[number % count]] if count else []
            case _:
                fitting = list(self.prompts)
        lane = self.name
        fitting = [
            each
            for each in fitting
            if (not each.models or lane in each.models)
            and (not each.when or fits(source.columns, each.when))
        ]
        if self.combine.mode != "choose":
            return ((0, each) for each in fitting)
        weights = tuple(each.weight for each in fitting)
        ids = tuple(each.id for each in fitting)
        places = drawn(source.name, ids, weights, self.combine.variants, self.combine.seed)
        return ((draw, fitting[place]) for draw, place in enumerate(places))


def _each_once(wanted: Sequence[Rendering]) -> Sequence[Rendering]:
    """Renderings without those whose text an earlier one has."""
    if len({each.prompt.text for each in wanted}) == len(wanted):
        return wanted
    first: dict[str, Rendering] = {}
    for each in wanted:
        first.setdefault(each.prompt.text, each)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, and everything that is wrong with it.

    With `problems` the run is refused (exit 2), with `bad_sources` too unless the manifest skips
    them: the lanes are without them. `sources` is how many were named; `inputs` are those that
    are whole, `leaks` those of them that are in two splits.
    """

    lanes: tuple[Lane, ...]
    sources: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    bad_sources: tuple[BadSource, ...] = ()
    inputs: tuple[Source, ...] = field(default=(), repr=False)
    leaks: tuple[Leak, ...] = ()
    has_splits: bool = False

    def with_rejected(self, keys: frozenset[str]) -> Plan:
        """The plan in which Jobs with these Keys are replaced by the same ones done once more."""
        return replace(self, lanes=tuple(replace(lane, rejected=keys) for lane in self.lanes))

    @property
    def jobs_count(self) -> int:
        """Jobs of all lanes."""
        return sum(lane.jobs_count for lane in self.lanes)

    @property
    def source_digests(self) -> Iterator[tuple[str, str]]:
        """Each source's name with the digest of its picture."""
        return ((source.name, source.picture.digest) for source in self.inputs)


def identity(source: Source) -> Identity:
    """What of a source is in a Key: two sources alike ask for the same work."""
    mask = source.mask.identity if source.mask else None
    return (mask, source.picture.identity, *(picture.identity for picture in source.images))


def _pictures(source: Source) -> int:
    """How many pictures and masks go with a request."""
    return 1 + len(source.images) + (source.mask is not None)


_AT_ONCE = 256  # sources whose texts are made together
TEXTS_KNOWN = 256  # of one prompt; a label or two make few, a caption of each source many


class Renderer:
    """One prompt of a lane, rendered for source after source.

    A prompt's own variables win over a table's columns, these over built-in ones. `fixed` is the
    Rendering of every source, where it hangs on none.
    """

    __slots__ = ("_known", "_of_job", "_pieces", "fixed", "variant")

    def __init__(self, variant: Variant, lane: str) -> None:
        self.variant = variant
        self._known: dict[str, Rendering] = {}  # of the latest texts: many sources share one
        self._of_job = {"model": lane, "prompt": variant.id}
        self._pieces = [
            piece if isinstance(piece, str) else variant.values.get(piece.name, piece)
            for piece in variant.template.parts
        ]
        self.fixed = None
        if variant.text is not None:
            self.fixed = _rendering(variant.id, plain_text(variant.text))

    def text(self, source: Source) -> str:
        """The prompt's text for one source. KeyError for a name that has no value."""
        if self.fixed is not None:
            return self.fixed.prompt.text
        columns = source.columns
        return plain_text(
            "".join(
                [
                    piece if isinstance(piece, str) else self._value(piece.name, columns)
                    for piece in self._pieces
                ]
            )
        )

    def texts(self, columns: Sequence[Mapping[str, str]]) -> list[str]:
        """The prompt's texts for many sources, by their columns. KeyError for a name that has no
        value with one of them."""
        of_job = self._of_job
        pieces: list[Iterable[str]] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                pieces.append(repeat(piece, len(columns)))
            else:
                pieces.append(in_all(columns, piece.name, of_job.get(piece.name)))
        return plain_texts(list(map("".join, zip(*pieces, strict=True))))

    def of(self, source: Source) -> Rendering:
        """The prompt rendered for one source. KeyError for a name that has no value."""
        return self.fixed or self._of_text(self.text(source))

    def all(self, columns: Sequence[Mapping[str, str]]) -> list[Rendering]:
        """The same for many sources, by their columns."""
        if self.fixed is not None:
            return [self.fixed] * len(columns)
        return list(map(self._of_text, self.texts(columns)))

    def _of_text(self, text: str) -> Rendering:
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= TEXTS_KNOWN:
                self._known.clear()
            known = self._known[text] = _rendering(self.variant.id, text)
        return known

    def _value(self, name: str, columns: Mapping[str, str]) -> str:
        try:
            return columns[name]
        except KeyError:
            return self._of_job[name]


def _rendering(prompt: str, text: str) -> Rendering:
    return Rendering(Prompt(prompt, text), keyed_text(text))
