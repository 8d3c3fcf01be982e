"""What becomes of a message whose recipients fare differently: the reply, the notice, and what a retry submits."""

import json
import re
import smtplib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from smtpgw.sandbox.accounts import DEMO, OTHER, SECOND_PAGE_SENDER, SUB_ACCOUNT, SUB_ACCOUNT_SENDER
from tests.support.gateway import SENDER, Gateway
from tests.support.line import log_lines, metric
from tests.support.sandbox import Sandbox

EMAILS = "/v2/emails"
TEN = [f"u{n}@example.com" for n in range(10)]
ANN, BOB, CAT = "ann@example.com", "bob@example.com", "cat@example.com"


def message(message_id: str, *, text: str = "x", headers: str = "", sender: str = SENDER) -> str:
    if message_id:
        headers += f"Message-ID: <{message_id}@client.example>\r\n"
    return f"From: {sender}\r\nSubject: Partial\r\n{headers}\r\n{text}\r\n"


def submit(client: smtplib.SMTP, recipients: Sequence[str], data: str, reverse_path: str = SENDER) -> tuple[int, str]:
    """The reply to the data, once every recipient is taken."""
    assert client.mail(reverse_path)[0] == 250
    for recipient in recipients:
        assert client.rcpt(recipient)[0] == 250
    code, text = client.data(data)
    return code, text.decode()


def send(gateway: Gateway, recipients: Sequence[str], data: str, reverse_path: str = SENDER) -> tuple[int, str]:
    with gateway.client() as client:
        return submit(client, recipients, data, reverse_path)


def refuse(sandbox: Sandbox, recipient: str, words: str = "address is suppressed") -> None:
    sandbox.fault(
        endpoint=EMAILS, email=recipient, status=422, body={"detail": [{"msg": words, "loc": ["body", "email"]}]}
    )


def accepted(sandbox: Sandbox) -> list[str]:
    """Who got the message, in order; once for each copy."""
    return sorted(entry["email"] for entry in sandbox.ledger()["entries"] for _ in entry["ids"])


def submissions(sandbox: Sandbox) -> int:
    found: int = sandbox.calls()["POST /v2/emails"]["calls"]
    return found


