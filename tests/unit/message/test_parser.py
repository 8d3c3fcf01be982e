"""Property tests of the parser: errors, cost, and no loss of parts. Single cases are in the corpus."""

import base64
import contextlib
import re
import time
import tracemalloc
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, compat32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smtpgw.core.replies import SMTPError
from smtpgw.dialects.interpreter import Options
from smtpgw.message import charsets, parts
from smtpgw.message.attachments import TYPES
from smtpgw.message.parser import Message, decode, parse
from smtpgw.submission.translation import translate
from tests.corpus.case import stored

MIB = 1024 * 1024
HEAD = b"From: zoe@example.com\r\nSubject: Test\r\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b1\r\n\r\n"
CORPUS = [case.raw for case in stored()]


# --- Arbitrary octets ---------------------------------------------------------------------------------------------

# Tokens with a meaning to the parser, so that generated messages reach more code than noise would.
PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b"=", b'"', b"<", b">", b"(", b")", b",",
        b"\xff", b"\xc3", b"\xe2\x80\xa8", b"--", b"--b1", b"--b1--", b"b1", b"From: ", b"To: ", b"Subject: ",
        b"Bcc : ",
        b"Content-Type: ", b"Content-Transfer-Encoding: ", b"Content-Disposition: ", b"Content-ID: <i>",
        b"attachment", b"inline", b"filename", b"filename*0*=utf-8''%C3", b"name=a.pdf",
        b"multipart/mixed; boundary=b1",
        b"multipart/alternative; boundary=b1", b"multipart/related; boundary=b1", b"text/plain", b"text/html",
        b"text/calendar", b"image/gif", b"application/pdf", b"message/rfc822", b"; charset=utf-7",
        b"; charset=iso-2022-jp", b"; charset=utf-16", b"; format=flowed; delsp=yes", b"base64", b"quoted-printable",
        b"QUJD", b"QQ==", b"=\r\n", b"=3D", b"+2AA-", b"\x1b$B", b"<img src=cid:i>", b"=?utf-8?q?=C3?=",
        b"=?utf-7?b?KzJBQS0=?=", b"zoe@example.com",
    ]
)  # fmt: skip
MESSAGES_OF_PIECES = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=60).map(b"".join)


def request_or_refusal(raw: bytes, inline_images: str = "embed") -> Message | SMTPError:
    try:
        mail = parse(raw, inline_images)
        translate(mail, Options(), "1", None, "transactional").body_for("anna@example.com")
    except SMTPError as refused:
        return refused
    return mail


@given(st.one_of(st.binary(), MESSAGES_OF_PIECES), st.sampled_from(["embed", "refuse"]))
@example(b"", "embed")
@example(b"From: \xed\xa0\x80 <a@b.example>\r\n\r\n", "embed")
@settings(max_examples=500, deadline=None)
def test_any_octets_become_a_request_or_a_refusal(raw: bytes, inline_images: str) -> None:
    request_or_refusal(raw, inline_images)


@given(st.sampled_from(CORPUS), st.data())
@settings(max_examples=300, deadline=None)
def test_any_part_of_a_message_becomes_a_request_or_a_refusal(raw: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, min(len(raw), 3000)))
    request_or_refusal(raw[:start])
    request_or_refusal(raw[start:])


@given(MESSAGES_OF_PIECES)
@settings(max_examples=300, deadline=None)
def test_no_header_has_a_line_end_and_no_text_a_nul(pieces: bytes) -> None:
    mail = request_or_refusal(HEAD + b"X-A: " + pieces)
    if isinstance(mail, Message):
        for text in (mail.subject, *(header.value for header in mail.headers)):
            assert not any(character in text for character in "\r\n\0\x85\u2028\u2029")
        assert "\0" not in (mail.text or "") + (mail.html or "")


@given(st.text())
@settings(deadline=None)
def test_decoded_is_one_line_whatever_the_value(value: str) -> None:
    words = f"=?utf-8?b?{base64.b64encode(value.encode('utf-8', 'replace')).decode()}?="
    for text in (decode(value), decode(words)):
        assert len(text.splitlines()) <= 1


# --- No loss of parts ---------------------------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])
LINES = st.lists(st.text(LETTERS, max_size=100), min_size=1, max_size=10).map("\n".join).map(lambda text: text + "\n")
NAMES = st.tuples(st.text("abcXYZ019_-", min_size=1, max_size=30), st.sampled_from(sorted(TYPES))).map(".".join)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=4, unique_by=lambda file: file[0].lower())


