"""The costs page says what `report` says; each number leads to its jobs."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.cli import main
from retouch.costs.allowance import Allowance, Runway
from retouch.ledger import Reader
from retouch.ledger.records import AmountRecord, AnyRecord, CostRecord
from retouch.money import Money
from retouch.report import Period, Tally
from retouch.report.rows import review_of
from retouch.review.charts import Durations, Spent, bars_of, cumulative_of
from retouch.review.costs import GROUPINGS, Outlook, costs_of
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


def test_tables_fold_what_is_beyond_ten(mixed: Path, page: Browser) -> None:
    """The latest ten days, and the others one click away; every row has its share of the sum."""
    assert main(["report", str(mixed), "--format", "html"]) == 0
    page.open((mixed.parent / "report" / "costs.html").as_uri())
    days = "section[aria-label=CNY] .scroll:has(caption:text('by day'))"
    shown = page.page.locator(f"{days} >> nth=0").locator("tbody th").all_inner_texts()
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == (FIRST + timedelta(days=69)).date().isoformat()
    assert len(shown) == 10
    folded = page.page.locator("section[aria-label=CNY] details:has(caption:text('by day'))")
    assert folded.locator("summary").inner_text() == "25 others"
    assert folded.locator("tbody th").count() == 25
    shares = page.script(
        "return [...document.querySelectorAll('section[aria-label=CNY] table')].filter("
        "e => e.caption?.textContent === 'by prompt').flatMap(e => [...e.querySelectorAll('.bar')])"
        ".map(e => parseFloat(e.getAttribute('aria-label')))"
    )
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_failures_say_what_to_do(common: Album, page: Browser) -> None:
    """By kind, with the command to paste; a number leads to the jobs in the gallery."""
    page.open(common.costs)
    rows = page.page.locator("section:has(#failures-title) tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["content", "1", "retouch", "run", str(common.manifest), "--redo", "failed"],
        ["timeout", "1", "retouch", "resolve", str(common.manifest)],
    ]
    page.page.locator("section:has(#failures-title) a").first.click()
    page.drawn()
    assert page.one("#count").inner_text() == "1 of 19 pictures"
    assert page.one("[data-key]").get_attribute("data-outcome") == "failed"


def test_durations_of_answers_and_of_tasks(common: Album, page: Browser) -> None:
    """One histogram each, with the median and what nine of ten are under; their bars are all."""
    page.open(common.costs)
    captions = page.page.locator("figcaption").all_inner_texts()
    assert [text.split("\n") for text in captions] == [
        [f"{GEMINI} · answered at once · 12", "half under 4.0 s, nine of ten under 6.5 s"],
        [f"{KLING} · by task · 4", "half under 20.0 s, nine of ten under 20.0 s"],
    ]
    counted = page.script(
        "return [...document.querySelectorAll('figure')].map(e => [...e.querySelectorAll("
        "'rect title')].map(t => +t.textContent.split(': ')[1]).reduce((a, b) => a + b))"
    )
    assert counted == [12, 4]


@pytest.mark.parametrize(
    ("lasts", "until", "said"),
    [
        (30, None, ["enough for the 30 jobs left"]),
        (12, "2026-12-03", ["lasts for 12 of 30 jobs left", "until 2026-12-03 at 3.50 a day"]),
        (None, "2026-12-03", ["until 2026-12-03 at 3.50 a day"]),
    ],
)
def test_a_budget_says_how_long_it_lasts(
    mixed: Path, lasts: int | None, until: str | None, said: list[str]
) -> None:
    """What `status` says of it stands below what is left; for no jobs nothing is said."""
    ledger = Reader(mixed)
    tally = Tally(GROUPINGS, Period())
    tally.read(ledger)
    limit = Money(Decimal(30), "CNY")
    for jobs in (30, 0):
        allowance = Allowance("total", limit, Decimal(14), Decimal(7))
        outlook = Outlook(
            limit,
            Money(Decimal(21), "CNY"),
            runway=Runway(allowance, jobs, lasts, Decimal("3.5"), until),
        )
        content = costs_of(review_of(tally), Durations(), outlook=outlook, command="")
        group = next(each for each in content.groups if each.currency == "CNY")
        tile = next(each for each in group.tiles if each.name == "budget left")
        assert (tile.value, tile.note) == ("9.00", "/ 30.00")
        assert [each.text for each in tile.said] == (said if jobs else [])


def test_one_file_needs_no_other(mixed: Path, page: Browser) -> None:
    """`--to` writes the costs as one page: styled, without any script, request or complaint."""
    path = mixed.parent / "alone.html"
    assert main(["report", str(mixed), "--to", str(path)]) == 0
    page.requests.clear()
    page.page.goto(path.as_uri())
    text = page.one("body").inner_text()
    assert "14.00" in text
    assert "half under 2.0 s" in text, "sentences are whole without a script, too"
    assert "{" not in text
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
