"""The figures of a review by DuckDB, over a ledger's raw file: it knows the lines, and nothing of
our Charges. Amounts are DECIMAL(38, 12), so that nothing is rounded.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb

from retouch.money import exact
from retouch.report.rows import Plain

AMOUNT = "struct(amount varchar, currency varchar)"
COLUMNS = {
    "event": "varchar", "at": "timestamp", "run": "varchar", "key": "varchar", "attempt": "int",
    "model": "varchar", "prompt": "varchar", "source": "varchar", "ceiling": AMOUNT,
    "amount": AMOUNT, "cost": AMOUNT, "verdict": "varchar", "billed": "varchar",
    "error": "struct(kind varchar)", "files": "struct(path varchar)[]", "terms": "struct(n int)",
    "usage": "struct(input_tokens int, output_tokens int, total_tokens int, text_tokens int, "
    "image_tokens int, cached_tokens int, reasoning_tokens int, text_output_tokens int, "
    "image_output_tokens int, images int)",
    "provider": "varchar", "tags": "map(varchar, varchar)",
}  # fmt: skip
TOKENS = (
    "input_tokens", "output_tokens", "total_tokens", "text_tokens", "image_tokens",
    "cached_tokens", "reasoning_tokens", "text_output_tokens", "image_output_tokens",
)  # fmt: skip

ATTEMPTS = """
create temp table attempts as
with told as (
    select key, attempt, min("at") filter (event = 'started') as began, any_value(run) as run,
        any_value(model) as model, any_value(prompt) as prompt, any_value(source) as source,
        any_value(ceiling) filter (event = 'started') as ceiling,
        any_value(terms.n) as asked,
        max(line) filter (event = 'done') as done_line,
        count(*) filter (event = 'failed') as failed,
        count(*) filter (event = 'unsent' or (event = 'failed' and billed = 'no')) as free,
        any_value(usage) as usage, any_value(cost) as cost,
        len(any_value(files) filter (event = 'done')) as files,
        any_value(billed) as billed, any_value(error.kind) filter (event = 'failed') as refusal,
        arg_max(verdict, line) filter (event = 'resolved') as verdict,
        arg_max(amount, line) filter (event = 'resolved' and amount is not null) as settled
    from ledger where key is not null and event <> 'reused' group by key, attempt
), judged as (
    select *, coalesce(done_line > 0 or billed = 'yes', false) as answered,
        case when verdict = 'charged' then settled else cost end as paid,
        coalesce(verdict = 'not_charged', false) or free > 0 as is_free
    from told
)
select *, cast(paid.amount as decimal(38, 12)) as confirmed,
    not is_free and paid is null and ceiling is not null as is_open,
    answered and paid is null and ceiling is null as is_unpriced,
    case when not is_free and paid is null then cast(ceiling.amount as decimal(38, 12)) end as high,
    done_line is not null
        and done_line = max(done_line) over (partition by key) as stands,
    bool_or(not is_free and paid is null) over (partition by key) as is_unsure,
    began + to_seconds({offset}) as local
from judged
"""
BEGUN = "coalesce(ceiling.currency, known.currency)"
POSTED = "case when is_unpriced then null else coalesce(paid.currency, ceiling.currency) end"
VALUES = {
    "model": "model", "prompt": "prompt", "run": "attempts.run", "source": "source",
    "day": "strftime(local, '%Y-%m-%d')", "month": "strftime(local, '%Y-%m')",
    "week": "strftime(local, '%G-W%V')", "provider": "runs.provider",
    "folder": "regexp_extract(source, '^(.*)/', 1)",
    "folder:1": "split_part(source, '/', 1)", "label": "split_part(source, '/', -2)",
    "tag:team": "coalesce(runs.tags['team'], '')", "ledger": "'{ledger}'",
}  # fmt: skip
FIGURES = (
    "jobs", "attempts", "free_attempts", "unknown_attempts", "failed_attempts", "unpriced_jobs",
    "images", "kept", *TOKENS,
)  # fmt: skip
SUMS = """
with parts as (
    select {begun} as currency, {values},
        count(*) filter (attempt = 1) as jobs, count(*) as attempts,
        count(*) filter (is_free) as free_attempts, 0 as unknown_attempts,
        sum(failed) as failed_attempts, 0 as unpriced_jobs, 0 as images, 0 as kept,
        {no_tokens}, null as confirmed, null as high, null as sure_paid, null as sure_kept
    from {tables} group by all
    union all by name
    select {posted} as currency, {values},
        count(*) filter (is_open) as unknown_attempts,
        count(distinct key) filter (is_unpriced) as unpriced_jobs,
        sum(coalesce(usage.images, if(done_line is null, 0, files))) filter (answered) as images,
        sum(files) filter (stands) as kept, {tokens},
        sum(confirmed) as confirmed, sum(high) filter (is_open) as high,
        sum(confirmed) filter (not is_unsure) as sure_paid,
        sum(files) filter (stands and not is_unsure) as sure_kept
    from {tables} where not is_free group by all
)
select currency, {names}, {figures},
    coalesce(sum(confirmed), 0), coalesce(sum(high), 0), sum(sure_paid), sum(sure_kept)
from parts group by all
"""
WASTE = """
create temp table wasted as
select kind, key, attempt, coalesce(paid.currency, ceiling.currency) as currency,
    coalesce(confirmed, 0) as amount, coalesce(confirmed, high, 0) as amount_high,
    coalesce(files, 0) as pictures
