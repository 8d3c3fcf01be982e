"""No password, token, AUTH response or message content leaves by logs, metrics, replies, tracebacks or core dumps."""

import base64
import json
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smtpgw.config.settings import Settings
from smtpgw.core.models import Submission
from smtpgw.core.replies import Reply
from smtpgw.sandbox.faults import KINDS, ONLY_ENDPOINT
from tests.chaos.ledger import MORE_OF_A_KIND, workers
from tests.support.gateway import PASSWORD, ROOT, SENDER, USERNAME, Gateway
from tests.support.line import Line
from tests.support.recorder import InProcess, Recorder, plain
from tests.support.sandbox import Sandbox

TOKEN = "demo-access-token"
WRONG = "Wrong-Passw0rd-9f1c"
TYPED_AS_NAME = "Passw0rd-typed-as-name-77aa"
BODY = "Body-Marker-4711"
ATTACHED = b"Attachment-Marker-0815"
SUBMIT = "POST /v2/emails"
TIMEOUT_SECONDS = 30
ISSUED_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")  # as the sandbox makes them
ECHO = {"detail": [{"loc": ["body", "password"], "msg": "cannot be read", "type": "value_error", "input": WRONG}]}


def encoded(text: str) -> list[str]:
    """A text, and how it stands in the responses to AUTH."""
    return [text, base64.b64encode(text.encode()).decode()]


SECRETS = [
    *encoded(PASSWORD), *encoded(TOKEN), *encoded(WRONG), *encoded(TYPED_AS_NAME), *encoded(BODY), ATTACHED.decode(),
    *(plain(name, word).decode() for name in (USERNAME, "apikey") for word in (PASSWORD, TOKEN, WRONG)),
    base64.b64encode(ATTACHED).decode(), "Bearer", "s3cret-of-redis",
]  # fmt: skip


def leaks(text: str) -> list[str]:
    issued = [word for word in ISSUED_TOKEN.findall(text) if re.search("[A-Z]", word) and re.search("[a-z]", word)]
    return [secret for secret in SECRETS if secret in text] + issued


def message(number: int) -> str:
    attached = base64.b64encode(ATTACHED).decode()
    return (
        f"From: {SENDER}\r\nSubject: {number}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\n{BODY} {number}\r\n"
        f"--b\r\nContent-Type: text/csv; name=a.csv\r\nContent-Disposition: attachment; filename=a.csv\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{attached}\r\n--b--\r\n"
    )


