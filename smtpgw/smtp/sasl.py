"""AUTH PLAIN (RFC 4616) and LOGIN, as pure conversations: challenges go out and responses come in through `ask`."""

import base64
import re
from collections.abc import Callable

from smtpgw.core import replies
from smtpgw.core.models import Credentials
from smtpgw.core.replies import SMTPError

Ask = Callable[[str], str]  # sends a base64 challenge, returns the client's line

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # RFC 4013 §2.3: RFC 3454 C.2.1, and of C.2.2 what Unicode calls Cc
USERNAME, PASSWORD = "VXNlcm5hbWU6", "UGFzc3dvcmQ6"  # "Username:" and "Password:", as every client knows them


def credentials(username: str, password: str) -> Credentials:
    """Return the credentials of a response.

    Raises:
        SMTPError: 535 when one of them has a control character. SASLprep (RFC 4013 §2.3) prohibits these, no account
            has them, and they come from line ends that were encoded along: they are not sent to the API.
    """
    if CONTROL.search(username) or CONTROL.search(password):
        raise SMTPError(replies.CONTROL_IN_CREDENTIALS)
    return Credentials(username, password)


def plain(initial: str, ask: Ask) -> Credentials:
    """PLAIN: one response, authorization identity NUL user name NUL password.

    Raises:
        SMTPError: 501 when cancelled or malformed, 535 for another authorization identity or a control character.
    """
    fields = decoded(initial or ask("")).split("\0")
    if len(fields) != 3:
        raise SMTPError(replies.AUTH_MALFORMED)
    identity, username, password = fields
    if identity and identity != username:  # RFC 4616 §2: to act for somebody else, which nobody may
        raise SMTPError(replies.BAD_CREDENTIALS)
    return credentials(username, password)


def login(initial: str, ask: Ask) -> Credentials:
    """LOGIN: user name and password, each asked for; the user name may come with the command.

    Raises:
        SMTPError: 501 when cancelled or malformed, 535 for a control character.
    """
    username = decoded(initial or ask(USERNAME))
    return credentials(username, decoded(ask(PASSWORD)))


MECHANISMS: dict[str, Callable[[str, Ask], Credentials]] = {"PLAIN": plain, "LOGIN": login}


def decoded(response: str) -> str:
    """The text of a client's response. `=` is an empty one, `*` cancels (RFC 4954 §4)."""
    if response == "*":
        raise SMTPError(replies.AUTH_CANCELLED)
    if response == "=":
        return ""
    try:
        return base64.b64decode(response, validate=True).decode()
    except ValueError:  # no ASCII, no base64, or no UTF-8 in it
        raise SMTPError(replies.AUTH_MALFORMED) from None
