"""The non-delivery notice: tells a message's sender which of its recipients Cakemail refused for good.

The 250 of a message that was accepted for some recipients promises that the sender hears of the others (RFC 5321 §6.1).
It goes through the same API, from the message's own sender, to its reverse-path; never to the null one, and never about
a message that itself says it is automatic (RFC 3834 §2), so that no two machines write to each other for ever. A web
form can put anybody's address into MAIL FROM, so a notice goes only to an address of the account's: see `is_own`. One
that is refused, or that a bug of ours keeps from being written, is logged, and the 250 stays: a client that were told
to come again would double the message as soon as it is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from smtpgw.cakemail.errors import ApiError
from smtpgw.core.addresses import mailbox
from smtpgw.core.models import Submission
from smtpgw.core.outcomes import Outcome
from smtpgw.core.replies import SMTPError
from smtpgw.dialects.interpreter import Options
from smtpgw.message.parser import Header, Message
from smtpgw.submission import translation
from smtpgw.submission.delivery import Delivery, reply_to
from smtpgw.submission.directory import Directories, Directory
from smtpgw.submission.ledger import MessageKey
from smtpgw.submission.translation import is_automatic
from smtpgw.telemetry import internal_errors, logs, metrics

MAX_REASON_CHARACTERS = 200  # of the reply about one recipient
SUBJECT = "Undelivered mail: {subject}"
TEXT = """\
Your message "{subject}" was accepted for {accepted} of its {total} recipients.
It could not be delivered to the others:

{lines}

This notice was written by the SMTP gateway. The other recipients get their copy; do not send it to them again.
"""
FOREIGN = "no notice: MAIL FROM is no address of a confirmed sender, nor in the domain of one"
# Domains in which strangers have mailboxes: that one of them is confirmed says nothing about the others.
PUBLIC_MAILBOX_DOMAINS = frozenset(
    {
        "126.com", "163.com", "aol.com", "att.net", "bell.net", "bluewin.ch", "comcast.net", "cox.net",
        "fastmail.com", "free.fr", "freenet.de", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net",
        "googlemail.com", "hey.com", "hotmail.ca", "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.fr",
        "icloud.com", "laposte.net", "libero.it", "live.ca", "live.com", "live.fr", "mac.com", "mail.com", "mail.ru",
        "me.com", "msn.com", "naver.com", "orange.fr", "outlook.com", "outlook.de", "outlook.fr", "pm.me",
        "proton.me", "protonmail.com", "qq.com", "rediffmail.com", "rogers.com", "sbcglobal.net", "sfr.fr",
        "shaw.ca", "sympatico.ca", "t-online.de", "telus.net", "tuta.com", "tutanota.com", "verizon.net",
        "videotron.ca", "wanadoo.fr", "web.de", "yahoo.ca", "yahoo.co.in", "yahoo.co.jp", "yahoo.co.uk", "yahoo.com",
        "yahoo.de", "yahoo.fr", "yandex.com", "yandex.ru", "ymail.com", "zoho.com",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that has been submitted, as far as the notice about it has to know."""

    submission: Submission
    mail: Message
    sender_id: str
    list_id: int | None
    account_id: int | None  # a sub-account that was acted for
    identity: MessageKey
    deadline: float  # the monotonic time by which its client is answered
    notes: list[str] = field(default_factory=list)  # for the message's line in the log


class Bounces:
    """Sends notices through the delivery that messages take.

    `domains`: also to any address in the domain of a confirmed sender, and not to the senders' own addresses alone.
    """

    def __init__(self, delivery: Delivery, directories: Directories, *, domains: bool = True) -> None:
        self.delivery = delivery
        self.directories = directories
        self.domains = domains

    def send(self, sent: Sent, outcomes: Sequence[Outcome]) -> Outcome | None:
        """Send the notice, if these outcomes want one, in the name of the message's own sender; what became of it.

        Raises:
            SMTPError: 451 when it cannot be sent now; the client then comes again, and nothing is doubled.
        """
        refused = [o for o in outcomes if not o.is_accepted]
        if not refused or len(refused) == len(outcomes):
            return None
        try:
            outcome = self._send(sent, outcomes, refused)
        except Exception:  # noqa: BLE001  our own bug: what was accepted stays accepted
            internal_errors.log_exception(id=sent.submission.id, what="no notice, or none that could be told of")
            return None
        if outcome and outcome.is_deferred:
            raise SMTPError(outcome.reply)
        return outcome

    def _send(self, sent: Sent, outcomes: Sequence[Outcome], refused: Sequence[Outcome]) -> Outcome | None:
        reverse_path = sent.submission.envelope.reverse_path
        if not reverse_path or is_automatic(sent.mail):
            metrics.NOTICES.count("none")
            return None
        try:
            address = mailbox(reverse_path)
        except SMTPError:
            metrics.NOTICES.count("no_address")
            logs.error(id=sent.submission.id, what="no notice: the reverse-path is no mailbox")
            return None
        try:
            directory = self.directories.directory(sent.submission.account, sent.account_id, sent.deadline)
        except ApiError as problem:
            return Outcome(address, reply=reply_to(problem))
        if not is_own(address, directory, domains=self.domains):
            metrics.NOTICES.count("foreign_address")
            sent.notes.append(FOREIGN)
            return None
        notice = notice_about(sent.mail, outcomes, refused)
        options = Options(tracking=translation.NOT_TRACKED, account_id=sent.account_id)
        request = translation.translate(notice, options, sent.sender_id, sent.list_id, "transactional")
        account, identity = sent.submission.account, sent.identity.of_notice()
        outcome = self.delivery.send(request, [address], account, identity, sent.deadline)[0]
        if not outcome.is_deferred:
            metrics.NOTICES.count("sent" if outcome.is_accepted else "refused")
        return outcome


def is_own(address: str, directory: Directory, *, domains: bool) -> bool:
    """Return whether the account owns this address: it is a confirmed sender's or, with `domains`, in its domain.

    A domain includes those below it: senders in `example.com` own `bounces.example.com`. Public mailbox providers'
    domains are nobody's.
    """
    address = address.lower()
    if address in directory.by_address:
        return True
    domain = address.rpartition("@")[2]
    if not domains or domain in PUBLIC_MAILBOX_DOMAINS:
        return False
    owned = {sender.rpartition("@")[2] for sender in directory.by_address} - PUBLIC_MAILBOX_DOMAINS
    return any(domain == own or domain.endswith(f".{own}") for own in owned)


def notice_about(mail: Message, outcomes: Sequence[Outcome], refused: Sequence[Outcome]) -> Message:
    """The notice, as a message like any other."""
    # Each is named, and there may be a thousand of them.
    lines = "\n".join(
        f"  {o.recipient}: {o.reply.code} {o.reply.status} {o.reply.text[:MAX_REASON_CHARACTERS]}" for o in refused
    )
    text = TEXT.format(subject=mail.subject, accepted=len(outcomes) - len(refused), total=len(outcomes), lines=lines)
    headers = [Header("Auto-Submitted", "auto-replied")]
    if mail.message_id:
        headers += [Header("In-Reply-To", mail.message_id), Header("References", mail.message_id)]
    return Message(
        headers=tuple(headers), author=None, subject=SUBJECT.format(subject=mail.subject), text=text, html=None,
        attachments=(), message_id="", notes=(),
    )  # fmt: skip
