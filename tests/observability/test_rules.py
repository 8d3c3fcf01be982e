"""The alerts: each fires when it should, is quiet when all is well (promtool), and has its paragraph in the runbook."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from smtpgw.commands.serve import unknown_variables
from smtpgw.smtp import session_log
from smtpgw.telemetry import metrics
from tests.observability.dashboards import alerts, rules
from tests.observability.prometheus import RULES, RUNBOOK, program

CASES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))


def promtool(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True)


def test_promtool_finds_nothing_wrong():
    run = promtool("check", "rules", RULES)
    assert run.returncode == 0, run
    assert f"SUCCESS: {len(rules())} rules found" in run.stdout


@pytest.fixture(scope="module")
def running() -> Iterator[dict[Path, subprocess.Popen]]:
    """promtool with each file, all at the same time: days of rules take seconds."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs = {path: subprocess.Popen([program("promtool"), "test", "rules", path], **pipes) for path in CASES}
    yield runs
    for run in runs.values():
        run.kill()
        run.communicate()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path, running):
    said, _ = running[path].communicate()
    assert running[path].returncode == 0, said


def test_each_alert_is_seen_to_fire_and_to_be_quiet():
    fires, quiet = set(), set()
    for path in CASES:
        for case in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for expected in case["alert_rule_test"]:
                (fires if expected.get("exp_alerts") else quiet).add(expected["alertname"])
    assert fires == quiet == alerts().keys()


def sections() -> dict[str, str]:
    """The runbook's paragraphs, by alert."""
    found = re.split(r"(?m)^### (\w+)\n", RUNBOOK.read_text("utf-8").partition("\n## Alerts\n")[2])[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_each_alert_has_its_paragraph_and_names_it():
    assert sections().keys() == alerts().keys()
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"RUNBOOK.md#{name.lower()}"
        assert len(sections()[name].split()) > 25, name  # what to look at, and what to do
        severity = rule["labels"]["severity"]
        assert severity in ("page", "ticket")
        assert sections()[name].lstrip().startswith(f"{severity.capitalize()}. "), name


def test_links_within_the_runbook_lead_somewhere():
    text = RUNBOOK.read_text("utf-8")
    headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"(?m)^#+ (.+)$", text)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_settings_and_replies_that_the_runbook_names_exist():
    text = RUNBOOK.read_text("utf-8")
    assert unknown_variables(dict.fromkeys(re.findall(r"SMTPGW_[A-Z_]+", text), "")) == []
    names = {reply.name for reply in metrics.ALL_REPLIES}
    for name in ("outcome_unknown", "too_many_sessions", "no_room_now", "api_busy", "internal_error", "refused_by_api"):
        assert f"`{name}`" in text
        assert name in names


def test_failures_are_replies_that_are_no_clients_fault():
    every = {reply.name: reply for reply in metrics.ALL_REPLIES}
    assert (
        every.keys()
        >= session_log.FAILURES | session_log.LIMITS | session_log.LOGGED_ELSEWHERE | session_log.LOGIN_RESULTS.keys()
    )
    assert all(every[name].is_temporary for name in session_log.FAILURES)  # our own bugs, too, are never 5xx
    ours = {name for name, reply in every.items() if reply.is_temporary and name not in session_log.FAILURES}
    assert ours == {
        "api_rate_limited",  # Cakemail wants one customer to send less
        "share_of_room_taken",  # most of what the worker holds is this client's
        "proxy_only", "proxy_header_missing",  # not by the load balancer
        "data_timeout", "idle_timeout", "login_timeout", "session_timeout",  # slow clients
        "login_throttled", "not_smtp", "too_many_auth_failures", "too_many_commands", "too_many_errors",
        "too_many_recipients",
        "too_many_sessions_from_address",
        "shutting_down",  # between two messages; the next connection is served by another pod
    }  # fmt: skip
