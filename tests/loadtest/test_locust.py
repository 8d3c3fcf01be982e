"""locust runs the load test, for seconds at a low rate, against a real gateway; what it counts is what the API got."""

import csv
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateway import ROOT, Gateway
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

PROGRAMS = ROOT / "build/locust/bin"
pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "locust").exists(), reason="no locust: tests/loadtest/install.sh installs it"
)
TIMEOUT_SECONDS = 60
# Times are the machine's affair here, and in seconds chance weighs more than in a minute.
LENIENT = ("--p99-ms", "30000", "--overhead-p95-ms", "30000", "--headroom", "1", "--only-summary", "--headless")
TARGET = ("--target-per-hour", "54000", "--users", "5", "--spawn-rate", "5")  # 15 a second; 30 are offered


@dataclass
class Run:
    """A run of locust that has ended."""

    status: int
    output: str
    folder: Path

    def lines(self) -> dict[str, dict[str, str]]:
        """locust's table of statistics, by name."""
        with (self.folder / "run_stats.csv").open() as file:
            return {row["Name"]: row for row in csv.DictReader(file)}

    def count(self, name: str) -> int:
        """How many there were that did not fail."""
        row = self.lines()[name]
        return int(row["Request Count"]) - int(row["Failure Count"])

    def verdict(self) -> dict[str, str]:
        """By objective: held, MISSED or not judged."""
        _, _, rows = self.output.rpartition("objective  ")
        return {row.split("  ")[0]: row.split("  ")[-1].strip() for row in rows.splitlines()[2:] if row}


def started(*arguments: str) -> subprocess.Popen[str]:
    # From the project's root, by the folder's name, as the README says.
    command = [PROGRAMS / "locust", "-f", "loadtest/", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def locust(folder: Path, *arguments: str) -> Run:
    results = ("--csv", str(folder / "run"), "--csv-full-history", "--html", str(folder / "report.html"))
    with started(*LENIENT, *results, *arguments) as process:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    return Run(process.returncode, output, folder)


def at(gateway: Gateway) -> tuple[str, ...]:
    return "--host", f"smtp://localhost:{gateway.port}", "--ca-file", str(gateway.cert)


def test_a_run_that_holds_its_objectives(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    often = ("--bad-credentials-share", "0.2", "--bad-sender-share", "0.2", "--reconnect-share", "0.5")
    run = locust(tmp_path, *at(gateway), "--sandbox-url", sandbox.url, *TARGET, *often, "--run-time", "4s")
    assert run.status == 0, run.output
    assert set(run.verdict().values()) == {"held"}
    # Refusals that are right are counted by their kind, and are no failures.
    for name in ("connect", "TLS", "AUTH", "DATA→reply", "overhead", "bad credentials → 535", "bad sender → 550"):
        assert run.count(name) > 0, name
        assert run.lines()[name]["Failure Count"] == "0"
    # Totals are of attempts: their steps and the overhead are not in them.
    attempts = [run.count(name) for name in ("DATA→reply", "bad credentials → 535", "bad sender → 550")]
    assert run.count("Aggregated") == sum(attempts)
    # The tables begin after the ramp, and the API has had that too; nothing was sent twice.
    ledger = sandbox.ledger(limit=0)
    assert ledger["duplicates"] == 0
    assert ledger["total"] >= run.count("DATA→reply")
    emails = sandbox.emails(bodies=False)
    assert {email["request"]["content"]["type"] for email in emails} == {"transactional", "marketing"}
    assert not any(email["unknown_fields"] for email in emails)
    assert r'"name": "DATA\u2192reply"' in (tmp_path / "report.html").read_text()
    assert_picture(tmp_path)


def assert_picture(folder: Path) -> None:
    """The script that draws a run draws this one."""
    picture = folder / "run.svg"
    script = ROOT / "loadtest/_picture.py"
    subprocess.run([PROGRAMS / "python", script, folder / "run_stats_history.csv", picture], check=True)
    texts = {element.text for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert {"accepted", "DATA→reply, p50", "DATA→reply, p99", "overhead, p95"} <= texts


def test_master_and_workers_count_together(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    port = str(free_port())
    workers = [started("--worker", "--master-port", port) for _ in range(2)]
    try:
        distributed = ("--master", "--master-bind-port", port, "--expect-workers", "2", "--run-time", "4s")
        run = locust(tmp_path, *at(gateway), "--sandbox-url", sandbox.url, *TARGET, *distributed)
        outputs = [worker.communicate(timeout=TIMEOUT_SECONDS)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert run.status == 0, "\n".join([run.output, *outputs])
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert set(run.verdict().values()) == {"held"}
    assert run.count("overhead") > 0
    assert "objective  " not in "".join(outputs)  # workers judge nothing


def test_what_is_missed_decides_the_exit_status(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    """The API takes longer than the rate allows for: that is none of the gateway's overhead."""
    sandbox.fault(endpoint="POST /v2/emails", latency_ms=700)
    impossible = ("--users", "2", "--p99-ms", "600", "--run-time", "4s", "Application")
    run = locust(tmp_path, *at(gateway), "--sandbox-url", sandbox.url, *TARGET, *impossible)
    assert run.status == 1, run.output
    missed = {name for name, verdict in run.verdict().items() if verdict != "held"}
    assert missed == {"accepted an hour", "DATA→reply, p99"}
    average = {name: float(line["Average Response Time"]) for name, line in run.lines().items()}
    assert average["overhead"] < average["DATA→reply"] - 500


def test_failures_are_counted_and_told_in_one_line(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault(endpoint="POST /v2/emails", status=422, body={"detail": "no"})
    run = locust(tmp_path, *at(gateway), *TARGET, "--run-time", "3s", "Application")
    assert run.status == 1, run.output
    assert run.verdict()["failures"] == "MISSED"
    assert run.verdict()["overhead, p95"] == "not judged"
    assert run.count("DATA→reply") == 0
    with (tmp_path / "run_failures.csv").open() as file:
        (failure,) = csv.DictReader(file)
    assert failure["Error"].startswith("550 ")


@pytest.mark.parametrize("host", ["https://smtp.example.com", "smtp.example.com"])
def test_a_host_that_is_none_is_refused_at_once(host: str, tmp_path: Path) -> None:
    run = locust(tmp_path, "--host", host)
    assert run.status == 2
    assert "must be like smtp://smtp.example.com:587" in run.output
