"""The provider that breaks off, for a process of its own."""

from __future__ import annotations

import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from tests.proofs.faults.bench import listening
from tests.proofs.faults.instants import INSTANTS, redirect_to
from tests.proofs.faults.provider import Answers, BreakingProvider, Stage


def serve(
    port: Connection[int, int],
    book: Path,
    *,
    instant: str,
    stage: Stage = "submit",
    answers: Answers = "picture",
    redirect: str = "",
) -> None:
    """Say the port and serve until killed."""
    chosen = next(one for one in INSTANTS if one.name == instant)
    if chosen.redirects:
        chosen = replace(chosen, answer=redirect_to(redirect))
    provider = BreakingProvider(stage, chosen, book, answers)
    with listening(provider) as server:
        provider.origin = f"http://127.0.0.1:{server.port}"
        port.send(server.port)
        threading.Event().wait()
