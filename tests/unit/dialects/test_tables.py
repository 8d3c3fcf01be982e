"""Tests that the tables of all dialects are complete and tested, and that their headers are not delivered."""

import json
import re

import pytest

from smtpgw.dialects.interpreter import DIALECTS, HeaderError, Options, Verdict
from smtpgw.dialects.table import MAP, STRIP_WARN, Row
from tests.support.control_headers import mail, options, outcome
from tests.unit.dialects import test_cakemail as test_dialects_cakemail
from tests.unit.dialects import test_mailgun as test_dialects_mailgun
from tests.unit.dialects import test_mandrill as test_dialects_mandrill
from tests.unit.dialects import test_others as test_dialects_others
from tests.unit.dialects import test_postmark as test_dialects_postmark
from tests.unit.dialects import test_sendgrid as test_dialects_sendgrid
from tests.unit.dialects import test_ses as test_dialects_ses
from tests.unit.dialects import test_sparkpost as test_dialects_sparkpost

CASES = {
    "cakemail": test_dialects_cakemail.CASES,
    "sendgrid": test_dialects_sendgrid.CASES,
    "mandrill": test_dialects_mandrill.CASES,
    "mailgun": test_dialects_mailgun.CASES,
    "ses": test_dialects_ses.CASES,
    "postmark": test_dialects_postmark.CASES,
    "sparkpost": test_dialects_sparkpost.CASES,
    **test_dialects_others.CASES,
}
ROWS = [(dialect, row, row.name) for dialect in DIALECTS for row in dialect.rows]
KEYS = [(dialect, row, f"{dialect.rows[0].name} {row.name}") for dialect in DIALECTS for row in dialect.keys]
PREFIXES = [(dialect.name, prefix) for dialect in DIALECTS for prefix in dialect.prefixes]
ORDINARY = (
    "Reply-To", "List-Unsubscribe", "X-Mailer", "X-Priority", "X-MSMail-Priority", "X-Entity-Ref-ID", "X-Tags-Of-Mine",
    "X-Tracking", "X-Mail", "X-SMTP", "X-SESSION", "X-PMTA", "Sender", "Resent-From", "Feedback-ID",
)  # fmt: skip


def named(name: str) -> pytest.param:
    return pytest.param(name, id=name)


def named_verdicts(row: Row) -> set[Verdict]:
    """Return the verdict of a row and the verdicts that its reason names."""
    return {row.verdict} | {verdict for verdict in Verdict if re.search(rf"\b{verdict.name}\b", row.reason)}


def rows_and_keys() -> list:
    return [pytest.param(dialect, row, name, id=f"{dialect.name}-{name}") for dialect, row, name in ROWS + KEYS]


# --- The tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "row", "name"), rows_and_keys())
def test_every_row_has_a_case_for_every_verdict_it_names(dialect, row, name):
    tested = {case.verdict for case in CASES[dialect.name] if name in (case.name, case.row)}
    promised = named_verdicts(row)
    if row.name in ("X-SMTPAPI", "X-MSYS-API"):
        # The keys of the header have this verdict, not the header itself.
        promised.discard(MAP)
    assert promised <= tested


@pytest.mark.parametrize(("dialect", "row", "name"), rows_and_keys())
def test_the_example_of_every_row_can_be_read(dialect, row, name):
    header, _, path = name.replace("*", "key").partition(" ")
    value = row.example
    for key in reversed(path.split(".") if path else []):
        value = json.dumps({key: json.loads(value)})
    found = outcome(mail([(header, value)]))
    verdicts = {f.verdict for f in ([found.finding] if isinstance(found, HeaderError) else found.findings)}
    assert verdicts
    assert verdicts <= named_verdicts(row) | ({STRIP_WARN} if name in ("X-SMTPAPI", "X-MSYS-API") else set())


def test_no_two_rows_have_one_name():
    names = [name.lower() for _, _, name in ROWS]
    assert len(names) == len(set(names))


def test_every_dialect_is_known_by_its_own_name():
    names = [dialect.name for dialect in DIALECTS]
    assert len(names) == len(set(names))
    assert set(CASES) == set(names)


# --- Control headers are not delivered ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [named(name.replace("*", "key")) for _, _, name in ROWS])
def test_every_known_header_is_consumed(name):
    found = outcome(mail([(name.swapcase(), "no"), ("X-Mailer", "mine")]))
    if isinstance(found, HeaderError):
        assert found.finding.verdict is Verdict.REFUSE
    else:
        assert found.consumed == {name.lower()}


@pytest.mark.parametrize(("dialect", "prefix"), PREFIXES)
def test_every_unknown_member_of_a_family_is_consumed_and_told(dialect, prefix):
    found = options((prefix.title() + "New-Thing", "1"))
    assert found.consumed == {f"{prefix}new-thing"}
    assert [(f.dialect, f.verdict) for f in found.findings] == [(dialect, Verdict.STRIP_WARN)]


def test_the_families_are_those_of_the_providers():
    assert {prefix for _, prefix in PREFIXES} == {
        "x-email-api-", "x-smtpapi", "x-mc-", "x-mailgun-", "x-ses-", "x-pm-", "x-msys-", "x-mailin-", "x-sib-",
        "x-mj-", "x-mailjet-", "resend-",
    }  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_headers_are_left_alone(name):
    assert options((name, "x")) is options((name, "y"))


def test_a_message_without_control_headers_shares_its_options():
    assert options() == Options()
    assert options() is options()
