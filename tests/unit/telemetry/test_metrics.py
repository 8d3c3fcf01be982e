"""What is measured: every metric as it is described, from fixed sets of labels, right across workers and their ends."""

import ast
import os
import signal
import smtplib
import time
import urllib.request
from itertools import product
from math import prod
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from smtpgw.cakemail import client
from smtpgw.commands.scrape import Interval, Scrape, quantile
from smtpgw.dialects import interpreter
from smtpgw.dialects.interpreter import Verdict
from smtpgw.smtp import session, session_log
from smtpgw.smtp.session_log import CLOSE_REASONS
from smtpgw.telemetry import buffered, metrics, top_share
from tests.support.gateway import SENDER, USERNAME, Gateway
from tests.support.sandbox import Sandbox

PACKAGE = Path(metrics.__file__).parent.parent
FOREIGN = {"smtpgw_exporter_info"}  # of prometheus-flask-exporter, about itself
PARTS = ("_bucket", "_count", "_sum")
CATALOG = {described.name: described for described in metrics.CATALOG}


def scraped(gateway: Gateway) -> Scrape:
    status, page = gateway.get("/metrics")
    assert status == 200
    found = Scrape(time.monotonic())
    found.add(page)
    return found


def message(recipients: list[str], headers: str = "") -> str:
    return f"From: {SENDER}\r\nTo: {', '.join(recipients)}\r\nSubject: hello\r\n{headers}\r\nhello\r\n"


def send(client: smtplib.SMTP, *recipients: str, headers: str = "") -> None:
    client.sendmail(SENDER, list(recipients), message(list(recipients), headers))


def metric_of(sample: str) -> str:
    """The metric that a series belongs to."""
    base = next((sample.removesuffix(part) for part in PARTS if sample.endswith(part)), sample)
    return base if base in CATALOG and CATALOG[base].type == "histogram" else sample


