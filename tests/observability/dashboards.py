"""The chart's dashboards and rules, read: which queries there are, and what they name."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import yaml

from tests.observability.prometheus import CHART, RULES

WINDOW = "15s"  # for $__rate_interval, where Prometheus scrapes once a second
# Hours and minutes of the rules and panels, as the seconds of an incident that is staged.
SCALE = {"5m": "10s", "10m": "10s", "15m": "15s", "30m": "15s", "1h": "18s", "6h": "20s", "3d": "25s"}
FOR = "2s"


@dataclass(frozen=True)
class Query:
    """One query, and where it stands."""

    where: str
    expression: str  # its variables replaced, as Grafana does with "All" chosen


def boards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((CHART / "dashboards").glob("*.json"))}


def panels(board: str) -> list[dict[str, Any]]:
    return [panel for panel in boards()[board]["panels"] if panel["type"] != "row"]


def filled(expression: str) -> str:
    """A query as Grafana sends it, with everything chosen."""
    return re.sub(r"\$(namespace|region)\b", ".*", expression).replace("$__rate_interval", WINDOW)


def board_queries() -> list[Query]:
    """All queries of the dashboard that are for Prometheus."""
    return [
        Query(f"{panel['title']} {target['refId']}", filled(target["expr"]))
        for panel in panels("smtpgw")
        for target in panel["targets"]
    ]


def first_row() -> list[dict[str, Any]]:
    """The panels of *What is it?*: those with a threshold, before the first of the rows with numbers."""
    return [panel for panel in panels("smtpgw") if panel["type"] == "stat" and panel["gridPos"]["y"] == 1]


def colour(panel: dict[str, Any], value: float) -> str:
    """The colour that Grafana gives to a value."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colours: list[str] = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return colours[-1]


def scaled(text: str) -> str:
    """Rules or a query, for an incident of seconds."""
    text = re.sub(r"\[(\w+)\]", lambda found: f"[{SCALE.get(found[1], found[1])}]", text)
    return re.sub(r"(?m)^( +for: ).+$", rf"\g<1>{FOR}", text)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def rule_queries() -> list[Query]:
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """Every selector of series in an expression."""
    waiting = [promql_parser.parse(expression)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        for name in ("expr", "lhs", "rhs", "param", "args", "vector_selector"):
            below = getattr(node, name, None) or []
            waiting += below if isinstance(below, list) else [below]


def grouped(expression: str) -> set[str]:
    """The labels that an expression keeps or matches by name."""
    lists = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}
