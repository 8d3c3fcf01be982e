"""The load test's parts, without locust: messages, connections, overhead, objectives, and what surrounds them."""

import email.policy
import random
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace

import gevent
import kubernetes_validate
import pytest
import yaml
from _connection import Connection, Target, Unexpected
from _messages import ATTACHMENT_SIZES, CAMPAIGN, TRANSACTIONAL, Kind, Sizes, new_mail
from _objectives import Measured, Objectives, Overhead, exit_status, table
from _options import positive, share
from _overhead import POLL_INTERVAL_SECONDS, GatewayMetrics, SandboxClock, quantile

from tests.loadtest import LOADTEST, options
from tests.support.gateway import PASSWORD, SENDER, USERNAME, Gateway
from tests.support.ports import free_port
from tests.support.sandbox import Sandbox

KINDS = [TRANSACTIONAL, CAMPAIGN]

# --- Messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [TRANSACTIONAL.html, CAMPAIGN.html, ATTACHMENT_SIZES])
def test_sizes_are_as_their_distribution_says(sizes: Sizes) -> None:
    chance = random.Random(1)
    drawn = [sizes.draw(chance) for _ in range(2000)]
    assert median(drawn) == pytest.approx(sizes.median_bytes, rel=0.1)
    assert max(drawn) <= sizes.most_bytes
    assert max(drawn) > 3 * sizes.median_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_one_for_any_server(kind: Kind) -> None:
    mail = new_mail(kind, SENDER, "customers.example")
    assert mail.octets.endswith(b"\r\n.\r\n")
    lines = mail.octets.removesuffix(b".\r\n").split(b"\r\n")
    assert all(line.isascii() and b"\n" not in line and b"\r" not in line and len(line) <= 998 for line in lines)
    assert not any(re.match(rb"\.(?!\.)", line) for line in lines)
    message = email.message_from_bytes(mail.octets, policy=email.policy.SMTP)
    assert [address.addr_spec for address in message["To"].addresses] == list(mail.recipients)
    assert message["From"].addresses[0].addr_spec == SENDER
    assert message["Date"].datetime
    assert message.get_body(("html",)).get_content().count("<p") >= 1
    assert not message.defects


def test_no_two_messages_have_a_recipient_or_an_id_in_common() -> None:
    mails = [new_mail(TRANSACTIONAL, SENDER, "customers.example") for _ in range(500)]
    recipients = [recipient for mail in mails for recipient in mail.recipients]
    assert len(set(recipients)) == len(recipients) > 500  # a few have more than one
    ids = {re.search(rb"Message-ID: (\S+)", mail.octets)[1] for mail in mails}
    assert len(ids) == 500


def test_some_transactional_messages_have_attachments() -> None:
    mails = [new_mail(TRANSACTIONAL, SENDER, "customers.example") for _ in range(200)]
    assert 0 < sum(b"Content-Disposition: attachment" in mail.octets for mail in mails) < 100


# --- Connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", "smtp://", "smtp://localhost/x"])
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be like smtp://"):
        Target.named(url)


def test_a_target_has_a_port() -> None:
    assert Target.named("smtp://localhost") == Target("localhost", 587)
    assert Target.named("smtp://localhost:25", "ca.pem") == Target("localhost", 25, "ca.pem")


def connected(gateway: Gateway) -> Connection:
    connection = Connection(Target("localhost", gateway.port, str(gateway.cert)))
    assert connection.log_in(USERNAME, PASSWORD).code == 235
    return connection


def test_a_connection_times_its_steps(gateway: Gateway, sandbox: Sandbox) -> None:
    sandbox.fault(endpoint="POST /v2/emails", latency_ms=100)
    connection = connected(gateway)
    mail = new_mail(TRANSACTIONAL, SENDER, "customers.example")
    assert connection.begin(mail.sender).code == 250
    answer = connection.finish(mail)
    connection.quit()
    assert answer.problem(250) is None
    assert answer.milliseconds >= 100
    assert {"connect", "TLS", "AUTH", "DATA→reply"} <= set(connection.steps)
    assert all(ms > 0 for ms in connection.steps.values())
    assert sandbox.emails(limit=1)[0]["email"] in mail.recipients


