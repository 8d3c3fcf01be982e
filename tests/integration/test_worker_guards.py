"""What breaks a gevent worker that serves SMTP, and that each of these things is guarded against, in a real tree."""

import contextlib
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.server import master, worker
from smtpgw.server.master import Application
from smtpgw.server.worker import GatewayWorker
from tests.chaos.ledger import of_worker, workers
from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.line import TIMEOUT_SECONDS, Line, metric
from tests.support.recorder import plain
from tests.support.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nSubject: Guards\r\n\r\nx\r\n"


class ToldGateway(Gateway):
    command = ("tests.support.told_worker",)


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + 2 * TIMEOUT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


# --- Imports and patches


@pytest.fixture
def told(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("TOLD_FOLDER", str(tmp_path))
    with ToldGateway(sandbox.url, tmp_path) as gateway:
        yield gateway


def test_the_api_client_of_a_worker_uses_gevents_sockets_and_tls(told: Gateway, tmp_path: Path):
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(module.startswith("gevent") for module in found.values()), found


@pytest.mark.parametrize(
    "module",
    ["smtpgw", "smtpgw.config.settings", "smtpgw.server.worker", "smtpgw.server.master", "smtpgw.commands.serve"],
)
def test_what_the_master_imports_leaves_the_rest_to_the_workers(module: str):
    heavy = (
        "requests",
        "urllib3",
        "flask",
        "prometheus_client",
        "cryptography",
        "pydantic",
        "asyncio",
        "smtpgw.smtp.session",
    )
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- gunicorn


def settings(**variables: str) -> Settings:
    return Settings.from_environ({"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__, **variables})


def test_what_gunicorn_is_told():
    cfg = Application(settings(SMTPGW_SMTPS_BIND="[::]:2465", SMTPGW_WORKERS="3")).cfg
    assert cfg.bind == ["0.0.0.0:2587", "[::]:2465", "0.0.0.0:8080"]
    assert (cfg.workers, cfg.worker_class) == (3, GatewayWorker)
    assert cfg.timeout == master.HANG_TIMEOUT_SECONDS == 60
    assert cfg.graceful_timeout == 110
    assert cfg.max_requests == 0
    assert cfg.control_socket_disable is True
    assert cfg.preload_app is False
    assert cfg.reuse_port is False
    assert not cfg.is_ssl


def test_a_worker_that_stands_still_is_replaced(told: Gateway, tmp_path: Path):
    before = set(workers(told))
    (tmp_path / "stand still").touch()
    wait_until(lambda: workers(told) and before.isdisjoint(workers(told)), "it was not replaced")
    wait_until(told.is_ready, "the new one is not ready")
    with told.client() as client:
        assert client.sendmail(SENDER, "ann@example.com", MESSAGE) == {}
    assert "WORKER TIMEOUT" in told.log.read_text()


def test_term_is_heard_at_once_and_not_at_the_next_tick(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "TICK_SECONDS", 30)
    one = GatewayWorker(1, os.getppid(), [], Application(settings()), 60, Application(settings()).cfg, None)
    one.alive = True
    gevent.spawn_later(0.05, one.handle_exit, signal.SIGTERM, None)
    began = time.monotonic()
    one.tick()
    assert time.monotonic() - began < 15
    assert one.stopping()
    one.tmp.close()


def test_the_sessions_of_other_workers_do_not_notice_when_one_is_killed(sandbox: Sandbox, tmp_path: Path):
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKERS="2") as gateway:
        clients: dict[int, list[smtplib.SMTP]] = {}
        while len(clients) < 2:  # until there is one with each
            client = gateway.client()
            client.mail(SENDER)
            clients.setdefault(of_worker(gateway, client), []).append(client)
        (killed, cut), (_, served) = clients.items()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(workers(gateway)) == 2 and killed not in workers(gateway), "it was not replaced")
        for client in served:
            assert client.rcpt("ann@example.com")[0] == 250
            assert client.data(MESSAGE)[0] == 250
            client.quit()
        for client in cut:
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
        wait_until(gateway.is_ready, "nobody is ready")


# --- Full


@pytest.fixture
def few(sandbox: Sandbox, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of five sessions, two for an address; all but 127.1.0.0/16 are trusted."""
    variables = {
        "SMTPGW_MAX_SESSIONS": "5",
        "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "2",
        "SMTPGW_TRUSTED_CIDRS": "127.0.0.0/16",
        "SMTPGW_THROTTLE_FAILURES": "1",
        "SMTPGW_THROTTLE_DELAY_SECONDS": "0",
    }
    with Gateway(sandbox.url, tmp_path, **variables) as gateway:
        yield gateway


def test_who_is_refused_hears_why_and_is_hung_up_on(few: Gateway):
    with contextlib.ExitStack() as lines:

        def open_from(source: str, port: int = 0) -> Line:
            return lines.enter_context(Line(few, source=source, port=port))

        stranger = [open_from("127.1.0.1") for _ in range(2)]
        assert [line.hear()[:4] for line in stranger] == ["220 "] * 2
        refused = open_from("127.1.0.1")
        assert refused.hear() == "421 4.7.0 localhost has too many connections from your address"
        assert refused.hear() == ""
        assert open_from("127.1.0.2").hear()[:4] == "220 "
        # Those who are trusted have no limit of their own, and with them the worker is full.
        trusted = [open_from("127.0.0.9") for _ in range(2)]
        assert [line.hear()[:4] for line in trusted] == ["220 "] * 2
        for source in ("127.0.0.9", "127.1.0.3"):
            refused = open_from(source)
            assert refused.hear() == "421 4.3.2 localhost has too many connections; try again later"
            assert refused.hear() == ""
        # Before TLS nothing can be said to a client that begins with it.
        assert open_from("127.0.0.9", few.smtps_port).hear() == ""
        # One leaves, and another may come.
        assert trusted[0].say(b"QUIT\r\n").startswith("221 ")
        assert trusted[0].hear() == ""
        wait_until(lambda: open_from("127.0.0.9").hear()[:4] == "220 ", "there is no room")
    assert metric(few, 'smtpgw_limits_hit_total{limit="sessions_per_address"}') == 1
    assert metric(few, 'smtpgw_limits_hit_total{limit="sessions"}') >= 3
    wait_until(lambda: metric(few, "smtpgw_sessions_active") == 0, "sessions have leaked")


def test_a_crowd_at_the_door_is_answered_each_and_the_probes_too(few: Gateway):
    """Twice as many as there is room to refuse at a time."""
    with contextlib.ExitStack() as lines:
        inside = [lines.enter_context(Line(few)) for _ in range(5)]
        assert [line.hear()[:4] for line in inside] == ["220 "] * 5
        crowd = [lines.enter_context(Line(few)) for _ in range(210)]
        assert few.is_ready()
        assert {line.hear()[:9] for line in crowd} == {"421 4.3.2"}
        assert inside[0].say(b"NOOP\r\n") == "250 2.0.0 Ok"


def test_who_guesses_passwords_is_told_to_wait(few: Gateway):
    with smtplib.SMTP("localhost", few.port, timeout=30, source_address=("127.1.0.7", 0)) as client:
        client.starttls(context=few.trusting())
        client.ehlo()
        heard = [client.docmd("AUTH PLAIN", plain(password=guess).decode()) for guess in ("one", "two")]
    assert [code for code, _ in heard] == [535, 454]
    said = re.escape(replies.LOGIN_THROTTLED.text).replace(r"\{seconds\}", "[0-9]+")
    assert re.match(f"{replies.LOGIN_THROTTLED.status} {said}", heard[1][1].decode())


# --- Starting


def test_a_port_that_is_taken_is_named_and_the_start_fails(gateway: Gateway, tmp_path: Path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_", "PROMETHEUS_"))}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = {**gateway.variables, "SMTPGW_SMTP_BIND": f"127.0.0.1:{port}", "SMTPGW_SMTPS_BIND": ""}
        found = subprocess.run(
            [sys.executable, "-m", "smtpgw", "serve"],
            cwd=ROOT, env={**environ, **variables}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert found.returncode == 1
    assert f"Connection in use: ('127.0.0.1', {port})" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr
