"""Content-Transfer-Encoding: quoted-printable and base64, as they should be and as they come (RFC 2045 §6)."""

import base64
from collections.abc import Iterator

from tests.corpus.case import Case, request, unreadable
from tests.corpus.octets import Octets, mail, mail_of, part

PDF = bytes(range(256)) * 3
CODE = base64.b64encode(PDF)

QUOTED_PRINTABLE: list[tuple[str, Octets, str]] = [
    ("soft-breaks", "one =\r\ntwo=\r\n three", "one two three"),
    ("soft-break-inside-a-character", "K=C3=\r\n=B6ln", "Köln"),
    ("soft-break-with-spaces", "one=  \r\ntwo=\t\r\nthree", "onetwothree"),
    ("soft-break-by-lf", b"one=\ntwo", "onetwo"),
    ("soft-break-by-cr", b"one=\rtwo\r\nthree", "onetwo\nthree"),
    ("soft-break-at-the-end", "one=", "one"),
    ("lower-case", "K=c3=b6ln", "Köln"),
    ("equals-sign-alone", "1 + 1 = 2", "1 + 1 = 2"),
    ("equals-signs-in-a-row", "a==b===c", "a==b===c"),
    ("equals-sign-before-an-escape", "x==3Dy", "x==y"),
    ("no-hex-digits", "=ZZ =4 =G1", "=ZZ =4 =G1"),
    # =de is an escape by chance, of an octet that is no UTF-8.
    ("address-not-encoded", "https://example.com/?a=1&bc=deadbeef=x", "https://example.com/?a=1&bc\u00deadbeef=x"),
    ("eight-bit-inside", "Köln =3D schön", "Köln = schön"),
    ("encoded-line-ends", "one=0D=0Atwo=0Athree", "one\ntwo\nthree"),
    ("encoded-dot", "=2E\r\n=2Edot", ".\n.dot"),
    ("underscore", "a_b", "a_b"),
    ("form-feed", "a=0Cb", "a\fb"),
    ("nul", "a=00b", "ab"),
    ("empty", "", " "),
]  # fmt: skip
BASE64_TEXT: list[tuple[str, Octets]] = [
    ("lines-of-76", base64.encodebytes(PDF).replace(b"\n", b"\r\n")),
    ("lines-of-60", b"\r\n".join(CODE[i : i + 60] for i in range(0, len(CODE), 60))),
    ("one-line", CODE),
    ("spaces-and-tabs", b" \t".join(CODE[i : i + 7] for i in range(0, len(CODE), 7))),
    ("empty-lines", b"\r\n\r\n".join(CODE[i : i + 76] for i in range(0, len(CODE), 76)) + b"\r\n\r\n\r\n"),
    ("bare-lf", base64.encodebytes(PDF)),
    ("junk", b"!*\r\n".join(CODE[i : i + 50] for i in range(0, len(CODE), 50))),
    ("nul", CODE[:100] + b"\0" + CODE[100:]),
    ("footer-after-the-padding", base64.b64encode(PDF + b"12") + b"\r\n-- \r\nSent by a gateway"),
]
# Content whose base64 wants padding, without it; and in pieces that have each their own.
PADDING = [
    ("one-sign-missing", b"YWI", b"ab"),
    ("two-signs-missing", b"YWJjZA", b"abcd"),
    ("one-of-two-missing", b"YWJjZA=", b"abcd"),
    ("one-too-many", b"YWI==", b"ab"),
    ("pieces-with-their-own", b"YQ==\r\nYmM=\r\nZGVm", b"abcdef"),
    ("letter-left-over", b"YWJjZ", b"abc"),
    ("letter-left-over-in-a-piece", b"YWJjZ=\r\nZGVm", b"abcdef"),
    ("letter-left-over-after-pieces", b"YQ==\r\nYmM=\r\nZGVmZ", b"abcdef"),
    ("nothing", b"", b""),
    ("nothing-but-padding", b"====", b""),
]


def cases() -> Iterator[Case]:
    text = "Content-Type: text/plain; charset=utf-8"
    for name, body, seen in QUOTED_PRINTABLE:
        raw = mail(body, text, "Content-Transfer-Encoding: quoted-printable")
        yield Case(f"transfer/quoted-printable-{name}", raw, request("Test", seen))
    for name, code in BASE64_TEXT:
        wanted = PDF + b"12" if name.startswith("footer") else PDF
        yield Case(
            f"transfer/base64-{name}", pdf(code), request("Test", "Hello", attachments=[("a.pdf", "pdf", wanted)])
        )
    for name, code, content in PADDING:
        expected = request("Test", "Hello", attachments=[("a.pdf", "pdf", content)])
        yield Case(f"transfer/base64-padding-{name}", pdf(code), expected)
        raw = mail(code, text, "Content-Transfer-Encoding: base64")
        yield Case(f"transfer/base64-text-padding-{name}", raw, request("Test", content.decode() or " "))
    yield from encodings()


def pdf(code: Octets) -> bytes:
    field = "Content-Transfer-Encoding: base64"
    return mail_of("mixed", part("text/plain", "Hello"), part("application/pdf; name=a.pdf", code, field))


def encodings() -> Iterator[Case]:
    for name, field in [
        ("capitals", "BASE64"),
        ("with-a-parameter", "base64; charset=utf-8"),
        ("spaces", "   base64   "),
        ("with-a-comment", "base64 (of course)"),
        ("in-quotes", '"base64"'),
    ]:
        raw = mail(base64.b64encode(b"Hello"), f"Content-Transfer-Encoding: {field}")
        yield Case(f"transfer/encoding-{name}", raw, request("Test", "Hello"))
    for name, field in [("unknown", "x-own"), ("charset", "utf-8"), ("8-bit", "8 bit"), ("empty", "")]:
        raw = mail("Grüße = 100%", f"Content-Transfer-Encoding: {field}")
        yield Case(f"transfer/encoding-{name}", raw, request("Test", "Grüße = 100%"))
    raw = mail("x", "Content-Transfer-Encoding: 7bit", "Content-Transfer-Encoding: base64")
    yield Case("transfer/encoding-twice", raw, request("Test", "x"))
    field = "Content-Transfer-Encoding: quoted-printable"
    raw = mail("=3D" + "==" * 20_000, field)
    yield Case("transfer/quoted-printable-of-mistakes", raw, unreadable("its quoted-printable has too many mistakes"))
    raw = pdf("QQ==" * 1500)
    yield Case("transfer/base64-of-padding", raw, unreadable("its base64 is padded in too many places"))
    raw = mail_of("mixed", part("application/pdf; name=a.pdf", "M)5!$", "Content-Transfer-Encoding: x-uuencode"))
    expected = unreadable("the Content-Transfer-Encoding of an attachment is x-uuencode")
    yield Case("transfer/encoding-of-an-attachment-unknown", raw, expected)
    body = "begin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n"
    yield Case("transfer/uuencode-in-the-text", mail(body), request("Test", body.replace("\r\n", "\n")))
