"""What the sandbox remembers, within bounds: emails, the ledger, tokens, calls, and the controls that show them."""

import base64
import time
import tracemalloc

import pytest

from smtpgw.sandbox import tokens
from smtpgw.sandbox.accounts import ACCOUNTS, DEMO, OTHER, OTHER_SENDER, SENDER, UNCONFIRMED_SENDER
from smtpgw.sandbox.calls import SAMPLES, Calls, Durations
from smtpgw.sandbox.clock import Clock
from smtpgw.sandbox.emails import Email, Emails
from smtpgw.sandbox.ledger import Ledger
from smtpgw.sandbox.state import State
from tests.support.sandbox_client import Caller, an_email, bearer


@pytest.fixture
def api() -> Caller:
    return Caller()


def kept(number: int, body: bytes = b"{}", **changes: object) -> Email:
    fields = {
        "id": f"id-{number}",
        "account_id": DEMO.id,
        "received_at": 0.0,
        "status": "queued",
        "email": f"user-{number}@customer.example",
        "sender": SENDER,
        "subject": "Hello",
        "tags": (),
        "message_id": "",
        "attachments": (),
        "content_digest": "",
        "unknown_fields": (),
        "body": body,
    }
    return Email(**{**fields, **changes})


# --- Emails ----------------------------------------------------------------------------------------------------------


def test_the_oldest_emails_go_when_there_are_too_many():
    emails = Emails(most=3)
    for number in range(5):
        emails.add(kept(number))
    assert [email.id for email in emails] == ["id-4", "id-3", "id-2"]
    assert emails.get("id-1") is None
    assert emails.bytes == 6


def test_the_oldest_emails_go_when_their_bodies_are_too_big():
    emails = Emails(most_bytes=100)
    emails.add(kept(1, b"x" * 60))
    emails.add(kept(2, b"x" * 40))
    assert len(emails) == 2
    emails.add(kept(3, b"x"))
    assert [email.id for email in emails] == ["id-3", "id-2"]
    emails.add(kept(4, b"x" * 101))
    assert (len(emails), emails.bytes) == (0, 0)


def test_emails_are_shown_newest_first_and_whole(api):
    body = an_email(tags=["t"], attachment={"filename": "a.csv", "type": "csv", "content": "YTti"}, surprise=1)
    api.submit(body)
    api.submitted(email="second@customer.example", additional_headers=[{"name": "MESSAGE-ID", "value": "<1@x>"}])
    second, first = api.http.get("/_sandbox/emails").json
    assert first["request"] == body
    assert (first["account_id"], first["sender"]["email"], first["tags"]) == (DEMO.id, SENDER.email, ["t"])
    assert (second["email"], second["message_id"]) == ("second@customer.example", "<1@x>")


def test_emails_without_bodies(api):
    api.submitted(
        content={"subject": "s", "type": "marketing", "html": "h", "text": "t"},
        attachment={"filename": "a.csv", "type": "csv", "content": "YTti"},
    )
    shown = api.http.get("/_sandbox/emails?bodies=false").json[0]
    assert shown["request"]["content"] == {"subject": "s", "type": "marketing"}
    assert "attachment" not in shown["request"]
    assert shown["attachments"][0]["size_bytes"] == 3


def test_emails_filtered(api):
    api.submitted(email="one@customer.example")
    api.submitted(content={"subject": "Other", "type": "marketing", "text": "t"})
    api.submit(an_email(sender={"id": OTHER_SENDER.id}, list_id=None), OTHER)

    def count(query):
        return len(api.http.get(f"/_sandbox/emails?{query}").json)

    assert count("") == 3
    assert count("email=ONE@customer.example") == 1
    assert count("subject=Other") == 1
    assert count("subject=Oth") == 0
    assert count(f"account_id={OTHER.id}") == 1
    assert count("status=queued&limit=2") == 2
    assert count("status=rejected") == 0
    assert api.http.get("/_sandbox/emails?recipient=x").status_code == 422


def test_emptying_forgets_emails_and_ledger(api):
    api.submitted()
    assert api.http.delete("/_sandbox/emails").status_code == 200
    assert api.http.get("/_sandbox/emails").json == []
    assert api.http.get("/_sandbox/ledger").json == {
        "total": 0,
        "distinct": 0,
        "duplicates": 0,
        "forgotten": 0,
        "entries": [],
    }


# --- Ledger ----------------------------------------------------------------------------------------------------------


