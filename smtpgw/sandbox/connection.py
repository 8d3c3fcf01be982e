"""What a fault does to the client's connection, below HTTP: resets, waits, and answers cut short.

pywsgi sends an answer while it iterates over it, and drops the connection without a word when that raises
ConnectionResetError. So each of these is an answer whose body does the mischief.
"""

import errno
import socket
import struct
import time
from collections.abc import Iterator

from flask import Response
from flask import request as current_request

from smtpgw.sandbox.faults import Rule

SOCKET = "sandbox.socket"  # where the server puts the connection into the WSGI environment
MISSING_BYTES = 1000  # of a truncated answer
POLL_INTERVAL_SECONDS = 0.05  # how often no_answer looks whether the client has left

# What is answered for kinds where the call's outcome is no status.
WITHOUT_STATUS = frozenset({"reset_before", "reset_after", "truncated", "no_answer"})


def disturbed(rule: Rule, answer: Response) -> Response:
    """`answer` as the fault lets the client see it; waits here where the headers are to come late."""
    body = answer.get_data()
    if rule.what in ("reset_before", "reset_after"):
        return Response(reset(connection()))
    if rule.what == "no_answer":
        return Response(wait_until_left(connection()))
    if rule.what == "slow_headers":
        time.sleep(rule.wait_seconds)
    elif rule.what == "slow_body":
        answer.response = drip(body, rule.wait_seconds)
        answer.content_length = len(body)
    elif rule.what == "truncated":
        answer.response = cut_short(body)
        answer.content_length = len(body) + MISSING_BYTES
    return answer


def connection() -> socket.socket:
    """The client's socket.

    Raises:
        RuntimeError: the call came through no socket, as in Flask's test client.
    """
    found = current_request.environ.get(SOCKET)
    if found is None:
        raise RuntimeError("this fault needs the sandbox's server")
    client: socket.socket = found
    return client


def drop() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "dropped by a fault")


def reset(client: socket.socket) -> Iterator[bytes]:
    # Closing with a linger of zero seconds sends RST instead of FIN.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise drop()
    yield b""  # makes this a generator, which runs when the answer is sent


def wait_until_left(client: socket.socket) -> Iterator[bytes]:
    try:
        while client.recv(1, socket.MSG_PEEK):  # empty once the client has closed; more requests are left unread
            time.sleep(POLL_INTERVAL_SECONDS)
    except ConnectionError:
        return  # reset: it has left, too
    raise drop()
    yield b""


def drip(body: bytes, wait_seconds: float) -> Iterator[bytes]:
    for place in range(len(body)):
        yield body[place : place + 1]  # the headers go with the first octet, at once
        time.sleep(wait_seconds)


def cut_short(body: bytes) -> Iterator[bytes]:
    yield body
    raise drop()
