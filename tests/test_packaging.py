"""What surrounds the package says the truth: requirements, Dockerfile, Makefile, .ci/run, workflow."""

import ast
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
TRACING = ROOT / "requirements-tracing.txt"
REQUIREMENTS = [ROOT / "requirements.txt", TRACING, ROOT / "tests/requirements.txt", ROOT / ".ci/requirements.txt"]


def requirements(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def names(path: Path) -> set[str]:
    """What is installed by a file, on this version of Python."""
    return {canonicalize_name(r.name) for r in requirements(path) if not r.marker or r.marker.evaluate()}


# --- Requirements ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*REQUIREMENTS, ROOT / "loadtest/requirements.txt"], ids=lambda p: str(p.parent.name))
def test_every_requirement_is_pinned(path):
    loose = [str(r) for r in requirements(path) if not re.fullmatch(r"==[\w.]+", str(r.specifier))]
    assert loose == []
    found = [canonicalize_name(r.name) for r in requirements(path)]
    assert len(set(found)) == len(found)


def test_the_files_agree_on_versions():
    pins = {}
    for path in REQUIREMENTS:
        for requirement in requirements(path):
            pins.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def without_types(tree: ast.Module) -> ast.Module:
    """The module without what is only there for a type checker."""

    class Pruned(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return Pruned().visit(tree)


def imported_distributions() -> set[str]:
    """The distributions that the package's modules import from."""
    modules = set()
    for path in (ROOT / "smtpgw").rglob("*.py"):
        for node in ast.walk(without_types(ast.parse(path.read_text("utf-8")))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.partition(".")[0])
    modules -= {*sys.stdlib_module_names, "smtpgw"}
    homes = importlib.metadata.packages_distributions()
    return {canonicalize_name(homes[module][0]) for module in modules}


def brought_along(requirement: Requirement) -> set[str]:
    """The names of a distribution and of all that it requires on this machine."""
    found, waiting = set(), [requirement]
    while waiting:
        current = waiting.pop()
        found.add(canonicalize_name(current.name))
        for line in importlib.metadata.requires(current.name) or []:
            needed = Requirement(line)
            wanted = not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in ("", *current.extras))
            if wanted and canonicalize_name(needed.name) not in found:
                waiting.append(needed)
    return found


def test_what_is_imported_is_required_and_nothing_else_is():
    required = requirements(ROOT / "requirements.txt")
    imported = imported_distributions() - names(TRACING)
    assert imported <= names(ROOT / "requirements.txt")
    needed = set().union(*(brought_along(r) for r in required if canonicalize_name(r.name) in imported))
    assert names(ROOT / "requirements.txt") == needed


def test_tracing_requires_what_it_imports_and_nothing_else():
    wanted = [
        r for r in requirements(TRACING) if r.name in ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
    ]
    needed = set().union(*map(brought_along, wanted)) - names(ROOT / "requirements.txt")
    assert names(TRACING) == needed


# --- Dockerfile --------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, with continued lines joined as Docker joins them."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M).replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]


def test_the_base_image_is_pinned_by_digest():
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    stages = [rest.split()[2] for word, rest in instructions() if word == "FROM" and " AS " in rest]
    outside = [image for image in images if image not in stages]
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\S*@sha256:[0-9a-f]{64}", outside[0])


def test_what_is_copied_exists_and_is_let_through():
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), flags=re.M)
    copied = [
        source
        for word, rest in instructions()
        if word in ("COPY", "ADD") and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_runs_as_nobody_in_particular():
    users = [rest for word, rest in last_stage() if word == "USER"]
    assert users == ["10001:10001"]  # a number: Kubernetes cannot tell whether a name is root's
    commands = " ".join(rest for word, rest in last_stage() if word == "RUN")
    assert not re.search(r"\b(apt|apt-get|gcc|pip install|curl|wget)\b", commands)


def test_the_package_runs_from_what_is_copied(tmp_path):
    """As in the image: the copied files alone, in a folder that nobody can write to."""
    app = tmp_path / "app"
    shutil.copytree(ROOT / "smtpgw", app / "smtpgw", ignore=shutil.ignore_patterns("__pycache__"))
    entry, command = (json.loads(rest) for word, rest in last_stage() if word in ("ENTRYPOINT", "CMD"))
    assert (entry[0], command) == ("python", ["serve"])
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, *entry[1:], *command], cwd=app, env=environ, capture_output=True, text=True)
    # It has come as far as its settings, and says what it misses.
    assert "SMTPGW_TLS_CERT is not set" in run.stderr, run
    assert "SMTPGW_TLS_KEY is not set" in run.stderr, run
    assert not list(app.rglob("__pycache__"))


