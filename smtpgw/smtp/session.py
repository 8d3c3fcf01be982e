"""The SMTP session with one client, in the order of the protocol: EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, QUIT.

RFC 5321 with 3207 (STARTTLS), 4954 (AUTH), 1870 (SIZE), 2920 (PIPELINING), 6152 (8BITMIME), 6531 (SMTPUTF8), 2034
(enhanced status codes) and 6409 (submission). The session passes credentials and messages to a gateway.
"""

import secrets
from collections.abc import Callable
from time import monotonic

from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.models import Account, Envelope, Peer, Receipt, Submission
from smtpgw.core.replies import Reply, SMTPError
from smtpgw.net.tls import Certificate
from smtpgw.smtp import commands, sasl
from smtpgw.smtp.admission import ByteBudget, Reservation
from smtpgw.smtp.connection import Connection, ConnectionLost
from smtpgw.smtp.gateway_protocol import GatewayProtocol
from smtpgw.smtp.session_log import CLOSE_REASONS, SessionLog
from smtpgw.telemetry import internal_errors, metrics


class Session:
    """One client's session, from the greeting to the end of the connection."""

    def __init__(
        self,
        connection: Connection,
        peer: Peer,
        gateway: GatewayProtocol,
        settings: Settings,
        certificate: Certificate,
        budget: ByteBudget,
    ) -> None:
        self.connection = connection
        self.peer = peer
        self.gateway = gateway
        self.settings = settings
        self.certificate = certificate
        self.budget = budget
        self.id = secrets.token_hex(6)
        self.log = SessionLog(self.id, peer)
        # The TLS version, "" before the handshake.
        self.tls = ""
        self.greeted = False
        self.account: Account | None = None
        # None while no transaction is under way.
        self.envelope: Envelope | None = None
        # The receipt of the last message, until the client has shown that it read the 250.
        self.receipt: Receipt | None = None
        self.declared_bytes = 0
        self.in_data = False
        self.messages = self.mistakes = self.auth_failures = 0
        # The reason why the session ends (CLOSE_REASONS), "" while it continues.
        self.closing = self.detail = ""
        self.verb = "connect"

    def run(self, *, tls_first: bool = False) -> None:
        """Run the session until one side ends it, then close the connection. `tls_first` begins with the handshake."""
        began = monotonic()
        try:
            if tls_first:
                self.tls = self.connection.start_tls(self.certificate.context)
            self.reply(replies.GREETING)
            while not self.closing:
                self.reply(self.next_reply())
        except ConnectionLost as lost:
            self.closing = "lost"
            self.detail = str(lost)
        finally:
            self.connection.close()
            self.log.end(
                tls=self.tls,
                messages=self.messages,
                seconds=monotonic() - began,
                reason=self.closing or "error",
                verb=self.verb,
                detail=self.detail,
                is_active=bool(self.greeted or self.mistakes or self.tls),
            )

    def next_reply(self) -> Reply | None:
        """Read and execute one command. Every exception but a lost connection becomes a reply here, and only here."""
        self.verb, self.in_data = "none", False
        try:
            line = self.connection.read_line(logged_in=bool(self.account), between_messages=self.envelope is None)
            self.confirm()
            return self.dispatch(line)
        except SMTPError as refusal:
            return refusal.reply
        except ConnectionLost:
            raise
        except Exception:  # noqa: BLE001
            # The session cannot continue within a message, because the rest of a message is not commands.
            self.closing = "error" if self.in_data else ""
            internal_errors.log_exception(session=self.id, verb=self.verb)
            return replies.INTERNAL_ERROR

    def dispatch(self, line: bytes) -> Reply | None:
        """Execute a command line and return its reply, or None when it was already sent. Raises SMTPError."""
        word, argument = commands.split_line(line)
        if word not in COMMANDS:
            return self.unknown(word)
        self.verb = word.lower()
        method, needs = COMMANDS[word]
        for state, refusal in needs:
            if not getattr(self, state):
                raise SMTPError(refusal)
        return method(self, argument)

    def reply(self, reply: Reply | None) -> None:
        """Send the reply to a command, if there is one, and end the session after too many mistakes."""
        if not reply:
            return
        self.send(reply)
        self.mistakes += self.is_mistake(reply)
        if self.closing:
            return
        if self.mistakes >= self.settings.max_errors:
            metrics.LIMITS.labels("errors").inc()
            self.send(replies.TOO_MANY_ERRORS)
        elif self.auth_failures >= self.settings.max_auth_failures and not self.account:
            metrics.LIMITS.labels("auth_failures").inc()
            self.send(replies.TOO_MANY_AUTH_FAILURES)

    def is_mistake(self, reply: Reply) -> bool:
        """Return whether a reply counts. The bad recipients of a message count once, since the others should get it."""
        if self.envelope and reply.code == 553:
            self.envelope.rejected += 1
            return self.envelope.rejected == 1
        return reply.is_mistake

    def send(self, reply: Reply) -> None:
        """Buffer a reply and log it. A reply that closes the connection ends the session."""
        if reply.closes:
            self.closing = CLOSE_REASONS.get(reply, "other")
        if "{hostname}" in reply.text:
            reply = reply.filled(hostname=self.settings.hostname)
        self.log.reply(self.verb, reply)
        self.connection.write(reply.encode(self.id))

    def ehlo(self, argument: str) -> Reply:
        # Any host name is accepted, even none. EHLO resets the transaction (RFC 5321 §4.1.4). The login stays valid,
        # because clients send EHLO again after AUTH.
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
        if self.connection.has_input:
            raise SMTPError(replies.PIPELINED_TLS)
        self.send(replies.READY_FOR_TLS)
        self.tls = self.connection.start_tls(self.certificate.context)
        # RFC 3207 §4.2: everything that the client sent in clear is discarded.
        self.greeted, self.envelope = False, None

    def auth(self, argument: str) -> Reply:
        # MAIL needs a login, so this also prevents AUTH within a transaction (RFC 4954 §4).
        if self.account:
            raise SMTPError(replies.AUTH_ALREADY)
        name, _, initial = argument.partition(" ")
        mechanism = sasl.MECHANISMS.get(name.upper())
        if not mechanism:
            raise SMTPError(replies.MECHANISM_UNKNOWN)
        username = ""
        try:
            credentials = mechanism(initial.strip(), self.challenge)
            username = credentials.username
            self.account = self.gateway.login(credentials, self.peer.address)
        except SMTPError as refusal:
            self.auth_failures += refusal.reply.code == 535
            self.log.login(name.upper(), username, refusal.reply, None)
            raise
        self.log.login(name.upper(), username, replies.AUTHENTICATED, self.account)
        return replies.AUTHENTICATED

    def challenge(self, challenge: str) -> str:
        """Send a challenge of AUTH and return the client's response. Raises SMTPError, ConnectionLost."""
        self.send(replies.CHALLENGE.filled(challenge=challenge))
        try:
            return self.connection.read_line(logged_in=False).decode().strip()
        except UnicodeDecodeError:
            raise SMTPError(replies.AUTH_MALFORMED) from None

    def mail(self, argument: str) -> Reply:
        if self.envelope:
            raise SMTPError(replies.NESTED_MAIL)
        reverse_path, parameters = commands.parse_mail(argument)
        self.declared_bytes = commands.declared_size(parameters, self.settings.max_message_bytes)
        self.gateway.check_available()
        self.envelope = Envelope(reverse_path)
        return replies.SENDER_OK

    def rcpt(self, argument: str) -> Reply:
        assert self.envelope
        recipient = commands.parse_rcpt(argument)
        # A recipient that is given twice gets one copy.
        if recipient in self.envelope.recipients:
            return replies.RECIPIENT_OK
        if not self.envelope.add(recipient, self.settings.max_recipients):
            metrics.LIMITS.labels("recipients").inc()
            raise SMTPError(replies.TOO_MANY_RECIPIENTS)
        return replies.RECIPIENT_OK

    def data(self, argument: str) -> Reply:
        if argument:
            raise SMTPError(replies.SYNTAX_ERROR.filled(usage="DATA"))
        assert self.envelope
        if not self.envelope.recipients:
            raise SMTPError(replies.RECIPIENT_FIRST)
        assert self.account
        with self.budget.reserve(self.declared_bytes, self.peer.address, self.account.id) as reservation:
            self.send(replies.SEND_DATA)
            envelope, self.envelope = self.envelope, None
            self.in_data = True
            raw = self.connection.read_data(reservation)
            self.in_data = False
            # This confirms the previous message: its 250 may have been on the way while the client sent MAIL to DATA.
            self.confirm()
            return self.submit(envelope, raw, reservation)

    def submit(self, envelope: Envelope, raw: bytes, reservation: Reservation) -> Reply:
        """Pass a message to the gateway and return the reply that accepts it. Raises SMTPError."""
        assert self.account
        self.messages += 1
        name, client = f"{self.id}.{self.messages}", self.peer.address
        submission = Submission(name, self.id, self.account, envelope, raw, client, reservation.resize)
        self.receipt = self.gateway.submit(submission)
        self.mistakes = 0
        self.connection.read_ahead()
        return self.receipt.reply

    def confirm(self) -> None:
        """Confirm the last message, once the client has continued after its 250.

        Until then the client may send the message again (RFC 1047). A connection that ends without another command, or
        with one that was sent ahead of the 250 (RFC 2920), proves nothing, and the message stays in the ledger.
        """
        if self.receipt and self.connection.is_reaction:
            receipt, self.receipt = self.receipt, None
            receipt.confirm()

    def rset(self, argument: str) -> Reply:
        self.envelope = None
        return replies.OK

    def noop(self, argument: str) -> Reply:
        # RFC 5321 §4.1.1.9: any argument is ignored.
        return replies.OK

    def vrfy(self, argument: str) -> Reply:
        # RFC 5321 §7.3: the command must not disclose which users exist.
        return replies.CANNOT_VERIFY

    def help(self, argument: str) -> Reply:
        return replies.HELP

    def quit(self, argument: str) -> Reply:
        return replies.GOODBYE

    def unknown(self, word: str) -> Reply:
        # A health check of the wrong kind, or a browser that a web page makes send mail (the ALPACA attack).
        if word in commands.HTTP_METHODS and not self.greeted:
            return replies.NOT_SMTP
        return replies.NOT_IMPLEMENTED if word in commands.NOT_OFFERED else replies.UNKNOWN_COMMAND


# The preconditions of commands: the attribute of the session that must be true, and the error reply otherwise.
TLS = ("tls", replies.TLS_FIRST)
HELLO = ("greeted", replies.HELLO_FIRST)
LOGIN = ("account", replies.AUTH_FIRST)
ENVELOPE = ("envelope", replies.MAIL_FIRST)

# Every command with its method and its preconditions. AUTH needs TLS and a message needs AUTH, so the gateway is never
# an open relay.
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
