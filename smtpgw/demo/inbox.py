"""HTTP client of the demo: whether the servers are ready, and which emails the sandbox has received."""

import http.client
import json
from typing import Any

TIMEOUT_SECONDS = 5.0


def answers(port: int, path: str) -> bool:
    """Return whether the server on this port of 127.0.0.1 answers 200 for this path."""
    try:
        return get(port, path)[0] == 200
    except OSError:
        return False


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of a path. Raises OSError.

    The proxy of the environment is not used, since it could not reach 127.0.0.1.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as problem:
        raise ConnectionError(f"127.0.0.1:{port} does not speak HTTP: {problem!r}") from problem
    finally:
        connection.close()


class Inbox:
    """The emails that the sandbox on this port of 127.0.0.1 has received."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: set[str] = set()

    def unseen(self) -> list[dict[str, Any]]:
        """Return the emails received since the last call, oldest first. Raises OSError."""
        _, body = get(self.port, "/_sandbox/emails?limit=100")
        mails = [mail for mail in json.loads(body) if mail["id"] not in self.seen]
        self.seen.update(mail["id"] for mail in mails)
        return mails[::-1]
