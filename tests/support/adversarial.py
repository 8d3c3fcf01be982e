"""Inputs that are made to take long: one piece of text, repeated, in every place of a message that something parses.

Each place is a function from a text to a whole message that has it there. Backtracking and copying show when the text
is a flood of one character, or of a delimiter that never finds its partner.
"""

from collections.abc import Callable, Iterator

AUTHOR = "From: s@x.example\r\n"

# What is repeated.
UNITS = (
    "a", " ", "\t", "\r", "\0", "\x01", "é", "\U0001f600", "\ufdfa", '"', "\\", "'", "(", ")", "()", "[", "]", "{",
    "}", "<", ">", "<>", ",", ";", ":", ".", "@", "=", "?", "&", "%", "*", "|", "-", "_", "/", "#", "~", "0", "9",
    "é ", "a ", "a,", "a;", "a:", "a@", "a@b,", "é@b,", "a@é,", "a@b ", "a <", "<a>", "a<b@c>,", '"a"', '"a" ',
    '" "', '\\"', "\\\\", "( )", "a(b)", "=?", "?=", "=?u?q?", "=?utf-8?q?a?=", "=?utf-8?q?a?= ",
    "=?utf-8?b?YQ==?= ", "=?utf-8?q?=", "=?utf-7?q?+?=", "=?big5?b?YQ?= =?utf-8?q?a?= ", "== ", "= ", "=\t", "=\r",
    "=\r\n", "=3D", "=e2", "\r\n ", "\r\n\t", "\r\n ", "\r\r\n ", ";a=", ";a=b", ";a=b ", '; a="b"', ";a*0=b",
    ";a*=b", "; a ", "a=b;", "a|", "a:b|", "{{", "}}", "{{a}}", "{{ var:a }}", "*|", "|*", "*|a|*", "%recipient",
    "%recipient.a%", "{%if", "cid:", "cid:a ", "cid:%61 ", "<meta", "<meta charset", "charset=", "&amp;", "--b",
    "[[", '{"a":', '"a",', "[1,", "1,", "null,", '""', "%61", "%", "http://", "-- \r\n", "> ", ">", "\u3000",
    "\u200b", "a\u0301",
)  # fmt: skip
BEFORE = ("", "a", '"', "<", "(", "a@", "=?utf-8?q?", "{", "é")
AFTER = ("", "x", '"', "@x")


