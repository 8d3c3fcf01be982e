"""What values.schema.json and the templates refuse, and that they say where the mistake is."""

import helm_python as helm
import pytest
import yaml

from tests.chart.derived import CHART, rows
from tests.chart.rendering import SETTING_VALUES, merged, with_changes

REFUSED = [
    ({"hostname": ""}, "/hostname"),
    ({"hostname": "smtp example"}, "/hostname"),
    ({"apiURL": "http://api.cakemail.dev"}, "/apiURL"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"replicas": 3}, "replicas"),
    ({"service": {"prot": 587}}, "prot"),
    ({"service": {"port": "587"}}, "/service/port"),
    ({"service": {"smtpsPort": 587}}, "service.smtpsPort: must be another"),
    ({"service": {"ovh": {"flavor": "small", "flavorId": "1d7c9a2e-0b1f-4c6e-9a3d-5e8f7b6c4a21"}}}, "/ovh/flavorId"),
    ({"service": {"ovh": {"flavor": "tiny"}}}, "/ovh/flavor"),
    # Affinity by an address that is the load balancer's would send every client to one pod.
    ({"service": {"sessionAffinity": "ClientIP"}}, "service.sessionAffinity: behind a load balancer"),
    (
        {"service": {"sessionAffinity": "ClientIP"}, "proxyProtocol": {"enabled": False}},
        "service.sessionAffinity: behind a load balancer",
    ),
    ({"service": {"sessionAffinity": "Client"}}, "/service/sessionAffinity"),
    ({"internalService": {"sessionAffinity": "Cookie"}}, "/internalService/sessionAffinity"),
    # The PROXY protocol: whoever may send its header may be anybody.
    ({"proxyProtocol": {"trustedCIDRs": []}}, "/proxyProtocol/trustedCIDRs"),
    ({"proxyProtocol": {"trustedCIDRs": ["0.0.0.0/0"]}}, "/proxyProtocol/trustedCIDRs/0"),
    ({"proxyProtocol": {"trustedCIDRs": ["10.0.0.0/24", "::/0"]}}, "/proxyProtocol/trustedCIDRs/1"),
    ({"proxyProtocol": {"trustedCIDRs": ["0.0.0.0/1"]}}, "/proxyProtocol/trustedCIDRs/0"),
    ({"proxyProtocol": {"trustedCIDRs": ["10.0.0.1"]}}, "/proxyProtocol/trustedCIDRs/0"),
    # A certificate from somewhere, and from one place.
    ({"tls": {"existingSecret": ""}}, "/tls/existingSecret"),
    ({"tls": {"certManager": {"enabled": True, "issuerRef": {"name": "le"}}}}, "/tls/existingSecret"),
    ({"tls": {"existingSecret": "", "certManager": {"enabled": True}}}, "/tls/certManager/issuerRef/name"),
    # One autoscaler.
    ({"autoscaling": {"engine": "both"}}, "/autoscaling/engine"),
    ({"autoscaling": {"enabled": True}}, "enabled"),
    ({"keda": {"enabled": True}}, "keda"),
    ({"autoscaling": {"engine": "keda", "messagesPerSecond": 50}}, "/autoscaling/prometheusURL"),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}, "autoscaling.minReplicas"),
    # Settings: unknown ones, those that the chart computes, and secrets in a place that is none.
    ({"config": {"SMTPGW_MAX_RECIPIENT": 100}}, "SMTPGW_MAX_RECIPIENT"),
    ({"config": {"SMTPGW_DRAIN_TIMEOUT_SECONDS": 200}}, "SMTPGW_DRAIN_TIMEOUT_SECONDS"),
    ({"config": {"SMTPGW_PROXY_PROTOCOL": "off"}}, "SMTPGW_PROXY_PROTOCOL"),
    ({"config": {"SMTPGW_LOG_HASH_KEY": "0123456789abcdef"}}, "SMTPGW_LOG_HASH_KEY"),
    ({"config": {"SMTPGW_TRUSTED_CIDRS": ["10.0.0.0/8"]}}, "/config/SMTPGW_TRUSTED_CIDRS"),
    ({"config": {"SMTPGW_MAX_MESSAGE_BYTES": 104857600, "SMTPGW_MAX_BYTES_IN_FLIGHT": 1048576}}, "MAX_BYTES_IN_FLIGHT"),
    # A pod that is killed before it has finished.
    ({"shutdown": {"gracePeriodSeconds": 149}}, "must be at least preStopSleepSeconds"),
    ({"shutdown": {"drainTimeoutSeconds": 25}}, "must be more than SMTPGW_SUBMIT_TIMEOUT_SECONDS"),
    ({"config": {"SMTPGW_SUBMIT_TIMEOUT_SECONDS": 120}}, "must be more than SMTPGW_SUBMIT_TIMEOUT_SECONDS"),
    ({"shutdown": {"drainTimeoutSeconds": 551}}, "601 s of grace"),
    ({"shutdown": {"preStopSleepSeconds": 0}}, "/shutdown/preStopSleepSeconds"),
    # A pod that has gone while the load balancer still sends to it.
    ({"shutdown": {"preStopSleepSeconds": 18}}, "18 must be more than the 18 s"),
    ({"service": {"annotations": {"loadbalancer.openstack.org/health-monitor-delay": "30"}}}, "more than the 93 s"),
    # An autoscaler that reckons in a share of nothing.
    ({"resources": {"requests": {"cpu": None}}}, "resources.requests.cpu"),
    ({"resources": {"requests": None}, "autoscaling": {"engine": "keda"}}, "resources.requests.cpu"),
    ({"monitoring": {"monitor": "Both"}}, "/monitoring/monitor"),
    ({"monitoring": {"rules": {"runbookURL": "RUNBOOK.md"}}}, "/monitoring/rules/runbookURL"),
    ({"monitoring": {"rules": {"runbookURL": "https://git.example.com/RUNBOOK.md#alerts"}}}, "/rules/runbookURL"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[f"{changes}"[:70] for changes, _ in REFUSED])
