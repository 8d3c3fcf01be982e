"""Client addresses and networks."""

import ipaddress

from smtpgw.config.parsers import Network


def is_in(address: str, listed: tuple[Network, ...]) -> bool:
    """Return whether a client's address is in one of these networks."""
    return bool(listed) and any(ipaddress.ip_address(address) in network for network in listed)


def client_key(address: str) -> str:
    """Return the key under which a client's address is counted.

    For IPv6 this is the /64 network, which is the smallest that one customer gets; for IPv4 it is the address.
    """
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((int(ipaddress.IPv6Address(address)), 64), strict=False))
