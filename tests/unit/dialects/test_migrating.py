"""Tests that the pages docs/migration/<provider>.md match the tables of the dialects."""

import dataclasses

from smtpgw.config.provider_map import AccountMap, ProviderMap
from smtpgw.dialects.interpreter import DIALECTS
from tests.support.migrating import FOLDER, pages
from tests.support.relays import MAPS, RELAYS


def test_the_pages_say_what_the_tables_say():
    generated = dict(pages())
    assert {path: path.read_text("utf-8") for path in FOLDER.iterdir()} == generated, "run: make docs"


def test_every_dialect_and_every_row_is_in_them():
    generated = dict(pages())
    for dialect in DIALECTS:
        text = generated[FOLDER / f"{dialect.name}.md"]
        assert f"\n# From {dialect.title}\n" in text
        assert f"[{dialect.title}]({dialect.name}.md)" in generated[FOLDER / "README.md"]
        for row in (*dialect.rows, *dialect.keys):
            assert f"{row.name}` | `{row.example.replace('|', chr(92) + '|')}` |" in text


def test_every_relay_is_that_of_a_dialect():
    assert {dialect.name for dialect in DIALECTS} - {"frameworks"} == set(RELAYS)


def test_the_example_of_the_maps_is_one(tmp_path):
    """The example has every key."""
    (tmp_path / "maps.yaml").write_text(MAPS, "utf-8")
    found = ProviderMap.load(str(tmp_path / "maps.yaml")).account(12345)
    assert {f.name for f in dataclasses.fields(AccountMap) if f.name not in MAPS} == set()
    assert found.templates == {"sendgrid": {"5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f": 42}}
    assert found.ses_lists == {"news": 101, "news/weekly": 102}
    assert found.tracking["opens"] is False
    assert found.strip_mandrill_bcc