def test_ledger_counts_what_came_twice(api):
    part = {"filename": "a.csv", "type": "csv", "content": base64.b64encode(b"a;b").decode()}
    ids = [api.submitted(attachment=part), api.submitted(attachment=part)]
    api.submitted(email="second@customer.example")
    ledger = api.http.get("/_sandbox/ledger").json
    assert (ledger["total"], ledger["distinct"], ledger["duplicates"]) == (3, 2, 1)
    doubled = api.http.get("/_sandbox/ledger?duplicates=true").json["entries"]
    assert [(entry["ids"], entry["count"], len(entry["attachments"])) for entry in doubled] == [(ids, 2, 1)]
    assert api.http.get("/_sandbox/ledger?email=second@customer.example").json["entries"][0]["count"] == 1
    assert api.http.get("/_sandbox/ledger?limit=0").json["entries"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "other@customer.example"},
        {"content": {"subject": "Other", "type": "transactional", "text": "Hi there"}},
        {"content": {"subject": "Hello", "type": "transactional", "text": "Hi here"}},
        {"tags": ["other"]},
        {"additional_headers": [{"name": "Message-ID", "value": "<2@x>"}]},
        {"attachment": {"filename": "a.csv", "type": "csv", "content": "YTti"}},
    ],
)
def test_what_differs_is_no_duplicate(api, changes):
    api.submitted()
    api.submitted(**changes)
    assert api.http.get("/_sandbox/ledger").json["duplicates"] == 0


def test_a_header_that_differs_each_time_hides_no_duplicate(api):
    for value in ("1", "2"):
        api.submitted(additional_headers=[{"name": "X-Attempt", "value": value}])
    assert api.http.get("/_sandbox/ledger").json["duplicates"] == 1


def test_ledger_outlives_emails_and_has_a_bound():
    ledger = Ledger(most=2)
    for number in (1, 2, 3, 3):
        ledger.accept(kept(number))
    assert [entry.ids for entry in ledger] == [["id-2"], ["id-3", "id-3"]]
    assert (ledger.total, ledger.duplicates, ledger.forgotten) == (4, 1, 1)


def test_an_entry_of_the_ledger_is_small():
    ledger = Ledger()
    emails = [kept(number, subject=f"Message {number} of a load test", tags=("load",)) for number in range(2000)]
    tracemalloc.start()
    try:
        for email in emails:
            ledger.accept(email)
        octets, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert octets / len(emails) < 600


# --- Tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_expire():
    now = [100.0]
    issued = tokens.Tokens(ACCOUNTS, clock=lambda: now[0])
    access, refresh, lives = issued.issue(DEMO.id)
    now[0] += lives - 1
    assert issued.account_of(access, "access") == DEMO.id
    now[0] += 1
    assert issued.account_of(access, "access") is None
    assert issued.account_of(refresh, "refresh") == DEMO.id


def test_tokens_have_a_bound(monkeypatch):
    monkeypatch.setattr(tokens, "MAX_TOKENS", 4)
    issued = tokens.Tokens(ACCOUNTS)
    access = [issued.issue(DEMO.id)[0] for _ in range(3)]
    assert [issued.account_of(token, "access") for token in access] == [None, DEMO.id, DEMO.id]
    assert issued.account_of(DEMO.access_token, "long_lived") == DEMO.id


def test_life_of_tokens_can_be_set(api):
    api.http.post("/_sandbox/tokens", json={"expires_in": 0.001})
    tokens_ = api.log_in(expiration_seconds=600).json
    assert tokens_["expires_in"] == 0
    time.sleep(0.01)
    assert api.http.get("/lists", headers=bearer(tokens_["access_token"])).status_code == 401
    api.http.post("/_sandbox/tokens", json={"expires_in": None})
    assert api.log_in().json["expires_in"] == 3600


def test_tokens_can_be_revoked(api):
    mine, theirs = api.log_in().json, api.log_in(OTHER).json

    def works(token):
        return api.http.get("/lists", headers=bearer(token)).status_code == 200

    assert api.http.delete(f"/_sandbox/tokens?account_id={DEMO.id}&kind=access").json == {"revoked": 1}
    assert not works(mine["access_token"])
    assert works(theirs["access_token"])
    assert works(DEMO.access_token)
    refreshed = api.http.post("/token", data={"grant_type": "refresh_token", "refresh_token": mine["refresh_token"]})
    assert works(refreshed.json["access_token"])
    assert api.http.delete("/_sandbox/tokens?kind=long_lived").json == {"revoked": 3}
    assert not works(DEMO.access_token)
    assert api.http.delete("/_sandbox/tokens").json["revoked"] == 5
    assert not works(theirs["access_token"])


# --- Calls -----------------------------------------------------------------------------------------------------------


def test_calls_are_counted_by_endpoint_and_status(api):
    api.submitted()
    api.submit({})
    api.log_in(password="wrong")
    calls = api.http.get("/_sandbox/calls").json
    assert calls["POST /v2/emails"]["outcomes"] == {"201": 1, "422": 1}
    assert calls["POST /v2/emails"]["calls"] == 2
    assert calls["POST /token"]["outcomes"] == {"401": 1}
    assert set(calls["POST /token"]["own_ms"]) == {"sum", "p50", "p95", "p99", "max"}
    assert set(calls) == {"POST /v2/emails", "POST /token"}
    api.http.delete("/_sandbox/calls")
    assert api.http.get("/_sandbox/calls").json == {}


def test_an_email_is_one_endpoint_whatever_its_id(api):
    for _ in range(2):
        api.get(f"/v2/emails/{api.submitted()}")
    assert api.http.get("/_sandbox/calls").json["GET /v2/emails/{email_id}"]["outcomes"] == {"200": 2}


