"""SMTP client that prints its dialogue, without credentials and with only the beginning of the message."""

import base64
import smtplib
import ssl
from typing import Any

from smtpgw.commands.console import CYAN, DIM, GREEN, RED, say

# Longer than the gateway takes for one message.
TIMEOUT_SECONDS = 60.0
MAX_MESSAGE_LINES_SHOWN = 8


class Dialogue(smtplib.SMTP):
    """Client that prints each command as a line `C:` and each reply as lines `S:`.

    `last_reply` is the last reply, code and text. Raises smtplib.SMTPException and OSError, as its base class does.
    """

    def __init__(self, host: str, port: int) -> None:
        self.last_reply = (0, "")
        self.message_shown = ""
        # An address literal (RFC 5321 §4.1.3), because looking up the name of this machine can take seconds.
        super().__init__(host, port, local_hostname="[127.0.0.1]", timeout=TIMEOUT_SECONDS)

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Print and send a command."""
        shown = "PLAIN (user name and password in base64)" if cmd == "AUTH" else args
        say(f"C: {cmd.upper()} {shown}".rstrip(), CYAN)
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        """Read and print a reply."""
        code, text = super().getreply()
        self.last_reply = (code, text.decode("ascii", "replace"))
        *others, last = self.last_reply[1].split("\n")
        for line in others:
            say(f"S: {code}-{line}", GREEN)
        say(f"S: {code} {last}", GREEN if code < 400 else RED)
        if code == 354:
            say(self.message_shown, CYAN)
        return code, text

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Send EHLO, STARTTLS and EHLO again, as RFC 3207 §4.2 requires.

        Raises:
            smtplib.SMTPException: the server rejects STARTTLS.
            ssl.SSLError: the certificate of the server is not valid.
        """
        self.ehlo()
        self.starttls(context=context)
        if isinstance(self.sock, ssl.SSLSocket):
            say(f"   ({self.sock.version()}; the certificate is verified)", DIM)
        self.ehlo()

    def log_in(self, user: str, password: str) -> bool:
        """Send AUTH PLAIN in one command (RFC 4954 §4, RFC 4616) and return whether the login was accepted.

        The method of smtplib accepts only ASCII passwords.
        """
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode("ascii")
        return self.docmd("AUTH", f"PLAIN {secret}")[0] == 235

    def submit(self, sender: str, recipient: str, raw: bytes) -> bool:
        """Send MAIL, RCPT and DATA and return whether the message was accepted."""
        if self.mail(sender, [f"SIZE={len(raw)}"])[0] != 250 or self.rcpt(recipient)[0] != 250:
            return False
        try:
            return self.data(raw)[0] == 250
        except smtplib.SMTPDataError:
            # The reply to DATA was not 354.
            return False

    def data(self, msg: Any) -> tuple[int, bytes]:
        """Send DATA and the message, and print its beginning."""
        lines = msg.decode("ascii", "replace").splitlines()
        shown = [f"C: {line}" for line in lines[:MAX_MESSAGE_LINES_SHOWN]]
        shown += [f"C: … {len(lines) - len(shown)} more lines, {len(msg):,} octets in all …", "C: ."]
        self.message_shown = "\n".join(shown)
        return super().data(msg)
