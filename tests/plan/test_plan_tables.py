"""Tables and lists: what rows become, whatever the cells hold."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retouch.errors import Problem
from retouch.plan.tables import TableRow, read_table, read_urls
from tests.support.studio import Studio, jobs

# A busy machine is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def rows_of(folder: Path, name: str, data: bytes) -> list[TableRow | Problem]:
    (folder / name).write_bytes(data)
    return list(read_table(folder / name, name, "image"))


@steady
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5), bom=st.booleans())
def test_csv_gives_back_every_cell(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], bom: bool
) -> None:
    """Quotes, commas, newlines and a BOM are the format's matter, not the cells'; a row of nothing
    is none."""
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([("image", "猫", "x y"), *rows])
    data = written.getvalue().encode("utf-8-sig" if bom else "utf-8")
    found = rows_of(tmp_path_factory.getbasetemp(), "t.csv", data)
    told = [row for row in found if isinstance(row, TableRow)]
    assert [row.values for row in told] == [row for row in rows if any(row)]
    assert {row.header for row in told} <= {("image", "猫", "x y")}


@steady
@given(data=st.binary(max_size=200), suffix=st.sampled_from(["csv", "jsonl", "parquet"]))
def test_any_bytes_are_rows_or_problems(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    """Nothing is raised, whatever a file holds."""
    heads = (b"", b"image,x\n", b'{"image": "a"}\n', b"PAR1")
    folder = tmp_path_factory.getbasetemp()
    found = [row for head in heads for row in rows_of(folder, f"any.{suffix}", head + data)]
    assert found
    assert all(isinstance(row, TableRow) or row.what for row in found)


def test_csv_says_the_line_a_row_begins_on(tmp_path: Path) -> None:
    """Cells with newlines and blank lines do not shift the numbers."""
    found = rows_of(tmp_path, "t.csv", b'image,x\n\na,"1\n2"\n\nb,3\n')
    assert [row.line for row in found if isinstance(row, TableRow)] == [3, 6]


def test_what_a_sheet_saves_beside_its_cells_is_nothing(tmp_path: Path) -> None:
    """CASES C19: empty columns to the right, empty rows below; a cell out there is still told."""
    found = rows_of(tmp_path, "t.csv", b"image,x,,\na,1,,\nb,,,\n,,,\n,,,\n")
    told = [row for row in found if isinstance(row, TableRow)]
    assert [(row.header, row.values) for row in told] == [
        (("image", "x"), ("a", "1")),
        (("image", "x"), ("b", "")),
    ]
    assert len(found) == 2
    wrong = rows_of(tmp_path, "t.csv", b"image,x,,\na,1,,9\n")
    assert [row.what for row in wrong if isinstance(row, Problem)]


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("image,colour\na.png,猫\n".encode("gbk"), True),
        ("image,colour\na.png,café\nb.png,été\nc.png,À la mode\n".encode(), False),
        ("image,colour\na.png,weiß\nb.png,Größe\n".encode(), False),
        ("image,colour\na.png,猫\nb.png,è\n".encode(), False),
        ("image,colour\na.png,кот\nb.png,дом\n".encode(), False),
        (b"image,colour\na.png,white\n", False),
    ],
    ids=["GBK", "French", "German", "Chinese", "Russian", "ASCII"],
)
def test_gbk_that_is_utf_8_by_chance_is_warned_of(
    tmp_path: Path, text: bytes, is_told: bool
) -> None:
    """CASES C12: "make è white" would be sent for 猫, and nobody would know why."""
    found = rows_of(tmp_path, "t.csv", text)
    told = [row for row in found if isinstance(row, Problem)]
    assert [each.severity for each in told] == ["warning"] * is_told
    if is_told:
        assert "reads `è` as UTF-8, and would read `猫` as GBK" in told[0].what
        assert (told[0].line, told[0].column) == (2, 7)


def test_json_lines_give_texts(tmp_path: Path) -> None:
    """Numbers stand as they are, true and false as JSON has them, null is empty."""
    line = {"image": "a.png", "n": 1, "f": 0.5, "b": True, "none": None}
    found = rows_of(tmp_path, "t.jsonl", b"\xef\xbb\xbf" + json.dumps(line).encode() + b"\r\n\n")
    cells = (("image", '"a.png"'), ("n", "1"), ("f", "0.5"), ("b", "true"), ("none", "null"))
    assert found == [TableRow(1, tuple(line), ("a.png", "1", "0.5", "true", ""), cells)]


def test_nested_cells_are_carried_and_are_no_variables(tmp_path: Path) -> None:
    """Lists and objects go on as JSON, beside the texts."""
    found = rows_of(tmp_path, "t.jsonl", b'{"image": "a.png", "objects": {"bbox": [[1, 2, 3, 4]]}}')
    cells = (("image", '"a.png"'), ("objects", '{"bbox":[[1,2,3,4]]}'))
    assert found == [TableRow(1, ("image",), ("a.png",), cells)]


def test_parquet_gives_what_csv_would(tmp_path: Path) -> None:
    """The same rows through the extra."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"image": ["a.png", "b.png"], "n": [1, None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    found = list(read_table(tmp_path / "t.parquet", "t.parquet", "image"))
    header = ("image", "n")
    assert found == [
        TableRow(1, header, ("a.png", "1"), (("image", '"a.png"'), ("n", "1"))),
        TableRow(2, header, ("b.png", ""), (("image", '"b.png"'), ("n", "null"))),
    ]


