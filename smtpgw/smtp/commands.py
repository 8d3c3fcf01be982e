"""Parsers for the command lines of RFC 5321 and their arguments. Pure functions that return values or raise SMTPError.

The syntax is as tolerant as that of other relays: addresses without brackets, spaces after the colon, lower case. The
syntax of a mailbox is strict, because it is sent to Cakemail as one recipient.
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
# RFC 5321 §4.1.2: source routes must be accepted and should be ignored.
SOURCE_ROUTE = re.compile(r"(?:@[^@,:]+,)*@[^@,:]+:")
PARAMETER = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<value>[^\s=][^\s]*))?")

# Parameters that are accepted. Only SIZE has an effect. Clients send those of DSN (RFC 3461) although it is not
# offered.
MAIL_KEYWORDS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"})
# RFC 6152 §2. BINARYMIME needs BDAT, which is not offered.
BODY_VALUES = frozenset({"7BIT", "8BITMIME"})
RCPT_KEYWORDS = frozenset({"NOTIFY", "ORCPT"})


def split_line(line: bytes) -> tuple[str, str]:
    """Split a command line into its verb, in upper case, and its argument.

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


def parse_mail(argument: str) -> tuple[str, Mapping[str, str]]:
    """Parse the argument of MAIL. Return the reverse-path, "" when it is null, and the parameters.

    Any reverse-path is accepted (`root@host`, VERP, `<>`), because Cakemail checks the sender of the message instead.

    Raises:
        SMTPError: 501, 553 or 555.
    """
    address, rest = parse_path(argument, "FROM", "MAIL FROM:<address>")
    if re.search(r"\s", re.sub(QUOTED, "", address)) or len(address.encode()) > PATH_BYTES:
        raise SMTPError(replies.BAD_SENDER.filled(address=address))
    found = parse_parameters(rest, MAIL_KEYWORDS)
    if "BODY" in found and found["BODY"].upper() not in BODY_VALUES:
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="BODY=7BIT or BODY=8BITMIME"))
    return address, found


def parse_rcpt(argument: str) -> str:
    """Parse the argument of RCPT. Return the recipient's mailbox.

    Raises:
        SMTPError: 501, 553 or 555.
    """
    address, rest = parse_path(argument, "TO", "RCPT TO:<address>")
    parse_parameters(rest, RCPT_KEYWORDS)
    return mailbox(address)


def parse_path(argument: str, keyword: str, usage: str) -> tuple[str, str]:
    """Parse `FROM:<path> …` or `TO:<path> …`. Return the path without brackets and source route, and the rest.

    Raises:
        SMTPError: 501 with the usage.
    """
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


def parse_parameters(text: str, known: frozenset[str]) -> Mapping[str, str]:
    """Parse `KEYWORD=value KEYWORD …` (RFC 5321 §4.1.2). Return the values by keyword in upper case.

    Raises:
        SMTPError: 555 for a parameter that is malformed or not known.
    """
    found = {}
    for word in text.split():
        parameter = PARAMETER.fullmatch(word)
        if not parameter or parameter["keyword"].upper() not in known:
            raise SMTPError(replies.PARAMETER_UNKNOWN.filled(parameter=word))
        found[parameter["keyword"].upper()] = parameter["value"] or ""
    return found


def declared_size(given: Mapping[str, str], limit_bytes: int) -> int:
    """Return the message size that the parameters of MAIL declare (RFC 1870 §5), 0 when they declare none.

    Raises:
        SMTPError: 501 when the value is not a number, 552 when it is over the limit.
    """
    size = given.get("SIZE") or "0"
    if not re.fullmatch(r"[0-9]{1,20}", size):
        raise SMTPError(replies.SYNTAX_ERROR.filled(usage="SIZE=octets"))
    if int(size) > limit_bytes:
        raise SMTPError(replies.MESSAGE_TOO_BIG.filled(limit=limit_bytes))
    return int(size)
