"""The worker in a real gunicorn tree: its listeners, its drain, its limits, and what the master must not import."""

import dataclasses
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from statistics import median

import gevent
import pytest
from gevent import monkey

from smtpgw.config.parsers import SettingsError
from smtpgw.config.settings import Settings
from smtpgw.submission.offload import LARGE_BYTES, Offload
from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.line import TIMEOUT_SECONDS, metric
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nSubject: Worker\r\n\r\nx\r\n"
sleep_of_the_thread = monkey.get_original("time", "sleep")
HEAVY = ("requests", "urllib3", "flask", "prometheus_client", "cryptography", "pydantic", "smtpgw.submission.gateway")


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Start some work; its result, or the exception it ended with, when the thread is joined."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except smtplib.SMTPException as problem:
            found.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def wait_until_draining(gateway: Gateway) -> None:
    wait_until(lambda: gateway.get("/health/ready") == (503, "not ready: draining\n"), "it does not drain")


def refuses_connections(gateway: Gateway) -> bool:
    try:
        socket.create_connection((gateway.host, gateway.port), 2).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was waiting to be accepted
        pass
    return False


def test_three_binds_in_one_tree(gateway: Gateway) -> None:
    with socket.create_connection((gateway.host, gateway.port)) as plain:
        assert plain.recv(100).startswith(b"220 ")
    with smtplib.SMTP_SSL("localhost", gateway.smtps_port, context=gateway.trusting()) as encrypted:
        assert encrypted.noop()[0] == 250
    assert gateway.get("/health/live")[0] == 200
    assert gateway.get("/health/ready")[0] == 200
    assert "smtpgw_sessions_opened_total" in gateway.get("/metrics")[1]


def test_term_during_data_takes_the_message(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path) as own:
        client = own.client()
        client.mail(SENDER)
        client.rcpt("ann@example.com")
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE)
        own.process.send_signal(signal.SIGTERM)
        wait_until_draining(own)
        assert client.docmd(".")[0] == 250
        assert client.getreply()[0] == 421
        client.close()
        assert own.process.wait(20) == 0
    assert sandbox.ledger()["total"] == 1


