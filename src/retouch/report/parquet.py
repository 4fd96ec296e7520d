"""Rows as a Parquet file: amounts as decimals, counts as integers (extra `parquet`)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retouch.report.rows import AMOUNTS, Plain, Value

_AMOUNT = pa.decimal128(38, 18)  # 12 decimals of a price a million are 18 of a token


def write_parquet(rows: list[Plain], path: Path) -> None:
    """Write the rows; raises OSError. An empty review is a file without columns."""
    names = list(rows[0]) if rows else []
    columns = {name: [_value(name, row[name]) for row in rows] for name in names}
    schema = pa.schema([(name, _type(name, columns[name])) for name in names])
    pq.write_table(pa.table(columns, schema=schema), path)


def _type(name: str, values: list[Value | Decimal]) -> pa.DataType:
    if name in AMOUNTS:
        return _AMOUNT
    return pa.int64() if any(isinstance(value, int) for value in values) else pa.string()


def _value(name: str, value: Value) -> Value | Decimal:
    return Decimal(value) if name in AMOUNTS and isinstance(value, str) else value
