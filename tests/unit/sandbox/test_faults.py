"""Each fault as a client's socket sees it, which calls it hits, and what the sandbox has accepted meanwhile."""

import json
import socket
import struct
import time
from collections.abc import Iterator

import pytest
import requests

from smtpgw.sandbox.accounts import DEMO, MULTI_FACTOR, OTHER, OTHER_SENDER, SENDER
from smtpgw.sandbox.faults import ENDPOINTS, KINDS, Call, Fault, Rule
from tests.support.sandbox import Sandbox
from tests.support.sandbox_client import Caller, an_email, bearer

SOON_SECONDS = 5


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server) -> Sandbox:
    server.clear()
    return server


def submit(sandbox: Sandbox, account=DEMO, timeout: float = SOON_SECONDS, **changes: object) -> requests.Response:
    headers = {**bearer(account.access_token), "Connection": "close"}
    return requests.post(f"{sandbox.url}/v2/emails", json=an_email(**changes), headers=headers, timeout=timeout)


def raw_request(**changes: object) -> bytes:
    body = json.dumps(an_email(**changes)).encode()
    head = f"POST /v2/emails HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DEMO.access_token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def dialled(sandbox: Sandbox) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", sandbox.port), timeout=SOON_SECONDS)
    client.sendall(raw_request())
    return client


def read_to_the_end(client: socket.socket) -> bytes:
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def accepted(sandbox: Sandbox) -> int:
    return sandbox.ledger()["total"]


# --- Kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 502, 503])
def test_status(sandbox, status):
    sandbox.fault(status=status)
    answer = submit(sandbox)
    assert answer.status_code == status
    assert answer.json()["detail"][0]["type"] == "fault"
    assert accepted(sandbox) == 0


def test_status_with_retry_after_and_a_body(sandbox):
    sandbox.fault(status=429, retry_after=7, body={"detail": [{"msg": "Slow down"}]}, times=1)
    sandbox.fault(status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", body="no JSON")
    answer = submit(sandbox)
    assert (answer.headers["Retry-After"], answer.json()) == ("7", {"detail": [{"msg": "Slow down"}]})
    answer = submit(sandbox)
    assert (answer.headers["Retry-After"], answer.text) == ("Wed, 21 Oct 2026 07:28:00 GMT", "no JSON")


def test_status_of_a_call_that_was_accepted_all_the_same(sandbox):
    sandbox.fault(status=500, accepts=True)
    assert submit(sandbox).status_code == 500
    assert accepted(sandbox) == 1


def test_html(sandbox):
    sandbox.fault(kind="html", times=1)
    sandbox.fault(kind="html", status=200)
    page = submit(sandbox)
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert page.text.startswith("<!DOCTYPE html>")
    assert submit(sandbox).status_code == 200
    assert accepted(sandbox) == 0


def test_latency(sandbox):
    sandbox.fault(latency_ms=300)
    started = time.monotonic()
    assert submit(sandbox).status_code == 201
    assert time.monotonic() - started >= 0.3
    assert accepted(sandbox) == 1


@pytest.mark.parametrize(("kind", "count"), [("reset_before", 0), ("reset_after", 1)])
def test_reset(sandbox, kind, count):
    sandbox.fault(kind=kind)
    with dialled(sandbox) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(requests.ConnectionError):
        submit(sandbox, email="second@customer.example")
    assert accepted(sandbox) == 2 * count
    assert sandbox.calls()["POST /v2/emails"]["outcomes"] == {kind: 2}


@pytest.mark.parametrize(("accepts", "status"), [(True, b"201"), (False, b"503")])
def test_slow_headers(sandbox, accepts, status):
    sandbox.fault(kind="slow_headers", latency_ms=1000, accepts=accepts)
    started = time.monotonic()
    with dialled(sandbox) as client:
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert accepted(sandbox) == accepts  # before the answer
        client.settimeout(SOON_SECONDS)
        assert client.recv(65536).startswith(b"HTTP/1.1 " + status)
    assert time.monotonic() - started >= 1


def test_slow_body(sandbox):
    sandbox.fault(kind="slow_body", latency_ms=5)
    pieces = []
    with dialled(sandbox) as client:
        while not b"".join(pieces).endswith(b"}}"):
            pieces.append(client.recv(65536))
    assert len(pieces) > 20
    assert b'"status":"queued"' in b"".join(pieces)
    assert accepted(sandbox) == 1


def test_a_slow_body_outlasts_a_read_timeout(sandbox):
    sandbox.fault(kind="slow_body")
    with pytest.raises(requests.ConnectionError, match="timed out"):
        submit(sandbox, timeout=0.2)
    assert accepted(sandbox) == 1


def test_truncated(sandbox):
    sandbox.fault(kind="truncated")
    with dialled(sandbox) as client:
        head, _, body = read_to_the_end(client).partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert json.loads(body)["data"]["status"] == "queued"
    assert len(body) < promised
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        submit(sandbox)
    assert accepted(sandbox) == 2


@pytest.mark.parametrize("reset", [False, True])
def test_no_answer_until_the_client_leaves(sandbox, reset):
    sandbox.fault(kind="no_answer")
    with dialled(sandbox) as client:
        client.sendall(b"GET /health HTTP/1.1\r\n")  # more octets are no leaving
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert accepted(sandbox) == 1
    assert sandbox.calls()["POST /v2/emails"]["outcomes"] == {"no_answer": 1}
    sandbox.clear_faults()
    assert submit(sandbox).status_code == 201


@pytest.mark.parametrize("kind", ["rejected", "error"])
def test_a_201_that_is_no_acceptance(sandbox, kind):
    sandbox.fault(kind=kind)
    answer = submit(sandbox)
    assert (answer.status_code, answer.json()["data"]["status"]) == (201, kind)
    assert accepted(sandbox) == 0
    assert [email["status"] for email in sandbox.emails(status=kind)] == [kind]


def test_no_id(sandbox):
    sandbox.fault(kind="no_id")
    answer = submit(sandbox)
    assert (answer.status_code, answer.json()["data"]) == (201, {"status": "queued"})
    assert accepted(sandbox) == 1


def test_challenge_with_200(sandbox):
    sandbox.fault(kind="challenge_200", email=MULTI_FACTOR.email)

    def log_in(account):
        form = {"username": account.email, "password": account.password}
        return requests.post(f"{sandbox.url}/token", data=form, timeout=SOON_SECONDS)

    challenged = log_in(MULTI_FACTOR)
    assert (challenged.status_code, list(challenged.json())) == (200, ["challenge"])
    assert "access_token" in log_in(DEMO).json()


def test_what_is_refused_anyway_is_not_accepted_by_a_fault(sandbox):
    for kind in ("rejected", "no_id"):
        sandbox.clear_faults()
        sandbox.fault(kind=kind)
        assert submit(sandbox, tags=["a b"]).status_code == 422
    assert accepted(sandbox) == len(sandbox.emails()) == 0


def test_the_connection_is_kept_after_faults_that_answer(sandbox):
    sandbox.fault(status=500, times=1)
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=SOON_SECONDS) as client:
        for status in (b"500", b"201"):
            client.sendall(raw_request())
            received = b""
            while not received.endswith(b"}"):
                received += client.recv(65536)
            assert received.startswith(b"HTTP/1.1 " + status)