@pytest.fixture(scope="module")
def after_a_full_session(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """What is scraped when all has happened that a session may have: each result of a message once."""
    sandbox = shared_sandbox
    sandbox.clear()
    sandbox.fault(kind="rejected", email="refused@customer.example")
    sandbox.fault(status=500, email="deferred@customer.example")
    with Gateway(sandbox.url, tmp_path_factory.mktemp("metrics")) as gateway:
        with gateway.encrypted() as guesser, pytest.raises(smtplib.SMTPAuthenticationError):
            guesser.login(USERNAME, "wrong")
        client = gateway.client()
        send(client, "accepted@customer.example", headers="X-Mailgun-Tag: a\r\n")
        send(client, "accepted@customer.example", "refused@customer.example")
        send(client, "nobody@customer.example", headers="X-Mailgun-Drop-Message: yes\r\n")
        for recipient in ("refused@customer.example", "deferred@customer.example"):
            with pytest.raises(smtplib.SMTPDataError):
                send(client, recipient)
        client.quit()
        gone = gateway.encrypted()
        gone.close()
        gateway.get("/health/live")
        gateway.get("/nothing")
        wait_for(lambda: scraped(gateway).value("smtpgw_sessions_closed_total", reason="lost"))
        return scraped(gateway)


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


# --- As described


def test_every_metric_described_is_there_and_no_other(after_a_full_session):
    found = {metric_of(name) for name in after_a_full_session.samples if name.startswith("smtpgw_")}
    rare = {"smtpgw_http_request_exceptions_total"}  # a bug of a probe: there is none to provoke
    assert found - FOREIGN == CATALOG.keys() - rare


def test_each_series_has_the_labels_described_with_values_of_their_sets(after_a_full_session):
    wrong = []
    for name, series in after_a_full_session.samples.items():
        described = CATALOG.get(metric_of(name))
        for labels in map(dict, series) if described else []:
            labels.pop("le", None)
            allowed = described.labels
            if labels.keys() != allowed.keys() or any(value not in allowed[label] for label, value in labels.items()):
                wrong.append((name, labels))
    assert wrong == []


def test_small_sets_are_whole_from_the_beginning(after_a_full_session):
    """So that the first event of a kind is an increase, and an alert sees it."""
    small = [d for d in metrics.CATALOG if d.labels and not d.name.startswith("smtpgw_http")]
    small = [d for d in small if prod(map(len, d.labels.values())) <= metrics.MAX_INITIAL_SERIES]
    assert len(small) > 10
    for described in small:
        name = described.name + "_count" * (described.type == "histogram")
        series = {
            tuple(dict(labels)[label] for label in described.labels) for labels in after_a_full_session.samples[name]
        }
        assert series == set(product(*described.labels.values())), name


def test_names_are_as_prometheus_wants_them():
    for described in metrics.CATALOG:
        assert described.name.endswith("_total") == (described.type == "counter"), described.name
        if described.type == "histogram":
            assert described.name.endswith(("_seconds", "_bytes")), described.name
        assert described.meaning[0].isupper(), described.name
        assert not described.meaning.endswith("."), described.name


def test_what_happened_is_what_is_counted(after_a_full_session):
    assert after_a_full_session.by("smtpgw_messages_total", "result") == dict.fromkeys(
        ("accepted", "partial", "discarded", "refused", "deferred"), 1
    )
    assert after_a_full_session.by("smtpgw_recipients_total", "result") == {
        "accepted": 2, "refused": 2, "deferred": 1, "discarded": 1,
    }  # fmt: skip
    value = after_a_full_session.value
    assert value("smtpgw_notices_total", result="sent") == 1
    assert value("smtpgw_auth_total", result="done") == 1
    assert value("smtpgw_auth_total", result="refused") >= 1
    assert value("smtpgw_commands_total", verb="data", code="354") == 5
    assert value("smtpgw_commands_total", verb="data", code="250") == 3
    assert value("smtpgw_refusals_total", reply="not_queued_by_api") == 1
    assert value("smtpgw_refusals_total", reply="api_failed") == 1
    assert value("smtpgw_message_size_bytes_count") == 5
    assert value("smtpgw_message_duration_seconds_count") == 5
    assert value("smtpgw_message_overhead_seconds_count") == 5
    assert value("smtpgw_message_stage_duration_seconds_count", stage="parse") == 5
    assert value("smtpgw_api_request_duration_seconds_count", endpoint="emails", status="500") == 1
    assert value("smtpgw_dialect_headers_total", dialect="mailgun", verdict="map") == 1
    assert value("smtpgw_dialect_headers_total", dialect="mailgun", verdict="discard") == 1
    assert value("smtpgw_tls_handshakes_total", version="TLSv1.3") >= 2
    assert value("smtpgw_cache_lookups_total", cache="login", result="hit") > 1
    assert value("smtpgw_sessions_active") == 0
    assert value("smtpgw_workers") == 1
    assert value("smtpgw_build_info") == 1
    assert value("smtpgw_certificate_expiry_timestamp_seconds") > time.time()
    assert value("smtpgw_http_request_total", status="404") == 1


# --- The sets are those of the code


def literals(method: str) -> set[tuple[str, ...]]:
    """The literal arguments of every call such as `metrics.LIMITS.labels("idle")` in the package."""
    family, name = method.split(".")
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name):
                continue
            if ast.unparse(node.func.value).rpartition(".")[2] == family:
                values = [[c.value for c in ast.walk(a) if isinstance(c, ast.Constant)] for a in node.args]
                found |= {v for v in product(*values) if all(isinstance(one, str) for one in v)}
    return found


def test_limits_are_those_that_the_code_counts():
    assert {name for (name,) in literals("LIMITS.labels")} == CATALOG["smtpgw_limits_hit_total"].labels["limit"]


def test_verbs_are_those_of_the_session():
    assert {*map(str.lower, session.COMMANDS), "connect", "none"} == set(metrics.VERBS)


def test_reasons_are_those_of_the_session():
    assert {*CLOSE_REASONS.values(), "lost", "error", "other", "check"} == set(metrics.REASONS)


def test_dialects_and_verdicts_are_those_there_are():
    labels = CATALOG["smtpgw_dialect_headers_total"].labels
    assert labels["dialect"] == {dialect.name for dialect in interpreter.DIALECTS}
    assert labels["verdict"] == set(Verdict)


def test_endpoints_are_those_that_are_called():
    called = {found[0] for found in literals_of_first_argument("_call")}
    assert called == set(metrics.ENDPOINTS)


