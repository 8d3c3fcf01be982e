"""The operator's file of maps: what it means, and that every mistake in it is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.config.provider_map import AccountMap, ProviderMap, ProviderMapError

WHOLE = """\
default:
  tracking: {opens: false, clicks_html: false, clicks_text: false}
  message_streams: {news: marketing}
12345:
  templates:
    sendgrid:
      5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f: 42
    mandrill: {welcome: 43}
  asm_groups: {1: 42, 010: 44}
  subaccounts: {cust-123: 99}
  message_streams: {on: transactional}
  ses_lists: {news: 42, news/weekly: 43}
  metadata_as_headers: true
  strip_mandrill_bcc: true
6:
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "maps.yaml"


def load(file: Path, text: str) -> ProviderMap:
    file.write_text(text, encoding="utf-8")
    return ProviderMap.load(str(file))


def mistakes(file: Path, text: str) -> list[str]:
    with pytest.raises(ProviderMapError) as wrong:
        load(file, text)
    assert str(wrong.value) == "\n".join(wrong.value.mistakes)
    return [mistake.removeprefix(f"{file}:") for mistake in wrong.value.mistakes]


def test_a_whole_file(file):
    assert load(file, WHOLE).account(12345) == AccountMap(
        templates={"sendgrid": {"5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f": 42}, "mandrill": {"welcome": 43}},
        asm_groups={"1": 42, "010": 44},
        subaccounts={"cust-123": 99},
        message_streams={"on": "transactional"},
        ses_lists={"news": 42, "news/weekly": 43},
        tracking={"opens": False, "clicks_html": False, "clicks_text": False},
        metadata_as_headers=True,
        strip_mandrill_bcc=True,
    )


@pytest.mark.parametrize("account_id", [6, 7])
def test_other_accounts_have_the_default(file, account_id):
    """With a section that says nothing, or without one."""
    assert load(file, WHOLE).account(account_id) == AccountMap(
        tracking={"opens": False, "clicks_html": False, "clicks_text": False}, message_streams={"news": "marketing"}
    )


def test_a_key_of_an_account_replaces_that_of_the_default(file):
    text = "default: {ses_lists: {a: 1, b: 2}, asm_groups: {5: 6}}\n9: {ses_lists: {a: 3}}\n"
    assert load(file, text).account(9) == AccountMap(ses_lists={"a": 3}, asm_groups={"5": 6})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "default:\n", "{}\n"])
def test_a_file_that_says_nothing(file, text):
    assert load(file, text).account(1) == AccountMap()


def test_no_file_no_maps():
    assert ProviderMap.load("") is ProviderMap.EMPTY
    assert ProviderMap.EMPTY.account(1) == AccountMap()


MISTAKES = {
    "5:\n  templtes: {}\n": "2: 5.templtes: unknown; did you mean templates?",
    "5:\n  colour: blue\n": "2: 5.colour: unknown; there are asm_groups, message_streams, metadata_as_headers,"
    " ses_lists, strip_mandrill_bcc, subaccounts, templates, tracking",
    "5:\n  templates:\n    sendgrd: {a: 1}\n": "3: 5.templates.sendgrd: unknown; did you mean sendgrid?",
    "5:\n  tracking:\n    open: true\n": "3: 5.tracking.open: unknown; did you mean opens?",
    "5:\n  tracking:\n    opens: 1\n": "3: 5.tracking.opens: must be a valid boolean",
    "5:\n  tracking: true\n": "2: 5.tracking: must be a map",
    "5:\n  asm_groups:\n    a: 1\n    b: 0\n": "4: 5.asm_groups.b: must be greater than or equal to 1",
    "5:\n  asm_groups: {a: '7'}\n": "2: 5.asm_groups.a: must be a valid integer",
    "5:\n  asm_groups: {a: 7.5}\n": "2: 5.asm_groups.a: must be a valid integer",
    "5:\n  asm_groups: {a: true}\n": "2: 5.asm_groups.a: must be a valid integer",
    "5:\n  asm_groups: {a: 2026-01-01}\n": "2: 5.asm_groups.a: must be a valid integer",
    "5:\n  asm_groups:\n": "2: 5.asm_groups: must be a map",
    "5:\n  message_streams:\n    news: bulk\n": "3: 5.message_streams.news: must be 'marketing' or 'transactional'",
    "5:\n  metadata_as_headers: 1\n": "2: 5.metadata_as_headers: must be a valid boolean",
    "5: text\n": "1: 5: must be a map",
    "5: 0\n": "1: 5: must be a map",
    "\nacme: {}\n": "2: acme: must be `default` or the id of a Cakemail account",
    "0: {}\n": "1: 0: must be `default` or the id of a Cakemail account",
    "5:\n  ses_lists: {a: 1}\n  ses_lists: {b: 1}\n": "3: 5.ses_lists: stands twice",
    "5: {}\n5: {}\n": "2: 5: stands twice",
    "5:\n  - a\n": "2: a list has no place here",
    "5:\n  ? [a]\n  : 1\n": "2: a key must be one word or number",
    "5: {\n": "2: not YAML: while parsing a flow node, expected the node content, but found '<stream end>'",
    "5: *nothing\n": "1: not YAML: found undefined alias 'nothing'",
    "5: &a\n  ses_lists: *a\n": "nested too deep",
    "5:\n  ses_lists: {a: !python/object:os.system 1}\n": "2: 1: cannot be read",
    "5:\n  ses_lists: {a: 2026-99-99}\n": "2: 2026-99-99: cannot be read",
    "1: {}\n---\n2: {}\n": "2: not YAML: expected a single document in the stream, but found another document",
    "just words\n": "must be a map of account ids, and `default`",
    "5:\n\tses_lists: {}\n": "2: not YAML: while scanning for the next token, found character '\\t'",
}


@pytest.mark.parametrize(("text", "mistake"), MISTAKES.items(), ids=MISTAKES.values())
def test_a_mistake_is_named_with_its_line(file, text, mistake):
    (found,) = mistakes(file, text)
    assert mistake in found
    assert found.startswith(mistake) or not mistake[0].isdigit()


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(file):
    text = "b: {}\n5:\n  tracking: {opens: 1, clicks: no}\n  colour: x\na: {}\n"
    assert [mistake.split(": ")[1] for mistake in mistakes(file, text)] == [
        "b",
        "5.tracking.clicks",
        "5.tracking.opens",
        "5.colour",
        "a",
    ]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ProviderMapError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        ProviderMap.load(str(tmp_path / "none.yaml"))


def test_a_file_that_is_not_text(file):
    file.write_bytes(b"5: \xff\xfe\xfd\n")
    with pytest.raises(ProviderMapError, match=r"maps\.yaml: is not UTF-8"):
        ProviderMap.load(str(file))


@given(text=st.text(st.sampled_from("5a:{}[]&*!?-|>%@`'\"# \n\t,~<=0."), max_size=40))
def test_any_file_is_read_or_its_mistakes_are_named(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    try:
        assert isinstance(load(file, text), ProviderMap)
    except ProviderMapError as wrong:
        assert wrong.mistakes  # noqa: PT017  (either outcome will do)
