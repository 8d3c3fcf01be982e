"""Subjects: encoded words (RFC 2047) as they should be and as they are, eight bits, and none at all."""

import base64
from collections.abc import Iterator

from tests.corpus.case import Case, request
from tests.corpus.octets import Octets, mail, part, parts


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
    ("eight-bit-utf-8-cut", "Grüße aus Köln".encode()[:-3], "Grüße aus K\ufffd"),
    ("eight-bit-utf-8-cut-before-dots", "Grüße aus Kö".encode()[:-1] + b"...", "Grüße aus K\ufffd..."),
    ("eight-bit-utf-8-cut-before-ellipsis", "Grüße aus Kö".encode()[:-1] + "…".encode(), "Grüße aus K\ufffd…"),
    ("eight-bit-utf-8-cut-after-ascii", b"Price: 5 \xe2\x82", "Price: 5 \ufffd"),
    ("word-cut", word("Grüße aus Kö".encode()[:-1]), "Grüße aus K\ufffd"),
    ("word-with-raw-latin-1", "=?iso-8859-1?Q?Gr\xfc=DFe_aus_K\xf6ln?=".encode("latin_1"), "Grüße aus Köln"),
    ("word-with-raw-utf-8", "=?utf-8?Q?Grü=C3=9Fe_aus_Köln?=", "Grüße aus Köln"),
    ("word-with-raw-utf-8-that-says-latin-1", "=?iso-8859-1?Q?Grüße aus Köln?=", "Grüße aus Köln"),
    ("word-with-raw-koi8-r", b"=?koi8-r?Q?" + "Привет".encode("koi8_r") + b"?=", "Привет"),
    ("word-with-raw-sjis", b"=?shift_jis?Q?" + "日本".encode("cp932") + b"?=", "日本"),
    ("word-with-raw-octets-in-base64", b"=?utf-8?B?S8O2\xffbG4=?=", "Köln"),
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
# The Content-Type of the message, the octets of its subject, what its reader sees.
DECLARED: list[tuple[str, str, bytes, str]] = [
    (label, f"Content-Type: text/plain; charset={label}", text.encode(codec), text)
    for label, codec, text in [
        ("windows-1251", "cp1251", "Привет"),
        ("koi8-r", "koi8_r", "Привет"),
        ("iso-8859-2", "iso8859_2", "Zażółć"),
        ("shift_jis", "cp932", "日本語のテスト"),
        ("gb2312", "gbk", "简体中文测试"),
        ("iso-8859-1", "utf-8", "Grüße"),
        ("us-ascii", "cp1252", "Grüße"),
        ("utf-8", "cp1252", "Grüße"),
        ("utf-16", "cp1252", "Grüße!"),
        ("iso-2022-jp", "cp1252", "Grüße"),
        ("x-unknown", "cp1252", "Grüße"),
    ]
]


def cases() -> Iterator[Case]:
    for name, value, seen in SUBJECTS:
        yield Case(f"subjects/{name}", mail("Hello", subject=value), request(seen, "Hello"))
    for name, content_type, value, seen in DECLARED:
        yield Case(f"subjects/declared-{name}", mail("Hello", content_type, subject=value), request(seen, "Hello"))
    text = part("text/plain; charset=windows-1251", "Привет".encode("cp1251"))
    html = part("text/html; charset=utf-8", "<p>Привет</p>")
    fields = "Content-Type: multipart/alternative; boundary=b1"
    raw = mail(parts(text, html), fields, subject="Привет".encode("cp1251"))
    yield Case("subjects/declared-by-a-part", raw, request("Привет", "Привет", "<p>Привет</p>"))
    raw = mail("Hello", "Content-Type: text/plain; charset=koi8-r", author="Анна <zoe@example.com>".encode("koi8_r"))
    yield Case("subjects/declared-for-the-author", raw, request("Test", "Hello", sender_name="Анна"))
    yield Case("subjects/none", mail("Hello", subject=None), request("(no subject)", "Hello"))
    raw = mail("Hello", "SUBJECT: Second", subject="First")
    yield Case("subjects/repeated", raw, request("First", "Hello"))
    raw = mail("Hello", "Subject : Test", subject=None)
    yield Case("subjects/space-before-the-colon", raw, request("Test", "Hello"))
    raw = mail("Hello", "sUbJeCt:Test", subject=None)
    yield Case("subjects/no-space-after-the-colon", raw, request("Test", "Hello"))
