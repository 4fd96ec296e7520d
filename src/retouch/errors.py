"""Everything that can go wrong for a user, as one tree; the class carries the exit code.

RetouchError                 exit 1
  DeadlineReached            exit 1   the time the user gave is over
  InputRefused               exit 2   manifest, table, picture or usage; lists every Problem at once
  LedgerDamaged              exit 3   the ledger cannot be trusted; names file and line
  Refused                    exit 4   key, money, model or lock: retouch will not go on
    LedgerTaken              exit 4   somebody else writes the ledger: nothing more is sent
    WorkRefused              exit 4   no more work is sent; results can still be fetched
  StorageFailed              exit 5   a disk said no; names the path
  BucketFailed               exit 5   a bucket said no; names its address. It stops no job
  BudgetReached              exit 6   going on could pass the budget
  Interrupted                exit 130 the user stopped the run

Foreign exceptions are translated into these where they enter. A message names the place and
what to do; `hint` is printed after a blank line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input: where, what, and what to do about it.

    `line` and `column` count from 1; 0 means the problem has no place inside the file.
    A warning is said but stops nothing.
    """

    file: str
    line: int
    column: int
    what: str
    remedy: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if not self.line else f"{self.file}:{self.line}:{self.column}"
        mark = "warning: " if self.severity == "warning" else ""
        return f"{place}: {mark}{self.what}" + (f"; {self.remedy}" if self.remedy else "")


class RetouchError(Exception):
    """An error the user is told in one clear message, without a traceback.

    As the reason for a stop it `leaves_tasks` at the server to the next run, or lets this one fetch
    what is paid for.
    """

    exit_code: ClassVar[int] = 1
    leaves_tasks: ClassVar[bool] = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DeadlineReached(RetouchError):
    """The time the user gave is over; what is left can be done by another run."""


class InputRefused(RetouchError):
    """The manifest, a table, a picture or the command line is wrong; nothing was sent."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | str, *, hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = () if isinstance(problems, str) else tuple(problems)
        text = problems if isinstance(problems, str) else "\n".join(map(str, self.problems))
        super().__init__(text, hint=hint)


class LedgerDamaged(RetouchError):
    """The ledger was changed, cut or written by a newer retouch; nothing was sent."""

    exit_code = 3


class Refused(RetouchError):
    """Going on would be wrong: the key, the money, the model or another run forbids it."""

    exit_code = 4


class LedgerTaken(Refused):
    """The ledger is not this run's any more; what was in flight is recorded beside it."""


class WorkRefused(Refused):
    """No more is sent, for the server takes or serves no more, or too much is paid in vain; it can
    still be asked for results."""

    leaves_tasks = False


class StorageFailed(RetouchError):
    """The disk refused a write; sending stopped at once and nothing recorded was lost."""

    exit_code = 5


class BucketFailed(RetouchError):
    """A bucket could not be read or written. Not a StorageFailed: what a run keeps, it keeps here,
    so that a bucket alone never ends it."""

    exit_code = 5


class BudgetReached(RetouchError):
    """The next request could pass a budget: the run's, or that of one `model` alone."""

    exit_code = 6
    leaves_tasks = False

    def __init__(self, message: str, *, hint: str = "", model: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.model = model


class Interrupted(RetouchError):
    """The user asked the run to stop."""

    exit_code = 130


def gravest(group: BaseExceptionGroup[BaseException]) -> RetouchError | None:
    """Of the errors of a group that users are told, the one whose exit code is the highest."""
    return max(_told(group), key=lambda error: error.exit_code, default=None)


def _told(group: BaseExceptionGroup[BaseException]) -> Iterator[RetouchError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _told(error)
        elif isinstance(error, RetouchError):
            yield error