@given(
    text=st.none() | LINES,
    html=st.none() | LINES,
    files=FILES,
    subject=st.text(LETTERS, min_size=1, max_size=100).map(lambda text: " ".join(text.split())).filter(bool),
    cte=st.sampled_from(["quoted-printable", "base64", "8bit"]),
)
@settings(max_examples=150, deadline=None)
def test_what_the_standard_library_writes_is_read_whole(
    text: str | None, html: str | None, files: list[tuple[str, bytes]], subject: str, cte: str
) -> None:
    mail = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
    mail["From"] = "zoe@example.com"
    mail["Subject"] = subject
    if text is not None:
        mail.set_content(text, cte=cte, charset="utf-8")
    if html is not None:
        write = mail.set_content if text is None else mail.add_alternative
        write(html, subtype="html", cte=cte, charset="utf-8")
    for name, octets in files:
        mail.add_attachment(octets, maintype="application", subtype="octet-stream", filename=name)
    read = parse(mail.as_bytes(), "embed")
    assert read.text == ((text if text is not None else "") if html is None and not files else text)
    assert read.html == html
    assert [(file.filename, base64.b64decode(file.content)) for file in read.attachments] == files
    assert [file.type for file in read.attachments] == [TYPES[name.rpartition(".")[2]] for name, _ in files]


@given(st.text(LETTERS, max_size=60), st.sampled_from(["utf-8", "iso-2022-jp", "koi8-r", "utf-7"]), st.integers(1, 20))
@settings(deadline=None)
def test_encoded_words_may_be_split_at_any_octet(text: str, charset: str, bytes_per_character: int) -> None:
    octets = text.encode(charset, "ignore")
    pieces = [octets[at : at + bytes_per_character] for at in range(0, len(octets), bytes_per_character)]
    words = " ".join(f"=?{charset}?B?{base64.b64encode(piece).decode()}?=" for piece in pieces)
    seen = charsets.decode(octets, charset)
    assert decode(words) == (seen if seen.isprintable() else decode(seen))


@pytest.mark.parametrize("encoding", ["base64", "8bit"])
def test_octets_of_an_attachment_are_the_same_up_to_the_size_limit(encoding: str) -> None:
    octets = bytes(range(256)) * (17 * 4096)
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n") if encoding == "base64" else octets
    field = b"Content-Transfer-Encoding: " + encoding.encode()
    raw = MIXED + b"--b1\r\nContent-Type: application/pdf\r\n" + field + b"\r\n\r\n" + body + b"\r\n--b1--\r\n"
    [attachment] = parse(raw, "embed").attachments
    assert base64.b64decode(attachment.content, validate=True) == octets


# --- The standard library's parser reads the same parts -------------------------------------------------------------


def leaves(part: parts.Part) -> list[tuple[str, bytes]]:
    if part.type.startswith("multipart/"):
        return [leaf for child in part.children for leaf in leaves(child)]
    return [(part.type, part.body)]


def standard_leaves(raw: bytes) -> list[tuple[str, bytes]]:
    found = []
    for part in BytesParser(policy=compat32).parsebytes(raw).walk():
        if not part.is_multipart():
            # Without the field, the payload is returned as raw octets.
            del part["Content-Transfer-Encoding"]
            found.append((part.get_content_type(), part.get_payload(decode=True)))
    return found


# Cases in which the standard library loses something or is too strict.
READ_OTHERWISE = {
    "attachments/name-content-type-is-none",  # It takes a file without a type for text.
    "attachments/name-type-encoded-as-a-whole",  # It takes a part with an unreadable type for text, too.
    "authors/space-before-the-colon",  # It ends the header section there.
    "bodies/type-with-a-comment",
    "headers/bcc-with-space",
    "headers/byte-order-mark",  # It ends the header section there, too.
    "headers/byte-order-mark-and-mbox-line",
    "headers/mbox-line-quoted",
    "structure/boundary-not-closed",  # It removes the last line end of the part.
    "structure/closed-in-the-middle",  # It loses the part after it.
    "structure/empty-multipart",
    "structure/no-parts",
    "structure/same-boundary-twice",  # It loses the attachment.
    "subjects/space-before-the-colon",
}


def can_be_compared(raw: bytes) -> bool:
    """Return whether both parsers should agree.

    The standard library ends lines at a bare CR, parses attached messages, and starts the body at a broken header.
    """
    lines = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].split(b"\n")
    is_well_formed = all(b":" in line or line[:1] in (b" ", b"\t") for line in lines)
    return is_well_formed and not re.search(rb"\r(?!\n)|message/|digest", raw)


def test_parts_are_those_of_the_standard_library() -> None:
    cases = [case for case in stored() if "request" in case.expected and can_be_compared(case.raw)]
    otherwise = {case.name for case in cases if leaves(parts.parse(case.raw)) != standard_leaves(case.raw)}
    assert otherwise == READ_OTHERWISE
    assert len(cases) > 400


