"""What a Job asks for, in few words: kept in `started` so that later readers need no manifest.

Three short digests say which part changed when a Source and a Prompt come back under another Key;
the options that a price, an estimate or a check of the result looks at stand beside them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from retouch.job import Job, unsigned
from retouch.ledger.records import TermsRecord

DIGEST_DIGITS = 12


@dataclass(slots=True)
class Observed:
    """The most tokens that a charged Attempt of a model has counted so far."""

    input_tokens: int = 0
    output_tokens_per_image: int = 0

    def take(self, input_tokens: int | None, output_tokens: int | None, images: int) -> None:
        """Take in one charged Attempt that asked for `images` pictures."""
        if input_tokens is not None and input_tokens > self.input_tokens:
            self.input_tokens = input_tokens
        # A division only where it may tell more: of millions, few do.
        if output_tokens is not None and output_tokens > self.output_tokens_per_image:
            each = -(-output_tokens // max(1, images))
            self.output_tokens_per_image = max(self.output_tokens_per_image, each)


def terms_of(job: Job) -> TermsRecord:
    """What `job` asks for."""
    mask = job.source.mask
    pictures = [picture.identity for picture in job.pictures]
    return TermsRecord(
        input=_digest([pictures, mask.identity if mask else None]),
        prompt=prompt_digest(job.prompt.text)[:DIGEST_DIGITS],
        options=_digest([{name: unsigned(value) for name, value in job.options}, job.placement]),
        n=job.terms.n,
        size=job.terms.size,
        quality=job.terms.quality,
        aspect_ratio=job.terms.aspect_ratio,
        replaces=job.redo(-1).key if job.redone else None,
    )


def prompt_digest(text: str) -> str:
    """What a rendered prompt is known by: the SHA-256 of its UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(content: object) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[
        :DIGEST_DIGITS
    ]
