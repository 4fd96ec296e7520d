"""Pictures written whole, never over anything, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
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


# --- Whole values --------------------------------------------------------------------------------


def test_the_record_of_a_picture_is_what_was_kept(in_memory: Path) -> None:
    """Its path with the suffix of its kind, digest, size, kind and sides; a plain file that all may
    read."""
    outputs = Outputs(in_memory)
    for kind, suffix in (
        ("image/png", "png"), ("image/jpeg", "jpg"), ("image/webp", "webp"), ("image/gif", "gif"),
        ("image/svg+xml", "svg"),
    ):  # fmt: skip
        assert outputs.keep("images/a.b/c-0", b"cat", kind, 7, 9) == FileRecord(
            path=f"images/a.b/c-0.{suffix}", sha256=hashlib.sha256(b"cat").hexdigest(), bytes=3,
            media_type=kind, width=7, height=9,
        )  # fmt: skip
        mode = (in_memory / f"images/a.b/c-0.{suffix}").stat().st_mode
        assert stat.S_ISREG(mode)
        assert mode & 0o777 == 0o644 & ~_umask()
    assert len(files(in_memory)) == 5


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_picture_lies_at_the_top_too(in_memory: Path) -> None:
    """A stem without a folder."""
    assert keep(Outputs(in_memory), "cat").path == "cat.png"
    assert files(in_memory) == {"cat.png": b"cat"}


def test_names_count_on_where_they_are_taken(in_memory: Path) -> None:
    """`~2`, `~3`; each picture finds its own again."""
    outputs = Outputs(in_memory)
    paths = [keep(outputs, "x", data).path for data in (b"a", b"b", b"c", b"b", b"a", b"c")]
    assert paths == ["x.png", "x~2.png", "x~3.png", "x~2.png", "x.png", "x~3.png"]
    assert files(in_memory) == {"x.png": b"a", "x~2.png": b"b", "x~3.png": b"c"}


def test_a_picture_that_came_by_the_disk_gets_its_name(in_memory: Path) -> None:
    """The file that it came into is the picture; none is written again, and another one with the
    same bytes is let go of."""
    outputs = Outputs(in_memory)
    for path in ("images/m/x.png", "images/m/x.png"):
        part = outputs.part("images/m/x")
        assert [
            name.startswith(".") and name.endswith(".part") for name in _unnamed(in_memory)
        ] == [True]
        os.write(part.descriptor, b"cat")
        inode = os.fstat(part.descriptor).st_ino
        kept = outputs.keep("images/m/x", b"cat", PNG, 1, 1, part=part)
        assert (kept.path, kept.bytes) == (path, 3)
        part.discard()
        assert _unnamed(in_memory) == []
    assert (in_memory / path).stat().st_ino != inode
    assert files(in_memory) == {"images/m/x.png": b"cat"}


def _unnamed(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.is_file()]


def test_what_cannot_be_kept_leaves_nothing_behind(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails as it is synced: said with its folder, no half file left."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    outputs = Outputs(in_memory)
    outputs.prepare("images/m/x")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="images/m"):
        keep(outputs, "images/m/x")
    assert files(in_memory) == {}


def test_a_folder_is_made_once_and_synced(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every folder above it; what another process made is synced too."""
    (in_memory / "images").mkdir()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    outputs = Outputs(in_memory)
    outputs.prepare("images/m/p/x")
    above = [in_memory, in_memory / "images", in_memory / "images/m"]
    assert synced == [folder.stat().st_ino for folder in above]
    outputs.prepare("images/m/p/y")
    assert len(synced) == 3
    outputs.prepare("images/m/q/y")
    assert synced[3:] == [(in_memory / "images/m").stat().st_ino]


# --- Brought back, and to further places ------------------------------------------------------


def test_a_picture_is_put_back_where_it_was(in_memory: Path) -> None:
    """Its bytes alone, and where nothing lies."""
    outputs = Outputs(in_memory)
    file = record("images/m/cat.v2-0.png")
    assert outputs.restore(file, b"dog") == "changed"
    assert outputs.restore(file, b"cats") == "changed"
    assert outputs.restore(record("../x.png"), b"cat") == "taken"
    assert outputs.restore(record("/x.png"), b"cat") == "taken"
    assert files(in_memory) == {}
    assert outputs.restore(file, b"cat") == "kept"
    assert files(in_memory) == {"images/m/cat.v2-0.png": b"cat"}
    assert outputs.restore(file, b"cat") == "taken"
    (in_memory / "link.png").symlink_to(in_memory / "nowhere")
    assert outputs.restore(record("link.png"), b"cat") == "taken"
    assert files(in_memory) == {"images/m/cat.v2-0.png": b"cat"}
    assert outputs.restore(record("c.png", bytes=4), b"cat") == "changed"


