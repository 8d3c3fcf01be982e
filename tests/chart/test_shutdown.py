"""The seconds of a pod's end add up, from the load balancer to gunicorn."""

import pytest

from smtpgw.config.settings import Settings
from tests.chart.rendering import VALUES, environment, from_file, manifests, of_kind, with_changes

OVH_DRAIN_SECONDS = 600  # what a node waits for its pods before it is taken away all the same


def ending(found) -> tuple[int, int, int]:
    """Sleep, gunicorn's graceful timeout, Kubernetes's grace period, in seconds."""
    spec = of_kind("Deployment", found)["spec"]["template"]["spec"]
    drain = environment(found)["SMTPGW_DRAIN_TIMEOUT_SECONDS"]
    graceful = Settings.graceful_timeout_seconds.fget(type("S", (), {"drain_timeout_seconds": float(drain)}))
    sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    return sleep, graceful, spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)
def test_kubernetes_waits_for_gunicorn_and_ovh_for_kubernetes(path):
    sleep, graceful, grace = ending(manifests(from_file(path)))
    assert sleep + graceful < grace <= OVH_DRAIN_SECONDS


@pytest.mark.parametrize(
    ("shutdown", "grace"),
    [
        ({}, 150),
        ({"preStopSleepSeconds": 20, "drainTimeoutSeconds": 60}, 105),
        ({"gracePeriodSeconds": 300}, 300),
    ],
)
def test_the_grace_period_is_computed_where_none_is_given(shutdown, grace):
    assert ending(with_changes(shutdown=shutdown))[2] == grace


def test_the_sleep_outlasts_the_load_balancer_s_look():
    found = with_changes()
    annotations = of_kind("Service", found, "smtpgw")["metadata"]["annotations"]
    delay, timeout, times = (
        int(annotations[f"loadbalancer.openstack.org/health-monitor-{name}"])
        for name in ("delay", "timeout", "max-retries-down")
    )
    assert ending(found)[0] > delay * times + timeout


def test_an_upgrade_takes_no_pod_away_before_a_new_one_is_there():
    spec = of_kind("Deployment", with_changes())["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["minReadySeconds"] >= 10  # the load balancer's look takes 5 s, and one more 5 s later
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [(s["topologyKey"], s["whenUnsatisfiable"]) for s in spread] == [
        ("kubernetes.io/hostname", "DoNotSchedule"),
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),  # the Free plan has one zone, without a label even
    ]
