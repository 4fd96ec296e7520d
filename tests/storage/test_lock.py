"""One run at a time: a lock that dies with its process and is never a way out of the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retouch.errors import Refused, StorageFailed
from retouch.storage.durable import make_folder
from retouch.storage.lock import NAME, exclusive

HOLD = """
import sys
from pathlib import Path
from retouch.storage.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the folder until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_it_and_kill_9_frees_it(tmp_path: Path) -> None:
    """Exit 4 with the holder's process; no lock outlives the one that took it."""
    with holder(tmp_path) as process:
        with (
            pytest.raises(Refused, match=f"process {process.pid} on ") as told,
            exclusive(tmp_path),
        ):
            pass
        assert told.value.exit_code == 4
        process.send_signal(signal.SIGKILL)
        process.wait()
        with exclusive(tmp_path):
            pass


def test_a_lock_file_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """Whatever it says: the kernel's lock is the truth. It is written anew."""
    (tmp_path / NAME).write_text("process 1 on elsewhere since long ago\n" * 9)
    with exclusive(tmp_path):
        assert (tmp_path / NAME).read_text().startswith(f"process {os.getpid()} on ")
        assert (tmp_path / NAME).read_text().count("\n") == 1


def test_within_one_process_it_holds_too(tmp_path: Path) -> None:
    """Two runs in one process are still two runs."""
    with exclusive(tmp_path), pytest.raises(Refused), exclusive(tmp_path):
        pass


@pytest.mark.parametrize("said", [b"", b"\xff\xfe\x1b[2J evil\nrun", b"\0" * 300])
def test_what_a_lock_file_says_is_made_fit_for_a_terminal(tmp_path: Path, said: bytes) -> None:
    """Any bytes may lie there; they neither break the message nor steer the screen."""
    with (tmp_path / NAME).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(said)
        file.flush()
        with pytest.raises(Refused) as told, exclusive(tmp_path):
            pass
    assert "holds this outputs folder (" in told.value.message
    assert told.value.message.isprintable()


@pytest.mark.parametrize("what", ["link", "dangling link", "hard link", "folder", "pipe"])
def test_a_planted_lock_is_refused_and_nothing_is_written_through_it(
    tmp_path: Path, what: str
) -> None:
    """Whatever it leads to keeps its bytes."""
    folder, precious = tmp_path / "outputs", tmp_path / "precious"
    folder.mkdir()
    place = folder / NAME
    if what in ("link", "hard link"):
        precious.write_text("precious")
    match what:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "hard link":
            place.hardlink_to(precious)
        case _:
            place.symlink_to(precious)
    with pytest.raises(StorageFailed, match=NAME) as told, exclusive(folder):
        pass
    assert told.value.exit_code == 5
    assert not precious.exists() or precious.read_text() == "precious"


def test_an_outputs_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Before anything is sent: pictures would be refused in it later, when they are paid for."""
    (tmp_path / "real").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "real")
    with pytest.raises(StorageFailed, match="outputs: is a link"), exclusive(tmp_path / "outputs"):
        pass
    assert not list((tmp_path / "real").iterdir())


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_disk_without_locks_is_said(
    refusal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network disks have none: no run without one."""

    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageFailed, match=os.strerror(refusal)), exclusive(tmp_path):
        pass


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """A vanished disk is not made anew."""
    with pytest.raises(StorageFailed, match="gone: No such file"), exclusive(tmp_path / "gone"):
        pass


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Neither by holding nor by being refused."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with exclusive(tmp_path), pytest.raises(Refused), exclusive(tmp_path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_is_made_with_all_above_it_and_each_name_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was there already: who made it may have been killed before the sync."""
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    make_folder(tmp_path / "a/b/c")
    assert {str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"} <= set(synced)
    synced.clear()
    make_folder(tmp_path / "a/b/c")
    assert {f"{tmp_path}/a", f"{tmp_path}/a/b"} <= set(synced)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageFailed, match="a/b: "):
        make_folder(tmp_path / "a/b")
