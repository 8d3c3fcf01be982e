"""A Message and what its control headers decided, as the body of the API's request (POST /v2/emails). Pure."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from email.utils import formataddr
from typing import Any
from urllib.parse import quote

import idna
import orjson

from smtpgw.core.replies import BAD_HEADER_VALUE, UNSUPPORTED_HEADER, SMTPError
from smtpgw.dialects.interpreter import Options
from smtpgw.message import growth
from smtpgw.message.addresses import NoMailbox, mailboxes
from smtpgw.message.parser import Attachment, Header, Message
from smtpgw.message.words import encode, encode_words

NO_SUBJECT = "(no subject)"  # the API wants at least one character
NO_TEXT = " "
MAX_JSON_BYTES_PER_CHARACTER = 6
CHECKED_CHARACTERS = 1024 * 1024
NOBODY = b'{"email":""'

# Delivered as they are. Everything else that does not begin with X- has its place elsewhere in the request, would
# break when the API writes the message anew (signatures, Content-*), or speaks of another transmission (Received).
DELIVERED = frozenset(
    {
        "accept-language", "archived-at", "auto-submitted", "comments", "disposition-notification-to", "feedback-id",
        "importance", "in-reply-to", "keywords", "list-archive", "list-help", "list-id", "list-owner", "list-post",
        "list-subscribe", "list-unsubscribe", "list-unsubscribe-post", "organization", "precedence", "priority",
        "references", "reply-to", "return-receipt-to", "sensitivity", "thread-index", "thread-topic", "user-agent",
    }
)  # fmt: skip
# Not delivered although they begin with X-: what other servers noted, and what tells of the web server behind a form.
NOT_DELIVERED = frozenset(
    {
        "x-antiabuse", "x-authenticated-sender", "x-google-dkim-signature", "x-keywords", "x-original-to",
        "x-originating-ip", "x-php-originating-script", "x-php-script", "x-received", "x-sender", "x-source",
        "x-source-args", "x-source-dir", "x-status", "x-uid",
    }
)  # fmt: skip
NOT_DELIVERED_PREFIXES = ("x-spam-", "x-virus-", "x-ms-exchange-", "x-google-", "x-gm-")
# Not delivered, and nothing to tell of: they are in other fields of the request, or are made anew.
EXPECTED = frozenset({"bcc", "date", "from", "message-id", "mime-version", "subject", "to"})
ADDRESSES = frozenset({"reply-to", "disposition-notification-to", "return-receipt-to"})
# Precedence (RFC 2076 §3.9) and List-Id alone are what ticket systems, wikis and monitoring write, too.
DEFAULT_BULK_HEADERS = ("list-unsubscribe",)
BULK_PRECEDENCE = frozenset({"bulk", "list", "junk"})
NOT_TRACKED = {"opens": False, "clicks_html": False, "clicks_text": False}
MAX_DOMAIN_CHARACTERS = 255  # RFC 1035 §2.3.4; in its ASCII form it is longer still
URL_CHARACTERS = "".join(map(chr, range(0x20, 0x7F)))


@dataclass(frozen=True, slots=True)
class EmailRequest:
    """The requests for one message, alike but for the recipient."""

    account_id: int | None  # the sub-account to act for
    notes: tuple[str, ...]  # for the log: headers that are not delivered, and the one that made the message marketing
    template: bytes = field(repr=False)  # the JSON, encoded once, with an empty recipient
    marketing_header: str = ""  # the header that made the message marketing, where one did

    def body_for(self, recipient: str) -> bytes:
        """The JSON body of the request for one recipient."""
        after = memoryview(self.template)[len(NOBODY) :]  # of megabytes of attachments, one copy is made and not two
        return b"".join((b'{"email":', orjson.dumps(recipient), after))


def translate(
    message: Message,
    options: Options,
    sender_id: str,
    list_id: int | None,
    default_type: str,
    bulk_headers: Collection[str] = DEFAULT_BULK_HEADERS,
    limit_bytes: int = growth.DEFAULT_LIMIT_BYTES,
) -> EmailRequest:
    """The requests that a message becomes.

    Args:
        message: as parsed.
        options: what its control headers decided.
        sender_id: of the confirmed sender, as the API knows it.
        list_id: the list whose contacts the recipients are, if there is one.
        default_type: "marketing" or "transactional", of a message that does not say which it is.
        bulk_headers: lower-case names of the headers that make such a message marketing.
        limit_bytes: of the body of a request.

    Raises:
        SMTPError: UNSUPPORTED_HEADER for a header that would be wrong when delivered, REQUEST_TOO_BIG.
    """
    notes: list[str] = []
    options = options_of_bounce(message, options) if message.is_bounce else options
    bulk_header = "" if options.type else marketing_header(message, bulk_headers)
    if bulk_header:
        notes.append(f"marketing, because of {bulk_header}")
    headers = [*delivered(message.headers, options.consumed, notes), *options.extra_headers]
    said = content(message, options, "marketing" if bulk_header else default_type)
    request = request_of(message, options, sender(message, sender_id), said, list_id, headers)
    check_size(request, limit_bytes)
    template = orjson.dumps(request)
    growth.check(len(template), limit_bytes)
    return EmailRequest(options.account_id, tuple(notes), template, bulk_header)


def request_of(
    message: Message,
    options: Options,
    sender: dict[str, str],
    content: dict[str, Any],
    list_id: int | None,
    headers: list[Header],
) -> dict[str, Any]:
    """Return the request, with an empty recipient and without what is empty otherwise."""
    request: dict[str, Any] = {
        "email": "",
        "sender": sender,
        "content": content,
    }
    optional: dict[str, Any] = {
        "list_id": list_id,
        "tags": list(options.tags),
        "tracking": dict(options.tracking),
        "additional_headers": [{"name": header.name, "value": header.value} for header in headers],
        "attachment": [attachment(file) for file in message.attachments],
    }
    return request | {name: value for name, value in optional.items() if value}


def check_size(request: dict[str, Any], limit_bytes: int) -> None:
    """Raise Refused (REQUEST_TOO_BIG) before memory is taken for a request that is too big.

    In JSON a control character takes six octets, as a character does at most, and base64 takes what it takes.
    """
    texts = [text for text in request["content"].values() if isinstance(text, str)]
    size = sum(len(file["content"]) for file in request.get("attachment", ()))
    growth.check(size, limit_bytes)
    if size + MAX_JSON_BYTES_PER_CHARACTER * sum(map(len, texts)) <= limit_bytes:
        return
    for text in texts:
        for at in range(0, len(text), CHECKED_CHARACTERS):
            size += len(orjson.dumps(text[at : at + CHECKED_CHARACTERS])) - len('""')
            growth.check(size, limit_bytes)


def attachment(file: Attachment) -> dict[str, str]:
    return {"filename": file.filename, "type": file.type, "content": file.content}


def sender(message: Message, sender_id: str) -> dict[str, str]:
    if message.author and message.author.name:
        return {"id": sender_id, "name": message.author.name}
    return {"id": sender_id}


def content(message: Message, options: Options, default_type: str) -> dict[str, Any]:
    said: dict[str, Any] = {
        "subject": message.subject or NO_SUBJECT,
        "type": options.type or default_type,
        "encoding": "utf-8",
    }
    if options.template_id is not None:
        said["template"] = {"id": options.template_id}
    if message.html:
        said["html"] = message.html
    if message.text:
        said["text"] = message.text
    elif not message.html and options.template_id is None:
        said["text"] = NO_TEXT
    return said


def options_of_bounce(message: Message, options: Options) -> Options:
    """Return the options of a bounce: nobody is tracked by it, and no program is to answer it (RFC 3834 §2)."""
    headers = options.extra_headers
    if not is_automatic(message):
        headers = (*headers, Header("Auto-Submitted", "auto-replied"))
    return replace(options, type="transactional", tracking=NOT_TRACKED, extra_headers=headers)


def marketing_header(message: Message, bulk_headers: Collection[str]) -> str:
    """Return the name of the header by which a message says that it goes to many; "" where none does.

    Automatic mail is no marketing whatever its headers are: a ticket system's answer may well offer to unsubscribe.
    """
    for header in message.headers:
        name = header.name.lower()
        if name not in bulk_headers or not header.value:
            continue
        if name != "precedence" or header.value.lower() in BULK_PRECEDENCE:
            return "" if is_automatic(message) else header.name
    return ""


def is_automatic(message: Message) -> bool:
    """Return whether a message says that a program wrote it without being asked to (RFC 3834 §5)."""
    values = (header.value for header in message.headers if header.name.lower() == "auto-submitted")
    return any(re.split(r"[;(]", value)[0].strip().lower() != "no" for value in values)


def delivered(headers: tuple[Header, ...], consumed: frozenset[str], notes: list[str]) -> Iterator[Header]:
    """The headers for the recipient, in ASCII. Of fields that RFC 5322 §3.6 and others allow once, the first counts."""
    seen: set[str] = set()
    for header in headers:
        name = header.name.lower()
        if name in consumed or not header.value:
            continue
        if not is_delivered(name):
            if name not in EXPECTED and not name.startswith("content-"):
                notes.append(f"{header.name} not delivered")
        elif name in seen and (name in ADDRESSES or name.startswith("list-")):
            notes.append(f"repeated {header.name} not delivered")
        else:
            seen.add(name)
            yield header if header.value.isascii() else Header(header.name, in_ascii(name, header))


def is_delivered(name: str) -> bool:
    if name.startswith("x-"):
        return name not in NOT_DELIVERED and not name.startswith(NOT_DELIVERED_PREFIXES)
    return name in DELIVERED


def in_ascii(name: str, header: Header) -> str:
    """The value of a header that came in eight bits, which RFC 6532 allows and the recipient's server may not."""
    if name in ADDRESSES:
        return addresses_in_ascii(header)
    if name.startswith("list-") and name != "list-id":
        return quote(header.value, safe=URL_CHARACTERS)  # RFC 2369 §2: they hold addresses in angle brackets
    return encode(header.value)


def addresses_in_ascii(header: Header) -> str:
    try:
        found = mailboxes(header.value)
    except NoMailbox:
        return encode(header.value)
    return ", ".join(mailbox_in_ascii(header.name, mailbox.name, mailbox.address) for mailbox in found)


def mailbox_in_ascii(header: str, name: str, address: str) -> str:
    local, at, domain = address.rpartition("@")
    if not local.isascii():
        raise SMTPError(UNSUPPORTED_HEADER.filled(header=header, what=f"the mailbox name of {address}"))
    if len(domain) > MAX_DOMAIN_CHARACTERS:
        raise SMTPError(BAD_HEADER_VALUE.filled(header=header, why=f"{domain[:80]}… is no domain"))
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise SMTPError(BAD_HEADER_VALUE.filled(header=header, why=f"{domain} is no domain")) from None
    address = local + at + domain
    return formataddr((name, address)) if name.isascii() else f"{encode_words(name)} <{address}>"
