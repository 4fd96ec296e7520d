"""Tasks: accepted at once, done after a while, their pictures made when first fetched.

A task's fate (including a fault's) is decided when it is accepted, and with it its charge. With a
folder, tasks outlive the service: a file a task, whole before the task is answered for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal

from pydantic import TypeAdapter

from .orders import Order
from .refusal import not_found

Fate = Literal["succeeds", "task_failed", "task_stuck", "task_unknown_status", "task_vanished"]
Status = Literal["submitted", "processing", "succeed", "failed", "on_hold"]

_MESSAGES: dict[Status, str] = {
    "submitted": "任务已接收,等待处理",
    "processing": "任务正在处理中",
    "succeed": "成功",
    "failed": "rehearsed failure: the picture did not pass risk control",
    "on_hold": "rehearsed status that the page does not name",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One accepted Order, its pictures put aside: its id, when it was made (Unix s) and how long
    it takes (s). `moves`: its edits do not stay where their source was."""

    id: str
    order: Order
    plan: str
    warnings: tuple[str, ...]
    created: float
    seconds: float
    fate: Fate = "succeeds"
    moves: bool = False
    made: dict[int, Path] = field(default_factory=dict)

    def status(self, now: float) -> Status:
        """How far the task is at `now`."""
        age = now - self.created
        if age < self.seconds / 3:
            return "submitted"
        if age < self.seconds or self.fate == "task_stuck":
            return "processing"
        if self.fate == "task_unknown_status":
            return "on_hold"
        return "failed" if self.fate == "task_failed" else "succeed"

    def message(self, now: float) -> str:
        """The status in words."""
        return _MESSAGES[self.status(now)]

    @property
    def images(self) -> int:
        """How many pictures it makes; none if it never succeeds."""
        return self.order.n if self.fate == "succeeds" else 0


_TASK = TypeAdapter(Task)


class Tasks:
    """All tasks, by id; thread-safe. `folder`: where they are kept for the next service."""

    def __init__(self, folder: Path | None = None) -> None:
        self._lock = Lock()
        self._folder = folder
        self._last = 0
        self._tasks: dict[str, Task] = {}
        for path in sorted(folder.glob("image-*.json")) if folder else ():
            task = _TASK.validate_json(path.read_bytes())
            self._tasks[task.id] = task

    def new_id(self, now: float) -> str:
        """An id of the provider's form that no other task of this service has."""
        with self._lock:
            self._last = max(self._last + 1, int(now * 1e6) * 1000)
            return f"image-{self._last:019d}-1383010xxx"

    def add(self, task: Task) -> None:
        """Keep a task."""
        if self._folder is not None:
            path = self._folder / f"{task.id}.json"
            part = path.with_suffix(".part")
            part.write_bytes(_TASK.dump_json(task, exclude={"made"}))
            part.replace(path)
        with self._lock:
            self._tasks[task.id] = task

    def get(self, task_id: str, now: float) -> Task:
        """The task with this id; a 404 if there is none, or its fate is to vanish."""
        task = self._tasks.get(task_id)
        if task is None or (task.fate == "task_vanished" and task.status(now) != "submitted"):
            raise not_found(f"task {task_id[:100]!r}")
        return task
