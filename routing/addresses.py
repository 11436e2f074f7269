"""Which hosts may stand in an endpoint's URL, as far as can be told without looking up a name."""

from __future__ import annotations

import ipaddress
from typing import Final

#: All that was ever handed out for the public internet (IANA's registry of IPv6 address space); the rest is reserved or special.
_IPV6: Final = ipaddress.IPv6Network("2000::/3")


def public(address: str) -> bool:
    """Whether an IP address is one of the public internet. Raises ValueError for what is no address."""
    one = ipaddress.ip_address(address)
    return one.is_global and not one.is_multicast and (one.version == 4 or one in _IPV6)


def is_odd_number(host: str) -> bool:
    """Whether a host that is no IP address would still be read as one where names are looked up: `127.1`, `0x7f000001` (WHATWG URL, "ends
    in a number")."""
    last = host.lower().rstrip(".").rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")
