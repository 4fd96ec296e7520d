"""provenance.parquet: where each picture comes from and what it cost; in every format the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from retouch.export.arrow import AMOUNT
from retouch.export.folder import Summed
from retouch.export.pictures import Provenance
from retouch.plan.annotations import Annotations

NAME = "provenance.parquet"
_GROUP_ROWS = 10_000
SCHEMA = pa.schema(
    [
        ("file", pa.string()), ("key", pa.string()), ("split", pa.string()),
        ("source", pa.string()), ("source_sha256", pa.string()), ("source_bytes", pa.int64()),
        ("original", pa.bool_()), ("prompt", pa.string()), ("prompt_text", pa.string()),
        ("model", pa.string()), ("options", pa.string()), ("sha256", pa.string()),
        ("bytes", pa.int64()), ("width", pa.int64()), ("height", pa.int64()),
        ("cost", AMOUNT), ("currency", pa.string()), ("run", pa.string()),
        ("label", pa.string()), ("labels", pa.list_(pa.string())),
    ]
)  # fmt: skip


class ProvenanceTable:
    """Written row by row, in groups."""

    def __init__(self, file: Summed) -> None:
        self._writer = pq.ParquetWriter(file, SCHEMA, compression="snappy")
        self._rows: list[dict[str, object]] = []

    def add(self, path: str, split: str, facts: Provenance, annotations: Annotations) -> None:
        """One picture; `path` is relative to the data set's folder."""
        self._rows.append(
            {
                "file": path,
                "key": facts.key,
                "split": split,
                "source": facts.source,
                "source_sha256": facts.source_sha256,
                "source_bytes": facts.source_bytes,
                "original": facts.is_original,
                "prompt": facts.prompt,
                "prompt_text": facts.prompt_text,
                "model": facts.model,
                "options": facts.options,
                "sha256": facts.sha256,
                "bytes": facts.bytes,
                "width": facts.width,
                "height": facts.height,
                "cost": facts.cost,
                "currency": facts.currency,
                "run": facts.run,
                "label": annotations.label,
                "labels": list(annotations.labels),
            }
        )
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write the rest and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []


def read_rows(path: Path) -> Iterator[dict[str, object]]:
    """The rows of a data set's provenance, as far as its digest needs them. Raises OSError and
    pyarrow's errors."""
    wanted = ["key", "source", "source_sha256", "sha256", "split", "original", "label", "labels"]
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=_GROUP_ROWS, columns=wanted):
            yield from batch.to_pylist()
