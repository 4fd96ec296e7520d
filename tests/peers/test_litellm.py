"""`retouch run` through LiteLLM's proxy into `retouch serve`: the oracle is the service's book."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.peers.peers import PEERS, SOURCES, WITH_ALL, free_port, run, running
from tests.support.serving import serving

KEY = "sk-of-the-proxy"  # it takes no other beginning
FAULTS = "seed: 1\nfaults:\n  - {kind: '504', times: 1}\n"


class Proxy:
    """The proxy's address, and the books of the two services behind it."""

    def __init__(self, base_url: str, roots: dict[str, str]) -> None:
        self.base_url = base_url
        self._roots = roots
        self._seen = dict.fromkeys(roots, 0)

    def charges(self, behind: str = "gpt-image-1.5") -> list[dict[str, Any]]:
        """What the service behind a model has charged since it was last asked."""
        book = httpx.get(f"{self._roots[behind]}/_book", trust_env=False).json()["charges"]
        fresh = book[self._seen[behind] :]
        self._seen[behind] = len(book)
        return list(fresh)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """LiteLLM with its defaults, so with its own retries, before a good service and a lossy one."""
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "faults.yaml").write_text(FAULTS)
    with serving() as good, serving("--faults", str(folder / "faults.yaml")) as lossy:
        roots = {"gpt-image-1.5": good.root, "lossy": lossy.root}
        models = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/gpt-image-1.5",
                    "api_base": f"{root}/v1",
                    "api_key": "rehearsal",
                },
            }
            for name, root in roots.items()
        ]
        settings = {"model_list": models, "general_settings": {"master_key": KEY}}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        root = f"http://127.0.0.1:{(port := free_port())}"
        command = [str(PEERS / "python/bin/litellm"), "--config", str(folder / "config.yaml")]
        with running(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            f"{root}/health/liveliness",
            folder / "log",
            LITELLM_LOCAL_MODEL_COST_MAP="True",  # else it asks the network for prices
            NO_PROXY="127.0.0.1",
        ):
            yield Proxy(f"{root}/v1", roots)


@pytest.mark.parametrize(
    ("inputs", "options", "pictures"),
    [("", "{n: 1}", 1), (WITH_ALL, "{n: 2, output_format: webp, quality: low}", 2)],
)
def test_a_form_goes_through_whole(
    tmp_path: Path, proxy: Proxy, inputs: str, options: str, pictures: int
) -> None:
    """One picture or several with a mask: the ledger has what the service behind counted."""
    sent = run(tmp_path, proxy.base_url, key=KEY, inputs=inputs, options=options)
    assert sent.code == 0, sent.said
    charged = proxy.charges()
    done = sent.ended("done")
    assert len(done) == len(charged) == len(SOURCES)
    assert sum(len(each["files"]) for each in done) == pictures * len(SOURCES)
    for count in ("input_tokens", "output_tokens"):
        assert sum(each["usage"][count] for each in done) == sum(each[count] for each in charged)
    if inputs:  # black of the mask was kept, and white was edited
        assert sent.picture("b").getpixel((90, 32)) == (0, 0, 255)
        assert sent.picture("b").getpixel((5, 32)) != (0, 0, 255)


def test_a_stream_that_the_gateway_cannot_read_is_unknown(tmp_path: Path, proxy: Proxy) -> None:
    """LiteLLM reads no streamed edits: it answers 500 for what was charged. Nothing is sent again,
    and what it may have cost is said."""
    sent = run(tmp_path, proxy.base_url, key=KEY, options="{stream: true, partial_images: 1}")
    assert sent.code == 1
    assert len(proxy.charges()) == len(sent.state.open_charges) == len(SOURCES)
    assert "may have been charged" in sent.said


def test_json_that_the_gateway_does_not_read_is_refused_free(tmp_path: Path, proxy: Proxy) -> None:
    """Its /images/edits reads forms alone: refusals, no charge on either side."""
    sent = run(tmp_path, proxy.base_url, key=KEY, encoding="json")
    assert sent.code == 1
    assert not proxy.charges()
    assert [each["billed"] for each in sent.ended("failed")] == ["no"] * len(SOURCES)


def test_what_the_gateway_bought_again_by_itself_is_said(tmp_path: Path, proxy: Proxy) -> None:
    """The service charged and its answer was lost; LiteLLM sent again unasked. Its reply is of the
    second charge alone, so the first one is said."""
    sent = run(tmp_path, proxy.base_url, key=KEY, model="lossy")
    assert sent.code == 0, sent.said
    charged = proxy.charges("lossy")
    assert len(charged) == len(SOURCES) + 1
    warned = [each for each in sent.ended("done") if any("retr" in w for w in each["warnings"])]
    assert len(warned) == 1
    assert "may have been charged" in str(warned[0]["warnings"])
    assert "may have been charged" in sent.said


def test_a_model_the_gateway_does_not_know_stops_its_lane(tmp_path: Path, proxy: Proxy) -> None:
    """Its 400 names the model: no other job of the lane can do better."""
    sent = run(tmp_path, proxy.base_url, key=KEY, model="gpt-image-99")
    assert sent.code == 4
    assert "gpt-image-99" in sent.said
    assert not proxy.charges()
