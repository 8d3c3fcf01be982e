"""Client addresses and networks."""

import ipaddress

from smtpgw.config.parsers import Network


def is_in(address: str, listed: tuple[Network, ...]) -> bool:
    """Whether an address of a client is in one of these networks."""
    return bool(listed) and any(ipaddress.ip_address(address) in network for network in listed)


def client_key(address: str) -> str:
    """What a client's address is counted as: itself, or of IPv6 its /64, which is the least that one customer has."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((int(ipaddress.IPv6Address(address)), 64), strict=False))
