"""`retouch explain`: what the rehearsal service would make of a prompt."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from retouch.cli.output import json_text
from retouch.errors import Refused
from retouch.text import one_clean_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("prompt", help="a prompt, in Chinese or English")
    parser.add_argument("--images", type=int, default=1, metavar="N", help="with N input pictures")
    parser.add_argument("--masked", action="store_true", help="with a mask")
    parser.add_argument("--json", action="store_true", help="print for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan, a step a line, and what was not understood; exit code 0."""
    try:
        from retouch_rehearsal.understanding import understand  # noqa: PLC0415  an extra's part
    except ImportError as error:
        raise Refused(
            f"the rehearsal service is not installed ({error.name} is missing)",
            hint="pip install 'retouch[rehearsal]'",
        ) from error
    plan = understand(arguments.prompt, images=arguments.images, is_masked=arguments.masked)
    if arguments.json:
        document = {
            "steps": [asdict(step) for step in plan.steps],
            "warnings": list(plan.warnings),
        }
        print(json_text(document))
        return 0
    for number, step in enumerate(plan.steps, start=1):
        print(one_clean_line(f"{number}. {step}"))
    for warning in plan.warnings:
        print(one_clean_line(f"warning: {warning}"))
    return 0
