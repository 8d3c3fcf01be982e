"""`python -m smtpgw explain`: as a migrating developer runs it, and held to what the gateway itself does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from smtpgw.commands.explanation import UNKNOWN_LIST, NoRecipient, explained
from smtpgw.config.provider_map import ProviderMap
from smtpgw.core.models import Envelope
from tests.support.apart import SETTINGS, GatewayApart

ROOT = Path(__file__).parent.parent.parent.parent
CORPUS = ROOT / "tests" / "corpus"
MESSAGES = sorted(CORPUS.rglob("*.eml"))
MAPS = ProviderMap.load(str(CORPUS / "dialects" / "maps.yaml"))
SENDGRID = (
    b"From: Shop <shop@example.com>\r\nTo: Anna <anna@example.net>\r\nReply-To: help@example.com\r\n"
    b"Received: from a by b\r\nMessage-ID: <1@example.com>\r\nSubject: Your order\r\n"
    b'X-SMTPAPI: {"category":["Orders","fr"],"unique_args":{"order":"12345"},\r\n'
    b' "filters":{"opentrack":{"settings":{"enable":0}}}}\r\n'
    b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>Thank you</p>\r\n"
)


def explain(*arguments: str, given: bytes = b"", **variables: str) -> subprocess.CompletedProcess:
    """Run it with these arguments, and `given` as its standard input."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_"))}
    return subprocess.run(
        [sys.executable, "-m", "smtpgw", "explain", *arguments],
        cwd=ROOT,
        env={**environ, "PYTHONUTF8": "1", **variables},
        input=given,
        capture_output=True,
    )


def said(run: subprocess.CompletedProcess) -> list[str]:
    """The lines it wrote, each with single spaces between its words."""
    return [" ".join(line.split()) for line in run.stdout.decode().splitlines()]


def answer(run: subprocess.CompletedProcess) -> dict:
    return json.loads(run.stdout)


def mail(*headers: str, body: str = "Hello") -> bytes:
    return "\r\n".join(["From: shop@example.com", "To: anna@example.net", "Subject: Hi", *headers, "", body]).encode()


# --- What a developer sees --------------------------------------------------------------------------------------------


def test_a_mail_of_sendgrids(tmp_path):
    (tmp_path / "order.eml").write_bytes(SENDGRID)
    run = explain(str(tmp_path / "order.eml"))
    lines = said(run)
    assert run.returncode == 0, run
    assert "mapped X-SMTPAPI category tags Orders; fr" in lines
    assert "warned X-SMTPAPI unique_args metadata is only in the gateway's log" in lines
    assert "mapped X-SMTPAPI filters.opentrack.settings opens false" in lines
    assert "kept Reply-To" in lines
    assert "stripped Received describes another transmission" in lines
    assert "sender <id of shop@example.com> (From)" in lines
    assert "type transactional (SMTPGW_DEFAULT_TYPE)" in lines
    assert lines[-1] == "250 2.0.0 Ok: queued as <Cakemail's id>"
    request = run.stdout.decode().partition("POST /v2/emails ")[2].partition("\n\nReply")[0]
    assert json.loads(request) == {
        "email": "anna@example.net",
        "sender": {"id": "<id of shop@example.com>", "name": "Shop"},
        "content": {
            "subject": "Your order",
            "type": "transactional",
            "encoding": "utf-8",
            "html": "<p>Thank you</p>\n",
        },
        "list_id": UNKNOWN_LIST,
        "tags": ["Orders", "fr"],
        "tracking": {"opens": False},
        "additional_headers": [{"name": "Reply-To", "value": "help@example.com"}],
    }


def test_json_is_exact_and_has_a_request_for_each_recipient():
    text = "long " * 1000
    run = explain("-", "--to", "ben@example.net", "--to", "cleo@example.net", "--json", given=mail(body=text))
    found = answer(run)
    assert run.returncode == 0, run
    assert found["envelope"] == {"from": "shop@example.com", "to": ["ben@example.net", "cleo@example.net"]}
    assert [(r["method"], r["path"], r["body"]["email"]) for r in found["requests"]] == [
        ("POST", "/v2/emails", "ben@example.net"),
        ("POST", "/v2/emails", "cleo@example.net"),
    ]
    assert found["requests"][0]["body"]["content"]["text"] == text
    assert found["reply"] == {"code": 250, "status": "2.0.0", "text": "Ok: queued as <the gateway's id>"}


def test_long_values_are_shortened_and_the_other_recipients_are_named():
    run = explain("-", "--to", "ben@example.net", "--to", "cleo@example.net", given=mail(body="x" * 1000))
    assert "x" * 101 not in run.stdout.decode()
    assert "(1,000 characters)" in run.stdout.decode()
    assert 'and the same with "email": "cleo@example.net"' in said(run)


