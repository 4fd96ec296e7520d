"""`retouch schema`: the JSON Schema of manifests or price files, to stdout."""

from __future__ import annotations

import argparse
import json

from retouch.manifest.model import manifest_schema, prices_schema

_SCHEMAS = {"manifest": manifest_schema, "prices": prices_schema}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which schema: that of manifests, or that of price files."""
    parser.add_argument(
        "of",
        nargs="?",
        choices=sorted(_SCHEMAS),
        default="manifest",
        help="the kind of file to describe (default: manifest)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the schema; always 0."""
    print(json.dumps(_SCHEMAS[arguments.of](), indent=2))
    return 0
