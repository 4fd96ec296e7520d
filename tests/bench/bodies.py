"""Bodies: a picture into a request, and out of a reply."""

from __future__ import annotations

import base64
import json
import os

import anyio
import orjson
import pybase64

from retouch.dialects import DIALECTS
from retouch.dialects.base import Base64, EncodedPicture, Produced, Reply, Request
from retouch.job import Picture
from retouch.transport import Sending
from retouch.transport.body import Body
from tests.bench.measured import Measured, against

_PICTURE = Picture("sha256:0")
_TIMES = 10


def measure() -> list[Measured]:
    data = os.urandom(1_500_000)
    return [*_splice(data), *_read(data)]


def _splice(data: bytes) -> list[Measured]:
    """A 1.5 MB picture as a JSON body, ready for the socket."""
    request = Request(
        "POST", "http://x", (), (b'{"model":"m","image":"', Base64(_PICTURE), b'","prompt":"p"}')
    )

    async def splice() -> int:
        size = 0
        for _ in range(_TIMES):
            size = 0
            async for piece in Body(request, {_PICTURE: data}, Sending()):
                size += len(piece)
        return size

    def dumps() -> None:
        for _ in range(_TIMES):
            image = base64.b64encode(data).decode()
            json.dumps({"model": "m", "image": image, "prompt": "p"}).encode()

    def orjson_dumps() -> None:
        for _ in range(_TIMES):
            image = pybase64.b64encode(data).decode()
            orjson.dumps({"model": "m", "image": image, "prompt": "p"})

    return against(
        "body of a 1.5 MB picture",
        lambda: anyio.run(splice),
        {"base64 + json.dumps": dumps, "pybase64 + orjson": orjson_dumps},
        times=_TIMES,
    )


def _read(data: bytes) -> list[Measured]:
    """The picture's bytes out of a whole reply."""
    reply = json.dumps({"data": [{"b64_json": base64.b64encode(data).decode()}]}).encode()

    def ours() -> None:
        for _ in range(_TIMES):
            produced = DIALECTS["qiniu"].read_submit(Reply(200, {}, reply))
            assert isinstance(produced, Produced)
            (picture,) = produced.pictures
            assert isinstance(picture, EncodedPicture)
            pybase64.b64decode(picture.base64, validate=True)

    def plain() -> None:
        for _ in range(_TIMES):
            base64.b64decode(json.loads(reply)["data"][0]["b64_json"])

    return against("1.5 MB picture out of a reply", ours, {"json + b64decode": plain}, times=_TIMES)
