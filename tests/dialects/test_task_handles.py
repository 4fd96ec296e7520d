"""Task handles: enough to poll after a restart, and never a way out of the endpoint."""

from __future__ import annotations

import pytest

from retouch.dialects.base import Endpoint
from retouch.dialects.qiniu.tasks import queue_handle, status_url, task_id

ENDPOINT = Endpoint("https://api.example.com/v1")
QUEUE = "queue/fal-ai/kling-image/requests/q-1"


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "x" * 513, ".", "..", "a..b", "a/b", "a\\b", "a?b", "a#b", "a b", "a\nb"),
        *("a\x00b", "图", "\ud800", True, 1.5, [], {}, -1, 2**70),
    ],
)
def test_ids_that_could_leave_their_path_are_no_ids(value: object) -> None:
    """BAD-INPUT 48: missing, empty, too long, with `/`, `..`, newline or what is no id."""
    assert task_id(value) is None
    assert queue_handle(value, None) is None


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("image-1-138xxx", "https://api.example.com/v1/images/tasks/image-1-138xxx"),
        ("a%2e%2e", "https://api.example.com/v1/images/tasks/a%252e%252e"),
        ("a:b@c", "https://api.example.com/v1/images/tasks/a%3Ab%40c"),
        ("x" * 512, "https://api.example.com/v1/images/tasks/" + "x" * 512),
        (42, "https://api.example.com/v1/images/tasks/42"),
    ],
)
def test_an_id_is_escaped_in_its_path(value: object, url: str) -> None:
    """Whatever an id holds, it is one segment."""
    task = task_id(value)
    assert task is not None
    assert status_url(task, ENDPOINT) == url


@pytest.mark.parametrize(
    ("told", "handle"),
    [
        (f"https://api.example.com/{QUEUE}/status", QUEUE),
        (f"https://api.example.com/{QUEUE}/status?token=canary", QUEUE),
        (f"/{QUEUE}/status", QUEUE),
        (
            "https://h/queue/openai/gpt-image-2/requests/q-1/status",
            "queue/openai/gpt-image-2/requests/q-1",
        ),
        ("https://h/queue/../../v2/x/requests/q-1/status", QUEUE),
        ("https://h/queue/a%2f..%2fb/requests/q-1/status", QUEUE),
        ("https://h/queue/a/b/c/d/e/requests/q-1/status", QUEUE),
        ("https://h/queue/openai/gpt-image-2/requests/another/status", QUEUE),
        ("https://h/elsewhere", QUEUE),
        ("https://[", QUEUE),
        ("x" * 5000, QUEUE),
        ("", QUEUE),
        (None, QUEUE),
        (7, QUEUE),
    ],
)
def test_a_status_url_is_read_for_its_path_alone(told: object, handle: str) -> None:
    """The app is taken from a path that fits; host, query and anything odd are not."""
    assert queue_handle("q-1", told) == handle


def test_a_queue_s_handle_is_polled_at_the_endpoint_s_own_root() -> None:
    """No /v1 in the queue's address (PROTOCOL §1, o1)."""
    assert status_url(QUEUE, ENDPOINT) == f"https://api.example.com/{QUEUE}/status"


@pytest.mark.parametrize(
    "task", ["../x", "queue/../x/requests/y", "queue/a/requests/..", "a/b", ""]
)
def test_a_handle_no_reply_gave_is_refused(task: str) -> None:
    """A ledger changed by hand cannot send the key elsewhere."""
    with pytest.raises(ValueError, match="not the id of a task"):
        status_url(task, ENDPOINT)
