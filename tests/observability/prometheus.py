"""A real Prometheus for tests, with what it scrapes beside gateways.

That is the blackbox exporter, and pages of text for what needs a cluster: kube-state-metrics, cert-manager and the load
balancer.
"""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from tests.support.gateway import ROOT, Gateway
from tests.support.ports import free_port

CHART = ROOT / "helm/smtpgw"
RULES = CHART / "files/rules.yaml"
RUNBOOK = CHART / "RUNBOOK.md"
START_SECONDS = 30
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def program(name: str) -> str:
    """The path of a program of Prometheus'."""
    found = shutil.which(name) or shutil.which(name, path=str(ROOT / "build/prometheus/usr/bin"))
    if not found:
        pytest.skip(f"no {name} here: tests/observability/install.sh gets it")
    return found


def get(url: str) -> str:
    with OPENER.open(url, timeout=30) as answer:
        return answer.read().decode()


class Running:
    """A program that runs for as long as it is the context."""

    def __init__(self, command: list[str], ready_url: str, log: Path) -> None:
        self.command, self.ready_url, self.log = command, ready_url, log

    def __enter__(self) -> Self:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        wait_for(self.is_ready, START_SECONDS, self.log)
        return self

    def is_ready(self) -> bool:
        try:
            return bool(get(self.ready_url)) or True
        except OSError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(30)


def wait_for(condition: Callable[[], object], seconds: float, log: Path | None = None) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()[-3000:] if log else condition
        time.sleep(0.2)


class Page(AbstractContextManager["Page"]):
    """An HTTP server with one page of metrics, made anew at each scrape."""

    def __init__(self, text: Callable[[], str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text().encode())

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is written to the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Page":
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Blackbox(Running):
    """The blackbox exporter, with the module that the runbook has."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        configuration = yaml.safe_load(RUNBOOK.read_text("utf-8").partition("```yaml\n")[2].partition("```")[0])
        module = configuration["modules"]["smtp_starttls"]
        module["tcp"]["preferred_ip_protocol"] = "ip4"
        module["tcp"]["tls_config"] = {"ca_file": str(certificate)}  # a test's certificate is nobody's
        file = folder / "blackbox.yml"
        file.write_text(yaml.safe_dump(configuration))
        self.address = f"127.0.0.1:{free_port()}"
        listen = f"--web.listen-address={self.address}"
        command = [program("prometheus-blackbox-exporter"), f"--config.file={file}", listen]
        super().__init__(command, f"http://{self.address}/-/healthy", folder / "blackbox.log")


def target(address: str, **labels: str) -> dict[str, object]:
    return {"targets": [address], "labels": labels}


def gateway_target(gateway: Gateway, namespace: str = "mail", region: str = "ca") -> dict[str, object]:
    """A gateway as the chart's PodMonitor has it."""
    return target(f"127.0.0.1:{gateway.http_port}", namespace=namespace, region=region, pod=f"{namespace}-0")


class Prometheus(Running):
    """Scrapes and evaluates once a second. `jobs` are the targets of each job."""

    def __init__(self, folder: Path, jobs: dict[str, list[dict[str, object]]], rules: Path | None = None) -> None:
        self.configuration: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{"job_name": job, "static_configs": targets} for job, targets in jobs.items()],
            "rule_files": [str(rules)] if rules else [],
        }
        self.file = folder / "prometheus.yml"
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [
            program("prometheus"),
            f"--config.file={self.file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
        ]
        super().__init__(command, f"{self.url}/-/ready", folder / "prometheus.log")

    def __enter__(self) -> Self:
        self.file.write_text(yaml.safe_dump(self.configuration))
        return super().__enter__()

    def probe(self, blackbox: Blackbox, address: str) -> None:
        """Have an SMTP server probed, as the chart's Probe does. Before it is started."""
        relabel = [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": blackbox.address},
        ]
        self.configuration["scrape_configs"].append(
            {
                "job_name": "smtpgw-probe",
                "metrics_path": "/probe",
                "params": {"module": ["smtp_starttls"]},
                "static_configs": [target(address)],
                "relabel_configs": relabel,
            }
        )

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values of an expression now."""
        found = json.loads(get(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of an expression: `metric`, and `values` as pairs of time and text."""
        asked = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
        found: list[dict[str, Any]] = json.loads(get(f"{self.url}/api/v1/query_range?{asked}"))["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire now, by their labels."""
        found = json.loads(get(f"{self.url}/api/v1/alerts"))["data"]["alerts"]
        return [alert for alert in found if alert["state"] == "firing"]
