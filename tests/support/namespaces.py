"""Two machines with a wire between them: network namespaces joined by a pair of veths."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

HERE, THERE = "10.213.7.1", "10.213.7.2"  # in namespaces of their own: nobody else's network
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Wire:
    """The two namespaces, by name; what runs in `here` has the address HERE."""

    here: str
    there: str

    @property
    def path(self) -> str:
        """What `enter` takes, for the far end."""
        return f"/run/netns/{self.there}"

    def cut(self, end: str = "") -> None:
        """From now on what an end (default: the far one) sends is dropped, in silence."""
        end = end or self.there
        _ip("-n", end, "route", "add", "blackhole", HERE if end == self.there else THERE)

    def mend(self, end: str = "") -> None:
        """What is sent arrives again."""
        end = end or self.there
        _ip("-n", end, "route", "del", "blackhole", HERE if end == self.there else THERE)


@contextmanager
def wired() -> Iterator[Wire]:
    """Two namespaces until the end of the block; skips where the kernel forbids them."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (apt-get install iproute2)")
    wire = Wire(*(f"retouch-{os.getpid()}-{end}" for end in "ab"))
    try:
        try:
            for name in (wire.here, wire.there):
                _ip("netns", "add", name)
            pair = ("type", "veth", "peer", "name", "wire", "netns", wire.there)
            _ip("-n", wire.here, "link", "add", "wire", *pair)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"the kernel forbids network namespaces here: {error.stderr.strip()}")
        for name, address in ((wire.here, HERE), (wire.there, THERE)):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", "wire")
            _ip("-n", name, "link", "set", "wire", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield wire
    finally:
        for name in (wire.here, wire.there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def enter(namespace: str) -> None:
    """Go into a network namespace, by its path; for a process that has no other thread yet."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    finally:
        os.close(descriptor)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True)
