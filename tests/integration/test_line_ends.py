"""What Python's smtplib makes of octets whose lines end in bare LF arrives as it was written, dots and all."""

from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox

CSS = ".btn { color: red }\n..two\n.\n...\nend"


def test_lines_that_begin_with_a_dot_arrive_as_they_were_written(gateway: Gateway, sandbox: Sandbox) -> None:
    """`sendmail(a, b, message.as_bytes())`: stuffed after each LF, with no CRLF but the last."""
    raw = f"From: {SENDER}\nSubject: dots\nContent-Type: text/plain\n\n{CSS}\n".encode()
    with gateway.client() as client:
        client.sendmail(SENDER, "r@customer.example", raw)
        client.sendmail(SENDER, "r@customer.example", raw.replace(b"\n", b"\r\n"))
    texts = [email["request"]["content"]["text"] for email in sandbox.emails(bodies="true")]
    assert [text.replace("\r\n", "\n").strip() for text in texts] == [CSS, CSS]


def test_a_client_that_does_not_stuff_after_lf_loses_no_dot(gateway: Gateway, sandbox: Sandbox) -> None:
    raw = f"From: {SENDER}\nSubject: dots\nContent-Type: text/plain\n\n{CSS}".encode()
    with gateway.client() as client:
        client.mail(SENDER)
        client.rcpt("r@customer.example")
        assert client.docmd("DATA")[0] == 354
        client.send(raw + b"\r\n.\r\n")
        assert client.getreply()[0] == 250
    (email,) = sandbox.emails(bodies="true")
    assert email["request"]["content"]["text"].replace("\r\n", "\n").strip() == CSS
