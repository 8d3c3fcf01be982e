"""The sandbox as a process of its own, for tests: started on a free port, steered through its controls."""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 20
STOP_SECONDS = 10
WAIT_SECONDS = 20


class Sandbox:
    """A sandbox that runs until `stop`; also a context manager. `url` is for CAKEMAIL_API_URL.

    Every method raises requests.HTTPError when the sandbox refuses what it is asked.
    """

    def __init__(self, latency_ms: int = 0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = ["--bind", f"127.0.0.1:{self.port}", "--latency-ms", str(latency_ms)]
        self.process = subprocess.Popen(  # what it says on standard error is the test run's to show
            [sys.executable, "-m", "smtpgw.sandbox.server", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy stands between
        self._wait_until_ready()

    def emails(self, **filters: object) -> list[dict[str, Any]]:
        """What was submitted, newest first. Filters: email, subject, status, account_id, limit, bodies."""
        found: list[dict[str, Any]] = self._call("GET", "emails", filters)
        return found

    def ledger(self, **filters: object) -> dict[str, Any]:
        """What was accepted: total, distinct, duplicates, entries. Filters: email, subject, duplicates, limit."""
        found: dict[str, Any] = self._call("GET", "ledger", filters)
        return found

    def calls(self) -> dict[str, dict[str, Any]]:
        """By endpoint, such as "POST /v2/emails": calls, outcomes, most_under_way, own_ms, total_ms."""
        found: dict[str, dict[str, Any]] = self._call("GET", "calls")
        return found

    def times(self, *recipients: list[str]) -> list[float | None]:
        """How long the API had each message to these recipients, in milliseconds by its own clock."""
        found: list[float | None] = self._call("POST", "times", body={"recipients": recipients})
        return found

    def wait_for_submissions(self, number: int = 1) -> None:
        """Until so many emails have been under way at a time. Raises AssertionError when it takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.calls().get("POST /v2/emails", {"most_under_way": 0})["most_under_way"] < number:
            assert time.monotonic() < deadline, self.calls()
            time.sleep(0.02)

    def fault(self, **rule: object) -> dict[str, Any]:
        """Make calls go wrong from now on, as smtpgw/sandbox/faults.py has it."""
        added: dict[str, Any] = self._call("POST", "faults", body=rule)
        return added

    def faults(self) -> list[dict[str, Any]]:
        """The faults there are, with how many calls each has matched and hit."""
        found: list[dict[str, Any]] = self._call("GET", "faults")
        return found

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def add_sender(self, email: str, **rest: object) -> dict[str, Any]:
        """Add a sender, or change the one with this address. Also: name, confirmed, account_id."""
        added: dict[str, Any] = self._call("POST", "senders", body={"email": email, **rest})
        return added

    def limit_tokens(self, expires_in: float | None) -> None:
        """Access tokens issued from now on live this many seconds."""
        self._call("POST", "tokens", body={"expires_in": expires_in})

    def revoke_tokens(self, **filters: object) -> int:
        """Revoke tokens. Filters: account_id, kind ("access", "refresh", "long_lived"). Returns how many."""
        revoked: int = self._call("DELETE", "tokens", filters)["revoked"]
        return revoked

    def clear(self) -> None:
        """As when it started, but the tokens that were issued stay: a gateway stays logged in."""
        self._call("DELETE", "", {"keep_tokens": True})

    def reset(self) -> None:
        """As when it started: the tokens that were issued are gone, too."""
        self._call("DELETE", "")

    def stop(self) -> int:
        """End the process. Returns its exit status."""
        self._http.close()
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the sandbox ended with status {self.process.returncode}")
            try:
                self._http.get(f"{self.url}/health", timeout=1).raise_for_status()
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the sandbox was not ready after {START_SECONDS} s")

    def _call(self, method: str, what: str, query: dict[str, Any] | None = None, body: object = None) -> Any:
        url = f"{self.url}/_sandbox/{what}".rstrip("/")
        answer = self._http.request(method, url, params=query, json=body, timeout=10)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {url}: {answer.status_code} {answer.text}", response=answer)
        return answer.json()
