"""One Job seen as a whole: its charged Attempts, where it was done more than once or a Charge of it
is not known."""

from __future__ import annotations

from collections.abc import Iterator

from retouch.ledger.charges import Charge, Posting
from retouch.ledger.records import AnyRecord, Done


class WholeJob:
    """The charged Attempts of one Job, and whether one of them is not known."""

    def __init__(self) -> None:
        self.charged: list[tuple[AnyRecord, Posting]] = []
        self.open: list[Charge] = []
        self.last_done: Done | None = None
        self.is_unsure = False

    def take(self, record: AnyRecord, posting: Posting) -> None:
        """One Charge that was settled, or is known to be one."""
        if posting.former is not None:
            self.charged = [each for each in self.charged if each[1] != posting.former]
        if posting.verdict == "free":
            return
        self.charged.append((record, posting))
        self.is_unsure |= posting.verdict == "charged" and posting.paid is None
        if isinstance(record, Done):
            self.last_done = record

    def leave_open(self, charge: Charge) -> None:
        """One Charge of which nobody knows the end."""
        self.open.append(charge)
        self.is_unsure = True

    def unpriced(self) -> Iterator[Posting]:
        """The Charges of unknown price, which were counted each."""
        for _, posting in self.charged:
            if posting.verdict == "charged" and posting.paid is None:
                yield posting

    def replaced(self) -> Iterator[tuple[Done, Posting]]:
        """The results that a later one took the place of."""
        for record, posting in self.charged:
            if isinstance(record, Done) and record is not self.last_done:
                yield record, posting
