"""Each prompt as rendered and each path as it will be, checked before anything is paid for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import eq

from retouch.dialects.base import Capabilities
from retouch.errors import Problem
from retouch.job import Source
from retouch.manifest import Loaded
from retouch.manifest.messages import close_to
from retouch.plan.columns import batched
from retouch.plan.paths import PATH_BYTES, Collisions, hashes
from retouch.plan.planned import Identity, Lane, Renderer, identity
from retouch.plan.prompts import Variant
from retouch.plan.warnings import Warnings
from retouch.text import one_clean_line

COLLISIONS_SAID = 20


@dataclass(frozen=True, slots=True)
class Renderings:
    """How many places a lane's renderings go to, how many of these get a copy of what another
    brings, and what is wrong with them."""

    renderings: int
    copies: int
    problems: tuple[Problem, ...]


def check_prompts(
    loaded: Loaded,
    lane: Lane,
    by_images: Mapping[int, Capabilities],
    tally: Warnings,
    counted: dict[object, int | None],
) -> Renderings:
    """Render every prompt of the lane once; count those that ask for different work. `counted` is
    what quick looks at other lanes have found."""
    if (count := _sound(lane, by_images, counted)) is not None:
        return Renderings(count, 0, ())
    known: dict[Identity, dict[tuple[str, int], dict[str, None]]] = {}
    rendering = _Rendering(loaded, lane)
    renderings = copies = 0
    for at, source in enumerate(lane.sources):
        own: set[tuple[str, int]] = set()
        elsewhere: dict[tuple[str, int], dict[str, None]] = {}
        if lane.repeated and (content := identity(source)) in lane.repeated:
            elsewhere = known.setdefault(content, elsewhere)
        limit = by_images[1 + len(source.images)].maximum_prompt_characters
        drawn = list(lane.chosen(at))
        for draw, variant, text in rendering.texts(drawn, source, limit):
            places = elsewhere.get((text, draw), {})
            if (text, draw) in own or source.name in places:
                what = (
                    "the same picture with the same prompt, and so the same work, is planned once"
                )
                remedy = "write `run.repeat` to have it done again"
                tally.add(("prompts",), what, remedy, f"{source.name} with `{variant.id}`")
                continue
            own.add((text, draw))
            renderings += 1
            if places:
                copies += 1
                what = "pictures of the same bytes are paid for once, and delivered to each place"
                tally.add(("inputs",), what, "", f"{source.name} as {next(iter(places))}")
        if lane.repeated:
            for work in own:
                elsewhere.setdefault(work, {})[source.name] = None
        if lane.combine.mode == "choose" and len(drawn) < lane.combine.variants:
            what = f"fewer than {lane.combine.variants} prompts are for a source: all are taken"
            tally.add(("combine",), what, "", source.name)
    return Renderings(renderings, copies, rendering.problems())


def _sound(
    lane: Lane, by_images: Mapping[int, Capabilities], counted: dict[object, int | None]
) -> int | None:
    """How many renderings there are where all are sound and each asks for work of its own, seen by
    a quick look; None where a closer one is due."""
    if not lane.fits_all or lane.repeated:
        return None
    fitting = [each for each in lane.prompts if not each.models or lane.name in each.models]
    limits = [each.maximum_prompt_characters for each in by_images.values()]
    least = min((limit for limit in limits if limit is not None), default=None)
    hangs_on_lane = any("model" in each.used for each in fitting)
    place = (id(lane.sources), *map(id, fitting), least, lane.name if hangs_on_lane else "")
    if place not in counted:
        rendering = [Renderer(each, lane.name) for each in fitting]
        is_sound = _are_sound(rendering, lane.sources, least)
        counted[place] = len(fitting) * len(lane.sources) if is_sound else None
    return counted[place]


def _are_sound(rendering: Sequence[Renderer], sources: Sequence[Source], limit: int | None) -> bool:
    """Whether every text is fit, and no source has one twice."""
    fixed = {each.fixed.text for each in rendering if each.fixed is not None}
    own = [each for each in rendering if each.fixed is None]
    if len(fixed) + len(own) < len(rendering):
        return False
    if any(any(text_faults(text, limit)) for text in fixed):
        return False
    for some in batched(sources if own else ()):
        columns = [source.columns for source in some]
        try:
            texts = [each.texts(columns) for each in own]
        except KeyError:
            return False
        if not all(_are_fit(each, limit) and fixed.isdisjoint(each) for each in texts):
            return False
        if any(any(map(eq, one, other)) for one, other in combinations(texts, 2)):
            return False
    return True


def _are_fit(texts: list[str], limit: int | None) -> bool:
    """Whether nothing is wrong with rendered prompts."""
    if limit is not None and max(map(len, texts)) > limit:
        return False
    if "".join(texts).isprintable() and all(texts) and not any(map(str.isspace, texts)):
        return True
    return not any(any(text_faults(text, limit)) for text in texts)


class _Rendering:
    """Renders a lane's prompts; what is wrong with them is said once a prompt."""

    def __init__(self, loaded: Loaded, lane: Lane) -> None:
        self._loaded = loaded
        self._renderers = {id(each): Renderer(each, lane.name) for each in lane.prompts}
        self._missing: dict[tuple[str, str], Problem] = {}
        self._faults = Warnings()

    def texts(
        self, drawn: list[tuple[int, Variant]], source: Source, limit: int | None
    ) -> Iterator[tuple[int, Variant, str]]:
        """The prompts drawn for a source, each with its draw; `limit`: in characters."""
        for draw, variant in drawn:
            try:
                text = self._renderers[id(variant)].text(source)
            except KeyError as error:
                name = str(error.args[0])
                if (variant.id, name) not in self._missing:
                    self._missing[variant.id, name] = undefined(
                        self._loaded, variant, name, source.columns, source.name
                    )
                continue
            for what, remedy in text_faults(text, limit):
                shown = f"prompt `{variant.id}` {what}"
                self._faults.add(variant.location, shown, remedy, source.name, "error")
            yield draw, variant, text

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with them."""
        return (*self._missing.values(), *self._faults.problems(self._loaded))


def text_faults(text: str, limit: int | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a rendered prompt: a clause, and what to do."""
    if not text.strip():
        yield "is blank once rendered", "give it words"
    if limit is not None and len(text) > limit:
        yield f"is too long once rendered: the model takes {limit:,} characters", "shorten it"
    if "\0" in text:
        yield f"holds a NUL character at {text.index(chr(0)) + 1}", "remove it"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        yield f"holds half a character (a lone surrogate) at {error.start + 1}", "write it anew"


