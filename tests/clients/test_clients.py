"""Mail clients that people have, as they come from Debian, PyPI and npm, send the same mail through the gateway.

Each is a small program in programs/ that takes its settings from the environment. install.sh installs what they need.
"""

import base64
import hashlib
import json
import os
import re
import smtplib
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.clients import mail
from tests.clients.catalog import CLIENTS, PROGRAMS, Client
from tests.clients.exim import Exim
from tests.clients.postfix import Postfix
from tests.support.gateway import PASSWORD, USERNAME, Gateway
from tests.support.sandbox import Sandbox

HOST = "localhost"  # a name, for the clients to find in the certificate
TO, BCC = "anna@example.com", "hidden@example.org"
# Cakemail's SubmitEmail has this pattern for the name of an attachment.
API_FILENAME = re.compile(r"[a-zA-Z0-9-_]+\.(csv|doc|docx|ics|jpeg|pdf|png|xls|xlsx)")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A function: the folder with what a client's `build` has made, which it does once."""

    @cache
    def build(client: Client) -> Path:
        folder = tmp_path_factory.mktemp(client.name)
        if client.build:
            subprocess.run(client.words(client.build, folder), check=True, timeout=100)
        return folder

    return build


@pytest.fixture
def environment(gateway, tmp_path):
    """What the programs read, and nothing else."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),  # nobody's ~/.mailrc, ~/.curlrc, ~/.msmtprc
        "LC_ALL": "C.UTF-8",
        "SMTP_HOST": HOST,
        "SMTP_PORT": str(gateway.port),
        "SMTP_USER": USERNAME,
        "SMTP_PASSWORD": PASSWORD,
        "SMTP_CA": str(gateway.cert),
        "SSL_CERT_FILE": str(gateway.cert),  # OpenSSL's and Go's own name for it
        **mail.environment(tmp_path, TO, BCC),
    }


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def sessions_opened(gateway: Gateway) -> float:
    _, page = gateway.get("/metrics")
    return sum(float(value) for value in re.findall(r"^smtpgw_sessions_opened_total{.*} (\S+)$", page, re.MULTILINE))


def assert_submitted_once_each(sandbox: Sandbox, count: int) -> list[dict]:
    """So many emails have been accepted, in as many calls, no two of them the same. Returns the requests."""
    emails = sandbox.emails()
    assert [email["status"] for email in emails] == ["queued"] * count
    assert sandbox.calls()["POST /v2/emails"]["outcomes"] == {"201": count}
    assert sandbox.ledger()["duplicates"] == 0
    return [email["request"] for email in emails]


def assert_mail_arrived(sandbox: Sandbox, makes_html: bool = True) -> None:
    """Each recipient gets the mail once, whole, and the one learns nothing of the other."""
    requests = {request["email"]: request for request in assert_submitted_once_each(sandbox, 2)}
    assert sorted(requests) == [TO, BCC]
    assert BCC not in json.dumps(requests[TO])
    for request in requests.values():
        assert request["sender"]["name"] == mail.FROM_NAME
        content = request["content"]
        assert content["subject"] == mail.SUBJECT
        assert same(content["text"]) == same(mail.TEXT)
        assert same(content.get("html", "")) == (same(mail.HTML) if makes_html else "")
        [attachment] = request["attachment"]
        assert API_FILENAME.fullmatch(attachment["filename"])
        assert attachment["type"] == "pdf"
        assert sha256(base64.b64decode(attachment["content"], validate=True)) == sha256(mail.pdf())


def same(text: str) -> str:
    """Text as people read it: a client may end its lines otherwise (Ruby's mail 2.7 with CR CR LF), or not the last."""
    return re.sub(r"\r*\n", "\n", text).rstrip("\r\n")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_mail_arrives(client, built, environment, sandbox):
    client.skip_unless_installed()
    sent = run(client.words(client.run, built(client)), environment)
    assert sent.returncode == 0, sent.stdout
    assert_mail_arrived(sandbox, client.makes_html)


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_wrong_password_is_an_authentication_error(client, built, environment, sandbox):
    client.skip_unless_installed()
    sent = run(client.words(client.run, built(client)), environment | {"SMTP_PASSWORD": "wrong"})
    assert sent.returncode != 0
    assert client.refusal in sent.stdout
    assert sandbox.emails() == []


@pytest.fixture
def postfix(gateway):
    Postfix.skip_unless_installed()
    with Postfix(relay=HOST, relay_port=gateway.port, ca=gateway.cert, user=USERNAME, password=PASSWORD) as postfix:
        yield postfix


def test_mail_arrives_through_a_postfix(postfix, sandbox):
    with smtplib.SMTP(postfix.host, postfix.port) as smtp:
        # Not send_message: that would take the Bcc field out before Postfix sees it.
        smtp.sendmail(mail.FROM, [TO, BCC], mail.message(TO, BCC).as_bytes())
    postfix.wait_until_empty(seconds=15)
    assert_mail_arrived(sandbox)


def refuse_recipient(sandbox: Sandbox) -> None:
    detail = [{"msg": "no such user", "loc": ["body", "email"]}]
    sandbox.fault(endpoint="/v2/emails", email=TO, status=422, body={"detail": detail})


def test_the_bounce_of_a_postfix_reaches_the_sender(postfix, sandbox):
    """The API refuses the recipient, the gateway answers 550, and Postfix's bounce comes back by the gateway."""
    refuse_recipient(sandbox)
    with smtplib.SMTP(postfix.host, postfix.port) as smtp:
        smtp.sendmail(mail.FROM, [TO], mail.message(TO, BCC).as_bytes())
    postfix.wait_until_empty(seconds=15)
    [email] = [email["request"] for email in sandbox.emails(status="queued")]
    assert email["email"] == mail.FROM
    assert email["sender"] == {"id": "sender-1001", "name": "Mail Delivery System"}
    assert email["content"]["subject"] == "Undelivered Mail Returned to Sender"
    assert "550 5.1.3 no such user" in email["content"]["text"]
    assert "attachment" not in email


@pytest.fixture
def exim(gateway):
    Exim.skip_unless_installed()
    with Exim(relay_port=gateway.port, ca=gateway.cert, user=USERNAME, password=PASSWORD) as exim:
        yield exim


def test_mail_arrives_through_an_exim(exim, sandbox):
    exim.send(mail.FROM, [TO, BCC], mail.message(TO, BCC).as_bytes())
    assert len(sandbox.emails()) == 2, exim.log()
    assert_mail_arrived(sandbox)


def test_the_bounce_of_an_exim_reaches_the_sender(exim, sandbox):
    """With max_rcpt = 1 the other recipient's mail is not affected."""
    refuse_recipient(sandbox)
    exim.send(mail.FROM, [TO, BCC], mail.message(TO, BCC).as_bytes())
    requests = {email["email"]: email["request"] for email in sandbox.emails(status="queued", bodies="true")}
    assert sorted(requests) == sorted([BCC, mail.FROM]), exim.log()
    bounce = requests[mail.FROM]
    assert bounce["content"]["subject"].startswith("Mail delivery failed")
    assert "550 5.1.3 no such user" in bounce["content"]["text"]
    assert "attachment" not in bounce


def test_smtplib_sends_five_mails_over_one_connection(gateway, sandbox):
    before = sessions_opened(gateway)
    to = [f"anna{number}@example.com" for number in range(5)]
    with gateway.client() as smtp:
        for address in to:
            smtp.send_message(mail.message(address, f"hidden-from-{address}"))
    assert sessions_opened(gateway) - before == 1
    requests = assert_submitted_once_each(sandbox, 10)
    assert {request["email"] for request in requests} == {*to, *(f"hidden-from-{address}" for address in to)}


def test_nodemailer_sends_twenty_mails_over_a_pool_of_two(gateway, environment, sandbox):
    [nodemailer] = [client for client in CLIENTS if client.name == "nodemailer"]
    nodemailer.skip_unless_installed()
    before = sessions_opened(gateway)
    sent = run(["node", str(PROGRAMS / "node" / "pool.js")], environment | {"MAIL_COUNT": "20"})
    assert sent.returncode == 0, sent.stdout
    assert sessions_opened(gateway) - before == 2
    requests = assert_submitted_once_each(sandbox, 20)
    assert {request["email"] for request in requests} == {TO}
    assert {request["content"]["subject"] for request in requests} == {f"{mail.SUBJECT} {n}" for n in range(20)}
