"""Every refusal of a bill says which file, where in it, what is wrong and what to do."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from collections.abc import Callable

import pytest

from retouch.errors import InputRefused
from retouch.reconcile import reading
from retouch.reconcile.mapping import Mapping, read_mapping
from retouch.reconcile.models import pairs_of
from retouch.reconcile.reading import read_bill

HEAD = "date,model,amount"
NO_WORKBOOK = b"PK\x03\x04 no workbook"


def packed(**files: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "/"), text)
    return data.getvalue()


REFUSED: list[tuple[bytes, str, int, int, str, str]] = [
    # bytes, --columns, line, column, what, remedy
    (b"", "", 1, 1, "no column is known to hold the date or the model or the amount",
     "say which it is by --columns date=...; its columns: "),
    (f"{HEAD}\n".encode(), "", 0, 0, "the bill has no lines", "export it again"),
    (f"a,b\n{HEAD}\n2025-10-02,m,1".encode(), "amount=x", 2, 1, "there is no column `x`",
     "its columns: date, model, amount"),
    (b"date,model,fee,fee\n2025-10-02,m,1,2", "amount=fee", 1, 1,
     "there is more than one column `fee`", "its columns: date, model, fee, fee"),
    (b"date,model,amount,fee\n2025-10-02,m,1,2", "", 1, 1, "`amount` and `fee` may be the amount",
     "say which by --columns amount=..."),
    (b"date,amount\n2025-10-02,1", "", 1, 1, "no column is known to hold the model",
     "say which it is by --columns model=...; its columns: date, amount"),
    (b"date,model\n2025-10-02,m", "", 1, 1, "no column is known to hold the amount",
     "say which it is by --columns amount=...; its columns: date, model"),
    (f"{HEAD}\n2025-10-02,m,1\n\n2025-10-02,m,x".encode(), "", 4, 1,
     "`x` is no number (amount)", "check --columns"),
    (f"{HEAD}\n2025-10-02,m,".encode(), "", 2, 1, "has no figure",
     "check --columns, or take the line out"),
    (f"{HEAD}\n2025-10-02,m,0.1.2".encode(), "", 2, 1, "`0.1.2` is no number (amount)",
     "write it like 1,234.56"),
    (b"date;model;amount\n2025-10-02;m;1,234", "", 2, 1, "`1,234` may be two numbers (amount)",
     "write it like 1234.56"),
    (f"{HEAD}\n02.10.2025,m,1".encode(), "", 2, 1, "`02.10.2025` is no day or time",
     "write 2025-10-02"),
    (f"{HEAD},currency\n2025-10-02,m,$1,CNY".encode(), "", 2, 1, "`$1` is not an amount in CNY",
     "check --columns"),
    (f"{HEAD},currency\n2025-10-02,m,1,XRP".encode(), "", 2, 1, "`XRP` is no currency",
     "write three letters, like CNY"),
    (b"{", "", 0, 0, "is no JSON: Expecting property name", "export it again"),
    (b"{}", "", 0, 0, "is no usage export", ""),
    (packed(a_csv="x", b_csv="y"), "", 0, 0, "is a ZIP of 2 files: a/csv, b/csv",
     "unpack it and name one"),
    (packed(), "", 0, 0, "is a ZIP of 0 files", "unpack it and name one"),
    (gzip.compress(b"x")[:-6], "", 0, 0, "cannot be unpacked: ", "unpack it, or export it again"),
    (packed(xl_workbook="x"), "", 0, 0, "is no workbook that can be read: ", "save it as CSV"),
    (b"PAR1 no Parquet", "", 0, 0, "is no Parquet that can be read: ", "export it again"),
    (f'{HEAD}\n2025-10-02,m,"{"x" * 200_000}'.encode(), "", 2, 1, "is no CSV: field larger", ""),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=[row[4][:40] for row in REFUSED])
def test_a_refusal_says_where_what_and_what_to_do(
    row: tuple[bytes, str, int, int, str, str],
) -> None:
    """The first problem is the one of the bill's own place."""
    data, columns, line, column, what, remedy = row
    with pytest.raises(InputRefused) as refused:
        read_bill("b.csv", data, columns)
    first = refused.value.problems[0]
    assert (first.file, first.line, first.column) == ("b.csv", line, column)
    assert first.what.startswith(what)
    assert first.remedy.startswith(remedy)


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: packed(bill=data.decode())])
def test_what_unpacks_to_more_than_is_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """Up to the last byte that is allowed it is read."""
    data = f"{HEAD}\n2025-10-02,m,1\n".encode()
    monkeypatch.setattr(reading, "UNPACKED_CAP_BYTES", len(data))
    assert len(read_bill("b", pack(data)).lines) == 1
    monkeypatch.setattr(reading, "UNPACKED_CAP_BYTES", len(data) - 1)
    with pytest.raises(InputRefused) as refused:
        read_bill("b", pack(data))
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.column) == ("b", 0, 0)
    assert problem.what == f"unpacks to more than {len(data) - 1} bytes"
    assert problem.remedy == "export a month"


