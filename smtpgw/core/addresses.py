"""Check mailboxes and write them in the form that Cakemail accepts (RFC 5321 §4.1.2)."""

import re

import idna

from smtpgw.core import replies
from smtpgw.core.replies import SMTPError

# RFC 5321 §4.5.3.1.1 and .3: octets of a local part, and of a path without its brackets.
LOCAL_PART_BYTES, PATH_BYTES = 64, 254
QUOTED = r'"(?:[^"\\]|\\.)*"'
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
MAILBOX = re.compile(rf"(?P<local>{ATOM}(?:\.{ATOM})*|{QUOTED})@(?P<domain>[^@\s]+)")
DOMAIN = re.compile(r"(?=.{1,255}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


def mailbox(address: str) -> str:
    """Check an address and return it as Cakemail accepts it: with its domain in lower-case ASCII.

    Raises:
        SMTPError: 553; its status is 5.6.7 for a local part outside ASCII, which the API does not accept.
    """
    found = MAILBOX.fullmatch(address)
    if not found or len(address.encode()) > PATH_BYTES or len(found["local"].encode()) > LOCAL_PART_BYTES:
        raise SMTPError(replies.BAD_RECIPIENT.filled(address=address))
    if not found["local"].isascii():
        raise SMTPError(replies.NON_ASCII_RECIPIENT.filled(address=address))
    domain = found["domain"]
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            raise SMTPError(replies.BAD_RECIPIENT.filled(address=address)) from None
    if not DOMAIN.fullmatch(domain):
        raise SMTPError(replies.BAD_RECIPIENT.filled(address=address))
    # RFC 5321 §2.4: a domain is case-insensitive, so two spellings are one recipient.
    return f"{found['local']}@{domain.lower()}"
