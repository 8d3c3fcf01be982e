"""The log's queries, of dashboard and runbook: LogQL by Grafana's grammar, of fields that are; each finds its lines."""

import json
import re
import shutil
import smtplib
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from smtpgw.sandbox.accounts import DEMO
from tests.chart.rendering import of_kind, with_changes
from tests.observability.dashboards import panels
from tests.observability.prometheus import RUNBOOK
from tests.support.gateway import SENDER, Gateway
from tests.support.log_fields import vocabulary
from tests.support.sandbox import Sandbox

PROGRAM = Path(__file__).parent / "logql/read.js"
MESSAGE_ID = "<logql@app.example>"
MESSAGE_ID_OF_RUNBOOK = "<20261124.1@shop.example>"
VARIABLES = {"$account": str(DEMO.id), "$client": "127.0.0.1", "$message_id": MESSAGE_ID, "$__auto": "5m"}
OF_EVERY_LINE = {"event", "level", "time"}


class Read(NamedTuple):
    """What a query says, as logql/read.js tells it."""

    errors: list[str]
    stream: list[tuple[str, str, str]]
    filters: list[tuple[str, str, str]]
    named: list[str]

    @property
    def events(self) -> set[str]:
        """Of which events it finds lines; of all where it does not say."""
        said = [value for label, _, value in self.filters if label == "event"]
        return set(said[0].split("|")) if said else set(vocabulary())

    def finds(self, line: str) -> bool:
        """Whether Loki would find this line of a log by it."""
        fields: dict[str, Any] = json.loads(line)
        return all(
            value in line if not label else fits(operator, value, str(fields.get(label, "")))
            for label, operator, value in self.filters
        )


def fits(operator: str, wanted: str, value: str) -> bool:
    found = bool(re.fullmatch(wanted, value)) if "~" in operator else wanted == value
    return found is not operator.startswith("!")


def filled(expression: str) -> str:
    """A query as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


QUERIES = {
    f"{panel['title']} {target['refId']}": filled(target["expr"])
    for panel in panels("smtpgw-account")
    for target in panel["targets"]
}
each_query = pytest.mark.parametrize("name", QUERIES)


@cache
def read(*queries: str) -> list[Read]:
    node = shutil.which("node")
    if not node or not (PROGRAM.parent / "node_modules").exists():
        pytest.skip("no node, or no grammar of LogQL here: tests/observability/install.sh gets them")
    run = subprocess.run([node, PROGRAM], input=json.dumps(queries), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [Read(**found) for found in json.loads(run.stdout)]


def query(name: str) -> Read:
    return dict(zip(QUERIES, read(*QUERIES.values()), strict=True))[name]


@each_query
def test_it_is_logql(name: str):
    assert query(name).errors == []
    assert "$" not in QUERIES[name], "a variable that Grafana has no value for"


@pytest.mark.parametrize(
    ("wrong", "at"),
    [
        ("{container=smtpgw}", "smtpgw}"),
        ('{container="smtpgw"} | json | event==`message`', "`message`"),
        ('{container="smtpgw"} | jsn [5m]', "[5m]"),
        ('count_over_time({container="smtpgw"} | json)', ")"),
        ('sum by client (count_over_time({container="smtpgw"} [5m]))', "client"),
        ('count_over_time({container="smtpgw"} [$__auto])', "$__auto"),
    ],
)
def test_the_grammar_sees_mistakes(wrong: str, at: str):
    (found,) = read(wrong)
    assert found.errors[0].startswith(at)


@each_query
def test_it_names_fields_that_its_lines_have(name: str):
    found = query(name)
    assert found.events <= vocabulary().keys()
    labels = {label for label, _, _ in found.filters if label} | set(found.named)
    for event in found.events if labels else ():
        assert labels <= vocabulary()[event] | OF_EVERY_LINE, event


@each_query
def test_its_container_is_the_chart_s(name: str):
    (container,) = of_kind("Deployment", with_changes())["spec"]["template"]["spec"]["containers"]
    assert query(name).stream == [["container", "=", container["name"]]]


@pytest.fixture(scope="module")
def log(shared_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a gateway that has accepted, refused and limited somebody."""
    shared_sandbox.clear()
    shared_sandbox.fault(kind="rejected", email="refused@customer.example")
    text = f"From: {SENDER}\r\nMessage-ID: {MESSAGE_ID}\r\n\r\nx\r\n"
    with Gateway(shared_sandbox.url, tmp_path_factory.mktemp("logql"), SMTPGW_MAX_RECIPIENTS="1") as gateway:
        with pytest.raises(smtplib.SMTPAuthenticationError), gateway.encrypted() as guesser:
            guesser.login(DEMO.email, "wrong")
        with gateway.client() as client:
            client.sendmail(SENDER, ["accepted@customer.example", "one.too.many@customer.example"], text)
            with pytest.raises(smtplib.SMTPDataError):
                client.sendmail(SENDER, ["refused@customer.example"], text)
    return [line for line in gateway.log.read_text().splitlines() if line.startswith("{")]