def test_dangerous_and_unknown_values_are_refused(changes, said):
    with pytest.raises(helm.HelmError) as refusal:
        with_changes(**changes)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"proxyProtocol": {"enabled": False, "trustedCIDRs": []}},
        {"proxyProtocol": {"trustedCIDRs": ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/64", "::1/128"]}},
        {"tls": {"existingSecret": "", "certManager": {"enabled": True, "issuerRef": {"name": "le"}}}},
        {"shutdown": {"gracePeriodSeconds": 150}},
        {"autoscaling": {"engine": "keda"}},  # by CPU alone
        {"shutdown": {"preStopSleepSeconds": 19}},
        {"shutdown": {"preStopSleepSeconds": 1}, "service": {"ovh": {"enabled": False}}},
        {"resources": {"requests": None}, "autoscaling": {"engine": "none"}},
        {"shutdown": {"drainTimeoutSeconds": 550}},
        {"autoscaling": {"minReplicas": 4, "maxReplicas": 4}},
        {"global": {"anything": "of a parent chart"}},
    ],
    ids=str,
)
def test_what_is_at_the_edge_is_taken(changes):
    assert with_changes(**changes)


def test_the_defaults_alone_are_refused_for_what_only_the_operator_knows():
    with pytest.raises(helm.HelmError) as refusal, helm.Chart.load(str(CHART)) as chart:
        chart.render(values={}, name="smtpgw", namespace="mail", is_upgrade=False)
    for place in ("/hostname", "/image/repository", "/proxyProtocol/trustedCIDRs", "/tls/existingSecret"):
        assert place in str(refusal.value)


def test_no_value_can_be_taken_away():
    """Helm takes `null` for "as if the chart had no such value": then nothing would be checked of it, either."""
    text = (CHART / "values.yaml").read_text("utf-8")
    may_be_null = set()
    for name, default, _ in rows(yaml.compose(text), text.splitlines()):
        if name.startswith("resources."):
            continue  # Kubernetes's own, and free
        changes: dict = {name.rpartition(".")[2]: None}
        for key in reversed(name.split(".")[:-1]):
            changes = {key: changes}
        try:
            with_changes(**changes)
        except helm.HelmValuesError:
            continue
        assert default == "null", name
        may_be_null.add(name)
    assert may_be_null == {"autoscaling.messagesPerSecond", "service.smtpsPort", "shutdown.gracePeriodSeconds"}


def test_every_map_of_the_schema_is_closed():
    """A key with a typing mistake is refused wherever it stands."""
    with helm.Chart.load(str(CHART)) as chart:
        values = chart.values
    places = list(maps(values))
    assert ("service", "ovh") in places
    for place in places:
        changes = {"typo": 1}
        for key in reversed(place):
            changes = {key: changes}
        with pytest.raises(helm.HelmError, match="typo"):
            with_changes(**changes)


FREE = {"resources", "nodeSelector", "affinity", "mappings", "annotations", "labels", "podLabels", "podAnnotations"}


def maps(values: dict, place: tuple[str, ...] = ()):
    yield place
    for key, value in values.items():
        if isinstance(value, dict) and key not in FREE:
            yield from maps(value, (*place, key))


def test_changes_are_merged_as_helm_does():
    assert merged(SETTING_VALUES, {"image": {"tag": "1"}})["image"] == {
        "repository": "registry.example.com/smtpgw",
        "tag": "1",
    }
