"""SASL mechanisms PLAIN (RFC 4616) and LOGIN, as pure functions. A callback exchanges challenge and response."""

import base64
import re
from collections.abc import Callable

from smtpgw.core import replies
from smtpgw.core.models import Credentials
from smtpgw.core.replies import SMTPError

# Sends a base64 challenge and returns the client's line.
Challenge = Callable[[str], str]

# RFC 4013 §2.3 prohibits RFC 3454 C.2.1 and C.2.2; of C.2.2 these are the characters of Unicode category Cc.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Base64 of "Username:" and "Password:", the challenges that clients expect.
USERNAME, PASSWORD = "VXNlcm5hbWU6", "UGFzc3dvcmQ6"


def make_credentials(username: str, password: str) -> Credentials:
    """Return the credentials of a response.

    SASLprep (RFC 4013 §2.3) prohibits control characters, and no account has them. They come from line ends that the
    client encoded with the value, so they are rejected here and not sent to the API.

    Raises:
        SMTPError: 535 when one of them has a control character.
    """
    if CONTROL.search(username) or CONTROL.search(password):
        raise SMTPError(replies.CONTROL_IN_CREDENTIALS)
    return Credentials(username, password)


def plain(initial: str, challenge: Challenge) -> Credentials:
    """Run PLAIN: one response with authorization identity, user name and password, separated by NUL.

    Raises:
        SMTPError: 501 when cancelled or malformed, 535 for another authorization identity or a control character.
    """
    fields = decode_response(initial or challenge("")).split("\0")
    if len(fields) != 3:
        raise SMTPError(replies.AUTH_MALFORMED)
    identity, username, password = fields
    # RFC 4616 §2: another authorization identity asks to act for somebody else, which is never allowed.
    if identity and identity != username:
        raise SMTPError(replies.BAD_CREDENTIALS)
    return make_credentials(username, password)


def login(initial: str, challenge: Challenge) -> Credentials:
    """Run LOGIN: one challenge for the user name, unless it came with the command, and one for the password.

    Raises:
        SMTPError: 501 when cancelled or malformed, 535 for a control character.
    """
    username = decode_response(initial or challenge(USERNAME))
    return make_credentials(username, decode_response(challenge(PASSWORD)))


MECHANISMS: dict[str, Callable[[str, Challenge], Credentials]] = {"PLAIN": plain, "LOGIN": login}


def decode_response(response: str) -> str:
    """Return the text of a client's response. `=` is an empty response, `*` cancels (RFC 4954 §4).

    Raises:
        SMTPError: 501 when it is cancelled, or is not base64 of UTF-8 text.
    """
    if response == "*":
        raise SMTPError(replies.AUTH_CANCELLED)
    if response == "=":
        return ""
    try:
        return base64.b64decode(response, validate=True).decode()
    except ValueError:
        raise SMTPError(replies.AUTH_MALFORMED) from None
