"""What an attacker sends: two messages in one, commands before TLS, line ends and NUL where there should be none."""

import base64
import contextlib
import smtplib
from collections.abc import Iterator

import pytest

from tests.support.gateway import SENDER, USERNAME, Gateway
from tests.support.line import Line, metric
from tests.support.recorder import InProcess, codes, plain
from tests.support.sandbox import Sandbox

SMUGGLED = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<victim@x.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n"
# Ends of data to some server or other, and to none that reads RFC 5321 §4.1.1.4: CVE-2023-51764, -51765, -51766 and on.
NO_ENDS = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CRLF . LF": b"\r\n.\n",
    "CR . CR": b"\r.\r",
    "CR . CRLF": b"\r.\r\n",
    "CRLF . CR": b"\r\n.\r",
    "CR . LF": b"\r.\n",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF . space CRLF": b"\r\n. \r\n",
    "CRLF .. CRLF": b"\r\n..\r\n",
    "CRLF CR . CRLF": b"\r\n\r.\r\n",
    "LF CR . CRLF": b"\n\r.\r\n",
    "LF . CR CR LF": b"\n.\r\r\n",
    "CRLF . CR CR LF": b"\r\n.\r\r\n",
    "wide full stop": "\r\n．\r\n".encode(),
}
CONTROLS = [bytes([n]) for n in range(32) if n not in (9, 10)] + [b"\x7f"]  # LF ends the line; a tab is white space
HEADER = "X-Note"


# --- Two messages in one


@pytest.mark.parametrize("name", NO_ENDS)
def test_nothing_but_crlf_dot_crlf_ends_a_message_wherever_the_packets_end(name: str):
    whole = b"Subject: one\r\n\r\nhello" + NO_ENDS[name] + SMUGGLED + b".\r\nQUIT\r\n"
    end = len(whole) - len(SMUGGLED) - len(b".\r\nQUIT\r\n") + 8
    for split in range(20, end):
        dialogue = InProcess("recipient given")
        heard = dialogue.converse([b"DATA\r\n", whole[:split], whole[split:]])
        assert codes(heard) == [220, 354, 250, 221], (name, split)
        (submission,) = dialogue.gateway.submissions
        assert b"MAIL FROM:<evil@x.example>" in submission.raw
        assert submission.envelope.recipients == ["r@x.example"]


def test_a_message_split_at_each_of_its_octets_is_the_same_message():
    whole = b"DATA\r\nSubject: one\r\n\r\n..two\r\n...\r\n.x\r\n.\r\nQUIT\r\n"
    for split in range(1, len(whole)):
        dialogue = InProcess("recipient given")
        assert codes(dialogue.converse([whole[:split], whole[split:]])) == [220, 354, 250, 221]
        assert [s.raw for s in dialogue.gateway.submissions] == [b"Subject: one\r\n\r\n.two\r\n..\r\nx\r\n"]


def test_what_was_not_smuggled_arrives_as_text(gateway: Gateway, sandbox: Sandbox):
    with gateway.client() as client:
        client.mail(SENDER)
        client.rcpt("r@customer.example")
        assert client.docmd("DATA")[0] == 354
        head = f"From: {SENDER}\r\nSubject: one\r\nContent-Type: text/plain\r\n\r\nhello".encode()
        client.send(head + b"\n.\r\n" + SMUGGLED + b".\r\n")
        assert client.getreply()[0] == 250
    (email,) = sandbox.emails(bodies="true")
    assert email["request"]["email"] == "r@customer.example"
    assert "MAIL FROM:<evil@x.example>" in email["request"]["content"]["text"]


# --- Commands before TLS, and around AUTH


@pytest.mark.parametrize("injected", [b"EHLO x\r\n", b"MAIL FROM:<a@x.example>\r\n", b"\r\n", b"N", b"\x16\x03\x01"])
def test_octets_in_the_packet_of_starttls_are_never_read_after_it(injected: bytes, gateway: Gateway):
    with Line(gateway, b"EHLO x\r\nSTARTTLS\r\n" + injected) as line:
        heard = [line.hear()]
        while heard[-1][:4] in ("220 ", "250-", "250 "):
            heard.append(line.hear())
        assert heard[-1].startswith("503 5.5.1 Commands must not be sent along with STARTTLS")
        assert not any(text.startswith("220 2.0.0") for text in heard)


def test_octets_sent_in_clear_after_starttls_spoil_the_handshake_and_nothing_else(gateway: Gateway):
    failed = metric(gateway, 'smtpgw_tls_handshakes_total{version="failed"}')
    with Line(gateway, b"EHLO x\r\n") as line:
        while not line.hear().startswith("250 "):
            pass
        assert line.say(b"STARTTLS\r\n").startswith("220 ")
        line.sock.sendall(b"EHLO x\r\nMAIL FROM:<a@x.example>\r\n")
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := line.sock.recv(4096):
                heard += chunk
        assert b"250" not in heard
    assert metric(gateway, 'smtpgw_tls_handshakes_total{version="failed"}') == failed + 1