from attempts, lateral (select unnest([
    if(done_line is not null and not stands, 'replaced', null),
    if(done_line is not null and files < asked, 'fewer_than_asked', null),
    if(billed = 'yes' and refusal = 'content', 'refused_but_billed', null),
    if(verdict = 'charged', 'charged_without_picture', null)
]) as kind) where kind is not null
"""
Amounts = tuple[str | None, ...]


class DuckReview:
    """The figures of one ledger's file; days are those at `offset` seconds from UTC."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._base = duckdb.connect()
        self._ledger = path.parent.name
        self._base.execute(
            "create temp table ledger as select row_number() over () as line, * from "
            "read_json($path, format = 'newline_delimited', columns = $columns, "
            "maximum_object_size = 1000000)",
            {"path": str(path), "columns": COLUMNS},
        )
        self._base.execute(
            "create temp table runs as select run, provider, tags from ledger where event = 'run'"
        )
        self._base.execute(
            "create temp table known as select model, any_value(ceiling.currency) as currency "
            "from ledger where ceiling is not null group by model"
        )
        self._base.execute(ATTEMPTS.format(offset=offset))
        self._base.execute(WASTE)

    def rows(self, grouping: tuple[str, ...]) -> dict[Amounts, dict[str, object]]:
        """By currency and the grouping's values: each count, token and sum that a row states."""
        words = {f"value_{place}": VALUES[word] for place, word in enumerate(grouping)}
        names = ", ".join(words) or "''"
        text = SUMS.format(
            begun=BEGUN, posted=POSTED, names=names,
            values=", ".join(f"{said} as {word}" for word, said in words.items()) or "'' as none",
            tables="attempts left join runs using (run) left join known using (model)",
            tokens=", ".join(f"sum(usage.{each}) filter (answered) as {each}" for each in TOKENS),
            no_tokens=", ".join(f"0 as {each}" for each in TOKENS),
            figures=", ".join(f"coalesce(sum({each}), 0)" for each in FIGURES),
        ).replace("{ledger}", self._ledger.replace("'", "''"))  # fmt: skip
        return {
            (row[0], *row[1 : 1 + len(grouping)]): _figures(row[1 + max(1, len(grouping)) :])
            for row in self._base.execute(text).fetchall()
        }

    def differences(
        self, rows: list[Plain], grouping: tuple[str, ...]
    ) -> dict[Amounts, dict[str, tuple[object, object]]]:
        """Where our rows state another figure than these, or are not there: ours and theirs."""
        ours = dict(same_figures(row, grouping) for row in rows)
        theirs = self.rows(grouping)
        found: dict[Amounts, dict[str, tuple[object, object]]] = {}
        for key in ours.keys() | theirs.keys():
            mine, other = ours.get(key, {}), theirs.get(key, {})
            for name in mine.keys() or other.keys():
                if mine.get(name) != other.get(name):
                    found.setdefault(key, {})[name] = (mine.get(name), other.get(name))
        return found

    def waste(self) -> list[Plain]:
        """Rows as a review's `waste`."""
        return self._waste(
            "kind, currency, count(*)::int as jobs, sum(pictures)::int as pictures", "wasted"
        )

    def waste_total(self) -> list[Plain]:
        """Rows as a review's `waste_total`: no Charge counts twice."""
        return self._waste("currency", "(select distinct on (key, attempt) * from wasted)")

    def _waste(self, columns: str, table: str) -> list[Plain]:
        self._base.execute(
            f"select {columns}, sum(amount) as amount, sum(amount_high) as amount_high "  # noqa: S608 - our own words
            f"from {table} group by all"
        )
        names = [column[0] for column in self._base.description or ()]
        return [
            {
                name: exact(each) if isinstance(each, Decimal) else each
                for name, each in zip(names, row, strict=True)
            }
            for row in self._base.fetchall()
        ]

    def failures(self) -> dict[tuple[str, str], int]:
        """By the kind of error and the event that told of it."""
        rows = self._base.execute(
            "select error.kind, event, count(*) from ledger where error is not null group by all"
        ).fetchall()
        return {(kind, event): count for kind, event, count in rows}

    def count(self, where: str) -> int:
        """How many lines are so."""
        text = f"select count(*) from ledger where {where}"  # noqa: S608 - our own words
        row = self._base.execute(text).fetchone()
        return int(row[0]) if row else 0


def same_figures(row: Plain, grouping: tuple[str, ...]) -> tuple[Amounts, dict[str, object]]:
    """One of our rows as DuckReview states it."""
    amounts = {name: Decimal(str(row[name] or 0)) for name in ("confirmed", "unknown_high")}
    per_kept = row["cost_per_kept"]
    key = tuple(None if row[each] is None else str(row[each]) for each in ("currency", *grouping))
    figures = {name: row[name] for name in FIGURES if name in row}
    return key, {
        **figures, **amounts, "cost_per_kept": None if per_kept is None else Decimal(str(per_kept)),
    }  # fmt: skip


def _figures(found: tuple[object, ...]) -> dict[str, object]:
    counts = {name: int(str(each)) for name, each in zip(FIGURES, found, strict=False)}
    confirmed, high, sure_paid, sure_kept = (
        None if each is None else Decimal(str(each)) for each in found[len(FIGURES) :]
    )
    per_kept = round((sure_paid or Decimal(0)) / sure_kept, 6) if sure_kept else None
    return {**counts, "confirmed": confirmed, "unknown_high": high, "cost_per_kept": per_kept}
