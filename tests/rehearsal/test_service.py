"""The service as the provider's page describes it: replies, tasks, links, refusals, charges."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import jsonschema
import pytest
import trio.testing
from PIL import Image

from retouch_rehearsal import Book, Faults, Settings, create_app, service
from retouch_rehearsal.edits.arrays import Pixels
from retouch_rehearsal.edits.engine import Work, edit
from retouch_rehearsal.openapi import document
from tests.rehearsal.conftest import MAPPED, House
from tests.support.samples import (
    GEMINI,
    HEADERS,
    ROOT,
    decoded,
    edit_body,
    encoded,
    photo,
    pixels_of,
    uri,
)  # fmt: skip

pytestmark = pytest.mark.anyio
on_both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
EDITS, GENERATIONS = "/v1/images/edits", "/v1/images/generations"
QUEUE = "/queue/fal-ai/kling-image/o1"
Saved = Callable[[str, Image.Image], str]


def kling(prompt: str = "画一个漫画", count: int = 2, **more: Any) -> dict[str, Any]:
    names = ("one.png", "two.jpg", "one.png", "two.jpg")
    subjects = [{"subject_image": f"{MAPPED}/{name}"} for name in names[:count]]
    body = {"model": "kling-v2", "image": "", "prompt": prompt, "subject_image_list": subjects}
    return {**body, **more}


def matches(name: str, reply: httpx.Response) -> None:
    """The reply is what the service's own description says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    jsonschema.validate(reply.json(), schema)


@on_both
async def test_a_synchronous_edit(house: House) -> None:
    """Pictures, usage and the plan; charged once, exactly as the reply says."""
    async with house.client() as client:
        reply = await client.post(EDITS, json=edit_body("水彩", n=2))
    assert reply.status_code == 200
    matches("Edited", reply)
    document = reply.json()
    first, second = decoded(document)
    assert first != second
    assert pixels_of(first).shape == (832, 1248, 3)
    usage = document["usage"]
    assert usage["output_tokens"] == 2 * 1290
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    (charge,) = house.book.charges
    assert (charge.images, charge.model, charge.task_id) == (2, GEMINI, None)
    assert charge.total_tokens == usage["total_tokens"]
    assert charge.at == house.now


async def test_the_same_request_gives_the_same_bytes(house: House) -> None:
    """Across two services too."""
    async with house.client() as one, house.client() as other:
        body = edit_body("把猫改成白色,背景改为蓝天白云")
        replies = [await client.post(EDITS, json=body) for client in (one, other)]
    assert decoded(replies[0].json()) == decoded(replies[1].json())


@on_both
async def test_a_task_from_submit_to_picture(house: House) -> None:
    """Submitted, processing, succeed; charged when accepted; the picture behind a signed URL."""
    async with house.client() as client:
        accepted = await client.post(EDITS, json=kling(n=2, aspect_ratio="9:16"))
        assert accepted.status_code == 200
        matches("TaskAccepted", accepted)
        place = f"/v1/images/tasks/{accepted.json()['task_id']}"
        seen = []
        for _ in range(4):
            poll = await client.get(place)
            matches("TaskState", poll)
            seen.append(poll.json()["status"])
            house.now += 10
        assert seen == ["submitted", "processing", "processing", "succeed"]
        state = poll.json()
        assert state["quantity"] == 2
        assert [item["index"] for item in state["data"]] == [0, 1]
        pictures = [await client.get(item["url"]) for item in state["data"]]
        again = await client.get(state["data"][0]["url"])
    assert pixels_of(pictures[0].content).shape == (1344, 768, 3)
    assert pictures[0].content != pictures[1].content
    assert pictures[0].content == again.content
    (charge,) = house.book.charges
    assert (charge.images, charge.task_id) == (2, state["task_id"])


