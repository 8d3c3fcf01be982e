"""File descriptors: the limit is raised and checked at the start, and a worker without one left still replies 421."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path

import pytest

from smtpgw.config.settings import Settings
from smtpgw.server import descriptors
from tests.chaos.ledger import workers
from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.line import Line, log_lines, metric
from tests.support.sandbox import Sandbox

MESSAGE = f"From: {SENDER}\r\nSubject: Descriptors\r\n\r\nx\r\n"


class FewGateway(Gateway):
    command = ("tests.support.few_descriptors",)


def settings(**variables: str) -> Settings:
    return Settings.from_environ({"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__, **variables})


def limits_of(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


# --- At the start


def test_the_soft_limit_is_raised_to_the_hard_one(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEW_DESCRIPTORS", "256 6000")
    with FewGateway(sandbox.url, tmp_path) as gateway:
        for pid in (gateway.process.pid, *workers(gateway)):
            assert limits_of(pid) == (6000, 6000)
        (starting,) = log_lines(gateway.log, what="starting")
    assert starting["descriptors"] == 6000
    assert '"what":"warning"' not in gateway.log.read_text()


def test_too_few_for_the_settings_are_told_of_and_sessions_refused_before_they_run_out(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FEW_DESCRIPTORS", "256 300")
    with FewGateway(sandbox.url, tmp_path, SMTPGW_API_CONNECTIONS="16") as gateway, ExitStack() as lines:
        (told,) = log_lines(gateway.log, what="warning")
        assert "may have 300, and a worker needs 4280 for SMTPGW_MAX_SESSIONS=4000" in told["warning"]
        assert "takes no more than 20 sessions" in told["warning"]
        assert "raise the hard limit (LimitNOFILE= of systemd" in told["warning"]
        here = [lines.enter_context(Line(gateway)) for _ in range(20)]
        assert [line.hear()[:4] for line in here] == ["220 "] * 20
        for _ in range(150):  # more than there are descriptors for
            assert lines.enter_context(Line(gateway)).hear()[:9] == "421 4.3.2"
        assert here[0].say(b"NOOP\r\n") == "250 2.0.0 Ok"
        assert gateway.is_ready()
        assert metric(gateway, 'smtpgw_limits_hit_total{limit="descriptors"}') == 0


def test_so_few_that_nobody_could_be_served_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FEW_DESCRIPTORS", "256 256")
    gateway = Gateway("http://127.0.0.1:1", tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.few_descriptors"],
        cwd=ROOT, env={**os.environ, **gateway.variables}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert "file descriptors: a process may have 256, and a worker needs more than 520" in run.stderr
    assert "ulimit -Hn" in run.stderr


def test_a_hard_limit_that_the_system_does_not_allow_is_no_reason_to_stay_low(monkeypatch: pytest.MonkeyPatch):
    """As on macOS, which reports an unlimited hard limit."""
    now = [(256, resource.RLIM_INFINITY)]

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] == resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")
        now[0] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: now[0])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert descriptors.raise_limit(settings()) == 4520 == descriptors.needed(settings())
    assert descriptors.warning(settings()) == ""


# --- When there are none left


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def scarce(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> Iterator[Gateway]:
    """Return a gateway whose workers may open three more files."""
    with Gateway(sandbox.url, tmp_path, SMTPGW_WORKERS=str(request.param)) as gateway:
        while gateway.log.read_text().count('"what":"worker started"') < request.param:
            time.sleep(0.05)
        for pid in workers(gateway):
            taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
            free = islice((number for number in count() if number not in taken), 3)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(free) + 1, limits_of(pid)[1]))
        yield gateway


def test_without_a_descriptor_left_a_client_hears_421_and_later_another_one_is_served(scarce: Gateway):
    with ExitStack() as lines:
        heard = [lines.enter_context(Line(scarce)).hear()[:9] for _ in range(40)]
        assert set(heard) == {"220 local", "421 4.3.2"}
        assert heard[-10:] == ["421 4.3.2"] * 10
        refused = lines.enter_context(Line(scarce))
        assert refused.hear() == "421 4.3.2 localhost has too many connections; try again later"
        assert refused.hear() == "", "it is hung up on"
        assert lines.enter_context(Line(scarce, port=scarce.smtps_port)).hear() == ""
        for line in log_lines(scarce.log, event="limit"):
            assert (line["limit"], line["client"]) == ("too_many_sessions", "127.0.0.1")
    for pid in workers(scarce):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits_of(pid)[1:] * 2)
    with scarce.client() as client:
        assert client.sendmail(SENDER, "ann@example.com", MESSAGE) == {}
    assert metric(scarce, 'smtpgw_limits_hit_total{limit="descriptors"}') >= 10
    assert not [line for line in map(json.loads, scarce.log.read_text().splitlines()) if line["event"] == "error"]
