"""Capacity: by hand, by each bound, as it grows; and as the chart and the command have it."""

import dataclasses

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from smtpgw.commands import capacity as module
from smtpgw.commands.capacity import Allowed, Assumed, Measured, capacity, memory_mb, with_spare
from smtpgw.config.settings import Settings
from tests.chart.derived import CHART

ROUND = Measured(kept_cpu_ms=1, own_cpu_ms=3, part_load=1, worker_mb=60, session_kb=20, copies=5)
EVEN = Assumed(
    own_share=0.5, pause_seconds=3, own_seconds=1, message_kb=10, api_ms=100, utilisation=0.5, zones=1, least_pods=2
)
USUAL = Allowed(api_connections=200, sessions=4000, bytes_in_flight=10**8)
A_THOUSAND_A_SECOND = 3_600_000  # an hour


def test_a_thousand_a_second_by_hand():
    found = capacity(A_THOUSAND_A_SECOND, ROUND, EVEN, USUAL)
    # 2 ms each: two cores, at one half four pods, and one to spare. Half of them last 3 s, the others 1 s.
    assert (found.per_second, found.pods, found.decided_by) == (1000, 5, "CPU")
    assert found.api_calls == pytest.approx(100)
    assert found.sessions == pytest.approx(2000)
    # A pod: 400 sessions of 20 KB, and 20 messages of 10 KB held five times.
    assert found.pod_memory_mb == pytest.approx(60 + 8 + 1)


@pytest.mark.parametrize(
    ("changes", "bounds", "pods", "decided_by"),
    [
        ({"own_share": 0.0}, {}, 3, "CPU"),
        ({"own_share": 1.0}, {}, 7, "CPU"),
        ({"utilisation": 1.0}, {}, 3, "CPU"),
        ({}, {"cores": 0.25}, 17, "CPU"),
        ({"api_ms": 1000.0}, {}, 11, "API calls"),
        ({}, {"api_connections": 20}, 11, "API calls"),
        ({"pause_seconds": 39.0}, {}, 11, "sessions"),
        ({}, {"sessions": 400}, 11, "sessions"),
        ({"least_pods": 6}, {}, 6, "availability"),
        ({"zones": 3}, {}, 6, "CPU"),
    ],
)
def test_each_bound_decides_where_it_is_the_tightest(changes, bounds, pods, decided_by):
    found = capacity(
        A_THOUSAND_A_SECOND, ROUND, dataclasses.replace(EVEN, **changes), dataclasses.replace(USUAL, **bounds)
    )
    assert (found.pods, found.decided_by) == (pods, decided_by)


volumes = st.integers(1, 10**10)
assumptions = st.builds(
    Assumed,
    own_share=st.floats(0, 1),
    pause_seconds=st.floats(0, 600),
    own_seconds=st.floats(0, 60),
    message_kb=st.floats(0, 10_000),
    api_ms=st.floats(0, 10_000),
    utilisation=st.floats(0.05, 1),
    zones=st.integers(1, 5),
    least_pods=st.integers(1, 20),
)


@given(volumes, volumes, assumptions)
def test_more_emails_take_no_less(one, other, assumed):
    less, more = (capacity(volume, ROUND, assumed, USUAL) for volume in sorted((one, other)))
    assert less.pods <= more.pods
    assert less.api_calls <= more.api_calls
    assert less.sessions <= more.sessions


@given(
    volumes,
    assumptions,
    st.sampled_from(["own_share", "pause_seconds", "own_seconds", "api_ms", "utilisation", "least_pods"]),
    st.floats(0, 1),
)
def test_what_asks_for_more_takes_no_fewer_pods(volume, assumed, name, share):
    """Each assumption is made lighter by a share of itself; a utilisation, heavier, since that is room."""
    own = getattr(assumed, name)
    # Where messages on connections that stay are far apart, these are what takes more sessions.
    assume(name != "own_share" or assumed.pause_seconds <= assumed.own_seconds)
    lighter = {"utilisation": own + (1 - own) * share, "least_pods": max(1, int(own * share))}.get(name, own * share)
    light = dataclasses.replace(assumed, **{name: lighter})
    assert capacity(volume, ROUND, light, USUAL).pods <= capacity(volume, ROUND, assumed, USUAL).pods