async def test_links_expire_and_cannot_be_forged(house: House) -> None:
    """A 403 as the provider's storage gives it; a new poll signs a new link."""
    async with house.client(seconds_per_task=0.0, seconds_valid=60) as client:
        task = (await client.post(EDITS, json=kling())).json()["task_id"]
        url = (await client.get(f"/v1/images/tasks/{task}")).json()["data"][0]["url"]
        forged = [
            url.replace("0.png", "1.png"), url[:-2], url.partition("?")[0], f"{url}x",
            url.replace("e=", "e=9"), url.replace("e=1", "e=-1"),
        ]  # fmt: skip
        for wrong in forged:
            reply = await client.get(wrong)
            assert reply.status_code == 403, wrong
            assert reply.json() == {"error": "bad token"}
        assert (await client.get(url)).status_code == 200
        house.now += 61
        late = await client.get(url)
        assert late.json() == {"error": "token out of date"}
        fresh = (await client.get(f"/v1/images/tasks/{task}")).json()["data"][0]["url"]
        assert (await client.get(fresh)).status_code == 200


@on_both
async def test_its_own_results_can_be_inputs(house: House) -> None:
    """As the page's own Kling sample does."""
    async with house.client(seconds_per_task=0.0) as client:
        task = (await client.post(EDITS, json=kling())).json()["task_id"]
        url = (await client.get(f"/v1/images/tasks/{task}")).json()["data"][0]["url"]
        body = {**edit_body(), "image": [url, uri(encoded(photo()))]}
        assert (await client.post(EDITS, json=body)).status_code == 200
        house.now += 20 * 24 * 3600
        late = await client.post(EDITS, json=body)
        assert late.status_code == 400
        assert "out of date" in late.json()["error"]["message"]


async def test_single_image_kling_takes_raw_base64(house: House) -> None:
    """Through images/generations, to a task."""
    raw = uri(encoded(photo(320, 320))).partition(",")[2]
    body = {"model": "kling-v1-5", "image": raw, "prompt": "水彩", "image_fidelity": 0.5,
            "image_reference": "subject", "aspect_ratio": "1:1"}  # fmt: skip
    async with house.client(seconds_per_task=0.0) as client:
        accepted = await client.post(GENERATIONS, json=body)
        matches("TaskAccepted", accepted)
        state = await client.get(f"/v1/images/tasks/{accepted.json()['task_id']}")
        picture = await client.get(state.json()["data"][0]["url"])
    assert pixels_of(picture.content).shape == (1024, 1024, 3)


@on_both
async def test_the_o1_queue(house: House) -> None:
    """IN_QUEUE, IN_PROGRESS, COMPLETED, by both URLs."""
    image = uri(encoded(photo(320, 320)))
    body = {"prompt": "水彩", "image_urls": [image, image], "num_images": 2}
    async with house.client() as client:
        queued = await client.post(QUEUE, json=body)
        matches("QueueState", queued)
        assert queued.json()["status"] == "IN_QUEUE"
        house.now += 15
        state = await client.get(queued.json()["status_url"])
        assert state.json()["status"] == "IN_PROGRESS"
        house.now += 15
        state = await client.get(queued.json()["response_url"])
        matches("QueueState", state)
        assert state.json()["status"] == "COMPLETED"
        images = state.json()["result"]["images"]
        assert len(images) == 2
        assert (await client.get(images[1]["url"])).headers["content-type"] == "image/png"


async def test_scene_and_style_references(house: House) -> None:
    """Kling's further pictures change the result."""
    async with house.client(seconds_per_task=0.0) as client:
        results = set()
        for more in (
            {},
            {"scene_image": f"{MAPPED}/two.jpg"},
            {"style_image": f"{MAPPED}/two.jpg"},
        ):
            task = (await client.post(EDITS, json=kling("偏暖", 1, **more))).json()["task_id"]
            state = (await client.get(f"/v1/images/tasks/{task}")).json()
            results.add((await client.get(state["data"][0]["url"])).content)
    assert len(results) == 3


