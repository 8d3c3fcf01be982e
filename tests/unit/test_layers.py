"""The shape of the package: who may import whom; modules stay small, nothing fails in silence."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "smtpgw"
MODULE_LINES, FUNCTION_LINES = 300, 40
FILES = sorted(PACKAGE.rglob("*.py"))

# Each package may import those to its right, and itself.
ORDER = ["__main__", "demo", "commands", "server events", "submission", "cakemail smtp", "net dialects"]
ORDER += ["telemetry message", "core", "config", "__init__"]
NEVER = {("submission", "smtp"), ("dialects", "telemetry")}
SANDBOX = {"sandbox", "config", "__init__"}  # it must not mirror the gateway's own mistakes; only `demo` uses it
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
ONLY_IN = {"requests": "cakemail", "urllib3": "cakemail", "httptools": "cakemail", "flask": "server events sandbox"}


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, for types too, with their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("smtpgw.")}
    return {name if name in RANK or name == "sandbox" else "__init__" for name in ours}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_to_the_right(path: Path) -> None:
    package, used = package_of(path), packages(path)
    if package == "sandbox":
        assert used <= SANDBOX
        return
    used -= {package} | ({"sandbox"} if package in ("demo", "__main__") else set())
    wrong = {other for other in used if RANK.get(other, -1) <= RANK[package] or (package, other) in NEVER}
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_used_in_one_package(library: str) -> None:
    users = {package_of(path) for path in FILES for name in imports(path) if name.split(".")[0] == library}
    assert users <= set(ONLY_IN[library].split())


def test_there_are_no_cycles() -> None:
    """Between modules either; `smtpgw.a.b.c` is the module a/b.py or a name in it."""
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    uses = {
        module: {other for name in imports(path) for other in (name, name.rpartition(".")[0]) if other in modules}
        for module, path in modules.items()
    }
    ends = set(uses)
    while ends:  # take away what uses nothing, or is used by nothing, until only cycles are left
        used = set().union(*(others - {module} for module, others in uses.items()))
        ends = {module for module, others in uses.items() if module not in used or not others & uses.keys() - {module}}
        uses = {module: others for module, others in uses.items() if module not in ends}
    assert not uses


def test_a_class_name_is_used_once() -> None:
    found: dict[str, list[str]] = {}
    for path in FILES:
        if package_of(path) != "sandbox":  # a program of its own
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= MODULE_LINES
    assert ast.get_docstring(tree), "no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno
            assert node.end_lineno - node.lineno <= FUNCTION_LINES, node.name
        if isinstance(node, ast.ExceptHandler):
            assert not all(isinstance(step, ast.Pass) for step in node.body), f"line {node.lineno}: a silent except"
            assert "BaseException" not in ast.unparse(node.type) if node.type else False, f"line {node.lineno}"