def literals_of_first_argument(method: str) -> set[tuple[str]]:
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / "cakemail/client.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            name = node.args[0]
            found.add((getattr(client, name.id) if isinstance(name, ast.Name) else ast.literal_eval(name),))
    return found


def test_results_of_logins_notices_and_listeners_are_those_there_are():
    assert CATALOG["smtpgw_auth_total"].labels["result"] == {*session_log.LOGIN_RESULTS.values(), "done", "malformed"}
    assert {name for (name,) in literals("NOTICES.count")} == CATALOG["smtpgw_notices_total"].labels["result"]
    caches = {name for name, _ in literals("CACHE.count")}
    assert caches == CATALOG["smtpgw_cache_lookups_total"].labels["cache"]


def test_statuses_that_nobody_expects_are_counted_by_their_class():
    assert [metrics.status_label(code) for code in (201, 418, 599, 302)] == ["201", "4xx", "5xx", "3xx"]
    assert {metrics.status_label(code) for code in range(100, 600)} <= set(metrics.STATUSES)


# --- Counting in plain numbers


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100))), st.sets(st.integers(0, 20)))
def test_a_tally_says_what_prometheus_client_would(events, flushed_after):
    def registry(counter, histogram):
        found = CollectorRegistry()
        return (
            found,
            counter("c", "m", ["l"], registry=found),
            histogram("h", "m", ["l"], registry=found, buckets=(1, 5, 25)),
        )

    quick, count, add = registry(buffered.Counter, buffered.Histogram)
    plain, inc, observe = registry(prometheus_client.Counter, prometheus_client.Histogram)
    for number, (label, amount) in enumerate(events):
        count.count(label)
        add.add(amount, label)
        inc.labels(label).inc()
        observe.labels(label).observe(amount)
        if number in flushed_after:
            count.flush()
            add.flush()
    first, second = Scrape(0), Scrape(0)
    first.add(generate_latest(quick).decode())
    second.add(generate_latest(plain).decode())
    assert first.samples.keys() == second.samples.keys()
    for name, series in second.samples.items():
        assert first.samples[name] == pytest.approx(series), name


def test_a_tally_without_labels():
    registry = CollectorRegistry()
    counter, histogram = buffered.Counter("c", "m", registry=registry), buffered.Histogram("h", "m", registry=registry)
    counter.count()
    counter.inc()
    histogram.add(0.3)
    histogram.observe(0.4)
    found = Scrape(0)
    found.add(generate_latest(registry).decode())
    assert found.value("c_total") == 2
    assert found.value("h_count") == 2
    assert found.value("h_sum") == pytest.approx(0.7)


# --- The largest share


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def share_of(counts: dict[object, int]) -> float:
    clock, registry = Clock(), CollectorRegistry()
    gauge = prometheus_client.Gauge("g", "m", registry=registry)
    share = top_share.TopShare(gauge, clock)
    for key, times in counts.items():
        for _ in range(times):
            share.count(key)
    share.flush()
    assert registry.get_sample_value("g") == 0  # the window is not over
    clock.now += top_share.WINDOW_SECONDS
    share.flush()
    found = registry.get_sample_value("g")
    clock.now += top_share.WINDOW_SECONDS
    share.flush()
    assert registry.get_sample_value("g") == 0  # of a window in which nothing was
    return found


def test_the_share_of_the_largest_is_published_when_a_window_is_over():
    assert share_of({"a": 30, "b": 10}) == 0.75


def test_few_have_no_share():
    assert share_of({"a": top_share.MIN_COUNT - 1}) == 0
    assert share_of({"a": top_share.MIN_COUNT}) == 1


def test_keys_are_bounded():
    assert share_of(dict.fromkeys(range(top_share.MAX_KEYS + 500), 1) | {0: 3}) == pytest.approx(3 / 10_503, rel=0.1)


# --- Reading what is scraped