GEMINI_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 0}, "n:"), ({"n": 11}, "n:"), ({"n": "2"}, "n:"), ({"n": 1.5}, "n:"),
    ({"n": True}, "n:"), ({"n": 10**9}, "n:"),
    ({"prompt": ""}, "prompt"), ({"prompt": 5}, "prompt"), ({"prompt": None}, "prompt"),
    ({"image": ""}, "image"), ({"image": []}, "image"), ({"image": None}, "image"),
    ({"image": 5}, "image"), ({"image": "hello"}, "data URI"),
    ({"image": "data:image/png;base64,@@@"}, "base64"),
    ({"image": "https://example.com/a.jpg"}, "cannot be fetched"),
    ({"image": f"{MAPPED}/../../etc/passwd"}, "cannot be"),
    ({"image": f"{MAPPED}/absent.png"}, "cannot be read"),
    ({"image": "file:///etc/passwd"}, "data URI"),
    ({"quality": "best"}, "quality"), ({"background": "red"}, "background"),
    ({"input_fidelity": "medium"}, "input_fidelity"), ({"output_format": "gif"}, "output_format"),
    ({"output_compression": 101}, "output_compression"), ({"size": "big"}, "size"),
    ({"response_format": "file"}, "response_format"),
    ({"stream": "yes"}, "stream"), ({"aspect_ratio": "1:1"}, "Kling"),
    ({"subject_image_list": [{"subject_image": "https://x/"}]}, "Kling"),
    ({"scene_image": "https://x/"}, "Kling"), ({"colour": "red"}, "colour"),
    ({"model": "kling-v1"}, "images/generations"), ({"model": "kling-image-o1"}, "queue"),
]  # fmt: skip
KLING_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": None}, "image"), ({"image": f"{MAPPED}/one.png"}, "subject_image_list"),
    ({"subject_image_list": []}, "subject_image_list"),
    ({"subject_image_list": [{"subject_image": f"{MAPPED}/one.png"}] * 5}, "subject_image_list"),
    ({"subject_image_list": [{}]}, "subject_image"),
    ({"subject_image_list": [{"subject_image": uri(encoded(photo(320, 320)))}]}, "public URL"),
    ({"scene_image": "data:,"}, "public URL"), ({"aspect_ratio": "5:4"}, "aspect_ratio"),
    ({"mask": "https://x/"}, "mask"), ({"size": "1024x1024"}, "size"),
    ({"prompt": "字" * 2501}, "2501"), ({"n": 11}, "n:"),
]  # fmt: skip


async def refused(house: House, path: str, body: dict[str, Any], words: str) -> None:
    async with house.client() as client:
        reply = await client.post(path, json=body)
    assert reply.status_code == 400, reply.text
    matches("Error", reply)
    assert words in reply.json()["error"]["message"]
    assert house.book.charges == []


@pytest.mark.parametrize(("change", "words"), GEMINI_REFUSED, ids=str)
async def test_what_gemini_does_not_take(house: House, change: dict[str, Any], words: str) -> None:
    """Each parameter's type, range and model."""
    await refused(house, EDITS, {**edit_body(), **change}, words)


@pytest.mark.parametrize(("change", "words"), KLING_REFUSED, ids=lambda value: str(value)[:60])
async def test_what_kling_does_not_take(house: House, change: dict[str, Any], words: str) -> None:
    """Each parameter's type, range and model."""
    await refused(house, EDITS, {**kling(), **change}, words)


@pytest.mark.parametrize(
    ("size", "name", "is_taken"),
    [
        ((300, 300), "a.png", True), ((299, 400), "a.png", False), ((750, 300), "a.jpg", True),
        ((753, 300), "a.jpg", False), ((300, 750), "a.png", True), ((300, 753), "a.png", False),
        ((300, 300), "a.webp", False),
    ],
)  # fmt: skip
async def test_klings_picture_limits(
    house: House, saved: Saved, size: tuple[int, int], name: str, is_taken: bool
) -> None:
    """300 pixels a side, between 1:2.5 and 2.5:1, jpg or png."""
    url = saved(name, photo(*size))
    async with house.client() as client:
        reply = await client.post(EDITS, json=kling(subject_image_list=[{"subject_image": url}]))
    assert reply.status_code == (200 if is_taken else 400), reply.text


