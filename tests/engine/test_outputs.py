"""Pictures written whole, never over anything, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retouch.engine.outputs import Outputs
from retouch.errors import StorageFailed
from retouch.ledger.records import FileRecord

PNG = "image/png"


def keep(outputs: Outputs, stem: str = "images/m/p/cat-0", data: bytes = b"cat") -> FileRecord:
    return outputs.keep(stem, data, PNG, 1, 1)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_picture_is_kept_as_received_and_nothing_else_stays(in_memory: Path) -> None:
    """Its bytes under its name, no temporary file left, its record true."""
    kept = keep(Outputs(in_memory))
    assert files(in_memory) == {"images/m/p/cat-0.png": b"cat"}
    assert kept.sha256 == hashlib.sha256(b"cat").hexdigest()
    assert (kept.path, kept.bytes) == ("images/m/p/cat-0.png", 3)
    assert Outputs(in_memory).is_whole(kept)
    assert Outputs(in_memory).read(kept) == b"cat"


def test_the_same_picture_again_is_the_one_that_is_there(in_memory: Path) -> None:
    """A crash between its name and its record costs no second copy."""
    outputs = Outputs(in_memory)
    assert keep(outputs) == keep(outputs)
    assert len(files(in_memory)) == 1


def test_a_picture_found_in_its_place_is_made_durable(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows who wrote it, nor whether a power cut would leave it: it is synced before it
    is recorded."""
    synced: list[int] = []
    kept = keep(Outputs(in_memory))
    place = (in_memory / kept.path).stat().st_ino
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    assert keep(Outputs(in_memory)) == kept
    assert place in synced


def test_another_picture_never_takes_a_name_that_is_taken(in_memory: Path) -> None:
    """What lies there stays; the new one gets a number."""
    outputs = Outputs(in_memory)
    paths = [keep(outputs, data=data).path for data in (b"one", b"two", b"three", b"two")]
    assert [path.rpartition("/")[2] for path in paths] == [
        "cat-0.png",
        "cat-0~2.png",
        "cat-0~3.png",
        "cat-0~2.png",
    ]
    assert files(in_memory)["images/m/p/cat-0.png"] == b"one"


