"""From: display names with all that people put there, one address, several, none (RFC 5322 §3.4, §3.6.2)."""

from collections.abc import Iterator

from tests.corpus.case import BAD_AUTHOR, NO_BRACKETS, Case, request
from tests.corpus.octets import Octets, mail

# What the field says, the name its reader sees ("" where there is none); None where the field is refused.
AUTHORS: list[tuple[str, Octets, str | None]] = [
    ("bare-address", "zoe@example.com", ""),
    ("angle-brackets", "<zoe@example.com>", ""),
    ("spaces-in-angle-brackets", "Zoe < zoe@example.com >", "Zoe"),
    ("atoms", "Zoe Q. Mueller <zoe@example.com>", "Zoe Q. Mueller"),
    ("quoted", '"Zoe Mueller" <zoe@example.com>', "Zoe Mueller"),
    ("quoted-comma", '"Mueller, Zoe" <zoe@example.com>', "Mueller, Zoe"),
    ("unquoted-comma", "Mueller, Zoe <zoe@example.com>", "Mueller, Zoe"),
    ("unquoted-commas", "Mueller, Zoe, PhD <zoe@example.com>", "Mueller, Zoe, PhD"),
    ("comma-at-the-end", "Shop, <zoe@example.com>", "Shop"),
    ("commas-at-both-ends", ", Shop,, Berlin, <zoe@example.com>", "Shop, Berlin"),
    ("quoted-quotes", r'"Zoe \"Zed\" Mueller" <zoe@example.com>', 'Zoe "Zed" Mueller'),
    ("quotes-in-the-middle", 'Zoe "Zed" Mueller <zoe@example.com>', "Zoe Zed Mueller"),
    ("quoted-at", '"zoe@example.com" <zoe@example.com>', "zoe@example.com"),
    ("unquoted-at", "zoe@example.com <zoe@example.com>", "zoe@example.com"),
    ("quoted-angle", '"Zoe <zoe@other.example>" <zoe@example.com>', "Zoe <zoe@other.example>"),
    ("single-quotes", "'Zoe' <zoe@example.com>", "'Zoe'"),
    ("comment-as-name", "zoe@example.com (Zoe Mueller)", "Zoe Mueller"),
    ("comment-in-comment", "zoe@example.com (Zoe (Zed) Mueller)", "Zoe (Zed) Mueller"),
    ("comment-beside-name", "Zoe <zoe@example.com> (private)", "Zoe"),
    ("comment-with-comma", "zoe@example.com (Mueller, Zoe)", "Mueller, Zoe"),
    ("comments-everywhere", r"Pete(A nice \) chap) <pete(his account)@silly.test(his host)>", "Pete"),
    ("comment-with-quote", 'zoe@example.com (Zoe "Zed)', 'Zoe "Zed'),
    ("comment-with-bracket-in-brackets", "Zoe <zoe(>)@example.com>", "Zoe"),
    ("comment-with-spaces-in-brackets", "Zoe <zoe (private) @ example (dot) . com>", "Zoe"),
    ("quoted-bracket-in-brackets", 'Zoe <"zoe>"@example.com>', "Zoe"),
    ("encoded-word", "=?utf-8?Q?Zo=C3=AB_M=C3=BCller?= <zoe@example.com>", "Zoë Müller"),
    ("encoded-words", "=?utf-8?Q?Zo=C3=AB?= =?utf-8?B?IE3DvGxsZXI=?= <zoe@example.com>", "Zoë Müller"),
    ("encoded-words-split-in-a-character", "=?utf-8?Q?Zo=C3?= =?utf-8?Q?=AB?= <zoe@example.com>", "Zoë"),
    ("encoded-word-in-quotes", '"=?utf-8?Q?Zo=C3=AB?=" <zoe@example.com>', "Zoë"),
    ("encoded-word-with-comma", "=?utf-8?Q?M=C3=BCller,_Zo=C3=AB?= <zoe@example.com>", "Müller, Zoë"),
    ("encoded-line-end", "=?utf-8?Q?Zoe=0D=0ABcc:_eve@example.org?= <zoe@example.com>", "Zoe Bcc: eve@example.org"),
    ("encoded-address-as-name", "=?utf-8?Q?boss=40example.net?= <zoe@example.com>", "boss@example.net"),
    ("encoded-as-a-whole", "=?utf-8?q?Alert_=C3=9C_<zoe@example.com>?=", "Alert Ü"),
    ("encoded-as-a-whole-b", "=?utf-8?b?TcO8bGxlciwgWm/DqyA8em9lQGV4YW1wbGUuY29tPg==?=", "Müller, Zoë"),
    ("encoded-as-a-whole-in-two-words", "=?utf-8?q?Zo=C3=AB?=\r\n =?utf-8?q?_<zoe=40example=2Ecom>?=", "Zoë"),
    ("encoded-as-a-whole-bare", "=?utf-8?q?zoe=40example=2Ecom?=", ""),
    ("encoded-as-a-whole-of-two", "=?utf-8?q?zoe=40example=2Ecom,_bob=40example=2Ecom?=", None),
    ("encoded-as-a-whole-name-only", "=?utf-8?q?Zo=C3=AB_M=C3=BCller?=", None),
    ("encoded-word-in-comment", "zoe@example.com (=?utf-8?Q?Zo=C3=AB?=)", "Zoë"),
    ("eight-bit-utf-8", "Zoë Müller <zoe@example.com>", "Zoë Müller"),
    ("eight-bit-latin-1", "Zoë Müller <zoe@example.com>".encode("latin_1"), "Zoë Müller"),
    ("folded", "=?utf-8?Q?Zo=C3=AB?=\r\n <zoe@example.com>", "Zoë"),
    ("many-spaces", "Zoe     Mueller   <zoe@example.com>", "Zoe Mueller"),
    ("no-space", "Zoe<zoe@example.com>", "Zoe"),
    ("no-closing-bracket", "Zoe <zoe@example.com", "Zoe"),
    ("no-closing-quote", '"Zoe <zoe@example.com>', None),
    ("group-of-one", "Sales: Zoe <zoe@example.com>;", "Zoe"),
    ("group-of-one-bare", "Sales: zoe@example.com;", ""),
    ("trailing-comma", "Zoe <zoe@example.com>,", "Zoe"),
    ("trailing-semicolon", "zoe@example.com;", ""),
    ("obsolete-route", "Zoe <@relay.example,@mx.example:zoe@example.com>", "Zoe"),
    ("spaces-around-at", "zoe @ example.com", ""),
    ("quoted-local-part", '"zoe mueller"@example.com', ""),
    ("domain-literal", "Zoe <zoe@[192.0.2.1]>", "Zoe"),
    ("international-domain", "Zoe <zoe@exämple.com>", "Zoe"),
    ("local-name-only", "root (Cron Daemon)", "Cron Daemon"),
    ("emoji", "🎉 Party <zoe@example.com>", "🎉 Party"),
    ("empty-quotes", '"" <zoe@example.com>', ""),
    ("two-addresses", "Zoe <zoe@example.com>, Bob <bob@example.com>", None),
    ("two-bare-addresses", "zoe@example.com, bob@example.com", None),
    ("two-brackets", "<zoe@example.com> <bob@example.com>", None),
    ("group-of-two", "Sales: zoe@example.com, bob@example.com;", None),
    ("empty-group", "undisclosed-recipients:;", None),
    ("empty-brackets", "<>", None),
    ("name-only", "Zoe Mueller", None),
    ("at-only", "@", None),
    ("two-ats", "zoe@mx@example.com", None),
    ("words-after-brackets", "<zoe@example.com> Zoe", None),
    ("nothing-but-a-comma", ",", None),
]
WITHOUT_BRACKETS: list[tuple[str, Octets]] = [
    ("name-and-bare-address", "Zoe zoe@example.com"),
    ("quoted-name-and-bare-address", '"Zoe Mueller" zoe@example.com'),
    ("bare-address-and-name", "zoe@example.com Zoe Mueller"),
    ("encoded-name-and-bare-address", "=?utf-8?Q?Zo=C3=AB?= zoe@example.com"),
]


