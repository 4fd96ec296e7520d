"""A base URL has one form and one rule, whoever asks: the manifest as it is read, the transport as
it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from retouch.errors import InputRefused, Refused
from retouch.manifest import UnfitURL, base_url, read
from retouch.transport import ApiKey, Connection, endpoint_of

MANIFEST = """
version: 1
name: one
provider: {{base_url: "https://a.example/v1", {place}: {url}{key}}}
inputs: [{{glob: "*.png"}}]
prompts: [{{id: p, template: x}}]
models: [{{model: gpt-image-1}}]
"""


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://api.qnaigc.com/v1", "https://api.qnaigc.com/v1"),
        ("https://api.qnaigc.com/v1/", "https://api.qnaigc.com/v1"),
        ("https://API.qnaigc.com", "https://api.qnaigc.com/v1"),
        ("https://api.qnaigc.com:443//v1//", "https://api.qnaigc.com/v1"),
        (" https://openai.qiniu.com/ ", "https://openai.qiniu.com/v1"),
        ("http://127.0.0.1:8080/gateway", "http://127.0.0.1:8080/gateway/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
        ("https://my_gateway.example./v1", "https://my_gateway.example./v1"),
        ("https://猫.example/v1", "https://猫.example/v1"),
        ("https://ark.example/api/v3/", "https://ark.example/api/v3"),
        ("https://gemini.example/v1beta", "https://gemini.example/v1beta"),
        ("https://gemini.example/v1beta/openai/", "https://gemini.example/v1beta/openai"),
        ("https://edge.example/v1/account/name/openai", "https://edge.example/v1/account/name/openai"),
        ("https://example.com/version2", "https://example.com/version2/v1"),
    ],
)  # fmt: skip
def test_base_urls_come_to_one_form(given: str, base: str) -> None:
    """With and without a slash at its end, it is the same endpoint; `/v1` is added where no
    version stands; what is in its form already stays."""
    assert endpoint_of(given).base == base_url(given.strip()) == base
    assert base_url(base) == base


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("api.qnaigc.com/v1", "does not begin with https://"),
        ("ftp://api.qnaigc.com/v1", "does not begin with https://"),
        ("https:///v1", "names no host"),
        ("https://api..qnaigc.com/v1", "names no host"),
        ("https://.qnaigc.com/v1", "names no host"),
        (f"https://{'a' * 64}.com/v1", "names no host"),
        (f"https://{'猫' * 64}.com/v1", "names no host"),
        (f"https://{'a.' * 130}com/v1", "names no host"),
        ("https://user:canary-pass@api.qnaigc.com/v1", "holds credentials"),
        ("https://api.qnaigc.com/v1?key=canary-query", "has a query"),
        ("https://api.qnaigc.com:notaport/v1", "is no URL"),
        ("https://[::1/v1", "is no URL"),
        ("https://api.qnaigc.com/v1/images/edits", "the address of a call"),
        ("", "does not begin with https://"),
    ],
)
def test_what_is_no_base_url_is_refused(given: str, told: str) -> None:
    """By both, and neither message shows what may be secret in it."""
    with pytest.raises(Refused, match=told) as refused:
        endpoint_of(given)
    with pytest.raises(UnfitURL, match=told) as unfit:
        base_url(given)
    assert "canary" not in f"{refused.value.message} {unfit.value} {unfit.value.remedy}"


@pytest.mark.parametrize(
    ("url", "with_key", "is_refused"),
    [
        ("http://127.0.0.1:8000/v1", True, False),
        ("http://localhost:8000/v1", False, False),
        ("http://a.localhost:8000/v1", True, False),
        ("http://[::1]:8000/v1", True, False),
        ("http://192.168.1.5:8000/v1", False, False),
        ("http://[fd00::5]:8000/v1", False, False),
        ("http://gpu-box:8000/v1", False, False),
        ("http://gpu.internal/v1", False, False),
        ("http://192.168.1.5:8000/v1", True, True),
        ("http://gpu-box:8000/v1", True, True),
        ("http://localhost.example.com/v1", True, True),
        ("http://8.8.8.8/v1", False, True),
        ("http://api.example.com/v1", False, True),
        ("http://169.254.169.254/v1", False, True),
        ("https://api.example.com/v1", True, False),
    ],
)
@pytest.mark.parametrize("place", ["base_url", "fallback_urls"])
def test_plain_http_goes_to_this_machine_or_keyless_to_a_private_one(
    url: str, with_key: bool, is_refused: bool, place: str
) -> None:
    """No key in the clear, no pictures to a public host; what the manifest lets pass, the
    transport does."""
    assert _read_refuses(url, with_key=with_key, place=place) is is_refused
    key = ApiKey("sk-0123456789abcdef") if with_key else None
    base, fallbacks = (url, ()) if place == "base_url" else ("https://a.example/v1", (url,))
    connection = Connection(base_url=base, key=key, fallback_urls=fallbacks)
    if is_refused:
        with pytest.raises(Refused, match="unencrypted"):
            connection.endpoints()
    else:
        assert url in [endpoint.base for endpoint in connection.endpoints()]


def _read_refuses(url: str, *, with_key: bool, place: str) -> bool:
    shown = f'["{url}"]' if place == "fallback_urls" else f'"{url}"'
    text = MANIFEST.format(place=place, url=shown, key="" if with_key else ", api_key_env: null")
    if place == "base_url":
        text = text.replace('base_url: "https://a.example/v1", ', "")
    try:
        read(text.encode(), "m.yaml", Path())
    except InputRefused as refused:
        return any("unencrypted" in problem.what for problem in refused.problems)
    return False
