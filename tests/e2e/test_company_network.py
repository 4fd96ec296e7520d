"""A company's network: its own CA behind which the provider stands (CASES C16)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.house import House, served
from tests.e2e.provider_server import serve
from tests.support.authority import authority

FOUR = "  - {model: gemini-2.5-flash-image, limits: {concurrency: 4}}"
CA = "company-ca.pem"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    """A provider with a certificate that the company's CA has signed."""
    made = authority(tmp_path)
    with served(tmp_path, serve, certificate=str(made.server)) as plain:
        place = House(tmp_path, plain.port, f"https://localhost:{plain.port}/v1")
        place.pictures(4)
        yield place


def run(place: House, **variables: str) -> tuple[int, str]:
    """A run to its end in this environment: its exit code and what it said."""
    program = [sys.executable, "-m", "retouch", "run", "manifest.yaml"]
    process = place.start_program(program, variables)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_a_companys_own_ca_is_trusted_as_the_message_says(place: House) -> None:
    """Told at once, and by name, what to set; with that, every picture comes."""
    place.manifest(FOUR)
    code, errors = run(place)
    assert code == 4, errors
    assert "SSL_CERT_FILE=FILE and `provider: {trust_env: true}`" in errors
    assert place.book == []
    place.manifest(FOUR, provider="trust_env: true")
    code, errors = run(place, SSL_CERT_FILE=CA)
    assert code == 0, errors
    assert (place.state.counts(), len(place.book)) == (Counter(done=4), 4)


@pytest.mark.parametrize("named", ["nowhere.pem", "pictures/000.png"])
def test_what_holds_no_certificate_is_refused_by_its_variable(place: House, named: str) -> None:
    """Exit 2; no job is begun."""
    place.manifest(FOUR, provider="trust_env: true")
    code, errors = run(place, SSL_CERT_FILE=named)
    assert code == 2, errors
    assert "SSL_CERT_FILE" in errors
    assert "Traceback" not in errors
    assert (place.posts_begun(), place.book) == (0, [])
