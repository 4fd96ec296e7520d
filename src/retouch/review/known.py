"""What a plan tells the gallery beyond the ledger: where sources lie, what prompts say."""

from __future__ import annotations

from collections.abc import Iterable

from retouch.job import Source
from retouch.pictures.geometry import size_of
from retouch.plan import Plan
from retouch.plan.columns import Columns
from retouch.plan.templates import Template
from retouch.review.gallery import Known, Original, Words


def known_of(plan: Plan) -> Known:
    """The sources and prompts of a plan; also of one with problems, as far as it goes."""
    originals = {source.name: _original(source) for source in plan.inputs}
    prompts = {
        variant.id: variant.text or _said(variant.template)
        for lane in plan.lanes
        for variant in lane.prompts
    }
    return Known(originals, prompts)


def words_of(plan: Plan, keys: Iterable[str]) -> dict[str, Words]:
    """What the Jobs with these Keys are, where the plan has them."""
    wanted = set(keys)
    if not wanted:
        return {}
    return {
        job.key: Words(job.model, job.prompt.id, job.source.name)
        for lane in plan.lanes
        for job in lane.jobs()
        if job.key in wanted
    }


def _original(source: Source) -> Original:
    columns, picture = source.columns, source.picture
    width, height = size_of(columns) or (picture.width, picture.height)
    split = columns.split if isinstance(columns, Columns) else columns.get("split", "")
    label = columns.get("label") or columns.get("labels")
    return Original(picture, width, height, label, split)


def _said(template: Template) -> str:
    """A template as its author wrote it, near enough to be known again."""
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in template.parts)