def test_what_was_said_before_tls_is_forgotten(gateway: Gateway):
    client = gateway.encrypted()
    assert client.docmd("AUTH PLAIN " + plain().decode())[0] == 503, "EHLO anew first"
    client.close()


TRANSACTION = b"MAIL FROM:<sender@cakemail.example>\r\nRCPT TO:<r@x.example>\r\nDATA\r\n"


@pytest.mark.parametrize("auth", [
    b"AUTH PLAIN " + plain(USERNAME, "wrong") + b"\r\n",
    b"AUTH PLAIN\r\n" + plain(USERNAME, "wrong") + b"\r\n",
    b"AUTH LOGIN\r\n" + base64.b64encode(USERNAME.encode()) + b"\r\n" + base64.b64encode(b"wrong") + b"\r\n",
])  # fmt: skip
def test_what_is_pipelined_after_a_failed_login_is_refused(auth: bytes):
    dialogue = InProcess("greeted")
    heard = dialogue.converse([auth + TRANSACTION])
    assert [code for code in codes(heard) if code != 334] == [220, 535, 530, 530, 530]
    assert dialogue.gateway.submissions == []


def test_a_transaction_may_follow_a_good_login_in_the_same_packet():
    dialogue = InProcess("greeted")
    heard = dialogue.converse([
        b"AUTH PLAIN " + plain() + b"\r\n" + TRANSACTION, b"\r\n\r\n.\r\nQUIT\r\n",
    ])  # fmt: skip
    assert codes(heard) == [220, 235, 250, 250, 354, 250, 221]


@pytest.mark.parametrize("state", ["logged in", "mail given", "recipient given"])
def test_nobody_logs_in_twice(state: str):
    dialogue = InProcess(state)
    heard = dialogue.converse([b"AUTH PLAIN " + plain("other@x.example", "password") + b"\r\nEHLO x\r\n"
                               b"AUTH PLAIN " + plain("other@x.example", "password") + b"\r\n"])  # fmt: skip
    assert codes(heard) == [220, 503, 250, 503]
    assert dialogue.gateway.logins == []


# --- Control characters, in commands


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.hex())
@pytest.mark.parametrize("line", [
    "MAIL FROM:<a{0}b@x.example>", "MAIL FROM:<a@x{0}.example>", "MAIL FROM:<a@x.example> SIZE=1{0}",
    'MAIL FROM:<"a{0}b"@x.example>', "RCPT TO:<a{0}b@x.example>", "RCPT TO:<a@x.example{0}>",
    'RCPT TO:<"a{0}b"@x.example>', "RCPT TO:<a@x.example> NOTIFY={0}", "EHLO x{0}y", "NOOP {0}", "{0}QUIT{0}x",
])  # fmt: skip
def test_a_control_character_makes_no_command(line: str, control: bytes):
    dialogue = InProcess("mail given" if line.startswith("RCPT") else "logged in")
    command = line.encode().replace(b"{0}", control) + b"\r\n"
    heard = dialogue.converse([command, b"QUIT\r\n"])
    assert codes(heard) == [220, 501, 221]
    assert not set(heard) & set(b"".join(CONTROLS)) - {13}, "a control character in a reply"


@pytest.mark.parametrize("address", ["a\r\nRCPT TO:<victim@x.example>", "a\nDATA\n", "a@x.example\r\n.\r\n"])
def test_a_line_end_in_an_address_ends_the_line_and_no_address(address: str):
    dialogue = InProcess("mail given")
    dialogue.converse([f"RCPT TO:<{address}\r\n".encode()])
    assert dialogue.session.envelope is None or "a" not in dialogue.session.envelope.recipients
    assert dialogue.gateway.submissions == []


# --- Control characters, in credentials


@pytest.mark.parametrize("password", [
    "{0}\r\nX-Injected: 1", "{0}\rX-Injected: 1", "{0}\nX-Injected: 1", "{0}\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "{0} {0}", "{0}\x7f", "{0}\u20ac", "{0}\u2028x", "\u010a{0}", "", "=", "{0}, Basic eA==",
])  # fmt: skip
@pytest.mark.parametrize("username", ["apikey", "token", USERNAME])
def test_credentials_that_would_be_headers_are_bad_credentials(
    username: str, password: str, gateway: Gateway, sandbox: Sandbox
):
    bugs = metric(gateway, "smtpgw_internal_errors_total")
    with quiet(gateway) as client:
        client.ehlo()
        code, text = client.docmd(
            "AUTH PLAIN " + plain(username, password.replace("{0}", "demo-access-token")).decode()
        )
    assert (code, text[:5]) == (535, b"5.7.8")
    assert metric(gateway, "smtpgw_internal_errors_total") == bugs
    if username != USERNAME:
        assert "GET /accounts/self" not in sandbox.calls(), "it was sent to the API"


