"""Which messages become marketing by a header of theirs: over SMTP, and as the log says it."""

import uuid
from pathlib import Path

import pytest

from tests.support.gateway import SENDER, Gateway
from tests.support.line import log_lines
from tests.support.sandbox import Sandbox

TO = "anna@example.com"
# As these programs write them; RT and Roundup answer to people who wrote to them.
MEDIAWIKI = ("List-Help: https://www.mediawiki.org/wiki/Special:MyLanguage/Help:Email", "Precedence: bulk")
TRAC = ("X-Trac-Project: Website", "Precedence: bulk", "Auto-Submitted: auto-generated")
REDMINE = (
    "X-Auto-Response-Suppress: All",
    "Auto-Submitted: auto-generated",
    "List-Id: <redmine.example.com>",
    "Precedence: list",
)
ROUNDUP = ("X-Roundup-Name: Tracker", "X-Roundup-Loop: hello", "Precedence: bulk")
RT = ("RT-Ticket: example.com #7", "Managed-BY: RT 5.0.3", "Precedence: bulk", "Auto-Submitted: auto-replied")
DISCOURSE = ("List-Unsubscribe: <https://forum.example.com/email/unsubscribe/1>", "Auto-Submitted: auto-generated")
NEWSLETTER = ("List-Unsubscribe: <https://example.com/u>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click")


def kinds(gateway: Gateway, sandbox: Sandbox, *messages: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """The type with which each message of these headers was submitted, and what its log line says of a header."""
    found = []
    with gateway.client() as client:
        for number, headers in enumerate(messages):
            message_id = f"<{uuid.uuid4()}@client.example>"
            fields = [f"From: {SENDER}", f"Subject: Kind {number}", f"Message-ID: {message_id}"]
            lines = [*fields, f"To: {TO}", *headers, "", "Hello"]
            assert client.sendmail(SENDER, TO, "\r\n".join(lines)) == {}
            (email,) = sandbox.emails(subject=f"Kind {number}", bodies="true")
            (line,) = log_lines(gateway.log, event="message", message_id=message_id)
            said = [note for note in line.get("notes", ()) if "marketing" in note]
            found.append((email["request"]["content"]["type"], said))
    sandbox.clear()
    return found


def test_ticket_systems_and_wikis_write_transactional_mail(sandbox: Sandbox, gateway: Gateway) -> None:
    found = kinds(gateway, sandbox, MEDIAWIKI, TRAC, REDMINE, ROUNDUP, RT, DISCOURSE)
    assert found == [("transactional", [])] * 6


def test_a_message_that_can_be_unsubscribed_from_is_marketing_and_the_log_says_why(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    (found,) = kinds(gateway, sandbox, NEWSLETTER)
    assert found == ("marketing", ["marketing, because of List-Unsubscribe"])


@pytest.mark.parametrize(
    ("value", "newsletter", "roundup"),
    [
        ("none", "transactional", "transactional"),
        ("", "transactional", "transactional"),
        ("Precedence, List-Unsubscribe", "marketing", "marketing"),
    ],
)
def test_the_operator_says_which_headers_count(
    sandbox: Sandbox, tmp_path: Path, value: str, newsletter: str, roundup: str
) -> None:
    with Gateway(sandbox.url, tmp_path, SMTPGW_BULK_HEADERS=value) as gateway:
        found = kinds(gateway, sandbox, NEWSLETTER, ROUNDUP)
    assert [type_ for type_, _ in found] == [newsletter, roundup]