async def test_parameters_not_yet_supported_are_taken_and_said(house: House) -> None:
    """As the page marks them for Gemini: accepted, without effect, with a warning."""
    async with house.client() as client:
        reply = await client.post(EDITS, json=edit_body(output_format="webp", quality="hd"))
    assert reply.json()["output_format"] == "png"
    warnings = " ".join(reply.json()["rehearsal"]["warnings"])
    assert "output_format" in warnings
    assert "quality" in warnings


async def test_openai_models_honour_format_size_and_background(house: House) -> None:
    """What gpt-image takes is done."""
    body = edit_body("背景换成海滩", model="gpt-image-1", size="512x256", output_format="webp",
                     output_compression=50)  # fmt: skip
    async with house.client() as client:
        reply = (await client.post(EDITS, json=body)).json()
        clear = edit_body("偏暖", model="gpt-image-1", background="transparent")
        cut_out = (await client.post(EDITS, json=clear)).json()
    assert decoded(reply)[0][8:12] == b"WEBP"
    assert pixels_of(decoded(reply)[0]).shape == (256, 512, 3)
    assert decoded(cut_out)[0][25] == 6  # PNG colour type: RGB with alpha


async def test_a_mask_keeps_the_pictures_size(house: House) -> None:
    """So that what is kept can be kept to the byte, over HTTP too."""
    mask = Image.new("L", (96, 64), 0)
    mask.paste(255, (0, 0, 48, 64))
    async with house.client() as client:
        body = edit_body("把墙改成红色", mask=uri(encoded(mask)))
        result = pixels_of(decoded((await client.post(EDITS, json=body)).json())[0])
    assert (result[:, 48:] == pixels_of(encoded(photo()))[:, 48:]).all()


def left_half(width: int, height: int) -> Image.Image:
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (0, 0, width // 2, height))
    return mask


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
async def test_a_mask_keeps_the_bytes_of_a_large_picture(
    house: House, form: str, orientation: int
) -> None:
    """It is edited small, but what is black is the upright original's own, to the byte."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright, sent = photo(2400, 500), photo(2400, 500)
    if orientation == 6:
        sent = sent.transpose(Image.Transpose.ROTATE_90)
    picture = encoded(sent, form, exif=exif, lossless=True)
    body = edit_body("把墙改成红色", picture, mask=uri(encoded(left_half(240, 50))), n=2)
    async with house.client() as client:
        first, second = decoded((await client.post(EDITS, json=body)).json())
    original = pixels_of(encoded(upright))
    for result in map(pixels_of, (first, second)):
        assert result.shape == original.shape
        assert (result[:, 1210:] == original[:, 1210:]).all()
        assert (result[:, :1190] != original[:, :1190]).any(axis=2).mean() > 0.9
    assert first != second


async def test_a_file_that_changes_under_an_edit_is_refused(
    house: House, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one picture and half of another would be a lie; nothing is charged."""
    url = saved("large.png", photo(2400, 500))
    body = edit_body("偏暖", mask=uri(encoded(left_half(240, 50))))

    def edit_and_change(work: Work, index: int) -> Pixels:
        saved("large.png", photo(2400, 500, seed=2))
        return edit(work, index)

    monkeypatch.setattr(service, "edit", edit_and_change)
    async with house.client() as client:
        reply = await client.post(EDITS, json={**body, "image": url})
    assert reply.status_code == 400
    assert "image: the file was changed" in reply.json()["error"]["message"]
    assert house.book.charges == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (edit_body(model="gpt-image-1", n=10, size="2048x2048"), "at most 40,000,000"),
        (edit_body("偏暖", encoded(Image.new("L", (3000, 2700))), model="gpt-image-1",
                   output_format="webp", mask=uri(encoded(left_half(30, 27)))), "a WEBP of"),
    ],
    ids=["too many", "too large for WEBP"],
)  # fmt: skip
async def test_results_past_the_caps(house: House, body: dict[str, Any], words: str) -> None:
    """Said before anything is made."""
    await refused(house, EDITS, body, words)


