"""Every query of the dashboards and the rules names metrics that exist, with labels and values that they have."""

import re

import pytest
from prometheus_client import Histogram
from prometheus_client.utils import floatToGoString

from smtpgw.telemetry import metrics
from tests.observability.dashboards import (
    board_queries,
    boards,
    filled,
    grouped,
    panels,
    rule_queries,
    rules,
    selectors,
)

OF_TARGETS = {"namespace", "region", "country", "pod", "job", "instance", "container"}
# Of others, as their documentation has them; those of processes and probes are scraped for real in test_dashboard.py.
FOREIGN = {
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "python_gc_collections_total": {"generation"},
    "probe_success": set(),
    "probe_duration_seconds": set(),
    "probe_ssl_earliest_cert_expiry": set(),
    "certmanager_certificate_expiration_timestamp_seconds": {"name"},
    "kube_horizontalpodautoscaler_status_current_replicas": {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_spec_max_replicas": {"horizontalpodautoscaler"},
    "kube_pod_container_status_restarts_total": set(),
    "octavia_listener_current_sessions": {"listener"},
    "octavia_listener_limit_sessions": {"listener"},
}
CATALOG = {described.name: described for described in metrics.CATALOG}
BOUNDS = {
    metric._name: frozenset(map(floatToGoString, metric._upper_bounds))
    for metric in vars(metrics).values()
    if isinstance(metric, Histogram)
}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
MADE = {"class"}  # by label_replace


def labels_of(name: str) -> dict[str, frozenset[str]] | None:
    """The labels of a series, each with its values where they are a fixed set; None where there is no such series."""
    for part in ("_bucket", "_count", "_sum", ""):
        described = CATALOG.get(name.removesuffix(part)) if name.endswith(part) else None
        if described and (not part) == (described.type != "histogram"):
            bounds = {"le": BOUNDS.get(described.name, frozenset())} if part == "_bucket" else {}
            return {**described.labels, **bounds}
    if name in FOREIGN or name in RECORDED:
        return dict.fromkeys(FOREIGN.get(name, ()), frozenset())
    return None


@pytest.mark.parametrize("query", [*board_queries(), *rule_queries()], ids=lambda query: query.where)
def test_a_query_names_what_exists(query):
    known = set(OF_TARGETS | MADE)
    for selector in selectors(query.expression):
        labels = labels_of(selector.name)
        assert labels is not None, selector.name
        known |= labels.keys()
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels or matcher.name in OF_TARGETS, (selector.name, matcher.name)
            for alternative in matcher.value.split("|") if labels.get(matcher.name) else []:
                values = labels[matcher.name]
                assert any(re.fullmatch(alternative, value) for value in values), (selector.name, alternative)
    assert grouped(query.expression) <= known


def test_every_metric_is_on_the_dashboard_or_known_to_be_for_other_uses():
    shown = {selector.name for query in board_queries() for selector in selectors(query.expression)}
    bases = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    assert CATALOG.keys() - bases == {
        "smtpgw_http_request_exceptions_total",  # of the probes' port alone
    }


def test_legends_name_labels_that_the_query_keeps():
    for panel in panels("smtpgw"):
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            found = list(selectors(filled(target["expr"])))
            kept = grouped(target["expr"]) | OF_TARGETS
            for selector in found:
                kept |= (labels_of(selector.name) or {}).keys() if selector.name in FOREIGN else set()
            assert named <= kept | MADE, (panel["title"], named - kept)


def test_series_that_are_not_made_one_are_named_apart():
    """Or those of two regions, say, would have one name."""
    for panel in panels("smtpgw"):
        for target in panel["targets"]:
            is_one = re.match(r"[(\d -]*(sum|min|max|topk|histogram_quantile)\b", target["expr"])
            assert is_one or "{{" in target["legendFormat"], (panel["title"], target["refId"])


def test_numbers_say_so_when_there_is_no_traffic():
    """Of no messages, a share or a percentile is not a number."""
    for panel in panels("smtpgw"):
        if panel["type"] == "stat":
            (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
            assert (mapping["options"]["match"], mapping["options"]["result"]["text"]) == ("nan", "no traffic")


def test_panels_have_titles_units_and_places_of_their_own():
    for name, board in boards().items():
        places = [
            (x, y)
            for panel in board["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(places) == len(set(places)), name
        assert max(x for x, _ in places) < 24
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
        assert len(set(titles)) == len(titles)


def test_variables_are_those_that_queries_use():
    for name, board in boards().items():
        text = str(board["panels"])
        variables = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$(\w+)", text)) - {"__rate_interval", "__auto", "1"}
        assert used == variables, name