def test_how_long_the_api_had_each_message():
    api = Caller(State(latency_ms=20))
    for recipient in ("one@x.example", "two@x.example"):
        api.submitted(email=recipient)
    asked = {"recipients": [["one@x.example"], ["one@x.example", "two@x.example"], ["nobody@x.example"], []]}
    one, both, nobody, none = api.http.post("/_sandbox/times", json=asked).json
    assert one >= 20
    assert both >= one + 20
    assert nobody is none is None
    api.http.delete("/_sandbox")
    assert api.http.post("/_sandbox/times", json=asked).json == [None] * 4


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([(1, 2)], 1),
        ([(1, 2), (3, 5)], 3),  # one after the other
        ([(1, 4), (2, 3)], 3),  # one within the other
        ([(2, 5), (1, 3), (5, 6)], 5),  # overlapping, and not in the order in which they began
    ],
)
def test_calls_at_a_time_count_once(spans, seconds):
    clock = Clock()
    recipients = [f"{number}@x.example" for number in range(len(spans))]
    for recipient, (began, ended) in zip(recipients, spans, strict=True):
        clock.add(recipient, began, ended)
    assert clock.milliseconds(recipients) == seconds * 1000


def test_the_clock_has_a_bound():
    clock = Clock(most=2)
    for name in "abac":
        clock.add(name, 0, 1)
    assert [clock.milliseconds([name]) for name in "abc"] == [1000, None, 1000]


def test_calls_under_way():
    calls = Calls()
    first = calls.begin("x")
    calls.begin("x")
    first.under_way -= 1
    calls.begin("x")
    assert (first.under_way, first.most_under_way) == (2, 2)


def test_percentiles():
    durations = Durations()
    for n in range(100, 0, -1):
        durations.add(n / 1000)
    assert durations.described() == {"sum": 5050, "p50": 51, "p95": 96, "p99": 100, "max": 100}
    for _ in range(SAMPLES):
        durations.add(0.001)
    assert durations.described() == {"sum": 15050, "p50": 1, "p95": 1, "p99": 1, "max": 100}
    assert Durations().described() == {"sum": 0, "max": 0}


# --- Controls --------------------------------------------------------------------------------------------------------


def test_a_sender_added_a_moment_ago(api):
    added = api.http.post("/_sandbox/senders", json={"email": "new@shop.example", "name": "New"})
    assert added.status_code == 201
    listed = [s for s in api.get("/brands/default/senders", page=2).json["data"] if s["email"] == "new@shop.example"]
    assert [s["confirmed"] for s in listed] == [True]
    api.submitted(sender={"id": added.json["id"]})


def test_a_sender_confirmed_a_moment_ago(api):
    waiting = an_email(sender={"id": UNCONFIRMED_SENDER.id})
    assert api.submit(waiting).status_code == 400
    again = api.http.post("/_sandbox/senders", json={"email": UNCONFIRMED_SENDER.email.upper()})
    assert again.json["id"] == UNCONFIRMED_SENDER.id
    assert api.submit(waiting).status_code == 201


def test_a_sender_of_another_account(api):
    body = {"email": "new@shop.example", "account_id": OTHER.id, "confirmed": False}
    sender = api.http.post("/_sandbox/senders", json=body).json
    assert sender["id"] in [s["id"] for s in api.get("/brands/default/senders", OTHER).json["data"]]
    assert api.http.post("/_sandbox/senders", json={**body, "account_id": 1}).status_code == 422
    assert api.http.post("/_sandbox/senders", json={"email": "nobody"}).status_code == 422


def test_reset_is_as_at_the_start(api):
    api.submitted()
    token = api.log_in().json["access_token"]
    api.http.post("/_sandbox/senders", json={"email": "new@shop.example"})
    api.http.post("/_sandbox/faults", json={"status": 500})
    api.http.delete("/_sandbox")
    assert api.http.get("/_sandbox/emails").json == api.http.get("/_sandbox/faults").json == []
    assert api.http.get("/lists", headers=bearer(token)).status_code == 401
    assert len(api.get("/brands/default/senders", page=2).json["data"]) == 3


@pytest.mark.parametrize("path", ["senders", "tokens", "faults"])
def test_controls_take_json_that_says_so(api, path):
    answer = api.http.post(f"/_sandbox/{path}", data=b'{"status": 500}', content_type="text/plain")
    assert answer.status_code == 422
    assert api.http.post(f"/_sandbox/{path}", json={"surprise": 1}).status_code == 422
    assert api.http.get("/_sandbox/faults").json == []


def test_clearing_keeps_who_is_logged_in(api):
    api.submitted()
    token = api.log_in().json["access_token"]
    api.http.post("/_sandbox/tokens", json={"expires_in": 1})
    api.http.post("/_sandbox/faults", json={"status": 500})
    api.http.delete("/_sandbox/tokens?kind=long_lived")
    api.http.delete("/_sandbox?keep_tokens=true")
    assert api.http.get("/_sandbox/emails").json == api.http.get("/_sandbox/faults").json == []
    assert api.http.get("/lists", headers=bearer(token)).status_code == 200
    assert api.get("/lists").status_code == 200
    assert api.log_in().json["expires_in"] == 3600
