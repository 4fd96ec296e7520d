"""What Attempts have counted so far, by model: what estimates rest on.

Kept are counts, not costs: an estimate is made at today's price.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from retouch.dialects.base import Usage
from retouch.job import Job
from retouch.ledger.outcome import Outcome
from retouch.ledger.records import Done
from retouch.ledger.state import Replay
from retouch.manifest import Sides

ALIKE = 5  # records of the same n and size: fewer, and all of the model are taken, scaled by n
KEPT = 10_000  # records a model; the latest


@dataclass(frozen=True, slots=True)
class PastUsage:
    """One charged Attempt of the past: what was asked for and what was counted."""

    n: int
    size: str | None
    quality: str | None
    usage: Usage
    pictures: int
    seconds: float
    sides: tuple[Sides, ...] = ()

    def scaled(self, n: int) -> Usage:
        """The counts as they would be for `n` pictures asked for."""
        if n == self.n:
            return self.usage
        output, images = self.usage.output_tokens, self.usage.images
        return Usage(
            input_tokens=self.usage.input_tokens,
            text_tokens=self.usage.text_tokens,
            image_tokens=self.usage.image_tokens,
            cached_tokens=self.usage.cached_tokens,
            cached_text_tokens=self.usage.cached_text_tokens,
            cached_image_tokens=self.usage.cached_image_tokens,
            output_tokens=_scaled(output, n, self.n),
            text_output_tokens=_scaled(self.usage.text_output_tokens, n, self.n),
            image_output_tokens=_scaled(self.usage.image_output_tokens, n, self.n),
            svg_input_tokens=self.usage.svg_input_tokens,
            svg_output_tokens=_scaled(self.usage.svg_output_tokens, n, self.n),
            images=-(-(self.pictures if images is None else images) * n // self.n),
        )


def _scaled(tokens: int | None, n: int, of: int) -> int | None:
    return None if tokens is None else -(-tokens * n // of)


class History:
    """Charged Attempts by model: the latest of them; of `models` alone, where they are named."""

    def __init__(
        self, states: Iterable[Replay] = (), models: Collection[str] | None = None
    ) -> None:
        self._models = models
        self._samples: dict[str, deque[PastUsage]] = {}
        for state in states:
            self.add(state)

    def add(self, state: Replay) -> None:
        """Take in the finished Jobs of a ledger."""
        known = state.outcomes.models_done()
        for model in known if self._models is None else known.intersection(self._models):
            samples = self._samples.setdefault(model, deque(maxlen=KEPT))
            for outcome in state.outcomes.latest_done(model, KEPT):
                if isinstance(outcome.decided, Done):
                    samples.append(_sample(outcome.decided, outcome))

    def of(self, model: str) -> Sequence[PastUsage]:
        """What is known of a model."""
        return self._samples.get(model, ())

    def like(self, job: Job) -> list[PastUsage]:
        """Attempts that asked for the same number, size and quality; if there are too few, all
        of the model."""
        size, quality = job.terms.size, job.terms.quality
        every = self.of(job.model)
        alike = [
            sample
            for sample in every
            if (sample.n, sample.size, sample.quality) == (job.images_wanted, size, quality)
        ]
        return alike if len(alike) >= ALIKE else list(every)


def _sample(done: Done, outcome: Outcome) -> PastUsage:
    terms = outcome.began.terms if outcome.began else None
    said = done.usage
    usage = Usage() if said is None else Usage(
        said.input_tokens, said.output_tokens, said.total_tokens,
        said.text_tokens, said.image_tokens, said.images, said.cached_tokens,
        said.reasoning_tokens, said.text_output_tokens, said.image_output_tokens,
        said.cached_text_tokens, said.cached_image_tokens, said.svg_input_tokens,
        said.svg_output_tokens,
    )  # fmt: skip
    return PastUsage(
        n=terms.n if terms else max(1, len(done.files)),
        size=terms.size if terms else None,
        quality=terms.quality if terms else None,
        usage=usage,
        pictures=len(done.files),
        seconds=done.seconds,
        sides=tuple((file.width, file.height) for file in done.files),
    )
