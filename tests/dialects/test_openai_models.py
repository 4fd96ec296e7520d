"""OpenAI's models: what each takes, what is shut down, what drawings and moving pictures cost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from retouch.cli import main
from retouch.costs.pricing import Delivered, cost_at
from retouch.dialects.base import Usage
from retouch.dialects.openai.models import MODELS, SHUT_DOWN, capabilities_of
from retouch.dialects.openai_like.usage import usage_in
from retouch.ledger import read
from retouch.manifest import Price
from retouch.manifest.pricebook import load_prices
from retouch_rehearsal.multipart import read_form

ROOT = Path(__file__).parents[2]
MANIFEST = """
version: 1
name: drawn
provider: {{dialect: openai, api_key_env: null{provider}}}
inputs: [{{glob: a.png}}]
prompts: [{{id: warm, template: Make it warmer}}]
{more}models:
{models}
"""
BY_TOKENS = "currency: USD, input_per_million: 5, output_per_million: 30"
SVG = "svg_input_per_million: 2, svg_output_per_million: 10"


def manifest(folder: Path, *models: str, provider: str = "", more: str = "") -> Path:
    Image.new("RGB", (96, 64), "orange").save(folder / "a.png")
    path = folder / "drawn.yaml"
    lines = "\n".join(f"  - {{{model}}}" for model in models)
    path.write_text(MANIFEST.format(models=lines, provider=provider, more=more))
    return path


def rehearsed(path: Path) -> list[dict[str, Any]]:
    """The `done` records of a rehearsal that went well."""
    outputs = path.parent / "outputs"
    assert main(["run", str(path), "--rehearse", "--outputs", str(outputs)]) == 0
    lines = (outputs / "drawn.rehearsal/ledger.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == "done"]


@pytest.mark.parametrize("model", [*SHUT_DOWN, "gpt-image-1.5-2025-12-16"])
def test_what_is_shut_down_is_said_and_not_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    """Others go on selling it."""
    path = manifest(tmp_path, f"model: {model}, price: {{{BY_TOKENS}}}")
    assert main(["plan", str(path), "--outputs", str(tmp_path / "outputs")]) == 0
    assert "OpenAI shut" in capsys.readouterr().err
    assert not capabilities_of("gpt-image-2").note


@pytest.mark.parametrize(
    ("model", "option", "code"),
    [
        ("gpt-image-2", "response_format: b64_json", 2),
        ("gpt-image-2", "input_fidelity: high", 2),
        ("gpt-image-1-mini", "input_fidelity: high", 2),
        ("gpt-image-1.5", "input_fidelity: high", 0),
        ("gpt-image-2", "quality: max", 2),
        ("gpt-image-2.5-flare-2026-09-08", "quality: max", 0),
        ("gpt-image-2.5-flare", "complexity: high", 2),
        ("gpt-image-2.6-flare", "complexity: high", 0),
        ("gpt-image-2.6-flare", "output_format: svg", 0),
        ("gpt-image-1.5", "output_format: gif", 2),
        ("FLUX.2-dev", "response_format: b64_json", 0),
        ("qwen-image-edit", "num_inference_steps: 20", 0),
    ],
)
def test_each_model_takes_what_the_makers_library_says(
    tmp_path: Path, model: str, option: str, code: int
) -> None:
    """No response_format where it is refused; of others' models nothing is refused."""
    path = manifest(tmp_path, f"model: {model}, options: {{{option}}}, price: {{{BY_TOKENS}}}")
    assert main(["plan", str(path), "--outputs", str(tmp_path / "outputs")]) == code


def test_drawings_and_moving_pictures_are_kept_and_billed_by_their_own_usage(
    tmp_path: Path,
) -> None:
    """SVG has an author besides, who is counted apart: at its price, or the cost is unknown."""
    options = "output_format: svg, svg: {model: gpt-6, reasoning: {effort: low}}"
    path = manifest(
        tmp_path,
        f"model: gpt-image-2.6-flare, id: d, options: {{{options}}}, price: {{{BY_TOKENS}, {SVG}}}",
        f"model: gpt-image-2.6-flare, id: u, options: {{output_format: svg}},"
        f" price: {{{BY_TOKENS}}}",
        "model: gpt-image-2.6-flare, id: m, options: {output_format: gif, frame_count: 3},"
        f" price: {{{BY_TOKENS}}}",
    )
    done = {record["files"][0]["path"].split("/")[1]: record for record in rehearsed(path)}
    kinds = {name: record["files"][0]["media_type"] for name, record in done.items()}
    assert kinds == {"d": "image/svg+xml", "u": "image/svg+xml", "m": "image/gif"}
    usage = done["d"]["usage"]
    drawn = usage["svg_input_tokens"] * 2 + usage["svg_output_tokens"] * 10
    whole = usage["input_tokens"] * 5 + usage["output_tokens"] * 30 + drawn
    assert drawn > 0
    assert Decimal(done["d"]["cost"]["amount"]) == Decimal(whole) / 10**6
    assert done["u"]["cost"] is None
    assert done["m"]["usage"]["svg_output_tokens"] is None
    folder = tmp_path / "outputs/drawn.rehearsal"
    [charge] = read(folder / "ledger.jsonl").open_charges.values()
    assert charge.key == done["u"]["key"]
    with Image.open(folder / done["m"]["files"][0]["path"]) as moving:
        assert moving.n_frames == 3  # type: ignore[attr-defined]
    flags = ["--rehearse", "--outputs", str(tmp_path / "outputs")]
    assert main(["verify", str(path), *flags]) == 0
    assert main(["run", str(path), *flags]) == 0  # nothing is sent again
    assert len(rehearsed(path)) == 3


