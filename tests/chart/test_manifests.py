"""What the chart renders is what Kubernetes takes, fits together, and asks for no more rights than it needs."""

import json
import re
from pathlib import Path

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.chart.derived import CHART
from tests.chart.rendering import (
    SETTING_VALUES,
    VALUES,
    from_file,
    manifests,
    merged,
    of_kind,
    pod_specs,
    texts,
    with_changes,
)

VERSIONS = [f"1.{minor}" for minor in range(28, 38)]
CRDS = yaml.safe_load((Path(__file__).parent / "crds.yaml").read_text("utf-8"))
RULES = CHART / "files/rules.yaml"
MESSAGES = "smtpgw_messages_total"

every_values_file = pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)


def rendered(path: Path) -> list[dict]:
    return manifests(from_file(path))


# --- Kubernetes --------------------------------------------------------------------------------------------------


@every_values_file
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version, path):
    for manifest in rendered(path):
        if manifest["kind"] in CRDS:
            continue
        if version == "1.28" and manifest["kind"] == "Deployment":
            # The sleep came with 1.29 and is on by default since 1.30: why Chart.yaml asks for that one.
            lifecycle = manifest["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
            with pytest.raises(kubernetes_validate.ValidationError, match="sleep"):
                kubernetes_validate.validate(manifest, version, strict=True)
            lifecycle["preStop"] = {}
        kubernetes_validate.validate(manifest, version, strict=True)


@every_values_file
def test_operators_take_what_is_theirs(path):
    for manifest in rendered(path):
        if manifest["kind"] in CRDS:
            if manifest["kind"] == "PrometheusRule" and not RULES.exists():
                continue
            jsonschema.validate(manifest["spec"], CRDS[manifest["kind"]])


def test_the_files_of_values_use_every_kind_there_is():
    kinds = {manifest["kind"] for path in VALUES for manifest in rendered(path)}
    assert kinds >= set(CRDS)
    assert {"HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Pod", "ServiceAccount"} <= kinds


@every_values_file
def test_helm_finds_nothing_to_complain_of(path):
    found = helm.lint(str(CHART), from_file(path), strict=True)
    said = [m for m in found["messages"] if "icon is recommended" not in m["error"]]
    assert (found["errors"], said) == ([], [])


@every_values_file
def test_names_are_unique_and_objects_are_labelled(path):
    found = rendered(path)
    names = [(m["kind"], m["metadata"]["name"]) for m in found]
    assert len(names) == len(set(names))
    for manifest in found:
        if not manifest["metadata"]["name"].endswith("-extra"):
            assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "smtpgw"


# --- What belongs together ----------------------------------------------------------------------------------------


@every_values_file
def test_selectors_match_the_pods_and_not_the_test(path):
    found = rendered(path)
    pods = of_kind("Deployment", found)["spec"]["template"]["metadata"]["labels"].items()
    selectors = [m["spec"]["selector"] for m in found if m["kind"] == "Service"]
    selectors += [
        m["spec"]["selector"]["matchLabels"]
        for m in found
        if m["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor")
    ]
    selectors += [m["spec"]["podSelector"]["matchLabels"] for m in found if m["kind"] == "NetworkPolicy"]
    assert selectors
    tests = [m["metadata"]["labels"].items() for m in found if m["kind"] == "Pod"]
    for selector in selectors:
        assert selector.items() <= pods
        assert not any(selector.items() <= test for test in tests)


@every_values_file
def test_ports_are_named_as_the_container_has_them(path):
    found = rendered(path)
    ports = {p["name"] for p in container(found)["ports"]}
    used = {port["targetPort"] for m in found if m["kind"] == "Service" for port in m["spec"]["ports"]}
    for policy in (m for m in found if m["kind"] == "NetworkPolicy"):
        used |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    used |= {e["port"] for m in found if m["kind"] == "PodMonitor" for e in m["spec"]["podMetricsEndpoints"]}
    used |= {container(found)[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")}
    assert used <= ports
    # And every listener is reached by something.
    reached = {port["targetPort"] for m in found if m["kind"] == "Service" for port in m["spec"]["ports"]}
    assert reached | {"http"} == ports


def test_a_service_monitor_finds_its_service():
    found = with_changes(monitoring={"monitor": "ServiceMonitor"})
    wanted = of_kind("ServiceMonitor", found)["spec"]["selector"]["matchLabels"].items()
    fitting = [m for m in found if m["kind"] == "Service" and wanted <= m["metadata"]["labels"].items()]
    assert [m["metadata"]["name"] for m in fitting] == ["smtpgw-metrics"]
    assert of_kind("ServiceMonitor", found)["spec"]["endpoints"][0]["port"] == fitting[0]["spec"]["ports"][0]["name"]


@every_values_file
def test_volumes_are_there_and_the_certificate_is_seen_when_renewed(path):
    for spec in pod_specs(rendered(path)):
        mounts = [mount for c in spec["containers"] for mount in c["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == {volume["name"] for volume in spec["volumes"]}
        assert all("subPath" not in mount for mount in mounts)


@every_values_file
def test_the_certificate_s_secret_is_the_one_that_is_mounted(path):
    found = rendered(path)
    mounted = [v["secret"]["secretName"] for spec in pod_specs(found) for v in spec["volumes"] if "secret" in v]
    made = [m["spec"]["secretName"] for m in found if m["kind"] == "Certificate"]
    assert len(set(mounted)) == 1
    assert made in ([], [mounted[0]])


@every_values_file
def test_there_is_one_autoscaler_and_it_decides_alone(path):
    found = rendered(path)
    scalers = [m["kind"] for m in found if m["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert len(scalers) <= 1
    assert ("replicas" in of_kind("Deployment", found)["spec"]) is (not scalers)


def container(found) -> dict:
    return of_kind("Deployment", found)["spec"]["template"]["spec"]["containers"][0]


# --- Rights -------------------------------------------------------------------------------------------------------


@every_values_file
def test_pods_are_restricted(path):
    """Pod Security Standards, "restricted", and what the chart promises beyond."""
    for spec in pod_specs(rendered(path)):
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        assert spec["automountServiceAccountToken"] is False
        pod = spec["securityContext"]
        assert (pod["runAsNonRoot"], pod["runAsUser"], pod["runAsGroup"]) == (True, 10001, 10001)
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for c in spec["containers"]:
            assert c["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert all("hostPort" not in port for port in c.get("ports", []))
            assert all(port["containerPort"] >= 1024 for port in c.get("ports", []))
            assert {"cpu", "memory"} <= set(c["resources"]["requests"])
            assert "memory" in c["resources"]["limits"]
        for volume in spec["volumes"]:
            assert {"secret", "configMap", "emptyDir"} & set(volume)
            assert volume.get("emptyDir", {"medium": "Memory"})["medium"] == "Memory"  # no mail on a disk


# --- For people ---------------------------------------------------------------------------------------------------


@every_values_file
def test_notes_name_the_next_three_commands(path):
    values = from_file(path)
    notes = texts(values)["NOTES.txt"]
    assert all(f"\n{number}. " in notes for number in (1, 2, 3))
    assert "kubectl --namespace mail get service" in notes
    assert f"-connect {values['hostname']}:" in notes
    assert "\n\n\n" not in notes


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"service": {"externalTrafficPolicy": "Cluster"}}, "proxyProtocol.trustedCIDRs"),
        ({"config": {"SMTPGW_TRACING_URL": "http://collector:4318"}}, "networkPolicy.extraEgress is empty"),
        ({}, ""),
    ],
)
def test_notes_warn_of_what_will_not_work(changes, warned):
    notes = texts(merged(SETTING_VALUES, changes))["NOTES.txt"]
    assert ("WARNING" in notes) is bool(warned)
    assert warned in notes


@every_values_file
def test_nothing_but_white_space_was_left_by_empty_values(path):
    for name, text in texts(from_file(path)).items():
        assert "<no value>" not in text, name
        assert "%!" not in text, name  # what Go's printf leaves of a wrong verb


def test_the_dashboards_and_rules_are_as_in_their_files():
    found = with_changes(monitoring={"rules": {"enabled": True}, "dashboards": {"enabled": True}})
    shown = [m for m in found if m["metadata"].get("annotations", {}).get("grafana_folder")]
    boards = sorted(CHART.glob("dashboards/*.json"))
    assert len(shown) == len(boards)
    for manifest in shown:
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((name, text),) = manifest["data"].items()
        assert json.loads(text) == json.loads((CHART / "dashboards" / name).read_text("utf-8"))
    if RULES.exists():
        assert of_kind("PrometheusRule", found)["spec"] == yaml.safe_load(RULES.read_text("utf-8"))


def test_alerts_link_to_the_runbook_where_a_url_says_where_it_is():
    page = "https://git.example.com/mail/RUNBOOK.md?ref=main"
    spec = of_kind("PrometheusRule", with_changes(monitoring={"rules": {"enabled": True, "runbookURL": page}}))["spec"]
    alerts = [rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    for alert in alerts:
        assert alert["annotations"].pop("runbook_url") == f"{page}#{alert['alert'].lower()}"
        alert["annotations"]["runbook"] = f"RUNBOOK.md#{alert['alert'].lower()}"
    assert spec == yaml.safe_load(RULES.read_text("utf-8")), "nothing else differs"


# --- Scaling ------------------------------------------------------------------------------------------------------


def test_the_autoscaler_asks_for_the_metric_that_the_adapter_makes():
    adapter = yaml.safe_load((CHART / "files/prometheus-adapter.yaml").read_text("utf-8"))
    (rule,) = adapter["rules"]["custom"]
    metrics = of_kind("HorizontalPodAutoscaler", with_changes(autoscaling={"messagesPerSecond": 50}))["spec"]["metrics"]
    pods = next(m["pods"] for m in metrics if m["type"] == "Pods")
    assert pods["metric"]["name"] == rule["name"]["as"]
    assert pods["target"]["averageValue"] == "50"
    counter = rule["seriesQuery"].partition("{")[0]
    assert counter == MESSAGES
    assert MESSAGES in (CHART.parent.parent / "smtpgw/telemetry/metrics.py").read_text("utf-8")
    keda = {"engine": "keda", "messagesPerSecond": 50, "prometheusURL": "http://prometheus:9090"}
    triggers = of_kind("ScaledObject", with_changes(autoscaling=keda))["spec"]["triggers"]
    query = triggers[1]["metadata"]["query"]
    assert f"rate({MESSAGES}{{" in query
    # Two releases in a namespace must not count each other's messages.
    (pattern,) = re.findall(r'pod=~"(.+?)"', query)
    assert re.fullmatch(pattern, "smtpgw-6d5f8c7b9d-x2x4v")
    assert not re.fullmatch(pattern, "smtpgw-us-6d5f8c7b9d-x2x4v")
