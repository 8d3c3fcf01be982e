"""Clients for a gateway that is watched: apps that send all day, and one that has gone mad."""

import contextlib
import secrets
import smtplib
import time

from tests.support.gateway import PASSWORD, USERNAME, Gateway


class Clock:
    """How long clients go on."""

    end = 0.0

    def begin(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def __bool__(self) -> bool:
        return time.monotonic() < self.end


def connected(gateway: Gateway, address: str, username: str = USERNAME, password: str = PASSWORD) -> smtplib.SMTP:
    client = smtplib.SMTP("localhost", gateway.port, timeout=30, source_address=(address, 0))
    client.starttls(context=gateway.trusting())
    client.login(username, password)
    return client


def send_all_day(client: smtplib.SMTP, author: str, goes_on: Clock) -> None:
    """An app that sends five messages a second, whatever it is answered."""
    with client:
        while goes_on:
            with contextlib.suppress(smtplib.SMTPDataError):
                text = f"From: {author}\r\nMessage-ID: <{secrets.token_hex(8)}@app.example>\r\n\r\nx\r\n"
                client.sendmail(author, ["someone@customer.example"], text)
            time.sleep(0.2)


def flood(gateway: Gateway, goes_on: Clock) -> None:
    """A client gone mad: more sessions than it may have, and again at once."""
    with contextlib.ExitStack() as stack:
        while goes_on:
            with contextlib.suppress(smtplib.SMTPConnectError):
                stack.enter_context(smtplib.SMTP("localhost", gateway.port, timeout=30))
            time.sleep(0.05)