def test_a_refusal_is_told_with_status_1():
    run = explain("-", given=mail("X-Mailgun-Require-TLS: yes"))
    lines = said(run)
    assert run.returncode == 1
    assert "refused X-Mailgun-Require-TLS a promise to deliver only over TLS" in lines
    assert lines[-1].startswith("550 5.3.3 X-Mailgun-Require-TLS: ")
    assert "POST" not in run.stdout.decode()


def test_every_refused_header_is_told_and_the_others_too():
    headers = ("X-Mailgun-Require-TLS: yes", "X-MC-Tags: a, b", "X-MC-BccAddress: x@y.example", "X-PM-TrackOpens: true")
    found = answer(explain("-", "--json", given=mail(*headers)))
    assert [(h["dialect"], h["header"], h["verdict"]) for h in found["headers"]] == [
        ("mailgun", "X-Mailgun-Require-TLS", "refused"),
        ("mandrill", "X-MC-BccAddress", "refused"),
        ("mandrill", "X-MC-Tags", "mapped"),
        ("postmark", "X-PM-TrackOpens", "mapped"),
    ]
    assert found["reply"]["text"].startswith("X-Mailgun-Require-TLS: ")  # the first one, as from the gateway
    assert found["requests"] == []


def test_a_test_mode_is_accepted_and_becomes_no_request():
    run = explain("-", "--json", given=mail("X-Mailgun-Drop-Message: yes"))
    found = answer(run)
    assert run.returncode == 0
    assert found["headers"][0]["verdict"] == "test mode"
    assert found["requests"] == []
    assert found["reply"]["text"].startswith("Ok: test mode (X-Mailgun-Drop-Message)")


def test_what_was_changed_is_told():
    part = 'Content-Type: application/pdf; name="Überblick 2026.pdf"\r\n\r\n%PDF\r\n'
    body = f"--b\r\n\r\nHello\r\n--b\r\n{part}--b--\r\n"
    run = explain("-", given=mail("Content-Type: multipart/mixed; boundary=b", body=body))
    assert "attachment 'Überblick 2026.pdf' renamed Ueberblick_2026.pdf" in said(run)


@pytest.mark.parametrize(
    ("headers", "what", "value", "why"),
    [
        (["x-email-api-type: marketing"], "type", "marketing", "x-email-api-type"),
        (
            ["List-Unsubscribe: <https://x.example>"],
            "type",
            "marketing",
            "List-Unsubscribe, which SMTPGW_BULK_HEADERS names",
        ),
        (["List-Id: <x.example.com>", "Precedence: bulk"], "type", "transactional", "SMTPGW_DEFAULT_TYPE"),
        (
            ["List-Unsubscribe: <https://x.example>", "Auto-Submitted: auto-generated"],
            "type",
            "transactional",
            "SMTPGW_DEFAULT_TYPE",
        ),
        ([], "type", "transactional", "SMTPGW_DEFAULT_TYPE"),
        (["x-sender-id: 77"], "sender", "77", "x-sender-id"),
        (["x-list-id: 42"], "list", "42", "x-list-id"),
        (["X-SMTPAPI: " + json.dumps({"asm_group_id": 7})], "list", "4242", "X-SMTPAPI asm_group_id"),
        (["X-MC-Subaccount: cust-123"], "account", "99", "X-MC-Subaccount"),
    ],
)
def test_decisions_name_who_decided(tmp_path, headers, what, value, why):
    maps = tmp_path / "maps.yaml"
    maps.write_text("default: {asm_groups: {7: 4242}, subaccounts: {cust-123: 99}}\n")
    told = explained(mail(*headers), None, [], ProviderMap.load(str(maps)).default, SETTINGS)
    assert told.decisions[what] == (value, why)


def test_the_maps_are_those_of_the_account(tmp_path):
    maps = tmp_path / "maps.yaml"
    maps.write_text("12: {templates: {mandrill: {welcome: 34}}}\n")
    given = mail("X-MC-Template: welcome")
    assert explain("-", "--account-map", str(maps), given=given).returncode == 1
    run = explain("-", "--json", "--account", "12", given=given, SMTPGW_MAPPINGS_FILE=str(maps))
    assert answer(run)["requests"][0]["body"]["content"]["template"] == {"id": 34}


def test_a_sub_account_is_in_the_path():
    (request,) = answer(explain("-", "--json", given=mail("x-account-id: 99")))["requests"]
    assert request["path"] == "/v2/emails?account_id=99"


