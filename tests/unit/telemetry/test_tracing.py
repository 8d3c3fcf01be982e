"""Traces: a span a message with its stages and calls of the API, to a collector that speaks OTLP; nothing when off."""

import os
import smtplib
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from smtpgw.telemetry import tracing
from tests.support.collector import Collector, attributes
from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.line import log_lines

HEADERS = f"From: {SENDER}\r\nSubject: x\r\n"


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


def traced(sandbox, folder: Path, collector: Collector, **variables: str) -> Gateway:
    ratio = {"SMTPGW_TRACING_RATIO": "1"}
    # What the OpenTelemetry packages read themselves: the tests do not want to wait five seconds for a batch.
    delay = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    return Gateway(sandbox.url, folder, SMTPGW_TRACING_URL=collector.url, **{**ratio, **delay, **variables})


def send(gateway: Gateway, message_id: str, *recipients: str) -> None:
    with gateway.client() as client:
        client.sendmail(SENDER, list(recipients), f"{HEADERS}Message-ID: {message_id}\r\n\r\nbody\r\n")


def children(spans: list[Span], parent: Span) -> list[Span]:
    return [span for span in spans if span.parent_span_id == parent.span_id]


def tree(spans: list[Span], parent: Span) -> dict[str, object]:
    """The names under a span, in the order of their beginnings."""
    below = sorted(children(spans, parent), key=lambda span: span.start_time_unix_nano)
    return {span.name: tree(spans, span) for span in below}


def messages(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.name == "message"]


def line_of(gateway: Gateway, message_id: str) -> dict[str, object]:
    (line,) = log_lines(gateway.log, message_id=message_id)
    return line


