"""The PROXY protocol: the parser with every form of header, then a real gateway with the test as its load balancer."""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.config.parsers import SettingsError
from smtpgw.config.settings import Settings
from smtpgw.net import proxy_protocol
from tests.support.gateway import Gateway
from tests.support.line import TIMEOUT_SECONDS, Line, log_lines, metric
from tests.support.sandbox import Sandbox

HANDSHAKE_SECONDS = 2
CLIENT, CLIENT_PORT = "203.0.113.7", 40_001
TLVS = b"\x02\x00\x0esmtp.localhost" + b"\x04\x00\x03\0\0\0" + b"\x20\x00\x05\x01\0\0\0\0"


def v2(command: int, family: int, addresses: bytes, tlvs: bytes = b"") -> bytes:
    return proxy_protocol.SIGNATURE_V2 + struct.pack("!BBH", command, family, len(addresses + tlvs)) + addresses + tlvs


def v1(client: str = CLIENT) -> bytes:
    family, ours = ("TCP6", "2001:db8:f::1") if ":" in client else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {client} {ours} {CLIENT_PORT} 587\r\n".encode()


def inet(source: str, destination: str, source_port: int, destination_port: int) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ports = struct.pack("!HH", source_port, destination_port)
    return socket.inet_pton(family, source) + socket.inet_pton(family, destination) + ports


TCP4 = v2(0x21, 0x11, inet(CLIENT, "198.51.100.1", CLIENT_PORT, 587))
TCP6 = v2(0x21, 0x21, inet("2001:db8::7", "2001:db8::1", 1, 65_535))
LOCAL = v2(0x20, 0x00, b"")
GOOD = {
    "v1 TCP4": (v1(), (CLIENT, CLIENT_PORT)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", ("2001:db8::7", 1)),
    "v1 longest TCP6": (
        b"PROXY TCP6 " + 2 * (b"ffff:" * 7 + b"ffff ") + b"65535 65535\r\n",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65_535),
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN, the longest": (b"PROXY UNKNOWN " + 2 * (b"ffff:" * 7 + b"ffff ") + b"65535 65535\r\n", None),
    "v2 TCP4": (TCP4, (CLIENT, CLIENT_PORT)),
    "v2 TCP4 with TLVs": (
        v2(0x21, 0x11, inet(CLIENT, "198.51.100.1", CLIENT_PORT, 587), TLVS),
        (CLIENT, CLIENT_PORT),
    ),
    "v2 TCP6": (TCP6, ("2001:db8::7", 1)),
    "v2 with as much as may be": (
        v2(0x21, 0x11, inet(CLIENT, "198.51.100.1", 1, 2), b"\x04" + b"\0" * (proxy_protocol.MAX_V2_REST_BYTES - 13)),
        (CLIENT, 1),
    ),
    "v2 LOCAL": (LOCAL, None),
    "v2 LOCAL that names addresses all the same": (v2(0x20, 0x11, inet("192.0.2.1", "192.0.2.2", 1, 2)), None),
    "v2 unspecified": (v2(0x21, 0x00, b""), None),
    "v2 UNIX": (v2(0x21, 0x31, b"/run/a".ljust(108, b"\0") * 2), None),
}
BAD = {
    "SMTP": b"EHLO client.example\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower case": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 bare LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "v1 two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "v1 no end": b"PROXY TCP4 " + b"1" * 200,
    "v1 port too high": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "v1 port with a sign": b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    "v1 port with a zero before": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "v1 address out of range": b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "v1 octal address": b"PROXY TCP4 192.0.2.010 192.0.2.2 1 2\r\n",
    "v1 the wrong family": b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
    "v1 bad destination": b"PROXY TCP4 192.0.2.1 nowhere 1 2\r\n",
    "v1 UDP4": b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "v1 too few words": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "v1 UNKNOWNS": b"PROXY UNKNOWNS\r\n",
    "v2 version 1": v2(0x11, 0x11, inet("192.0.2.1", "192.0.2.2", 1, 2)),
    "v2 unknown command": v2(0x22, 0x11, inet("192.0.2.1", "192.0.2.2", 1, 2)),
    "v2 datagram": v2(0x21, 0x12, inet("192.0.2.1", "192.0.2.2", 1, 2)),
    "v2 address cut short": v2(0x21, 0x11, b"\xc0\0\2\1"),
    "v2 too long": v2(0x21, 0x11, b"\0" * (proxy_protocol.MAX_V2_REST_BYTES + 1)),
    "v2 broken signature": b"\r\n\r\n\0\r\nQUIT\r\n\x21\x11\0\x0c" + b"\0" * 12,
}


def read(octets: bytes, piece: int = 10_000) -> tuple[tuple[str, int] | None, bytes]:
    """Parse a header in pieces of at most the missing octets, as from a socket. Return the client and the rest."""
    head, rest = b"", octets
    while more := proxy_protocol.missing_bytes(head):
        chunk = rest[: min(more, piece)]
        if not chunk:
            raise proxy_protocol.ProxyError("it ended")
        head, rest = head + chunk, rest[len(chunk) :]
    return proxy_protocol.parse_client(head), rest


@pytest.mark.parametrize("piece", [1, 2, 7, 10_000])
@pytest.mark.parametrize("name", GOOD)
def test_a_header_is_read_to_its_last_octet_and_no_further(name: str, piece: int):
    octets, client = GOOD[name]
    for rest in (b"", b"EHLO x\r\n", b"\n", b"\x16\x03\x01"):
        assert read(octets + rest, piece) == (client, rest)


@pytest.mark.parametrize("piece", [1, 10_000])
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_is_refused(name: str, piece: int):
    with pytest.raises(proxy_protocol.ProxyError):
        read(BAD[name], piece)


@given(
    st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([TCP4, TCP6, LOCAL, v1()]), st.binary()).map(b"".join))
)
def test_any_octets_are_a_header_or_an_error(octets: bytes):
    try:
        named, rest = read(octets)
    except proxy_protocol.ProxyError:
        return
    assert len(octets) - len(rest) <= proxy_protocol.V2_FIXED_BYTES + proxy_protocol.MAX_V2_REST_BYTES
    assert named is None or 0 <= named[1] <= 65_535


