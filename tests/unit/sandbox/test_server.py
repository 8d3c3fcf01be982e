"""The sandbox as a process: it starts, says where, refuses anything but loopback, ends; and its certificate."""

import datetime
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time

import pytest
import requests
from cryptography import x509

from smtpgw.sandbox import certificate
from smtpgw.sandbox.accounts import DEMO
from smtpgw.sandbox.certificate import write_pair
from smtpgw.sandbox.server import main
from tests.support.ports import free_port
from tests.support.sandbox import ROOT, Sandbox

MODULE = [sys.executable, "-m", "smtpgw.sandbox.server"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_at_the_start_and_exit_status_0_at_the_end(host, number):
    address = f"{host}:{free_port()}"
    with subprocess.Popen([*MODULE, "--bind", address], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert f"http://{address} " in line
        assert "loopback only" in line
        assert all(word in line for word in (DEMO.email, DEMO.password, DEMO.access_token))
        assert requests.get(f"http://{address}/health", timeout=5).json() == {"status": "ok"}
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_it_ends_at_once_with_an_answer_under_way():
    sandbox = Sandbox()
    sandbox.fault(kind="no_answer")
    with socket.create_connection(("127.0.0.1", sandbox.port)) as client:
        client.sendall(b"GET /lists HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 5
        while "GET /lists" not in sandbox.calls() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "GET /lists" in sandbox.calls()
        started = time.monotonic()
        assert sandbox.stop() == 0
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["0.0.0.0:8025", "[::]:8025", "10.1.2.3:8025", "sandbox.example:8025"])
def test_an_address_that_is_not_loopback_is_refused(capsys, address):
    assert main(["--bind", address]) == 2
    assert "must be a loopback address" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["8025", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536"])
def test_an_address_that_is_none_is_refused(capsys, address):
    assert main(["--bind", address]) == 2
    assert "must be HOST:PORT" in capsys.readouterr().err


def test_a_port_in_use_is_said_clearly():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = subprocess.run([*MODULE, "--bind", address], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert ended.stderr == f"sandbox: cannot listen on {address}: Address already in use\n"


def test_importing_it_patches_nothing():
    code = (
        "import sys, socket, smtpgw.sandbox.server as s; from gevent import monkey;"
        "assert not monkey.is_module_patched('socket'); assert 'flask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=30)


def test_it_imports_nothing_of_the_gateway():
    code = (
        "import sys, smtpgw.sandbox.app, smtpgw.sandbox.certificate, smtpgw.sandbox.handler, smtpgw.sandbox.server;"
        "print(*(n for n in sys.modules if n.startswith('smtpgw.') and not n.startswith('smtpgw.sandbox')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(ended.stdout.split()) <= {
        "smtpgw.config",
        "smtpgw.config.contradictions",
        "smtpgw.config.parsers",
        "smtpgw.config.settings",
    }


def test_many_clients_at_once():
    with Sandbox(latency_ms=50) as sandbox:
        clients = [socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) for _ in range(300)]
        for client in clients:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()


def test_answers_do_not_wait_for_an_ack():
    """Headers and body go out as two segments: with Nagle's algorithm the second would wait 40 ms."""
    with Sandbox() as sandbox, requests.Session() as session:
        times = [session.get(f"{sandbox.url}/health", timeout=5).elapsed for _ in range(20)]
    assert sorted(times)[10] < datetime.timedelta(milliseconds=30)


# --- The certificate -------------------------------------------------------------------------------------------------


def test_certificate_of_the_command(tmp_path, capsys):
    folder = tmp_path / "new" / "tls"
    assert main(["--certificate", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "cert.pem"), str(folder / "key.pem")]
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert sorted(os.listdir(folder)) == ["cert.pem", "key.pem"]


def test_certificate_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["--certificate", str(tmp_path / "file")]) == 2
    assert "--certificate" in capsys.readouterr().err


def test_a_valid_pair_stays_and_its_key_is_kept_private(tmp_path):
    first = [path.read_bytes() for path in write_pair(tmp_path)]
    (tmp_path / "key.pem").chmod(0o644)
    assert [path.read_bytes() for path in write_pair(tmp_path)] == first
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["no key", "other key", "no certificate", "nonsense", "soon over"])
def test_a_pair_that_is_not_valid_is_made_anew(tmp_path, monkeypatch, damage):
    if damage == "soon over":
        monkeypatch.setattr(certificate, "DAYS", certificate.SPARE_DAYS)
    cert, key = write_pair(tmp_path)
    monkeypatch.undo()
    before = cert.read_bytes()
    if damage == "no key":
        key.unlink()
    elif damage == "no certificate":
        cert.unlink()
    elif damage == "nonsense":
        cert.write_text("nonsense")
    elif damage == "other key":
        key.write_bytes(write_pair(tmp_path / "other")[1].read_bytes())
    write_pair(tmp_path)
    assert cert.read_bytes() != before
    assert certificate.is_valid(cert, key)


def test_what_the_certificate_says(tmp_path):
    cert = x509.load_pem_x509_certificate(write_pair(tmp_path)[0].read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1"]
    assert cert.public_key().curve.name == "secp256r1"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_that_trusts_the_certificate_connects(tmp_path, name):
    cert, key = write_pair(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cafile=str(cert))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve():
        with serving.wrap_socket(theirs, server_side=True) as served:
            served.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with trusting.wrap_socket(ours, server_hostname=name) as client:
        assert client.recv(5) == b"hello"
    thread.join(5)
