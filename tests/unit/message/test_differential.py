"""Differential tests of the parser against the standard library: the same parts, fields, names and octets.

`tests.mime.differences` lists the oddities that the two parsers read differently on purpose.
"""

import base64
import binascii
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpgw.core.replies import SMTPError
from tests.mime.differences import DIFFERENCES
from tests.mime.standard import Piece, ours, standards

CORPUS = Path(__file__).parent.parent.parent / "corpus"
MESSAGES = sorted(CORPUS.rglob("*.eml"))


def reading(raw: bytes) -> Piece | None:
    """Return the parts that the gateway reads, None if it rejects the message."""
    try:
        return ours(raw)
    except SMTPError:
        return None


# --- Stored messages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eml", MESSAGES, ids=lambda eml: f"{eml.parent.name}-{eml.stem}")
def test_messages_of_the_corpus_are_read_alike(eml):
    raw = eml.read_bytes()
    read = reading(raw)
    if read is None or read == standards(raw):
        return
    plain = read.without_content_fields()
    for count in (1, 2):
        for differences in combinations(DIFFERENCES, count):
            mended = raw
            for difference in differences:
                mended = difference.mend(mended)
            if mended != raw and plain == standards(mended).without_content_fields():
                return
    assert read == standards(raw), "no difference that is known"


def test_there_is_a_corpus_that_is_read():
    read = [reading(eml.read_bytes()) for eml in MESSAGES]
    assert len([piece for piece in read if piece]) > 0.5 * len(read) > 10


# --- Differences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
def test_an_odd_message_is_read_as_the_mended_one_is(difference):
    odd, mended = difference.odd, difference.mend(difference.odd)
    assert ours(odd) != standards(odd), "the standard parser has learned it: strike the difference"
    assert ours(odd).without_content_fields() == standards(mended).without_content_fields()
    assert ours(mended) == standards(mended)


# --- Generated messages -----------------------------------------------------------------------------------------------

LINE_END = st.sampled_from([b"\r\n", b"\n"])
VISIBLE = st.binary(max_size=40).map(lambda octets: octets.translate(None, b"\r\n"))
WORDS = st.sampled_from(
    [
        b"",
        b"plain words",
        "Zo\u00eb".encode(),
        b"Zo\xeb",
        b"=?utf-8?q?Zo=C3=AB?= and",
        b"a: b; c=d",
        b"  spaces  ",
        b"\tt",
    ]
)
NAMES = st.sampled_from([b"Subject", b"To", b"X-A", b"x-b", b"Received", b"List-Id", b"!"])
TYPES = st.sampled_from(
    [
        b"text/plain", b"TEXT/html; charset=iso-8859-1", b"text/plain;charset=utf-8;format=flowed", b"message/rfc822",
        b'application/pdf; name="a b.pdf"', b"image/png; name=a.png", b"application/pdf; name*=utf-8''%C3%A9.pdf",
        b'application/x; name*0="a"; name*1="b.txt"', b"application/x; name*0*=iso-8859-1'fr'%E9; name*1=.txt",
        b"text/plain; charset", b'text/plain; x="a;b"; charset="utf-8"',
    ]
)  # fmt: skip
DISPOSITIONS = st.sampled_from(
    [
        b"inline", b"ATTACHMENT", b'attachment; filename="a \\"b\\".pdf"', b"attachment; filename=a.pdf; size=3",
        b'attachment; filename="=?utf-8?q?=C3=A9.pdf?="', "attachment; filename=\u00e9.pdf".encode(), b"x-other", b"",
        b"attachment; filename*0*=utf-8''%C3; filename*1*=%A9.pdf", b'attachment;\r\n filename="fol\r\n ded.pdf"',
    ]
)  # fmt: skip
BOUNDARIES = (b"b", b"bb", b"bbb", b"=_(x)+_,-./:=?", b"b b", b"--b")


def encoded(encoding: bytes, content: bytes) -> bytes:
    match encoding.lower():
        case b"base64":
            return base64.encodebytes(content)
        case b"quoted-printable":
            return binascii.b2a_qp(content)
    return content.replace(b"\r", b"")  # a bare CR is among the differences


@st.composite
def fields(draw) -> list[bytes]:
    """Generate header fields without line ends, some of them folded."""
    made = []
    for _ in range(draw(st.integers(0, 3))):
        value = draw(WORDS | VISIBLE)
        if draw(st.booleans()):
            value += draw(LINE_END) + draw(st.sampled_from([b" ", b"\t", b"  "])) + draw(WORDS | VISIBLE)
        made.append(draw(NAMES) + draw(st.sampled_from([b":", b": ", b":\t"])) + value)
    return made


@st.composite
def leaves(draw) -> bytes:
    header = draw(fields())
    encoding = draw(st.sampled_from([b"", b"7bit", b"8bit", b"base64", b"BASE64", b"quoted-printable", b"x-unknown"]))
    if encoding:
        header.append(b"Content-Transfer-Encoding: " + encoding)
    if draw(st.booleans()):
        header.append(b"Content-Type: " + draw(TYPES))
    if draw(st.booleans()):
        header.append(b"Content-Disposition: " + draw(DISPOSITIONS))
    body = encoded(encoding, draw(st.binary(max_size=200) | WORDS))
    return draw(with_header(draw(st.permutations(header)), body))


@st.composite
def with_header(draw, header: list[bytes], body: bytes) -> bytes:
    return b"".join(line + draw(LINE_END) for line in header) + draw(LINE_END) + body


@st.composite
def multiparts(draw, parts: st.SearchStrategy[bytes], closed: bool = False) -> bytes:
    """Generate a multipart. A nested one may lack its closing boundary."""
    children = draw(st.lists(parts, min_size=1, max_size=3))
    used = {boundary for boundary in BOUNDARIES for child in children if b'"' + boundary + b'"' in child}
    boundary = draw(st.sampled_from([boundary for boundary in BOUNDARIES if boundary not in used] or [b"last"]))
    kind = draw(st.sampled_from([b"mixed", b"alternative", b"related", b"digest", b"x-unknown"]))
    header = [*draw(fields()), b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"']
    space = st.sampled_from([b"", b"", b" ", b"\t "])
    body = draw(st.sampled_from([b"", b"preamble\r\n", b"--not\n", b"\r\n"]))
    for part in children:
        body += b"--" + boundary + draw(space) + draw(LINE_END) + part + draw(LINE_END)
    if closed or draw(st.integers(0, 4)):
        body += b"--" + boundary + b"--" + draw(space)
        body += draw(st.sampled_from([b"", b"\r\n", b"\nepilogue\n"]))
    return draw(with_header(header, body))


PARTS = st.recursive(leaves(), multiparts, max_leaves=6)
MADE = leaves() | multiparts(PARTS, closed=True)


def test_messages_that_are_made_are_read_alike():
    outcomes = Counter()

    @settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(MADE)
    def is_read_alike(raw):
        read = reading(raw)
        outcomes["refused" if read is None else "multipart" if read.pieces else "single"] += 1
        assert read is None or read == standards(raw)

    is_read_alike()
    assert outcomes["multipart"] > 100
    assert outcomes["refused"] < outcomes["multipart"] + outcomes["single"]
