"""What the guide tells an operator to do works."""

import re
from pathlib import Path

import yaml

from tests.chart.derived import CHART
from tests.chart.rendering import environment, manifests, of_kind, with_changes

README = (CHART / "README.md").read_text("utf-8")


def test_the_values_of_the_guide_render():
    (text,) = re.findall(r"^```yaml\n(.+?)^```", README, re.M | re.S)
    found = manifests(yaml.safe_load(text))
    assert environment(found)["SMTPGW_HOSTNAME"] == "smtp.cakemail.example"
    assert {"Certificate", "PodMonitor", "Probe", "HorizontalPodAutoscaler"} <= {m["kind"] for m in found}


def test_links_lead_somewhere():
    headings = {slug(heading) for heading in re.findall(r"^#+ (.+)$", README, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        path, _, fragment = target.partition("#")
        assert (CHART / path).exists() if path else fragment in headings, target


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_seconds_of_the_guide_are_the_chart_s():
    found = with_changes()
    spec = of_kind("Deployment", found)["spec"]
    pod = spec["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = environment(found)["SMTPGW_DRAIN_TIMEOUT_SECONDS"]
    assert f"stays ready for {sleep} s" in README
    assert f"answered, within {drain} s" in README
    assert f"kills after {pod['terminationGracePeriodSeconds']} s" in README
    assert f"must be ready for {spec['minReadySeconds']} s" in README


def test_the_nodes_of_the_guide_have_room_for_the_pod_that_an_upgrade_adds():
    (nodes,) = re.findall(r"three nodes of (\d+) vCPU and (\d+) GB", README)
    spec = of_kind("Deployment", with_changes())["spec"]
    resources = spec["template"]["spec"]["containers"][0]["resources"]
    surge = spec["strategy"]["rollingUpdate"]["maxSurge"]
    # What a node keeps to itself and the pods of its network take, by OVH's documents: 1.6 GB, and half a vCPU in all.
    assert float(nodes[0]) - 0.5 >= (1 + surge) * int(resources["requests"]["cpu"])
    assert float(nodes[1]) - 1.6 >= (1 + surge) * int(resources["limits"]["memory"].removesuffix("Gi")) * 1.074


def test_names_of_objects_in_the_guide_are_the_chart_s():
    names = {(m["kind"], m["metadata"]["name"]) for m in with_changes()}
    assert {("Service", "smtpgw"), ("Service", "smtpgw-internal"), ("Deployment", "smtpgw")} <= names
    for path in re.findall(r"`(tests/\S+?)`", README):
        assert (Path(CHART.parent.parent) / path).exists()
