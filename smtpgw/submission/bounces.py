"""Bounces: non-delivery notices about the recipients that Cakemail rejected permanently.

When a message is accepted for some recipients only, its 250 reply promises that the sender is notified about the others
(RFC 5321 §6.1). The bounce goes through the same API, from the sender of the message to its reverse-path. No bounce
goes to the null reverse-path or is about an automatic message (RFC 3834 §2), so two programs cannot answer each other
endlessly. A web form can put any address into MAIL FROM, so a bounce goes only to an address that the account owns: see
`is_owned`. A bounce that is rejected, or that fails because of a bug, is logged and the 250 reply stays. With a 4xx
reply the client would send the message again, and duplicate it when the ledger has forgotten it.
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
from smtpgw.submission.delivery import Delivery, reply_for
from smtpgw.submission.directory import Directories, Directory
from smtpgw.submission.ledger import MessageKey
from smtpgw.submission.translation import is_automatic
from smtpgw.telemetry import internal_errors, logs, metrics

# Limit for the reply about one recipient.
MAX_REASON_CHARACTERS = 200
SUBJECT = "Undelivered mail: {subject}"
TEXT = """\
Your message "{subject}" was accepted for {accepted} of its {total} recipients.
It could not be delivered to the others:

{lines}

This notice was written by the SMTP gateway. The other recipients get their copy; do not send it to them again.
"""
FOREIGN = "no notice: MAIL FROM is no address of a confirmed sender, nor in the domain of one"
# Domains in which anybody can have a mailbox: a confirmed sender in one of them does not own the domain.
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
class SubmittedMessage:
    """Message that has been submitted, with all that a bounce about it needs.

    Attributes:
        account_id: the sub-account, if the message was sent for one.
        key: key of the message in the ledger.
        deadline: the monotonic time at which its client gets the reply.
        notes: notes for the log line of the message.
    """

    submission: Submission
    mail: Message
    sender_id: str
    list_id: int | None
    account_id: int | None
    key: MessageKey
    deadline: float
    notes: list[str] = field(default_factory=list)


class Bounces:
    """Sender of bounces, through the same delivery as messages.

    Args:
        delivery: submits the bounces.
        directories: the confirmed senders of the accounts.
        domains: whether a bounce may go to any address in the domain of a confirmed sender, or only to the addresses of
            confirmed senders.
    """

    def __init__(self, delivery: Delivery, directories: Directories, *, domains: bool = True) -> None:
        self.delivery = delivery
        self.directories = directories
        self.domains = domains

    def send(self, sent: SubmittedMessage, outcomes: Sequence[Outcome]) -> Outcome | None:
        """Send a bounce if the message was accepted for some recipients and rejected for others.

        Returns:
            The outcome of the bounce, or None when none was sent.

        Raises:
            SMTPError: 451 when it cannot be sent now. The client then sends the message again; the ledger prevents
                duplicates.
        """
        refused = [o for o in outcomes if not o.is_accepted]
        if not refused or len(refused) == len(outcomes):
            return None
        try:
            outcome = self._send(sent, outcomes, refused)
        # A bug in the bounce must not change the reply to a message that was accepted.
        except Exception:  # noqa: BLE001
            internal_errors.log_exception(id=sent.submission.id, what="no notice, or none that could be told of")
            return None
        if outcome and outcome.is_deferred:
            raise SMTPError(outcome.reply)
        return outcome

    def _send(self, sent: SubmittedMessage, outcomes: Sequence[Outcome], refused: Sequence[Outcome]) -> Outcome | None:
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
            return Outcome(address, reply=reply_for(problem))
        if not is_owned(address, directory, domains=self.domains):
            metrics.NOTICES.count("foreign_address")
            sent.notes.append(FOREIGN)
            return None
        bounce = bounce_for(sent.mail, outcomes, refused)
        options = Options(tracking=translation.NOT_TRACKED, account_id=sent.account_id)
        request = translation.translate(bounce, options, sent.sender_id, sent.list_id, "transactional")
        account, key = sent.submission.account, sent.key.of_bounce()
        outcome = self.delivery.send(request, [address], account, key, sent.deadline)[0]
        if not outcome.is_deferred:
            metrics.NOTICES.count("sent" if outcome.is_accepted else "refused")
        return outcome


def is_owned(address: str, directory: Directory, *, domains: bool) -> bool:
    """Return whether the account owns this address: it is a confirmed sender or, with `domains`, in a sender's domain.

    A domain includes its subdomains: senders in `example.com` own `bounces.example.com`. No account owns the domain of
    a public mailbox provider.
    """
    address = address.lower()
    if address in directory.by_address:
        return True
    domain = address.rpartition("@")[2]
    if not domains or domain in PUBLIC_MAILBOX_DOMAINS:
        return False
    owned = {sender.rpartition("@")[2] for sender in directory.by_address} - PUBLIC_MAILBOX_DOMAINS
    return any(domain == own or domain.endswith(f".{own}") for own in owned)


def bounce_for(mail: Message, outcomes: Sequence[Outcome], refused: Sequence[Outcome]) -> Message:
    """Return the bounce as a message."""
    # There may be a thousand rejected recipients, so each reason is limited.
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
