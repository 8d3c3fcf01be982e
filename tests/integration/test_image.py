"""The image: its Dockerfile is carried out, and `serve` runs in it as it will: as nobody, on a read-only root."""

import http.server
import json
import re
import signal
import smtplib
import subprocess
import sys
import threading
import urllib.request

import pytest

from smtpgw.sandbox.certificate import write_pair
from tests.support.container import AS_ROOT, ROOT, Container, Image, instructions, remove, why_not
from tests.support.gateway import PASSWORD, SENDER, USERNAME, trusting
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(400)  # the packages are installed for the first test
needs_containers = pytest.mark.skipif(bool(why_not()), reason=f"no containers here: {why_not()}")


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def test_the_base_image_is_pinned_by_digest():
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    stages = [rest.split()[2] for word, rest in instructions() if word == "FROM" and " AS " in rest]
    outside = [image for image in images if image not in stages]
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\S*@sha256:[0-9a-f]{64}", outside[0])


def test_what_is_copied_exists_and_is_let_through():
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), flags=re.M)
    copied = [
        source
        for word, rest in instructions()
        if word in ("COPY", "ADD") and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_runs_as_nobody_in_particular():
    users = [rest for word, rest in last_stage() if word == "USER"]
    assert users == ["10001:10001"]  # a number: Kubernetes cannot tell whether a name is root's
    commands = " ".join(rest for word, rest in last_stage() if word == "RUN")
    assert not re.search(r"\b(apt|apt-get|gcc|pip install|curl|wget)\b", commands)


class Probed(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def health_check() -> list[str]:
    check = next(rest for word, rest in last_stage() if word == "HEALTHCHECK")
    return json.loads(check.partition(" CMD ")[2])


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_liveness_probe(status, healthy):
    command = health_check()
    assert command[0] == "python"  # the image has no curl
    handler = type("Handler", (Probed,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A proxy for the API must not be asked about ourselves.
        environ = {"SMTPGW_HTTP_BIND": f"0.0.0.0:{server.server_port}", "http_proxy": "http://127.0.0.1:1"}
        run = subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True)
        server.shutdown()
    assert (run.returncode == 0) is healthy, run.stderr


# --- Built and run ------------------------------------------------------------------------------------------------


class Served:
    """`serve` in a container, and where it listens."""

    def __init__(self, image: Image, folder, api_url: str) -> None:
        self.smtp, self.http = free_port(), free_port()
        self.cert, key = write_pair(folder)
        environ = {
            "CAKEMAIL_API_URL": api_url,
            "SMTPGW_SMTP_BIND": f"127.0.0.1:{self.smtp}",
            "SMTPGW_HTTP_BIND": f"127.0.0.1:{self.http}",
            "SMTPGW_TLS_CERT": "/etc/smtpgw/tls/tls.crt",
            "SMTPGW_TLS_KEY": "/etc/smtpgw/tls/tls.key",
            "SMTPGW_HOSTNAME": "localhost",
        }
        self.container = Container(image, folder / "container", environ)
        self.container.put("/etc/smtpgw/tls/tls.crt", self.cert.read_bytes())
        self.container.put("/etc/smtpgw/tls/tls.key", key.read_bytes())

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/health/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def status(self) -> dict[str, str]:
        """What the kernel says of process 1."""
        run = subprocess.run([*AS_ROOT, "cat", f"/proc/{self.container.first}/status"], capture_output=True, text=True)
        return dict(line.split(":\t", 1) for line in run.stdout.splitlines() if ":\t" in line)

    def writes(self) -> list[str]:
        """The files that were written to the container's root."""
        upper = self.container.scratch / "upper"
        put = ("tls.crt", "tls.key")
        return [str(path) for path in upper.rglob("*") if path.is_file() and path.name not in put]


@pytest.fixture
def served(image, sandbox, tmp_path):
    served = Served(image, tmp_path, sandbox.url)
    served.container.start()
    served.container.until(served.is_ready)
    yield served
    served.container.stop()
    remove(tmp_path / "container")


@needs_containers
def test_serve_runs_as_nobody_on_a_read_only_root_and_ends_when_told(served, sandbox):
    status = served.status()
    assert status["NSpid"].split()[-1] == "1"
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    with smtplib.SMTP("localhost", served.smtp, timeout=30) as client:
        client.starttls(context=trusting(str(served.cert)))
        client.login(USERNAME, PASSWORD)
        client.sendmail(SENDER, ["you@example.com"], "Subject: From an image\n\nHello")
    assert [mail["email"] for mail in sandbox.emails()] == ["you@example.com"]
    served.container.kill(signal.SIGTERM)
    assert served.container.wait(30) == 0, served.container.log.read_text()
    assert served.writes() == []
    assert '"worker drained"' in served.container.log.read_text()


@needs_containers
def test_a_mistake_in_the_settings_is_told_and_ends_it(image, tmp_path):
    container = Container(image, tmp_path / "container", {})
    container.start()
    assert container.wait(30) == 2
    assert "SMTPGW_TLS_CERT is not set" in container.log.read_text()
    remove(tmp_path / "container")


@needs_containers
def test_every_command_is_there_and_pip_is_not(image, tmp_path):
    container = Container(image, tmp_path / "container", {})
    container.start("--help")
    assert container.wait(30) == 0
    assert "serve" in container.log.read_text()
    packages = image.layers[0] / "opt/smtpgw/lib"
    names = {path.name for path in packages.glob("python3*/site-packages/*")}
    assert {"gevent", "gunicorn", "opentelemetry"} <= names
    assert not {"pip", "setuptools", "pytest"} & names
    remove(tmp_path / "container")


@needs_containers
def test_bytecode_is_made_in_the_build(image):
    modules = {path.stem for path in (image.layers[0] / "app/smtpgw").glob("*.py")}
    compiled = {path.name.partition(".")[0] for path in (image.layers[0] / "app/smtpgw/__pycache__").glob("*.pyc")}
    assert modules == compiled
