"""The PROXY protocol, versions 1 and 2: what a load balancer says of the client before the client's first octet. Pure.

https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt, §2. `wanted` says how many more octets surely belong to
the header: reading just these leaves what follows, a TLS handshake for one, untouched. `client` reads a whole header.
Own code, since the library there is answers some malformed headers with exceptions of other kinds than its own.
"""

import ipaddress
import re
import struct

SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
V2_FIXED_BYTES = 16  # signature, version and command, family and protocol, length of the rest
V2_MAX_BYTES = 2048  # of the rest: 36 octets of addresses and TLVs, a certificate's name among them
V1_BEGINNING = b"PROXY "
V1_MIN_BYTES = len(b"PROXY UNKNOWN\r\n")
V1_MAX_BYTES = 107  # §2.1
V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
LOCAL, PROXY = 0x20, 0x21  # version 2 and the command
TCP4, TCP6 = 0x11, 0x21  # address family and SOCK_STREAM
NO_STREAM = frozenset({0x12, 0x22, 0x32})  # datagrams: never the header of a connection


class ProxyError(Exception):
    """There is no such header, or it cannot be read; says why."""


def wanted(head: bytes) -> int:
    """How many more octets are certainly part of the header that begins with these; 0 when it is whole.

    Raises:
        ProxyError: when they begin no header, or one that is too long.
    """
    if SIGNATURE_V2.startswith(head[: len(SIGNATURE_V2)]) and head:
        if len(head) < V2_FIXED_BYTES:
            return V2_FIXED_BYTES - len(head)
        rest: int = struct.unpack_from("!H", head, V2_FIXED_BYTES - 2)[0]
        if rest > V2_MAX_BYTES:
            raise ProxyError(f"a header of {rest} octets")
        return V2_FIXED_BYTES + rest - len(head)
    if not V1_BEGINNING.startswith(head[: len(V1_BEGINNING)]):
        raise ProxyError("no header")
    if head.endswith(b"\n"):
        return 0
    if len(head) >= V1_MAX_BYTES:
        raise ProxyError("a line that is too long")
    # Both beginnings tell themselves apart by the first octet; then a line may end with every further one.
    return max(V1_MIN_BYTES - len(head), 1) if head else 1


def client(head: bytes) -> tuple[str, int] | None:
    """The client's address and port, of a whole header; None where it names none: the load balancer's own connection.

    Raises:
        ProxyError: when the header cannot be read.
    """
    try:
        return _client_v2(head) if head.startswith(SIGNATURE_V2) else _client_v1(head)
    except (struct.error, ValueError) as problem:
        raise ProxyError(str(problem)) from problem


def _client_v1(line: bytes) -> tuple[str, int] | None:
    if re.match(rb"PROXY UNKNOWN[ \r]", line) and line.endswith(b"\r\n"):
        return None  # §2.1: whatever follows UNKNOWN is ignored
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
    if command != PROXY or family in NO_STREAM:
        raise ProxyError(f"version and command {command:#x}, family and protocol {family:#x}")
    form = {TCP4: "!4s4sHH", TCP6: "!16s16sHH"}.get(family)
    if not form:
        return None  # §2.2: unspecified, or a UNIX socket: no address that means anything here
    source, _, port, _ = struct.unpack_from(form, head, V2_FIXED_BYTES)  # any TLVs follow, and are not ours to read
    return str(ipaddress.ip_address(source)), port