def test_a_problem_is_in_the_same_words_each_time(gateway: Gateway) -> None:
    def said() -> str:
        connection = connected(gateway)
        connection.begin(SENDER)
        with pytest.raises(Unexpected) as raised:
            connection.need("MAIL", 250, connection.begin(SENDER))
        assert raised.value.step == "MAIL"
        assert connection.smtp.sock is None  # it has been closed
        return str(raised.value)

    assert said() == said() == "503 5.5.1 A message is already under way; RSET to start again"


@pytest.mark.parametrize(("trusted", "step"), [(True, "connect"), (False, "TLS")])
def test_the_step_that_failed_is_named(gateway: Gateway, trusted: bool, step: str) -> None:
    target = Target("localhost", free_port(), str(gateway.cert)) if trusted else Target("localhost", gateway.port)
    with pytest.raises(Unexpected) as raised:
        Connection(target)
    assert raised.value.step == step


def test_a_connection_that_has_ended_does_not_begin_again(gateway: Gateway) -> None:
    connection = connected(gateway)
    assert connection.begins_again(SENDER)
    connection.smtp.docmd("QUIT")
    assert not connection.begins_again(SENDER)


# --- Overhead --------------------------------------------------------------------------------------------------------


def test_the_gateway_tells_its_overhead(gateway: Gateway) -> None:
    metrics = GatewayMetrics([f"http://127.0.0.1:{gateway.http_port}/metrics"])
    assert metrics.since_begin(0.95) == (None, 0)
    connection = connected(gateway)
    for _ in range(3):
        mail = new_mail(TRANSACTIONAL, SENDER, "customers.example")
        connection.begin(mail.sender)
        assert connection.finish(mail).code == 250
    connection.quit()
    p95, messages = metrics.since_begin(0.95)
    assert messages == 3
    assert p95 > 0


def test_a_gateway_that_tells_nothing_is_no_overhead_of_0() -> None:
    assert GatewayMetrics([f"http://127.0.0.1:{free_port()}/metrics"]).since_begin(0.95) == (None, 0)


class SlowSandbox:
    """A session with a sandbox that takes its time, for the first answer."""

    def __init__(self) -> None:
        self.delays_seconds = [0.5, 0.0]

    def post(self, url: str, json: dict[str, list[list[str]]], timeout: float) -> SimpleNamespace:
        gevent.sleep(self.delays_seconds.pop(0))
        return SimpleNamespace(raise_for_status=lambda: None, json=lambda: [5.0 for _ in json["recipients"]])


def test_the_end_of_a_run_waits_for_the_overhead_of_all_messages() -> None:
    told: list[float] = []
    listeners: dict[str, Callable[..., None]] = {}

    def event(name: str) -> SimpleNamespace:
        return SimpleNamespace(add_listener=lambda listener: listeners.update({name: listener}))

    clock = SandboxClock(
        SimpleNamespace(
            events=SimpleNamespace(request=event("request"), test_stop=event("test_stop")),
            parsed_options=SimpleNamespace(sandbox_url="http://sandbox.example"),
            stats=SimpleNamespace(
                get=lambda *_: SimpleNamespace(log=lambda milliseconds, _: told.append(milliseconds))
            ),
        )
    )
    clock.session = SlowSandbox()  # type: ignore[assignment]
    listeners["request"](response_time=7.0, exception=None, context={"recipients": ("a@customers.example",)})
    gevent.sleep(POLL_INTERVAL_SECONDS + 0.1)  # it asks about that one
    listeners["request"](response_time=8.0, exception=None, context={"recipients": ("b@customers.example",)})
    listeners["test_stop"]()
    assert told == [2.0, 3.0]


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("buckets", "share_of_all", "milliseconds"),
    [
        ({}, 0.95, None),
        ({0.1: 0.0, INFINITE: 0.0}, 0.95, None),
        ({0.1: 100.0, INFINITE: 100.0}, 0.5, 50),
        ({0.1: 50.0, 0.2: 100.0, INFINITE: 100.0}, 0.95, 190),
        ({0.1: 50.0, INFINITE: 100.0}, 0.95, 100),  # more than the last bound: nobody knows how much
    ],
)
def test_quantiles_of_a_histogram(buckets: dict[float, float], share_of_all: float, milliseconds: float) -> None:
    assert quantile(buckets, share_of_all) == (None if milliseconds is None else pytest.approx(milliseconds))