def test_an_interval_has_rates_and_quantiles_as_prometheus_has_them():
    before, after = Scrape(10.0), Scrape(12.0)
    before.add('c_total{l="a"} 5\nh_bucket{le="1.0"} 1\nh_bucket{le="2.0"} 1\nh_bucket{le="+Inf"} 1\n')
    after.add(
        'c_total{l="a"} 9\nc_total{l="b"} 2\nh_bucket{le="1.0"} 6\nh_bucket{le="2.0"} 11\nh_bucket{le="+Inf"} 11\n'
    )
    interval = Interval(before, after)
    assert interval.rates("c_total", "l") == {"a": 2, "b": 1}
    assert interval.rate("c_total") == 3
    assert interval.quantiles("h", [0.25, 0.5, 0.75, 1]) == [0.5, 1.0, 1.5, 2.0]
    assert interval.quantiles("h", [0.5], nothing="like this") == [None]


def test_a_quantile_above_all_bounds_is_the_largest_bound():
    assert quantile([(1.0, 1.0), (float("inf"), 10.0)], 0.9) == 1.0


def test_counters_that_began_anew_do_not_run_backwards():
    before, after = Scrape(0.0), Scrape(1.0)
    before.add("c_total 100\n")
    after.add("c_total 7\n")
    assert Interval(before, after).rate("c_total") == 0


# --- Several workers


def workers_of(gateway: Gateway) -> set[int]:
    pid = gateway.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def count_is(number: float, gateway: Gateway) -> None:
    """See that so many messages are counted, whichever worker is asked: they hand on what they have twice a second."""
    wait_for(lambda: scraped(gateway).value("smtpgw_messages_total") >= number)
    for _ in range(6):
        time.sleep(0.1)
        assert scraped(gateway).value("smtpgw_messages_total") == number


def test_several_workers_are_one_across_crashes_reloads_and_restarts(sandbox, tmp_path):
    folder = tmp_path / "multiproc"
    folder.mkdir()
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKERS="2", PROMETHEUS_MULTIPROC_DIR=str(folder)) as gateway:
        clients = [gateway.client() for _ in range(6)]
        for client in clients:
            for _ in range(5):
                send(client, "someone@customer.example")
        count_is(30, gateway)
        assert scraped(gateway).value("smtpgw_sessions_active") == 6
        assert scraped(gateway).value("smtpgw_workers") == 2
        assert scraped(gateway).value("smtpgw_build_info") == 1

        # A crash: what was counted stays, what was alive is gone with its worker.
        before = workers_of(gateway)
        os.kill(max(before, key=descriptors), signal.SIGKILL)  # the one with the most sessions; the other may have none
        wait_for(lambda: len(workers_of(gateway)) == 2 and workers_of(gateway) != before and gateway.is_ready())
        wait_for(lambda: scraped(gateway).value("smtpgw_workers") == 2)
        count_is(30, gateway)
        alive = [client for client in clients if answers(client)]
        assert scraped(gateway).value("smtpgw_sessions_active") == len(alive) < 6

        # A reload: new workers, and the old ones hand on the last they have counted.
        for client in alive:
            send(client, "someone@customer.example")
        before = workers_of(gateway)
        gateway.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(workers_of(gateway) - before) == 2 and not workers_of(gateway) & before)
        wait_for(lambda: gateway.get("/metrics")[0] == 200)
        count_is(30 + len(alive), gateway)
        wait_for(lambda: scraped(gateway).value("smtpgw_workers") == 2)
        assert scraped(gateway).value("smtpgw_draining") == 0

        # A restart in the same place, as of a container in its pod: from the beginning.
        gateway.stop()
        gateway.start()
        count_is(0, gateway)
        for client in clients:
            client.close()


def answers(client: smtplib.SMTP) -> bool:
    try:
        return client.noop()[0] == 250
    except smtplib.SMTPServerDisconnected:
        return False


def test_several_workers_show_each_metric_of_theirs_once(sandbox, tmp_path):
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKERS="2") as gateway:
        _, page = gateway.get("/metrics")
        series = [line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")]
        assert len(series) == len(set(series))
        assert not [line for line in series if "pid=" in line]


# --- The probes' port


def test_only_reading_methods_are_answered_and_none_becomes_a_label(gateway):
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.http_port}/health/live", method="NONSENSE")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.request.HTTPError, match="405"):
        opener.open(request, timeout=5)
    assert "NONSENSE" not in gateway.get("/metrics")[1]