@pytest.mark.parametrize("username", [f"{USERNAME}\n", f"\x1b{USERNAME}", f"demo\x7f{USERNAME}", f"{USERNAME}\x85"])
def test_a_user_name_with_a_control_character_does_not_reach_the_api(username: str, gateway: Gateway, sandbox: Sandbox):
    with quiet(gateway) as client:
        client.ehlo()
        code, text = client.docmd("AUTH PLAIN " + plain(username, "demo-password").decode())
    assert code == 535
    assert text.startswith(b"5.7.8 Authentication failed: user name or password has a control character")
    assert sandbox.calls() == {}


@contextlib.contextmanager
def quiet(gateway: Gateway) -> Iterator[smtplib.SMTP]:
    client = gateway.encrypted()
    try:
        yield client
    finally:
        client.close()


def test_a_nul_makes_no_more_fields_of_plain():
    for text in (b"\0a\0b\0c", b"\0\0\0\0", b"a", b"a\0b", b""):
        dialogue = InProcess("greeted")
        heard = dialogue.converse([b"AUTH PLAIN " + (base64.b64encode(text) or b"=") + b"\r\n"])
        assert codes(heard) == [220, 501], text
        assert dialogue.gateway.logins == []


# --- Control characters, in header fields


def send(gateway: Gateway, *fields: bytes) -> tuple[int, bytes]:
    head = [b"From: " + SENDER.encode(), b"Content-Type: text/plain", *fields]
    with gateway.client() as client:
        client.mail(SENDER)
        client.rcpt("r@customer.example")
        client.docmd("DATA")
        client.send(b"\r\n".join(head) + b"\r\n\r\nhello\r\n.\r\n")
        return client.getreply()


@pytest.mark.parametrize("octets", [
    b"a\rBcc: victim@x.example", b"a\rX-Injected: 1\r", b"a\r\rX-Injected: 1", b"a\0b", b"a\x0bX-Injected: 1",
    b"a\x0cX-Injected: 1", b"a\x85X-Injected: 1", b"a\xc2\x85X-Injected: 1", b"a\xe2\x80\xa8X-Injected: 1",
    b"=?utf-8?q?a=0D=0AX-Injected:_1?=", b"=?utf-8?b?YQ0KWC1JbmplY3RlZDogMQ==?=", b"=?utf-8?q?a=00b?=",
    b"a\r\n\tX-Injected: 1", b'a"}], "tags": ["x"], "b": [{"', b"a\x1b]0;title\x07",
])  # fmt: skip
def test_a_header_value_stays_one_value(octets: bytes, gateway: Gateway, sandbox: Sandbox):
    code, _ = send(gateway, b"Subject: " + octets, HEADER.encode() + b": " + octets, b"Reply-To: <r@x.example>")
    assert code == 250
    (email,) = sandbox.emails(bodies="true")
    assert email["unknown_fields"] == []
    request = email["request"]
    assert sorted(h["name"] for h in request["additional_headers"]) == ["Reply-To", HEADER]
    assert "tags" not in request
    for value in (request["content"]["subject"], *(h["value"] for h in request["additional_headers"])):
        assert not set(value) & {*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029"}, f"{value!r}"
        assert len(value.splitlines()) == 1
    assert [e["request"]["email"] for e in sandbox.emails(bodies="true")] == ["r@customer.example"]


@pytest.mark.parametrize(
    "name", [b"X-Bad Name", b"X-Bad\0Name", b"X-Bad\rName", b"X-B\xc3\xa4d", b"", b" X-Bad", b"X-\x7f"]
)
def test_a_header_name_is_one_or_the_message_is_refused(name: bytes, gateway: Gateway, sandbox: Sandbox):
    code, _ = send(gateway, b"Subject: s", name + b": value", b"X-Good: yes")
    assert code in (250, 554)
    for email in sandbox.emails(bodies="true"):
        assert email["unknown_fields"] == []
        for header in email["request"].get("additional_headers", []):
            assert header["name"].isascii()
            assert header["name"].isprintable()
            assert " " not in header["name"]


@pytest.mark.parametrize(
    "name", [b"Bcc", b"To", b"Received", b"DKIM-Signature", b"Return-Path", b"Content-Transfer-Encoding"]
)
def test_a_header_that_would_steer_the_delivery_is_not_handed_on(name: bytes, gateway: Gateway, sandbox: Sandbox):
    assert send(gateway, b"Subject: s", name + b": victim@x.example")[0] == 250
    (email,) = sandbox.emails(bodies="true")
    assert email["request"]["email"] == "r@customer.example"
    assert "victim" not in str(email["request"])
