"""Bounces of a mail server that relays through the gateway: from which sender they go, and what is not delivered so."""

from pathlib import Path
from typing import Any

import pytest

from smtpgw.commands.explanation import BOUNCE_SENDER, explained
from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.replies import SMTPError
from smtpgw.message.parser import parse
from smtpgw.sandbox.accounts import DEMO, SECOND_PAGE_SENDER, SUB_ACCOUNT, SUB_ACCOUNT_SENDER
from tests.support.apart import SETTINGS
from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox

BOUNCES = sorted(Path(__file__).parent.parent.joinpath("corpus/clients").glob("bounce-*.eml"))
TO = "zoe@client.example"
REPORT = (
    "From: {author}\r\nTo: zoe@client.example\r\nSubject: Returned\r\n{headers}MIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\n\r\nNo such user.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\n{original}\r\n--b--\r\n"
)


def report(
    author: str = "MAILER-DAEMON <>", headers: str = "", original: str = "Subject: Order 17\r\n\r\nSecret"
) -> bytes:
    return REPORT.format(author=author, headers=headers, original=original).encode()


def submit(gateway: Gateway, raw: bytes, reverse_path: str = "") -> tuple[int, str]:
    with gateway.client() as client:
        assert client.mail(reverse_path)[0] == 250
        assert client.rcpt(TO)[0] == 250
        code, text = client.data(raw)
        return code, text.decode()


