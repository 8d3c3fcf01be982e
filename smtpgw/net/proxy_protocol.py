"""Parser for the PROXY protocol, versions 1 and 2, with which a load balancer passes the client's address. No I/O.

https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, §2. `missing_bytes` returns how many more octets certainly
belong to the header. A caller that reads exactly these leaves the following octets, such as a TLS handshake, unread.
`parse_client` parses a complete header. The available library raises undocumented exceptions for some malformed
headers, so it is not used.
"""

import ipaddress
import re
import struct

SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
# Signature, version and command, family and protocol, length of the rest.
V2_FIXED_BYTES = 16
# The rest has two addresses and TLVs, such as the name of a certificate.
MAX_V2_REST_BYTES = 2048
V1_PREFIX = b"PROXY "
MIN_V1_BYTES = len(b"PROXY UNKNOWN\r\n")
# §2.1
MAX_V1_BYTES = 107
V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
# Version 2 with the command.
LOCAL, PROXY = 0x20, 0x21
# Address family with SOCK_STREAM.
TCP4, TCP6 = 0x11, 0x21
# Address families with SOCK_DGRAM, which no connection has.
DATAGRAMS = frozenset({0x12, 0x22, 0x32})


class ProxyError(Exception):
    """The header is missing or malformed. The message is the reason."""


def missing_bytes(head: bytes) -> int:
    """Return how many more octets are certainly part of the header that begins with `head`, 0 when it is complete.

    Raises:
        ProxyError: when `head` is not the beginning of a header, or the header is too long.
    """
    if SIGNATURE_V2.startswith(head[: len(SIGNATURE_V2)]) and head:
        if len(head) < V2_FIXED_BYTES:
            return V2_FIXED_BYTES - len(head)
        rest: int = struct.unpack_from("!H", head, V2_FIXED_BYTES - 2)[0]
        if rest > MAX_V2_REST_BYTES:
            raise ProxyError(f"a header of {rest} octets")
        return V2_FIXED_BYTES + rest - len(head)
    if not V1_PREFIX.startswith(head[: len(V1_PREFIX)]):
        raise ProxyError("no header")
    if head.endswith(b"\n"):
        return 0
    if len(head) >= MAX_V1_BYTES:
        raise ProxyError("a line that is too long")
    # The first octet distinguishes the versions. A line of version 1 may end with any octet after its minimum length.
    return max(MIN_V1_BYTES - len(head), 1) if head else 1


def parse_client(head: bytes) -> tuple[str, int] | None:
    """Return the client's address and port from a complete header. None for a connection of the load balancer itself.

    Raises:
        ProxyError: when the header is malformed.
    """
    try:
        return _client_v2(head) if head.startswith(SIGNATURE_V2) else _client_v1(head)
    except (struct.error, ValueError) as problem:
        raise ProxyError(str(problem)) from problem


def _client_v1(line: bytes) -> tuple[str, int] | None:
    if re.match(rb"PROXY UNKNOWN[ \r]", line) and line.endswith(b"\r\n"):
        # §2.1: the rest of the line is ignored.
        return None
    found = V1.fullmatch(line)
    if not found:
        raise ProxyError("a line of another form")
    family, source, destination, source_port, destination_port = (word.decode("ascii") for word in found.groups())
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    kind(destination)
    if max(int(source_port), int(destination_port)) > 65_535:
        raise ProxyError("a port that is none")
    return str(kind(source)), int(source_port)


def _client_v2(head: bytes) -> tuple[str, int] | None:
    command, family = head[12], head[13]
    if command == LOCAL:
        return None
    if command != PROXY or family in DATAGRAMS:
        raise ProxyError(f"version and command {command:#x}, family and protocol {family:#x}")
    form = {TCP4: "!4s4sHH", TCP6: "!16s16sHH"}.get(family)
    if not form:
        # §2.2: the family is unspecified or a UNIX socket, so there is no network address.
        return None
    # TLVs may follow. They are ignored.
    source, _, port, _ = struct.unpack_from(form, head, V2_FIXED_BYTES)
    return str(ipaddress.ip_address(source)), port
