"""`make loadtest`: sandbox, gateway and locust on this machine, for a minute at a million messages an hour.

What it is told is told to locust: make loadtest ARGS="--run-time 20s". Report, tables and picture go to build/loadtest.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from smtpgw.commands.console import complain
from smtpgw.demo.children import ChildFailed, running
from smtpgw.demo.inbox import answers
from smtpgw.sandbox.certificate import write_pair

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "build/locust/bin"  # locust's own environment
RESULTS = ROOT / "build/loadtest"
HISTORY, REPORT, PICTURE = (RESULTS / name for name in ("locust_stats_history.csv", "report.html", "run.svg"))
API_LATENCY_MS = 50
RUN_TIME = "70s"  # ten seconds of ramp, and a minute
TERMINATED = 143  # exit status: what shells say of a process that TERM has ended


def main(arguments: list[str]) -> int:
    """Returns the exit status: locust's, which is 0 when all objectives are held; 1 when something does not start."""
    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for locust, which ends the test and judges it
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    try:
        return run(arguments)
    except ChildFailed as failure:
        complain(str(failure))
        return 1


def terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


def run(arguments: list[str]) -> int:
    api, smtp, http = free_ports(3)
    certificate, key = write_pair(RESULTS)
    environ = os.environ | {
        "CAKEMAIL_API_URL": f"http://127.0.0.1:{api}",
        "SMTPGW_SMTP_BIND": f"127.0.0.1:{smtp}",
        "SMTPGW_SMTPS_BIND": "",
        "SMTPGW_HTTP_BIND": f"127.0.0.1:{http}",
        "SMTPGW_TLS_CERT": str(certificate),
        "SMTPGW_TLS_KEY": str(key),
        "SMTPGW_HOSTNAME": "localhost",
        "SMTPGW_TRUSTED_CIDRS": "127.0.0.0/8",  # all the load comes from one address
    }
    cores = Cores()
    with contextlib.ExitStack() as servers:
        bind = ["--bind", f"127.0.0.1:{api}", "--latency-ms", str(API_LATENCY_MS)]
        sandbox = servers.enter_context(running(["sandbox", *bind], environ, RESULTS / "sandbox.log"))
        sandbox.wait_until(lambda: answers(api, "/health"))
        gateway = servers.enter_context(running(["serve"], environ, RESULTS / "gateway.log"))
        gateway.wait_until(lambda: answers(http, "/health/ready"))
        status = locust(
            *("--host", f"smtp://localhost:{smtp}", "--ca-file", str(certificate)),
            *("--sandbox-url", f"http://127.0.0.1:{api}"),
            *arguments,
        )
        cores.add("locust")
        gateway.end()
        cores.add("gateway")
        sandbox.end()
        cores.add("sandbox")
    if HISTORY.exists() and REPORT.exists():
        subprocess.run([PROGRAMS / "python", ROOT / "loadtest/_picture.py", HISTORY, PICTURE], check=True)
        print(f"Of a core: {cores}; there are {os.cpu_count()}.")
        print(f"The report is {REPORT.relative_to(ROOT)}, its picture {PICTURE.relative_to(ROOT)}.")
    return status


def free_ports(number: int) -> list[int]:
    """As many ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [listener.getsockname()[1] for listener in listeners]


def locust(*arguments: str) -> int:
    """Run it to its end, without a web UI; returns its exit status."""
    command = [PROGRAMS / "locust", "-f", ROOT / "loadtest", "--headless", "--only-summary", "--run-time", RUN_TIME]
    results = ["--csv", HISTORY.with_name("locust"), "--csv-full-history", "--html", REPORT]
    with subprocess.Popen([*command, *results, *arguments]) as process:
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()


class Cores:
    """What processes took, from their start to their end, as shares of a core."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds = 0.0
        self.shares: dict[str, float] = {}

    def add(self, name: str) -> None:
        """Of what has ended since the last time, and of its own processes."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = usage.ru_utime + usage.ru_stime
        self.shares[name] = (seconds - self.seconds) / (time.monotonic() - self.began)
        self.seconds = seconds

    def __str__(self) -> str:
        return ", ".join(f"{name} {share:.2f}" for name, share in self.shares.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