def test_parquet_names_its_extra_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow the message says what to install."""
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (problem,) = read_table(tmp_path / "t.parquet", "t.parquet", "image")
    assert isinstance(problem, Problem)
    assert "make setup EXTRAS=parquet" in problem.remedy


def test_a_list_of_urls_passes_over_comments_and_blank_lines(tmp_path: Path) -> None:
    """One URL a line, wherever it stands."""
    (tmp_path / "u.txt").write_bytes(
        b"# cats\n\nhttps://a.example/1.png\n  https://a.example/2.png \r\n"
    )
    found = [row for row in read_urls(tmp_path / "u.txt", "u.txt") if isinstance(row, TableRow)]
    assert [(row.line, *row.values) for row in found] == [
        (3, "https://a.example/1.png"),
        (4, "https://a.example/2.png"),
    ]


def test_a_tables_columns_are_variables_and_win_over_built_in_ones(studio: Studio) -> None:
    """Its own label, its own prompt, its mask; the path's columns are there too."""
    studio.make("pics/a.png", None)
    studio.make("t.csv", "image,label,prompt\npics/a.png,Tabby,make it {red}\n")
    plan = studio.plan(
        inputs=[{"table": "t.csv"}], prompts="{prompt} {label} {stem} {parent} {model}"
    )
    (job,) = jobs(plan)
    assert job.prompt.text == "make it {red} Tabby a pics gemini-2.5-flash-image"
    assert dict(job.source.columns)["label"] == "Tabby"


def test_a_signed_url_is_known_by_what_it_shows(studio: Studio) -> None:
    """The name has no query, the digest no signature, the path tells other queries apart."""
    signed = "https://h.example/x/cat.jpg?id=7&e=1763089082&token=abc"
    studio.make(
        "u.txt", f"{signed}\n{signed.replace('abc', 'def')}\nhttps://h.example/x/cat.jpg?id=8\n"
    )
    plan = studio.plan(inputs=[{"urls": "u.txt"}], prompts="{label}")
    first, second = jobs(plan)
    assert first.source.name == "https://h.example/x/cat.jpg"
    assert first.source.picture.digest == "url:https://h.example/x/cat.jpg?id=7"
    assert first.source.picture.url == signed
    assert first.prompt.text == "x"
    assert first.output != second.output
    assert first.output.startswith("images/gemini-2.5-flash-image/p/h.example/x/cat~")
