"""Every setting of the gateway is reached from the values, and what the chart renders is what the gateway takes."""

import dataclasses
import json
import re

import pytest
import yaml

from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.sandbox.certificate import write_pair
from tests.chart import derived
from tests.chart.rendering import VALUES, environment, from_file, manifests, of_kind, with_changes

SETTINGS = {field.metadata["name"]: field for field in dataclasses.fields(Settings)}
DEFAULTS = {name: field.metadata["default"] for name, field in SETTINGS.items()}
SECRET = {name for name, field in SETTINGS.items() if field.metadata["secret"]}


def test_the_schema_and_the_readme_are_as_generated():
    """`python -m tests.chart.derived` writes them."""
    assert (derived.CHART / "values.schema.json").read_text("utf-8") == derived.schema()
    assert (derived.CHART / "README.md").read_text("utf-8") == derived.readme()


def test_every_setting_has_one_place_in_the_values():
    config = set(json.loads(derived.schema())["$defs"]["settings"]["properties"])
    assert config | derived.COMPUTED | SECRET == set(SETTINGS)
    assert len(config) + len(derived.COMPUTED) + len(SECRET) == len(SETTINGS)


def test_what_is_computed_is_rendered():
    full = next(path for path in VALUES if path.name == "full-values.yaml")
    assert set(environment(manifests(from_file(full)))) >= derived.COMPUTED


def test_every_value_has_a_comment_and_there_are_few_of_them():
    text = (derived.CHART / "values.yaml").read_text("utf-8")
    rows = list(derived.rows(yaml.compose(text), text.splitlines()))
    assert [name for name, _, comment in rows if not comment] == []
    assert len(text.splitlines()) < 150


def test_every_value_is_used_and_what_is_used_is_a_value():
    text = (derived.CHART / "values.yaml").read_text("utf-8")
    names = {name for name, _, _ in derived.rows(yaml.compose(text), text.splitlines())}
    templates = "".join(path.read_text("utf-8") for path in derived.CHART.glob("templates/**/*") if path.is_file())
    used = set(re.findall(r"\.Values\.([A-Za-z][A-Za-z.]*[A-Za-z])", templates))
    free = {"config", "resources"}  # maps of which a template asks for one key, or for all of them
    assert {name for name in names if name not in used and name.partition(".")[0] not in free} == set()
    assert {name for name in used if name not in names and name.partition(".")[0] not in free} == set()


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)
def test_the_gateway_takes_the_environment_that_is_rendered(path, tmp_path):
    found = manifests(from_file(path))
    environ = environment(found)
    environ["SMTPGW_TLS_CERT"], environ["SMTPGW_TLS_KEY"] = map(str, write_pair(tmp_path))
    if "SMTPGW_MAPPINGS_FILE" in environ:
        mappings = tmp_path / "mappings.yaml"
        mappings.write_text(of_kind("ConfigMap", found, f"{name_of(found)}-mappings")["data"]["mappings.yaml"])
        assert ProviderMap.load(str(mappings)).account(12345).templates["sendgrid"]
        environ["SMTPGW_MAPPINGS_FILE"] = str(mappings)
    secrets = {"SMTPGW_LOG_HASH_KEY": "0123456789abcdef"}  # of secrets.existingSecret
    settings = Settings.from_environ({**environ, **secrets})
    ports = {p["name"]: p["containerPort"] for p in container(found)["ports"]}
    assert ports == {name: bind.port for name, bind in settings.binds.items()}


def name_of(found) -> str:
    return of_kind("Deployment", found)["metadata"]["name"]


def container(found) -> dict:
    return of_kind("Deployment", found)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("value", "text"), [(False, "off"), (True, "on"), (26214400.0, "26214400"), (0.05, "0.05"), ("on", "on")]
)
def test_numbers_and_switches_are_written_as_the_gateway_reads_them(value, text):
    assert environment(with_changes(config={"SMTPGW_NOTICES": value}))["SMTPGW_NOTICES"] == text


def test_the_defaults_that_templates_compute_with_are_the_gateway_s():
    helpers = (derived.CHART / "templates/_helpers.tpl").read_text("utf-8")
    checks = (derived.CHART / "templates/_validate.tpl").read_text("utf-8")
    for name in ("SMTPGW_IDLE_TIMEOUT_SECONDS", "SMTPGW_DATA_TIMEOUT_SECONDS"):
        assert f".Values.config.{name} | default {DEFAULTS[name]} " in helpers
    for name in ("SMTPGW_SUBMIT_TIMEOUT_SECONDS", "SMTPGW_MAX_MESSAGE_BYTES", "SMTPGW_MAX_BYTES_IN_FLIGHT"):
        assert f".Values.config.{name} | default {DEFAULTS[name]} " in checks


def test_secret_settings_come_from_the_operators_secret():
    sources = container(with_changes(secrets={"existingSecret": "mine"}))["envFrom"]
    assert {"secretRef": {"name": "mine"}} in sources
    assert all("secretRef" not in source for source in container(with_changes())["envFrom"])


def test_a_change_of_settings_starts_new_pods_and_one_of_the_certificate_does_not():
    def annotations(**changes):
        return of_kind("Deployment", with_changes(**changes))["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(tls={"existingSecret": "another"})
    assert annotations() != annotations(config={"SMTPGW_MAX_RECIPIENTS": 50})
    assert annotations() != annotations(mappings={"default": {"tracking": {"opens": False}}})