@pytest.mark.parametrize("networks", ["", "0.0.0.0/0", "10.0.0.0/8,::/0"])
def test_who_may_send_the_header_must_be_said(networks: str, gateway: Gateway):
    environ = {**gateway.variables, "SMTPGW_PROXY_PROTOCOL": "on", "SMTPGW_PROXY_CIDRS": networks}
    with pytest.raises(SettingsError, match="SMTPGW_PROXY_CIDRS: must name the load balancer's networks"):
        Settings.from_environ(environ)


# --- A real gateway; the test is its load balancer, at 127.0.0.1


@pytest.fixture(scope="module")
def behind(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    variables = {
        "SMTPGW_PROXY_PROTOCOL": "on",
        "SMTPGW_PROXY_CIDRS": "127.0.0.1/32",
        "SMTPGW_HANDSHAKE_TIMEOUT_SECONDS": str(HANDSHAKE_SECONDS),
        "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "2",
        "SMTPGW_TRUSTED_CIDRS": "203.0.113.7/32",
    }
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("behind"), **variables) as gateway:
        yield gateway


@pytest.mark.parametrize("name", GOOD)
def test_every_good_header_leads_to_the_greeting(name: str, behind: Gateway):
    with Line(behind, GOOD[name][0]) as line:
        assert line.hear().startswith("220 localhost ESMTP")
        assert line.say(b"QUIT\r\n").startswith("221 ")


def test_nothing_is_said_before_the_header_which_may_come_octet_by_octet(behind: Gateway):
    with Line(behind) as line:
        assert line.is_silent(0.3)
        for n in range(len(TCP4) - 1):
            line.sock.sendall(TCP4[n : n + 1])
        assert line.is_silent(0.1)
        assert line.say(TCP4[-1:]).startswith("220 ")


def test_what_the_client_says_may_come_in_the_packet_of_the_header(behind: Gateway):
    for header in (TCP4, v1()):
        with Line(behind, header + b"EHLO client.example\r\nQUIT\r\n") as line:
            heard = iter(line.hear, "")
            assert [next(heard)[:4], next(heard)] == ["220 ", "250-localhost"]
            assert [text for text in heard if text[:4] != "250-"] == ["250 STARTTLS", "221 2.0.0 Bye"]


@pytest.mark.parametrize("header", [TCP4, v1()], ids=["v2", "v1"])
def test_it_stands_before_tls_on_the_smtps_bind(header: bytes, behind: Gateway):
    with Line(behind, port=behind.smtps_port) as line:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = behind.trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        line.sock.sendall(header + outgoing.read())  # the ClientHello in the header's packet
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                line.sock.sendall(outgoing.read())
                incoming.write(line.sock.recv(65_536))
        line.sock.sendall(outgoing.read())
        greeting = b""
        while not greeting.endswith(b"\n"):
            try:
                greeting += tls.read()
            except ssl.SSLWantReadError:
                incoming.write(line.sock.recv(65_536))
        assert greeting.startswith(b"220 localhost ESMTP")


def test_the_log_names_the_client_and_not_the_load_balancer(behind: Gateway):
    with Line(behind, v1("198.51.100.99") + b"EHLO client.example\r\nQUIT\r\n") as line:
        while line.hear():
            pass
    (session,) = log_lines(behind.log, event="session", client="198.51.100.99")
    assert session["reason"] == "quit"


