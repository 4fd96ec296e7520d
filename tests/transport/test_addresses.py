"""Which addresses a result may come from: the hostile table, a row a range."""

from __future__ import annotations

import ipaddress

import pytest

from retouch.text import is_loopback_name
from retouch.transport.addresses import is_public

REFUSED = {
    "this network": ["0.0.0.0", "0.255.255.255"],  # noqa: S104 - nothing is bound
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
                "192.168.255.255"],
    "carrier-grade NAT": ["100.64.0.0", "100.100.100.200", "100.127.255.255"],
    "loopback": ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"],
    "link-local": ["169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::", "fe80::1%eth0",
                   "febf:ffff::"],
    "IETF": ["192.0.0.0", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.0.0.255", "2001::5",
             "2001:1::1", "2001:1ff:ffff::"],
    "documentation": ["192.0.2.0", "192.0.2.255", "198.51.100.7", "203.0.113.255", "2001:db8::",
                      "2001:db8:ffff::", "3fff::1", "3fff:fff::1"],
    "benchmarking": ["198.18.0.0", "198.19.255.255", "2001:2::1"],
    "6to4": ["192.88.99.0", "192.88.99.255", "2002::", "2002:7f00:1::", "2002:0a00:1::",
             "2002:ffff:ffff::"],
    "multicast": ["224.0.0.0", "224.0.0.1", "233.252.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.0", "255.255.255.254", "255.255.255.255", "4000::1", "8000::1", "e000::"],
    "AS112, AMT": ["192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"],
    "unspecified": ["::"],
    "IPv4 inside": ["::1.2.3.4", "::7f00:1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:0"],
    "translated": ["::ffff:0:8.8.8.8"],
    "NAT64": ["64:ff9b::", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1"],
    "Teredo": ["2001::", "2001:0:ffff::"],
    "ORCHID": ["2001:10::1", "2001:20::1"],
    "discard": ["100::", "100::ffff"],
    "unique local": ["fc00::", "fd00::1", "fdff:ffff::"],
    "site-local": ["fec0::", "feff::1"],
    "SRv6": ["5f00::1"],
    "a zone": ["2606:4700::1111%1"],
}  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255",
    "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
    "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888",
    "2001:db7::1", "2003::1", "2400:3200::1", "2606:4700:4700::1111", "3ffe::1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in REFUSED.items() for text in texts]
)
def test_an_address_of_a_special_range_is_refused(kind: str, text: str) -> None:
    """Each range at its edges, and addresses that stand for something inside."""
    assert not is_public(ipaddress.ip_address(text)), kind


@pytest.mark.parametrize("text", PUBLIC)
def test_the_neighbours_of_the_ranges_are_public(text: str) -> None:
    """Nothing is refused that is anybody's ordinary address."""
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("LOCALHOST.", True), ("a.localhost", True), ("127.0.0.1", True),
     ("[::1]", True), ("::1", True), ("localhost.example.com", False), ("0.0.0.0", False),  # noqa: S104 - nothing is bound
     ("10.0.0.1", False), ("notlocalhost", False), ("", False)],
)  # fmt: skip
def test_this_machine_by_name(host: str, expected: bool) -> None:
    """Only names and addresses that cannot lead elsewhere count as this machine."""
    assert is_loopback_name(host) is expected
