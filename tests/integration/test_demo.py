"""`python -m smtpgw demo` and the Procfile: real processes, started as a newcomer starts them."""

import contextlib
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from smtpgw.commands.console import is_colourful, shortened
from smtpgw.demo.inbox import Inbox, answers
from smtpgw.demo.sample import sample_message
from smtpgw.sandbox.accounts import DEMO, SENDER
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
SECONDS = 60  # for anything that is waited for


class Command:
    """A command under way; `output` is what it has written so far, both streams together."""

    def __init__(self, *command: str, **variables: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.output += line

    def wait(self) -> int:
        """Its exit status, when all that it has written is read: nothing that it started holds the pipe open."""
        status = self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        assert not self.reader.is_alive(), "something that it started is still there"
        self.process.stdout.close()
        return status

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output
            time.sleep(0.05)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.wait()


class Demo(Command):
    """The demo on free ports."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.api_port, self.smtp_port, self.http_port = free_port(), free_port(), free_port()
        ports = ["--smtp-port", str(self.smtp_port), "--http-port", str(self.http_port)]
        ports += ["--api-port", str(self.api_port)]
        super().__init__("smtpgw", "demo", *ports, *arguments, **variables)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def send(port: int, subject: str, context: ssl.SSLContext) -> None:
    """What a newcomer's application does with the settings that the demo tells."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER.email, "me@example.com", subject
    mail.set_content("Hello")
    with smtplib.SMTP("localhost", port, timeout=SECONDS) as client:
        client.starttls(context=context)
        client.login("apikey", DEMO.access_token)
        client.send_message(mail)


# --- Once --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def once() -> str:
    """The output of `demo --once`."""
    with Demo("--once") as demo:
        assert demo.wait() == 0, demo.output
        return demo.output


def test_once_shows_the_dialogue(once):
    dialogue = [line for line in once.splitlines() if line.startswith(("C: ", "S: "))]
    said = [line for line in dialogue if re.match(r"C: (EHLO|STARTTLS|AUTH|MAIL|RCPT|DATA|QUIT)\b", line)]
    assert [line.split()[1] for line in said] == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"]
    assert "S: 235 2.7.0 Authentication successful" in dialogue
    assert "C: X-Tags: demo,receipt" in dialogue
    assert "the certificate is verified" in once


def test_once_shows_the_call_with_the_id_that_the_client_was_told(once):
    (identifier,) = re.findall(r"^S: 250 2\.0\.0 Ok: queued as (\S+)$", once, flags=re.M)
    assert f"answered 201: queued, {identifier}" in once
    call = once.partition("POST /v2/emails\n")[2]
    assert '"email": "customer@example.com"' in call
    assert f'"id": "{SENDER.id}"' in call
    assert '"filename": "receipt.pdf"' in call
    assert re.search(r'"content": "JVBERi0x[\w+/]+… \([\d,]+ characters\)"', call)


def test_once_shows_no_credentials(once):
    assert "C: AUTH PLAIN (user name and password in base64)" in once
    assert DEMO.password not in once
    assert "AGRlbW9A" not in once  # the beginning of their base64
    assert "\033" not in once  # and, not being on a terminal, no colours


# --- Staying up --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stays_for_a_client_and_ends_clean(number, tmp_path):
    with Demo(TMPDIR=str(tmp_path)) as demo:
        demo.wait_for("Ctrl-C ends it")
        for told in (DEMO.email, DEMO.password, DEMO.access_token, SENDER.email, f"http://127.0.0.1:{demo.api_port}/"):
            assert told in demo.output
        certificate = re.search(r"trust (\S+)", demo.output)[1]
        send(demo.smtp_port, "From my own client", ssl.create_default_context(cafile=certificate))
        demo.wait_for(f"{SENDER.email} → me@example.com: From my own client (queued)")
        demo.process.send_signal(number)
        assert demo.wait() == 0, demo.output
        assert not any(listens(port) for port in (demo.api_port, demo.smtp_port, demo.http_port))
        assert not list(tmp_path.glob("smtpgw-demo-*"))


def test_a_process_that_ends_ends_the_demo():
    with Demo() as demo:
        demo.wait_for("Ctrl-C ends it")
        (gateway,) = [pid for pid in children(demo.process.pid) if "serve" in arguments(pid)]
        os.kill(gateway, signal.SIGTERM)
        assert demo.wait() == 1
        assert "smtpgw serve has ended with status 0.\nThe last output of smtpgw serve:" in demo.output
        assert "Handling signal: term" in demo.output
        assert not listens(demo.api_port)


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


def arguments(pid: int) -> list[str]:
    found = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return found.stdout.split()


# --- What can be wrong -------------------------------------------------------------------------------------------


def test_a_port_in_use_is_told_with_its_option():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Demo("--smtp-port", str(port)) as demo:
            assert demo.wait() == 2
            assert demo.output == f"127.0.0.1:{port}: Address already in use; choose another port with --smtp-port\n"


def test_a_gateway_that_cannot_start_is_told_in_its_own_words():
    with Demo("--once", SMTPGW_WORKERS="many") as demo:
        assert demo.wait() == 1
        assert "smtpgw serve has ended with status 2.\nThe last output of smtpgw serve:" in demo.output
        assert "SMTPGW_WORKERS='many': must be a whole number" in demo.output
        assert not listens(demo.api_port)


def test_a_mail_that_is_not_accepted_is_told():
    with Demo("--once", SMTPGW_MAX_MESSAGE_BYTES="1024") as demo:
        assert demo.wait() == 1
        assert "The mail was not accepted: 552 5.3.4 Message is larger than 1024 octets" in demo.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--user", "a@example.com"], "give --api, --user, --from and --to"),
        (["--api", "http://example.com"], "https://"),
        (["--smtp-port", "99999"], "from 1 to 65535"),
        (["--api", "https://api.example.com", "--user", "a", "--from", "b", "--to", "c"], "set CAKEMAIL_PASSWORD"),
    ],
)
def test_wrong_usage_is_told(given, said):
    with Demo(*given) as demo:
        assert demo.wait() == 2
        assert said in demo.output


