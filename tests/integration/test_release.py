"""What a release is made of: the workflows, each with no more rights than it needs, and its notes."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from smtpgw import __version__
from tests.chart.rendering import VALUES
from tests.chart.test_manifests import CRDS, VERSIONS
from tests.support.container import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))


@each_workflow
def test_actions_are_pinned_and_checkouts_keep_no_token(path):
    text = path.read_text("utf-8")
    for used in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml( #.+)?", used)
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@each_workflow
def test_rights_are_given_to_a_job_and_no_job_has_more_than_it_needs(path):
    workflow = loaded(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        rights = job["permissions"]
        assert rights["contents"] == ("write" if (path.name, name) == ("release.yml", "release") else "read")
        assert set(rights) <= {"contents", "id-token"}
        assert "uses" in job or job["timeout-minutes"] <= 30


@each_workflow
def test_no_script_is_made_of_what_others_may_write(path):
    """An expression inside a script is code of whoever chose its value: all come in by the environment."""
    for job in loaded(path)["jobs"].values():
        assert all("${{" not in step.get("run", "") for step in job.get("steps", []))


def test_one_file_s_pins_are_every_file_s_pins():
    used = {used for path in WORKFLOWS for used in re.findall(r"uses: ([\w-]+/[\w-]+@.+)", path.read_text("utf-8"))}
    assert len({use.partition("@")[0] for use in used}) == len(used)


def test_every_file_of_pins_is_kept_up_to_date():
    updates = {update["package-ecosystem"]: update for update in loaded(ROOT / ".github/dependabot.yml")["updates"]}
    for ecosystem, name in (("pip", "**/requirements*.txt"), ("npm", "**/package-lock.json")):
        files = {path.relative_to(ROOT) for path in ROOT.glob(name) if not ignored(path)}
        folders = {f"/{file.parent}".rstrip(".") for file in files}
        assert folders == set(updates[ecosystem]["directories"])


def ignored(path: Path) -> bool:
    return bool({".venv", "build", "node_modules"} & set(path.relative_to(ROOT).parts))


# --- The chart, by Helm and kubeconform ---------------------------------------------------------------------------

# Stands for a program that is not to be had without the network: it writes down how it was called.
PROGRAM = """#!/bin/bash
name=${0##*/}
printf '%s\\n' "$(printf '%q ' "$name" "$@")" >>"$CALLS" # at once: others in the pipe write, too
if [ "$name" = go ]; then cp "$0" "$GOBIN/kubeconform"; fi
if [ "$name" = kubeconform ]; then cat >/dev/null; [[ " $* " != *" $REFUSED "* ]]; fi
"""


@pytest.fixture
def looked_at(tmp_path):
    """A function: runs .ci/chart in a copy of what it reads; its exit status, and the words of each call."""
    for name in (".ci", "helm", "tests/chart"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name in ("go", "helm"):
        (tmp_path / "bin" / name).write_text(PROGRAM)
        (tmp_path / "bin" / name).chmod(0o755)

    def run(refused: str) -> tuple[int, list[list[str]]]:
        calls = tmp_path / "calls"
        environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CALLS": str(calls), "REFUSED": refused}
        done = subprocess.run(["bash", tmp_path / ".ci/chart"], env=environ, stdout=subprocess.DEVNULL)
        return done.returncode, [shlex.split(line) for line in calls.read_text().splitlines()]

    return run


def given(option: str, calls: list[list[str]]) -> list[str]:
    return [words[words.index(option) + 1] for words in calls]


def test_kubeconform_sees_every_file_of_values_for_every_kubernetes(looked_at):
    status, calls = looked_at(refused="none")
    assert status == 0
    rendered = [words for words in calls if words[:2] == ["helm", "template"]]
    checked = [words for words in calls if words[0] == "kubeconform"]
    files = {str(path.relative_to(ROOT)) for path in VALUES}
    since = re.search(r">=1\.(\d+)", loaded(ROOT / "helm/smtpgw/Chart.yaml")["kubeVersion"])[1]
    versions = {f"{version}.0" for version in VERSIONS if int(version[2:]) >= int(since)}
    assert set(zip(given("--values", rendered), given("--kube-version", rendered), strict=True)) == {
        (file, version) for file in files for version in versions
    }
    assert sorted(given("-kubernetes-version", checked)) == sorted(given("--kube-version", rendered))
    assert set(given("-skip", checked)) == {",".join(CRDS)}
    assert all("-strict" in words and "-ignore-missing-schemas" not in words for words in checked)


def test_what_kubeconform_refuses_stops_the_pipeline(looked_at):
    status, calls = looked_at(refused="1.31.0")
    assert status == 1
    assert given("--kube-version", [words for words in calls if words[:2] == ["helm", "template"]])[-1] == "1.31.0"


def test_what_the_script_fetches_cannot_change():
    text = (ROOT / ".ci/chart").read_text("utf-8")
    assert re.search(r"^kubeconform=v\d+\.\d+\.\d+$", text, re.M)
    assert re.findall(r"https://\S+", text) == re.findall(r"https://\S+/[0-9a-f]{40}", text) != []


# --- Notes --------------------------------------------------------------------------------------------------------

CHANGELOG = """# Changelog

## [Unreleased]

## [1.3.0] - 2026-12-01

### Added

- Something new.

## [1.2.0] - 2026-11-01

- Something old.

## [1.1.0] - 2026-10-01
"""


@pytest.fixture
def project(tmp_path):
    """A project of version 1.3.0."""
    for name in (".ci", "smtpgw", "helm/smtpgw"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / ".ci/notes", tmp_path / ".ci/notes")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "smtpgw/__init__.py").write_text('"""A package."""\n\n__version__ = "1.3.0"\n')
    (tmp_path / "helm/smtpgw/Chart.yaml").write_text('appVersion: "1.3.0"\n')
    return tmp_path


def notes(project: Path, version: str) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", project / ".ci/notes", version], capture_output=True, text=True)


def test_notes_are_the_version_s_section(project):
    done = notes(project, "1.3.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "### Added\n\n- Something new."


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.4.0", "nothing on 1.4.0"), ("1.1.0", "nothing on 1.1.0"), ("1.3", "nothing"), ("1.2.0", "another version")],
)
def test_there_is_no_release_without_notes_or_of_another_version(project, version, said):
    done = notes(project, version)
    assert done.returncode == 1
    assert said in done.stderr


def test_chart_and_package_go_together(project):
    (project / "helm/smtpgw/Chart.yaml").write_text('appVersion: "1.2.9"\n')
    assert "Chart.yaml" in notes(project, "1.3.0").stderr
    chart = loaded(ROOT / "helm/smtpgw/Chart.yaml")
    assert chart["appVersion"] == __version__
