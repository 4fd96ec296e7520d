"""Who makes the links to local pictures: the bucket that `publish` names, or a rehearsal itself."""

from __future__ import annotations

from pathlib import Path

from retouch.cli.buckets import buckets_of, settings_of
from retouch.cli.output import say
from retouch.cli.workspace import Workspace
from retouch.engine.links import BucketLinks, Links, RehearsedLinks
from retouch.manifest import RunSettings
from retouch.plan import Plan
from retouch.storage.bucket_url import bucket_url

REHEARSED_ROOT = "https://links.rehearsal.invalid"
MARGIN_SECONDS = 600  # of clocks, and of a queue before the slowest job
LEAST_SECONDS, MOST_SECONDS = 3600, 7 * 86_400


def rehearsed_folder(workspace: Workspace, folder: Path) -> dict[str, Path]:
    """What the rehearsal service answers for links, where there may be some."""
    if workspace.loaded.manifest.publish is None:
        return {}
    links = folder / "links"
    links.mkdir(parents=True, exist_ok=True)
    return {REHEARSED_ROOT: links}


def links_of(workspace: Workspace, plan: Plan, rehearsal_folder: Path) -> Links | None:
    """The maker of links; None where nothing is published. Raises Refused where its bucket cannot
    be reached as it is set up."""
    publish = workspace.loaded.manifest.publish
    if publish is None:
        return None
    if workspace.is_rehearsal:
        return RehearsedLinks(rehearsal_folder / "links", REHEARSED_ROOT)
    url = bucket_url(publish.to)
    slowest = slowest_seconds(workspace.loaded.manifest.run, plan)
    lasting = min(max(slowest + MARGIN_SECONDS, LEAST_SECONDS), MOST_SECONDS)
    if publish.expires is not None:
        lasting = publish.expires
        if lasting < slowest:
            say(
                f"publish: links last {lasting:,} s, and a job may take {slowest:,.0f} s: one that "
                "is fetched late would fail; leave `expires` out"
            )
    bucket = buckets_of(settings_of(workspace.loaded)).at(url)
    return BucketLinks(bucket, url, lasting, allow_loopback=publish.allow_loopback)


def slowest_seconds(settings: RunSettings, plan: Plan) -> float:
    """How long after it was sent a request may still be at work, at most."""
    polls = [lane.model.poll.timeout for lane in plan.lanes if lane.capabilities.kind == "task"]
    return settings.timeout + max(polls, default=0.0)
