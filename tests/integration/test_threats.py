"""docs/threats.md: each test that the table of threats names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "docs/threats.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:def )?(test_\w+)", path.read_text(), re.M)
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_each_threat_has_what_stops_it_and_tests_that_exist(row: list[str]):
    _, stopped_by, shown_by = row
    assert stopped_by.strip()
    named = re.findall(r"`(\w+)`", shown_by)
    assert named
    assert set(named) <= DEFINED


def test_there_are_threats():
    assert len(ROWS) > 10