@given(volumes, assumptions)
def test_no_bound_is_passed_while_a_pod_or_a_zone_is_gone(volume, assumed):
    found = capacity(volume, ROUND, assumed, USUAL)
    zone_pods = 1 if assumed.zones == 1 else -(-found.pods // assumed.zones)
    left = max(1, found.pods - zone_pods) * assumed.utilisation * (1 + 1e-9)
    used = found.per_second * module.cpu_seconds(ROUND, assumed), found.api_calls / 200, found.sessions / 4000
    assert max(used) <= left
    assert found.pods >= assumed.least_pods


@pytest.mark.parametrize(
    ("pods", "zones", "wanted"), [(1, 1, 2), (7, 1, 8), (1, 2, 2), (4, 3, 6), (5, 3, 9), (6, 4, 8)]
)
def test_spare_pods_are_one_or_a_zone_s(pods, zones, wanted):
    assert with_spare(pods, zones) == wanted


def test_bounds_are_those_of_the_settings():
    by_default = Allowed.by({})
    settings = {field.name: field.metadata["default"] for field in dataclasses.fields(Settings)}
    assert by_default.api_connections == int(settings["api_connections"])
    assert by_default.sessions == int(settings["max_sessions"])
    assert by_default.bytes_in_flight == int(settings["max_bytes_in_flight"])
    assert Allowed.by({"SMTPGW_API_CONNECTIONS": "7"}) == dataclasses.replace(by_default, api_connections=7)


def test_the_chart_gives_what_is_counted_on():
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assumed, measured, allowed = Assumed(), Measured(), Allowed.by({})
    assert values["autoscaling"]["cpuPercent"] == assumed.utilisation * 100
    assert values["autoscaling"]["minReplicas"] == values["replicaCount"] == assumed.least_pods
    assert values["workers"] == 1
    assert float(values["resources"]["requests"]["cpu"]) == allowed.cores
    at_its_bounds = memory_mb(allowed.sessions, allowed.bytes_in_flight, measured)
    assert at_its_bounds < mb(values["resources"]["limits"]["memory"])
    usual = (capacity(volume, measured, assumed, allowed).pod_memory_mb for volume in module.VOLUMES)
    assert max(usual) < mb(values["resources"]["requests"]["memory"])


def mb(quantity: str) -> float:
    """Kubernetes' way to write memory, in millions of octets."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]] / 1_000_000


def test_the_command_prints_what_the_readme_has(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert module.main([]) == 0
    printed = capsys.readouterr().out.split("\n")
    lines, sentences = module.findings(module.VOLUMES, Assumed(), {})
    for line in lines:
        assert any(all(cell in words for cell in line) for words in printed), line
    assert [s.split()[0] for s in sentences] == [line.split()[1] for line in printed if line.startswith("- ")]


def test_the_command_takes_volumes_assumptions_and_settings(capsys, monkeypatch):
    monkeypatch.setenv("SMTPGW_API_CONNECTIONS", "10")
    assert module.main(["--per-hour", "3600000", "--api-ms", "1000", "--utilisation", "1", "--zones", "3"]) == 0
    printed = capsys.readouterr().out
    assert "3,600,000" in printed
    assert " 150 " in printed  # pods: a thousand calls at a time, ten a pod, and half as many to spare
    assert "API calls" in printed


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--per-hour=0", "from 1 to"),
        ("--per-hour=many", "a whole number"),
        ("--own-share=2", "from 0 to 1"),
        ("--utilisation=0", "from 0.05 to 1"),
        ("--api-ms=-1", "from 0 to"),
        ("--zones=0", "from 1 to"),
    ],
)
def test_an_argument_that_is_wrong_is_told(capsys, argument, complaint):
    with pytest.raises(SystemExit) as ended:
        module.main([argument])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_setting_out_of_its_range_is_told(capsys, monkeypatch):
    monkeypatch.setenv("SMTPGW_API_CONNECTIONS", "none")
    assert module.main([]) == 2
    assert "SMTPGW_API_CONNECTIONS='none': must be a whole number" in capsys.readouterr().err
