"""Every sum of a review against DuckDB's over the raw file, which knows nothing of Charges."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb

from retouch.ledger import Reader
from retouch.report import Tally
from tests.support.ledgers import begins, many, write

SUMS = """
    select d.model, d.prompt, count(*), sum(len(d.files)),
           sum(cast(d.cost.amount as decimal(38, 9))), sum(d.usage.input_tokens),
           sum(d.usage.output_tokens), sum(d.usage.total_tokens)
    from read_json(?, format = 'newline_delimited') d
    where d.event = 'done' group by all
"""


def test_every_figure_is_duckdbs(tmp_path: Path) -> None:
    """Jobs, pictures, money and tokens by model and prompt, to the last digit."""
    path = write(tmp_path / "ledger.jsonl", [begins(), *many(2000)])
    tally = Tally([("model", "prompt")])
    tally.read(Reader(path))
    found = {
        key[1:]: (
            sums.kept, sums.confirmed, sums.input_tokens, sums.output_tokens, sums.total_tokens
        )
        for key, sums in tally.rows[("model", "prompt")].items()
    }  # fmt: skip
    rows = duckdb.execute(SUMS, [str(path)]).fetchall()
    assert rows
    assert {
        (model, prompt): (kept, Decimal(amount), given, made, whole)
        for model, prompt, _, kept, amount, given, made, whole in rows
    } == found
