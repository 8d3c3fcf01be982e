"""The SMTP dialogue with one client, in the order in which it is held: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, QUIT.

RFC 5321 with 3207 (STARTTLS), 4954 (AUTH), 1870 (SIZE), 2920 (PIPELINING), 6152 (8BITMIME), 6531 (SMTPUTF8), 2034
(enhanced status codes) and 6409 (submission). The session knows a gateway that logs in and submits; it knows no HTTP.
"""

import secrets
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Credentials, Envelope, Peer, Receipt, Submission
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.net.tls import Certificate
from smtpgw.smtp import commands, sasl
from smtpgw.smtp.admission import ByteBudget, Reservation
from smtpgw.smtp.connection import Connection, ConnectionLost
from smtpgw.smtp.session_log import REASONS, SessionLog
from smtpgw.telemetry import internal_errors, metrics

# Replies that are the client's mistakes; too many since its last message end the session. What Cakemail refuses, or
# cannot take now, is no mistake: a campaign of thousands of messages goes over one connection.
MISTAKES = frozenset({500, 501, 502, 503, 504, 530, 553, 555})


class GatewayProtocol(Protocol):
    """All that a session knows of what is behind it."""

    def login(self, credentials: Credentials) -> Account:
        """Who these credentials are. Raises SMTPError: 535, or 454 where that cannot be known now."""

    def ready(self) -> None:
        """Let a message begin. Raises SMTPError, where none can be submitted now."""

    def submit(self, submission: Submission) -> Receipt:
        """Hand a message on; the receipt for it. Raises SMTPError."""