def test_many_at_once_are_all_kept(in_memory: Path) -> None:
    """Threads that make the same folders and want the same name do not harm each other."""
    outputs = Outputs(in_memory)
    with ThreadPoolExecutor(16) as pool:
        kept = list(pool.map(lambda n: keep(outputs, data=str(n).encode()), range(100)))
    assert len({record.path for record in kept}) == 100
    assert all(outputs.read(each) == str(n).encode() for n, each in enumerate(kept))


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_will_do(
    refusal: int, in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT and some network disks: a name is claimed first, and still never taken over."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    outputs = Outputs(in_memory)
    paths = [keep(outputs, data=data).path for data in (b"one", b"two", b"one")]
    assert [path[-11:] for path in paths] == ["p/cat-0.png", "cat-0~2.png", "p/cat-0.png"]
    assert list(files(in_memory).values()) == [b"one", b"two"]


def to_a_file(place: Path, outside: Path) -> None:
    (outside / "precious").write_bytes(b"precious")
    place.symlink_to(outside / "precious")


def to_the_same_bytes(place: Path, outside: Path) -> None:
    (outside / "precious").write_bytes(b"cat")
    place.symlink_to(outside / "precious")


def to_nothing(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "nothing")


def as_pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def as_folder(place: Path, outside: Path) -> None:
    place.mkdir()


@pytest.mark.parametrize("plant", [to_a_file, to_the_same_bytes, to_nothing, as_pipe, as_folder])
def test_what_is_planted_under_a_name_is_neither_followed_nor_overwritten(
    plant: Callable[[Path, Path], None], in_memory: Path
) -> None:
    """The picture goes beside it; what the link leads to is not read, made or changed."""
    folder, outside = in_memory / "outputs", in_memory / "outside"
    (folder / "images/m/p").mkdir(parents=True)
    outside.mkdir()
    place = folder / "images/m/p/cat-0.png"
    plant(place, outside)
    before = files(outside)
    kept = keep(Outputs(folder))
    assert kept.path == "images/m/p/cat-0~2.png"
    assert files(outside) == before
    assert place.is_symlink() or not place.is_file()


@pytest.mark.parametrize("where", ["", "images", "images/m", "images/m/p"])
@pytest.mark.parametrize("leads", ["somewhere", "nowhere", "to itself"])
def test_a_link_in_place_of_a_folder_is_refused_before_anything_is_paid_for(
    where: str, leads: str, in_memory: Path
) -> None:
    """At any depth, the outputs folder itself included; the message names the link."""
    folder, outside = in_memory / "outputs", in_memory / "outside"
    outside.mkdir()
    place = folder / where if where else folder
    place.parent.mkdir(parents=True, exist_ok=True)
    target = {"somewhere": outside, "nowhere": in_memory / "nowhere", "to itself": place}[leads]
    place.symlink_to(target)
    outputs = Outputs(folder)
    for refused in (lambda: outputs.prepare("images/m/p/cat-0"), lambda: keep(outputs)):
        with pytest.raises(StorageFailed, match="is a link") as told:
            refused()
        assert str(place) in told.value.message
    assert not list(outside.iterdir())
    assert not (in_memory / "nowhere").exists()


def test_a_file_in_place_of_a_folder_is_named(in_memory: Path) -> None:
    """Not a link, but nothing to keep a picture in either."""
    (in_memory / "images").write_text("")
    with pytest.raises(StorageFailed, match="images: Not a directory"):
        Outputs(in_memory).prepare("images/m/cat-0")


def test_a_vanished_outputs_folder_is_named(in_memory: Path) -> None:
    """Unmounted or removed in mid-run: exit 5, not a new folder in its place."""
    with pytest.raises(StorageFailed, match="gone: No such file"):
        keep(Outputs(in_memory / "gone"))


def record(path: str, data: bytes = b"cat", **more: int) -> FileRecord:
    digest = hashlib.sha256(data).hexdigest()
    size = more.get("bytes", len(data))
    return FileRecord(path=path, sha256=digest, bytes=size, media_type=PNG, width=1, height=1)


def test_a_ledger_from_elsewhere_names_no_file_outside_its_folder(in_memory: Path) -> None:
    """A path that climbs out, an absolute one or one through a link is no picture of ours."""
    folder = in_memory / "outputs"
    folder.mkdir()
    (in_memory / "cat.png").write_bytes(b"cat")
    (folder / "link.png").symlink_to(in_memory / "cat.png")
    (folder / "folder").symlink_to(in_memory)
    outputs = Outputs(folder)
    for path in ("../cat.png", str(in_memory / "cat.png"), "link.png", "a/../../cat.png", "\0", ""):
        assert not outputs.is_whole(record(path)), path
        assert outputs.read(record(path)) is None, path
    assert outputs.read(record("folder/cat.png")) is None


def test_a_picture_that_changed_is_not_what_was_recorded(in_memory: Path) -> None:
    """Longer, shorter or of the same length."""
    outputs = Outputs(in_memory)
    for data in (b"cats", b"ca", b"dog"):
        (in_memory / "x.png").write_bytes(data)
        assert outputs.read(record("x.png")) is None
    assert outputs.is_whole(record("x.png"))  # by its size; `verify` looks at digests
    assert not outputs.is_whole(record("x.png", bytes=4))


def test_quarantine_keeps_the_reply_without_secrets(in_memory: Path) -> None:
    """What could not be read is kept for people to look at; the key and signatures are not."""
    outputs = Outputs(in_memory, ("sk-canary",))
    body = b'{"oops": "sk-canary", "url": "https://x.example/a.png?token=SIGNED"}'
    path = outputs.quarantine("k-1", body)
    assert path == "quarantine/k-1.body"
    kept = (in_memory / path).read_bytes()
    assert b"canary" not in kept
    assert b"SIGNED" not in kept
    assert b"https://x.example/a.png" in kept
    assert outputs.quarantine("k-1", body) == path
