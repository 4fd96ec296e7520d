"""Task handles: what is recorded of a Task is all that is needed to poll it, on any machine.

A handle is the task's id, or for a queue the path `queue/<app>/requests/<id>`. It never holds a
host or a query: a status URL the server gives is only read for its path, and the poll goes to
the endpoint's own root, so that the key is never sent elsewhere (PROTOCOL §2, trap 6).
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from retouch.dialects.base import Endpoint

_ID = re.compile(r"(?!.*\.\.)(?!\.$)[!-~]{1,512}")
_NOT_IN_IDS = set("/\\?#")
_QUEUE_APP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){0,3}")
_QUEUE_HANDLE = re.compile(r"queue/(?P<app>.+)/requests/(?P<id>[^/]+)", re.DOTALL)
_O1_APP = "fal-ai/kling-image"


def task_id(value: object) -> str | None:
    """`value` as a task's id, or None if it is none that may be recorded and put in a path."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        value = str(value)
    if not isinstance(value, str) or not _ID.fullmatch(value) or _NOT_IN_IDS & set(value):
        return None
    return value


def queue_handle(request_id: object, status_url: object) -> str | None:
    """The handle of a queued request; its app is read from the status URL's path where it fits."""
    known = task_id(request_id)
    if known is None:
        return None
    return f"queue/{_app_in(status_url, known) or _O1_APP}/requests/{known}"


def status_url(task: str, endpoint: Endpoint) -> str:
    """Where to ask how the Task stands; ValueError for a handle no reply could have given."""
    queued = _QUEUE_HANDLE.fullmatch(task)
    if queued and _is_app(queued["app"]) and task_id(queued["id"]):
        request_id = quote(queued["id"])  # no id holds a slash
        return f"{endpoint.root}/queue/{queued['app']}/requests/{request_id}/status"
    if task_id(task) is None:
        raise ValueError("not the id of a task: it was changed since it was recorded")
    return f"{endpoint.base}/images/tasks/{quote(task)}"


def _is_app(app: str) -> bool:
    return ".." not in app and _QUEUE_APP.fullmatch(app) is not None


def _app_in(url: object, request_id: str) -> str | None:
    """The queue's app in a status URL of the form `…/queue/<app>/requests/<id>/status`."""
    if not isinstance(url, str) or len(url) > 2048:
        return None
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    found = _QUEUE_HANDLE.fullmatch(path.removeprefix("/").removesuffix("/status"))
    if found is None or found["id"] != request_id or not _is_app(found["app"]):
        return None
    return found["app"]
