"""The README's "Coming from …" sections are what the tables of the dialects say."""

import dataclasses

import pytest

from smtpgw.dialects import DIALECTS
from smtpgw.mappings import AccountMap, Mappings
from tests.migrating import BEGIN, END, README, generated, readme_with
from tests.relays import MAPS, RELAYS


def test_the_readme_says_what_the_tables_say():
    text = README.read_text("utf-8")
    assert text == readme_with(generated(), text), "python -m tests.migrating writes it anew"


def test_every_dialect_and_every_row_is_in_it():
    text = generated()
    for dialect in DIALECTS:
        before = "Coming from " if dialect.name in RELAYS else ""
        assert text.count(f"\n### {before}{dialect.title}\n") == 1
        for row in (*dialect.rows, *dialect.keys):
            assert f"{row.name}` | `{row.example.replace('|', chr(92) + '|')}` |" in text


def test_every_relay_is_that_of_a_dialect():
    assert {dialect.name for dialect in DIALECTS} - {"frameworks"} == set(RELAYS)


def test_the_example_of_the_maps_is_one(tmp_path):
    """It has every key there is."""
    (tmp_path / "maps.yaml").write_text(MAPS, "utf-8")
    found = Mappings.load(str(tmp_path / "maps.yaml")).account(12345)
    assert {f.name for f in dataclasses.fields(AccountMap) if f.name not in MAPS} == set()
    assert found.templates == {"sendgrid": {"5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f": 42}}
    assert found.ses_lists == {"news": 101, "news/weekly": 102}
    assert found.tracking["opens"] is False
    assert found.strip_mandrill_bcc


def test_only_what_stands_between_the_markers_is_written():
    readme = f"before\n{BEGIN}old\n{END}\nafter\n"
    assert readme_with("new\n", readme) == f"before\n{BEGIN}new\n{END}\nafter\n"
    with pytest.raises(ValueError, match="markers"):
        readme_with("new\n", "no markers")
