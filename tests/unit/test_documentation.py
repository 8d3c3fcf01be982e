"""The pages of docs/ are what the code says; each RFC of the table is named where it is followed."""

import re
from pathlib import Path

import pytest

from smtpgw.telemetry import metrics
from tests.support.documentation import DOCS, LIMITS, ROOT, TABLES, between, rewritten

STANDARDS = (DOCS / "standards.md").read_text("utf-8")
# RFC → the modules that follow it, which name it.
FOLLOWED_IN = {
    "5321": ("smtp/session.py", "smtp/commands.py", "smtp/connection.py"),
    "6409": ("smtp/session.py",),
    "3207": ("smtp/session.py",),
    "4954": ("smtp/session.py", "smtp/sasl.py"),
    "4616": ("smtp/sasl.py",),
    "1870": ("smtp/commands.py", "smtp/connection.py"),
    "2920": ("smtp/connection.py",),
    "6152": ("smtp/session.py",),
    "6531": ("core/replies.py",),
    "2034": ("core/replies.py",),
    "3463": ("core/replies.py",),
    "1047": ("submission/ledger.py", "smtp/session.py"),
    "3464": ("message/reports.py",),
    "3834": ("submission/bounces.py",),
    "5322": ("message/fields.py", "message/addresses.py"),
    "2045": ("message/transfer.py", "message/parameters.py"),
    "2046": ("message/parts.py",),
    "2047": ("message/words.py",),
    "2231": ("message/parameters.py",),
    "2392": ("message/inline.py",),
    "3676": ("message/flowed.py",),
    "9110": ("cakemail/http11.py",),
    "9112": ("cakemail/http11.py",),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_says(name: str) -> None:
    path, table = TABLES[name]
    assert between(name, path.read_text("utf-8")) == table(), "run: make docs"


def test_each_limit_has_a_meaning() -> None:
    assert [name for name in metrics.LIMIT_NAMES if name not in LIMITS] == []


def test_only_what_stands_between_the_markers_is_written() -> None:
    page = "before\n<!-- rows -->\nold\n<!-- /rows -->\nafter\n"
    assert rewritten("rows", "new", page) == "before\n<!-- rows -->\nnew\n<!-- /rows -->\nafter\n"
    with pytest.raises(AssertionError, match="markers"):
        rewritten("rows", "new", "no markers")


def test_the_table_of_rfcs_has_those_that_the_code_follows() -> None:
    assert re.findall(r"^\| RFC (\d+) \| .+ \|$", STANDARDS, re.MULTILINE) == list(FOLLOWED_IN)


@pytest.mark.parametrize(("number", "file"), [(rfc, file) for rfc, files in FOLLOWED_IN.items() for file in files])
def test_an_rfc_is_named_where_it_is_followed(number: str, file: str) -> None:
    assert re.search(rf"\b{number}\b", (ROOT / "smtpgw" / file).read_text("utf-8"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 180


def test_no_page_but_the_architecture_names_modules() -> None:
    """They move; docs/architecture.md is where they are found."""
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        if page != DOCS / "architecture.md":
            named = re.findall(r"`smtpgw/\S*`|\]\(\S*smtpgw/\w+\.py\)", page.read_text("utf-8"))
            assert named == [], Path(page).name


def test_the_architecture_names_every_module() -> None:
    """Of the packages whose modules it lists one by one."""
    listed = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (`[^|]+) \|$", (DOCS / "architecture.md").read_text("utf-8"), re.MULTILINE
    )
    named = {package: re.findall(r"`(\w+)`", modules) for package, modules in listed if "one module" not in modules}
    assert len(named) == 9
    for package, modules in named.items():
        found = sorted(path.stem for path in (ROOT / "smtpgw" / package).glob("*.py") if path.stem != "__init__")
        assert modules == found, package