def undefined(
    loaded: Loaded, variant: Variant, name: str, columns: Iterable[str], source: str = ""
) -> Problem:
    """A name in a prompt that has no value: with any source, or with the one that is named."""
    shown = one_clean_line(name, 40)
    where = f" ({one_clean_line(source, 80)})" if source else ""
    what = f"`{{{shown}}}` in prompt `{variant.id}` is not known{where}"
    known = dict.fromkeys((*variant.values, *columns, "model", "prompt"))
    if name == "index":
        remedy = "a picture's index is known in `output.path` alone"
    elif name in ("width", "height"):
        remedy = "the size of a picture given by URL is not known: name its columns in a table"
    else:
        remedy = f"{_near(name, known)}known: {', '.join(known)}"
    return loaded.problem(variant.location, what, remedy)


def _near(name: str, known: Iterable[str]) -> str:
    advice = close_to(name, known)
    return f"{advice} " if advice.startswith("did you mean") else ""


def check_paths(loaded: Loaded, lanes: Iterable[Lane]) -> list[Problem]:
    """Output paths that a source cannot fill, that are too long, or that two jobs would share."""
    lanes = list(lanes)
    where = ("output", "path")
    for lane in lanes:
        pictures = lane.repeat * lane.terms.n
        if pictures > 1 and not lane.output.has_index:
            what = f"{lane.name} makes {pictures} pictures of a source, all with one path"
            return [loaded.problem(where, what, "add {index}")]
    if _apart_by_halves(lanes):
        return []
    collisions = Collisions()
    try:
        for path, _ in _paths(lanes):
            collisions.suspect(path)
            if len(path) > PATH_BYTES // 4 and len(path.encode()) > PATH_BYTES:
                shown = one_clean_line(path, 120)
                return [
                    loaded.problem(
                        where, f"a path has more than {PATH_BYTES:,} bytes: {shown}", "shorten it"
                    )
                ]
    except KeyError as error:
        what = f"`{{{one_clean_line(str(error.args[0]), 40)}}}` is not a column of every source"
        return [loaded.problem(where, what, "use columns that all inputs have")]
    if not collisions.suspected:
        return []
    found: list[Problem] = []
    for pair in collisions.pairs(_paths(lanes)):
        if len(found) == COLLISIONS_SAID:
            found.append(loaded.problem(where, "and more pictures share a path", "see above"))
            break
        what = " and ".join(map(_named, pair)) + " would go to one path"
        remedy = "add what tells them apart, like {parent}, {suffix} or a table's column"
        found.append(loaded.problem(where, what, remedy))
    return found


def _apart_by_halves(lanes: list[Lane]) -> bool:
    """Whether all paths are fit and apart, seen without making them: where one half of each hangs
    on model and prompt and the other on the source, two are alike only if both halves are."""
    outputs = [lane.output for lane in lanes]
    if not outputs or not all(
        each is outputs[0] and each.is_job_then_source and each.index_is_told_apart
        for each in outputs
    ):
        return False
    heads = Collisions()
    longest = 0
    for lane in lanes:
        for variant in lane.prompts:
            head = outputs[0].head(lane.name, variant.id)
            heads.suspect(head)
            longest = max(longest, len(head))
    tails: set[int] = set()
    count = 0
    try:
        for columns in _all_columns(lanes):
            found = outputs[0].tails(columns)
            count += len(found)
            tails.update(hashes(found))
            if longest + max(map(len, found)) > PATH_BYTES // 4 or len(tails) < count:
                return False
    except KeyError:
        return False
    return not heads.suspected


def _all_columns(lanes: list[Lane]) -> Iterator[list[Mapping[str, str]]]:
    """The columns of every source that some lane takes, each once, many at a time."""
    apart: list[Sequence[Source]] = []
    for lane in lanes:
        if not any(lane.sources is other or lane.sources == other for other in apart):
            apart.append(lane.sources)
    seen: set[int] = set()
    for at, sources in enumerate(apart):
        for some in batched(sources):
            columns = [source.columns for source in some]
            if at:
                columns = [each for each in columns if id(each) not in seen]
            if at < len(apart) - 1:
                seen.update(map(id, columns))
            if columns:
                yield columns


def _paths(lanes: Iterable[Lane]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Every job's path with what it is of; one for each picture where indexes could mix them."""
    for lane in lanes:
        pictures = lane.repeat * lane.terms.n
        for source, wanted in lane.renderings():
            paths = lane.output.of(source.columns)
            for each in wanted:
                path = paths.render(lane.name, each.prompt.id)
                who = (source.name, lane.name, each.prompt.id)
                if lane.output.index_is_told_apart:
                    yield path, who
                    continue
                for index in range(pictures):
                    yield path.replace("{index}", str(index)), who


def _named(owner: tuple[str, str, str]) -> str:
    source, model, prompt = owner
    return f"{one_clean_line(source, 150)} ({one_clean_line(model, 60)}, {prompt})"
