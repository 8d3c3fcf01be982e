"""The check of the documentation finds broken links and stale pages; the commands that the pages name exist."""

import re
import subprocess
import sys
from functools import cache

import pytest

from smtpgw.__main__ import COMMANDS
from tests.support import docs_check
from tests.support.docs_check import anchors, broken_links, markdown_files, stale_pages
from tests.support.documentation import ROOT

TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
PAGES = [path for path in markdown_files() if path.name != "CHANGELOG.md"]
# A command with its arguments, as it stands in a code span or at the end of a line of a block.
COMMAND = re.compile(r"python -m smtpgw ([a-z]+)([^`\n]*)")


def test_every_link_leads_somewhere_and_nothing_generated_is_stale(capsys):
    status = docs_check.main()
    assert (status, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a](gone.md)", "no such file"),
        ("![a](gone.svg)", "no such file"),
        ("[a](other.md#gone)", "no such heading"),
        ("[a](#gone)", "no such heading"),
        ("[a](other.md#two-words-and-code-1)", "no such heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, text, says):
    (tmp_path / "other.md").write_text("# Two words, and `code`\n")
    (tmp_path / "page.md").write_text(f"# Page\n\n{text}\n")
    (problem,) = broken_links(tmp_path / "page.md")
    assert says in problem


def test_links_that_lead_somewhere_are_no_problem(tmp_path):
    (tmp_path / "other.md").write_text("# Two words, and `code`\n\n## Again\n\n## Again\n")
    (tmp_path / "page.md").write_text(
        "# Page\n\n[a](other.md) [b](other.md#two-words-and-code) [c](#page) [d](other.md#again-1)\n"
        "[e](https://example.com/gone) [f](mailto:a@b.example) `[g](gone.md)`\n\n```\n[h](gone.md)\n```\n"
    )
    assert list(broken_links(tmp_path / "page.md")) == []


def test_headings_in_code_are_no_anchors():
    assert anchors("# One\n\n```\n# two\n```\n\n### [Three](x.md) **four**\n") == {"one", "three-four"}


def test_a_stale_page_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("old")
    assert list(stale_pages([(page, "old")])) == []
    assert "make docs" in next(stale_pages([(page, "new")]))
    assert "make docs" in next(stale_pages([(tmp_path / "missing.md", "new")]))


def test_the_check_ends_with_status_1_when_something_is_wrong(monkeypatch, tmp_path, capsys):
    (tmp_path / "page.md").write_text("[a](gone.md)\n")
    monkeypatch.setattr(docs_check, "markdown_files", lambda: iter([tmp_path / "page.md"]))
    assert docs_check.main() == 1
    assert "no such file" in capsys.readouterr().err


# --- Commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(path):
    text = path.read_text("utf-8")
    assert set(re.findall(r"(?:^ +|`|&& )make ([a-z]+)", text, re.MULTILINE)) <= TARGETS
    for command, arguments in COMMAND.findall(text):
        assert command in COMMANDS
        wanted = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", arguments)) - {"--help"}
        assert wanted <= options_of(command), f"python -m smtpgw {command}"


def test_the_readme_names_commands():
    """Or the test above would pass by finding none."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert {"demo", "test"} <= set(re.findall(r"^ +make ([a-z]+)", text, re.MULTILINE))
    assert {"check", "explain"} <= {command for command, _ in COMMAND.findall(text)}


@cache
def options_of(command: str) -> set[str]:
    """The options that a command's --help names."""
    said = subprocess.run(
        [sys.executable, "-m", "smtpgw", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(re.findall(r"--[a-z][a-z-]*", said.stdout))
