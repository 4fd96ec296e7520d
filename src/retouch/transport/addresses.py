"""Where a result may be fetched from: public addresses, resolved once and then held to.

The provider names result URLs, so it could name machines only this one can reach. `is_global` is
not enough: it lets NAT64 and multicast pass, and embedded forms (mapped, 6to4, Teredo) hide an
IPv4 address. So IPv6 is allowed only inside 2000::/3, and the lists below are cut out of both.
Sources: IANA special-purpose registries for IPv4 and IPv6; RFC 6890, 6052, 3056, 4380, 9637.
"""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

import anyio

Address = IPv4Address | IPv6Address

_REFUSED_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; clouds keep metadata there too (100.100.100.200)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; 169.254.169.254 is a cloud's metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_UNICAST_IPV6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # IETF assignments, with Teredo (2001::/32) and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_FAKE_IPV4 = ipaddress.IPv4Network("198.18.0.0/15")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def is_public(address: Address) -> bool:
    """Whether a result may come from `address`."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in refused for refused in _REFUSED_IPV4)
    return (
        address.scope_id is None
        and address in _GLOBAL_UNICAST_IPV6
        and address.is_global
        and not any(address in refused for refused in _REFUSED_IPV6)
    )


def is_fake(address: Address) -> bool:
    """Whether a proxy or a gateway on this machine's network stands behind `address`: the fake-ip
    of Clash and its like (198.18.0.0/15), or NAT64's prefix before a public IPv4 address."""
    if isinstance(address, IPv4Address):
        return address in _FAKE_IPV4
    return address in _NAT64 and is_public(IPv4Address(int(address) & 0xFFFFFFFF))


def literal_address(host: str) -> Address | None:
    """The address `host` spells out, or None when it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Every address `host` has, in the resolver's order; raises OSError when it has none.

    Odd spellings of addresses (`127.1`, `0x7f000001`) are read by the resolver as connecting
    would read them, so what is checked is what is reached.
    """
    literal = literal_address(host)
    if literal is not None:
        return (literal,)
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