@pytest.fixture(scope="module")
def talkative(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that tells all it ever tells, and waits for nobody."""
    variables = {
        "SMTPGW_LOG_LEVEL": "debug",
        "SMTPGW_API_TIMEOUT_SECONDS": "0.5",
        "SMTPGW_API_RETRY_SECONDS": "0",
        "SMTPGW_MAX_AUTH_FAILURES": "50",
        "SMTPGW_THROTTLE_STORAGE": "redis://:s3cret-of-redis@127.0.0.1:1/0",  # where there is none
        "SMTPGW_THROTTLE_DELAY_SECONDS": "0",
        "SMTPGW_THROTTLE_FAILURES": "6",
        "SMTPGW_TRUSTED_CIDRS": "",
    }
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("talkative"), **variables) as gateway:
        yield gateway


def auth(client: smtplib.SMTP, *lines: str) -> list[str]:
    """The replies to AUTH and to the responses that follow it."""
    return [text.decode() for _, text in map(client.docmd, lines)]


def test_a_whole_session_with_failures_of_every_kind_tells_no_secret(talkative: Gateway, sandbox: Sandbox):
    heard: list[str] = []
    with talkative.client() as known, talkative.client("apikey", TOKEN) as another:
        heard += [outcome(known, 97), outcome(another, 98)]
    with talkative.encrypted() as client:
        client.ehlo()
        b64 = {word: encoded(word)[1] for word in (USERNAME, PASSWORD, WRONG, TYPED_AS_NAME, "apikey", TOKEN)}
        heard += auth(client, "AUTH LOGIN", b64[USERNAME], b64[WRONG])
        heard += auth(client, "AUTH LOGIN", b64[TYPED_AS_NAME], b64[WRONG])
        heard += auth(client, f"AUTH PLAIN {plain(USERNAME, WRONG).decode()}", f"AUTH PLAIN {b64[PASSWORD]}")
        heard += auth(client, f"AUTH LOGIN {b64[USERNAME]}", PASSWORD, f"AUTH {PASSWORD}", PASSWORD, b64[PASSWORD])
        for kind, rest in (
            ("status", {"status": 422, "body": ECHO}),
            ("html", {}),
            ("reset_after", {}),
            ("no_answer", {}),
        ):
            rule = {"kind": kind, "endpoint": "POST /token", **rest}
            sandbox.fault(**rule)
            heard += auth(client, f"AUTH PLAIN {plain(USERNAME, WRONG + kind).decode()}")
            sandbox.clear_faults()
        heard += [auth(client, f"AUTH PLAIN {plain(f'u{n}@x.example', WRONG).decode()}")[0] for n in range(8)]
        assert any("Too many failed logins" in text for text in heard), "the throttle had nothing to tell"
    with talkative.client() as client:
        for number, rule in enumerate(rules()):
            sandbox.fault(**rule)
            heard.append(outcome(client, number))
            sandbox.clear_faults()
        heard.append(outcome(client, 99))
    assert {text[:3] for text in heard} >= {"250", "451", "550"}, heard
    told = "\n".join(heard) + talkative.log.read_text() + talkative.get("/metrics")[1]
    assert '"event":"auth"' in told
    assert '"event":"message"' in told
    assert leaks(told) == []


def rules() -> list[dict[str, object]]:
    """Each fault of the API that a submission can meet."""
    kinds = [kind for kind in KINDS if ONLY_ENDPOINT.get(kind, SUBMIT) == SUBMIT]
    return [
        {"kind": kind, "endpoint": SUBMIT, "times": 1, **more}
        for kind in kinds
        for more in MORE_OF_A_KIND.get(kind, [{}])
    ]


def outcome(client: smtplib.SMTP, number: int) -> str:
    try:
        client.mail(SENDER)
        client.rcpt("r@customer.example")
        code, text = client.data(message(number))
    except smtplib.SMTPException as problem:
        return str(problem)
    return f"{code} {text.decode()}"


class Broken(Recorder):
    """A gateway with a bug whose exception has the message in it."""

    def submit(self, submission: Submission) -> Reply:
        password = submission.account.credentials.password
        raise KeyError(type(password), submission)


def test_a_traceback_has_no_message_and_no_password(capfd: pytest.CaptureFixture[str]):
    dialogue = InProcess("recipient given", gateway=Broken())
    heard = dialogue.converse([b"DATA\r\n" + message(1).encode() + b".\r\n"]).decode()
    told = "".join(capfd.readouterr())
    assert "451 4.3.0" in heard
    assert "Traceback" in told
    assert "KeyError" in told
    assert leaks(told + heard) == []


def test_nothing_secret_is_told_of_the_settings(talkative: Gateway):
    log = talkative.log.read_text()
    (starting,) = [json.loads(line) for line in log.splitlines() if '"what":"starting"' in line]
    assert starting["settings"]["SMTPGW_THROTTLE_STORAGE"] == "(secret)"
    settings = Settings.from_environ(talkative.variables)
    assert leaks(str(settings.described())) == []
    bad = {**talkative.variables, "SMTPGW_THROTTLE_STORAGE": "http://:s3cret-of-redis@127.0.0.1"}
    environ = {"PATH": "/usr/bin:/bin", **bad}
    command = [sys.executable, "-m", "smtpgw", "serve"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert ended.returncode == 2
    assert "SMTPGW_THROTTLE_STORAGE" in ended.stderr
    assert leaks(ended.stdout + ended.stderr) == []


def test_no_process_of_the_tree_leaves_a_core_dump(talkative: Gateway):
    for pid in (talkative.process.pid, *workers(talkative)):
        (limit,) = [
            x for x in Path(f"/proc/{pid}/limits").read_text().splitlines() if x.startswith("Max core file size")
        ]
        assert limit.split()[4:6] == ["0", "0"], "a hard limit, too, which nobody can lift again"


def test_the_secrets_are_in_no_argument_of_a_process(talkative: Gateway):
    for pid in (talkative.process.pid, *workers(talkative)):
        assert leaks(Path(f"/proc/{pid}/cmdline").read_text()) == []


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8025"])
def test_the_sandbox_listens_on_loopback_only(address: str):
    command = [sys.executable, "-m", "smtpgw", "sandbox", "--bind", address]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert ended.returncode == 2
    assert "must be" in ended.stderr


def test_a_password_before_tls_is_refused_without_being_looked_at(talkative: Gateway, sandbox: Sandbox):
    with Line(talkative, b"EHLO x\r\n") as line:
        while not line.hear().startswith("250 "):
            pass
        assert line.say(b"AUTH PLAIN " + plain() + b"\r\n").startswith("530 5.7.0 Must issue a STARTTLS command first")
    assert "POST /token" not in sandbox.calls()
