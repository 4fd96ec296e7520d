"""The costs page says what `report` says; each number leads to its jobs."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord
from retouch.review.charts import Spent, bars_of, cumulative_of
from tests.support.albums import Album
from tests.support.browser import Browser
from tests.support.ledgers import FIRST, GEMINI, KLING, begins, done, started, unknown, write


def tiles(page: Browser, currency: str) -> dict[str, str]:
    found: dict[str, str] = page.script(
        "return Object.fromEntries([...document.querySelectorAll("
        "`section[aria-label=${given[0]}] .tiles div`)].map(e => [e.querySelector('dt')"
        ".textContent, e.querySelector('dd').firstChild.textContent]))",
        currency,
    )
    return found


def test_tiles_are_the_reports_figures(
    common: Album, page: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    """Confirmed, at most, budget left: to the cent what `report --json` says."""
    assert main(["report", str(common.manifest), "--outputs", str(common.outputs), "--json"]) == 0
    (totals,) = json.loads(capsys.readouterr().out)["totals"]
    confirmed, high = (Decimal(totals[name]) for name in ("confirmed", "unknown_high"))
    page.open(common.costs)
    shown = tiles(page, "CNY")
    assert Decimal(shown["confirmed"]) == round(confirmed, 2)
    assert Decimal(shown["at most"]) == round(confirmed + high, 2)
    assert Decimal(shown["budget left"]) == round(20 - confirmed - high, 2)
    assert page.complaints == []


def test_a_number_leads_to_its_jobs(common: Album, page: Browser) -> None:
    """Key, amount, ledger line and thumbnail of each job behind it; and on to the gallery."""
    page.open(common.costs)
    page.page.get_by_role("link", name="3.26", exact=True).click()
    page.until(lambda: len(page.all("#jobs-body tr")) == 12)
    lines = (common.folder / "ledger.jsonl").read_text("utf-8").splitlines()
    for row in page.all("#jobs-body tr"):
        key, line = row.get_attribute("data-key"), row.get_attribute("data-line")
        record = json.loads(lines[int(line or 0) - 1])
        assert (record["key"], record["event"]) == (key, "done")
        assert f"{record['cost']['amount']} CNY" in row.inner_text()
    page.one("#jobs-body a").click()
    page.until(lambda: page.current().get("key"))
    page.open(f"{common.costs}#charge=unknown")
    assert "≤ 0.600000 CNY" in page.one("#jobs-body").inner_text()


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two currencies over seventy days and three months."""
    records: list[AnyRecord] = [begins()]
    for number in range(70):
        at = FIRST + timedelta(days=number)
        model, currency = (GEMINI, "CNY") if number % 2 else (KLING, "USD")
        ceiling = AmountRecord(amount="1", currency=currency)
        paid = CostRecord(amount="0.5", currency=currency, basis="images", price="p")
        records.append(started(number, at, model=model, ceiling=ceiling))
        if number % 10 == 9:
            records.append(unknown(number, at, model=model, ceiling=ceiling))
        else:
            records.append(done(number, at=at, model=model, cost=paid))
    return write(tmp_path / "mixed" / "ledger.jsonl", records)


def test_two_currencies_are_never_added(mixed: Path, page: Browser) -> None:
    """A group each; weeks where there are more than sixty days; the month before is compared."""
    assert main(["report", str(mixed), "--format", "html"]) == 0
    page.open((mixed.parent / "report" / "costs.html").as_uri())
    assert tiles(page, "CNY")["confirmed"] == "14.00"
    assert tiles(page, "USD")["confirmed"] == "17.50"
    assert tiles(page, "CNY")["at most"] == "21.00"
    assert "change on the month before" in tiles(page, "CNY")
    weeks = page.all("section[aria-label=CNY] h3")[0].inner_text()
    assert weeks == "by week"
    assert page.violations() == []


def test_one_file_needs_no_other(mixed: Path, page: Browser) -> None:
    """`--to` writes the costs as one page: styled, without any script, request or complaint."""
    path = mixed.parent / "alone.html"
    assert main(["report", str(mixed), "--to", str(path)]) == 0
    page.requests.clear()
    page.page.goto(path.as_uri())
    assert "14.00" in page.one("body").inner_text()
    assert (
        page.script("return getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    )
    assert [url for url in page.requests if url != "about:blank"] == [path.as_uri()]
    assert page.complaints == []
    assert page.all("a, script, link, img") == []


def test_bars_stack_to_the_sum() -> None:
    """Heights are to scale, unknown above confirmed; a model beyond the eighth is one of others."""
    models = [f"m{number}" for number in range(10)]
    spent = {("2026-01-01", model): Spent(Decimal(1), Decimal(0)) for model in models}
    spent["2026-01-02", "m0"] = Spent(Decimal(5), Decimal(5))
    bars = bars_of(spent, models, "x").bars
    assert sorted({bar.series for bar in bars if bar.series is not None}) == list(range(8))
    first = [bar for bar in bars if bar.title.startswith("2026-01-01")]
    second = [bar for bar in bars if bar.title.startswith("2026-01-02")]
    assert sum(bar.height for bar in first) == pytest.approx(sum(bar.height for bar in second))
    hatched = next(bar for bar in second if bar.series is None)
    assert hatched.y + hatched.height == pytest.approx(min(b.y for b in second if b is not hatched))


def test_the_cumulative_line_ends_at_the_sum() -> None:
    """From nothing to all that is confirmed; the budget where it belongs."""
    spent = {(f"2026-01-{day:02}", "m"): Spent(Decimal(1), Decimal(0)) for day in (1, 2, 4)}
    chart = cumulative_of(spent, "x", budget=Decimal(6), expected=Decimal(3))
    heights = [float(point.split()[1]) for point in chart.confirmed.removeprefix("M").split(" L")]
    assert heights == sorted(heights, reverse=True)
    assert chart.bound is not None
    assert chart.bound < heights[-1]
    assert chart.expected.endswith(f"{chart.bound:.1f}")