class Session:
    """One client's dialogue, from greeting to goodbye."""

    def __init__(
        self,
        wire: Connection,
        peer: Peer,
        gateway: GatewayProtocol,
        settings: Settings,
        certificate: Certificate,
        room: ByteBudget,
    ) -> None:
        self.wire = wire
        self.peer = peer
        self.gateway = gateway
        self.settings = settings
        self.certificate = certificate
        self.room = room
        self.id = secrets.token_hex(6)
        self.diary = SessionLog(self.id, peer)
        self.tls = ""  # the TLS version, "" before TLS
        self.greeted = False
        self.account: Account | None = None
        self.envelope: Envelope | None = None  # None: no MAIL yet
        self.receipt: Receipt | None = None  # of the last message, while the client has not shown that it read the 250
        self.declared_bytes = 0
        self.in_data = False
        self.messages = self.mistakes = self.auth_failures = 0
        self.closing = self.detail = ""  # why the session ends, of REASONS; "" while it goes on
        self.verb = "connect"

    def run(self, *, tls_first: bool = False) -> None:
        """Hold the dialogue until one side ends it. Closes the connection."""
        began = monotonic()
        try:
            if tls_first:
                self.tls = self.wire.start_tls(self.certificate.context)
            self.say(replies.GREETING)
            while not self.closing:
                self.say(self.next_reply())
        except ConnectionLost as lost:
            self.closing = "lost"
            self.detail = str(lost)
        finally:
            self.wire.close()
            self.diary.end(
                tls=self.tls,
                messages=self.messages,
                seconds=monotonic() - began,
                reason=self.closing or "error",
                verb=self.verb,
                detail=self.detail,
                said_something=bool(self.greeted or self.mistakes or self.tls),
            )

    def next_reply(self) -> Reply | None:
        """Read one command and do it. Every refusal and every bug of ours becomes a reply here, and only here."""
        self.verb, self.in_data = "none", False
        try:
            line = self.wire.read_line(logged_in=bool(self.account), between_messages=self.envelope is None)
            self.confirm()
            return self.answer(line)
        except SMTPError as refusal:
            return refusal.reply
        except ConnectionLost:
            raise
        except Exception:  # noqa: BLE001  our own bug: never a 5xx, never a traceback to the client
            self.closing = "error" if self.in_data else ""  # what is left of a message is not commands
            internal_errors.log_exception(session=self.id, verb=self.verb)
            return replies.INTERNAL_ERROR

    def answer(self, line: bytes) -> Reply | None:
        word, argument = commands.command(line)
        if word not in COMMANDS:
            return self.unknown(word)
        self.verb = word.lower()
        method, needs = COMMANDS[word]
        for state, refusal in needs:
            if not getattr(self, state):
                raise SMTPError(refusal)
        return method(self, argument)

    def say(self, reply: Reply | None) -> None:
        """Send a reply, if there is one to send, and see whether the session ends with it."""
        if not reply:
            return
        self.put(reply)
        self.mistakes += reply.code in MISTAKES
        if self.closing:
            return
        if self.mistakes >= self.settings.max_errors:
            metrics.LIMITS.labels("errors").inc()
            self.put(replies.TOO_MANY_ERRORS)
        elif self.auth_failures >= self.settings.max_auth_failures and not self.account:
            metrics.LIMITS.labels("auth_failures").inc()
            self.put(replies.TOO_MANY_AUTH_FAILURES)

    def put(self, reply: Reply) -> None:
        if reply.closes:
            self.closing = REASONS.get(reply, "other")
        if "{hostname}" in reply.text:
            reply = reply.filled(hostname=self.settings.hostname)
        self.diary.reply(self.verb, reply)
        self.wire.write(reply.encode(self.id))

    # --- The commands

    def ehlo(self, argument: str) -> Reply:  # any name is taken, none at all too
        # RFC 5321 §4.1.4: as RSET does. The login stays, since clients say EHLO again after AUTH.
        self.envelope, self.greeted = None, True
        return replies.offers(self.settings.hostname, self.settings.max_message_bytes, encrypted=bool(self.tls))

    def helo(self, argument: str) -> Reply:
        self.envelope, self.greeted = None, True
        return replies.HELLO

    def starttls(self, argument: str) -> None:
        if argument:
            raise SMTPError(replies.SYNTAX_ERROR.filled(usage="STARTTLS"))
        if self.tls:
            raise SMTPError(replies.TLS_ALREADY)
        if self.wire.has_input:
            raise SMTPError(replies.PIPELINED_TLS)
        self.put(replies.READY_FOR_TLS)
        self.tls = self.wire.start_tls(self.certificate.context)
        self.greeted, self.envelope = False, None  # RFC 3207 §4.2: nothing said in clear counts

    def auth(self, argument: str) -> Reply:
        if self.account:  # so there is no AUTH within a transaction either (RFC 4954 §4): MAIL needs a login
            raise SMTPError(replies.AUTH_ALREADY)
        name, _, initial = argument.partition(" ")
        mechanism = sasl.MECHANISMS.get(name.upper())
        if not mechanism:
            raise SMTPError(replies.MECHANISM_UNKNOWN)
        username = ""
        try:
            credentials = mechanism(initial.strip(), self.ask)
            username = credentials.username
            self.account = self.gateway.login(credentials)
        except SMTPError as refusal:
            self.auth_failures += refusal.reply.code == 535
            self.diary.login(name.upper(), username, refusal.reply, None)
            raise
        self.diary.login(name.upper(), username, replies.AUTHENTICATED, self.account)
        return replies.AUTHENTICATED

    def ask(self, challenge: str) -> str:
        """Send a challenge of AUTH and read the response to it."""
        self.put(replies.CHALLENGE.filled(challenge=challenge))
        try:
            return self.wire.read_line(logged_in=False).decode().strip()
        except UnicodeDecodeError:
            raise SMTPError(replies.AUTH_MALFORMED) from None

    def mail(self, argument: str) -> Reply:
        if self.envelope:
            raise SMTPError(replies.NESTED_MAIL)
        reverse_path, parameters = commands.mail(argument)
        self.declared_bytes = commands.declared_size(parameters, self.settings.max_message_bytes)
        self.gateway.ready()
        self.envelope = Envelope(reverse_path)
        return replies.SENDER_OK

    def rcpt(self, argument: str) -> Reply:
        assert self.envelope
        recipient = commands.rcpt(argument)
        if recipient in self.envelope.recipients:
            return replies.RECIPIENT_OK  # one copy is enough
        if len(self.envelope.recipients) >= self.settings.max_recipients:
            metrics.LIMITS.labels("recipients").inc()
            raise SMTPError(replies.TOO_MANY_RECIPIENTS)
        self.envelope.recipients.append(recipient)
        return replies.RECIPIENT_OK

    def data(self, argument: str) -> Reply:
        if argument:
            raise SMTPError(replies.SYNTAX_ERROR.filled(usage="DATA"))
        assert self.envelope
        if not self.envelope.recipients:
            raise SMTPError(replies.RECIPIENT_FIRST)
        assert self.account  # COMMANDS says that DATA needs a login
        with self.room.hold(self.declared_bytes, self.peer.address, self.account.id) as hold:
            self.put(replies.SEND_DATA)
            envelope, self.envelope = self.envelope, None
            self.in_data = True
            raw = self.wire.read_data(hold)
            self.in_data = False
            self.confirm()  # of the message before: a group of MAIL, RCPT and DATA may have been sent ahead of its 250
            return self.submit(envelope, raw, hold)

    def submit(self, envelope: Envelope, raw: bytes, hold: Reservation) -> Reply:
        """Give the message to the gateway; the reply that accepts it."""
        assert self.account  # COMMANDS says that DATA needs a login
        self.messages += 1
        name, client = f"{self.id}.{self.messages}", self.peer.address
        submission = Submission(name, self.id, self.account, envelope, raw, client, hold.resize)
        self.receipt = self.gateway.submit(submission)
        self.mistakes = 0
        self.wire.read_ahead()
        return self.receipt.reply

    def confirm(self) -> None:
        """Confirm the last message once the client has gone on after its 250.

        RFC 1047: until then it may send the message again. A connection that ends without another command, or with one
        that was sent ahead of the 250 (RFC 2920), proves nothing, and the message stays remembered.
        """
        if self.receipt and self.wire.is_reaction:
            receipt, self.receipt = self.receipt, None
            receipt.confirm()

    def rset(self, argument: str) -> Reply:
        self.envelope = None
        return replies.OK

    def noop(self, argument: str) -> Reply:  # RFC 5321 §4.1.1.9: any argument is ignored
        return replies.OK

    def vrfy(self, argument: str) -> Reply:  # RFC 5321 §7.3: no list of users is given away
        return replies.CANNOT_VERIFY

    def help(self, argument: str) -> Reply:
        return replies.HELP

    def quit(self, argument: str) -> Reply:
        return replies.GOODBYE

    def unknown(self, word: str) -> Reply:
        if word in commands.HTTP_METHODS and not self.greeted:
            return replies.NOT_SMTP  # a health check gone astray, or a browser made to send mail (ALPACA)
        return replies.NOT_IMPLEMENTED if word in commands.NOT_OFFERED else replies.UNKNOWN_COMMAND