# --- Cost -----------------------------------------------------------------------------------------------------------


def of_size(piece: bytes, size: int = 25 * MIB) -> bytes:
    return piece * (size // len(piece))


COSTLY = {
    "100,000 parts": lambda: MIXED + of_size(b"--b1\r\n\r\n" + b"x" * 240 + b"\r\n") + b"--b1--\r\n",
    "10,000 nested parts": lambda: (
        HEAD
        + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10_000))
        + of_size(b"x" * 70 + b"\r\n")
    ),
    "a header of 1 MB": lambda: HEAD + b"X-A: " + b"x" * MIB + b"\r\n\r\nHello",
    "headers of 1 MB": lambda: HEAD + of_size(b"X-A: b\r\n", MIB) + b"\r\nHello",
    "a name of 1 MB": lambda: HEAD + b"x" * MIB + b"\r\n\r\nHello",
    "encoded words of 200 kB": lambda: b"Subject: " + of_size(b"=?a?q?", 200_000) + b"\r\n\r\nHello",
    "parameters of 200 kB": lambda: HEAD + b"Content-Type: text/plain" + of_size(b";a*1=b", 200_000) + b"\r\n\r\nHello",
    "quotes of 200 kB": lambda: HEAD + b'Content-Type: text/plain;a="' + b"\\" * 200_000 + b"\r\n\r\nHello",
    "lines like boundaries": lambda: MIXED + b"--b1\r\n\r\n" + of_size(b"--b1x\r\n"),
    "empty lines": lambda: HEAD + b"\r\n" + of_size(b"\r\n"),
    "flowed lines": lambda: HEAD + b"Content-Type: text/plain; format=flowed\r\n\r\n" + of_size(b" \r\n"),
    "base64 of padding": lambda: HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + of_size(b"QQ=="),
    "base64 of junk": lambda: HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + of_size(b"Q!"),
    "quoted-printable of mistakes": lambda: (
        HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + of_size(b"=")
    ),
    "a PDF": lambda: (
        MIXED
        + b"--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + of_size(b"QUJD" * 19 + b"\r\n")
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_cost_is_bounded(name: str) -> None:
    """Under a second of CPU and four times the size in memory for 10 MB, the message itself included."""
    raw = COSTLY[name]()
    started = time.thread_time()
    request_or_refusal(raw)
    assert time.thread_time() - started < max(len(raw) / (10 * MIB), 0.5)


@pytest.mark.parametrize(
    "name", ["100,000 parts", "10,000 nested parts", "a header of 1 MB", "headers of 1 MB", "a PDF"]
)
def test_memory_is_bounded(name: str) -> None:
    raw = COSTLY[name]()
    tracemalloc.start()
    try:
        with contextlib.suppress(SMTPError):
            parse(raw, "embed")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(raw)  # The message itself is included.


def test_a_clean_attachment_is_passed_through_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpgw.message.transfer.decode_base64", lambda body: pytest.fail("decoded"))
    raw = (
        MIXED + b"--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b1--\r\n"
    )
    assert parse(raw, "embed").attachments[0].content == "QUJD"


def test_notes_tell_what_was_changed_and_nothing_of_the_content() -> None:
    raw = MIXED + (
        b"--b1\r\nContent-Type: text/html\r\n\r\n<img src=cid:i>secret\r\n"
        b"--b1\r\nContent-Type: image/gif\r\nContent-ID: <i>\r\n\r\nsecret\r\n"
        b"--b1\r\nContent-Type: text/x-amp-html\r\n\r\nsecret\r\n"
        b'--b1\r\nContent-Type: application/pdf; name="a b.pdf"\r\n\r\nsecret\r\n--b1--\r\n'
    )
    assert parse(raw, "embed").notes == (
        "dropped a part of type text/x-amp-html",
        "embedded 1 inline images in the HTML",
        "attachment 'a b.pdf' renamed a_b.pdf",
    )


def test_message_has_every_header_as_it_came() -> None:
    mail = parse(
        HEAD + b"Message-ID:  <1@example.com> \r\nBcc : eve@example.org\r\nX-A: =?utf-8?q?=C3=A4?=\r\n\r\n", "embed"
    )
    assert [(header.name, header.value) for header in mail.headers] == [
        ("From", "zoe@example.com"),
        ("Subject", "Test"),
        ("Message-ID", "<1@example.com>"),
        ("Bcc", "eve@example.org"),
        ("X-A", "=?utf-8?q?=C3=A4?="),
    ]
    assert mail.message_id == "<1@example.com>"
