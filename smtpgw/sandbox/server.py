"""`python -m smtpgw sandbox`: the sandbox as a process of its own, on a loopback address.

Importing this module patches nothing and imports no web framework; `main` patches the standard library first.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from smtpgw.config.parsers import Bind, bind, is_loopback

if TYPE_CHECKING:
    from gevent.pywsgi import WSGIServer

BIND = "127.0.0.1:8025"
BACKLOG = 1024  # connections that wait to be accepted: a load test opens hundreds at once
STOP_SECONDS = 0.5  # for answers under way when the process is told to end
CANNOT_START = 2  # exit status


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0, or 2 when it cannot start."""
    options = parser().parse_args(arguments)
    if options.certificate:
        return make_certificate(options.certificate)
    try:
        address = bind(options.bind)
    except ValueError as wanted:
        return cannot_start(f"--bind {options.bind}: must be {wanted}")
    if not is_loopback(address.host):
        return cannot_start(
            f"--bind {options.bind}: must be a loopback address such as {BIND}; anyone who reaches the sandbox can"
            " read every email in it"
        )
    from gevent import monkey

    monkey.patch_all()
    return serve(address, options.latency_ms)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m smtpgw sandbox",
        description="A Cakemail API with an inbox page, for loopback use only: nothing is sent, all is in memory.",
    )
    made.add_argument("--bind", default=BIND, metavar="HOST:PORT", help="loopback address to listen on (%(default)s)")
    made.add_argument("--latency-ms", type=int, default=0, metavar="N", help="how long each API call takes (0)")
    made.add_argument(
        "--certificate",
        type=Path,
        metavar="DIR",
        help="write a self-signed certificate for loopback, cert.pem and key.pem, into DIR, and end",
    )
    return made


def make_certificate(folder: Path) -> int:
    from smtpgw.sandbox.certificate import write_pair

    try:
        certificate, key = write_pair(folder)
    except OSError as problem:
        return cannot_start(f"--certificate {folder}: {problem.strerror}")
    sys.stdout.write(f"{certificate}\n{key}\n")
    return 0


def serve(address: Bind, latency_ms: int) -> int:
    import gevent
    from gevent.event import Event

    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    server = make_server(address, latency_ms)
    try:
        server.start()
    except OSError as problem:
        return cannot_start(f"cannot listen on {address}: {os.strerror(problem.errno or 0)}")
    sys.stdout.write(start_line(address))
    sys.stdout.flush()
    stopped.wait()
    server.stop(timeout=STOP_SECONDS)
    return 0


def make_server(address: Bind, latency_ms: int) -> "WSGIServer":
    from gevent.pywsgi import WSGIServer

    from smtpgw.sandbox.app import create_app
    from smtpgw.sandbox.handler import Handler
    from smtpgw.sandbox.state import State

    # With the name given, pywsgi does not ask the DNS for one.
    return WSGIServer(
        (address.host, address.port),
        create_app(State(latency_ms)),
        backlog=BACKLOG,
        log=None,
        handler_class=Handler,
        environ={"SERVER_NAME": address.host},
    )


def start_line(address: Bind) -> str:
    from smtpgw.sandbox.accounts import DEMO

    return (
        f"Cakemail sandbox on http://{address} (loopback only; nothing is sent)."
        f" Log in as {DEMO.email} with {DEMO.password}, or as apikey with {DEMO.access_token}.\n"
    )


def cannot_start(why: str) -> int:
    sys.stderr.write(f"sandbox: {why}\n")
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