def test_every_kind_is_tested_here():
    tested = {"status", "html", "latency", "reset_before", "reset_after", "slow_headers", "slow_body", "truncated"}
    assert set(KINDS) == tested | {"no_answer", "rejected", "error", "no_id", "challenge_200"}


# --- Which calls -----------------------------------------------------------------------------------------------------


def hits(rule: Rule, calls: int = 12) -> list[int]:
    fault = Fault(rule)
    return [number for number in range(1, calls + 1) if fault.due(Call("POST /v2/emails"))]


def test_every_and_times():
    assert hits(Rule(status=500)) == list(range(1, 13))
    assert hits(Rule(status=500, every=5)) == [5, 10]
    assert hits(Rule(status=500, times=2)) == [1, 2]
    assert hits(Rule(status=500, every=3, times=2)) == [3, 6]


def test_rate_is_the_same_each_time_for_a_seed():
    first = hits(Rule(status=500, rate=0.3, seed=7), 1000)
    assert first == hits(Rule(status=500, rate=0.3, seed=7), 1000)
    assert first != hits(Rule(status=500, rate=0.3, seed=8), 1000)
    assert 250 < len(first) < 350
    assert hits(Rule(status=500, rate=0)) == []
    assert len(hits(Rule(status=500, rate=1))) == 12


@pytest.mark.parametrize(
    ("given", "matches"),
    [
        ({}, True),
        ({"endpoint": "POST /v2/emails"}, True),
        ({"endpoint": "/v2/emails"}, True),
        ({"endpoint": "GET /lists"}, False),
        ({"email": "A@B.example"}, True),
        ({"email": "c@b.example"}, False),
        ({"sender": "sender-1"}, True),
        ({"sender": "Sender@B.example"}, True),
        ({"sender": "sender-2"}, False),
        ({"endpoint": "/v2/emails", "email": "a@b.example", "sender": "sender-2"}, False),
    ],
)
def test_what_a_rule_matches(given, matches):
    call = Call("POST /v2/emails", "a@b.example", ("sender-1", "sender@b.example"))
    assert Rule(status=500, **given).matches(call) is matches