async def test_explicit_nulls_mean_absent(house: House) -> None:
    """`"mask": null` is no mask."""
    async with house.client() as client:
        body = edit_body(mask=None, n=None, stream=None, size=None)
        assert (await client.post(EDITS, json=body)).status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400), (b"", "application/json", 400),
        (b"[]", "application/json", 400), (b'{"model": NaN}', "application/json", 400),
        (b'{"model": "gemini-2.5-flash-image",}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400), (b"\xff\xfe", "application/json", 400),
        (b"{}", "text/plain", 415), (b"{}", "multipart/form-data", 400),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", 400),
        (b"{}", "application/json", 400),
    ],
)  # fmt: skip
async def test_broken_bodies(house: House, content: bytes, content_type: str, status: int) -> None:
    """The page's own samples hold trailing commas: they are no JSON."""
    async with house.client() as client:
        reply = await client.post(EDITS, content=content, headers={"Content-Type": content_type})
    assert reply.status_code == status
    matches("Error", reply)


async def test_a_wrong_model_name_is_a_503_about_its_price(house: House) -> None:
    """The provider's FAQ: permanent in spite of the status."""
    async with house.client() as client:
        reply = await client.post(EDITS, json=edit_body(model="gemini-9"))
    assert reply.status_code == 503
    assert reply.json()["error"] == {
        "message": "the price of the model is not set (model: gemini-9)",
        "type": "quota_exceeded_error",
    }


async def test_keys(house: House) -> None:
    """One must be given; any will do unless one is set; results want none."""
    async with house.client() as client:
        for headers in (
            {"Authorization": ""},
            {"Authorization": "Bearer "},
            {"Authorization": "x"},
        ):
            reply = await client.post(EDITS, json=edit_body(), headers=headers)
            assert reply.status_code == 401
        assert (await client.get("/v1/models")).json()["data"][0]["id"] == GEMINI
    async with house.client(api_key="right") as client:
        assert (await client.get("/v1/models")).status_code == 401
        right = await client.get("/v1/models", headers={"Authorization": "Bearer right"})
        assert right.status_code == 200


async def test_unknown_paths_tasks_and_methods(house: House) -> None:
    """404 and 405 in the service's shape; the page's doubled /v1 is a mistake of the page."""
    async with house.client() as client:
        for path in ("/nowhere", "/v1/images/tasks/none", "/v1/v1/images/tasks/x"):
            reply = await client.get(path)
            assert reply.status_code == 404
            matches("Error", reply)
        assert (await client.get(EDITS)).status_code == 405


async def test_the_book_tells_everything(house: House) -> None:
    """Charges, totals and every request, with whether it carried a key."""
    async with house.client(seconds_per_task=0.0) as client:
        await client.post(EDITS, json=edit_body())
        task = (await client.post(EDITS, json=kling())).json()["task_id"]
        url = (await client.get(f"/v1/images/tasks/{task}")).json()["data"][0]["url"]
        await client.get(url, headers={"Authorization": ""})
        book = (await client.get("/_book")).json()
    assert book["totals"] == {
        "charges": 2, "images": 2, "tasks": 1, "output_tokens": 1290,
        "input_tokens": house.book.charges[0].input_tokens,
        "total_tokens": house.book.charges[0].total_tokens,
    }  # fmt: skip
    assert [row["path"].partition("/image-")[0] for row in book["requests"]] == [
        EDITS, EDITS, "/v1/images/tasks", "/files",
    ]  # fmt: skip
    assert {row["status"] for row in book["requests"]} == {200}
    assert all("token" not in row["path"] for row in book["requests"])


