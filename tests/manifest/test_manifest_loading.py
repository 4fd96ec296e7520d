"""What a good manifest becomes, and where its parts say they stand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from retouch.errors import InputRefused
from retouch.manifest import Loaded, PayAgain, UnfitURL, base_url, load, load_prices, read
from retouch.manifest.urls import unfit_in_the_clear

EXAMPLE = Path(__file__).with_name("example.yaml")


def manifest_with(*sections: str, **replaced: str) -> Loaded:
    parts = {
        "inputs": "inputs: [{glob: a}]",
        "prompts": "prompts: [{id: p, template: t}]",
        "models": "models: [{model: m}]",
    } | replaced
    text = "\n".join(("version: 1", *parts.values(), *sections))
    return read(text.encode(), "some/where.yaml", Path("some"))


@pytest.fixture(scope="module")
def example() -> Loaded:
    return load(EXAMPLE, dialects={"qiniu"})


def test_the_example_of_the_design_loads(example: Loaded) -> None:
    """Every key of DESIGN's manifest arrives under its own name."""
    manifest = example.manifest
    assert manifest.name == "cats-white"
    assert [part.glob or part.table or part.urls for part in manifest.inputs] == [
        "data/cats/**/*.jpg", "data/cats.csv", "lists/cats.txt",
    ]  # fmt: skip
    assert manifest.inputs[0].mask == "data/masks/{stem}.png"
    assert [prompt.id for prompt in manifest.prompts] == ["white", "watercolor"]
    assert manifest.prompts[0].variables == {"animal": "猫", "sky": ("蓝天白云", "晚霞")}
    assert manifest.models[0].options == {"n": 2}
    assert manifest.models[1].images == "subject_image_list"
    assert manifest.models[1].poll.timeout == 900
    assert manifest.run.on_unknown == "hold"
    assert example.warnings == ()


def test_terms_of_paying_again_are_read(tmp_path: Path) -> None:
    """`on_unknown` as a word or as terms; what an unattended night may cost is exact."""
    path = tmp_path / "m.yaml"
    path.write_text(
        "version: 1\ninputs: [{glob: '*.png'}]\nprompts: [{id: p, template: x}]\n"
        "models: [{model: m, price: {currency: CNY, per_image: 0.2}}]\n"
        "provider: {unbilled_statuses: [502, 503]}\n"
        "run: {on_unknown: {retry: 2, up_to: {amount: 0.30, currency: CNY}}, retry_empty: 1}\n"
    )
    manifest = load(path, dialects={"qiniu"}).manifest
    terms = manifest.run.on_unknown
    assert isinstance(terms, PayAgain)
    assert (terms.retry, terms.up_to.amount, terms.up_to.currency) == (2, Decimal("0.30"), "CNY")
    assert manifest.run.retry_empty == 1
    assert manifest.provider.unbilled_statuses == (502, 503)


def test_loaded_keeps_the_bytes_and_where_they_came_from(example: Loaded) -> None:
    """Text, digest, path and folder are those of the file."""
    assert example.text == EXAMPLE.read_bytes()
    assert example.sha256 == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert (example.path, example.folder) == (EXAMPLE, EXAMPLE.parent)


def test_relative_path_is_made_absolute_but_not_in_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages call the file what the user called it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_bytes(EXAMPLE.read_bytes())
    loaded = load(Path("m.yaml"))
    assert loaded.folder == tmp_path
    assert str(loaded.problem(("name",), "x")).startswith("m.yaml:2:7: x")


def test_money_comes_from_the_digits_written() -> None:
    """No amount passes through a float, however many digits it has."""
    loaded = manifest_with(
        models="models: [{model: m, price: {currency: CNY, per_image: 0.1234567890120}}]",
        run="run: {budget: {amount: 100000000.10, currency: CNY}}",
    )
    price, budget = loaded.manifest.models[0].price, loaded.manifest.run.budget
    assert price is not None
    assert budget is not None
    assert str(price.per_image) == "0.1234567890120"
    assert str(budget.amount) == "100000000.10"


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (("models", 0, "options", "n"), (23, 18)),
        (("models", 0, "options", "size"), (23, 14)),
        (("models", 0, "nothing", "there"), (22, 5)),
        (("models", 7), (22, 3)),
        (("nowhere",), (1, 1)),
        ((), (1, 1)),
    ],
)
def test_problem_finds_the_nearest_place(
    example: Loaded, location: tuple[str | int, ...], place: tuple[int, int]
) -> None:
    """A location that is not in the text gets its nearest ancestor's line and column."""
    problem = example.problem(location, "what", "remedy", "warning")
    assert (problem.line, problem.column, problem.severity) == (*place, "warning")


