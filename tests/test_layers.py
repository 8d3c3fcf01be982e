"""The shape of the package: imports go to lower layers only, modules stay small, nothing fails in silence."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "smtpgw"
MODULE_LINES, FUNCTION_LINES = 300, 40

# From the ground up. A module may import from lower lines only; within a line, only as the last table says.
LAYERS = [
    "settings contradictions readers descriptors smtpgw",
    "replies envelope masking outlet log_bounds logs",
    "metrics tally shares tracing mappings",
    "balance bugs limits offload session_limits sasl grammar proxy tls mime stream http11 transport terminal sandbox"
    " scrape slots",
    "telling",
    "diary web",
    "wire message cakemail",
    "dialects accounts throttle breaker",
    "translation memory",
    "delivery",
    "notices story explanation",
    "gateway session",
    "worker check explain capacity",
    "gunicorn_conf demo top",
    "serve",
    "__main__",
]
BESIDE = {
    "settings": {"contradictions", "readers", "smtpgw"},
    "envelope": {"replies"},
    "logs": {"masking", "outlet", "log_bounds", "replies"},
    "metrics": {"tally", "shares"},
    "transport": {"http11", "stream"},
    "limits": {"metrics"},
    "descriptors": {"settings"},
    "gunicorn_conf": {"worker"},
}
ONLY = {
    "requests": {"transport"},
    "urllib3": {"transport"},
    "httptools": {"http11"},
    "smtpgw.sandbox": {"demo", "sandbox"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The unit of a file: its module, or the package within ours that it is part of."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "smtpgw" if first == "__init__" else first


UNITS = {name_of(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """What a file imports of ours, as units, at its top level and within functions; not for types alone."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "smtpgw":
            names = {alias.name for alias in node.names}
            found |= {name if name in UNITS else "smtpgw" for name in names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("smtpgw."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("smtpgw.")}
    return found - {name_of(path)}


RANK = {unit: rank for rank, line in enumerate(LAYERS) for unit in line.split()}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    unit = name_of(path)
    assert unit in RANK, f"{unit} has no place in LAYERS"
    wrong = {other for other in imports(path) if RANK[other] >= RANK[unit] and other not in BESIDE.get(unit, set())}
    assert not wrong


def test_session_and_gateway_do_not_know_each_other() -> None:
    assert "gateway" not in imports(PACKAGE / "session.py")
    assert "session" not in imports(PACKAGE / "gateway.py")


def test_the_sandbox_knows_nothing_of_the_gateway() -> None:
    """So that it is no mirror of the gateway's own mistakes."""
    of_ours = set().union(*(imports(path) for path in FILES if name_of(path) == "sandbox"))
    assert of_ours <= {"readers", "settings", "smtpgw"}


@pytest.mark.parametrize("library", ONLY)
def test_a_library_has_one_door(library: str) -> None:
    users = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == library or name.startswith(library + ".") for name in names):
                users.add(name_of(path))
    assert users <= ONLY[library]


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
