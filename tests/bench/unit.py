"""The unit of the benchmark: what the standard library takes for a message, told over TLS, parsed, hashed, and as JSON.

Machines differ, and one and the same drifts by a fifth within an hour and by more while something else runs on it.
This work is slowed by that as ours is, so that what is divided by it can be compared.
"""

import email
import hashlib
import json
import os
import socket
import ssl
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from smtpgw.sandbox.certificate import write_pair
from tests.bench.messages import KINDS
from tests.support.gateway import trusting

RAW = KINDS["4 KB"].template
COMMANDS = (b"MAIL FROM:<sender@cakemail.example>\r\n", b"RCPT TO:<jane@bench.example>\r\n", b"DATA\r\n", RAW)
REPLY = b"250 2.0.0 Ok\r\n"
TURNS = 4  # of a handshake, enough for any
TIMES = 20  # a sample: some 5 ms


class End:
    """One end of a TLS connection within this process. Its octets go through the kernel, but gevent is not asked."""

    def __init__(self, context: ssl.SSLContext, sock: socket.socket, server_hostname: str | None) -> None:
        self.descriptor = sock.fileno()
        self.sock = sock  # which closes it
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )

    def tell(self, other: "End", octets: bytes) -> None:
        self.tls.write(octets)
        self.flush(other)
        other.tls.read(len(octets))

    def flush(self, other: "End") -> None:
        while octets := self.outgoing.read():
            os.write(self.descriptor, octets)
            other.incoming.write(os.read(other.descriptor, len(octets)))


class Unit:
    """The work, ready to be done."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = write_pair(Path(folder))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            left, right = socket.socketpair()
            self.server, self.client = End(context, left, None), End(trusting(str(certificate)), right, "localhost")
        for _ in range(TURNS):
            for end, other in ((self.client, self.server), (self.server, self.client)):
                with suppress(ssl.SSLWantReadError):
                    end.tls.do_handshake()
                end.flush(other)

    def sample(self) -> float:
        """CPU milliseconds that it takes now, of a few in a row."""
        began = time.process_time()
        for _ in range(TIMES):
            self.work()
        return (time.process_time() - began) * 1000 / TIMES

    def work(self) -> None:
        for command in COMMANDS:
            self.client.tell(self.server, command)
            self.server.tell(self.client, REPLY)
        message = email.message_from_bytes(RAW)
        texts = [part.get_payload(decode=True).decode() for part in message.walk() if not part.is_multipart()]
        json.loads(json.dumps({"headers": message.items(), "texts": texts}))
        hashlib.blake2b(RAW).digest()
