"""Which split each source belongs to, and what is in two of them.

By folders (or as the set itself says), by a column, or by a hash of the name. Sources that share a
`group` are never in two splits: with ratios they go together, else a group that straddles is
refused. Leaks are found before anything is paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice, product

from msgspec import structs

from retouch.errors import Problem
from retouch.manifest import Loaded, Splits
from retouch.plan.alike import close, weighed
from retouch.plan.candidates import Candidate
from retouch.plan.checked import Checked
from retouch.plan.choosing import share_of
from retouch.plan.known import known_of, split_name
from retouch.plan.planned import Leak
from retouch.plan.sets.reading import split_of_folder, split_of_path
from retouch.text import one_clean_line

EXAMPLES = 3
LEAKS_KEPT = 10_000


def in_splits(
    loaded: Loaded, candidates: list[Candidate], problems: list[Problem]
) -> list[Candidate]:
    """The candidates with their splits; what is wrong is added to `problems`."""
    given = loaded.manifest.splits
    if given is None:
        return candidates
    for name, key in ((given.column, "column"), (given.group, "group")):
        if name and candidates and all(name not in each.columns for each in candidates):
            known = ", ".join(candidates[0].columns)
            what = f"`{one_clean_line(name, 40)}` is not a column"
            problems.append(loaded.problem(("splits", key), what, f"known: {known}"))
            return candidates
    named = [(each, _split_of(each, given)) for each in candidates]
    lost = [each.name for each, split in named if not split]
    if lost:
        key = "column" if given.column else "from" if given.by else "ratios"
        remedy = (
            "fill the column" if given.column else "move them, or split by `column` or `ratios`"
        )
        what = f"{_counted(lost, 'source')} in no split"
        problems.append(loaded.problem(("splits", key), what, remedy))
        return candidates
    problems.extend(_straddling(loaded, given, named))
    edited = frozenset(map(split_name, given.augment))
    there = {split for _, split in named}
    for at, name in enumerate(given.augment):
        if split_name(name) not in there and named:
            what = f"no source is in the split `{one_clean_line(name, 40)}`"
            where = ("splits", "augment", at)
            problems.append(loaded.problem(where, what, f"there are: {', '.join(sorted(there))}"))
    return [
        structs.replace(
            each,
            columns=each.columns.in_split(split, is_augmented=not edited or split in edited),
        )
        for each, split in named
    ]


def _split_of(candidate: Candidate, given: Splits) -> str:
    """The split's name; "" where nothing says it."""
    columns = candidate.columns
    if given.column:
        value = columns[given.column].strip() if given.column in columns else ""
        return split_name(value)
    if given.by:
        return columns.split or _split_of_folders(candidate)
    value = columns[given.group] if given.group and given.group in columns else ""
    return _by_ratios(f"{given.seed}:{value or candidate.name}", given)


def _split_of_folders(candidate: Candidate) -> str:
    found = split_of_path(candidate.name)
    if found or "://" in candidate.reference[:40]:
        return found
    folders = reversed(candidate.reference.split("/")[:-1])
    return next(filter(None, map(split_of_folder, folders)), "")


def _by_ratios(text: str, given: Splits) -> str:
    share, upto = share_of(text), 0.0
    for name, part in given.ratios.items():
        upto += part
        if share < upto:
            return split_name(name)
    return split_name(list(given.ratios)[-1])  # shares that add up to a little less than 1


def _straddling(
    loaded: Loaded, given: Splits, named: list[tuple[Candidate, str]]
) -> Iterator[Problem]:
    """Groups that are in two splits."""
    if not given.group:
        return
    first: dict[str, tuple[Candidate, str]] = {}
    found: dict[str, str] = {}
    for candidate, split in named:
        if given.group not in candidate.columns:
            continue
        group = candidate.columns[given.group]
        known, other = first.setdefault(group, (candidate, split))
        if other != split and group not in found:
            found[group] = (
                f"`{one_clean_line(group, 40)}` ({one_clean_line(known.name, 80)} in {other}, "
                f"{one_clean_line(candidate.name, 80)} in {split})"
            )
    if found:
        shown = ", ".join(list(found.values())[:EXAMPLES])
        more = f" and {len(found) - EXAMPLES:,} more" if len(found) > EXAMPLES else ""
        what = f"groups are in two splits: {shown}{more}"
        remedy = "move them together, or split by `ratios`, which keeps groups whole"
        yield loaded.problem(("splits", "group"), what, remedy)


