"""The README's tables are what the code says; each RFC it names is named where it says."""

import re

import pytest

from tests.documentation import README, TABLES, between


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_code_says(name: str) -> None:
    assert between(name, README.read_text()) == TABLES[name](), "run: python -m tests.documentation"


def rfcs() -> list[tuple[str, str]]:
    rows = re.findall(r"\| RFC (\d+) \| [^|]+ \| ([^|]+) \|", between("rfcs", README.read_text()))
    return [(number, file) for number, files in rows for file in re.findall(r"`([^`]+)`", files)]


def test_there_is_a_table_of_rfcs() -> None:
    assert {"5321", "3207", "4954"} <= {number for number, _ in rfcs()}


@pytest.mark.parametrize(("number", "file"), rfcs())
def test_an_rfc_is_named_where_the_table_says(number: str, file: str) -> None:
    assert re.search(rf"\b{number}\b", (README.parent / file).read_text())