def test_header_fields_have_their_verdicts_and_reasons():
    headers = ("Reply-To: a@x.example", "Reply-To: b@x.example", "X-Spam-Score: 3", "X-Mine: caf\u00e9", "Keywords:")
    told = explained(
        mail(*headers, "Cc: c@x.example", "Face: x", "Resent-To: d@x.example"), None, [], MAPS.default, SETTINGS
    )
    assert [tuple(found[:3]) for found in told.headers] == [
        ("From", "mapped", "sender"),
        ("To", "stripped", "each mail shows only its own recipient"),
        ("Subject", "mapped", "content.subject"),
        ("Reply-To", "kept", ""),
        ("Reply-To", "stripped", "the first one counts"),
        ("X-Spam-Score", "stripped", "describes other servers"),
        ("X-Mine", "kept", "written in ASCII"),
        ("Keywords", "stripped", "is empty"),
        ("Cc", "stripped", "cannot be shown: each recipient gets a separate mail"),
        ("Face", "stripped", "is not among the header fields to be delivered"),
        ("Resent-To", "stripped", "describes another transmission"),
    ]


# --- Envelope and usage -----------------------------------------------------------------------------------------------


def test_the_envelope_comes_from_the_message():
    raw = mail("Cc: B <ben@example.net>, anna@example.net", "Bcc: cleo@example.net")
    told = explained(raw, None, [], MAPS.default, SETTINGS)
    assert told.envelope == Envelope("shop@example.com", ["anna@example.net", "ben@example.net", "cleo@example.net"])
    assert explained(raw, "", [], MAPS.default, SETTINGS).envelope.reverse_path == ""
    assert explained(raw, "vb@x.example", ["z@x.example"], MAPS.default, SETTINGS).envelope == Envelope(
        "vb@x.example", ["z@x.example"]
    )


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        (["--to", "nobody"], "553 5.1.3"),
        (["--from", "a b@example.com"], "553 5.1.7"),
        ([argument for n in range(1001) for argument in ("--to", f"{n}@example.com")], "452 4.5.3"),
    ],
)
def test_a_wrong_envelope_is_refused_as_by_the_gateway(arguments, reply):
    run = explain("-", *arguments, given=mail())
    assert run.returncode == 1
    assert said(run)[-1].startswith(reply)


def test_a_message_from_nobody_is_refused():
    raw = b"To: anna@example.net\r\nSubject: Hi\r\n\r\nHello\r\n"
    assert explained(raw, None, [], MAPS.default, SETTINGS).reply.text.startswith("<>: sender is not confirmed")
    assert not explained(raw, "shop@example.com", [], MAPS.default, SETTINGS).reply.is_error


def test_a_message_that_is_too_big_is_refused():
    run = explain("-", given=mail(body="x" * 2000), SMTPGW_MAX_MESSAGE_BYTES="1024")
    assert run.returncode == 1
    assert said(run)[-1] == "552 5.3.4 Message is larger than 1024 octets"


@pytest.mark.parametrize(
    ("arguments", "given", "complaint"),
    [
        ([], b"", "FILE"),
        (["no-such-file.eml"], b"", "no-such-file.eml: No such file or directory"),
        (["-"], b"From: a@example.com\r\n\r\nHello", "Give --to"),
        (["-", "--account-map", "no-such-file.yaml"], mail(), "no-such-file.yaml"),
        (["-", "--account", "x"], mail(), "--account"),
    ],
)
def test_wrong_usage_is_told(arguments, given, complaint):
    run = explain(*arguments, given=given)
    assert run.returncode == 2
    assert complaint in run.stderr.decode()
    assert run.stdout == b""


def test_wrong_settings_are_told():
    run = explain("-", given=mail(), SMTPGW_DEFAULT_TYPE="other")
    assert run.returncode == 2
    assert "SMTPGW_DEFAULT_TYPE" in run.stderr.decode()


# --- No second path ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart():
    with GatewayApart(MAPS) as gateway:
        yield gateway


@pytest.mark.parametrize("eml", MESSAGES, ids=lambda eml: f"{eml.parent.name}-{eml.stem}")
def test_it_says_what_the_gateway_does(eml, apart):
    raw = eml.read_bytes()
    asked: list[tuple[str, list[str]]] = [("", ["anna@example.com"]), ("zoe@example.com", [])]
    asked += [("zoe@example.com", ["anna@example.com"]), ("zoe@example.com", ["anna@example.com", "ben@example.net"])]
    for sender, recipients in asked:
        try:
            told = explained(raw, sender, recipients, MAPS.account(1), SETTINGS)
        except NoRecipient:
            assert not recipients
            continue
        if not told.envelope.recipients:
            continue  # refused before it was known whom it is for
        reply, bodies = apart.submitted(told.envelope, raw)
        assert f"{told.reply.code} {told.reply.status} {told.reply.text}" == reply
        wanted = [told.request.body_for(recipient) for recipient in told.envelope.recipients] if told.is_sent else []
        assert bodies == wanted


def test_there_is_a_corpus_to_compare():
    assert len(MESSAGES) > 20
