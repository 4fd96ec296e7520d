"""`retouch serve`: the rehearsal service as a real server on this machine, for any client."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from retouch.errors import InputRefused, Refused

if TYPE_CHECKING:
    from retouch_rehearsal.faults import Faults
    from retouch_rehearsal.server import ServerSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free port")
    parser.add_argument("--host", default="127.0.0.1", help="another needs --yes-expose too")
    parser.add_argument(
        "--yes-expose", action="store_true", help="really listen beyond this machine"
    )
    parser.add_argument("--key", help="the only key to accept; default: any but real-looking ones")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="what goes wrong (YAML)")
    parser.add_argument("--book", type=Path, metavar="FILE", help="keep the book of charges here")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="URL=DIR",
        help="answer input URLs below URL from DIR; may be repeated",
    )
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="enforce a rate limit")
    parser.add_argument(
        "--seconds-per-task", type=float, default=2.0, metavar="S", help="how long a task takes"
    )
    parser.add_argument(
        "--seconds-valid", type=float, default=15 * 24 * 3600.0, metavar="S",
        help="how long a result's URL lasts",
    )  # fmt: skip
    parser.add_argument(
        "--max-body", type=int, default=64, metavar="MB", help="larger request bodies get a 413"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; exit code 0."""
    # Here, not above: OpenCV and the server cost half a second that no other command should pay.
    try:
        from retouch_rehearsal.server import serve  # noqa: PLC0415
    except ImportError as error:  # the service is an extra
        raise Refused(
            f"the rehearsal service is not installed ({error.name} is missing)",
            hint="pip install 'retouch[rehearsal]'",
        ) from error
    settings = _options(arguments)
    try:
        serve(settings, _announce)
    except OSError as error:
        raise Refused(f"cannot serve on {settings.host}:{settings.port}: {error}") from error
    except ValueError as error:
        raise InputRefused(str(error)) from error
    return 0


def _options(arguments: argparse.Namespace) -> ServerSettings:
    """How to serve. Raises InputRefused for flags out of their range, and for a host that opens
    the service to the network unasked."""
    from retouch_rehearsal import Settings  # noqa: PLC0415  as in `run`
    from retouch_rehearsal.server import ServerSettings, is_loopback  # noqa: PLC0415
    from retouch_rehearsal.traffic import Caps  # noqa: PLC0415

    if not is_loopback(arguments.host) and not arguments.yes_expose:
        raise InputRefused(
            f"--host {arguments.host} would open the service to the network",
            hint="add --yes-expose if that is meant",
        )
    if not 0 <= arguments.port <= 65535:
        raise InputRefused(f"--port {arguments.port}: 0 to 65535")
    if arguments.requests_per_minute is not None and arguments.requests_per_minute < 1:
        raise InputRefused("--requests-per-minute: at least 1")
    if arguments.max_body < 1:
        raise InputRefused("--max-body: at least 1")
    for option in ("seconds_per_task", "seconds_valid"):
        if not 0 <= getattr(arguments, option) < float("inf"):
            raise InputRefused(f"--{option.replace('_', '-')}: a number of seconds, not negative")
    if arguments.key is not None and arguments.key.startswith("sk-"):
        raise InputRefused("--key: looks like a real key", hint="take any other word")
    return ServerSettings(
        host=arguments.host,
        port=arguments.port,
        book=arguments.book,
        service=Settings(
            api_key=arguments.key,
            faults=_faults(arguments.faults),
            url_map=dict(_mapping(text) for text in arguments.map),
            requests_per_minute=arguments.requests_per_minute,
            seconds_per_task=arguments.seconds_per_task,
            seconds_valid=arguments.seconds_valid,
            caps=Caps(body=arguments.max_body * 1024 * 1024),
        ),
    )


def _announce(base_url: str) -> None:
    print(f"retouch rehearsal service on {base_url}", file=sys.stderr, flush=True)


def _faults(path: Path | None) -> Faults:
    from retouch_rehearsal.faults import Faults  # noqa: PLC0415  as in `run`

    if path is None:
        return Faults()
    try:
        return Faults.parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefused(f"{path}: cannot be read: {error}") from error
    except ValueError as error:
        raise InputRefused(f"{path}: {error}") from error


def _mapping(text: str) -> tuple[str, Path]:
    url, _, folder = text.rpartition("=")
    if not url.lower().startswith(("http://", "https://")) or not folder:
        raise InputRefused(f"--map {text}: write it as https://host/path=FOLDER")
    path = Path(folder)
    if not path.exists():
        raise InputRefused(f"--map {text}: there is no {folder}")
    return url, path
