"""Tests that rejected headers are counted and logged, and that large messages are parsed outside the event loop."""

import json
import smtplib

import gevent
import pytest
from gevent import monkey

from smtpgw.core.models import Envelope
from smtpgw.dialects import interpreter
from smtpgw.submission.offload import LARGE_BYTES
from tests.support.apart import GatewayApart
from tests.support.gateway import SENDER, Gateway
from tests.support.line import log_lines, metric


def send(gateway: Gateway, *headers: str, body: str = "Hello") -> None:
    lines = [f"From: {SENDER}", "To: anna@example.com", "Subject: Hi", *headers, "", body]
    with gateway.client() as client:
        client.sendmail(SENDER, ["anna@example.com"], "\r\n".join(lines))


def test_a_refused_header_is_counted_and_in_the_log(sandbox, gateway):
    counter = 'smtpgw_dialect_headers_total{dialect="mailgun",verdict="refuse"}'
    before = metric(gateway, counter)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(gateway, "X-Mailgun-Require-TLS: yes", "Message-ID: <refused-header@example.com>")
    assert refusal.value.smtp_code == 550
    (line,) = log_lines(gateway.log, message_id="<refused-header@example.com>")
    assert line["refused"] == "X-Mailgun-Require-TLS: a promise to deliver only over TLS"
    assert metric(gateway, counter) == before + 1
    assert sandbox.emails() == []


def test_placeholders_of_a_large_message_are_found(sandbox, gateway):
    header = 'X-MC-MergeVars: {"fname":"Ben"}'
    with pytest.raises(smtplib.SMTPDataError, match="fname"):
        send(gateway, header, body="x" * 60 + "\r\n" + ("y" * 70 + "\r\n") * (LARGE_BYTES // 70) + "*|FNAME|*")
    assert sandbox.emails() == []


def test_control_headers_of_a_large_message_hold_up_nobody(monkeypatch):
    sleep = monkey.get_original("time", "sleep")
    ran = []

    def slow(*_):
        """Block the thread until another greenlet runs."""
        for _ in range(500):
            if not ran:
                sleep(0.01)
        return interpreter.Options(tags=("read",) if ran else ())

    monkeypatch.setattr(interpreter, "read", slow)
    gevent.spawn(ran.append, "another")
    with GatewayApart() as apart:
        envelope = Envelope("shop@example.com", ["anna@example.com"])
        _, (body,) = apart.submitted(envelope, b"From: shop@example.com\r\n\r\n" + b"x\r\n" * LARGE_BYTES)
    assert json.loads(body)["tags"] == ["read"]
