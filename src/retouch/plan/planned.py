"""What a plan is: lanes of Jobs, made one by one as they are asked for, and what was found wrong.

Sources stand in memory, Jobs do not: 100,000 sources with five prompts on two models are a
million Jobs. The order is the same every time: sources outermost, then prompts, then repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from retouch.dialects.base import Capabilities
from retouch.errors import Problem
from retouch.job import Job, Options, Prompt, Source, Terms
from retouch.manifest import Model
from retouch.plan.paths import OutputPaths
from retouch.plan.prompts import Variant

Identity = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class BadSource:
    """A source that cannot be sent, with every reason; `model`: not to this one, says it too."""

    source: str
    reason: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The stream of Jobs for one model.

    `capabilities` are those for the first source's number of pictures; `placements` names the
    request field by number of pictures. `jobs_count` is how many `jobs` gives. `repeated` holds
    the identities of content that several sources share. `like` is the known model by whose route
    an unknown one is sent. `rejected` are
    Keys of Jobs whose picture was rejected: in their place stands the Job done once more.
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
    rejected: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.model

    def jobs(self) -> Iterator[Job]:
        """Every Job, in the same order every time; each Key once."""
        name = self.name
        for source, wanted in self.renderings():
            paths = self.output.of(source.columns)
            placement = self.placements[1 + len(source.images)]
            for variant, text in wanted:
                prompt = Prompt(variant.id, text)
                output = paths.render(name, variant.id)
                for repeat in range(self.repeat):
                    job = Job(
                        name,
                        prompt,
                        source,
                        self.options,
                        placement,
                        repeat,
                        output,
                        self.like,
                        self.terms,
                    )
                    yield self._standing(job) if self.rejected else job

    def _standing(self, job: Job) -> Job:
        """The Job, or what stands in the place of a rejected one."""
        while job.key in self.rejected:
            job = job.redo()
        return job

    def renderings(self) -> Iterator[tuple[Source, list[tuple[Variant, str]]]]:
        """Each source with its prompts, rendered; without what would ask for the same work again.

        KeyError for a name without a value: a plan without problems has none.
        """
        shared: dict[Identity, set[str]] = {}
        for source in self.sources:
            known: set[str] = set()
            if self.repeated:
                content = identity(source)
                if content in self.repeated:
                    known = shared.setdefault(content, known)
            wanted: list[tuple[Variant, str]] = []
            for variant in self.prompts:
                text = rendered(variant, source, self.name)
                if text not in known:
                    known.add(text)
                    wanted.append((variant, text))
            yield source, wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do, and everything that is wrong with it.

    With `problems` the run is refused (exit 2), with `bad_sources` too unless the manifest skips
    them: the lanes are without them. `sources` is how many were named; `inputs` are those that
    can be sent.
    """

    lanes: tuple[Lane, ...]
    sources: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    bad_sources: tuple[BadSource, ...] = ()
    inputs: tuple[Source, ...] = field(default=(), repr=False)

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


def rendered(variant: Variant, source: Source, model: str) -> str:
    """The prompt's text for one source. KeyError for a name that has no value.

    A prompt's own variables win over a table's columns, these over built-in ones.
    """
    if variant.text is not None:
        return variant.text
    values = dict(variant.values)
    of_job = {"model": model, "prompt": variant.id}
    for name in variant.used:
        values[name] = source.columns[name] if name in source.columns else of_job[name]
    return variant.template.render(values)
