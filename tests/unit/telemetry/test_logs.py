"""The log: one vocabulary, addresses as the operator wants them, nothing secret, and nobody waits for who reads it."""

import ast
import fcntl
import json
import os
import re
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import get_hub
from gevent.monkey import get_original

from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.core.models import Account, Credentials, Envelope, Submission
from smtpgw.message import parser
from smtpgw.submission.gateway import Gateway as InProcess
from smtpgw.telemetry import log_writer, logs, redaction
from tests.support.gateway import PASSWORD, ROOT, SENDER, USERNAME, Gateway
from tests.support.line import TIMEOUT_SECONDS
from tests.support.log_fields import vocabulary
from tests.support.sandbox import Sandbox

EVENTS = {"session", "auth", "message", "limit", "tls", "lifecycle", "error"}
KEY = "a key that only the operator has"


def story(log: Path, needle: str, least: int = 1) -> list[dict[str, Any]]:
    """The log query: what `grep` finds of a Message-ID. Waits until it finds so much: lines are written soon."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        lines = log.read_text().splitlines(keepends=True)  # the last one may be half written
        found = [json.loads(line) for line in lines if needle in line and line.endswith("\n")]
        if len(found) >= least:
            return found
        assert time.monotonic() < deadline, f"{needle} is in {len(found)} lines of the log"
        time.sleep(0.05)


def mail(message_id: str, *, author: str = SENDER, headers: str = "", to: str = "jane.roe@customer.example") -> str:
    return (
        f"From: {author}\r\nTo: {to}\r\nMessage-ID: {message_id}\r\nSubject: the subject\r\n{headers}\r\nthe body\r\n"
    )


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What this process logs, as the test goes on."""
    found: list[dict[str, Any]] = []

    class Kept:
        def put(self, line: bytes) -> None:
            found.append(json.loads(line))

    before = vars(logs.LOG).copy()
    logs.LOG.min_level, logs.LOG.format, logs.LOG.writer = 0, logs.json_line, Kept()
    yield found
    vars(logs.LOG).update(before)


# --- Addresses


@pytest.mark.parametrize(
    ("mailbox", "masked"),
    [
        ("john.doe@example.com", "j***@example.com"),
        ("j@example.com", "j***@example.com"),
        ('"a b"@example.com', '"***@example.com'),
        ("postmaster", "p***"),
        ("", ""),
    ],
)
def test_masked(mailbox, masked):
    assert redaction.mask(mailbox) == masked


def test_hashed_can_be_searched_for_and_not_be_read():
    write = redaction.hasher(KEY)
    assert re.fullmatch(r"[0-9a-f]{16}@example\.com", write("John.Doe@Example.com"))
    assert write("John.Doe@Example.com") == write("john.doe@example.com")
    assert write("john.doe@example.com") != write("jane.doe@example.com")
    assert write("john.doe@example.com") != write("john.doe@example.net")
    assert write("john.doe@example.com") != redaction.hasher(KEY + "!")("john.doe@example.com")
    assert write("") == ""
    assert re.fullmatch(r"[0-9a-f]{16}", write("postmaster"))
    assert write("jörg\udcff@example.com")  # whatever a client sends


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        ("550 5.7.1 nobody@y.example: sender is not", "550 5.7.1 n***@y.example: sender is not"),
        ("<a.b@c.example>, (x@y.example).", "<a***@c.example>, (x***@y.example)."),
        ("none here", "none here"),
        ("@ alone", "@ alone"),
    ],
)
def test_addresses_in_a_sentence(words, masked):
    assert logs.text(words) == masked


