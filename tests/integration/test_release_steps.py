"""A release as GitHub would run it: each script of each job, with what one hands to the next, from the tag to its page.

Programs that are not here, or that would push, are stood in for by one that writes down how it was called.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from smtpgw import __version__
from tests.chart.rendering import SETTING_VALUES
from tests.support.container import ROOT

REGISTRY, PASSWORD = "harbor.example.com/mail", "robot-secret"
IMAGE, CHART = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
GITHUB = {
    "GITHUB_REF_NAME": f"v{__version__}",
    "GITHUB_REPOSITORY": "cakemail/smtpgw",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_SHA": "0123456789abcdef",
}
PROGRAM = """#!/bin/bash
call="${0##*/} $*"
printf '%s\\n' "$(printf '%q ' "${0##*/}" "$@")" >>"$CALLS"
case $call in
    "$FAILING"*) exit 1 ;;
    "docker buildx build "*) printf '{"containerimage.digest": "%s"}' "$IMAGE_DIGEST" >metadata.json ;;
    "jq "*) python3 -c 'import json; print(json.load(open("metadata.json"))["containerimage.digest"])' ;;
    "helm push "*) printf 'Pushed: it\\nDigest: %s\\n' "$CHART_DIGEST" >&2 ;;
    "helm package "*) cp -r helm/smtpgw "$CALLS-packaged" ;;
    "gh release create "*) cp notes.md "$CALLS-notes" ;;
esac
"""


class Runner:
    """Runs workflows in a folder. `calls` are the programs called so far, in words."""

    def __init__(self, folder: Path, failing: str = "nothing") -> None:
        self.folder, self.log = folder, folder / "calls"
        (folder / "bin").mkdir()
        for name in ("cosign", "docker", "gh", "helm", "jq"):
            (folder / "bin" / name).write_text(PROGRAM)
            (folder / "bin" / name).chmod(0o755)
        path = f"{folder}/bin:{os.environ['PATH']}"
        told = {"CALLS": str(self.log), "FAILING": failing, "IMAGE_DIGEST": IMAGE, "CHART_DIGEST": CHART}
        self.environ = {"PATH": path, **GITHUB, **told}

    @property
    def calls(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.log.read_text().splitlines()]

    def workflow(self, name: str, context: dict[str, Any]) -> dict[str, str]:
        """Run a workflow's jobs, each after those that it needs; its outputs."""
        described = yaml.safe_load((ROOT / ".github/workflows" / name).read_text("utf-8"))
        done: dict[str, Any] = {}
        for job_name, job in described["jobs"].items():
            needs = [job.get("needs", [])] if isinstance(job.get("needs"), str) else job.get("needs", [])
            seen = {**context, "needs": {needed: done[needed] for needed in needs}}
            run = self.called if "uses" in job else self.job
            done[job_name] = {"outputs": run(described, job, seen)}
        trigger = described[True].get("workflow_call") or {}  # YAML reads `on` as true
        return {key: value({**context, "jobs": done}, out["value"]) for key, out in trigger.get("outputs", {}).items()}

    def called(self, _: dict[str, Any], job: dict[str, Any], context: dict[str, Any]) -> dict[str, str]:
        """A job that is a workflow of its own, which is given what it declares and nothing else."""
        name = job["uses"].rpartition("/")[2]
        declared = yaml.safe_load((ROOT / job["uses"]).read_text("utf-8"))[True]["workflow_call"] or {}
        given = {kind: job.get(word, {}) for kind, word in (("inputs", "with"), ("secrets", "secrets"))}
        for kind in given:
            assert set(given[kind]) == set(declared.get(kind, {}))
        inside = {kind: {k: value(context, v) for k, v in pairs.items()} for kind, pairs in given.items()}
        return self.workflow(name, inside)

    def job(self, workflow: dict[str, Any], job: dict[str, Any], context: dict[str, Any]) -> dict[str, str]:
        """Run a job's scripts in a checkout of its own; its outputs."""
        checkout = Path(self.folder / f"checkout-{len(list(self.folder.glob('checkout-*')))}")
        check_out(checkout)
        context = {**context, "steps": {}}
        assert workflow["defaults"] == {"run": {"shell": "bash"}}
        for step in (step for step in job["steps"] if "run" in step):
            environ = {**self.environ, "GITHUB_OUTPUT": str(checkout / "output")}
            for source in (job, step):
                environ |= {key: value(context, text) for key, text in source.get("env", {}).items()}
            (checkout / "output").write_text("")
            # As GitHub does where a workflow says `shell: bash`.
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            subprocess.run(command, cwd=checkout, env=environ, check=True, stdin=subprocess.DEVNULL)
            lines = (checkout / "output").read_text().splitlines()
            context["steps"][step.get("id")] = {"outputs": dict(line.split("=", 1) for line in lines)}
        return {key: value(context, text) for key, text in job.get("outputs", {}).items()}