# --- For real ----------------------------------------------------------------------------------------------------


def for_real(url: str, password: str) -> Demo:
    real = ["--api", url, "--user", DEMO.email, "--from", SENDER.email, "--to", "real@example.com"]
    return Demo("--once", *real, CAKEMAIL_PASSWORD=password)


def test_it_sends_for_real_with_an_account(sandbox):
    with for_real(sandbox.url, DEMO.password) as demo:
        assert demo.wait() == 0, demo.output
        (mail,) = sandbox.emails()
        assert mail["email"] == "real@example.com"
        assert f"S: 250 2.0.0 Ok: queued as {mail['id']}" in demo.output
        assert DEMO.password not in demo.output
        assert "sandbox  " not in demo.output


def test_a_wrong_password_is_told_and_not_shown(sandbox):
    with for_real(sandbox.url, "pässword") as demo:
        assert demo.wait() == 1
        assert "The mail was not accepted: 535 5.7.8" in demo.output
        assert "pässword" not in demo.output
        assert sandbox.emails() == []


def test_an_api_whose_name_cannot_be_resolved_is_reported_before_anything_starts():
    with for_real("https://no-such-host.invalid", DEMO.password) as demo:
        assert demo.wait() == 2
        assert demo.output.startswith(
            "--api https://no-such-host.invalid: cannot resolve the host name 'no-such-host.invalid' ("
        )
        assert "Starting" not in demo.output


# --- The Procfile ------------------------------------------------------------------------------------------------


def test_honcho_runs_the_procfile():
    api, smtp, http = free_port(), free_port(), free_port()
    variables = {
        "SANDBOX_BIND": f"127.0.0.1:{api}",
        "SMTPGW_SMTP_BIND": f"127.0.0.1:{smtp}",
        "SMTPGW_HTTP_BIND": f"127.0.0.1:{http}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with Command("honcho", "start", **variables) as honcho:
        deadline = time.monotonic() + SECONDS
        while not (answers(api, "/health") and answers(http, "/health/ready")):
            assert time.monotonic() < deadline, honcho.output
            assert honcho.process.poll() is None, honcho.output
            time.sleep(0.1)
        send(smtp, "By the Procfile", ssl.create_default_context(cafile=str(ROOT / ".sandbox" / "cert.pem")))
        (mail,) = Inbox(api).unseen()
        assert mail["subject"] == "By the Procfile"
        honcho.process.send_signal(signal.SIGINT)
        honcho.wait()
        assert not any(listens(port) for port in (api, smtp, http))


# --- Pieces ------------------------------------------------------------------------------------------------------


def test_the_sample_has_text_html_and_a_pdf():
    raw = sample_message("a@example.com", "b@example.com")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    mail = message_from_bytes(raw, policy=policy.default)
    assert "Merci" in mail.get_body(["plain"]).get_content()
    assert "<h1>" in mail.get_body(["html"]).get_content()
    (attachment,) = mail.iter_attachments()
    pdf = attachment.get_content()
    assert attachment.get_filename() == "receipt.pdf"
    # Every offset in the cross-reference table leads to its object, and the last line but one to the table.
    offsets = [int(number) for number in re.findall(rb"^(\d{10}) 00000 n", pdf, flags=re.M)]
    assert [pdf[offset:].split(b" ")[0] for offset in offsets] == [b"1", b"2", b"3", b"4", b"5"]
    assert pdf[int(pdf.splitlines()[-2]) :].startswith(b"xref")


def test_shortened_keeps_the_shape():
    value = {"a": ["x" * 1000, 1, None], "b": {"c": "short"}}
    assert shortened(value) == {"a": [f"{'x' * 50}… (1,000 characters)", 1, None], "b": {"c": "short"}}


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    master, slave = os.openpty()
    with open(master), open(slave, "w") as terminal:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert is_colourful(terminal)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not is_colourful(terminal)
        monkeypatch.delenv("NO_COLOR")
        monkeypatch.setenv("TERM", "dumb")
        assert not is_colourful(terminal)
