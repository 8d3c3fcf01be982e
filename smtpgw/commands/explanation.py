"""Explanation of a message: its API requests, its reply and the result for each header, without an account. Pure.
Texts in angle brackets stand for the ids of sender and list, which only Cakemail knows.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import orjson

from smtpgw.config.provider_map import AccountMap
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Envelope
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.core.text import with_crlf
from smtpgw.dialects import interpreter
from smtpgw.dialects.interpreter import Finding, HeaderError, Options, Verdict
from smtpgw.message import parser
from smtpgw.message.addresses import NoMailbox, mailboxes
from smtpgw.message.parser import Message
from smtpgw.smtp import commands
from smtpgw.submission import translation
from smtpgw.submission.translation import EmailRequest

BOUNCE_SENDER = "<id of From, if it is confirmed, else of the account's first confirmed sender>"
UNKNOWN_LIST = "<id of the oldest active list, if there is one>"
WORDS = {
    Verdict.MAP: "mapped",
    Verdict.STRIP: "stripped",
    Verdict.STRIP_WARN: "warned",
    Verdict.REFUSE: "refused",
    Verdict.DISCARD: "test mode",
}
KEYS = {f"{dialect.rows[0].name} {row.name}": row for dialect in interpreter.DIALECTS for row in dialect.keys}
ROWS = {row.name: row for dialect in interpreter.DIALECTS for row in dialect.rows} | KEYS
TAGS = frozenset(name for name, row in ROWS.items() if row.becomes == "tags")
MADE_ANEW = "Cakemail writes its own"
TRACE = "describes another transmission"
# Reasons why header fields are not delivered. A name that ends with a hyphen is a prefix.
NOT_DELIVERED = {
    "arc-": "would be invalid: Cakemail rewrites and signs the message",
    "authentication-results": TRACE,
    "bcc": "never shown",
    "cc": "cannot be shown: each recipient gets a separate mail",
    "content-": MADE_ANEW,
    "date": MADE_ANEW,
    "delivered-to": TRACE,
    "dkim-signature": "would be invalid: Cakemail rewrites and signs the message",
    "domainkey-signature": "would be invalid: Cakemail rewrites and signs the message",
    "message-id": "Cakemail writes its own; this one is in the gateway's log",
    "mime-version": MADE_ANEW,
    "received": TRACE,
    "received-spf": TRACE,
    "resent-": TRACE,
    "return-path": TRACE,
    "sender": "the confirmed sender is used",
    "to": "each mail shows only its own recipient",
    "x-": "describes other servers",
}


class NoRecipient(Exception):
    """Neither the envelope nor the message names a recipient."""


class HeaderVerdict(NamedTuple):
    """The result for one header field, or for one key of a header with JSON."""

    header: str
    verdict: str  # kept, mapped, stripped, warned, refused or test mode
    detail: str
    dialect: str = ""  # the provider whose control header it is


class Decision(NamedTuple):
    """A value of the request and the reason for it."""

    value: str
    why: str


@dataclass(slots=True)
class Explanation:
    """The result for a message. When it is rejected, the results of later steps are missing."""

    envelope: Envelope
    reply: Reply = replies.OK
    mail: Message | None = None
    options: Options | None = None
    refused: list[Finding] = field(default_factory=list)
    request: EmailRequest | None = None
    body: dict[str, Any] = field(default_factory=dict)  # the request for the first recipient

    @property
    def is_sent(self) -> bool:
        return self.request is not None and not self.reply.is_error and not (self.options and self.options.discard)

    @property
    def headers(self) -> list[HeaderVerdict]:
        """The control headers, then the others in the order of the message."""
        findings = [*self.refused, *(self.options.findings if self.options else ())]
        control = [HeaderVerdict(f.header, WORDS[f.verdict], detail_of(f), f.dialect) for f in findings]
        return [*control, *(ordinary_headers(self.mail, self.body) if self.mail and self.request else ())]

    @property
    def notes(self) -> tuple[str, ...]:
        return self.mail.notes if self.mail else ()

    @property
    def decisions(self) -> dict[str, Decision]:
        if not (self.mail and self.options and self.request):
            return {}
        return decisions(self.mail, self.options, self.body, self.request.marketing_header)


def explained(
    raw: bytes, sender: str | None, recipients: Sequence[str], mapping: AccountMap, settings: Settings
) -> Explanation:
    """Explain a message.

    Args:
        raw: the message, with any line ends.
        sender: the address of MAIL FROM, "" for the null sender; by default that of From, or null for a bounce.
        recipients: the addresses of RCPT TO; by default those of To, Cc and Bcc.
        mapping: the provider map of the account.
        settings: the settings of the gateway.

    Raises:
        NoRecipient: neither the arguments nor the message name a recipient.
    """
    result = Explanation(Envelope(""))
    try:
        if sender is not None:
            result.envelope.reverse_path = commands.parse_mail(f"FROM:<{sender}>")[0]
        add_recipients(result.envelope, recipients, settings)
        null_sender = None if sender is None else not result.envelope.reverse_path
        result.reply = submit(result, with_crlf(raw), mapping, settings, null_sender=null_sender)
    except SMTPError as refusal:
        result.reply = refusal.reply
    if sender is None and result.mail and result.mail.author and not result.mail.is_bounce:
        result.envelope.reverse_path = result.mail.author.address
    return result


def parse(raw: bytes, settings: Settings, *, null_sender: bool | None) -> Message:
    """Parse the message. If `null_sender` is None, a message that is rejected otherwise is parsed as a bounce.

    Raises:
        SMTPError: the message is rejected.
    """
    read = functools.partial(parser.parse, raw, settings.inline_images, limit_bytes=settings.request_limit_bytes)
    if null_sender is not None:
        return read(null_sender=null_sender)
    try:
        return read()
    except SMTPError:
        return read(null_sender=True)


def submit(
    result: Explanation, raw: bytes, mapping: AccountMap, settings: Settings, *, null_sender: bool | None
) -> Reply:
    """Follow `gateway.Gateway.submit` up to the API calls. A test compares the two.

    Raises:
        SMTPError: the message is rejected.
        NoRecipient: there is no recipient.
    """
    if len(raw) > settings.max_message_bytes:
        raise SMTPError(replies.MESSAGE_TOO_BIG.filled(limit=settings.max_message_bytes))
    envelope = result.envelope
    result.mail = mail = parse(raw, settings, null_sender=null_sender)
    if not envelope.recipients:
        add_recipients(envelope, named_recipients(mail), settings)
    if not envelope.recipients:
        raise NoRecipient
    result.options = options = read_all(result, mail, mapping)
    address = mail.author.address if mail.author else envelope.reverse_path
    if not address and not options.sender_id and not mail.is_bounce:
        raise SMTPError(replies.SENDER_NOT_CONFIRMED.filled(address="<>"))
    sender_id = options.sender_id or (BOUNCE_SENDER if mail.is_bounce else f"<id of {address}>")
    list_id = options.list_id or cast(int, UNKNOWN_LIST)  # only for people; never sent to the API
    how = settings.default_type, settings.bulk_headers, settings.request_limit_bytes
    result.request = translation.translate(mail, options, sender_id, list_id, *how)
    result.body = orjson.loads(result.request.body_for(envelope.recipients[0]))
    if options.discard:
        return replies.DISCARDED.filled(header=options.discard)
    return replies.QUEUED.filled(id="<Cakemail's id>" if len(envelope.recipients) == 1 else "<the gateway's id>")


def add_recipients(envelope: Envelope, recipients: Sequence[str], settings: Settings) -> None:
    """Add recipients as RCPT does. Raises SMTPError."""
    for recipient in recipients:
        found = commands.parse_rcpt(f"TO:<{recipient}>")
        if found in envelope.recipients:
            continue
        if not envelope.add(found, settings.max_recipients):
            raise SMTPError(replies.TOO_MANY_RECIPIENTS)


def named_recipients(mail: Message) -> list[str]:
    """Return the addresses of To, Cc and Bcc. Fields that cannot be parsed are ignored, as by the gateway."""
    found: list[str] = []
    for header in mail.headers:
        if header.name.lower() in ("to", "cc", "bcc"):
            try:
                found += [mailbox.address for mailbox in mailboxes(header.value)]
            except NoMailbox:
                continue
    return found


def read_all(result: Explanation, mail: Message, mapping: AccountMap) -> Options:
    """Read the control headers. Rejected ones are set aside, so that all of them are found at once.

    Raises:
        SMTPError: the first rejected header, at which the gateway stops.
    """
    refusals: list[HeaderError] = []
    while result.options is None:
        try:
            result.options = interpreter.read(mail, result.envelope.recipients, mapping)
        except HeaderError as refusal:
            refusals.append(refusal)
            name = refusal.finding.header.partition(" ")[0].lower()
            others = tuple(header for header in mail.headers if header.name.lower() != name)
            if len(others) == len(mail.headers):
                break  # a recipient is rejected, not a header
            mail = replace(mail, headers=others)
    result.refused = [refusal.finding for refusal in refusals]
    if refusals or result.options is None:
        raise refusals[0]
    return result.options


def decisions(mail: Message, options: Options, body: Mapping[str, Any], marketing_header: str) -> dict[str, Decision]:
    """Return the sender, the list and the type of the message, with their reasons."""
    found = {
        "sender": Decision(body["sender"]["id"], "From" if mail.author else "MAIL FROM"),
        "list": Decision(str(body["list_id"]), "no header names one"),
        "type": Decision(body["content"]["type"], "SMTPGW_DEFAULT_TYPE"),
    }
    if mail.is_bounce:
        found["sender"] = Decision(body["sender"]["id"], "a bounce of a mail server")
    if options.sender_id:
        found["sender"] = Decision(options.sender_id, by_header(options, f"sender_id {options.sender_id}"))
    if options.list_id:
        found["list"] = Decision(str(options.list_id), by_header(options, f"list_id {options.list_id}"))
    if options.account_id:
        found["account"] = Decision(str(options.account_id), by_header(options, f"account_id {options.account_id}"))
    if mail.is_bounce:
        found["type"] = Decision("transactional", "a bounce")
    elif options.type:
        found["type"] = Decision(options.type, by_header(options, f"type {options.type}"))
    elif marketing_header:
        found["type"] = Decision("marketing", f"{marketing_header}, which SMTPGW_BULK_HEADERS names")
    return found


def by_header(options: Options, decision: str) -> str:
    """Return the first header that led to a decision, in the words of `context.HeaderContext.decide`."""
    decided = (f.header for f in options.findings if f.verdict is Verdict.MAP and f.detail == decision[:300])
    return next(decided, "a control header")  # findings are limited in number


def detail_of(finding: Finding) -> str:
    """Return the detail of a finding, with the name of the field of the request."""
    return f"tags {finding.detail}" if finding.verdict is Verdict.MAP and finding.header in TAGS else finding.detail


def ordinary_headers(mail: Message, body: Mapping[str, Any]) -> Iterator[HeaderVerdict]:
    """Yield the results for header fields that are not control headers, according to the request."""
    added = [(header["name"].lower(), header["value"]) for header in body.get("additional_headers", ())]
    kept = Counter(name for name, _ in added)
    seen: set[str] = set()
    for header in mail.headers:
        name = header.name.lower()
        if interpreter.find_control_header(header):
            continue
        if name in ("from", "subject") and name not in seen and header.value:
            yield HeaderVerdict(header.name, "mapped", "sender" if name == "from" else "content.subject")
        elif kept[name]:
            kept[name] -= 1
            yield HeaderVerdict(header.name, "kept", "" if (name, header.value) in added else "written in ASCII")
        else:
            why = "is empty" if not header.value else "the first one counts" if name in seen else why_not(name)
            yield HeaderVerdict(header.name, "stripped", why)
        if header.value or name != "from":
            seen.add(name)


def why_not(name: str) -> str:
    """Return why a header field is not delivered."""
    if name in NOT_DELIVERED:
        return NOT_DELIVERED[name]
    whole_families = (prefix for prefix in NOT_DELIVERED if prefix.endswith("-") and name.startswith(prefix))
    return next((NOT_DELIVERED[prefix] for prefix in whole_families), "is not among the header fields to be delivered")
