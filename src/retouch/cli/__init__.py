"""The command line: a file a command; each says its NAME, HELP and arguments, and runs to an exit
code. Data goes to stdout, everything else to stderr. One handler turns errors into messages.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol

from retouch import __version__
from retouch.cli.interrupts import end_undisturbed
from retouch.cli.output import say
from retouch.errors import InputRefused, Interrupted, RetouchError
from retouch.text import fit_for_terminal, without_secrets

COMMANDS = (
    "plan",
    "run",
    "status",
    "report",
    "reconcile",
    "resolve",
    "verify",
    "schema",
    "init",
    "serve",
    "explain",
)

_NAMED_LIKE_SECRETS = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)

EPILOG = """exit codes: 0 all done, 1 ended with jobs failed or held, 2 manifest, input or usage,
3 ledger damaged, 4 refused (key, money, lock, model), 5 storage, 6 budget, 130 interrupted"""


class Command(Protocol):
    """What each module of this package offers."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (DESIGN §7)."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="retouch",
        description="Edit thousands of images by a manifest, with a ledger of every cent.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"retouch {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    # Only the command asked for is imported whole: a run with nothing to do ends at once.
    for name in COMMANDS if not words or words[0] not in COMMANDS else (words[0],):
        command: Command = import_module(f"retouch.cli.{name}")
        one = commands.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    arguments = parser.parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return _tell_interrupted()
    except BrokenPipeError:
        # Whoever read stdout has gone (`| head`): nothing is wrong.
        sys.stderr.close()
        return 0
    except RetouchError as error:
        return _tell(error)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            return _tell_interrupted()
        known = sorted(_known(group), key=lambda error: -error.exit_code)
        return _tell(known[0]) if known else _tell_defect(group)
    except Exception as error:
        return _tell_defect(error)
    return code


def _tell_interrupted() -> int:
    end_undisturbed()
    return _tell(Interrupted("stopped; nothing is lost"))


def _known(group: BaseExceptionGroup[BaseException]) -> Iterator[RetouchError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _known(error)
        elif isinstance(error, RetouchError):
            yield error


def _tell(error: RetouchError) -> int:
    prefix = "" if isinstance(error, InputRefused) and error.problems else "retouch: "
    say(f"{prefix}{error.message}")
    if error.hint:
        say(f"\nhint: {error.hint}")
    return error.exit_code


def _tell_defect(error: BaseException) -> int:
    """Print the traceback of what nobody foresaw, scrubbed; returns Python's own exit code.

    Its last line is the message of whatever failed, which may hold what a server sent, and that
    may hold the key: no secret of the environment is let through.
    """
    from retouch.transport.credentials import secrets_of  # noqa: PLC0415 - start-up time

    hidden = tuple(
        spelling
        for name, value in os.environ.items()
        if _NAMED_LIKE_SECRETS.search(name)
        for spelling in secrets_of(value)
    )
    lines = "".join(traceback.format_exception(error))
    print(fit_for_terminal(without_secrets(lines, hidden)), file=sys.stderr)
    print(
        "retouch: this is a defect of retouch itself; nothing recorded is lost, and the next run "
        "goes on from the ledger",
        file=sys.stderr,
    )
    return 1
