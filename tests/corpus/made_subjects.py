"""Subjects: encoded words (RFC 2047) as they should be and as they are, eight bits, and none at all."""

import base64
from collections.abc import Iterator

from tests.corpus.case import Case, request
from tests.corpus.octets import Octets, mail


def word(octets: bytes, charset: str = "utf-8") -> str:
    return f"=?{charset}?B?{base64.b64encode(octets).decode()}?="


def q(octets: bytes, charset: str = "utf-8") -> str:
    return f"=?{charset}?Q?{''.join(f'={octet:02X}' for octet in octets)}?="


def iso_2022_jp(text: str) -> str:
    return word(text.encode("iso2022_jp"), "iso-2022-jp")


KOLN = "Köln".encode()
HYO = "表".encode("cp932")  # whose second octet is a backslash
PARTY = "🎉".encode()

# What the field says, what its reader sees.
SUBJECTS: list[tuple[str, Octets, str]] = [
    ("b-word", word("Grüße aus Köln".encode()), "Grüße aus Köln"),
    ("q-word", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=", "Grüße aus Köln"),
    ("lower-case-encodings", "=?UTF-8?q?K=c3=b6ln?= =?UTF-8?b?IGlzdCBkYQ==?=", "Köln ist da"),
    ("split-inside-a-character-b", f"{word(PARTY[:2])} {word(PARTY[2:])}", "🎉"),
    ("split-inside-a-character-q", f"{q(KOLN[:2])} {q(KOLN[2:])}", "Köln"),
    ("split-inside-a-character-folded", f"{q(KOLN[:2])}\r\n {q(KOLN[2:])}", "Köln"),
    ("split-inside-a-character-b-and-q", f"{word(KOLN[:2])} {q(KOLN[2:])}", "Köln"),
    ("split-inside-a-character-sjis", f"{word(HYO[:1], 'sjis')} {word(HYO[1:], 'sjis')}", "表"),
    ("split-iso-2022-jp", f"{iso_2022_jp('日本')} {iso_2022_jp('語')}", "日本語"),
    ("two-charsets", f"{word(KOLN)} {word('Köln'.encode('latin_1'), 'iso-8859-1')}", "KölnKöln"),
    ("word-then-plain", f"{word(KOLN)} is nice", "Köln is nice"),
    ("plain-then-word", f"Nice {word(KOLN)}", "Nice Köln"),
    ("word-inside-a-word", f"pre{word(KOLN)}post", "preKölnpost"),
    ("words-without-space-between", f"{word(KOLN)}{word(PARTY)}", "Köln🎉"),
    ("words-with-tab-between", f"{word(KOLN)}\t{word(PARTY)}", "Köln🎉"),
    ("spaces-inside-a-word", "=?utf-8?Q?Gr=C3=BC=C3=9Fe aus K=C3=B6ln?=", "Grüße aus Köln"),
    ("language-tag", "=?utf-8*de?Q?K=C3=B6ln?=", "Köln"),
    ("b-without-padding", "=?utf-8?B?S8O2bG4gaXN0?= =?utf-8?B?IGRh?=", "Köln ist da"),
    ("b-padding-missing", "=?utf-8?B?S8O2bG4?=", "Köln"),
    ("q-errors", "=?utf-8?Q?100=_=ZZ_ok?=", "100= =ZZ ok"),
    ("unknown-charset", "=?x-nowhere?Q?K=C3=B6ln?=", "Köln"),
    ("mislabelled-latin-1", word("“Köln”".encode("cp1252"), "iso-8859-1"), "“Köln”"),
    ("unfinished-word", "=?utf-8?Q?K=C3=B6ln", "=?utf-8?Q?K=C3=B6ln"),
    ("empty-word", "a =?utf-8?Q??= b", "a  b"),
    ("looks-like-a-word", "a =?= b ?= c", "a =?= b ?= c"),
    ("line-end-inside-a-word", word(b"Hello\r\nBcc: eve@example.org"), "Hello Bcc: eve@example.org"),
    ("nul-inside-a-word", word(b"Hello\0World"), "Hello World"),
    ("newline-at-the-end-of-a-word", word(b"Hello\n"), "Hello"),
    ("eight-bit-utf-8", "Grüße aus Köln 🎉", "Grüße aus Köln 🎉"),
    ("eight-bit-latin-1", "Grüße aus Köln".encode("latin_1"), "Grüße aus Köln"),
    ("eight-bit-windows-1252", "“Grüße” – 5 €".encode("cp1252"), "“Grüße” – 5 €"),
    ("eight-bit-and-word", f"Köln {q(KOLN)}", "Köln Köln"),
    ("folded", "This subject\r\n goes on", "This subject goes on"),
    ("folded-with-tab", "This subject\r\n\tgoes on", "This subject goes on"),
    ("folded-before-the-first-word", "\r\n This subject goes on", "This subject goes on"),
    ("folded-over-a-line-of-spaces", "This subject\r\n   \r\n goes on", "This subject    goes on"),
    ("bare-cr", b"Hello\rX-Injected: yes", "Hello X-Injected: yes"),
    ("nul", b"Hello\0World", "Hello World"),
    ("control-characters", b"Hello \x1b[31mWorld\x7f!", "Hello  [31mWorld !"),
    ("unicode-line-separator", "Hello\u2028World", "Hello World"),
    ("spaces-around", "   Hello   ", "Hello"),
    ("empty", "", "(no subject)"),
    ("only-spaces", "   ", "(no subject)"),
    ("empty-words", "=?utf-8?Q??=", "(no subject)"),
    ("long", "word " * 2000 + "end", "word " * 2000 + "end"),
    ("quotes-and-backslashes", '"quoted" \\ <angle> {json}', '"quoted" \\ <angle> {json}'),
]  # fmt: skip


def cases() -> Iterator[Case]:
    for name, value, seen in SUBJECTS:
        yield Case(f"subjects/{name}", mail("Hello", subject=value), request(seen, "Hello"))
    yield Case("subjects/none", mail("Hello", subject=None), request("(no subject)", "Hello"))
    raw = mail("Hello", "SUBJECT: Second", subject="First")
    yield Case("subjects/repeated", raw, request("First", "Hello"))
    raw = mail("Hello", "Subject : Test", subject=None)
    yield Case("subjects/space-before-the-colon", raw, request("Test", "Hello"))
    raw = mail("Hello", "sUbJeCt:Test", subject=None)
    yield Case("subjects/no-space-after-the-colon", raw, request("Test", "Hello"))