# --- Objectives ------------------------------------------------------------------------------------------------------

OBJECTIVES = Objectives(target_per_hour=3600, p99_ms=2000, overhead_p95_ms=100, failure_share=0.01)
GOOD = {
    "seconds": 60,
    "accepted": 60,
    "attempts": 100,
    "failures": 1,
    "p99_ms": {"connect": 2000, "DATA→reply": 5},
    "overhead": Overhead("a clock", 100, 54),
}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, []),
        ({"accepted": 59}, ["accepted an hour"]),
        ({"seconds": 0, "accepted": 0}, ["accepted an hour"]),
        ({"p99_ms": {"connect": 1, "DATA→reply": 2001}}, ["DATA→reply, p99"]),
        ({"overhead": Overhead("a clock", 101, 60)}, ["overhead, p95"]),
        ({"overhead": Overhead("a clock", 1, 53)}, ["overhead, p95"]),  # of too few
        ({"overhead": Overhead("a clock", None, 0)}, ["overhead, p95"]),
        ({"overhead": None}, []),  # there was no clock: nobody can say
        ({"failures": 2}, ["failures"]),
        ({"attempts": 0, "failures": 0}, ["failures"]),
        ({"bugs": 1}, ["the load test itself"]),
    ],
)
def test_each_objective_decides(change: dict[str, object], missed: list[str]) -> None:
    rows = OBJECTIVES.judge(Measured(**{**GOOD, **change}))
    assert [row.objective for row in rows if row.held is False] == missed
    assert exit_status(rows) == bool(missed)
    assert table(rows).count("MISSED") == len(missed)


def test_the_verdict_for_people() -> None:
    *_, overhead, failures = table(OBJECTIVES.judge(Measured(**{**GOOD, "overhead": None}))).splitlines()
    assert re.split("  +", overhead)[0::3] == ["overhead, p95", "not judged"]
    assert re.split("  +", failures) == ["failures", "at most 1.00%", "1.00% (1 of 100)", "held"]


@pytest.mark.parametrize(
    ("reader", "text"), [(positive, "0"), (positive, "-1"), (positive, "inf"), (share, "1.1"), (share, "-0.1")]
)
def test_numbers_that_make_no_sense_are_refused(reader: object, text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        reader(text)


# --- What surrounds them ---------------------------------------------------------------------------------------------


def test_the_table_of_options_is_what_the_code_says() -> None:
    written = options.split(options.README.read_text())[1]
    assert written == options.table(), "run: python -m tests.loadtest.options"


def test_the_readme_names_files_that_there_are() -> None:
    for name in re.findall(r"\]\(([^):#]+)[)#]", options.README.read_text()):
        assert (LOADTEST / name).exists(), name


def test_the_manifests_fit_kubernetes_and_each_other() -> None:
    service, master, worker = manifests = list(yaml.safe_load_all((LOADTEST / "kubernetes.yaml").read_text()))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.34", strict=True)
    pods = [job["spec"]["template"] for job in (master, worker)]
    assert service["spec"]["selector"] == pods[0]["metadata"]["labels"]
    arguments = [pod["spec"]["containers"][0]["args"] for pod in pods]
    assert f"--expect-workers={worker['spec']['parallelism']}" in arguments[0]
    assert f"--master-host={service['metadata']['name']}" in arguments[1]
    pinned = re.search(r"^locust==(\S+)$", (LOADTEST / "requirements.txt").read_text(), re.MULTILINE)[1]
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {f"locustio/locust:{pinned}"}
    own = {name for text in arguments[0] for name in re.findall(r"^--(?:sender|recipient|target)[a-z-]*", text)}
    assert own <= set(options.Parser().options)
