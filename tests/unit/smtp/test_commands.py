"""Command lines and their arguments (RFC 5321 §4.1), as tables of accepted and rejected lines."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.core import replies
from smtpgw.core.addresses import LOCAL_PART_BYTES
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.smtp import commands

LONG_LOCAL = "l" * LOCAL_PART_BYTES
LABEL = "d" * 63


def domain_of(octets: int) -> str:
    """Return a domain name of that many octets."""
    whole, rest = divmod(octets, 64)
    return f"{LABEL}." * whole + "x" * rest


def refusal(read, *arguments) -> Reply:
    with pytest.raises(SMTPError) as caught:
        read(*arguments)
    return caught.value.reply


@pytest.mark.parametrize(
    ("line", "word", "argument"),
    [
        (b"QUIT", "QUIT", ""),
        (b"quit", "QUIT", ""),
        (b"  quit  ", "QUIT", ""),
        (b"", "", ""),
        (b"   ", "", ""),
        (b"EHLO client.example", "EHLO", "client.example"),
        (b"EHLO   client.example  ", "EHLO", "client.example"),
        (b"MAIL FROM:<a@b> SIZE=1", "MAIL", "FROM:<a@b> SIZE=1"),
        (b"NOOP a\tb", "NOOP", "a\tb"),  # a tab is no control character that could hurt
        ("RCPT TO:<zoë@example.com>".encode(), "RCPT", "TO:<zoë@example.com>"),
    ],
)
def test_a_command_is_a_word_and_an_argument(line, word, argument):
    assert commands.split_line(line) == (word, argument)


@pytest.mark.parametrize("octet", [*range(0x09), *range(0x0A, 0x20), 0x7F])
@pytest.mark.parametrize("form", [b"NO%bOP", b"NOOP a%bb"])
def test_a_command_has_no_control_characters(octet, form):
    reply = refusal(commands.split_line, form % bytes([octet]))
    assert reply == replies.SYNTAX_ERROR.filled(usage="no control characters")


@pytest.mark.parametrize("line", [b"NOOP \xff", b"\xe9HLO x", b"EHLO a\xc3", b"EHLO \xed\xa0\x80"])
def test_a_command_is_utf_8(line):
    assert refusal(commands.split_line, line).code == 501


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        ("FROM:<a@b.example>", "a@b.example", {}),
        ("FROM:<>", "", {}),
        ("from:<a@b.example>", "a@b.example", {}),
        ("FROM: <a@b.example>", "a@b.example", {}),
        ("FROM : <a@b.example>", "a@b.example", {}),
        ("FROM:a@b.example", "a@b.example", {}),
        ("FROM: a@b.example SIZE=1", "a@b.example", {"SIZE": "1"}),
        ("FROM:< a@b.example >", "a@b.example", {}),
        ("FROM:<@r.example,@s.example:a@b.example>", "a@b.example", {}),  # RFC 5321 §4.1.2: a route is ignored
        ("FROM:<root>", "root", {}),
        ("FROM:<bounce+ann=example.com@b.example>", "bounce+ann=example.com@b.example", {}),
        ('FROM:<"a b"@c.example>', '"a b"@c.example', {}),
        ('FROM:<"a>b"@c.example>', '"a>b"@c.example', {}),
        (r'FROM:<"a\"b"@c.example>', r'"a\"b"@c.example', {}),
        ("FROM:<a@b> size=12 body=8bitmime smtputf8", "a@b", {"SIZE": "12", "BODY": "8bitmime", "SMTPUTF8": ""}),
        ("FROM:<a@b> BODY=7Bit", "a@b", {"BODY": "7Bit"}),
        ("FROM:<a@b> AUTH=<> RET=HDRS ENVID=x+2By", "a@b", {"AUTH": "<>", "RET": "HDRS", "ENVID": "x+2By"}),
        (f"FROM:<{LONG_LOCAL}@{domain_of(254 - 65)}>", f"{LONG_LOCAL}@{domain_of(254 - 65)}", {}),
    ],
)
def test_mail(argument, address, parameters):
    assert commands.parse_mail(argument) == (address, parameters)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("<a@b.example>", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM <a@b.example>", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("TO:<a@b.example>", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:<a@b.example", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:a@b.example>", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:<<a@b.example>>", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:<a@b.example>SIZE=1", replies.SYNTAX_ERROR.filled(usage="MAIL FROM:<address>")),
        ("FROM:<a@b.example> SIZE=", replies.PARAMETER_UNKNOWN.filled(parameter="SIZE=")),
        ("FROM:<a@b.example> =1", replies.PARAMETER_UNKNOWN.filled(parameter="=1")),
        ("FROM:<a@b.example> NOTIFY=NEVER", replies.PARAMETER_UNKNOWN.filled(parameter="NOTIFY=NEVER")),
        ("FROM:<a@b.example> BODY", replies.SYNTAX_ERROR.filled(usage="BODY=7BIT or BODY=8BITMIME")),
        ("FROM:<a@b.example> BODY=BINARYMIME", replies.SYNTAX_ERROR.filled(usage="BODY=7BIT or BODY=8BITMIME")),
        ("FROM:<a@b.example> BODY=x SIZE=1", replies.SYNTAX_ERROR.filled(usage="BODY=7BIT or BODY=8BITMIME")),
        ("FROM:<a b@c.example>", replies.BAD_SENDER.filled(address="a b@c.example")),
        (f"FROM:<{'l' * 65}@{domain_of(190)}>", replies.BAD_SENDER.filled(address=f"{'l' * 65}@{domain_of(190)}")),
    ],
)
def test_mail_refused(argument, reply):
    assert refusal(commands.parse_mail, argument) == reply


@pytest.mark.parametrize(
    ("argument", "mailbox"),
    [
        ("TO:<a@b.example>", "a@b.example"),
        ("to: a@b.example", "a@b.example"),
        ("TO:<A.b+c@B.Example>", "A.b+c@b.example"),
        ("TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b.example", "a@b.example"),
        ("TO:<@r.example:a@b.example>", "a@b.example"),
        ("TO:<!#$%&'*+-/=?^_`{|}~@b.example>", "!#$%&'*+-/=?^_`{|}~@b.example"),
        ('TO:<"a b"@c.example>', '"a b"@c.example'),
        ('TO:<"a@b"@c.example>', '"a@b"@c.example'),
        ("TO:<a@bücher.example>", "a@xn--bcher-kva.example"),
        ("TO:<a@BÜCHER.example>", "a@xn--bcher-kva.example"),
        ("TO:<a@xn--bcher-kva.example>", "a@xn--bcher-kva.example"),
        ("TO:<a@例え.テスト>", "a@xn--r8jz45g.xn--zckzah"),
        (f"TO:<{LONG_LOCAL}@b.example>", f"{LONG_LOCAL}@b.example"),
        (f"TO:<a@{LABEL}.example>", f"a@{LABEL}.example"),
        (f"TO:<a@{domain_of(252)}>", f"a@{domain_of(252)}"),
    ],
)
def test_rcpt(argument, mailbox):
    assert commands.parse_rcpt(argument) == mailbox


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@b.example",
        "a@",
        "a@b",  # no mail comes to a top-level domain
        "a..b@c.example",
        ".a@b.example",
        "a.@b.example",
        "a b@c.example",
        "a@b@c.example",
        '"a"b@c.example',
        "a@-b.example",
        "a@b-.example",
        "a@b..example",
        "a@.b.example",
        "a@b.example.",
        "a@b_c.example",
        "a@[192.0.2.1]",
        "a@b.e",
        "a@xn--\u00fc.example",
        "a,b@c.example",
        f"{LONG_LOCAL}l@b.example",
        f"a@{LABEL}d.example",
        f"a@{domain_of(253)}",
        f"{'l' * 63}é@b.example",  # 65 octets, though 64 characters
    ],
)
def test_a_recipient_that_is_no_mailbox(address):
    assert refusal(commands.parse_rcpt, f"TO:<{address}>") == replies.BAD_RECIPIENT.filled(address=address)


def test_a_recipient_outside_ascii():
    reply = replies.NON_ASCII_RECIPIENT.filled(address="zoë@b.example")
    assert refusal(commands.parse_rcpt, "TO:<zoë@b.example>") == reply


@pytest.mark.parametrize("argument", ["", "TO:", "FROM:<a@b.example>", "TO:<a@b.example", "TO:<a@b.example>x"])
def test_rcpt_syntax(argument):
    assert refusal(commands.parse_rcpt, argument) == replies.SYNTAX_ERROR.filled(usage="RCPT TO:<address>")


def test_rcpt_takes_no_parameter_of_mail():
    reply = refusal(commands.parse_rcpt, "TO:<a@b.example> SIZE=1")
    assert reply == replies.PARAMETER_UNKNOWN.filled(parameter="SIZE=1")


@pytest.mark.parametrize(
    ("given", "size"),
    [({}, 0), ({"SIZE": ""}, 0), ({"SIZE": "0"}, 0), ({"SIZE": "007"}, 7), ({"SIZE": "1000"}, 1000)],
)
def test_declared_size(given, size):
    assert commands.declared_size(given, 1000) == size


@pytest.mark.parametrize("size", ["-1", "1.5", "1k", "0x10", "1" * 21, "١"])
def test_declared_size_is_a_number(size):
    assert refusal(commands.declared_size, {"SIZE": size}, 1000).code == 501


def test_declared_size_over_the_limit():
    assert refusal(commands.declared_size, {"SIZE": "1001"}, 1000) == replies.MESSAGE_TOO_BIG.filled(limit=1000)


def code_of(read, argument: str | bytes) -> int:
    """Return the code that rejects an argument, 250 when it is accepted. Any other exception fails the test."""
    try:
        read(argument)
    except SMTPError as refused:
        assert re.fullmatch(rb"([0-9]{3}[ -][ -~]*\r\n)+", refused.reply.encode())  # noqa: PT017
        return refused.reply.code
    return 250


@given(st.binary(max_size=200))
def test_any_line_is_read_or_refused(line):
    assert code_of(commands.split_line, line.replace(b"\n", b"")) in (250, 501)


@given(st.text(max_size=300))
def test_any_argument_is_read_or_refused_in_one_reply(text):
    for keyword, read in (("FROM:", commands.parse_mail), ("TO:", commands.parse_rcpt)):
        for argument in (text, keyword + text, f"{keyword}<{text}>"):
            assert code_of(read, argument) in (250, 501, 553, 555)


@given(st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20})?@([a-z0-9]{1,10}\.){1,3}[a-z]{2,10}", fullmatch=True))
def test_a_plain_mailbox_comes_out_as_it_went_in(address):
    assert commands.parse_rcpt(f"TO:<{address}>") == address
    assert commands.parse_mail(f"FROM:<{address}>") == (address, {})
