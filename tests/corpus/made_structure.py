"""The skeleton: boundaries, nesting, line ends, dots, NULs, long lines (RFC 2046 §5.1)."""

from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Case, request, unreadable
from tests.corpus.octets import mail, mail_of, multipart, part, parts

TEXT, HTML = part("text/plain", "Hello"), part("text/html", "<p>Hello</p>")
PDF = part("application/pdf; name=a.pdf", "JVBERi0=", "Content-Transfer-Encoding: base64")
PDF_ATTACHED = [("a.pdf", "pdf", b"%PDF-")]
MIXED = "Content-Type: multipart/mixed; boundary=b1"
NO_BOUNDARY = unreadable("a multipart/mixed without the boundary it declares")

Made = Iterator[tuple[str, bytes, dict[str, Any]]]


def cases() -> Iterator[Case]:
    for name, raw, expected in [*boundaries(), *named_boundaries(), *broken_boundaries(), *nesting(), *lines()]:
        yield Case(f"structure/{name}", raw, expected)


def boundaries() -> Made:
    whole = request("Test", "Hello", attachments=PDF_ATTACHED)
    two = (TEXT, PDF)
    yield "preamble", mail(parts(*two, preamble=b"This is a multi-part message.\r\n\r\n"), MIXED), whole
    yield "epilogue", mail(parts(*two, epilogue=b"\r\nSent by a gateway.\r\n"), MIXED), whole
    yield "no-line-end-at-the-end", mail(parts(*two, epilogue=b""), MIXED), whole
    yield "spaces-after-boundaries", mail(parts(*two).replace(b"--b1\r\n", b"--b1  \t\r\n"), MIXED), whole
    yield "lf-only", mail(parts(*two), MIXED).replace(b"\r\n", b"\n"), whole
    yield "lf-in-the-body-only", mail(parts(*two).replace(b"\r\n", b"\n"), MIXED), whole


def named_boundaries() -> Made:
    whole = request("Test", "Hello", attachments=PDF_ATTACHED)
    two = (TEXT, PDF)
    for name, boundary in [
        ("70-characters", "b" * 70),
        ("200-characters", "b" * 200),
        ("spaces", "a b c"),
        ("punctuation", "'()+_,-./:=?"),
        ("looks-like-an-expression", "=_[.*]+(?:x)"),
        ("dashes", "----"),
        ("quotes", r"a\"b"),
    ]:
        raw = mail(
            parts(*two, boundary=boundary.replace("\\", "")), f'Content-Type: multipart/mixed; boundary="{boundary}"'
        )
        yield f"boundary-{name}", raw, whole
    yield "boundary-rfc-2231", mail(parts(*two), "Content-Type: multipart/mixed; boundary*0=b; boundary*1=1"), whole
    raw = mail(parts(*two, boundary="b 1"), 'Content-Type: multipart/mixed; boundary="b 1  "')
    yield "boundary-with-spaces-after-it", raw, whole
    raw = mail_of("mixed", part("text/plain", "--b\r\n--b11\r\n--b1x\r\n --b1\r\nx--b1\r\n--B1"))
    yield "lines-like-boundaries", raw, request("Test", "--b\n--b11\n--b1x\n --b1\nx--b1\n--B1")
    inner = multipart("alternative", TEXT, HTML, boundary="b1-inner")
    yield (
        "boundary-begins-another",
        mail_of("mixed", inner, PDF),
        request("Test", "Hello", "<p>Hello</p>", attachments=PDF_ATTACHED),
    )
    inner = multipart("alternative", TEXT, HTML, boundary="b")
    yield (
        "boundary-is-the-beginning-of-the-outer",
        mail_of("mixed", inner, PDF),
        request("Test", "Hello", "<p>Hello</p>", attachments=PDF_ATTACHED),
    )
    yield "no-parts", mail("--b1--\r\n", MIXED), request("Test", " ")
    yield "empty-multipart", mail("", MIXED), request("Test", " ")
    yield "encoding-on-the-multipart", mail(parts(*two), MIXED, "Content-Transfer-Encoding: base64"), whole