@dataclass(frozen=True, slots=True)
class Leaks:
    """Pictures that are in two splits, at most LEAKS_KEPT of them, and how many there are."""

    found: tuple[Leak, ...] = ()
    exact: int = 0
    near: int = 0


_Contents = dict[str, str]
"""Pictures' digests, each with the first source that has it."""


def leaks_in(checked: Iterable[Checked], given: Splits) -> Leaks:
    """What is in two splits by its bytes, and what looks the same."""
    by_digest: dict[str, dict[str, str]] = {}
    looks: dict[str, dict[str, _Contents]] = {}
    exact: list[Leak] = []
    for each in checked:
        source = each.source
        split = known_of(source).split
        places = by_digest.setdefault(source.picture.digest, {})
        if split in places:
            continue
        exact.extend(
            Leak("exact", name, source.name, (other, split)) for other, name in places.items()
        )
        places[split] = source.name
        facts = each.facts[0]
        if facts is not None and facts.looks is not None:
            alike = looks.setdefault(split, {}).setdefault(facts.looks, {})
            alike[source.picture.digest] = source.name
    if given.leaks.exact == "ignore":
        exact = []
    near: list[Leak] = []
    count = 0
    if given.leaks.near != "ignore":
        for one, other in combinations(sorted(looks), 2):
            count += _near((one, other), looks[one], looks[other], given.leaks.distance, near)
    near.sort(key=lambda leak: leak.distance)
    return Leaks((*exact, *near)[:LEAKS_KEPT], len(exact), count)


def _near(
    splits: tuple[str, str],
    one: dict[str, _Contents],
    other: dict[str, _Contents],
    distance: int,
    found: list[Leak],
) -> int:
    """How many pictures of two splits look the same, but for those of the same bytes; the first
    of them are added to `found`."""
    mine, theirs = list(one), list(other)
    sizes, other_sizes = (
        [len(looks[each]) for each in hashes] for looks, hashes in ((one, mine), (other, theirs))
    )
    count = -sum(len(one[each].keys() & other[each].keys()) for each in one.keys() & other.keys())
    for rows, columns, bits in close(mine, theirs, distance):
        count += weighed(rows, columns, sizes, other_sizes)
        for row, column, differ in zip(rows, columns, bits, strict=True):
            if len(found) >= LEAKS_KEPT:
                break
            pairs = product(one[mine[row]].items(), other[theirs[column]].items())
            named = (Leak("near", a, b, splits, int(differ)) for (x, a), (y, b) in pairs if x != y)
            found.extend(islice(named, LEAKS_KEPT - len(found)))
    return count


def leak_problems(loaded: Loaded, given: Splits, leaks: Leaks) -> Iterator[Problem]:
    """What is said of leaks: refused or warned of, each kind once."""
    for kind, count, action, how in (
        ("exact", leaks.exact, given.leaks.exact, "the same bytes are in two splits"),
        ("near", leaks.near, given.leaks.near, "pictures that look the same are in two splits"),
    ):
        found = [leak for leak in leaks.found if leak.kind == kind]
        if not found or action == "ignore":
            continue
        pairs = [
            f"{one_clean_line(leak.a, 80)} ({leak.splits[0]}) and "
            f"{one_clean_line(leak.b, 80)} ({leak.splits[1]})"
            for leak in found[:EXAMPLES]
        ]
        more = f" and {count - EXAMPLES:,} more pairs" if count > EXAMPLES else ""
        remedy = "keep one of each pair; `retouch plan --json` lists them"
        if kind == "exact":
            remedy += f", or write `leaks: {{{kind}: warn}}`"
        severity = "error" if action == "refuse" else "warning"
        yield loaded.problem(("splits",), f"{how}: {', '.join(pairs)}{more}", remedy, severity)  # type: ignore[arg-type]


def _counted(names: list[str], noun: str) -> str:
    shown = ", ".join(one_clean_line(name, 80) for name in names[:EXAMPLES])
    verb = "is" if len(names) == 1 else "are"
    more = ", ..." if len(names) > EXAMPLES else ""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names):,} {noun}{plural} {verb} ({shown}{more})"