def value(context: dict[str, Any], text: str) -> str:
    """A text with its expressions replaced. Raises KeyError where one names what is not there."""

    def looked_up(found: re.Match[str]) -> str:
        place: Any = context
        for key in found[1].split("."):
            place = place[key]
        return str(place)

    return re.sub(r"\$\{\{ ([\w.]+) \}\}", looked_up, text)


def check_out(folder: Path) -> None:
    """What a release needs of the project, with a section of this version in its changelog."""
    shutil.copytree(ROOT / "helm", folder / "helm")
    for name in (".ci/notes", "smtpgw/__init__.py", "CHANGELOG.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    text = re.sub(r"^## \[.+\].*\n", "", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M)
    (folder / "CHANGELOG.md").write_text(f"{text}\n## [{__version__}] - 2026-12-01\n\n- What is new in it.\n")
    for name in ("run", "image", "chart"):
        (folder / ".ci" / name).write_text(f"printf '%s\\n' .ci/{name} >>\"$CALLS\"\n")


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Runner]:
    """A function: runs a release to its end, or until a step fails."""

    def run(failing: str = "nothing") -> Runner:
        runner = Runner(tmp_path, failing)
        secrets = {"REGISTRY_USERNAME": "robot$ci", "REGISTRY_PASSWORD": PASSWORD}
        context = {"github": {"token": "token"}, "vars": {"REGISTRY": REGISTRY}, "secrets": secrets}
        try:
            runner.workflow("release.yml", context)
        except subprocess.CalledProcessError:
            assert failing != "nothing"
        return runner

    return run


def test_image_and_chart_are_pushed_and_signed_under_one_version(release):
    calls = release().calls
    (build,) = [words for words in calls if words[:3] == ["docker", "buildx", "build"]]
    assert build[build.index("--tag") + 1] == f"{REGISTRY}/smtpgw:{__version__}"
    assert {"--push", "--sbom=true", "--provenance=mode=max"} <= set(build)
    assert ["helm", "push", f"smtpgw-{__version__}.tgz", f"oci://{REGISTRY}/charts"] in calls
    signed = [words[-1] for words in calls if words[0] == "cosign"]
    assert signed == [f"{REGISTRY}/smtpgw@{IMAGE}", f"{REGISTRY}/charts/smtpgw@{CHART}"]
    logins = [words[-1] for words in calls if "login" in words]
    assert set(logins) == {"harbor.example.com"}
    assert PASSWORD not in str(calls)


def test_the_chart_that_is_packaged_names_the_image_that_was_pushed(release):
    packaged = f"{release().log}-packaged"
    values = {key: told for key, told in SETTING_VALUES.items() if key != "image"}
    with helm.Chart.load(packaged) as chart:
        text = chart.render(values=values, name="smtpgw", namespace="mail", is_upgrade=False)
    deployment = yaml.safe_load(text["smtpgw/templates/deployment.yaml"])
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"{REGISTRY}/smtpgw@{IMAGE}"


def test_the_release_s_page_has_the_changelog_s_section_and_both_digests(release):
    runner = release()
    assert runner.calls[-1][:4] == ["gh", "release", "create", f"v{__version__}"]
    notes = Path(f"{runner.log}-notes").read_text()
    assert notes.strip() == f"- What is new in it.\n\nThe image: {IMAGE}\nThe chart: {CHART}"


def test_nothing_is_pushed_before_everything_is_tried(release):
    calls = release().calls
    pushed = next(n for n, words in enumerate(calls) if "--push" in words)
    tried = [words[0] for words in calls[:pushed] if words[0].startswith(".ci/")]
    assert set(tried) == {".ci/run", ".ci/image", ".ci/chart"}


@pytest.mark.parametrize(
    ("failing", "last"),
    [
        ("docker login", ["docker", "login"]),
        ("docker buildx build", ["docker", "buildx"]),
        ("jq", ["jq"]),
        ("helm package", ["helm", "package"]),
        ("helm push", ["helm", "push"]),
        ("cosign sign", ["cosign", "sign"]),
    ],
)
def test_what_fails_is_the_last_that_is_done(release, failing, last):
    assert release(failing).calls[-1][: len(last)] == last
