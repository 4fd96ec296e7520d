"""`run.notify`: from the manifest's words and the environment to a run's notices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from retouch.cli.output import say
from retouch.cli.workspace import Workspace
from retouch.engine.hooks import CommandHook, URLHook
from retouch.engine.notices import Deliver, Notices, Subject
from retouch.manifest import Notify, UnfitURL, hook_url
from retouch.text import is_loopback_name


def notices_of(workspace: Workspace, run_id: str, secrets: tuple[str, ...]) -> Notices | None:
    """The notices that the manifest asks for; None where it asks for none, or none can be sent,
    which is said: it stops no run."""
    setting = workspace.loaded.manifest.run.notify
    deliver = setting and _deliver(setting, workspace, os.environ)
    if not setting or not deliver:
        return None
    part, name = workspace.part, workspace.loaded.manifest.name
    if part.count:
        name = f"{name} (shard {part.index}/{part.count})"
    subject = Subject(name, run_id, secrets)
    return Notices(
        setting.at,
        subject,
        workspace.folder,
        deliver,
        say,
        is_virtual=workspace.is_rehearsal,
        file=f"notified{part.suffix}.json",
    )


def _deliver(
    setting: Notify, workspace: Workspace, environment: Mapping[str, str]
) -> Deliver | None:
    """How a notice goes out. A command is not given the provider's key."""
    provider = workspace.loaded.manifest.provider
    if setting.command:
        theirs = {
            name: value for name, value in environment.items() if name != provider.api_key_env
        }
        return CommandHook(setting.command, theirs)
    try:
        url = hook_url(setting.url or environment.get(setting.url_env or "", "").strip())
    except UnfitURL as error:
        say(f"run.notify: {setting.url_env} {error.what}: nobody is told; {error.remedy}")
        return None
    host = urlsplit(url).hostname or ""
    if workspace.is_rehearsal and not is_loopback_name(host):
        say(f"run.notify: a rehearsal does not leave this machine; {host} is not told")
        return None
    return URLHook(url, provider.trust_env)