def test_an_ipv4_client_is_the_same_in_a_header_for_ipv6(behind: Gateway):
    header = b"PROXY TCP6 ::ffff:198.51.100.98 ::ffff:192.0.2.1 1 2\r\n"
    with Line(behind, header + b"EHLO client.example\r\nQUIT\r\n") as line:
        while line.hear():
            pass
    assert log_lines(behind.log, event="session", client="198.51.100.98")


def test_sessions_are_counted_by_the_clients_address_and_of_ipv6_by_its_64(behind: Gateway):
    def open_from(address: str) -> Line:
        line = Line(behind, v1(address))
        lines.append(line)
        return line

    lines: list[Line] = []
    before = metric(behind, 'smtpgw_limits_hit_total{limit="sessions_per_address"}')
    try:
        assert [open_from("192.0.2.50").hear()[:3] for _ in range(3)] == ["220", "220", "421"]
        assert [open_from("192.0.2.51").hear()[:3] for _ in range(2)] == ["220", "220"]
        of_one_64 = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1::3"]
        assert [open_from(address).hear()[:3] for address in of_one_64] == ["220", "220", "421"]
        assert open_from("2001:db8:0:2::1").hear()[:3] == "220"
        assert [open_from(CLIENT).hear()[:3] for _ in range(4)] == ["220"] * 4, "a trusted client has no such limit"
    finally:
        for line in lines:
            line.sock.close()
    assert metric(behind, 'smtpgw_limits_hit_total{limit="sessions_per_address"}') == before + 2


def test_a_health_check_is_no_failure_and_no_line_in_the_log(behind: Gateway):
    lost = metric(behind, 'smtpgw_sessions_closed_total{reason="lost"}')
    checks = metric(behind, 'smtpgw_sessions_closed_total{reason="check"}')
    Line(behind).sock.close()  # connects and closes
    Line(behind, port=behind.smtps_port).sock.close()
    Line(behind, TCP4[:9]).sock.close()
    for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
        with Line(behind, header) as line:
            assert line.hear().startswith("220 ")
        with Line(behind, header) as line:  # HAProxy's smtpchk
            assert line.hear().startswith("220 ")
            assert line.say(b"EHLO haproxy\r\n").startswith("250-")
    with Line(behind, LOCAL, port=behind.smtps_port):
        pass
    with Line(behind, v1("198.51.100.97") + b"EHLO afterwards\r\nQUIT\r\n") as line:
        while line.hear():
            pass
    log_lines(behind.log, event="session", client="198.51.100.97")
    mine = [line for line in behind.log.read_text().splitlines() if '"127.0.0.1"' in line and '"check"' in line]
    assert mine == []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while metric(behind, 'smtpgw_sessions_closed_total{reason="check"}') < checks + 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert metric(behind, 'smtpgw_sessions_closed_total{reason="lost"}') == lost


def test_whoever_is_no_load_balancer_is_refused_even_with_a_header(behind: Gateway):
    before = metric(behind, 'smtpgw_limits_hit_total{limit="proxy_only"}')
    for first in (b"", TCP4):
        with Line(behind, first, source="127.0.0.2") as line:
            assert line.hear() == "421 4.7.0 localhost takes connections from its load balancer only"
    with Line(behind, source="127.0.0.2", port=behind.smtps_port) as line:
        assert line.hear() == ""
    assert metric(behind, 'smtpgw_limits_hit_total{limit="proxy_only"}') == before + 3
    assert log_lines(behind.log, event="limit", client="127.0.0.2")


@pytest.mark.parametrize("name", BAD)
def test_a_load_balancer_that_sends_no_good_header_is_told_so(name: str, behind: Gateway):
    before = metric(behind, 'smtpgw_limits_hit_total{limit="proxy_header"}')
    with Line(behind, BAD[name]) as line:
        assert line.hear() == "421 4.3.5 localhost was not told by its load balancer who you are"
    assert metric(behind, 'smtpgw_limits_hit_total{limit="proxy_header"}') == before + 1


def test_a_header_has_the_time_of_a_handshake(behind: Gateway):
    began = time.monotonic()
    with contextlib.ExitStack() as lines:
        for line in [lines.enter_context(Line(behind, begun)) for begun in (b"", b"PROXY TCP4 192.0.2.1 ", TCP4[:20])]:
            assert line.hear() == "421 4.3.5 localhost was not told by its load balancer who you are"
            assert time.monotonic() - began > HANDSHAKE_SECONDS * 0.9


def test_a_header_of_version_1_is_an_unknown_command_where_none_is_expected(gateway: Gateway):
    with Line(gateway, v1() + b"EHLO client.example\r\n") as line:
        assert line.hear().startswith("220 ")
        assert line.hear().startswith("500 5.5.1 Command not recognized")
        assert line.hear() == "250-localhost"