def flood(unit: str, size: int, before: str = "", after: str = "") -> str:
    """Return `unit` repeated up to this size in octets, between the two."""
    return before + unit * (size // len(unit.encode())) + after


# --- Places -----------------------------------------------------------------------------------------------------------


def in_field(name: str) -> Callable[[str], bytes]:
    """A header field's value."""
    author = "" if name == "From" else AUTHOR
    return lambda text: f"{author}{name}: {text}\r\n\r\nhello {{{{a}}}}\r\n".encode()


def in_json(key: str, name: str = "X-SMTPAPI") -> Callable[[str], bytes]:
    """A text in a JSON object, in the header that carries one; folded, since lines have an end."""

    def message(text: str) -> bytes:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
        quoted = quoted.replace("\t", "\\t").replace("\0", "\\u0000").replace("\x01", "\\u0001")
        return f'{AUTHOR}{name}: {{"{key}":"{quoted}"}}\r\n\r\nhello\r\n'.encode()

    return message


def in_json_value(key: str) -> Callable[[str], bytes]:
    """A value in a JSON object: such as it is, or all of it once more, in a list."""

    def message(text: str) -> bytes:
        unit = text[:4].partition(",")[0]
        value = (
            text if text.startswith(("{", "[")) and text.endswith(("}", "]")) else ",".join([unit] * (len(text) // 5))
        )
        value = value if value.startswith(("{", "[")) else f"[{value}]"
        return f'{AUTHOR}X-SMTPAPI: {{"{key}":{value}}}\r\n\r\nhello\r\n'.encode()

    return message


def in_repeated_field(name: str, length: int, before: str = "", after: str = "") -> Callable[[str], bytes]:
    """As many fields of one name as it takes, none much longer than `length`."""

    def message(text: str) -> bytes:
        pieces = [text[at : at + length] for at in range(0, len(text), length)]
        return (AUTHOR + "".join(f"{name}: {before}{piece}{after}\r\n" for piece in pieces) + "\r\nhello\r\n").encode()

    return message


def in_body(header: str, before: str = "", after: str = "") -> Callable[[str], bytes]:
    """A body of one part."""
    return lambda text: f"{AUTHOR}MIME-Version: 1.0\r\n{header}\r\n{before}{text}{after}".encode()


def in_multipart(text: str) -> bytes:
    """Between boundaries, where lines may look like one."""
    return (
        f"{AUTHOR}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n"
        f"{text}\r\n--b--\r\n"
    ).encode()


def in_part_field(name: str) -> Callable[[str], bytes]:
    """A header field of an attachment."""
    return lambda text: (
        f"{AUTHOR}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{name}: {text}\r\n\r\n"
        "hello\r\n--b--\r\n"
    ).encode()


def with_image(text: str) -> bytes:
    """HTML beside an image that it may refer to."""
    return (
        f"{AUTHOR}MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n"
        f"Content-Type: text/html\r\n\r\n{text}\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <a>\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--b--\r\n"
    ).encode()


def beside_html(text: str) -> bytes:
    """A text that HTML is made of, since HTML follows it."""
    return (
        f"{AUTHOR}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\n"
        "Content-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n"
    ).encode()


FIELDS = (
    "Subject", "From", "Reply-To", "Disposition-Notification-To", "List-Unsubscribe", "Keywords", "X-Anything",
    "Message-ID", "Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "X-Tags", "X-Sender-Id",
    "X-SMTPAPI", "X-MSYS-API", "X-MC-Tags", "X-MC-Track", "X-MC-MergeVars", "X-MC-Metadata", "X-MC-BccAddress",
    "X-MC-SendAt", "X-Mailgun-Deliver-By", "X-Mailgun-Recipient-Variables", "X-Mailin-custom", "X-SES-MESSAGE-TAGS",
    "X-SES-LIST-MANAGEMENT-OPTIONS", "X-MJ-Vars", "X-MJ-TemplateLanguage", "X-PM-Metadata-a", "params",
)  # fmt: skip

PLACES: dict[str, Callable[[str], bytes]] = {
    **{f"field {name}": in_field(name) for name in FIELDS},
    **{f"json {key}": in_json(key) for key in ("to", "category", "sub", "send_at", "drop")},
    **{
        f"json value {key}": in_json_value(key)
        for key in ("to", "category", "sub", "section", "send_each_at", "drop", "x")
    },
    "json MSYS cc": in_json("cc", "X-MSYS-API"),
    "fields DNT": in_repeated_field("Disposition-Notification-To", 8000),
    "fields DNT, one address": in_repeated_field("Disposition-Notification-To", 8000, "a", "é@x.example"),
    "fields DNT, domain": in_repeated_field("Disposition-Notification-To", 8000, "a@é", "x"),
    "fields Reply-To": in_repeated_field("Reply-To", 100),
    "fields X-PM-Tag": in_repeated_field("X-PM-Tag", 100),
    "the beginning": lambda text: (text + "\r\nFrom: s@x.example\r\n\r\nhello").encode(),
    "a field name": lambda text: f"{AUTHOR}{text}: x\r\n\r\nhello".encode(),
    "a line of the header section": lambda text: f"{AUTHOR}{text}\r\nSubject: x\r\n\r\nhello".encode(),
    "text": in_body(""),
    "text, placeholders": in_body('X-MC-MergeVars: {"b":1}\r\nX-MJ-TemplateLanguage: 1\r\nparams: {"a":1}\r\n'),
    "text, recipient variables": in_body('X-Mailgun-Recipient-Variables: {"a":{}}\r\n'),
    "html": in_body("Content-Type: text/html\r\n"),
    "html, its charset": in_body("Content-Type: text/html\r\n", "<meta charset"),
    "flowed": in_body("Content-Type: text/plain; format=flowed; delsp=yes\r\n"),
    "flowed lines": in_body("Content-Type: text/plain; format=flowed\r\n", "a \r\n> "),
    "quoted-printable": in_body("Content-Transfer-Encoding: quoted-printable\r\n"),
    "base64": in_body("Content-Transfer-Encoding: base64\r\n"),
    "utf-7": in_body("Content-Type: text/plain; charset=utf-7\r\n"),
    "iso-2022-jp": in_body("Content-Type: text/plain; charset=iso-2022-jp\r\n", "\x1b$B"),
    "gb18030": in_body("Content-Type: text/plain; charset=gb2312\r\n"),
    "multipart": in_multipart,
    "part Content-Type": in_part_field("Content-Type"),
    "part Content-Disposition": in_part_field("Content-Disposition"),
    "part file name": lambda text: in_part_field("Content-Type")(f'text/csv; name="{text}.csv"'),
    "html with image": with_image,
    "text beside html": beside_html,
}


def floods(size: int) -> Iterator[tuple[str, str]]:
    """Every flood of this size, by a name."""
    for unit in UNITS:
        yield repr(unit), flood(unit, size)
    for unit in UNITS[:40]:
        for before in BEFORE[1:]:
            yield f"{before!r} {unit!r}", flood(unit, size, before)
        for after in AFTER[1:]:
            yield f"{unit!r} {after!r}", flood(unit, size, "", after)
    yield "lines", flood("a\r\n", size)
    yield "boundaries", "\r\n" + flood("--b\r\n", size)
    yield "boundaries and more", "\r\n" + flood("--bb\r\n", size)
    yield "folded CR LF", "a" + flood("\r", size, "\r\n ", "\n ") + "b"
    yield "folded CR", "a" + flood("\r", size, "\r\n ") + "b"
    yield "spaces in a list", ",".join(["a" + " " * 8000 + "b"] * (size // 8000))
    yield "spaces in a JSON list", "[" + ",".join(['"a' + " " * 8000 + 'b"'] * (size // 8000)) + "]"
    yield "JSON in JSON", '{"drop":' * 30 + "[" + flood('"no",', size, "", '"no"') + "]" + "}" * 30


# --- Messages that have two things many times -------------------------------------------------------------------------


def multipart(*parts: str) -> bytes:
    return (
        f"{AUTHOR}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".encode()
        + "".join([*(f"--b\r\n{part}\r\n" for part in parts), "--b--\r\n"]).encode()
    )


def fields(name: str, *values: str) -> str:
    return "".join(f"{name}: {value}\r\n" for value in values)


def merge_variables(count: int) -> bytes:
    """Repeated merge variables, and placeholders that they may mean."""
    placeholders = "".join(f"{{{{a{n}}}}}" for n in range(count))
    return (AUTHOR + fields("X-MC-MergeVars", *['{"b":1}'] * count) + "\r\n" + placeholders).encode()


def lists_for_ses(count: int) -> bytes:
    """A field that makes the whole body be searched, many times, and a body."""
    return (
        AUTHOR + fields("X-SES-LIST-MANAGEMENT-OPTIONS", *["a"] * count) + "\r\n" + "{{amazonS" * count * 20
    ).encode()


def files_of_one_name(count: int) -> bytes:
    return multipart(*['Content-Type: text/csv; name="a.csv"\r\n\r\nx'] * count)


def invitations(count: int) -> bytes:
    """Invitations that differ in their last letters, as alternatives and as files."""
    long = "x" * count * 4
    one = "Content-Type: multipart/alternative; boundary=c\r\n\r\n" + "".join(
        f"--c\r\nContent-Type: text/calendar\r\n\r\n{long}{n}\r\n" for n in range(count // 2)
    )
    files = [f"Content-Type: text/calendar; name=a{n}.ics\r\n\r\n{long}x{n}" for n in range(count // 2)]
    return multipart(one + "--c--", *files)


def keys(count: int) -> bytes:
    """JSON of many keys, which nobody knows, below one that is known."""
    return (
        AUTHOR + 'X-SMTPAPI: {"filters":{' + ",".join(f'"k{n}":"no"' for n in range(count)) + "}}\r\n\r\nx"
    ).encode()


def test_modes(count: int) -> bytes:
    """Test modes within test modes, all of them off."""
    depth = min(28, count // 40)
    inner = '{"drop":' * depth + "[" + ",".join(['"no"'] * count * 2) + "]" + "}" * depth
    return f'{AUTHOR}X-SMTPAPI: {{"x":{inner}}}\r\n\r\nx'.encode()


def file_name_sections(count: int) -> bytes:
    """A file name in many pieces (RFC 2231)."""
    name = "".join(f"; name*{n}={'a' * 70}" for n in range(count * 2))
    return multipart(f"Content-Type: text/csv{name}; name*{count * 2}=.csv\r\n\r\nx")


def notification_addresses(count: int) -> bytes:
    """Fields of many mailboxes each, which are written anew since one is not ASCII."""
    field = "a@b.example," * (count // 2) + "a@é.example"
    return (AUTHOR + fields("Disposition-Notification-To", *[field] * max(1, count // 16)) + "\r\nx").encode()


def authors(count: int) -> bytes:
    return (fields("From", *["a@b.example," * count] * max(1, count // 16)) + "\r\nx").encode()


def references_to_images(count: int) -> bytes:
    """Images, and many references to each."""
    images = [f"Content-Type: image/png\r\nContent-ID: <a{n}>\r\n\r\n{'x' * count}" for n in range(min(count, 900))]
    return multipart("Content-Type: text/html\r\n\r\n" + "<img src=cid:a0>" * count, *images)


PAIRS: dict[str, Callable[[int], bytes]] = {
    made.__name__: made
    for made in (
        merge_variables, lists_for_ses, files_of_one_name, invitations, keys, test_modes, file_name_sections,
        notification_addresses, authors, references_to_images,
    )
}  # fmt: skip
