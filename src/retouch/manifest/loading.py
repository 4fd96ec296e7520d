"""From a file to a Loaded manifest: read once, checked whole, every problem told at once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Literal

from retouch.errors import InputRefused, Problem
from retouch.manifest.document import Data, Document, Location
from retouch.manifest.messages import validated
from retouch.manifest.model import Manifest, Model
from retouch.manifest.names import unfit_for_a_path
from retouch.manifest.price_rules import price_findings
from retouch.manifest.pricebook import PriceFile, load_prices
from retouch.manifest.prices import Price
from retouch.manifest.rules import (
    Mapped,
    findings,
    in_order,
    placed,
    version_problem,
)
from retouch.manifest.yaml_reader import MAXIMUM_BYTES, SMALLER, parse
from retouch.storage.reading import read_given

WHAT_A_MANIFEST_IS = (
    "a manifest is a YAML mapping with the keys version, inputs, prompts and models; "
    "`retouch init` writes one to start from"
)
HINT = "`retouch schema` prints the JSON Schema of a manifest, for editors that check as you type."


@dataclass(frozen=True, slots=True)
class Loaded:
    """A manifest as it was read: its values, its bytes, and where everything stands in them.

    `path` and `folder` are absolute; paths in the manifest are relative to `folder`. `sha256` is
    64 hex digits of `text`. `prices` is the price file it names, read as well.
    """

    manifest: Manifest
    path: Path
    folder: Path
    text: bytes = field(repr=False)
    sha256: str
    warnings: tuple[Problem, ...] = ()
    prices: PriceFile | None = None
    document: Document | None = field(default=None, repr=False)

    def problem(
        self,
        location: Location,
        what: str,
        remedy: str = "",
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """A problem at a location such as ("models", 0, "options", "n").

        Where the location is not in the text, its nearest ancestor's line and column are given.
        """
        if self.document is None:
            return Problem(str(self.path), 0, 0, what, remedy, severity)
        line, column = self.document.place(location)
        return Problem(self.document.file, line, column, what, remedy, severity)

    @property
    def zone(self) -> timezone:
        """Whose days its prices mean: the price file's, else UTC."""
        return (self.prices.zone if self.prices else None) or UTC

    def price_at(self, model: str, moment: datetime) -> Price | None:
        """What a model costs at an instant: by the manifest, else by the price file.

        None: the model is unpriced then. A price outside its own dates does not count.
        """
        named = (part for part in self.manifest.models if part.model == model)
        first = next(named, None)
        return self.price_of(first, moment) if first else self._by_file(model, moment)

    def price_of(self, model: Model, moment: datetime) -> Price | None:
        """What a lane costs at an instant: by its own price, else by the price file."""
        if model.price is not None:
            return model.price if model.price.holds_at(moment, self.zone) else None
        return self._by_file(model.model, moment)

    def _by_file(self, model: str, moment: datetime) -> Price | None:
        return self.prices.price_at(model, moment) if self.prices else None


def load(path: Path, *, dialects: Collection[str] | None = None) -> Loaded:
    """Read a manifest from a file; see `read`. Raises InputRefused with every problem at once."""
    text = read_given(
        path,
        MAXIMUM_BYTES,
        if_missing="check the path; `retouch init` writes a starter",
        if_large=SMALLER,
    )
    absolute = path.absolute()
    return _read(text, str(path), absolute, dialects)


def read(
    text: bytes, file: str, folder: Path, *, dialects: Collection[str] | None = None
) -> Loaded:
    """Read a manifest from bytes; `file` names it in messages, `folder` is what paths start from.

    `dialects` are the names `provider.dialect` may have; None: not checked here. A price file is
    read too. Raises InputRefused with every problem at once, in the order of their places.
    """
    return _read(text, file, folder.absolute() / Path(file).name, dialects)


def _read(text: bytes, file: str, path: Path, dialects: Collection[str] | None) -> Loaded:
    document = parse(text, file)
    written = _as_mapping(document)
    wrong = version_problem(written)
    if wrong and wrong.location:  # another version may have other keys: only the version is told
        raise refused([*document.problems, placed(document, wrong)])
    data, problems = _completed(written, document, path.stem)
    manifest, invalid = validated(document, data, Manifest, said=("version",))
    found = [wrong] if wrong else []
    found.extend(findings(data, dialects))
    prices, price_problems = _prices(document, data, path.parent)
    if not price_problems:
        found.extend(price_findings(data, prices.currencies if prices else {}))
    problems += [*document.problems, *invalid, *price_problems]
    problems += [placed(document, each) for each in found if not document.refused(each.location)]
    if manifest is None or any(problem.severity == "error" for problem in problems):
        raise refused(problems)
    return Loaded(
        manifest, path, path.parent, text, hashlib.sha256(text).hexdigest(),
        tuple(in_order(problems)), prices, document,
    )  # fmt: skip


def refused(problems: list[Problem]) -> InputRefused:
    """The problems as one error, in the order of their places, each told once."""
    return InputRefused(in_order(problems), hint=HINT)


def _as_mapping(document: Document) -> Mapped:
    """The whole text as a mapping; what else it is, is said with what a manifest is."""
    root = document.root
    data = root.data() if root else None
    if isinstance(data, Mapping):
        return data
    if root is None or (root.kind == "scalar" and not root.written):
        what = "the file is empty" if root is None else "the file has no value"
        raise refused([*document.problems, Problem(document.file, 0, 0, what, WHAT_A_MANIFEST_IS)])
    what = "the file is a list" if root.kind == "list" else "the file is a single value"
    raise refused(
        [
            *document.problems,
            Problem(document.file, root.line, root.column, what, WHAT_A_MANIFEST_IS),
        ]
    )


def _completed(written: Mapped, document: Document, stem: str) -> tuple[Mapped, list[Problem]]:
    """The data with the names that are taken from files' names where they are left out."""
    data = dict(written)
    problems = []
    if "name" not in written:
        data["name"] = stem
        if reason := unfit_for_a_path(stem):
            what = f"the file's name cannot name a folder of outputs: {reason}"
            problems.append(Problem(document.file, 0, 0, what, "rename it, or add `name: ...`"))
            data["name"] = "unnamed"
    prompts = written.get("prompts")
    if isinstance(prompts, tuple):
        data["prompts"] = tuple(map(_named_prompt, prompts))
    return data, problems


def _named_prompt(prompt: Data) -> Data:
    if isinstance(prompt, Mapping) and "id" not in prompt:
        file = prompt.get("file")
        if isinstance(file, str) and file.strip():
            return {"id": PurePosixPath(file.strip()).stem, **prompt}
    return prompt


def _prices(
    document: Document, data: Mapped, folder: Path
) -> tuple[PriceFile | None, list[Problem]]:
    """The price file the manifest names, or what is wrong with it."""
    named = data.get("prices")
    if not isinstance(named, str) or not named.strip():
        return None, []
    line, column = document.place(("prices",))
    try:
        return load_prices(folder / named), []
    except InputRefused as error:
        return None, [
            problem
            if problem.line
            else Problem(
                document.file, line, column, f"`prices`: {named}: {problem.what}", problem.remedy
            )
            for problem in error.problems
        ]
