"""The command line: a file a command; each says its arguments and runs to an exit code.

Data goes to stdout, everything else to stderr. One handler turns errors into messages.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol

from retouch import __version__
from retouch.cli.interrupts import end_undisturbed
from retouch.cli.output import guard_streams, let_stdout_go, say
from retouch.errors import InputRefused, Interrupted, RetouchError, gravest
from retouch.text import fit_for_terminal, one_clean_line, without_secrets

# The help stands here, so that a list of commands imports none of them.
COMMANDS = {
    "plan": "what a run would do and cost, and every problem with the inputs; sends nothing",
    "run": "edit the pictures of a manifest; what is paid for is never paid for again",
    "status": "counts by outcome, cost so far, what is held and why",
    "report": "cost review: by model, prompt, folder, source, day, run; waste; "
    "many ledgers at once",
    "reconcile": "ledgers against the provider's bill: differences by day and model, "
    "and what explains them",
    "resolve": "list what may have been charged without an answer, and settle it",
    "salvage": "keep what is whole of a damaged ledger; what may have come after is held, not sent",
    "review": "look at the pictures, keep or reject them, watch a run; on your own machine alone",
    "verify": "check the ledger's chain, its costs, the pictures' digests; name orphans; prove a "
    "data set",
    "export": "the finished data set: pictures, labels, provenance and a digest, in a trainer's "
    "format",
    "mirror": "bring the mirror in a bucket up to date, and compare it by digest; sends nothing",
    "fetch": "a mirror's ledger and pictures onto this machine, to go on from here",
    "prune": "list pictures that no present job of the manifest owns; --yes moves them to pruned/",
    "schema": "print the JSON Schema of a manifest, for editors that check as you type",
    "init": "write a commented manifest to start from",
    "serve": "run the rehearsal service as a server on this machine (offline, free, real edits)",
    "explain": "show which edits the rehearsal service reads out of a prompt",
}

_NAME_SHOWN = 80
_NAMED_LIKE_SECRETS = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)

EPILOG = """exit codes: 0 all done, 1 ended with jobs failed or held, 2 manifest, input or usage,
3 ledger damaged, 4 refused (key, money, lock, model), 5 storage, 6 budget, 130 interrupted"""


class Command(Protocol):
    """What each module of this package offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


class _Parser(argparse.ArgumentParser):
    """One whose errors no terminal obeys: they repeat words as they were given."""

    def error(self, message: str) -> NoReturn:
        super().error(fit_for_terminal(message))


def entry() -> int:
    """A process that is one command: at its end nothing is searched for garbage, which would take
    a tenth of a short command's time."""
    try:
        return main()
    finally:
        gc.freeze()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (DESIGN §7)."""
    guard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _tell_interrupted()
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`), which is no error.
        let_stdout_go()
        return 0
    except RetouchError as error:
        return _tell(error)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return _tell_defect(error)
        name = one_clean_line(str(error.filename), _NAME_SHOWN)
        return _tell(InputRefused(f"{name}: no file has so long a name"))
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            return _tell_interrupted()
        known = gravest(group)
        return _tell_defect(group) if known is None else _tell(known)
    except Exception as error:
        return _tell_defect(error)
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these words: of commands, only the one they ask for is imported."""
    parser = _Parser(
        prog="retouch",
        description="Edit thousands of images by a manifest, with a ledger of every cent.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"retouch {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    gc.disable()  # start-up: what modules make while they are imported stays
    # No plugin that happens to be installed changes what a manifest means; none is looked for.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    for name, text in COMMANDS.items():
        if asked not in COMMANDS or name == asked:  # no other is made or imported
            one = commands.add_parser(name, help=text, description=text)
        if name == asked:
            command: Command = import_module(f"retouch.cli.{name}")
            command.add_arguments(one)
            one.set_defaults(run=command.run)
    gc.enable()
    return parser


def _tell_interrupted() -> int:
    end_undisturbed()
    return _tell(Interrupted("stopped; nothing is lost"))


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
    import traceback  # noqa: PLC0415 - start-up time

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
