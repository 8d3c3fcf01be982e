"""Tests of address parsing: the address of a field, and the cost. Display names are in the corpus (`authors/`)."""

import time
from contextlib import suppress

import pytest

from smtpgw.message import addresses
from smtpgw.message.addresses import Mailbox, NoBrackets, NoMailbox, mailboxes


@pytest.mark.parametrize(
    ("value", "mailbox"),
    [
        # RFC 5322 appendix A.5
        (r"Pete(A nice \) chap) <pete(his account)@silly.test(his host)>", Mailbox("Pete", "pete@silly.test")),
        (r"Pete(A nice \) chap) <pete(x)@silly.test(y)>", Mailbox("Pete", "pete@silly.test")),
        ("<pete (a) @ (b) silly (c) . test>", Mailbox("", "pete@silly.test")),
        ("pete (a) @ silly . test", Mailbox("a", "pete@silly.test")),
        ('Zoe <" zoe . m "@example.com>', Mailbox("Zoe", '" zoe . m "@example.com')),
        ('Zoe <"a>b"@example.com>', Mailbox("Zoe", '"a>b"@example.com')),
        ("Shop, <a@b.example>", Mailbox("Shop", "a@b.example")),
        ("=?utf-8?q?Alert_=C3=9C_<a@b.example>?=", Mailbox("Alert Ü", "a@b.example")),
        ("=?utf-8?q?boss=40example.net?= <a@b.example>", Mailbox("boss@example.net", "a@b.example")),
    ],
)
def test_a_mailbox(value: str, mailbox: Mailbox) -> None:
    assert mailboxes(value) == [mailbox]


@pytest.mark.parametrize(
    ("value", "address"),
    [("Zoe <a@b.example", "a@b.example"), ("a@b.example (Zoe", "a@b.example"), ("<pete(@silly.test>", "pete")],
)
def test_what_is_not_closed_ends_with_the_field(value: str, address: str) -> None:
    assert [found.address for found in mailboxes(value)] == [address]


@pytest.mark.parametrize("value", ["<(all)>", '<"pete@silly.test>', "<", '<"', "<>"])
def test_no_address_is_none(value: str) -> None:
    with pytest.raises(NoMailbox):
        mailboxes(value)


@pytest.mark.parametrize(
    "value", ["Zoe a@b.example", '"Zoe M." a@b.example', "a@b.example Zoe", "Shop, Zoe a@b.example"]
)
def test_an_address_beside_a_name_needs_brackets(value: str) -> None:
    with pytest.raises(NoBrackets):
        mailboxes(value)


@pytest.mark.parametrize("value", ["Zoe M.", "Zoe a@b@c.example", "a@b.example c@d.example", "<a@b.example> Zoe"])
def test_others_are_no_matter_of_brackets(value: str) -> None:
    with pytest.raises(NoMailbox) as refusal:
        mailboxes(value)
    assert not isinstance(refusal.value, NoBrackets)


@pytest.mark.parametrize(
    "piece",
    [" ", "(", ")", "(a)", "\\", '"', '\\"', "<", "<(", '<"', '<"\\', "=?", "=?a?q?", "=?a?q?b?=", "a.", " @", ", a"],
)
def test_reading_takes_no_more_than_its_share(piece: str) -> None:
    """Parse the longest allowed field of one repeated piece, which would take seconds if the cost were quadratic."""
    for value in (
        piece * (addresses.MAX_FIELD_CHARACTERS // len(piece)),
        "<" + piece * ((addresses.MAX_FIELD_CHARACTERS - 1) // len(piece)),
    ):
        begun = time.process_time()
        with suppress(NoMailbox):
            mailboxes(value)
        assert time.process_time() - begun < 0.5
