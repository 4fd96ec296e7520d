"""`retouch review`: look at the pictures, judge them, watch a run."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress

from retouch.cli.ledgers import add_ledger, one_ledger
from retouch.cli.output import say
from retouch.cli.pages import (
    Reviewed,
    Subject,
    costs,
    note_blemishes,
    open_gallery,
    review_ledger,
    subject_of,
)
from retouch.errors import InputRefused, RetouchError
from retouch.money import Money
from retouch.report.waste import WasteKind
from retouch.review.costs import Costs
from retouch.review.document import About
from retouch.review.gallery import NOTHING_KNOWN
from retouch.review.known import known_of, words_of
from retouch.review.live import Following
from retouch.review.marks import Verdict, append_marks, mark_now
from retouch.review.naming import named
from retouch.review.server import ADDRESS, ReviewServer, serve
from retouch.text import how_many

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retouch review`."""
    add_ledger(parser)
    parser.add_argument(
        "--port", metavar="N", type=int, default=PORT, help=f"default {PORT}; 0 is any free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    what = "a key (or its first 12 digits), a source, an output path, a pattern, @FILE"
    parser.add_argument(
        "--reject", metavar="WHAT", nargs="+", default=[], help=f"only mark as rejected: {what}"
    )
    parser.add_argument("--keep", metavar="WHAT", nargs="+", default=[], help="only mark as kept")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, with --reject")


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or write the marks that were named; 0. Raises InputRefused,
    LedgerDamaged, StorageFailed."""
    if not 0 <= arguments.port <= 65_535:
        raise InputRefused(f"--port {arguments.port}: a port is 0 to 65535")
    if arguments.reason and not arguments.reject:
        raise InputRefused("--reason says why something is rejected: name it with --reject")
    found = one_ledger(arguments.ledger, arguments.outputs, rehearse=arguments.rehearse)
    if arguments.reject or arguments.keep:
        subject = Subject(found, "", "")
        return _mark(subject, arguments.reject, arguments.keep, arguments.reason)
    subject = subject_of(found, arguments.outputs, rehearse=arguments.rehearse)
    return _serve(subject, arguments.port, has_browser=not arguments.no_browser)


def _mark(subject: Subject, rejects: list[str], keeps: list[str], reason: str) -> int:
    with open_gallery(subject) as gallery:
        rejected = named(rejects, gallery)
        kept = named(keeps, gallery)
    both = set(rejected) & set(kept)
    if both:
        raise InputRefused(f"{how_many(len(both), 'job')} named by --reject and by --keep")
    verdicts: list[tuple[list[tuple[str, int | None]], Verdict, str]] = [
        (rejected, "reject", reason),
        (kept, "keep", ""),
    ]
    append_marks(
        subject.folder,
        [
            mark_now(key, index, verdict, reason)
            for places, verdict, reason in verdicts
            for key, index in places
        ],
    )
    said = [
        f"{len(each):,} {word}" for each, word in ((rejected, "rejected"), (kept, "kept")) if each
    ]
    say(f"{', '.join(said)}; `retouch run --redo rejected` does again what is rejected")
    return 0


def _serve(subject: Subject, port: int, *, has_browser: bool) -> int:
    plan = subject.plan
    planned = plan.jobs_count if plan else None
    known = known_of(plan) if plan else NOTHING_KNOWN
    following = Following(subject.found.path, known, planned)
    following.refresh()
    gallery = following.gallery
    if plan is not None:
        gallery.learn(words_of(plan, gallery.unnamed()))
    last_run = gallery.last_run
    is_virtual = subject.workspace is not None and subject.workspace.is_rehearsal
    is_virtual |= last_run is not None and last_run.provider == "rehearsal"
    about = About(subject.name, subject.command, is_virtual, planned)

    look = _look_of(subject, following)

    def look_first() -> None:
        with suppress(RetouchError):  # whoever opens a page is told
            look()

    def counted(currency: str, *, of_run: bool) -> Money:
        with following.lock:
            return gallery.counted(currency, of_run=of_run)

    def content() -> Costs:
        following.refresh()
        return costs(subject, look(), counted)

    review = ReviewServer(subject.folder, about, following, content, subject.cache)
    try:
        server = review.open(port)
    except OSError as error:
        raise InputRefused(
            f"--port {port}: {ADDRESS} does not give it ({error.strerror})",
            hint="--port 0 takes any that is free",
        ) from error
    threading.Thread(target=look_first, name="looking", daemon=True).start()
    print(review.url, flush=True)
    say("Ctrl-C ends it")
    if has_browser:
        webbrowser.open(review.url)
    try:
        serve(server, review)
    except KeyboardInterrupt:
        say("ended; every mark is written")
    return 0


def _look_of(subject: Subject, following: Following) -> Callable[[], Reviewed]:
    """Review the ledger as it stands, one at a time; the gallery is told what was found wasted."""
    looking, seen = threading.Lock(), dict[str, frozenset[WasteKind]]()

    def look() -> Reviewed:
        with looking:
            reviewed = review_ledger(subject, following.marks, seen=seen)
        with following.lock:
            note_blemishes(following.gallery, reviewed)
        return reviewed

    return look