def test_names_default_to_files_stems() -> None:
    """The manifest's name and a prompt's id come from their files where they are left out."""
    loaded = manifest_with(prompts="prompts: [{file: prompts/oil.v2.txt}]")
    assert loaded.manifest.name == "where"
    assert loaded.manifest.prompts[0].id == "oil.v2"


def test_variables_stand_as_written() -> None:
    """Numbers in variables keep the digits of the text: they go into prompts, not sums."""
    loaded = manifest_with(
        prompts="prompts: [{id: p, template: t, variables: {a: 1.10, b: [7, x, 0.50], n: ''}}]"
    )
    assert loaded.manifest.prompts[0].variables == {"a": "1.10", "b": ("7", "x", "0.50"), "n": ""}


def test_options_are_plain_all_the_way_down() -> None:
    """Lists become tuples and fractions floats, in nested options too."""
    loaded = manifest_with(
        models="models: [{model: m, options: {a: {b: [0.5, {c: null}]}, d: true}}]"
    )
    assert loaded.manifest.models[0].options == {"a": {"b": (0.5, {"c": None})}, "d": True}


@pytest.mark.parametrize(
    "text", ["16:9", "no", "0x1f", "1e3", "1_0", ".nan", "2025-01-01", "null", "~"]
)
def test_quoted_text_is_text(text: str) -> None:
    """What is quoted means what it says."""
    loaded = manifest_with(models=f'models: [{{model: m, options: {{a: "{text}"}}}}]')
    assert loaded.manifest.models[0].options == {"a": text}


def test_keys_are_text_whatever_they_look_like() -> None:
    """`on`, `no` and `y` as keys are not taken for booleans."""
    loaded = manifest_with(models="models: [{model: m, options: {on: 1, no: 2, 3: 4}}]")
    assert loaded.manifest.models[0].options == {"on": 1, "no": 2, "3": 4}


def test_fallback_that_is_no_other_address_is_warned_about() -> None:
    """The same address in another spelling is still the same."""
    loaded = manifest_with(
        "provider: {base_url: 'https://h.example', fallback_urls: ['https://H.example:443/v1/']}"
    )
    (warning,) = loaded.warnings
    assert (warning.severity, warning.line) == ("warning", 5)
    assert "named before" in str(warning)


def test_dialects_are_checked_only_when_named() -> None:
    """Which dialects there are is the caller's to say."""
    assert manifest_with("provider: {dialect: other}").manifest.provider.dialect == "other"


def test_a_byte_order_mark_and_windows_newlines_are_fine() -> None:
    """Files as Windows editors write them load, with the same places."""
    text = b"\xef\xbb\xbf" + EXAMPLE.read_bytes().replace(b"\n", b"\r\n")
    loaded = read(text, "m.yaml", Path())
    assert loaded.problem(("models", 0, "options", "n"), "").line == 23


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://api.qnaigc.com", "https://api.qnaigc.com/v1"),
        ("https://api.qnaigc.com/", "https://api.qnaigc.com/v1"),
        ("https://api.qnaigc.com/v1", "https://api.qnaigc.com/v1"),
        ("https://api.qnaigc.com//v1//", "https://api.qnaigc.com/v1"),
        ("HTTPS://API.qnaigc.com:443/v1", "https://api.qnaigc.com/v1"),
        ("https://h.example:8443", "https://h.example:8443/v1"),
        ("https://ark.example/api/v3", "https://ark.example/api/v3"),
        ("http://localhost:8765", "http://localhost:8765/v1"),
        ("http://127.1.2.3:8765/v1/", "http://127.1.2.3:8765/v1"),
        ("http://[::1]:8765", "http://[::1]:8765/v1"),
    ],
)
def test_base_url_has_one_form(written: str, meant: str) -> None:
    """With or without /v1, slashes and the default port: one address, one spelling."""
    assert base_url(written) == meant
    assert base_url(meant) == meant


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "//h/v1", "ftp://h/v1", "file:///etc/passwd", "https://", "https:///v1",
        "https://user@h", "https://:p@h/v1", "https://h:0x1/v1", "https://h\n/v1", "https://h\\x",
        "https://h#x", "https://h?x", "https://[fe80::1%25eth0]", "https://h h", "https://[::1",
    ],
)  # fmt: skip
def test_unfit_base_urls_are_refused(url: str) -> None:
    """No key leaves for an address that is not https, or http to this machine."""
    with pytest.raises(UnfitURL) as caught:
        base_url(url)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "url",
    [
        "http://h", "http://localhost.evil.example", "http://127.0.0.1.evil.example",
        "http://0.0.0.0", "http://[::ffff:8.8.8.8]", "http://169.254.169.254",
    ],
)  # fmt: skip
def test_no_key_goes_in_the_clear_to_another_machine(url: str) -> None:
    """Whatever the host is called: http with a key is for this machine."""
    assert unfit_in_the_clear(base_url(url), with_key=True) is not None