def cases() -> Iterator[Case]:
    for name, value, seen in AUTHORS:
        expected = BAD_AUTHOR if seen is None else request("Test", "Hello", sender_name=seen)
        yield Case(f"authors/{name}", mail("Hello", author=value), expected)
    for name, value in WITHOUT_BRACKETS:
        yield Case(f"authors/{name}", mail("Hello", author=value), NO_BRACKETS)
    for name, value in [("empty", ""), ("only-spaces", "  \r\n ")]:  # as good as no From
        yield Case(f"authors/{name}", mail("Hello", author=value), request("Test", "Hello"))
    raw = mail("Hello", "From: Zoe <zoe@example.com>", author="")
    yield Case("authors/empty-and-another", raw, request("Test", "Hello", sender_name="Zoe"))
    yield Case("authors/none", mail("Hello", author=None), request("Test", "Hello"))
    raw = mail("Hello", "From: Bob <bob@example.com>")
    yield Case("authors/two-fields", raw, BAD_AUTHOR)
    raw = mail("Hello", "From : Zoe <zoe@example.com>", author=None)
    yield Case("authors/space-before-the-colon", raw, request("Test", "Hello", sender_name="Zoe"))
    raw = mail("Hello", "Sender: Bob <bob@example.com>")
    yield Case("authors/sender-field", raw, request("Test", "Hello"))
    raw = mail("Hello", author="x" * 9000 + " <zoe@example.com>")
    yield Case("authors/name-of-9000-letters", raw, BAD_AUTHOR)
