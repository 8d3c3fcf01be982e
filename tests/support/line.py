"""A plain connection to a gateway, spoken to in octets; and what the gateway tells of it: log lines and metrics."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway

TIMEOUT_SECONDS = 15


class Line:
    """A plain connection, spoken to in octets."""

    def __init__(self, gateway: Gateway, first: bytes = b"", *, source: str = "127.0.0.1", port: int = 0) -> None:
        address = (gateway.host, port or gateway.port)
        self.sock = socket.create_connection(address, TIMEOUT_SECONDS, (source, 0))
        self.received = b""
        self.sock.sendall(first)

    def say(self, octets: bytes) -> str:
        self.sock.sendall(octets)
        return self.hear()

    def hear(self) -> str:
        """The next line, "" when the server has hung up."""
        while b"\n" not in self.received:
            chunk = self.sock.recv(4096)
            if not chunk:
                return ""
            self.received += chunk
        line, _, self.received = self.received.partition(b"\n")
        return line.decode().rstrip("\r")

    def is_silent(self, seconds: float) -> bool:
        self.sock.settimeout(seconds)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(TIMEOUT_SECONDS)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def log_lines(path: Path, **wanted: object) -> list[dict[str, Any]]:
    """The gateway's log lines that have these fields; waits until there is one."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        found = [line for line in lines if wanted.items() <= line.items()]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no log line with {wanted}:\n{path.read_text()}")


def metric(gateway: Gateway, sample: str) -> float:
    """The value of a sample such as 'smtpgw_limits_hit_total{limit="errors"}', 0 when there is none yet."""
    lines = gateway.get("/metrics")[1].splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(sample + " ")), 0.0)
