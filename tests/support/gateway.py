"""A real gateway for tests: `python -m smtpgw serve`, a gunicorn tree with a certificate, in front of a sandbox."""

import contextlib
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from smtpgw.sandbox.certificate import write_pair
from tests.support.ports import free_ports

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30
STOP_SECONDS = 30

USERNAME, PASSWORD = "demo@cakemail.example", "demo-password"
SENDER = "sender@cakemail.example"


def trusting(cert: str) -> ssl.SSLContext:
    """A client's context that trusts this certificate, and verifies it."""
    return ssl.create_default_context(cafile=cert)


class Gateway:
    """A running gateway. `variables` are settings, on top of what makes it run on loopback."""

    command = ("smtpgw", "serve")

    def __init__(self, api_url: str, folder: Path, **variables: str) -> None:
        self.host = "127.0.0.1"
        self.port, self.smtps_port, self.http_port = free_ports(3)
        self.cert, self.key = write_pair(folder)
        self.log = folder / f"gateway-{self.port}.log"
        self.variables = {
            "CAKEMAIL_API_URL": api_url,
            "SMTPGW_SMTP_BIND": f"127.0.0.1:{self.port}",
            "SMTPGW_SMTPS_BIND": f"127.0.0.1:{self.smtps_port}",
            "SMTPGW_HTTP_BIND": f"127.0.0.1:{self.http_port}",
            "SMTPGW_TLS_CERT": str(self.cert),
            "SMTPGW_TLS_KEY": str(self.key),
            "SMTPGW_HOSTNAME": "localhost",
            "SMTPGW_TRUSTED_CIDRS": "127.0.0.0/8",  # a test's failed logins must not slow the next one
            **variables,
        }

    def __enter__(self) -> "Gateway":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the tree and wait until it is ready."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("SMTPGW_", "CAKEMAIL_", "PROMETHEUS_"))}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=ROOT,
                env={**environ, **self.variables},
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        return self.get("/health/ready")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """A page of its HTTP port: status and text; status 0 when there is no answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()
        except OSError:
            return 0, ""

    def stop(self) -> int:
        """End it as Kubernetes does, with TERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.wait()

    def kill(self) -> None:
        """End the whole tree at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts the gateway's certificate, and verifies it."""
        return trusting(str(self.cert))

    def client(self, username: str = USERNAME, password: str = PASSWORD) -> smtplib.SMTP:
        """A connection, encrypted and logged in."""
        client = self.encrypted()
        client.login(username, password)
        return client

    def encrypted(self) -> smtplib.SMTP:
        """A connection after STARTTLS, not logged in."""
        client = smtplib.SMTP("localhost", self.port, timeout=30)
        try:
            client.starttls(context=self.trusting())
        except (OSError, smtplib.SMTPException):
            client.close()
            raise
        return client
