"""`python -m tests.bench.load JSON`: sends messages to a gateway, a bounded number, and prints what it was answered.

A process of its own, so that it runs on another core; its clients speak octets that are ready beforehand, since what
it spends is taken from the sandbox that it shares this core with. They wait for each reply, as most libraries do.
"""

from gevent import monkey

monkey.patch_all()

import base64  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
import sys  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from time import monotonic  # noqa: E402

import gevent  # noqa: E402

from tests.bench.messages import KINDS, tags  # noqa: E402
from tests.support.gateway import PASSWORD, SENDER, USERNAME, trusting  # noqa: E402

TIMEOUT_SECONDS = 30
LAST_LINE = re.compile(rb"(?:^|\n)([0-9]{3}) [^\n]*\n\Z")
LOGIN = b"AUTH PLAIN " + base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()) + b"\r\n"


@dataclass(frozen=True)
class Load:
    """What is sent: `messages` of a kind over `connections` at a time."""

    kind: str
    messages: int
    connections: int
    connection_each: bool = False  # a connection, with its handshake, for each message
    per_second: float = 0  # at this rate; 0: as soon as the one before is answered


class Unexpected(Exception):
    """A reply that ends a client."""


class Client:
    """A connection, encrypted and logged in."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.expect(220)
        self.say(b"EHLO bench\r\n", 250)
        self.say(b"STARTTLS\r\n", 220)
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.say(b"EHLO bench\r\n", 250)
        self.say(LOGIN, 235)

    def say(self, octets: bytes, wanted: int) -> None:
        self.sock.sendall(octets)
        self.expect(wanted)

    def expect(self, wanted: int) -> None:
        code = self.hear()
        if code != wanted:
            raise Unexpected(f"{code} and not {wanted}")

    def hear(self) -> int:
        """The code of the next reply."""
        received = b""
        while not (last := LAST_LINE.search(received)):
            chunk = self.sock.recv(4096)
            if not chunk:
                raise Unexpected("closed")
            received += chunk
        return int(last[1])

    def send(self, recipients: list[str], raw: bytes) -> int:
        """Send one message; the code of the reply to it."""
        self.say(b"MAIL FROM:<%s>\r\n" % SENDER.encode(), 250)
        for recipient in recipients:
            self.say(b"RCPT TO:<%s>\r\n" % recipient.encode(), 250)
        self.say(b"DATA\r\n", 354)
        self.sock.sendall(raw + b".\r\n")
        return self.hear()

    def quit(self) -> None:
        self.say(b"QUIT\r\n", 221)
        self.sock.close()


def send(load: Load, port: int, certificate: str, prefix: str) -> Counter[int]:
    """Send a load; how many messages were answered with which code.

    Writes a line when the clients that stay are there. Raises Unexpected, or OSError, where one hears something else
    than it must.
    """
    context, kind = trusting(certificate), KINDS[load.kind]
    codes: Counter[int] = Counter()
    numbered = iter(enumerate(tags(prefix, load.messages)))
    clients = [Client(port, context) for _ in range(0 if load.connection_each else load.connections)]
    print("connected", flush=True)
    began = monotonic()

    def work(own: Client | None) -> None:
        for number, tag in numbered:
            if load.per_second:
                gevent.sleep(max(0.0, began + number / load.per_second - monotonic()))
            client = own or Client(port, context)
            codes[client.send(kind.addresses(tag), kind.raw(tag))] += 1
            if not own:
                client.quit()

    at_work = [gevent.spawn(work, client) for client in clients or [None] * load.connections]
    for one in gevent.iwait(at_work):
        one.get()
    for client in clients:
        client.quit()
    return codes


def main(arguments: list[str]) -> int:
    told = json.loads(arguments[0])
    load = Load(**told.pop("load"))
    print(json.dumps(send(load, **told)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
