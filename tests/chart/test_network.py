"""Who reaches the pods, and by what: the network policy, the load balancer, and the names of two regions."""

from smtpgw.submission import ledger
from tests.chart.derived import CHART
from tests.chart.rendering import environment, from_file, manifests, of_kind, with_changes


def test_the_policy_lets_mail_in_from_anywhere_and_metrics_from_monitoring_alone():
    policy = of_kind("NetworkPolicy", with_changes())["spec"]
    by_port = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert by_port["smtp"] == []  # no `from` is everybody: pods see the load balancer's address
    assert by_port["internal"] == [{"podSelector": {}}]
    assert by_port["http"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    dns, https = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert https["ports"] == [{"protocol": "TCP", "port": 443}]
    assert https["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32"]


def test_where_no_peer_is_named_nobody_is_let_in():
    """An empty list of peers is everybody, to Kubernetes."""
    policy = of_kind("NetworkPolicy", with_changes(networkPolicy={"internalFrom": [], "metricsFrom": []}))["spec"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"protocol": "TCP", "port": "smtp"}]]
    assert policy["policyTypes"] == ["Ingress", "Egress"]


# --- The load balancer --------------------------------------------------------------------------------------------


def balancer(**changes) -> dict:
    return of_kind("Service", with_changes(**changes), "smtpgw")


def test_octavia_waits_longer_than_the_gateway():
    annotations = balancer()["metadata"]["annotations"]
    prefix = "loadbalancer.openstack.org"
    assert annotations[f"{prefix}/timeout-client-data"] == annotations[f"{prefix}/timeout-member-data"] == "360000"
    assert annotations[f"{prefix}/proxy-protocol"] == "v2"
    assert annotations[f"{prefix}/keep-floatingip"] == "true"
    assert annotations["loadbalancer.ovhcloud.com/class"] == "octavia"
    longer = balancer(config={"SMTPGW_IDLE_TIMEOUT_SECONDS": 900})["metadata"]["annotations"]
    assert longer[f"{prefix}/timeout-client-data"] == "960000"
    slower = balancer(config={"SMTPGW_DATA_TIMEOUT_SECONDS": "1200.5"})["metadata"]["annotations"]
    assert slower[f"{prefix}/timeout-member-data"] == "1260500"


def test_the_operator_s_annotations_win_and_others_need_no_ovh():
    mine = {"loadbalancer.openstack.org/lb-method": "SOURCE_IP", "a/b": "c"}
    annotations = balancer(service={"annotations": mine})["metadata"]["annotations"]
    assert mine.items() <= annotations.items()
    assert balancer(service={"ovh": {"enabled": False}})["metadata"]["annotations"] == {}
    assert balancer(service={"type": "ClusterIP"})["metadata"]["annotations"] == {}
    off = balancer(proxyProtocol={"enabled": False})["metadata"]["annotations"]
    assert "loadbalancer.openstack.org/proxy-protocol" not in off


def test_a_client_stays_on_a_pod_where_kubernetes_sees_its_address():
    """Behind the load balancer Kubernetes sees only that, and what keeps a client on a node is the load balancer's."""
    assert balancer()["spec"]["sessionAffinity"] == "None"
    assert "sessionAffinityConfig" not in balancer()["spec"]
    internal = of_kind("Service", with_changes(), "smtpgw-internal")["spec"]
    assert internal["sessionAffinity"] == "ClientIP"
    assert internal["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    assert internal["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] > ledger.KEPT_SECONDS
    evenly = with_changes(internalService={"sessionAffinity": "None"})
    assert of_kind("Service", evenly, "smtpgw-internal")["spec"]["sessionAffinity"] == "None"
    direct = {"type": "NodePort", "sessionAffinity": "ClientIP"}
    assert balancer(service=direct, proxyProtocol={"enabled": False})["spec"]["sessionAffinity"] == "ClientIP"
    by_source = balancer(service={"ovh": {"lbMethod": "SOURCE_IP"}})["metadata"]["annotations"]
    assert by_source["loadbalancer.openstack.org/lb-method"] == "SOURCE_IP"


def test_annotations_are_strings():
    for value in balancer(service={"ovh": {"flavor": "small"}})["metadata"]["annotations"].values():
        assert isinstance(value, str)


# --- Regions ---------------------------------------------------------------------------------------------------------


def test_two_regions_have_nothing_in_common_by_which_one_could_serve_for_the_other():
    ca, us = (manifests(from_file(CHART / f"values-{region}.yaml")) for region in ("ca", "us"))
    names = [set(of_kind("Certificate", found)["spec"]["dnsNames"]) for found in (ca, us)]
    assert names == [{"smtp-ca.cakemail.example"}, {"smtp-us.cakemail.example"}]
    labels = [of_kind("Deployment", found)["spec"]["template"]["metadata"]["labels"] for found in (ca, us)]
    assert [(label["region"], label["country"]) for label in labels] == [("ca", "CA"), ("us", "US")]
    registries = [image(found).partition("/")[0] for found in (ca, us)]
    assert len(set(registries)) == 2
    for found in (ca, us):
        probe = of_kind("Probe", found)["spec"]["targets"]["staticConfig"]
        assert probe["static"] == [f"{environment(found)['SMTPGW_HOSTNAME']}:587"]


def image(found) -> str:
    return of_kind("Deployment", found)["spec"]["template"]["spec"]["containers"][0]["image"]