def requests(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [email["request"] for email in sandbox.emails(bodies="true")]


@pytest.mark.parametrize("eml", BOUNCES, ids=lambda eml: eml.stem)
def test_a_bounce_is_delivered_from_the_accounts_first_sender(sandbox: Sandbox, gateway: Gateway, eml: Path) -> None:
    assert submit(gateway, eml.read_bytes())[0] == 250
    (request,) = requests(sandbox)
    assert request["email"] == TO
    assert request["sender"]["id"] == DEMO.senders[0].id
    assert "refused@example.net" in request["content"]["text"]
    assert "Subject: Order 17" in request["content"]["text"] or "Message-ID: <order-17@" in request["content"]["text"]
    assert "secret" not in request["content"]["text"].replace("secret.zip", "")
    assert "attachment" not in request
    assert request["content"]["type"] == "transactional"
    assert request["tracking"] == {"opens": False, "clicks_html": False, "clicks_text": False}
    assert "Auto-Submitted" in [header["name"] for header in request["additional_headers"]]


@pytest.mark.parametrize(
    ("author", "headers", "sender_id"),
    [
        ("MAILER-DAEMON <>", "", DEMO.senders[0].id),
        ("Mail System <MAILER-DAEMON@elsewhere.example>", "", DEMO.senders[0].id),
        (f"Shop <{SECOND_PAGE_SENDER.email.upper()}>", "", SECOND_PAGE_SENDER.id),
        ("MAILER-DAEMON <>", f"x-sender-id: {SECOND_PAGE_SENDER.id}\r\n", SECOND_PAGE_SENDER.id),
        ("MAILER-DAEMON <>", f"x-account-id: {SUB_ACCOUNT.id}\r\n", SUB_ACCOUNT_SENDER.id),
        ("one@a.example, two@b.example", "", DEMO.senders[0].id),
    ],
)
def test_from_which_sender_a_report_goes(
    sandbox: Sandbox, gateway: Gateway, author: str, headers: str, sender_id: str
) -> None:
    assert submit(gateway, report(author, headers))[0] == 250
    (request,) = requests(sandbox)
    assert request["sender"]["id"] == sender_id


@pytest.mark.parametrize("domain", ["corp.example", "cakemail.example"])
def test_a_plain_bounce_from_postmaster_is_delivered_too(sandbox: Sandbox, gateway: Gateway, domain: str) -> None:
    raw = f"From: Postmaster <postmaster@{domain}>\r\nSubject: Failed\r\n\r\nNo such user.\r\n".encode()
    assert submit(gateway, raw)[0] == 250
    (request,) = requests(sandbox)
    assert request["sender"] == {"id": DEMO.senders[0].id, "name": "Postmaster"}
    assert request["content"]["text"] == "No such user.\n"


@pytest.mark.parametrize(
    ("raw", "reverse_path", "reply"),
    [
        (report(), SENDER, (550, "5.6.0 From must name")),
        (report(SENDER), SENDER, (554, "5.6.1 A delivery report (multipart/report) cannot")),
        (b"From: MAILER-DAEMON <>\r\n\r\nx\r\n", SENDER, (550, "5.6.0 From must name")),
        (b"From: postmaster@corp.example\r\n\r\nx\r\n", SENDER, (550, "5.7.1 postmaster@corp.example: sender is not")),
        (b"From: boss@corp.example\r\n\r\nx\r\n", "", (550, "5.7.1 boss@corp.example: sender is not confirmed")),
        (b"Subject: nobody\r\n\r\nx\r\n", "", (550, "5.7.1 <>: sender is not confirmed")),
    ],
    ids=["report", "report from a sender", "no address", "postmaster", "null and not a daemon", "nobody"],
)
def test_what_is_no_bounce_is_refused_as_ever(
    sandbox: Sandbox, gateway: Gateway, raw: bytes, reverse_path: str, reply: tuple[int, str]
) -> None:
    code, text = submit(gateway, raw, reverse_path)
    assert (code, text[: len(reply[1])]) == reply
    assert sandbox.emails() == []


def test_tracking_and_type_of_a_bounce_are_nobodys_to_say(sandbox: Sandbox, gateway: Gateway) -> None:
    headers = "x-email-api-type: marketing\r\nx-track-opens: true\r\nList-Unsubscribe: <https://a.example>\r\n"
    assert submit(gateway, report(headers=headers))[0] == 250
    (request,) = requests(sandbox)
    assert request["content"]["type"] == "transactional"
    assert request["tracking"] == {"opens": False, "clicks_html": False, "clicks_text": False}


def test_of_a_large_original_little_is_delivered() -> None:
    header = "".join(f"X-Field-{n}: {'x' * 70}\r\n" for n in range(2000))
    for original in (header, "Subject: x\r\n\r\n" + "body\r\n" * 300_000, "x" * 1_000_000):
        text = parse(report(original=original), "embed", null_sender=True).text or ""
        assert len(text) < 17_000
        assert "body\nbody" not in text


def test_files_in_a_report_are_dropped_and_told() -> None:
    raw = report().replace(b"--b--", b"--b\r\nContent-Type: application/zip; name=a.zip\r\n\r\nPK\r\n--b--")
    mail = parse(raw, "embed", null_sender=True)
    assert mail.attachments == ()
    assert mail.notes == ("dropped a part of type application/zip of the delivery report",)


def test_a_signed_report_is_refused() -> None:
    raw = report().replace(b"multipart/report", b"multipart/signed")
    with pytest.raises(SMTPError, match="signed"):
        parse(raw, "embed", null_sender=True)


@pytest.mark.parametrize("sender", [None, ""])
def test_explain_knows_a_bounce(sender: str | None) -> None:
    told = explained(report(), sender, [TO], ProviderMap.EMPTY.default, SETTINGS)
    assert told.reply.code == 250
    assert told.envelope.reverse_path == ""
    assert told.decisions["sender"] == (BOUNCE_SENDER, "a bounce of a mail server")
    assert told.decisions["type"] == ("transactional", "a bounce")


def test_explain_refuses_a_report_whose_reverse_path_is_not_null() -> None:
    assert explained(report(SENDER), SENDER, [TO], ProviderMap.EMPTY.default, SETTINGS).reply.code == 554


def test_an_account_without_a_confirmed_sender_sends_no_bounce(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.add_sender(SUB_ACCOUNT_SENDER.email, account_id=SUB_ACCOUNT.id, confirmed=False)
    with Gateway(sandbox.url, tmp_path) as gateway:
        code, text = submit(gateway, report(headers=f"x-account-id: {SUB_ACCOUNT.id}\r\n"))
    assert (code, text[:41]) == (550, "5.7.1 <>: sender is not confirmed in this")
