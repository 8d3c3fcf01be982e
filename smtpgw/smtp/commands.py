"""The command lines of RFC 5321 and their arguments, as pure functions: text in, values or a refusal out.

Clients are read as loosely as the relays do that they come from: address without brackets, spaces after the colon,
lower case. What a mailbox is, is strict: Cakemail gets it as one recipient.
"""

import re
from collections.abc import Mapping

from smtpgw.core import replies
from smtpgw.core.addresses import PATH_BYTES, QUOTED, mailbox
from smtpgw.core.replies import SMTPError

HTTP_METHODS = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE", "PATCH"})
NOT_OFFERED = frozenset({"EXPN", "TURN", "ETRN", "BDAT", "SEND", "SOML", "SAML", "ATRN", "BURL"})


CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
PATH = re.compile(rf'<(?P<path>(?:[^<>"]|{QUOTED})*)>|(?P<bare>(?:[^\s<>"]|{QUOTED})+)')
SOURCE_ROUTE = re.compile(r"(?:@[^@,:]+,)*@[^@,:]+:")  # RFC 5321 §4.1.2: must be accepted, should be ignored
PARAMETER = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[^\s=][^\s]*))?")


# Accepted and, but for SIZE, without effect: trap "ESMTP parameters". DSN's are sent although we do not offer DSN.
MAIL_KEYWORDS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"})
BODY_VALUES = frozenset({"7BIT", "8BITMIME"})  # RFC 6152 §2; BINARYMIME takes BDAT, which is not offered
RCPT_KEYWORDS = frozenset({"NOTIFY", "ORCPT"})


def command(line: bytes) -> tuple[str, str]:
    """Split a command line into its word, in upper case, and its argument.

    Raises:
        SMTPError: 501 for control characters or bytes that are not UTF-8.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="commands are ASCII, or UTF-8 in addresses")) from None
    if CONTROL.search(text):
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="no control characters"))
    word, _, argument = text.strip().partition(" ")
    return word.upper(), argument.strip()


def mail(argument: str) -> tuple[str, Mapping[str, str]]:
    """Read the argument of MAIL: the reverse-path, "" when null, and the parameters.

    Any reverse-path is taken (`root@host`, VERP, `<>`): it is the message's sender that Cakemail checks.

    Raises:
        SMTPError: 501, 553 or 555.
    """
    address, rest = path(argument, "FROM", "MAIL FROM:<address>")
    if re.search(r"\s", re.sub(QUOTED, "", address)) or len(address.encode()) > PATH_BYTES:
        raise SMTPError(replies.BAD_SENDER.filled(address=address))
    found = parameters(rest, MAIL_KEYWORDS)
    if "BODY" in found and found["BODY"].upper() not in BODY_VALUES:
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="BODY=7BIT or BODY=8BITMIME"))
    return address, found


def rcpt(argument: str) -> str:
    """Read the argument of RCPT: the recipient's mailbox.

    Raises:
        SMTPError: 501, 553 or 555.
    """
    address, rest = path(argument, "TO", "RCPT TO:<address>")
    parameters(rest, RCPT_KEYWORDS)
    return mailbox(address)


def path(argument: str, keyword: str, usage: str) -> tuple[str, str]:
    """Read `FROM:<path> …` or `TO:<path> …`: the path without brackets and source route, and what follows it."""
    before, colon, after = argument.partition(":")
    found = PATH.match(after.lstrip())
    if before.strip().upper() != keyword or not colon or not found:
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage=usage))
    rest = after.lstrip()[found.end() :]
    if rest and not rest[0].isspace():
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage=usage))
    address = (found["bare"] or found["path"] or "").strip()
    route = SOURCE_ROUTE.match(address)
    return address[route.end() if route else 0 :], rest


def parameters(text: str, known: frozenset[str]) -> Mapping[str, str]:
    """Read `KEYWORD=value KEYWORD …` (RFC 5321 §4.1.2), the keywords in upper case."""
    found = {}
    for word in text.split():
        parameter = PARAMETER.fullmatch(word)
        if not parameter or parameter["keyword"].upper() not in known:
            raise SMTPError(replies.PARAMETER_UNKNOWN.filled(parameter=word))
        found[parameter["keyword"].upper()] = parameter["value"] or ""
    return found


def declared_size(given: Mapping[str, str], limit_bytes: int) -> int:
    """The message size a MAIL command declares (RFC 1870 §5), 0 where it does not, or says so.

    Raises:
        SMTPError: 501 where it is no number, 552 where it is over the limit.
    """
    size = given.get("SIZE") or "0"
    if not re.fullmatch(r"[0-9]{1,20}", size):
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="SIZE=octets"))
    if int(size) > limit_bytes:
        raise SMTPError(replies.MESSAGE_TOO_BIG.filled(limit=limit_bytes))
    return int(size)
