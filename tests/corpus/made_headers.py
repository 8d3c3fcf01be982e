"""Other header fields: which are delivered, which are not, and that nothing can be smuggled into them."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Case, refusal, request, unreadable
from tests.corpus.octets import Octets, mail

KEPT = {
    "Reply-To": "Support <support@example.com>",
    "List-Help": "<mailto:help@example.com>",
    "List-Archive": "<https://example.com/archive>",
    "List-Post": "<mailto:list@example.com>",
    "List-Owner": "<mailto:owner@example.com>",
    "List-Subscribe": "<https://example.com/join>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "In-Reply-To": "<1@example.com>",
    "References": "<0@example.com> <1@example.com>",
    "Thread-Topic": "Numbers",
    "Thread-Index": "AdyqAbLD1OA=",
    "Auto-Submitted": "auto-generated",
    "X-Auto-Response-Suppress": "All",
    "Importance": "high",
    "Priority": "urgent",
    "X-Priority": "1",
    "X-MSMail-Priority": "High",
    "Sensitivity": "private",
    "Organization": "Example Ltd",
    "Keywords": "a, b",
    "Comments": "none",
    "Disposition-Notification-To": "zoe@example.com",
    "Return-Receipt-To": "zoe@example.com",
    "X-Mailer": "Example 1.0",
    "User-Agent": "Example/1.0",
    "Feedback-ID": "1:2:3:example",
    "X-Entity-Ref-ID": "17",
    "Archived-At": "<https://example.com/1>",
    "Accept-Language": "de",
    "X-Anything-Else": "yes",
}
STRIPPED = {
    "Bcc": "eve@example.org",
    "Resent-Bcc": "eve@example.org",
    "Resent-From": "bob@example.com",
    "Cc": "bob@example.com",
    "Received": "from a by b; Mon, 2 Mar 2026 08:15:00 +0000",
    "X-Received": "by 2002:a05 with SMTP id x",
    "Return-Path": "<bounces@example.com>",
    "Delivered-To": "bob@example.com",
    "X-Original-To": "bob@example.com",
    "Envelope-To": "bob@example.com",
    "Errors-To": "bob@example.com",
    "Bounces-To": "bob@example.com",
    "DKIM-Signature": "v=1; a=rsa-sha256",
    "DomainKey-Signature": "a=rsa-sha1",
    "X-Google-DKIM-Signature": "v=1",
    "ARC-Seal": "i=1",
    "ARC-Authentication-Results": "i=1; mx.example.com",
    "Authentication-Results": "mx.example.com; spf=pass",
    "Received-SPF": "pass",
    "Sender": "bob@example.com",
    "On-Behalf-Of": "bob@example.com",
    "Apparently-To": "bob@example.com",
    "X-Originating-IP": "[192.0.2.1]",
    "X-PHP-Originating-Script": "33:mail.php",
    "X-PHP-Script": "example.com/mail.php for 192.0.2.1",
    "X-Source": "/usr/bin/php",
    "X-Source-Args": "php mail.php",
    "X-Source-Dir": "example.com:/public_html",
    "X-Sender": "www@example.com",
    "X-AntiAbuse": "Primary Hostname - web1.example.com",
    "X-Authenticated-Sender": "web1.example.com: www",
    "X-Spam-Status": "No",
    "X-Virus-Scanned": "ClamAV",
    "X-MS-Exchange-Organization-AuthAs": "Internal",
    "X-Google-Smtp-Source": "AGHT",
    "X-Gm-Message-State": "AOJu",
    "Lines": "17",
    "Status": "RO",
    "X-Status": "A",
    "X-UID": "17",
    "X-Keywords": "NonJunk",
    "Content-Length": "5",
    "Content-Language": "de",
    "Date": "Mon, 2 Mar 2026 08:15:00 +0000",
    "Message-ID": "<1@example.com>",
}
# A field as it comes, the one that is delivered.
ODD: list[tuple[str, Octets, tuple[str, str] | None]] = [
    ("long-value", "X-Long: " + "word " * 1000, ("X-Long", ("word " * 1000).strip())),
    ("folded-json", 'X-Data: {"a":\r\n "b",\r\n "c": 1}', ("X-Data", '{"a": "b", "c": 1}')),
    ("empty-value", "X-Empty:", None),
    ("only-spaces", "X-Empty:   \r\n  ", None),
    ("name-in-capitals", "X-SHOUT: yes", ("X-SHOUT", "yes")),
    ("name-of-punctuation", "X-!#$%&'*+/^_`{|}~: yes", ("X-!#$%&'*+/^_`{|}~", "yes")),
    ("encoded-word-left-alone", "X-Word: =?utf-8?Q?K=C3=B6ln?=", ("X-Word", "=?utf-8?Q?K=C3=B6ln?=")),
    ("eight-bit-utf-8", "X-City: K\u00f6ln", ("X-City", "=?utf-8?B?S8O2bG4=?=")),
    ("eight-bit-latin-1", "X-City: Köln".encode("latin_1"), ("X-City", "=?utf-8?B?S8O2bG4=?=")),
    ("eight-bit-between-ascii", "X-City: in Köln am Rhein", ("X-City", "in =?utf-8?B?S8O2bG4=?= am Rhein")),
    ("eight-bit-words", "X-City: Köln Zürich", ("X-City", "=?utf-8?B?S8O2bG4gWsO8cmljaA==?=")),
    (
        "eight-bit-beside-encoded-word",
        "X-City: Köln =?utf-8?Q?Z=C3=BCrich?=",
        ("X-City", "=?utf-8?B?S8O2bG4gWsO8cmljaA==?="),
    ),
    (
        "eight-bit-reply-to",
        'Reply-To: "Müller, Zoë" <zoe@exämple.com>',
        ("Reply-To", "=?utf-8?B?TcO8bGxlciwgWm/Dqw==?= <zoe@xn--exmple-cua.com>"),
    ),
    (
        "eight-bit-reply-to-of-two",
        'Reply-To: Zoë <zoe@example.com>, "Bob, B." <bob@example.com>',
        ("Reply-To", '=?utf-8?B?Wm/Dqw==?= <zoe@example.com>, "Bob, B." <bob@example.com>'),
    ),
    (
        "eight-bit-list-unsubscribe",
        "List-Help: <https://example.com/hilfe?für=zoë&x=%20>",
        ("List-Help", "<https://example.com/hilfe?f%C3%BCr=zo%C3%AB&x=%20>"),
    ),
    (
        "eight-bit-phrase",
        "Organization: Müller GmbH & Co. KG",
        ("Organization", "=?utf-8?B?TcO8bGxlcg==?= GmbH & Co. KG"),
    ),
    (
        "eight-bit-long",
        "X-Long: " + "ä" * 40,
("X-Long", " ".join(f"=?utf-8?B?{base64.b64encode(('ä' * n).encode()).decode()}?=" for n in (22, 18))),
    ),
    ("bare-cr", b"X-A: one\rX-B: two", ("X-A", "one X-B: two")),
    ("bare-cr-bcc", b"X-A: one\rBcc: eve@example.org", ("X-A", "one Bcc: eve@example.org")),
    ("nul", b"X-A: o\0ne", ("X-A", "o ne")),
    ("next-line-character", "X-A: one\u0085X-B: two", ("X-A", "one X-B: two")),
    ("line-separator", "X-A: one\u2028X-B: two", ("X-A", "one X-B: two")),
    ("bcc-with-space", "Bcc : eve@example.org", None),
    ("bcc-folded", "Bcc:\r\n eve@example.org,\r\n mallory@example.org", None),
    ("bcc-in-capitals", "BCC: eve@example.org", None),
    ("to-a-placeholder", "Apparently-To: %recipient%", None),
    ("return-path-in-the-middle", "Return-Path: <>", None),
]  # fmt: skip


def hello(**more: Any) -> dict[str, Any]:
    return request("Test", "Hello", **more)


def cases() -> Iterator[Case]:
    fields = [f"{name}: {value}" for name, value in KEPT.items()]
    yield Case("headers/delivered", mail("Hello", *fields), hello(headers=KEPT.items()))
    fields = [f"{name}: {value}" for name, value in STRIPPED.items()]
    yield Case("headers/not-delivered", mail("Hello", *fields), hello())
    for name, field, delivered in ODD:
        yield Case(f"headers/{name}", mail("Hello", field), hello(headers=[delivered] if delivered else []))
    yield from repeated()
    yield from bulk()
    yield from malformed()
    raw = mail("Hello", "Reply-To: jürgen@example.com")
    expected = refusal(
        550, "5.3.3", "Reply-To: the mailbox name of jurgen@example.com is not supported by Cakemail; message not sent"
    )
    yield Case("headers/reply-to-mailbox-outside-ascii", raw, expected)


def repeated() -> Iterator[Case]:
    fields = [
        f"{name}: <mailto:{who}@example.com>" for who in ("first", "second") for name in ("Reply-To", "List-Help")
    ]
    wanted = [("Reply-To", "<mailto:first@example.com>"), ("List-Help", "<mailto:first@example.com>")]
    yield Case("headers/reply-to-and-list-repeated", mail("Hello", *fields), hello(headers=wanted))
    raw = mail("Hello", "X-Tag-Of-Mine: a", "X-Tag-Of-Mine: b")
    yield Case("headers/x-repeated", raw, hello(headers=[("X-Tag-Of-Mine", "a"), ("X-Tag-Of-Mine", "b")]))


def bulk() -> Iterator[Case]:
    for name, value, type_ in [
        ("List-Unsubscribe", "<https://example.com/u>", "marketing"),
        ("List-Id", "<news.example.com>", "transactional"),
        ("Precedence", "bulk", "transactional"),
        ("Precedence", "List", "transactional"),
        ("Precedence", "junk", "transactional"),
        ("Precedence", "first-class", "transactional"),
        ("List-Help", "<mailto:help@example.com>", "transactional"),
    ]:
        raw = mail("Hello", f"{name}: {value}")
        file = f"headers/bulk-{name}-{value if name == 'Precedence' else ''}".lower().rstrip("-")
        yield Case(file, raw, hello(type=type_, headers=[(name, value)]))
    fields = ("List-Unsubscribe: <https://example.com/u>", "X-Email-API-Type: transactional")
    wanted = [("List-Unsubscribe", "<https://example.com/u>")]
    automatic = [*wanted, ("Auto-Submitted", "auto-generated")]
    raw = mail("Hello", *(f"{name}: {value}" for name, value in automatic))
    yield Case("headers/bulk-that-is-automatic", raw, hello(headers=automatic))
    yield Case("headers/bulk-that-says-transactional", mail("Hello", *fields), hello(headers=wanted))


def malformed() -> Iterator[Case]:
    too_big = refusal(552, "5.3.4", "Message has too many header fields, or too long ones")
    line_4 = unreadable("line 4 of a header section is no header field")
    start = b"From: zoe@example.com\r\nSubject: Test\r\nX-A: b\r\n"
    yield Case("headers/line-that-is-none", start + b"not a header\r\nX-C: d\r\n\r\nHello", line_4)
    yield Case("headers/name-with-a-space", start + b"X Y: z\r\nX-C: d\r\n\r\nHello", line_4)
    yield Case("headers/name-outside-ascii", start + "X-Ä: z\r\nX-C: d\r\n\r\nHello".encode(), line_4)
    yield Case("headers/no-name", start + b": z\r\nX-C: d\r\n\r\nHello", line_4)
    yield Case("headers/bcc-after-a-line-that-is-none", start + b"oops\r\nBcc: eve@example.org\r\n\r\nHello", line_4)
    kept = [("X-A", "b")]
    yield Case("headers/no-empty-line", start + b"Hello\r\nWorld", request("Test", "Hello\nWorld", headers=kept))
    raw = start + b"See\r\nhttps://example.com/\r\n\r\nBye"
    expected = request("Test", "See\nhttps://example.com/\n\nBye", headers=kept)
    yield Case("headers/no-empty-line-before-an-address", raw, expected)
    yield Case("headers/only", start, request("Test", " ", headers=kept))
    yield Case("headers/only-and-unfinished", start.rstrip(), request("Test", " ", headers=kept))
    raw = b"From zoe@example.com Mon Mar  2 08:15:00 2026\r\n" + start + b"\r\nHello"
    yield Case("headers/mbox-line", raw, request("Test", "Hello", headers=kept))
    mark = b"\xef\xbb\xbf"
    yield Case("headers/byte-order-mark", mark + start + b"\r\nHello", request("Test", "Hello", headers=kept))
    yield Case("headers/byte-order-mark-and-mbox-line", mark + raw, request("Test", "Hello", headers=kept))
    yield Case("headers/mbox-line-quoted", b">" + raw, request("Test", "Hello", headers=kept))
    yield Case("headers/empty-line-before-them", b"\r\n" + start + b"\r\nHello", request("Test", "Hello", headers=kept))
    yield Case(
        "headers/empty-line-and-no-header", b"\r\nNote: this is text", request("(no subject)", "Note: this is text")
    )
    yield Case("headers/nothing-at-all", b"", request("(no subject)", " "))
    yield Case("headers/1001-fields", mail("Hello", *["X-A: b"] * 998), too_big)
    yield Case("headers/1000-fields", mail("Hello", *["Received: x"] * 996), hello())
    yield Case("headers/300-kB", mail("Hello", "X-A: " + "b" * 300_000), too_big)
    yield Case(
        "headers/cr-cr-lf",
        mail("Hello\nWorld", "X-A: b").replace(b"\r\n", b"\r\r\n"),
        request("Test", "Hello\nWorld", headers=kept),
    )