def notices(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [e["request"] for e in sandbox.emails(bodies="true") if e["subject"].startswith("Undelivered mail: ")]


# --- The reply


def test_ten_recipients_two_refused_one_that_fails_twice(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, TEN[3])
    refuse(sandbox, TEN[7], "no such user")
    sandbox.fault(endpoint=EMAILS, email=TEN[5], status=429, times=2)
    assert send(gateway, TEN, message("ten"))[0] == 250
    assert accepted(sandbox) == sorted([*(r for r in TEN if r not in (TEN[3], TEN[7])), SENDER])
    assert submissions(sandbox) == 10 + 2 + 1, "each once, the one that failed twice more, and the notice"
    (notice,) = notices(sandbox)
    assert notice["email"] == SENDER
    lines = notice["content"]["text"].splitlines()
    assert f"  {TEN[3]}: 550 5.1.3 address is suppressed" in lines
    assert f"  {TEN[7]}: 550 5.1.3 no such user" in lines
    assert "accepted for 8 of its 10 recipients" in notice["content"]["text"]
    assert sum(line.startswith("  ") for line in lines) == 2


def test_one_recipient_has_cakemails_id_several_have_ours_which_the_log_joins(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    code, text = send(gateway, [ANN], message("one"))
    (email,) = sandbox.emails()
    assert (code, text) == (250, f"2.0.0 Ok: queued as {email['id']}")
    code, text = send(gateway, [BOB, CAT], message("several"))
    our_id = text.rpartition(" ")[2]
    assert re.fullmatch(r"[0-9a-f]{12}\.1", our_id)
    (line,) = log_lines(gateway.log, event="message", id=our_id)
    ids = {e["email"]: e["id"] for e in sandbox.emails()}
    assert line["results"] == [
        {"to": "b***@example.com", "uuid": ids[BOB]},
        {"to": "c***@example.com", "uuid": ids[CAT]},
    ]


def test_all_refused_is_a_refusal_and_no_notice(sandbox: Sandbox, gateway: Gateway) -> None:
    for recipient in (ANN, BOB):
        refuse(sandbox, recipient)
    code, text = send(gateway, [ANN, BOB], message("all"))
    assert (code, text[:27]) == (550, "5.1.3 address is suppressed")
    assert submissions(sandbox) == 2
    assert not sandbox.emails()


@pytest.mark.parametrize("status", ["rejected", "error"])
def test_201_with_another_status_than_queued_is_a_refusal(sandbox: Sandbox, gateway: Gateway, status: str) -> None:
    sandbox.fault(kind=status, email=BOB)
    assert send(gateway, [ANN, BOB], message(f"201-{status}"))[0] == 250
    assert accepted(sandbox) == [ANN, SENDER]
    (notice,) = notices(sandbox)
    assert f"  {BOB}: 550 5.7.1 Cakemail did not accept the message: {status}" in notice["content"]["text"]


def test_none_accepted_and_one_to_try_later_is_later(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, ANN)
    sandbox.fault(endpoint=EMAILS, email=BOB, status=500)
    assert send(gateway, [ANN, BOB], message("none"))[0] == 451
    assert submissions(sandbox) == 2


@pytest.mark.parametrize("recipients", [[ANN, ANN], [ANN, "ann@EXAMPLE.com", "ann@Example.Com"]])
def test_the_same_mailbox_twice_is_one_copy(sandbox: Sandbox, gateway: Gateway, recipients: list[str]) -> None:
    code, text = send(gateway, recipients, message(f"twice-{len(recipients)}"))
    assert (code, len(text)) == (250, len("2.0.0 Ok: queued as ") + 36), "as of one recipient"
    assert accepted(sandbox) == [ANN]


def test_mailboxes_that_differ_in_the_case_of_their_name_are_two(sandbox: Sandbox, gateway: Gateway) -> None:
    """RFC 5321 §2.4: only their own host may take them for one."""
    assert send(gateway, [ANN, "Ann@example.com"], message("case"))[0] == 250
    assert accepted(sandbox) == ["Ann@example.com", ANN]


# --- The retry

Retry = Callable[[Gateway, smtplib.SMTP, list[str], str], tuple[int, str]]
RETRIES: dict[str, Retry] = {
    "in the same session": lambda gateway, client, to, data: submit(client, to, data),
    "in a new one": lambda gateway, client, to, data: send(gateway, to, data),
    "in another order": lambda gateway, client, to, data: send(gateway, to[::-1], data),
    "with more recipients": lambda gateway, client, to, data: send(gateway, [*to, CAT], data),
    "written anew": lambda gateway, client, to, data: send(
        gateway, to, "Date: Fri, 31 Dec 2100 23:59:59 +0000\r\n" + data
    ),
}


@pytest.mark.parametrize("name", RETRIES)
def test_a_retry_submits_only_what_is_left(sandbox: Sandbox, gateway: Gateway, name: str) -> None:
    data = message(f"retry {name}".replace(" ", "-"))
    sandbox.fault(endpoint=EMAILS, email=TEN[4], status=500)
    refuse(sandbox, TEN[6])
    with gateway.client() as client:
        assert submit(client, TEN, data)[0] == 451
        assert submissions(sandbox) == 10
        assert notices(sandbox) == []
        sandbox.clear_faults()
        refuse(sandbox, TEN[6])
        assert RETRIES[name](gateway, client, TEN, data)[0] == 250
    everybody = {*TEN, SENDER} - {TEN[6]} | ({CAT} if "more" in name else set())
    assert accepted(sandbox) == sorted(everybody)
    assert len(notices(sandbox)) == 1


def test_one_that_is_deferred_is_tried_again_within_the_message_first(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint=EMAILS, email=BOB, status=503, retry_after=1, times=1)
    began = time.monotonic()
    assert send(gateway, [ANN, BOB], message("within"))[0] == 250
    assert time.monotonic() - began >= 1
    assert accepted(sandbox) == [ANN, BOB]


def test_the_delay_that_cakemail_names_is_passed_on(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint=EMAILS, email=BOB, status=429, retry_after=77)
    code, text = send(gateway, [ANN, BOB], message("delay"))
    assert (code, text[:44]) == (451, "4.7.0 Cakemail asks to wait 77 seconds; try ")


@pytest.mark.parametrize(
    ("message_id", "changes"),
    [("another", {}), ("first", {"text": "another"}), ("first", {"headers": "X-Campaign: another\r\n"})],
    ids=["another Message-ID", "another text", "another header"],
)
def test_another_message_is_sent_to_all(
    sandbox: Sandbox, gateway: Gateway, message_id: str, changes: dict[str, Any]
) -> None:
    unique = f"{message_id}-{'-'.join(changes)}"
    sandbox.fault(endpoint=EMAILS, email=BOB, status=500, times=1)
    assert send(gateway, [ANN, BOB], message(unique.replace("another", "first")))[0] == 451
    assert send(gateway, [ANN, BOB], message(unique, **changes))[0] == 250
    assert accepted(sandbox) == [ANN, ANN, BOB]


def test_another_accounts_message_is_another_message(sandbox: Sandbox, gateway: Gateway) -> None:
    """Alike in every octet; the sender's address is confirmed in both accounts."""
    sandbox.add_sender(SENDER, account_id=OTHER.id)
    time.sleep(1.1)
    sandbox.fault(endpoint=EMAILS, email=BOB, status=500, times=1)
    data = message("accounts")
    assert send(gateway, [ANN, BOB], data)[0] == 451
    with gateway.client(OTHER.email, OTHER.password) as other:
        assert submit(other, [ANN, BOB], data)[0] == 250
    assert sorted((e["account_id"], e["email"]) for e in sandbox.emails()) == [
        (DEMO.id, ANN),
        (OTHER.id, ANN),
        (OTHER.id, BOB),
    ]


def test_without_a_message_id_every_octet_counts(sandbox: Sandbox, gateway: Gateway) -> None:
    sandbox.fault(endpoint=EMAILS, email=BOB, status=500, times=2)
    data = message("", headers="Date: Fri, 31 Dec 2100 23:59:59 +0000\r\n")
    assert send(gateway, [ANN, BOB], data)[0] == 451
    assert send(gateway, [ANN, BOB], data.replace("23:59", "23:58"))[0] == 451
    assert send(gateway, [ANN, BOB], data)[0] == 250
    assert accepted(sandbox) == [ANN, ANN, BOB]


def test_a_message_that_was_heard_to_be_accepted_may_be_meant_again(sandbox: Sandbox, gateway: Gateway) -> None:
    for _ in range(2):
        assert send(gateway, [ANN, BOB], message("again"))[0] == 250
    assert accepted(sandbox) == [ANN, ANN, BOB, BOB]


def hang_up_after(gateway: Gateway, recipients: Sequence[str], data: str, seconds: float) -> None:
    """Send the whole message, and go before its reply."""
    client = gateway.client()
    client.mail(SENDER)
    for recipient in recipients:
        client.rcpt(recipient)
    assert client.docmd("DATA")[0] == 354
    client.send(data + ".\r\n")
    time.sleep(seconds)
    client.close()


def test_a_hang_up_before_the_reply_doubles_neither_a_recipient_nor_the_notice(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    """RFC 1047."""
    data = message("hang-up")
    sandbox.fault(endpoint=EMAILS, email=BOB, status=422, latency_ms=1000)
    hang_up_after(gateway, [ANN, BOB, CAT], data, 0.3)
    assert send(gateway, [ANN, BOB, CAT], data)[0] == 250, "while the first is under way, perhaps"
    assert accepted(sandbox) == [ANN, CAT, SENDER]
    assert len(notices(sandbox)) == 1


def test_the_same_message_at_once_is_one_and_has_one_notice(sandbox: Sandbox, gateway: Gateway) -> None:
    data = message("at-once")
    sandbox.fault(endpoint=EMAILS, email=BOB, status=422, latency_ms=700)
    sandbox.fault(endpoint=EMAILS, latency_ms=700)
    replies: list[int] = []
    threads = [threading.Thread(target=lambda: replies.append(send(gateway, [ANN, BOB], data)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert replies == [250] * 4
    assert accepted(sandbox) == [ANN, SENDER]


def test_the_same_text_to_others_waits_for_nobody(sandbox: Sandbox, gateway: Gateway) -> None:
    """As a mailing list sends it: one recipient a connection, on many at a time."""
    data = message("list")
    clients = [gateway.client() for _ in range(10)]
    sandbox.fault(endpoint=EMAILS, latency_ms=1000)
    threads = [
        threading.Thread(target=submit, args=(client, [recipient], data))
        for client, recipient in zip(clients, TEN, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for client in clients:
        client.quit()
    assert accepted(sandbox) == TEN
    assert sandbox.calls()["POST /v2/emails"]["most_under_way"] > 5


# --- Unknown outcomes: submitted, and not answered


@pytest.mark.parametrize("key", ["", "Resend-Idempotency-Key: unknown/{}\r\n"], ids=["no key", "a key"])
@pytest.mark.parametrize("is_accepted", [True, False], ids=["accepted", "lost"])
def test_a_submission_that_was_not_answered_is_not_submitted_again(
    sandbox: Sandbox, gateway: Gateway, is_accepted: bool, key: str
) -> None:
    sandbox.fault(endpoint=EMAILS, kind="reset_after" if is_accepted else "reset_before", email=BOB, times=1)
    data = message(f"unknown-{is_accepted}", headers=key.format(is_accepted))
    code, text = send(gateway, [ANN, BOB, CAT], data)
    assert (code, text[:42]) == (451, "4.4.2 Cakemail did not answer in time; try")
    before = accepted(sandbox)
    assert before == sorted([ANN, CAT, *[BOB] * is_accepted])
    for recipients in ([ANN, BOB, CAT], [BOB], [CAT, BOB]):
        code, text = send(gateway, recipients, data)
        assert (code, text[:54]) == (451, "4.4.2 Cakemail has not said whether it took this messa")
    assert accepted(sandbox) == before
    assert submissions(sandbox) == 3
    assert send(gateway, [ANN, CAT], data)[0] == 250, "accepted, and known to be"
    assert submissions(sandbox) == 3


def test_a_token_that_was_not_answered_is_no_unknown_outcome(sandbox: Sandbox, gateway: Gateway) -> None:
    """Nothing was submitted, so the retry is."""
    data = message("unanswered-token")
    with gateway.client() as client:
        assert submit(client, [ANN], message("before"))[0] == 250
        sandbox.revoke_tokens(account_id=DEMO.id)
        sandbox.fault(endpoint="/token", kind="reset_before")
        assert submit(client, [BOB], data)[0] == 451
        sandbox.clear_faults()
        assert submit(client, [BOB], data)[0] == 250
    assert accepted(sandbox) == [ANN, BOB]


# --- Idempotency keys: Resend's header and Brevo's


@pytest.mark.parametrize("header", ["Resend-Idempotency-Key", "idempotencyKey"])
def test_a_key_makes_two_submissions_one_message(sandbox: Sandbox, gateway: Gateway, header: str) -> None:
    key = f"{header}: {header}/1\r\n"
    assert send(gateway, [ANN], message("a", headers=key))[0] == 250
    assert send(gateway, [ANN], message("b", headers=key))[0] == 250
    assert accepted(sandbox) == [ANN], "also when the first reply was heard: that is what a key is for"
    assert send(gateway, [BOB], message("c", headers=key))[0] == 250
    assert accepted(sandbox) == [ANN, BOB], "one copy for each recipient"
    code, text = send(gateway, [ANN], message("d", headers=key, text="another"))
    assert (code, text[:58]) == (550, "5.6.0 This idempotency key was used for another message wi")
    assert accepted(sandbox) == [ANN, BOB]
    with gateway.client(OTHER.email, OTHER.password) as other:
        theirs = OTHER.senders[0].email
        assert submit(other, [ANN], message("e", headers=key, text="another", sender=theirs))[0] == 250


def test_a_key_whose_message_was_refused_may_be_used_again(sandbox: Sandbox, gateway: Gateway) -> None:
    key = "Resend-Idempotency-Key: refused/1\r\n"
    refuse(sandbox, ANN)
    assert send(gateway, [ANN], message("", headers=key))[0] == 550
    sandbox.clear_faults()
    assert send(gateway, [ANN], message("", headers=key, text="mended"))[0] == 250
    assert accepted(sandbox) == [ANN]


# --- The notice


def test_the_notice_is_from_the_messages_sender_about_it_and_tracks_nobody(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, BOB)
    data = message("about", sender=f"Shop <{SECOND_PAGE_SENDER.email}>")
    assert send(gateway, [ANN, BOB], data, "bounces+ann=example.com@cakemail.example")[0] == 250
    (notice,) = notices(sandbox)
    assert notice["email"] == "bounces+ann=example.com@cakemail.example"
    assert notice["sender"] == {"id": SECOND_PAGE_SENDER.id}
    assert notice["content"]["subject"] == "Undelivered mail: Partial"
    assert notice["content"]["type"] == "transactional"
    assert notice["tracking"] == {"opens": False, "clicks_html": False, "clicks_text": False}
    assert {h["name"]: h["value"] for h in notice["additional_headers"]} == {
        "Auto-Submitted": "auto-replied",
        "In-Reply-To": "<about@client.example>",
        "References": "<about@client.example>",
    }


def test_the_notice_acts_for_the_messages_sub_account(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, BOB)
    data = message("sub", headers=f"x-account-id: {SUB_ACCOUNT.id}\r\n", sender=SUB_ACCOUNT_SENDER.email)
    assert send(gateway, [ANN, BOB], data)[0] == 250
    assert {e["account_id"] for e in sandbox.emails()} == {SUB_ACCOUNT.id}
    assert len(notices(sandbox)) == 1


@pytest.mark.parametrize(
    ("reverse_path", "headers"),
    [
        ("", ""),
        (SENDER, "Auto-Submitted: auto-replied\r\n"),
        (SENDER, "auto-submitted: Auto-Generated; owner-email=x@example.com\r\n"),
        ("root@localhost", ""),
    ],
    ids=["the null reverse-path", "a reply of a machine", "a machine's mail", "no mailbox"],
)
def test_some_senders_are_not_told(sandbox: Sandbox, gateway: Gateway, reverse_path: str, headers: str) -> None:
    """RFC 5321 §4.5.5, RFC 3834 §2."""
    refuse(sandbox, BOB)
    assert send(gateway, [ANN, BOB], message("", headers=headers), reverse_path)[0] == 250
    assert accepted(sandbox) == [ANN]


def test_a_message_that_says_that_it_is_no_machines_is_told_of(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, BOB)
    assert send(gateway, [ANN, BOB], message("no", headers="Auto-Submitted: no\r\n"))[0] == 250
    assert accepted(sandbox) == [ANN, SENDER]


@pytest.mark.parametrize(
    "reverse_path",
    ["victim@third.example", "victim@gmail.com", "victim@notcakemail.example", "unconfirmed-domain@example.com"],
)
def test_a_stranger_in_mail_from_gets_no_notice_and_the_log_says_so(
    sandbox: Sandbox, gateway: Gateway, reverse_path: str
) -> None:
    """A web form that puts its visitor's address into MAIL FROM must not make anybody write to a stranger."""
    sandbox.add_sender("me@gmail.com")
    time.sleep(1.1)  # the directory is read again for a sender that is not in it
    refuse(sandbox, BOB)
    before = metric(gateway, 'smtpgw_notices_total{result="foreign_address"}')
    code, text = send(gateway, [ANN, BOB], message("stranger", sender="me@gmail.com"), reverse_path)
    assert code == 250
    assert accepted(sandbox) == [ANN]
    (line,) = log_lines(gateway.log, event="message", id=text.rpartition(" ")[2])
    assert line["result"] == "partial"
    assert "no notice: MAIL FROM is no address of a confirmed sender, nor in the domain of one" in line["notes"]
    assert reverse_path not in json.dumps(line), "masked"
    assert metric(gateway, 'smtpgw_notices_total{result="foreign_address"}') == before + 1


@pytest.mark.parametrize(
    ("value", "reverse_path", "is_told"),
    [
        ("on", "anything@cakemail.example", True),
        ("on", "anything@Bounces.Cakemail.example", True),
        ("senders", SENDER.upper(), True),
        ("senders", SECOND_PAGE_SENDER.email, True),
        ("senders", "anything@cakemail.example", False),
    ],
)
def test_notices_go_to_senders_or_to_their_domains_too(
    sandbox: Sandbox, tmp_path: Path, value: str, reverse_path: str, is_told: bool
) -> None:
    refuse(sandbox, BOB)
    with Gateway(sandbox.url, tmp_path, SMTPGW_NOTICES=value) as gateway:
        assert send(gateway, [ANN, BOB], message("own"), reverse_path)[0] == 250
    assert [notice["email"].lower() for notice in notices(sandbox)] == [reverse_path.lower()] * is_told


def test_notices_can_be_turned_off(sandbox: Sandbox, tmp_path: Path) -> None:
    refuse(sandbox, BOB)
    with Gateway(sandbox.url, tmp_path, SMTPGW_NOTICES="off") as gateway:
        assert send(gateway, [ANN, BOB], message("off"))[0] == 250
    assert accepted(sandbox) == [ANN]


def test_a_notice_that_cannot_be_sent_now_is_sent_with_the_retry_and_nothing_is_doubled(
    sandbox: Sandbox, gateway: Gateway
) -> None:
    refuse(sandbox, BOB)
    sandbox.fault(endpoint=EMAILS, email=SENDER, status=500)
    for _ in range(2):
        assert send(gateway, [ANN, BOB, CAT], message("later"))[0] == 451
    sandbox.clear_faults()
    refuse(sandbox, BOB)
    assert send(gateway, [ANN, BOB, CAT], message("later"))[0] == 250
    assert accepted(sandbox) == [ANN, CAT, SENDER]


def test_a_notice_that_is_refused_is_logged_and_the_message_stays_accepted(sandbox: Sandbox, gateway: Gateway) -> None:
    refuse(sandbox, BOB)
    refuse(sandbox, "gone@cakemail.example", "no such user")
    before = metric(gateway, 'smtpgw_notices_total{result="refused"}')
    code, text = send(gateway, [ANN, BOB], message("refused"), "gone@cakemail.example")
    assert code == 250
    (line,) = log_lines(gateway.log, event="message", id=text.rpartition(" ")[2])
    assert line["notice"] == "550 5.1.3 no such user"
    assert line["result"] == "partial"
    assert accepted(sandbox) == [ANN]
    assert metric(gateway, 'smtpgw_notices_total{result="refused"}') == before + 1
