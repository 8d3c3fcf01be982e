"""What a release is made of: the workflows, each with no more rights than it needs, and its notes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from smtpgw import __version__
from tests.container import ROOT

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
