"""`python clients.py WHO PORT FOLDER AT_ONCE`: the same jobs as others would write them, once.

Each picture of FOLDER/sources is sent and its answer written to a new folder. Prints one line of
JSON: seconds, CPU seconds, bytes of memory at its peak and before the first job. It imports nothing
of retouch, for the peers live in an environment of their own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

Work = Callable[[int, list[Path], Path, int], Awaitable[None]]
PROMPT = "make it white"


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


async def each(sources: list[Path], at_once: int, one: Callable[[Path], Awaitable[None]]) -> None:
    """All of them, so many at once."""
    left = iter(sources)

    async def worker() -> None:
        for path in left:
            await one(path)

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def httpx_as_one_would(port: int, sources: list[Path], out: Path, at_once: int) -> None:
    """What one would write in ten minutes: nothing is counted, checked or made durable."""
    import httpx  # noqa: PLC0415 - each client in its own environment

    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def one(path: Path) -> None:
            image = base64.b64encode(path.read_bytes()).decode()  # noqa: ASYNC240 - as one would
            response = await client.post(
                f"{_url(port)}/images/edits", json={"image": image, "prompt": PROMPT}
            )
            _write(out, path, response.json()["data"][0]["b64_json"])

        await each(sources, at_once, one)


async def openai_sdk(port: int, sources: list[Path], out: Path, at_once: int) -> None:
    """OpenAI's own client, whose edits are multipart: a third less to send."""
    import openai  # noqa: PLC0415

    async with openai.AsyncOpenAI(base_url=_url(port), api_key="none", timeout=60) as client:

        async def one(path: Path) -> None:
            result = await client.images.edit(
                model="gpt-image-1",
                image=(path.name, path.read_bytes(), "image/jpeg"),  # noqa: ASYNC240
                prompt=PROMPT,
            )
            assert result.data
            _write(out, path, result.data[0].b64_json or "")

        await each(sources, at_once, one)


async def async_batch_llm(port: int, sources: list[Path], out: Path, at_once: int) -> None:
    """A batch runner for any client, with its checkpoint file; over httpx."""
    import httpx  # noqa: PLC0415
    from async_batch_llm import (  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
        ArtifactIdentity,
        CallableStrategy,
        CallOutcome,
        JsonlArtifactStore,
        ProcessorConfig,
        process_prompts,
    )

    identity = ArtifactIdentity(provider="bench", model="m")
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def invoke(prompt: str, **_: object) -> object:
            path = Path(prompt)
            image = base64.b64encode(path.read_bytes()).decode()  # noqa: ASYNC240
            response = await client.post(
                f"{_url(port)}/images/edits", json={"image": image, "prompt": PROMPT}
            )
            answer = response.json()
            _write(out, path, answer["data"][0]["b64_json"])
            return CallOutcome(path.stem, token_usage=answer["usage"])

        result = await process_prompts(
            CallableStrategy(invoke, identity=identity),
            [str(path) for path in sources],
            config=ProcessorConfig(concurrency=at_once),
            artifact_store=JsonlArtifactStore(str(out / "checkpoint.jsonl"), identity=identity),
        )
        assert result.succeeded == len(sources), result.summary()


async def raw_sockets(port: int, sources: list[Path], out: Path, at_once: int) -> None:
    """The least that can be: sockets that are kept, a buffer, fast base64, a file. No HTTP but its
    framing, no JSON, no check, no ledger, nothing durable."""
    await _raw(port, sources, out, at_once, _written, _read)


async def raw_sockets_durable(  # noqa: PLR0917 - a client's four, and what it looks at
    port: int,
    sources: list[Path],
    out: Path,
    at_once: int,
    look_at_sent: Callable[[bytes], object] = bool,
    look_at_kept: Callable[[bytes], object] = bool,
) -> None:
    """The same, with each file synced under a temporary name, named, and its folder synced; and a
    line a job in a journal, synced before it is sent and after it was kept."""
    import os  # noqa: PLC0415

    journal = os.open(out / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)

    def keep(place: Path, data: bytes) -> None:
        look_at_kept(data)
        part = place.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)
        part.rename(place)
        os.fsync(folder)

    def note(path: Path) -> None:
        os.write(journal, f"{path.name}\n".encode())
        os.fdatasync(journal)

    async def kept(place: Path, data: bytes) -> None:
        await asyncio.to_thread(keep, place, data)
        await asyncio.to_thread(note, place)

    def begin(path: Path) -> bytes:
        data = path.read_bytes()
        look_at_sent(data)
        note(path)
        return data

    async def begun(path: Path) -> bytes:
        return await asyncio.to_thread(begin, path)

    await _raw(port, sources, out, at_once, kept, begun)


