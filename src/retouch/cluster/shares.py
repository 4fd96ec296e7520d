"""A static split: one shard's share of what the manifest allows, so that all of them together keep
to it without a word between them.

Money is divided exactly and rounded down, places in flight so that the shares add up, rates
equally. A limit of less than one request for each shard cannot be divided: that is refused, for
each shard would send one all the same. Over a window shorter than a minute a share of a rate may be
rounded up by one request a shard; over the minute that a rate is stated for it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import ClassVar

from retouch.cluster.shards import Shard, nth
from retouch.engine.selection import JobStream
from retouch.errors import Problem
from retouch.job import Job
from retouch.manifest import Budget, Limits, Loaded, Model, PayAgain, RunSettings
from retouch.money import EXACT
from retouch.text import one_clean_line

_DIGITS = Decimal("1e-12")  # as finely as a manifest may state an amount
LEAST_LOSSES = 5  # in a row: fewer stop a shard for chance
_RATES = ("requests_per_minute", "images_per_minute", "tokens_per_minute")


class SharedLimits(Limits):
    """One shard's share: kept by the second, too, where that can be, for nobody sees what all the
    shards send at once."""

    keeps_seconds: ClassVar[bool] = True


def divided(loaded: Loaded, shard: Shard) -> Loaded:
    """The manifest with the shard's share of its limits and its money; all else as it is."""
    manifest = loaded.manifest
    models = tuple(
        model.model_copy(
            update={
                "limits": _limits(model.limits, shard),
                "budget": _budget(model.budget, shard.count),
            }
        )
        for model in manifest.models
    )
    shared = manifest.model_copy(update={"models": models, "run": _settings(manifest.run, shard)})
    return replace(loaded, manifest=shared)


def amount_of(whole: Decimal, shards: int) -> Decimal:
    """A share of an amount of money, rounded down."""
    with localcontext(EXACT):
        return (whole / shards).quantize(_DIGITS, ROUND_DOWN, EXACT).normalize(EXACT)


def _limits(limits: Limits, shard: Shard) -> Limits:
    rates = {name: getattr(limits, name) for name in _RATES}
    shares = {name: rate / shard.count for name, rate in rates.items() if rate is not None}
    places = max(1, nth(limits.concurrency, shard))
    return SharedLimits.model_construct(**{**limits.model_dump(), **shares, "concurrency": places})


def _budget(budget: Budget | None, shards: int) -> Budget | None:
    if budget is None:
        return None
    amounts = {name: getattr(budget, name) for name in ("amount", "total", "per_day")}
    return budget.model_copy(
        update={
            name: amount_of(whole, shards) for name, whole in amounts.items() if whole is not None
        }
    )


def _settings(settings: RunSettings, shard: Shard) -> RunSettings:
    count, update = shard.count, dict[str, object]()
    update["budget"] = _budget(settings.budget, count)
    if settings.confirm_above is not None:
        bound = settings.confirm_above
        share = amount_of(bound.amount, count)
        update["confirm_above"] = bound.model_copy(update={"amount": share})
    if isinstance(settings.on_unknown, PayAgain):
        terms = settings.on_unknown
        up_to = terms.up_to.model_copy(update={"amount": amount_of(terms.up_to.amount, count)})
        update["on_unknown"] = terms.model_copy(update={"up_to": up_to})
    losses = settings.stop_after_losses
    update["stop_after_losses"] = max(min(losses, LEAST_LOSSES), losses // count)
    return settings.model_copy(update=update)


def share_problems(loaded: Loaded, lanes: Sequence[JobStream], shards: int) -> list[Problem]:
    """What of the manifest's limits cannot be divided by so many, and what to do."""
    numbers = {model.name: number for number, model in enumerate(loaded.manifest.models)}
    return [
        loaded.problem(
            ("models", numbers[lane.model.name], "limits"),
            f"{what}, which cannot be divided by {shards:,} shards",
            f"{remedy}; or, if the provider's limit is for each machine, --shards-share all",
        )
        for lane in lanes
        for what, remedy in _undivided(lane, shards)
    ]


def _undivided(lane: JobStream, shards: int) -> Iterator[tuple[str, str]]:
    model = lane.model
    name, limits = one_clean_line(model.name, 60), model.limits
    job = next(iter(lane.jobs()), None)
    needs = _needs(lane, job)
    places = max(1, needs.pop("concurrency"))
    if limits.concurrency < places * shards:
        each = f" of {places} places each" if places > 1 else ""
        yield (
            f"{name} allows {limits.concurrency} requests{each} in flight",
            f"take at most {limits.concurrency // places} shards, or state a higher `concurrency`",
        )
    for rate, least in needs.items():
        whole: float | None = getattr(limits, rate)
        if whole is not None and whole < least * shards:
            yield (
                f"{name} has {rate}: {whole:g}, and a request takes {least:g}",
                f"take at most {max(1, int(whole // least))} shards",
            )


def _needs(lane: JobStream, job: Job | None) -> dict[str, float]:
    """What one request takes of each limit."""
    capabilities = lane.capabilities
    images = job.images_wanted if job else 1
    tokens = 0.0
    if capabilities.tokens is not None:
        pictures = len(job.pictures) if job else 1
        tokens = (
            capabilities.tokens.input_per_image * pictures
            + capabilities.tokens.output_per_image * images
        )
    return {
        "concurrency": (capabilities.slots_per_image * images),
        "requests_per_minute": 1,
        "images_per_minute": images,
        "tokens_per_minute": tokens or 1,
    }


def limits_said(model: Model) -> str:
    """What a shard may send to a model: `2 in flight, 600 requests a minute`."""
    limits = model.limits
    parts = [f"{limits.concurrency} in flight"]
    for rate in _RATES:
        share = getattr(limits, rate)
        if share is not None:
            parts.append(f"{share:,.6g} {rate.partition('_')[0]} a minute")
    return ", ".join(parts)