def test_term_during_a_call_of_the_api_answers_the_message(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault(endpoint="/v2/emails", latency_ms=2000)
    with Gateway(sandbox.url, tmp_path) as own:
        client = own.client()
        thread, found = in_thread(lambda: client.sendmail(SENDER, "ann@example.com", MESSAGE))
        sandbox.wait_for_submissions()
        own.process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert found == [{}], "nobody was refused"
        client.close()
        assert own.process.wait(20) == 0
    assert sandbox.calls()["POST /v2/emails"]["calls"] == 1


def test_a_draining_worker_is_not_ready_and_takes_no_session(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault(endpoint="/v2/emails", latency_ms=3000)
    with Gateway(sandbox.url, tmp_path) as own:
        client = own.client()
        thread, found = in_thread(lambda: client.sendmail(SENDER, "ann@example.com", MESSAGE))
        sandbox.wait_for_submissions()
        own.process.send_signal(signal.SIGTERM)
        wait_until_draining(own)
        assert own.get("/health/ready") == (503, "not ready: draining\n")
        wait_until(lambda: refuses_connections(own), "it listens on")
        assert found == [], "the message is still under way"
        thread.join(20)
        assert found == [{}]
        client.close()


def workers(gateway: Gateway) -> list[int]:
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    return list(map(int, children))


def test_a_killed_worker_is_replaced(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path) as own:
        (killed,) = workers(own)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: workers(own) not in ([], [killed]), "it was not replaced")
        wait_until(own.is_ready, "the new one is not ready")
        with own.client() as client:
            assert client.sendmail(SENDER, "ann@example.com", MESSAGE) == {}


def test_a_full_worker_says_so(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path, SMTPGW_MAX_SESSIONS="3") as own:
        open_ones = [smtplib.SMTP("localhost", own.port, timeout=30) for _ in range(3)]
        with pytest.raises(smtplib.SMTPConnectError) as refusal:
            smtplib.SMTP("localhost", own.port, timeout=30)
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (421, b"4.3.2")  # type: ignore[index]
        open_ones.pop().quit()
        wait_until(lambda: metric(own, "smtpgw_sessions_active") == 2, "it has not noticed that one has left")
        open_ones.append(smtplib.SMTP("localhost", own.port, timeout=30))
        for client in open_ones:
            client.quit()


def test_a_large_message_does_not_hold_up_the_others(gateway: Gateway, sandbox: Sandbox) -> None:
    large = MESSAGE + "".join(f"<p>line {n} of a message of twenty megabytes</p>\r\n" for n in range(400_000))
    patient, quick = gateway.client(), gateway.client()
    sent_at = time.monotonic()
    thread, found = in_thread(lambda: patient.sendmail(SENDER, "ann@example.com", large))
    waits = []
    while thread.is_alive():
        began = time.monotonic()
        assert quick.noop()[0] == 250
        waits.append(time.monotonic() - began)
        time.sleep(0.02)
    took = time.monotonic() - sent_at
    assert found == [{}]
    # Most of the time nothing is waited for. A single wait may be long: the client, too, is in this process.
    assert median(waits) < took / 10
    patient.quit()
    quick.quit()


@pytest.mark.parametrize(("octets", "others_go_on"), [(LARGE_BYTES - 1, False), (LARGE_BYTES, True)])
def test_the_work_on_a_large_message_is_off_the_loop(octets: int, others_go_on: bool) -> None:
    """The work is to wait for another greenlet: how fast this machine is does not matter."""
    went_on: list[bool] = []
    other = gevent.spawn(went_on.append, True)

    def work() -> bool:
        for _ in range(1000 if others_go_on else 10):
            if went_on:
                break
            sleep_of_the_thread(0.01)
        return bool(went_on)

    assert Offload().message(octets, 1, time.monotonic() + 25)(work) is others_go_on
    other.join()


def test_a_large_message_that_is_refused_is_no_error_of_ours(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its refusal is raised in a thread, where gevent would log it as an exception that nobody caught."""
    mail = EmailMessage()
    mail["From"], mail["Subject"] = SENDER, "Worker"
    mail.add_attachment(b"x" * LARGE_BYTES, "application", "octet-stream", filename="report.bin")
    refused = pytest.raises(smtplib.SMTPDataError, match=r"report\.bin")
    with Gateway(sandbox.url, tmp_path) as own, own.client() as client, refused:
        client.sendmail(SENDER, ["jane@customer.example"], mail.as_bytes())
    assert '"reason":"unsupported_attachment"' in own.log.read_text()
    assert '"event":"error"' not in own.log.read_text()


def test_hup_under_load_loses_and_doubles_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    accepted = 0
    with Gateway(sandbox.url, tmp_path) as own:
        for n in range(60):
            if n == 20:
                own.process.send_signal(signal.SIGHUP)
            for _ in range(50):
                try:
                    client = own.client()
                    client.sendmail(SENDER, f"u{n}@example.com", MESSAGE)
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.2)  # between two workers nobody listens for a moment
                else:
                    accepted += 1
                    client.close()  # QUIT may hear the worker's 421 instead, which is no failure of the message
                    break
    assert accepted == 60
    assert sandbox.ledger()["total"] == sandbox.ledger()["distinct"] == 60


# --- What the master imports, and the numbers that must hold one another


def test_the_master_imports_nothing_that_must_be_patched() -> None:
    script = (
        "import sys; import smtpgw, smtpgw.config.settings, smtpgw.server.worker, smtpgw.server.master;"
        "import smtpgw.commands.serve;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def environ(gateway: Gateway) -> dict[str, str]:
    return dict(gateway.variables)


def test_time_limits_hold_one_another(environ: dict[str, str]) -> None:
    settings = Settings.from_environ(environ)
    assert settings.api_timeout_seconds <= settings.submit_timeout_seconds
    assert settings.submit_timeout_seconds < settings.drain_timeout_seconds < settings.graceful_timeout_seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTPGW_DRAIN_TIMEOUT_SECONDS", "25"),
        ("SMTPGW_MAX_BYTES_IN_FLIGHT", "1024"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environ({**environ, name: value})


def serve(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_"))}
    command = [sys.executable, "-m", "smtpgw", "serve"]
    return subprocess.run(command, cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True, timeout=60)


def test_every_mistake_is_named_at_once() -> None:
    found = serve({"SMTPGW_WORKERS": "none", "SMTPGW_SMTP_BIND": "here", "CAKEMAIL_API_URL": "http://api.example"})
    assert found.returncode == 2
    for name in ("SMTPGW_WORKERS", "SMTPGW_SMTP_BIND", "CAKEMAIL_API_URL", "SMTPGW_TLS_CERT", "SMTPGW_TLS_KEY"):
        assert name in found.stderr
    assert "python -m smtpgw demo" in found.stderr, "how to get a certificate"
    assert "Traceback" not in found.stderr


def test_a_file_that_is_no_certificate(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    found = serve({**environ, "SMTPGW_TLS_CERT": str(tmp_path / "cert.pem")})
    assert found.returncode == 2
    assert "not a certificate and its key" in found.stderr


def test_settings_are_printed_once_and_an_unknown_one_is_warned_of(sandbox: Sandbox, tmp_path: Path) -> None:
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKER="2", SMTPGW_PORT=f"tcp://10.3.0.1:{free_port()}") as own:
        log = own.log.read_text()
    assert log.count('"what":"starting"') == 1
    assert "did you mean SMTPGW_WORKERS?" in log
    assert "SMTPGW_PORT is not" not in log, "Kubernetes has put it there"


def test_each_setting_has_a_name_a_default_and_a_meaning() -> None:
    for field in dataclasses.fields(Settings):
        assert field.metadata["name"].startswith(("SMTPGW_", "CAKEMAIL_"))
        assert field.metadata["meaning"]