async def raw_sockets_checked(port: int, sources: list[Path], out: Path, at_once: int) -> None:
    """Durable, too, with what tells the right bytes from wrong ones: SHA-256 of each file sent and
    of each kept, and a PNG's own CRCs."""
    import hashlib  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    await raw_sockets_durable(
        port,
        sources,
        out,
        at_once,
        lambda sent: hashlib.sha256(sent).digest(),
        lambda came: (hashlib.sha256(came).digest(), zlib.crc32(came)),
    )


async def _read(path: Path) -> bytes:
    return path.read_bytes()  # noqa: ASYNC240


async def _written(place: Path, data: bytes) -> None:
    place.write_bytes(data)  # noqa: ASYNC240


async def _raw(  # noqa: PLR0917 - a client's four, and what makes it durable
    port: int,
    sources: list[Path],
    out: Path,
    at_once: int,
    kept: Callable[[Path, bytes], Awaitable[None]],
    begun: Callable[[Path], Awaitable[bytes]],
) -> None:
    import socket  # noqa: PLC0415

    import pybase64  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    connections: list[socket.socket] = []
    buffers: list[bytearray] = []

    async def one(path: Path) -> None:
        source = await begun(path)
        if connections:
            connection, buffer = connections.pop(), buffers.pop()
        else:
            connection, buffer = socket.socket(), bytearray(4_000_000)
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", port))
        image = pybase64.b64encode(source)
        body = b'{"image":"%s","prompt":"%s"}' % (image, PROMPT.encode())
        head = b"POST /v1/images/edits HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        await loop.sock_sendall(connection, head % len(body))
        await loop.sock_sendall(connection, body)
        view, got, end = memoryview(buffer), 0, 1
        while got < end:
            got += await loop.sock_recv_into(connection, view[got:])
            if end == 1:
                length_at = buffer.index(b"Content-Length: ") + 16
                length = int(buffer[length_at : buffer.index(b"\r\n", length_at)])
                end = buffer.index(b"\r\n\r\n") + 4 + length
        start = buffer.index(b'"b64_json":"', 0, end) + 12
        data = pybase64.b64decode(view[start : buffer.index(b'"', start, end)], validate=True)
        await kept(out / f"{path.stem}.png", data)
        connections.append(connection)
        buffers.append(buffer)

    await each(sources, at_once, one)
    for connection in connections:
        connection.close()


def _write(out: Path, path: Path, encoded: str) -> None:
    (out / f"{path.stem}.png").write_bytes(base64.b64decode(encoded))


CLIENTS: dict[str, Work] = {
    "raw sockets": raw_sockets,
    "raw sockets, durable": raw_sockets_durable,
    "raw sockets, durable, checked": raw_sockets_checked,
    "httpx": httpx_as_one_would,
    "OpenAI SDK": openai_sdk,
    "async-batch-llm": async_batch_llm,
}


def peak_bytes() -> int:
    """The most memory that this process has held (ru_maxrss: KB, on macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measured(work: Work, port: int, folder: Path, at_once: int) -> dict[str, float]:
    """The work done once over a few jobs, for its imports, and then over all of them."""
    sources = sorted((folder / "sources").iterdir())
    for some in (sources[:4], sources):
        out = Path(tempfile.mkdtemp(dir=folder))
        before = peak_bytes()
        begun, begun_cpu = time.perf_counter(), time.process_time()
        asyncio.run(_run(work, port, some, out, at_once))
        seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        assert len(list(out.rglob("*.png"))) == len(some), out
    return {
        "seconds": seconds / len(sources),
        "cpu_seconds": cpu / len(sources),
        "peak_bytes": peak_bytes(),
        "base_bytes": before,
    }


async def _run(work: Work, port: int, sources: list[Path], out: Path, at_once: int) -> None:
    await work(port, sources, out, at_once)


if __name__ == "__main__":
    who, port, folder, at_once = sys.argv[1:]
    print(json.dumps(measured(CLIENTS[who], int(port), Path(folder), int(at_once))))  # noqa: T201