@each_query
def test_it_finds_lines_that_have_what_it_shows(name: str, log: list[str]):
    found = [json.loads(line) for line in log if query(name).finds(line)]
    assert 0 < len(found) < len(log)
    assert any(line.keys() >= set(query(name).named) for line in found)


def test_a_query_of_one_message_id_finds_its_whole_story(shared_sandbox: Sandbox, log: list[str]):
    first, second = (json.loads(line) for line in log if query("Its story A").finds(line))
    (email,) = [email for email in shared_sandbox.emails() if email["email"] == "accepted@customer.example"]
    assert first["results"] == [{"to": "a***@customer.example", "uuid": email["id"]}]
    assert (first["result"], first["reply"]) == ("accepted", f"250 2.0.0 Ok: queued as {email['id']}")
    assert (second["result"], second["reason"]) == ("refused", "not_queued_by_api")
    (told,) = second["results"]
    assert told == {"to": "r***@customer.example", "reply": second["reply"]}
    assert second["reply"].startswith("550 5.7.1 ")
    for line in (first, second):
        assert (line["account"], line["client"], line["recipients"]) == (DEMO.id, "127.0.0.1", 1)
        assert line["stages"].keys() == {"parse", "sender", "translate", "api"}


def test_the_runbook_has_the_query_of_the_dashboard():
    assert f"`` {QUERIES['Its story A'].replace(MESSAGE_ID, MESSAGE_ID_OF_RUNBOOK)} ``" in RUNBOOK.read_text("utf-8")


@pytest.fixture
def shell(log: list[str], tmp_path: Path) -> Callable[[int], str]:
    """What the runbook's command of this number says of the log, in which a line is none of ours."""
    if not shutil.which("jq"):
        pytest.skip("no jq here: tests/observability/install.sh gets it")
    file = tmp_path / "log"
    file.write_text("\n".join(["what a library prints", *log, ""]))
    commands = re.findall(r"(?m)^kubectl logs -l [^|]+( \| .+)$", RUNBOOK.read_text("utf-8"))

    def run(number: int) -> str:
        command = f"cat {file}{commands[number].replace(MESSAGE_ID_OF_RUNBOOK, MESSAGE_ID)}"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_the_runbook_s_commands_say_who_has_most(shell: Callable[[int], str]):
    assert shell(0).split() == ["1", str(DEMO.id)]
    assert shell(1).split() == ["1", "127.0.0.1"]


def test_the_runbook_s_command_finds_what_the_dashboard_finds(shell: Callable[[int], str], log: list[str]):
    objects = re.split(r"(?m)^(?={)", shell(2))[1:]
    assert list(map(json.loads, objects)) == [json.loads(line) for line in log if query("Its story A").finds(line)]