def test_a_data_set_takes_moving_pictures_as_they_are_and_no_drawings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GIF's bytes are those that were paid for; an SVG is left out and said."""
    path = manifest(
        tmp_path,
        "model: gpt-image-2.6-flare, id: d, options: {output_format: svg}, price: {local: true}",
        "model: gpt-image-2.6-flare, id: m, options: {output_format: gif}, price: {local: true}",
    )
    done = rehearsed(path)
    out = tmp_path / "set"
    words = ["export", str(path), "--rehearse", "--outputs", str(tmp_path / "outputs")]
    assert main([*words, "--to", str(out), "--format", "imagefolder"]) == 1
    said = capsys.readouterr()
    assert "is a drawing (SVG)" in said.out + said.err
    [gif] = [path for path in out.rglob("*") if path.suffix in (".gif", ".svg")]
    moved = next(each["files"][0] for each in done if each["files"][0]["path"].endswith(".gif"))
    assert gif.read_bytes() == (tmp_path / "outputs/drawn.rehearsal" / moved["path"]).read_bytes()


def test_a_rehearsal_edits_with_models_nobody_here_knows(tmp_path: Path) -> None:
    """`--rehearse`, whatever the model: what it takes besides is passed over and said."""
    path = manifest(
        tmp_path,
        "model: qwen-image-edit, options: {num_inference_steps: 20, seed: 7}, price: {local: true}",
        provider=", base_url: 'http://127.0.0.1:9/v1'",
    )
    [done] = rehearsed(path)
    assert done["cost"]["basis"] == "none"


def test_members_of_a_mapping_are_fields_of_their_own() -> None:
    """As the maker's library writes them: svg[model], svg[reasoning][effort]."""
    from retouch.dialects.base import Endpoint, Raw  # noqa: PLC0415
    from retouch.dialects.openai import requests as openai  # noqa: PLC0415
    from retouch.job import Job, Members, Picture, Prompt, Source  # noqa: PLC0415

    picture = Picture("sha256:0", file="a.png", media_type="image/png")
    svg = Members((("model", "gpt-6"), ("reasoning", Members((("effort", "low"),)))))
    job = Job("gpt-image-2.6-flare", Prompt("p", "x"), Source("a", picture), (("svg", svg),))
    request = openai.submit(job, Endpoint("https://api.openai.com/v1"))
    body = b"".join(b"PNG" if isinstance(part, Raw) else part for part in request.body)  # type: ignore[misc]
    assert b'name="svg[model]"' in body
    assert b'name="svg[reasoning][effort]"' in body
    fields, _ = read_form(dict(request.headers)["content-type"], bytearray(body))
    assert fields["svg"] == {"model": "gpt-6", "reasoning": {"effort": "low"}}


def test_the_price_file_prices_openais_models_by_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dated, each with its source; loads, plans, and prices each kind apart."""
    text = (ROOT / "manifests/prices.example.yaml").read_text("utf-8")
    (tmp_path / "prices.yaml").write_text(text)
    models = [name for name in MODELS if not name.startswith(("gpt-image-2.6", "chatgpt"))]
    path = manifest(
        tmp_path, *(f"model: {model}, id: m{i}" for i, model in enumerate(models)),
        more="prices: prices.yaml\n",
    )  # fmt: skip
    assert main(["plan", str(path), "--outputs", str(tmp_path / "outputs"), "--json"]) == 0
    lanes = json.loads(capsys.readouterr().out)["lanes"]
    # Of what is dated to end nothing ends yet; every lane has a price in dollars.
    assert [lane["cost"]["currency"] for lane in lanes] == ["USD"] * len(models)
    book = load_prices(tmp_path / "prices.yaml")
    assert book
    assert all("\n    source: https://" in block for block in text.split("  - id: openai/")[1:])


KINDS = Price(
    currency="USD",
    text_input_per_million=Decimal(5),
    image_input_per_million=Decimal(8),
    cached_text_input_per_million=Decimal(1),
    cached_image_input_per_million=Decimal(2),
    text_output_per_million=Decimal(10),
    image_output_per_million=Decimal(32),
)


@pytest.mark.parametrize(
    ("cached", "amount"),
    [
        (None, 100 * 5 + 900 * 8),
        ({"cached_tokens": 0}, 100 * 5 + 900 * 8),
        (
            {"cached_tokens": 450,
             "cached_tokens_details": {"text_tokens": 50, "image_tokens": 400}},
            50 * 5 + 50 * 1 + 500 * 8 + 400 * 2,
        ),
        ({"cached_tokens": 450}, None),
    ],
)  # fmt: skip
def test_kinds_of_input_cached_or_not_have_their_own_price(
    cached: dict[str, Any] | None, amount: int | None
) -> None:
    """A cached count without its kinds leaves the cost unknown: it is never guessed."""
    details = {"text_tokens": 100, "image_tokens": 900} | (cached or {})
    document = {
        "usage": {
            "input_tokens": 1000, "output_tokens": 210, "total_tokens": 1210,
            "input_tokens_details": details,
            "output_tokens_details": {"text_tokens": 10, "image_tokens": 200},
        }
    }  # fmt: skip
    warnings: list[str] = []
    usage = usage_in(document, warnings)
    assert not warnings
    cost = cost_at(KINDS, usage, Delivered(1, 1), None, None)
    output = 10 * 10 + 200 * 32
    expected = None if amount is None else Decimal(amount + output) / 10**6
    assert (cost and cost.money.amount) == expected


def test_an_authors_tokens_are_no_part_of_a_price_by_the_picture() -> None:
    """One price for all is for all."""
    price = Price(currency="USD", per_image=Decimal("0.05"))
    cost = cost_at(price, Usage(svg_output_tokens=9), Delivered(1, 1), None, None)
    assert cost is not None
    assert cost.money.amount == Decimal("0.05")
