"""The processes that the demo starts: this program's other commands, each ended when the demo ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

READY_SECONDS = 30.0
END_SECONDS = 15.0  # the gateway finishes what is under way, and tells idle clients so
LINES_SHOWN = 20


class ChildFailed(Exception):
    """A child has ended, or is not ready in time; says which, and its last output."""


class Child:
    """One `python -m smtpgw …`. Its output goes to a file, to be shown when something is wrong."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = f"smtpgw {arguments[0]}"
        self.log = log
        with log.open("wb") as output:
            # A process group of its own: Ctrl-C on the terminal reaches the demo alone, which ends its children.
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "smtpgw", *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def check(self) -> None:
        """Raises ChildFailed when it runs no more."""
        status = self.process.poll()
        if status is not None:
            raise ChildFailed(f"{self.name} has ended with status {status}.\n{self.last_words()}")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises ChildFailed when `ready` does not become true in time, or the process ends before."""
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} is not ready after {READY_SECONDS:g} seconds.\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self) -> str:
        """The end of its output, for people."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-LINES_SHOWN:]
        return "\n   ".join([f"The last output of {self.name}:", *lines]) if lines else f"{self.name} has said nothing."

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: not in a while, but now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running(arguments: list[str], environ: Mapping[str, str], log: Path) -> Iterator[Child]:
    """A child for as long as the `with` block."""
    child = Child(arguments, environ, log)
    try:
        yield child
    finally:
        child.end()


def port_problem(port: int) -> str:
    """Why no server can listen on this port of 127.0.0.1; empty when one can."""
    with socket.socket() as listener:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as problem:
            return problem.strerror or str(problem)
    return ""
