"""Ports of the loopback address for servers that tests start: nobody else is given one of them meanwhile."""

import socket
from collections import deque

MAX_HELD = 200

# They stay bound here. A server may listen on them all the same, since it says SO_REUSEADDR, too, and here nobody
# listens; but neither the kernel nor another run of the tests gives them to anybody who asks for any port.
_held: deque[socket.socket] = deque()


def free_ports(number: int) -> list[int]:
    """As many different ports of the loopback address that nobody listens on."""
    ports = []
    for _ in range(number):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        ports.append(int(held.getsockname()[1]))
        _held.append(held)
    while len(_held) > MAX_HELD:
        _held.popleft().close()
    return ports


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    return free_ports(1)[0]