def test_a_picture_is_one_more_name_in_its_own_folder(in_memory: Path) -> None:
    """The same bytes on the disk; its Record but for the path."""
    outputs = Outputs(in_memory)
    kept = keep(outputs)
    found = outputs.deliver("images/other/x", outputs, kept)
    assert found == FileRecord(
        path="images/other/x.png", sha256=kept.sha256, bytes=3, media_type=PNG, width=1, height=1
    )
    places = [in_memory / kept.path, in_memory / "images/other/x.png"]
    assert len({place.stat().st_ino for place in places}) == 1
    assert outputs.deliver("images/other/x", outputs, kept) == found
    assert len(files(in_memory)) == 2
    (in_memory / "images/other/y.png").write_bytes(b"another")
    second = outputs.deliver("images/other/y", outputs, kept)
    assert second is not None
    assert second.path == "images/other/y~2.png"


def test_a_picture_from_another_folder_is_copied(in_memory: Path) -> None:
    """By its own bytes; so it is where the disk has no second names."""
    here, there = in_memory / "here", in_memory / "there"
    here.mkdir()
    there.mkdir()
    kept = keep(Outputs(there))
    found = Outputs(here).deliver("images/x", Outputs(there), kept)
    assert found == FileRecord(
        path="images/x.png", sha256=kept.sha256, bytes=3, media_type=PNG, width=1, height=1
    )
    assert (here / "images/x.png").stat().st_ino != (there / kept.path).stat().st_ino
    assert files(here) == {"images/x.png": b"cat"}


def test_a_picture_is_copied_where_no_second_name_can_be_had(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = Outputs(in_memory)
    kept = keep(outputs)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    found = outputs.deliver("images/x", outputs, kept)
    assert found is not None
    assert found.path == "images/x.png"
    assert files(in_memory) == {"images/m/p/cat-0.png": b"cat", "images/x.png": b"cat"}


def test_what_is_gone_or_changed_is_delivered_nowhere(in_memory: Path) -> None:
    outputs = Outputs(in_memory)
    assert outputs.deliver("images/x", outputs, record("gone.png")) is None
    (in_memory / "x.png").write_bytes(b"dog")
    assert outputs.deliver("images/x", outputs, record("x.png")) is None
    assert files(in_memory) == {"x.png": b"dog"}


def test_a_file_is_read_up_to_a_cap_and_one_byte(in_memory: Path) -> None:
    """So that whoever asked sees that there is more."""
    outputs = Outputs(in_memory)
    (in_memory / "x.png").write_bytes(b"12345")
    assert outputs.read_unrecorded("x.png", 3) == b"1234"
    assert outputs.read_unrecorded("x.png", 5) == b"12345"
    assert outputs.read_unrecorded("x.png") == b"12345"
    assert outputs.read_unrecorded("gone.png") is None
    assert outputs.read_unrecorded("../x.png") is None
    (in_memory / "folder").mkdir()
    assert outputs.read_unrecorded("folder") is None
    os.mkfifo(in_memory / "pipe")
    assert outputs.read_unrecorded("pipe") is None


def test_a_file_is_there_by_its_place_and_size(in_memory: Path) -> None:
    """A name with two dots in it leads nowhere else."""
    outputs = Outputs(in_memory)
    (in_memory / "a..b.png").write_bytes(b"12")
    assert outputs.is_there("a..b.png", 2)
    assert not outputs.is_there("a..b.png", 3)
    assert not outputs.is_there("a..b.png", 1)
    assert not outputs.is_there("none.png", 0)
    (in_memory / "folder").mkdir()
    assert not outputs.is_there("folder", (in_memory / "folder").stat().st_size)


def test_room_is_asked_for_by_the_picture(in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two megabytes each; what is free is told, and what it is for."""
    outputs = Outputs(in_memory)
    real = os.statvfs(in_memory)

    class Room:
        f_bavail, f_frsize = 10_000, 1_000  # ten megabytes

    monkeypatch.setattr(os, "statvfs", lambda _: Room)
    outputs.require_room(5)
    with pytest.raises(StorageFailed) as refused:
        outputs.require_room(6)
    assert refused.value.message == (
        f"{in_memory}: 10 MB are free, and what is in flight may bring 12 MB"
    )
    assert refused.value.hint == (
        "sending has stopped before the disk is full; make room and run again"
    )
    Room.f_bavail = 10**9
    with pytest.raises(StorageFailed, match=r"1,000,000 MB are free, and .* bring 2,000,000 MB"):
        outputs.require_room(10**6)
    monkeypatch.undo()
    assert real.f_frsize
    with pytest.raises(StorageFailed, match="gone: No such file"):
        Outputs(in_memory / "gone").require_room(1)
