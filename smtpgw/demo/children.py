"""Child processes of the demo: other commands of this program, which end when the demo ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

READY_TIMEOUT_SECONDS = 30.0
# The gateway finishes open sessions and closes idle ones with a reply.
END_TIMEOUT_SECONDS = 15.0
MAX_LINES_SHOWN = 20


class ChildFailed(Exception):
    """A child has ended or is not ready in time. The message has its name and its last output."""


class Child:
    """A process that runs `python -m smtpgw …`. Its output goes to a file, which is shown when it fails."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = f"smtpgw {arguments[0]}"
        self.log = log
        with log.open("wb") as output:
            # With a process group of its own, Ctrl-C on the terminal reaches only the demo, which ends its children.
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "smtpgw", *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def check(self) -> None:
        """Raise ChildFailed if the process has ended."""
        status = self.process.poll()
        if status is not None:
            raise ChildFailed(f"{self.name} has ended with status {status}.\n{self.last_output()}")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` returns True.

        Raises:
            ChildFailed: the process has ended, or is not ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ChildFailed(
                    f"{self.name} is not ready after {READY_TIMEOUT_SECONDS:g} seconds.\n{self.last_output()}"
                )
            time.sleep(0.1)

    def last_output(self) -> str:
        """Return the last lines of the output, for people."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-MAX_LINES_SHOWN:]
        return (
            "\n   ".join([f"The last output of {self.name}:", *lines]) if lines else f"{self.name} has printed nothing."
        )

    def end(self) -> None:
        """Terminate the process, and kill it when it does not end in time."""
        self.process.terminate()
        try:
            self.process.wait(END_TIMEOUT_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            # A second Ctrl-C asks to end at once.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def running(arguments: list[str], environ: Mapping[str, str], log: Path) -> Iterator[Child]:
    """Return a context manager that runs a child process."""
    child = Child(arguments, environ, log)
    try:
        yield child
    finally:
        child.end()


def port_problem(port: int) -> str:
    """Return why a server cannot listen on this port of 127.0.0.1; an empty text if it can."""
    with socket.socket() as listener:
        # Servers set it, too: a port whose last connections are in TIME_WAIT is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as problem:
            return problem.strerror or str(problem)
    return ""