# What a command may need: the session's attribute that says so, and the refusal where it does not.
TLS = ("tls", replies.TLS_FIRST)
HELLO = ("greeted", replies.HELLO_FIRST)
LOGIN = ("account", replies.AUTH_FIRST)
ENVELOPE = ("envelope", replies.MAIL_FIRST)

# The whole protocol: what a client may say, what does it, and what must have gone before. AUTH is only after TLS, and a
# message only after AUTH: this is never an open relay.
COMMANDS: dict[str, tuple[Callable[[Session, str], Reply | None], tuple[tuple[str, Reply], ...]]] = {
    "EHLO": (Session.ehlo, ()),
    "HELO": (Session.helo, ()),
    "STARTTLS": (Session.starttls, (HELLO,)),
    "AUTH": (Session.auth, (TLS, HELLO)),
    "MAIL": (Session.mail, (TLS, HELLO, LOGIN)),
    "RCPT": (Session.rcpt, (TLS, HELLO, LOGIN, ENVELOPE)),
    "DATA": (Session.data, (TLS, HELLO, LOGIN, ENVELOPE)),
    "RSET": (Session.rset, ()),
    "NOOP": (Session.noop, ()),
    "VRFY": (Session.vrfy, (TLS, HELLO, LOGIN)),
    "HELP": (Session.help, ()),
    "QUIT": (Session.quit, ()),
}