def broken_boundaries() -> Made:
    whole = request("Test", "Hello", attachments=PDF_ATTACHED)
    unclosed = parts(TEXT, PDF).removesuffix(b"--b1--\r\n")
    yield "boundary-not-closed", mail(unclosed, MIXED), whole
    inner = part('multipart/alternative; boundary="b2"', parts(TEXT, HTML, boundary="b2").removesuffix(b"--b2--\r\n"))
    yield (
        "inner-boundary-not-closed",
        mail_of("mixed", inner, PDF),
        request("Test", "Hello", "<p>Hello</p>\n", attachments=PDF_ATTACHED),
    )
    yield "boundary-not-declared", mail(parts(TEXT), "Content-Type: multipart/mixed"), NO_BOUNDARY
    yield "boundary-empty", mail(parts(TEXT), 'Content-Type: multipart/mixed; boundary=""'), NO_BOUNDARY
    yield "boundary-of-another-message", mail(parts(TEXT), "Content-Type: multipart/mixed; boundary=b2"), NO_BOUNDARY
    yield "boundary-without-dashes", mail(parts(TEXT).replace(b"--b1", b"b1"), MIXED), NO_BOUNDARY
    inner = multipart("alternative", TEXT, HTML, boundary="b1")
    yield (
        "same-boundary-twice",
        mail_of("mixed", inner, PDF),
        request("Test", None, "<div>Hello</div>\n<p>Hello</p>", attachments=PDF_ATTACHED),
    )
    raw = mail(parts(TEXT) + parts(PDF), MIXED)
    yield "closed-in-the-middle", raw, whole
    raw = mail(parts(TEXT).replace(b"--b1--", b"--b1\r\n--b1--"), MIXED)
    yield "boundary-line-twice", raw, request("Test", "Hello")
    raw = mail(parts(TEXT, HTML).replace(b"--b1--", b"--b1\r\n--b1--"), MIXED.replace("mixed", "alternative"))
    yield "boundary-line-twice-in-alternative", raw, request("Test", "Hello", "<p>Hello</p>")
    raw = mail_of("mixed", part("text/plain", "Hello"), b"oops\r\nContent-Type: text/html\r\n\r\n<p>")
    yield "part-with-a-line-that-is-no-header", raw, unreadable("line 1 of a header section is no header field")


def nesting() -> Made:
    def nested(levels: int) -> bytes:
        inner = TEXT
        for level in range(levels - 1):
            inner = multipart("mixed", inner, boundary=f"n{level}")
        return mail_of("mixed", inner)

    yield "nested-10-deep", nested(10), request("Test", "Hello")
    too_deep = unreadable("its parts are nested more than 10 levels deep")
    yield "nested-11-deep", nested(11), too_deep
    yield "nested-100-deep", nested(100), too_deep
    many = unreadable("it has more than 1000 parts")
    yield "parts-999", mail_of("mixed", *[b"\r\nx"] * 999), request("Test", "\n".join("x" * 999))
    yield "parts-1000", mail_of("mixed", *[b"\r\nx"] * 1000), many


def lines() -> Made:
    long = "word " * 20_000
    yield "line-of-100-kB", mail(long), request("Test", long)
    yield (
        "html-line-of-100-kB",
        mail(f"<p>{long}</p>", "Content-Type: text/html"),
        request("Test", None, f"<p>{long}</p>"),
    )
    yield (
        "crlf-lf-cr",
        mail("one\r\ntwo\nthree\rfour\r\r\nfive\n\rsix"),
        request("Test", "one\ntwo\nthree\nfour\nfive\n\nsix"),
    )
    yield "dots", mail(".\r\n..\r\n.one\r\n\r\n.\r\n"), request("Test", ".\n..\n.one\n\n.\n")
    yield "nuls", mail(b"one\0two\0\0three\r\n\0"), request("Test", "onetwothree\n")
    yield "control-characters", mail("bell\a tab\t escape\x1b[1m"), request("Test", "bell\a tab\t escape\x1b[1m")
    yield "trailing-spaces", mail("one   \r\n\ttwo\t\r\n"), request("Test", "one   \n\ttwo\t\n")
    yield "many-empty-lines", mail("\r\n\r\n\r\none\r\n\r\n\r\n"), request("Test", "\n\n\none\n\n\n")
    yield "from-at-the-beginning-of-a-line", mail("From here\r\n>From there"), request("Test", "From here\n>From there")
    yield "json-characters", mail('"\\ \u2028 </script> {"a":1}'), request("Test", '"\\ \u2028 </script> {"a":1}')
    yield (
        "every-plane-of-unicode",
        mail("aé€\U0001f389\U00020bb7\uffff\u200d"),
        request("Test", "aé€\U0001f389\U00020bb7\uffff\u200d"),
    )