async def test_the_usage_export(house: House) -> None:
    """What a key was charged, by day or hour, a model an entry; other keys see theirs."""
    async with house.client() as client:
        await client.post(EDITS, json=edit_body())
        house.now += 3600
        await client.post(EDITS, json=edit_body(n=2))
        query = {"granularity": "hour", "start": "2027-01-15T00:00:00Z", "end": "2027-01-16"}
        reply = await client.get("/v2/stat/usage", params=query)
        other = await client.get(
            "/v2/stat/usage", params=query, headers={"Authorization": "Bearer other"}
        )
        for wrong in ({"granularity": "week"}, {"end": "never"}, {"end": "2020-01-01"},
                      {"end": "2027-01-30"}, {"start": ""}):  # fmt: skip
            refusal = await client.get("/v2/stat/usage", params={**query, **wrong})
            assert refusal.status_code == 400
            assert refusal.json()["status"] is False
    matches("Usage", reply)
    (entry,) = reply.json()["data"]
    items = {item["name"]: item for item in entry["items"]}
    assert items["images"]["total"] == 3
    assert items["output_tokens"]["total"] == 3 * 1290
    values = items["images"]["categories"][0]["values"]
    assert len(values) == 24
    assert [value["value"] for value in values if value["value"]] == [1, 2]
    assert other.json()["data"] == []


async def test_faults_that_need_a_socket_are_refused_in_process() -> None:
    """Said when the service is made, not in mid-run."""
    with pytest.raises(ValueError, match="reset_after"):
        create_app(Settings(faults=Faults.parse([{"kind": "reset_after"}])))


async def test_base_urls_with_and_without_v1(tmp_path: Any) -> None:
    """Both forms of the page mean the same service."""
    for base in (ROOT, f"{ROOT}/v1", f"{ROOT}/v1/"):
        app = create_app(Settings(seconds_per_task=0.0), base_url=base, book=Book())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ROOT, headers=HEADERS) as client:
            image = uri(encoded(photo(300, 300)))
            body = {"model": "kling-v1", "image": image, "prompt": "水彩"}
            task = (await client.post(GENERATIONS, json=body)).json()["task_id"]
            state = (await client.get(f"/v1/images/tasks/{task}")).json()
            assert state["data"][0]["url"].startswith(f"{ROOT}/files/")


@pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})]
)
async def test_a_conversation_in_virtual_time() -> None:
    """A task of 42 seconds, with a second of latency a poll, ends when the clock says so."""
    faults = Faults.parse([{"kind": "latency", "stage": "poll", "seconds": 1.0}])
    app = create_app(
        Settings(faults=faults, seconds_per_task=42.0), clock=anyio.current_time, inline=True
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ROOT, headers=HEADERS) as client:
        body = {"model": "kling-v1", "image": uri(encoded(photo(300, 300))), "prompt": "水彩"}
        started = anyio.current_time()
        task = (await client.post(GENERATIONS, json=body)).json()["task_id"]
        for _ in range(20):
            if (await client.get(f"/v1/images/tasks/{task}")).json()["status"] == "succeed":
                break
            await anyio.sleep(2)
        assert 42 <= anyio.current_time() - started <= 45


async def test_mapped_urls_stay_inside_their_folder(house: House) -> None:
    """Links out of it, folders and pipes are no pictures."""
    (house.folder / "out").symlink_to("/etc/passwd")
    os.mkfifo(house.folder / "pipe")
    async with house.client() as client:
        for name in ("out", "pipe", "", "%2e%2e/%2e%2e/etc/passwd", "a%00b"):
            body = {**edit_body(), "image": f"{MAPPED}/{name}"}
            assert (await client.post(EDITS, json=body)).status_code == 400


async def test_a_map_may_name_one_file(house: House) -> None:
    """`--map URL=FILE` answers that URL alone."""
    one = house.folder / "one.png"
    async with house.client(url_map={"https://a.example/x.png": one}) as client:
        for url, status in (("https://a.example/x.png?w=3", 200), ("https://a.example/y", 400)):
            reply = await client.post(EDITS, json={**edit_body(), "image": url})
            assert reply.status_code == status


async def test_results_have_a_cap_together(house: House) -> None:
    """Ten masked copies of a large picture would fill the house: refused before any work."""
    large = encoded(Image.new("RGB", (3000, 2000), "red"))
    mask = uri(encoded(Image.new("L", (30, 20), 255)))
    body = edit_body(image=large, mask=mask, n=10)
    await refused(house, EDITS, body, "60,000,000 pixels")
    await refused(house, EDITS, edit_body(model="gpt-image-1", size="4096x4096"), "2048")