class TestPriceAt:
    """What a model costs at a moment, whoever states it."""

    PRICES = """
version: 1
prices:
  - {id: old, model: m, currency: CNY, per_image: 0.2, valid_to: 2025-06-30}
  - {id: new, model: m, currency: CNY, per_image: 0.3, valid_from: 2025-07-02}
  - {id: own, model: k, currency: CNY, per_image: 0.4}
"""

    def load(self, folder: Path, models: str) -> Loaded:
        (folder / "p.yaml").write_text(self.PRICES)
        text = (
            "version: 1\ninputs: [{glob: a}]\nprompts: [{id: p, template: t}]\nprices: p.yaml\n"
            f"{models}\nrun: {{budget: {{amount: 5, currency: CNY}}}}\n"
        )
        return read(text.encode(), "m.yaml", folder)

    def test_by_day(self, tmp_path: Path) -> None:
        """Both ends of a price's validity are days on which it holds; between two there is none."""
        loaded = self.load(tmp_path, "models: [{model: m}]")
        days = [datetime(2025, *day, tzinfo=UTC) for day in ((6, 30), (7, 1), (7, 2))]
        found = [loaded.price_at("m", day) for day in days]
        assert [price and price.name for price in found] == ["old", None, "new"]

    @pytest.mark.parametrize(
        ("zone", "begins", "first"),
        [
            ("", "2026-11-01", "2026-11-01T00:00:00+00:00"),
            ('utc_offset: "+08:00"', "2026-11-01", "2026-10-31T16:00:00+00:00"),
            ('utc_offset: "-0330"', "2026-11-01", "2026-11-01T03:30:00+00:00"),
            ('utc_offset: "+08:00"', "2026-11-01T08:00:00Z", "2026-11-01T08:00:00+00:00"),
            ("", "'2026-11-01T08:00:00+08:00'", "2026-11-01T00:00:00+00:00"),
        ],
    )
    def test_days_begin_where_the_price_file_says(
        self, tmp_path: Path, zone: str, begins: str, first: str
    ) -> None:
        """A day of a price begins at midnight of the file's zone; an instant is one."""
        prices = f"""
version: 1
{zone}
prices:
  - {{id: old, model: m, currency: CNY, per_image: 0.2, valid_to: 2026-09-30}}
  - {{id: new, model: m, currency: CNY, per_image: 0.4, valid_from: {begins}}}
"""
        (tmp_path / "p.yaml").write_text(prices)
        found = load_prices(tmp_path / "p.yaml")
        moment = datetime.fromisoformat(first)
        assert found.price_at("m", moment - timedelta(microseconds=1)) is None
        price = found.price_at("m", moment)
        assert price is not None
        assert price.id == "new"

    def test_the_manifest_goes_first(self, tmp_path: Path) -> None:
        """A price in the manifest stands before the price file's."""
        loaded = self.load(
            tmp_path, "models: [{model: k, price: {currency: CNY, per_image: 1.00}}]"
        )
        price = loaded.price_at("k", datetime(2025, 1, 1, tzinfo=UTC))
        assert price is not None
        assert price.per_image == Decimal(1)
        assert loaded.price_at("unheard of", datetime(2025, 1, 1, tzinfo=UTC)) is None

    def test_budget_in_another_currency_than_the_price_file(self, tmp_path: Path) -> None:
        """The price file's currency is held against the budget's."""
        with pytest.raises(InputRefused, match="the price of `m` is in CNY, the budget in USD"):
            self.load(tmp_path, "models: [{model: m, budget: {amount: 1, currency: USD}}]")

    def test_missing_price_file(self, tmp_path: Path) -> None:
        """A price file that is not there is said where it is named."""
        text = b"version: 1\ninputs: [{glob: a}]\nprompts: [{id: p, template: t}]\n"
        text += b"models: [{model: m}]\nprices: none.yaml\n"
        with pytest.raises(InputRefused, match=r"m\.yaml:5:9: `prices`: none\.yaml: no such file"):
            read(text, "m.yaml", tmp_path)