@pytest.mark.parametrize(
    ("module", "data", "extra"),
    [("python_calamine", packed(xl_workbook="x"), "bills"), ("pyarrow", b"PAR1", "parquet")],
)
def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, data: bytes, extra: str
) -> None:
    """And what does without it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputRefused) as refused:
        read_bill("b", data)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.column) == ("b", 0, 0)
    assert problem.what.endswith(f"which needs the extra `{extra}`")
    assert problem.remedy == f"make setup EXTRAS={extra}, or save it as CSV"


def test_no_more_than_twenty_problems_are_told() -> None:
    """In the order of the file."""
    rows = "\n".join(f"2025-10-02,m,x{number}" for number in range(30))
    with pytest.raises(InputRefused) as refused:
        read_bill("b", f"{HEAD}\n{rows}".encode())
    assert [each.line for each in refused.value.problems] == list(range(2, 22))


def test_what_is_saved_of_a_bill_is_read_again_and_said_once_more_wins() -> None:
    """Members of columns and models one by one, the others whole; what says nothing is not
    written."""
    saved = Mapping(
        profile="qiniu", columns={"date": "日期", "amount": "费用"}, models={"a": "b"},
        utc_offset="+08:00", factor="1.06",
    )  # fmt: skip
    assert read_mapping("p.yaml", saved.written().encode()) == saved
    assert "currency" not in saved.written()
    assert "日期" in saved.written()
    assert saved.written().startswith("profile: qiniu\n")
    said = Mapping(columns={"amount": "总价"}, currency="CNY", factor="0.9", quota_per_unit="7")
    over = said.over(saved)
    assert over == Mapping(
        profile="qiniu", columns={"date": "日期", "amount": "总价"}, models={"a": "b"},
        utc_offset="+08:00", currency="CNY", factor="0.9", quota_per_unit="7",
    )  # fmt: skip
    assert Mapping().over(saved) == saved.over(Mapping()) == saved
    assert read_mapping("p.yaml", b"") == Mapping()


@pytest.mark.parametrize("text", [b"columns: 3", b"a: b", b"\xff", b"a: [", b"- 1"])
def test_what_is_no_mapping_is_refused(text: bytes) -> None:
    """With its file, and what writes one."""
    with pytest.raises(InputRefused) as refused:
        read_mapping("p.yaml", text)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.column) == ("p.yaml", 0, 0)
    assert problem.what.startswith("is no mapping of a bill: ")
    assert problem.remedy == "--save-profile writes one"


@pytest.mark.parametrize("factor", ["0", "-1", "x", "inf", "nan"])
def test_a_factor_is_a_number_above_zero(factor: str) -> None:
    """Said with what was written."""
    with pytest.raises(InputRefused, match=f"--factor {factor}: write a number above zero"):
        Mapping(factor=factor).times()
    assert Mapping().times() == 1


@pytest.mark.parametrize("said", ["x", "=x", "x=", " = "])
def test_a_pair_of_models_has_two_sides(said: str) -> None:
    """Blanks are none."""
    with pytest.raises(InputRefused, match=f"--models {said}: write THEIRS=OURS, like openai/x=x"):
        pairs_of([said])
    assert pairs_of([" a = b ", "c=d=e"]) == {"a": "b", "c=d": "e"}