@pytest.mark.parametrize("way", ["masked", "hashed", "full"])
def test_every_line_has_addresses_as_the_operator_wants_them(sandbox, tmp_path, way):
    variables = {"SMTPGW_LOG_ADDRESSES": way, "SMTPGW_LOG_HASH_KEY": KEY, "SMTPGW_LOG_LEVEL": "debug"}
    sandbox.fault(kind="status", status=422, body={"detail": "jane.roe@customer.example is blocked"}, times=1)
    with Gateway(sandbox.url, tmp_path, **variables) as gateway:
        client = gateway.client()
        for number, author in enumerate((SENDER, SENDER, "not.confirmed@cakemail.example")):
            try:
                client.sendmail(author, ["jane.roe@customer.example"], mail(f"<{number}@app.example>", author=author))
            except smtplib.SMTPDataError:
                assert number != 1
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, ["jane roe@customer.example"], mail("<3@app.example>"))
        client.close()
        asked = subprocess.run(
            [sys.executable, "-m", "smtpgw", "logged", "jane.roe@customer.example", "not.confirmed@cakemail.example"],
            cwd=ROOT, env={**os.environ, **gateway.variables}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    log = gateway.log.read_text()
    for mailbox, shown in zip(("jane.roe", "not.confirmed"), asked.stdout.split(), strict=True):
        assert shown in log
        assert (f"{mailbox}@" in log) == (way == "full")
    assert KEY not in log


# --- Secrets


def settings(**variables: str) -> Settings:
    environ = {"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__, **variables}
    return Settings.from_environ(environ)


def test_a_secret_setting_is_in_no_printout():
    found = settings(SMTPGW_LOG_ADDRESSES="hashed", SMTPGW_LOG_HASH_KEY=KEY)
    assert found.log_hash_key == KEY
    assert KEY not in repr(found)
    shown = {name: value for name, value, _, _ in found.described()}
    assert shown["SMTPGW_LOG_HASH_KEY"] == "(secret)"
    assert {name: value for name, value, _, _ in settings().described()}["SMTPGW_LOG_HASH_KEY"] == ""


def test_a_mistake_in_a_secret_setting_does_not_show_it():
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SMTPGW_")}
    run = subprocess.run(
        [sys.executable, "-m", "smtpgw", "serve"],
        cwd=ROOT, env={**environ, "SMTPGW_LOG_HASH_KEY": "too short"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert "SMTPGW_LOG_HASH_KEY: must be empty, or 16 to 64 octets" in run.stderr
    assert "too short" not in run.stderr + run.stdout


def test_hashing_needs_a_key():
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SMTPGW_")}
    certificate = {"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__}
    run = subprocess.run(
        [sys.executable, "-m", "smtpgw", "logged", "a@b.example"],
        cwd=ROOT, env={**environ, **certificate, "SMTPGW_LOG_ADDRESSES": "hashed"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert "SMTPGW_LOG_HASH_KEY: must be set" in run.stderr


@pytest.mark.parametrize("command", ["redact", "logged"])
def test_redacting_needs_no_certificate(command):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SMTPGW_")}
    run = subprocess.run(
        [sys.executable, "-m", "smtpgw", command, "jane.roe@customer.example", "joe@b.example"],
        cwd=ROOT, env=environ, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "j***@customer.example\nj***@b.example\n", "")


def test_a_username_that_may_be_a_secret_is_not_logged(gateway):
    for username in ("apikey-or-whatever-somebody-pastes", "p@ssw0rd", USERNAME):
        with gateway.encrypted() as client, pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
            client.login(username, "wrong password")
        assert story(gateway.log, re.search(rb"\[(\w+)\]", refusal.value.smtp_error)[1].decode())
    log = gateway.log.read_text()
    assert "apikey-or-whatever" not in log
    assert "ssw0rd" not in log
    assert "d***@cakemail.example" in log
    assert "wrong password" not in log


# --- The story of a message


def test_addresses_in_names_are_masked_too(gateway):
    """Names of metadata, of keys and of headers are the client's."""
    smtpapi = '{"unique_args": {"ann@victim.example": "1", "al@victim.example": "2"}, "bob@victim.example": 3}'
    headers = f"X-SMTPAPI: {smtpapi}\r\nX-MC-carl@victim.example: 4\r\n"
    with gateway.client() as client:
        client.sendmail(SENDER, ["jane.roe@customer.example"], mail("<names@app.example>", headers=headers))
    (told,) = story(gateway.log, "<names@app.example>")
    assert told["metadata"] == {"a***@victim.example": "1", "a***@victim.example (2)": "2"}
    assert "X-SMTPAPI b***@victim.example: not a key we know" in told["lost"]
    assert not re.search(r"(ann|al|bob|carl)@victim", gateway.log.read_text())


def test_one_message_id_finds_the_whole_story(sandbox, gateway):
    sandbox.fault(kind="rejected", email="refused@customer.example")
    sandbox.fault(status=500, email="later@customer.example")
    client = gateway.client()
    headers = 'X-Mailgun-Tag: a\r\nX-MC-Metadata: {"order": "7"}\r\n'
    recipients = ["jane.roe@customer.example", "refused@customer.example"]
    client.sendmail(SENDER, recipients, mail("<both@app.example>", headers=headers))
    with pytest.raises(smtplib.SMTPDataError) as later:
        client.sendmail(SENDER, ["later@customer.example"], mail("<later@app.example>"))
    with pytest.raises(smtplib.SMTPDataError) as unreadable:
        client.sendmail(SENDER, recipients, mail("<unreadable@app.example>", headers="From: second@author.example\r\n"))
    client.quit()

    (both,) = story(gateway.log, "<both@app.example>")
    uuids = {email["email"]: email["id"] for email in sandbox.emails()}
    assert both["event"] == "message"
    assert both["result"] == "partial"
    assert both["id"] == f"{both['session']}.1"
    assert both["client"] == "127.0.0.1"
    assert both["account"] == 1000
    assert both["sender_id"] == "sender-1001"
    assert both["mail_from"] == "s***@cakemail.example"
    assert both["recipients"] == 2
    assert both["bytes"] > 100
    assert both["stages"].keys() == {"parse", "sender", "translate", "api"}
    assert both["ms"] >= both["stages"]["api"]
    assert both["results"] == [
        {"to": "j***@customer.example", "uuid": uuids["jane.roe@customer.example"]},
        {"to": "r***@customer.example", "reply": "550 5.7.1 Cakemail did not accept the message: rejected"},
    ]
    assert both["verdicts"]["mailgun map"] == 1
    assert both["metadata"] == {"order": "7"}
    assert both["notice"] == uuids[SENDER]
    assert both["reply"] == f"250 2.0.0 Ok: queued as {both['id']}"

    (deferred,) = story(gateway.log, "<later@app.example>")
    assert (deferred["result"], deferred["reason"]) == ("deferred", "api_failed")
    assert deferred["session"] in later.value.smtp_error.decode()  # what the user's screenshot shows

    (refused,) = story(gateway.log, "<unreadable@app.example>")
    assert (refused["result"], refused["reason"]) == ("refused", "bad_author")
    assert refused["session"] in unreadable.value.smtp_error.decode()
    assert refused["results"] == []

    around = story(gateway.log, both["session"], least=5)
    assert [line["event"] for line in around] == ["auth", "message", "message", "message", "session"]
    assert around[-1]["messages"] == 3


def test_a_bug_of_ours_is_in_the_story_too(lines, sandbox, monkeypatch):
    def broken(raw, inline_images, **options):
        raise RuntimeError("a bug")

    gateway = InProcess(settings(CAKEMAIL_API_URL=sandbox.url), ProviderMap.EMPTY)
    monkeypatch.setattr(parser, "parse", broken)
    account = Account(7, Credentials(USERNAME, PASSWORD))
    raw = b"Subject: x\r\nmessage-id:\r\n <folded@app.example>\r\n\r\nMessage-ID: <not@this.one>"
    with pytest.raises(RuntimeError):
        gateway.submit(Submission("s.1", "s", account, Envelope(SENDER, ["a@b.example"]), raw, "192.0.2.1"))
    gateway.close()
    (line,) = lines
    assert (line["event"], line["result"], line["reason"]) == ("message", "deferred", "internal_error")
    assert line["message_id"] == "<folded@app.example>"
    assert "RuntimeError: a bug" in line["trace"]


def test_a_header_that_a_message_is_refused_for_is_named(gateway):
    client = gateway.client()
    with pytest.raises(smtplib.SMTPDataError):
        client.sendmail(
            SENDER, ["a@b.example"], mail("<refused@app.example>", headers="X-Mailgun-Template-Name: t\r\n")
        )
    client.quit()
    (line,) = story(gateway.log, "<refused@app.example>")
    assert line["verdicts"] == {"mailgun refuse": 1}
    assert line["refused"].startswith("X-Mailgun-Template-Name: ")


# --- Vocabulary


def test_every_line_is_an_event_of_the_vocabulary(sandbox, tmp_path):
    variables = {"SMTPGW_LOG_LEVEL": "debug", "SMTPGW_MAX_RECIPIENTS": "2", "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "2"}
    with Gateway(sandbox.url, tmp_path, SMTPGW_TRUSTED_CIDRS="192.0.2.0/24", **variables) as gateway:
        client, other = gateway.client(), gateway.encrypted()
        for _ in range(3):
            with pytest.raises(smtplib.SMTPConnectError, match="too many connections"):
                smtplib.SMTP("localhost", gateway.port, timeout=10)
        client.sendmail(SENDER, [f"{n}@b.example" for n in range(5)], mail("<1@app.example>"))
        client.quit()
        other.close()
    found = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    assert {line["event"] for line in found} <= EVENTS
    assert all(line.keys() >= {"time", "level", "event"} for line in found)
    assert {line["event"] for line in found} >= {"session", "auth", "message", "limit", "lifecycle"}
    limits = [(line["limit"], line["client"]) for line in found if line["event"] == "limit"]
    # Three times each, and a line once in a while: a client that floods must not fill the log.
    assert sorted(limits) == [("too_many_recipients", "127.0.0.1"), ("too_many_sessions_from_address", "127.0.0.1")]


def calls_of_logs() -> dict[str, set[str]]:
    """The events that the package logs, with the fields that it names at the calls."""
    found: dict[str, set[str]] = {event: set() for event in EVENTS}
    for path in Path(logs.__file__).parent.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logs."):
                event = ast.unparse(node.func).removeprefix("logs.")
                found.get(event, set()).update(keyword.arg for keyword in node.keywords if keyword.arg)
    found["session"].discard("quiet")
    found["tls"].discard("failed")
    return found


def test_the_documentation_has_the_vocabulary(sandbox, gateway):
    """Every field that a line has is in the table, and the table has none that no line has."""
    documented = vocabulary()
    assert documented.keys() == EVENTS
    for event, fields in calls_of_logs().items():
        assert fields - {"time"} <= documented[event], event
    for line in map(json.loads, gateway.log.read_text().splitlines()):
        names = {name.removesuffix("_omitted") for name in line}  # of a list that a long line has cut
        assert names - {"time", "level", "event"} <= documented[line["event"]], line
    source = "".join(path.read_text("utf-8") for path in Path(logs.__file__).parent.parent.rglob("*.py"))
    for fields in documented.values():
        assert [name for name in fields if not re.search(rf'"{name}"|\b{name}=', source)] == []


def test_the_level_is_the_least_that_is_logged(sandbox, tmp_path):
    with Gateway(sandbox.url, tmp_path, SMTPGW_LOG_LEVEL="error") as gateway:
        gateway.client().quit()
    assert gateway.log.read_text() == ""


def test_the_console_format_is_for_people(sandbox, tmp_path):
    with Gateway(sandbox.url, tmp_path, SMTPGW_LOG_FORMAT="console") as gateway:
        client = gateway.client()
        client.sendmail(SENDER, ["jane.roe@customer.example"], mail("<1@app.example>"))
        client.quit()
    log = gateway.log.read_text()
    assert re.search(r"(?m)^\d\d:\d\d:\d\d message   id=\w+\.1 session=\w+ client=127\.0\.0\.1 account=1000 ", log)
    assert re.search(r"(?m)^\d\d:\d\d:\d\d lifecycle logger=gunicorn.error what=Booting worker", log)


def test_lines_of_libraries_are_in_the_vocabulary(lines):
    formatter = logs.LibraryFormatter()
    logger = logs.logging.getLogger("some.library")
    handler = logs.LibraryHandler()
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel("INFO")
    logger.info("started %s", "well")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it is")
    logger.removeHandler(handler)
    assert [(line["event"], line["level"], line["what"]) for line in lines] == [
        ("lifecycle", "info", "started well"),
        ("error", "error", "it is"),
    ]
    assert "ValueError: broken" in lines[1]["trace"]
    assert lines[0]["logger"] == "some.library"


def test_what_no_greenlet_has_caught_is_logged(lines):
    try:
        raise ValueError("nobody caught it")
    except ValueError as problem:
        logs.uncaught(get_hub(), type(problem), problem, problem.__traceback__)
    assert lines[0]["event"] == "error"
    assert "ValueError: nobody caught it" in lines[0]["trace"]


def test_octets_that_are_no_text_do_not_stop_a_line(lines):
    logs.limit(client="192.0.2.1", what="\udcff", when=object())
    assert lines[0]["what"] == "\udcff"
    assert lines[0]["time"].endswith("+00:00")
    line = logs.json_line({"event": "limit", "what": "\udcff"})
    assert b'"event":"limit"' in line  # without spaces, as any other: the dashboard's queries look for that


def test_before_it_is_configured_only_warnings_are_said_and_for_people():
    script = "from smtpgw.telemetry import logs; logs.message({'id': 'x'}); logs.limit(client='192.0.2.1')"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d limit     client=192\.0\.2\.1\n", run.stderr)


# --- Nobody waits for who reads it


class Pipe:
    """A pipe that nobody reads until the test does."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)

    def read(self, until: bytes) -> bytes:
        """All there is, up to a line with these octets."""
        found = b""
        while until not in found:
            found += os.read(self.reading, 65_536)
        return found

    def close(self) -> None:
        os.close(self.writing)
        os.close(self.reading)


def test_a_blocked_pipe_blocks_nobody_and_what_is_dropped_is_said():
    pipe = Pipe()
    out = log_writer.LogWriter(pipe.writing, lambda lines: b"dropped %d\n" % lines)
    out.start()
    began = time.monotonic()
    for number in range(log_writer.MAX_QUEUED_LINES * 3):
        out.put(b"line %06d\n" % number)
    assert time.monotonic() - began < 5  # and not for ever
    dropped = out.newly_dropped()
    assert log_writer.MAX_QUEUED_LINES < dropped < log_writer.MAX_QUEUED_LINES * 2 + 1
    assert out.newly_dropped() == 0
    out.flush(0.1)  # does not wait for who does not read

    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(get_hub().threadpool.apply(pipe.read, (b"the last",))))
    reader.start()
    while out._queue.qsize():
        time.sleep(0.05)
    out.put(b"the last\n")
    reader.join(20)
    found = read[0].splitlines()
    assert sum(int(line.split()[1]) for line in found if line.startswith(b"dropped")) == dropped
    assert found[0] == b"line 000000"
    assert len([line for line in found if line.startswith(b"line")]) == log_writer.MAX_QUEUED_LINES * 3 - dropped
    pipe.close()


def test_lines_are_written_in_their_order_and_whole():
    pipe = Pipe()
    out = log_writer.LogWriter(pipe.writing, lambda lines: b"")
    out.put(b"before the fork\n")
    out.start()
    for number in range(50):
        out.put(b"line %d\n" % number)
    out.flush(5)
    assert pipe.read(b"line 49\n").splitlines() == [b"before the fork", *(b"line %d" % n for n in range(50))]
    pipe.close()


def test_before_the_fork_a_reader_that_does_not_read_costs_a_second_and_no_more(monkeypatch):
    pipe = Pipe()
    os.set_blocking(pipe.writing, False)
    os.write(pipe.writing, b"x" * 4096)
    os.set_blocking(pipe.writing, True)
    monkeypatch.setattr(log_writer, "WRITE_TIMEOUT_SECONDS", 0.1)
    out = log_writer.LogWriter(pipe.writing, lambda lines: b"dropped %d\n" % lines)
    out.put(b"nobody will read this\n")
    assert out.dropped == 1
    os.read(pipe.reading, 8192)
    out.put(b"but this\n")
    assert os.read(pipe.reading, 8192) == b"dropped 1\nbut this\n"
    pipe.close()


def test_a_reader_that_is_gone_is_no_trouble(capfd):
    pipe = Pipe()
    out = log_writer.LogWriter(pipe.writing, lambda lines: b"dropped\n")
    out.start()
    os.close(pipe.reading)
    time.sleep(0.05)  # gevent closes at the loop's next turn
    out.put(b"one\n")
    out.put(b"two\n")
    out.flush(5)
    assert out.dropped == 2
    assert "cannot write to the log" in capfd.readouterr().err
    os.close(pipe.writing)


def test_a_gateway_whose_log_nobody_reads_goes_on(sandbox, tmp_path):
    gateway = Gateway(sandbox.url, tmp_path)
    gateway.log = tmp_path / "fifo"
    os.mkfifo(gateway.log)
    reading = os.open(gateway.log, os.O_RDONLY | os.O_NONBLOCK)
    with gateway:
        client = gateway.client()
        text = mail("<{}@app.example>", headers="X-Mailgun-Drop-Message: yes\r\n")  # no call of the API: quick
        for number in range(log_writer.MAX_QUEUED_LINES + 800):
            client.sendmail(SENDER, ["a@b.example"], text.replace("{}", str(number)))
        _, page = gateway.get("/metrics")
        dropped = float(re.search(r"(?m)^smtpgw_log_lines_dropped_total (\S+)", page)[1])
        assert dropped > 0
        assert client.noop()[0] == 250

        os.set_blocking(reading, True)
        found = read_until(reading, b"log lines dropped")
        told = json.loads(next(line for line in found.splitlines() if b"log lines dropped" in line))
        assert told["lines"] >= dropped
        client.sendmail(SENDER, ["a@b.example"], text.replace("{}", "again"))
        assert b"<again@app.example>" in read_until(reading, b"<again@app.example>")
        client.quit()
        assert gateway.stop() == 0  # and nobody reads again
    os.close(reading)


def read_until(descriptor: int, needle: bytes) -> bytes:
    """What comes, up to the end of the line that has it."""
    found = b""
    while needle not in found or not found.endswith(b"\n"):
        found += get_hub().threadpool.apply(os.read, (descriptor, 65_536))
    return found


def test_the_thread_is_none_of_gevents():
    """A greenlet would stop with the loop, and so would the loop in its write."""
    assert get_original("_thread", "start_new_thread") is not threading._start_new_thread


def test_warnings_of_python_go_to_the_log():
    script = (
        "import warnings; from smtpgw.telemetry import logs;"
        "logs.configure('info', 'json', 'masked'); warnings.warn('a warning')"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    line = json.loads(run.stdout)
    assert (line["event"], line["level"]) == ("error", "warning")
    assert "a warning" in line["what"]


def test_the_line_of_a_message_names_the_headers_that_are_not_delivered(sandbox: Sandbox, gateway: Gateway) -> None:
    head = f"From: {SENDER}\r\nCc: boss@example.com\r\nSubject: Copies\r\nMessage-ID: <cc@app.example>"
    with gateway.client() as client:
        client.sendmail(SENDER, "ann@example.com", f"{head}\r\n\r\nx\r\n")
    (line,) = story(gateway.log, "<cc@app.example>")
    assert line["notes"] == ["Cc not delivered"]


def test_a_limit_is_told_in_the_words_of_the_reply(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path, SMTPGW_MAX_ERRORS="1") as own:
        with socket.create_connection((own.host, own.port)) as client:
            client.sendall(b"NONSENSE\r\n")
            while client.recv(1000):
                pass
        (line,) = story(own.log, '"event":"limit"')
    assert line["reply"] == "421 4.7.0 localhost saw too many errors; closing"
