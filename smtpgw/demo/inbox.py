"""What the demo reads from its servers over HTTP: whether they are ready, and what the sandbox has received."""

import http.client
import json
from typing import Any

TIMEOUT_SECONDS = 5.0


def answers(port: int, path: str) -> bool:
    """Whether the server on this port of 127.0.0.1 answers 200 for this path."""
    try:
        return get(port, path)[0] == 200
    except OSError:
        return False


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body. Straight to 127.0.0.1: a proxy of the environment could not reach it. Raises OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as problem:
        raise ConnectionError(f"127.0.0.1:{port} speaks no HTTP: {problem!r}") from problem
    finally:
        connection.close()


class Inbox:
    """The emails that the sandbox on this port of 127.0.0.1 has received."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: set[str] = set()

    def unseen(self) -> list[dict[str, Any]]:
        """What has come since the last call, oldest first, each as the sandbox describes it. Raises OSError."""
        _, body = get(self.port, "/_sandbox/emails?limit=100")
        mails = [mail for mail in json.loads(body) if mail["id"] not in self.seen]
        self.seen.update(mail["id"] for mail in mails)
        return mails[::-1]
