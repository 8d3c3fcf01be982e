"""Whatever a client or Cakemail sends, a log line is JSON, has at most 16,384 octets, and says what it leaves out."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials, Envelope, Peer, Submission
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.dialects.interpreter import Finding, Options, Verdict
from smtpgw.smtp import session_log
from smtpgw.submission.message_log import MessageLog
from smtpgw.telemetry import deferred, logs
from smtpgw.telemetry.log_bounds import MAX_LINE_BYTES, shorten_text
from tests.support.gateway import SENDER, Gateway
from tests.support.sandbox import Sandbox

HOSTILE = ["\x00\x1b\n\"\\", "\udcff", "é€😀", "x@example.com ", "<script>"]  # fmt: skip


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.fixture
def lines() -> Iterator[list[bytes]]:
    """What this process logs, in octets."""
    found: list[bytes] = []

    class Kept:
        def put(self, line: bytes) -> None:
            found.append(line)

    before = vars(logs.LOG).copy()
    logs.LOG.min_level, logs.LOG.format, logs.LOG.writer = 0, logs.json_line, Kept()  # type: ignore[assignment]
    yield found
    vars(logs.LOG).update(before)


def checked(line: bytes) -> dict[str, Any]:
    assert len(line) <= MAX_LINE_BYTES == 16_384
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found = json.loads(line, parse_constant=refuse)
    assert found.keys() >= {"time", "level", "event"}
    return found  # type: ignore[no-any-return]


def message_line(lines: list[bytes], outcomes: list[Outcome], error: Exception | None = None, **told: Any) -> Any:
    """The line of a message with all of this."""
    recipients = [outcome.recipient for outcome in outcomes]
    raw = b"Message-ID: <" + b"i" * 900 + b"@app.example>\r\n\r\nx"
    account = Account(7, Credentials("u", "p"))
    story = MessageLog(Submission("s.1", "s", account, Envelope(SENDER, recipients), raw, "192.0.2.1"))
    story.outcomes = outcomes
    story.notes = tuple(told.get("notes", ()))
    story.options(Options(findings=tuple(told.get("findings", ())), metadata=told.get("metadata", {})))
    problem = error or SMTPError(Reply(550, "5.0.0", told.get("reply", "no"), "refused_by_api"))
    story.__exit__(type(problem), problem, None)
    deferred.flush()
    return checked(lines[-1])


# --- Any line


repeated = st.builds(lambda text, times: text * times, st.sampled_from(HOSTILE), st.integers(0, 3000))
texts = st.text(max_size=50) | st.sampled_from(HOSTILE) | repeated
numbers = st.integers() | st.builds(lambda bits: 2**bits, st.integers(60, 200_000)) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.builds(Broken),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(texts | st.integers(), inner, max_size=8),
    max_leaves=40,
)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.dictionaries(texts, values, max_size=45), st.integers(1, 500))
def test_any_fields_make_one_line_of_json(fields: dict[str, Any], times: int):
    fields = {name: value * times if isinstance(value, list) else value for name, value in fields.items()}
    given_first = {"time": datetime.now(UTC), "level": "error", "event": "error"}
    checked(logs.json_line({**fields, **given_first}))


def test_a_line_that_is_short_enough_is_as_it_was():
    fields = {"time": "t", "level": "info", "event": "message", "results": [{"to": "x"}] * 150, "reply": "x" * 5000}
    assert json.loads(logs.json_line(fields)) == fields


@pytest.mark.parametrize("characters", [1, 2, 3, 10, 1000])
def test_a_long_text_keeps_its_beginning_and_its_end(characters: int):
    text = "".join(map(str, range(1000)))
    cut = shorten_text(text, characters)
    head, said, tail = cut.split("…")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert said == f" ({len(text) - len(head) - len(tail)} characters omitted) "
    assert shorten_text("x" * characters, characters) == "x" * characters


# --- Each kind of line


def test_a_thousand_refused_recipients(lines: list[bytes]):
    accepted = [Outcome(f"a{n}@customer.example", f"uuid-{n}") for n in range(500)]
    words = Reply(550, "5.0.0", "\udcff\x01 refused because " * 25, "refused_by_api")
    refused = [Outcome(f"r{n}@customer.example", reply=words) for n in range(500)]
    line = message_line(lines, [*accepted, *refused])
    assert line["recipients"] == 1000
    assert len(line["results"]) + line["results_omitted"] == 1000
    assert all("reply" in result for result in line["results"]), "what was not accepted comes first"
    assert len(line["message_id"]) > 900


def test_a_thousand_accepted_recipients(lines: list[bytes]):
    line = message_line(lines, [Outcome(f"a{n}@customer.example", f"{n:036d}") for n in range(1000)])
    assert len(line["results"]) + line["results_omitted"] == 1000
    assert len(line["results"]) >= 100
    assert line["results"][0] == {"to": "a***@customer.example", "uuid": "0" * 36}


def test_notes_metadata_verdicts_and_what_was_lost(lines: list[bytes]):
    findings = [Finding(f"d{n}", f"X-Header-{n} " + "h" * 900, Verdict.STRIP_WARN, "\x00" * 900) for n in range(990)]
    metadata = {f"name {n} " + "n" * 500: "é" * 900 for n in range(990)}
    notes = [f"X-Undelivered-{n}-" + "u" * 900 + " is not delivered" for n in range(990)]
    reply = "550 " + "\x01" * 10_000
    line = message_line(lines, [Outcome("a@b.example")], notes=notes, findings=findings, metadata=metadata, reply=reply)
    for name in ("notes", "verdicts", "lost", "metadata"):
        assert len(line[name]) + line[f"{name}_omitted"] == 990, name
    assert (line["id"], line["account"], line["reason"]) == ("s.1", 7, "refused_by_api")


def test_a_bug_with_a_message_in_its_text(lines: list[bytes]):
    line = message_line(lines, [], error=RuntimeError("\x00" * 2_000_000 + " the end"))
    assert line["reason"] == "internal_error"
    assert line["trace"].startswith("RuntimeError: ")
    assert line["trace"].endswith(" the end\n")


def test_errors_sessions_logins_and_limits(lines: list[bytes]):
    try:
        raise ValueError("\udcff" * 100_000)
    except ValueError:
        logs.error(what="x" * 100_000, trace=True)
        logs.uncaught("context " * 50_000, *sys.exc_info())  # type: ignore[arg-type]
    log = session_log.SessionLog("s", Peer("192.0.2.1", 1))
    log.login("PLAIN", "\x01" * 9000 + "@customer.example", replies.BAD_CREDENTIALS, None)
    log.end(tls="", messages=0, seconds=1.0, reason="lost", verb="none", detail="\x00" * 20_000, is_active=True)
    session_log.record_rejection(Peer("192.0.2.99", 1), replies.PROXY_ONLY, reason="y" * 70_000)
    assert [checked(line)["event"] for line in lines] == ["error", "error", "auth", "session", "limit"]


def test_lines_of_gunicorn_and_other_libraries(lines: list[bytes]):
    record = logging.LogRecord("gunicorn.error", logging.ERROR, "f", 1, "%s", ("\x00é" * 200_000,), None)
    record.extra = ["x" * 1000] * 1000
    try:
        raise ValueError("\udcff" * 100_000)
    except ValueError:
        record.exc_info = sys.exc_info()
    handler = logs.LibraryHandler()
    handler.setFormatter(logs.LibraryFormatter())
    handler.emit(record)
    assert checked(lines[-1])["logger"] == "gunicorn.error"


def test_a_line_for_people_is_bounded_too():
    line = logs.console_line({"event": "error", "what": "é" * 100_000, "trace": "t" * 100_000 + " the end"})
    assert len(line) <= MAX_LINE_BYTES
    assert line.endswith(b" the end\n")


# --- From the outside


def test_a_message_with_hundreds_of_headers_that_are_not_delivered(sandbox: Sandbox, tmp_path):
    headers = "".join(f"Undelivered-{n}-{'u' * 200}: {'v' * 40}\r\n" for n in range(990))
    recipients = [f"r{n}@customer.example" for n in range(100)]
    with Gateway(sandbox.url, tmp_path, SMTPGW_MAX_RECIPIENTS="100") as gateway:
        with gateway.client() as client:
            client.sendmail(SENDER, recipients, f"From: {SENDER}\r\nSubject: s\r\n{headers}\r\nx\r\n")
        gateway.stop()
        found = [checked(line) for line in gateway.log.read_bytes().splitlines(keepends=True)]
    (line,) = [line for line in found if line["event"] == "message"]
    assert line["result"] == "accepted"
    assert len(line["notes"]) + line["notes_omitted"] >= 990
    assert len(line["results"]) + line.get("results_omitted", 0) == 100