def test_one_recipient_and_one_sender(sandbox):
    sandbox.fault(status=503, email="Bad@customer.example")
    sandbox.fault(status=500, sender=OTHER_SENDER.email)
    assert submit(sandbox).status_code == 201
    assert submit(sandbox, email="bad@customer.example").status_code == 503
    assert submit(sandbox, OTHER, sender={"id": OTHER_SENDER.id}, list_id=None).status_code == 500
    assert [(fault["matched"], fault["hits"]) for fault in sandbox.faults()] == [(1, 1), (1, 1)]


def test_the_first_rule_that_is_due_hits(sandbox):
    sandbox.fault(status=500, every=2)
    sandbox.fault(status=503, times=1)
    assert [submit(sandbox).status_code for _ in range(4)] == [503, 500, 201, 500]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_can_fail(endpoint):
    api = Caller()
    email_id = api.submitted()
    method, path = endpoint.replace("{email_id}", email_id).split()
    api.http.post("/_sandbox/faults", json={"endpoint": endpoint, "status": 503, "times": 1})
    headers = bearer(DEMO.access_token)
    assert api.http.open(path, method=method, headers=headers).status_code == 503
    assert api.http.open(path, method=method, headers=headers).status_code != 503


def test_faults_leave_controls_health_and_inbox_alone(sandbox):
    sandbox.fault(status=503)
    for path in ("/", "/health", "/_sandbox/emails"):
        assert requests.get(f"{sandbox.url}{path}", timeout=SOON_SECONDS).status_code == 200
    assert requests.get(f"{sandbox.url}/lists", timeout=SOON_SECONDS).status_code == 503


def test_a_malformed_body_meets_no_fault_by_recipient():
    api = Caller()
    api.http.post("/_sandbox/faults", json={"status": 503, "email": "a@b.example"})
    for body in (b"{", b"[]", b'{"email": ["a@b.example"], "sender": "x"}'):
        headers = {**bearer(DEMO.access_token), "Content-Type": "application/json"}
        assert api.http.post("/v2/emails", data=body, headers=headers).status_code == 422


def test_faults_are_listed_and_cleared(sandbox):
    rule = {"kind": "slow_headers", "latency_ms": 1, "email": "a@b.example", "seed": 0}
    assert sandbox.fault(**rule) == {**rule, "matched": 0, "hits": 0}
    assert sandbox.faults() == [{**rule, "matched": 0, "hits": 0}]
    sandbox.clear_faults()
    assert sandbox.faults() == []


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "explode"},
        {"kind": "status"},
        {"status": 99},
        {"status": "soon"},
        {"status": 500, "every": 0},
        {"status": 500, "times": 0},
        {"status": 500, "rate": 1.1},
        {"status": 500, "rate": 0.5, "every": 2},
        {"status": 500, "latency_ms": -1},
        {"status": 500, "endpoint": "/v3/emails"},
        {"status": 500, "recipient": "a@b.example"},
        {"kind": "rejected", "endpoint": "/lists"},
        {"kind": "challenge_200", "endpoint": "POST /v2/emails"},
        {"kind": "reset_before", "accepts": True},
    ],
)
def test_faults_that_make_no_sense_are_refused(sandbox, rule):
    with pytest.raises(requests.HTTPError, match="422"):
        sandbox.fault(**rule)


def test_a_fault_of_the_connection_needs_one():
    api = Caller()
    api.http.post("/_sandbox/faults", json={"kind": "reset_before"})
    assert api.submit(an_email()).status_code == 500


def test_latency_of_the_whole_sandbox():
    with Sandbox(latency_ms=200) as slow:
        for _ in range(2):
            started = time.monotonic()
            assert submit(slow).status_code == 201
            assert time.monotonic() - started >= 0.2
        calls = slow.calls()["POST /v2/emails"]
    assert calls["total_ms"]["p50"] >= 200
    assert calls["own_ms"]["max"] < 200


def test_calls_under_way_at_once(sandbox):
    sandbox.fault(latency_ms=600)
    clients = [dialled(sandbox) for _ in range(7)]
    for client in clients:
        assert client.recv(65536)
        client.close()
    assert sandbox.calls()["POST /v2/emails"]["most_under_way"] == 7


def test_the_sender_of_a_fault_may_be_an_id(sandbox):
    sandbox.fault(status=503, sender=SENDER.id)
    assert submit(sandbox).status_code == 503