def test_a_message_is_a_span_with_its_stages_and_calls(sandbox, tmp_path, collector):
    sandbox.fault(status=500, email="later@customer.example")
    with traced(sandbox, tmp_path, collector) as gateway:
        send(gateway, "<first@app.example>", "jane.roe@customer.example")
        send(gateway, "<second@app.example>", *(f"{n}@customer.example" for n in range(3)))
        with pytest.raises(smtplib.SMTPDataError):
            send(gateway, "<third@app.example>", "later@customer.example")
        spans = collector.wait_for(lambda spans: len(messages(spans)) == 3)
        lines = [line_of(gateway, f"<{name}@app.example>") for name in ("first", "second", "third")]
    by_id = {attributes(span)["smtpgw.message.id"]: span for span in messages(spans)}
    first, second, third = (by_id[line["id"]] for line in lines)

    directory = {"GET /brands/default/senders": {}, "GET /lists": {}}
    assert tree(spans, first) == {"parse": {}, "sender": directory, "translate": {}, "api": {"POST /v2/emails": {}}}
    assert tree(spans, second).keys() == {"parse", "sender", "translate", "api"}
    (api,) = [span for span in children(spans, second) if span.name == "api"]
    assert [span.name for span in children(spans, api)] == ["POST /v2/emails"] * 3  # in greenlets of their own
    assert len({span.trace_id for span in messages(spans)}) == 3
    assert {span.trace_id for span in children(spans, api)} == {second.trace_id}
    for span, line in zip((first, second, third), lines, strict=True):
        assert (line["trace_id"], line["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
        assert span.kind == Span.SPAN_KIND_SERVER

    assert attributes(first)["smtpgw.message.result"] == "accepted"
    assert attributes(second)["smtpgw.message.recipients"] == 3
    assert first.status.code == Status.STATUS_CODE_UNSET
    assert (third.status.code, third.status.message) == (Status.STATUS_CODE_ERROR, "api_failed")
    (call,) = [span for span in spans if attributes(span).get("http.response.status_code") == 500]
    assert (call.kind, call.status.code) == (Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_ERROR)
    assert collector.resource["service.name"] == "smtpgw"


def test_spans_have_no_address_and_nothing_secret(sandbox, tmp_path, collector):
    with traced(sandbox, tmp_path, collector) as gateway:
        send(gateway, "<first@app.example>", "jane.roe@customer.example")
        spans = collector.wait_for(messages)
    lines = [line for span in spans for line in str(span).splitlines()]
    told = " ".join(line for line in lines if "_id:" not in line)  # ids are any octets, an @ among them
    assert "@" not in told
    assert "Bearer" not in told


class Listener(BaseHTTPRequestHandler):
    """Stands between gateway and sandbox and hears the headers of the requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        request = urllib.request.Request(self.server.behind + self.path, body, headers, method=self.command)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written to the test's output."""


@pytest.fixture
def listener(sandbox):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.requests, server.url, server.behind = [], f"http://127.0.0.1:{server.server_port}", sandbox.url
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_api_is_told_of_the_trace(tmp_path, collector, listener):
    with Gateway(listener.url, tmp_path, SMTPGW_TRACING_URL=collector.url, SMTPGW_TRACING_RATIO="1") as gateway:
        send(gateway, "<first@app.example>", "jane.roe@customer.example")
        line = line_of(gateway, "<first@app.example>")
    spans = {span.span_id.hex(): span for span in collector.spans}  # what waits is sent at the end of the worker
    (header,) = [headers["traceparent"] for target, headers in listener.requests if target.startswith("/v2/emails")]
    version, trace_id, parent, flags = header.split("-")
    assert (version, trace_id) == ("00", line["trace_id"])
    assert int(flags, 16) & 1  # sampled
    assert spans[parent].name == "POST /v2/emails"


def test_only_a_share_is_traced_and_the_others_have_no_ids(sandbox, tmp_path, collector):
    with traced(sandbox, tmp_path, collector, SMTPGW_TRACING_RATIO="0") as gateway:
        send(gateway, "<first@app.example>", "jane.roe@customer.example")
        line = line_of(gateway, "<first@app.example>")
    assert "trace_id" not in line
    assert collector.spans == []


def test_several_workers_trace_each_after_its_fork(sandbox, tmp_path, collector):
    with traced(sandbox, tmp_path, collector, SMTPGW_WORKERS="2") as gateway:
        clients = [gateway.client() for _ in range(6)]
        for number, client in enumerate(clients):
            client.sendmail(SENDER, ["a@customer.example"], f"{HEADERS}Message-ID: <{number}@app.example>\r\n\r\nx\r\n")
        collector.wait_for(lambda spans: len(messages(spans)) == 6)
        for client in clients:
            client.quit()
    assert len({span.trace_id for span in messages(collector.spans)}) == 6


def test_a_collector_that_is_away_is_in_nobodys_way(sandbox, tmp_path, collector):
    collector.server.server_close()
    collector.server.socket.close()
    # What OpenTelemetry reads itself: how long it tries to hand on a batch, for which the end of a worker waits.
    with traced(sandbox, tmp_path, collector, OTEL_EXPORTER_OTLP_TIMEOUT="1") as gateway:
        began = time.monotonic()
        for number in range(20):
            send(gateway, f"<{number}@app.example>", "jane.roe@customer.example")
        assert time.monotonic() - began < 15
        assert gateway.stop() == 0


# --- Off


def test_nothing_of_opentelemetry_is_imported_when_it_is_off():
    script = (
        "import sys, smtpgw.submission.gateway, smtpgw.server.worker, smtpgw.server.health\n"
        "from smtpgw.telemetry import tracing\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_call_is_not_even_wrapped_when_it_is_off():
    def work(argument):
        return argument

    assert tracing.Tracing.tracer is None
    assert tracing.propagate(work) is work
    assert tracing.trace_exchange(work) is work
    assert tracing.span("parse") is tracing.message("id", "session", 7) is tracing.NOTHING


@pytest.fixture
def without_packages(tmp_path) -> dict[str, str]:
    """The environment of a Python that has installed requirements.txt alone."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("opentelemetry"):
            (packages / entry.name).symlink_to(entry)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("SMTPGW_")}
    return {**environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}


def test_without_the_packages_all_but_tracing_works(without_packages, tmp_path, sandbox):
    gateway = Gateway(sandbox.url, tmp_path)
    script = (
        "import smtpgw.server.worker, smtpgw.submission.gateway, smtpgw.server.health;"
        "from smtpgw.telemetry import tracing; print(tracing.is_installed())"
    )
    run = subprocess.run([sys.executable, "-S", "-c", script], env=without_packages, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False\n", "")
    run = subprocess.run(
        [sys.executable, "-S", "-m", "smtpgw", "serve"],
        env={**without_packages, **gateway.variables, "SMTPGW_TRACING_URL": "http://127.0.0.1:4318"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert "SMTPGW_TRACING_URL: needs the packages of requirements-tracing.txt" in run.stderr
