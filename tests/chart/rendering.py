"""The chart's manifests, rendered by Helm's own engine."""

from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

from tests.chart.derived import CHART

VALUES = [*sorted(CHART.glob("ci/*-values.yaml")), *sorted(CHART.glob("values-*.yaml"))]
SETTING_VALUES = {  # the least that makes a chart; what tests change is on top of it
    "hostname": "smtp.example.com",
    "image": {"repository": "registry.example.com/smtpgw"},
    "proxyProtocol": {"trustedCIDRs": ["10.0.0.0/24"]},
    "tls": {"existingSecret": "smtp-tls"},
}
Manifest = dict[str, Any]


def from_file(path: Path) -> dict[str, Any]:
    """Values as Helm reads them: numbers are floats, `off` is false."""
    return helm.values_from_yaml(path.read_text("utf-8"))


def merged(base: dict[str, Any], on_top: dict[str, Any]) -> dict[str, Any]:
    """Values as Helm puts several files of them together."""
    both = dict(base)
    for key, value in on_top.items():
        nested = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if nested else value
    return both


def texts(values: dict[str, Any]) -> dict[str, str]:
    """What each template makes of these values.

    Raises:
        helm.HelmValuesError: when the schema refuses them.
        helm.HelmRenderError: when a template does.
    """
    with helm.Chart.load(str(CHART)) as chart:
        rendered = chart.render(values=values, name="smtpgw", namespace="mail", is_upgrade=False)
    return {path.removeprefix("smtpgw/templates/"): text for path, text in rendered.items()}


def manifests(values: dict[str, Any]) -> list[Manifest]:
    """All that Helm would hand to Kubernetes."""
    everything = [text for path, text in texts(values).items() if path != "NOTES.txt"]
    # libyaml's loader: the one in Python takes ten times as long as Helm's engine.
    return [manifest for text in everything for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def with_changes(**changes: Any) -> list[Manifest]:
    return manifests(merged(SETTING_VALUES, changes))


def of_kind(kind: str, found: list[Manifest], name: str = "") -> Manifest:
    """The one manifest of this kind, and of this name where there are several."""
    fitting = [m for m in found if m["kind"] == kind and name in ("", m["metadata"]["name"])]
    assert len(fitting) == 1, [(m["kind"], m["metadata"]["name"]) for m in found]
    return fitting[0]


def pod_specs(found: list[Manifest]) -> list[dict[str, Any]]:
    """The specs of all pods: the Deployment's, and that of `helm test`."""
    specs = [m["spec"]["template"]["spec"] for m in found if m["kind"] == "Deployment"]
    return specs + [m["spec"] for m in found if m["kind"] == "Pod"]


def environment(found: list[Manifest]) -> dict[str, str]:
    """What the chart's own ConfigMap puts into the gateway's environment."""
    spec = of_kind("Deployment", found)["spec"]["template"]["spec"]["containers"][0]
    source = next(entry["configMapRef"]["name"] for entry in spec["envFrom"] if "configMapRef" in entry)
    return dict(of_kind("ConfigMap", found, source)["data"])
