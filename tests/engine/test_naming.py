"""What a person calls a Charge or a Job: a key or its beginning, where no other begins so."""

from __future__ import annotations

import pytest

from retouch.engine.naming import charges_of
from retouch.errors import InputRefused
from retouch.ledger.charges import Charge
from tests.support.ledgers import started

ALIKE = ("abcdef1" + "0" * 57, "abcdef2" + "0" * 57)
AMONG = [Charge(started(number, key=key)) for number, key in enumerate(ALIKE, 1)]


@pytest.mark.parametrize("word", ["abcdef", "abcdef1", ALIKE[1]])
def test_the_beginning_of_a_key_means_one_job_or_none(word: str) -> None:
    """What two keys begin with settles neither."""
    if word == "abcdef":
        with pytest.raises(InputRefused, match="several keys begin so"):
            charges_of([word], AMONG, lambda: ())
    else:
        [chosen] = charges_of([word], AMONG, lambda: ())
        assert chosen.key.startswith(word)
