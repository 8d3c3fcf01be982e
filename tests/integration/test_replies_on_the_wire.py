"""Replies as they are written on the wire: length, codes and status on each line, and whatever text fills them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.core import replies
from smtpgw.core.replies import LINE_BYTES, Reply, SMTPError, one_line
from tests.support.recorder import InProcess, codes

NAMED = {name: reply for name, reply in vars(replies).items() if isinstance(reply, Reply)}


@pytest.mark.parametrize(
    ("reply", "session_id", "sent"),
    [
        (Reply(250, "2.0.0", "Ok"), "", b"250 2.0.0 Ok\r\n"),
        (Reply(250, "2.0.0", "Ok"), "5e55", b"250 2.0.0 Ok\r\n"),
        (Reply(354, "", "Go on"), "5e55", b"354 Go on\r\n"),
        (Reply(334, "", ""), "", b"334 \r\n"),
        (Reply(550, "5.7.1", "No"), "", b"550 5.7.1 No\r\n"),
        (Reply(550, "5.7.1", "No"), "5e55", b"550 5.7.1 No [5e55]\r\n"),
        (Reply(421, "4.3.2", "Bye"), "5e55", b"421 4.3.2 Bye [5e55]\r\n"),
        (Reply(250, "", "gw\nSIZE 1\nHELP"), "5e55", b"250-gw\r\n250-SIZE 1\r\n250 HELP\r\n"),
        # RFC 2034 §4: the status on each line
        (Reply(550, "5.7.1", "one\ntwo"), "5e55", b"550-5.7.1 one\r\n550 5.7.1 two [5e55]\r\n"),
        (Reply(250, "2.0.0", "a\n\nb"), "", b"250-2.0.0 a\r\n250-2.0.0 \r\n250 2.0.0 b\r\n"),
        (Reply(250, "2.0.0", "naïve ☃"), "", b"250 2.0.0 na?ve ?\r\n"),
    ],
)
def test_encode(reply, session_id, sent):
    assert reply.encode(session_id) == sent


@pytest.mark.parametrize("session_id", ["", "5e55"])
def test_a_line_has_512_octets_and_no_more(session_id):  # RFC 5321 §4.5.3.1.5
    room = LINE_BYTES - len("550 5.7.1 \r\n") - (len(" [5e55]") if session_id else 0)
    (line,) = Reply(550, "5.7.1", "x" * room).encode(session_id).splitlines(keepends=True)
    assert len(line) == LINE_BYTES
    first, second = Reply(550, "5.7.1", "x" * (room + 1)).encode(session_id).splitlines(keepends=True)
    assert len(first) == LINE_BYTES
    assert first.startswith(b"550-5.7.1 ")
    assert second.startswith(b"550 5.7.1 ")


@given(st.sampled_from(list(NAMED.values())), st.text(max_size=1500))
def test_whatever_fills_a_reply_it_stays_one(reply, value):
    fields = dict.fromkeys(re.findall(r"\{([a-z]+)\}", reply.text), value)
    sent = reply.filled(**fields).filled(hostname="gw").encode("5e55")
    status = re.escape(f"{reply.status} " if reply.status else "").encode()
    assert re.fullmatch(rb"(%d-%b[ -~]*\r\n)*%d %b[ -~]*\r\n" % (reply.code, status, reply.code, status), sent)
    assert max(map(len, sent.splitlines(keepends=True))) <= LINE_BYTES
    assert sent.replace(b"\r\n", b"").endswith(b"]") or not reply.is_error


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a b", "a b"),
        ("  a \t b  ", "a b"),
        ("a\r\nb", "a b"),
        ("a\r\n250 Ok", "a 250 Ok"),
        ("a\0b\x1b[1mc\x7fd\x85e", "a b [1mc d e"),
        ("a\u2028b\u2029c\u200bd\ufeffe", "a b c d e"),
        ("zoë, Ünal, Čapek", "zoe, Unal, Capek"),
        ("ﬁve ①", "five 1"),
        ("日本", "日本"),
        (12, "12"),
        ("x" * 900, "x" * 800),
        ("", ""),
    ],
)
def test_one_line(value, line):
    assert one_line(value) == line


@pytest.mark.parametrize("value", ["{hostname}", "{x}", "{", "}{", "{0}", "{address.__class__}", "{address}", "%s"])
def test_braces_of_a_value_are_text(value):
    reply = replies.BAD_RECIPIENT.filled(address=value)
    assert reply.text == f"{value}: not a valid recipient address"
    assert reply.filled(words="x").text == reply.text


@pytest.mark.parametrize("address", ["{hostname}", "{hostname}{x}", "{hostname.__class__}", "{"])
def test_braces_of_an_address_do_not_end_the_session(address):
    heard = InProcess("mail given").converse([f"RCPT TO:<{address}>\r\nNOOP\r\n".encode()])
    assert codes(heard) == [220, 553, 250]
    assert b"class 'str'" not in heard


def test_a_filled_reply_keeps_its_name():
    assert replies.QUEUED.filled(id=7) == Reply(250, "2.0.0", "Ok: queued as 7")
    assert replies.QUEUED.filled(id=7).name == "queued"


def test_refused_says_what_the_reply_says():
    assert str(SMTPError(replies.OK)) == "250 2.0.0 Ok"


@pytest.mark.parametrize("name", NAMED)
def test_code_and_status_agree(name):
    reply = NAMED[name]
    assert reply.name == name.lower()
    assert 200 <= reply.code <= 599
    if reply.status:
        assert re.fullmatch(r"[245]\.[0-7]\.[0-9]{1,2}", reply.status)  # RFC 3463 §2
        assert int(reply.status[0]) == reply.code // 100  # RFC 2034 §4
    else:  # RFC 2034 §3
        assert reply.code in (220, 250, 334, 354)
    assert reply.is_error == (reply.code >= 400)
    assert reply.is_temporary == (400 <= reply.code < 500)
    assert "{hostname}" in reply.text or reply.code != 421  # RFC 5321 §4.2.3: 421 <domain>


def test_no_two_replies_are_the_same():
    assert len(set(NAMED.values())) == len(NAMED)
