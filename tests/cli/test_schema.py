"""`retouch schema`: valid JSON on stdout and nothing else."""

from __future__ import annotations

import argparse
import json

import pytest

from retouch.cli import schema


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    schema.add_arguments(parser)
    return schema.run(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "title"), [([], "Manifest"), (["manifest"], "Manifest"), (["prices"], "PriceTable")]
)
def test_schema_goes_to_stdout(
    words: list[str], title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schema asked for is printed, the manifest's by default."""
    assert run(*words) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["title"] == title
    assert printed.err == ""
