"""One HTTP connection of the sandbox's server: pywsgi's, with what the sandbox needs besides."""

import socket
from typing import Any

from gevent.pywsgi import WSGIHandler

from smtpgw.sandbox.connection import SOCKET


class Handler(WSGIHandler):
    def __init__(self, sock: socket.socket, *rest: Any) -> None:
        # pywsgi sends headers and body apart. Without this the body waits for the client's delayed ACK, 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, *rest)

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[SOCKET] = self.socket
        return environ
