"""What surrounds the package says the truth: requirements, Makefile, .ci/run, workflow."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
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
    assert re.findall(r"- run: (.+)", workflow) == ["bash .ci/run", "bash .ci/image", "bash .ci/chart"]
    uses = re.findall(r"uses: (.+)", workflow)
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses)
    least = re.search(r'requires-python = ">=(3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))[1]
    assert re.search(r"python: \[(.+)\]", workflow)[1].startswith(f'"{least}"')