class Probed(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_liveness_probe(status, healthy):
    check = next(rest for word, rest in last_stage() if word == "HEALTHCHECK")
    command = json.loads(check.partition(" CMD ")[2])
    assert command[0] == "python"  # the image has no curl
    handler = type("Handler", (Probed,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A proxy for the API must not be asked about ourselves.
        environ = {"SMTPGW_HTTP_BIND": f"0.0.0.0:{server.server_port}", "http_proxy": "http://127.0.0.1:1"}
        run = subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True)
        server.shutdown()
    assert (run.returncode == 0) is healthy, run.stderr


# --- Makefile ----------------------------------------------------------------------------------------------------


def make(*arguments: str, **options) -> subprocess.CompletedProcess:
    # Not those of a make that runs this test.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, **options)


def test_make_alone_lists_every_target():
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)[1].split()
    assert re.findall(r"^  make ([a-z]+) ", make().stdout, flags=re.M) == targets


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("exit 1 # fails whatever it is asked", "3.11 or newer is needed"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
        (None, "Install Python 3.11 or newer"),
    ],
)
def test_make_says_what_is_wrong_with_python(tmp_path, python, said):
    fake = tmp_path / "python"
    if python:
        fake.write_text(f"#!/bin/sh\n{python}\n")
        fake.chmod(0o755)
    run = make("demo", f"PYTHON={fake}", f"VENV={tmp_path}/venv")
    assert run.returncode == 2
    assert said in run.stderr
    assert not (tmp_path / "venv").exists()


# --- .ci/run -----------------------------------------------------------------------------------------------------


def run_ci(folder: Path, pytest_says: str, status: int) -> subprocess.CompletedProcess:
    """`.ci/run` in a project whose `make test` prints this and ends so."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
    (folder / "bin").mkdir()
    fake = folder / "bin" / "make"
    fake.write_text(f"#!/bin/sh\n[ $1 = test ] || exit 0\ncat <<'END'\n{pytest_says}\nEND\nexit {status}\n")
    fake.chmod(0o755)
    environ = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    return subprocess.run(["bash", folder / ".ci/run"], env=environ, capture_output=True, text=True)


def test_ci_ends_with_the_closing_line(tmp_path):
    run = run_ci(tmp_path, "..\n====== 2 passed in 0.02s ======", 0)
    assert run.returncode == 0, run
    assert run.stdout.splitlines()[-1] == "====== 2 passed in 0.02s ======"


def test_ci_fails_when_a_test_is_skipped(tmp_path):
    said = "SKIPPED [2] tests/test_clients.py:7: no swaks\n====== 2 passed, 2 skipped in 70.12s (0:01:10) ======"
    run = run_ci(tmp_path, said, 0)
    assert run.returncode == 1
    *_, count, which, closing = run.stdout.splitlines()
    assert count == "2 skipped, and none may be:"
    assert which == "SKIPPED [2] tests/test_clients.py:7: no swaks"
    assert closing == "====== 2 passed, 2 skipped in 70.12s (0:01:10) ======"


def test_ci_fails_when_a_test_fails(tmp_path):
    run = run_ci(tmp_path, "====== 1 failed, 1 passed in 1.00s ======\nmake: *** [test] Error 1", 2)
    assert run.returncode == 2
    assert run.stdout.splitlines()[-1] == "====== 1 failed, 1 passed in 1.00s ======"


def test_ci_fails_when_pytest_does_not_run(tmp_path):
    run = run_ci(tmp_path, "pip could not reach anything", 2)
    assert run.returncode == 2
    assert run.stdout.splitlines()[-1] == "pytest did not run to its end"


# --- GitHub ------------------------------------------------------------------------------------------------------


def test_the_workflow_runs_what_a_developer_runs():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert re.findall(r"- run: (.+)", workflow) == ["bash .ci/run", "bash .ci/image"]
    uses = re.findall(r"uses: (.+)", workflow)
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses)
    least = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))[1]
    assert re.search(r"python: \[(.+)\]", workflow)[1].startswith(f'"{least}"')
