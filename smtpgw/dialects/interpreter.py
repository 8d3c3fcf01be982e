"""Control headers of Cakemail and of the relays customers come from, read into the options of a submission.

One module a provider, each a table from header to effect. Adding a provider is one such module, its name in `DIALECTS`
below, and a folder of messages in the test corpus.

`read` is pure. It raises `HeaderError` where sending without what a header asks for would be wrong.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from smtpgw.config.provider_map import AccountMap
from smtpgw.core.replies import UNSUPPORTED_HEADER
from smtpgw.dialects import values
from smtpgw.dialects.brevo import BREVO
from smtpgw.dialects.cakemail import CAKEMAIL
from smtpgw.dialects.context import HeaderContext, HeaderError
from smtpgw.dialects.frameworks import FRAMEWORKS
from smtpgw.dialects.mailgun import MAILGUN
from smtpgw.dialects.mailjet import MAILJET
from smtpgw.dialects.mandrill import MANDRILL
from smtpgw.dialects.options import Finding, Options, Verdict
from smtpgw.dialects.postmark import POSTMARK
from smtpgw.dialects.resend import RESEND
from smtpgw.dialects.sendgrid import SENDGRID
from smtpgw.dialects.ses import SES
from smtpgw.dialects.sparkpost import SPARKPOST
from smtpgw.dialects.table import Dialect, Row
from smtpgw.message.parser import Header, Message
from smtpgw.message.words import decode

__all__ = ["DIALECTS", "Dialect", "Finding", "HeaderError", "Options", "Row", "Verdict", "read"]

DIALECTS = (
    CAKEMAIL,  # first: its headers win over all others
    SENDGRID,
    MANDRILL,
    MAILGUN,
    SES,
    POSTMARK,
    SPARKPOST,
    BREVO,
    RESEND,
    MAILJET,
    FRAMEWORKS,
)


class Control(NamedTuple):
    """A control header of a message, and the row it falls under."""

    dialect: Dialect
    row: Row
    header: Header


UNKNOWN_HEADER = "not a header we know"
NO_OPTIONS = Options()
ROWS = {row.name.lower(): (dialect, row) for dialect in DIALECTS for row in dialect.rows}
OPEN_ROWS = {name[:-1]: found for name, found in ROWS.items() if name.endswith("*")}  # X-PM-Metadata-*
FAMILIES = {prefix: dialect for dialect in DIALECTS for prefix in dialect.prefixes}
PREFIXES = (*FAMILIES, *OPEN_ROWS)
SIMULATORS = {domain: dialect for dialect in DIALECTS for domain in dialect.test_domains}
TEST_DOMAINS = tuple(SIMULATORS)


def read(message: Message, recipients: Sequence[str], mapping: AccountMap, now: float | None = None) -> Options:
    """What the control headers of a message ask for.

    Args:
        message: as parsed; its header values are unfolded, RFC 2047 words in them are left alone.
        recipients: the addresses of RCPT.
        mapping: the operator's maps for the account that submits.
        now: seconds since 1970; the clock's by default.

    Raises:
        HeaderRefused: a header can neither be honoured nor ignored; nothing must be sent to anyone.
    """
    test_mode = find_simulated_recipients(recipients)
    found = [one for header in message.headers if (one := find_control_header(header))]
    if not found and not test_mode:
        return Options(tracking=mapping.tracking) if mapping.tracking else NO_OPTIONS
    control: dict[str, list[str]] = {}
    for _, _, header in found:
        control.setdefault(header.name.lower(), []).append(header.value)
    when = time.time() if now is None else now
    context = HeaderContext(message, frozenset(map(values.comparable, recipients)), mapping, when, control)
    # Cakemail's own headers, then the others in the order of the message: the first to decide wins.
    for dialect, row, header in sorted(found, key=lambda control: control.dialect is not CAKEMAIL):
        context.dialect = dialect.name
        row.apply(context, header.name if row.name.endswith("*") else row.name, decode(header.value).strip())
    context.run_deferred()
    if test_mode:
        context.findings.append(test_mode)
        context.discard = context.discard or test_mode.header
    return context.build_options()


def find_control_header(header: Header) -> Control | None:
    """The row of a control header, known or not; None for an ordinary header."""
    name = header.name.lower()
    if found := ROWS.get(name):
        return Control(*found, header)
    if name.startswith(PREFIXES):
        for prefix, (dialect, row) in OPEN_ROWS.items():
            if name.startswith(prefix):
                return Control(dialect, row, header)
        for prefix, dialect in FAMILIES.items():
            if name.startswith(prefix):
                return Control(dialect, Row(header.name, "", Verdict.STRIP_WARN, reason=UNKNOWN_HEADER), header)
    return None


def find_simulated_recipients(recipients: Sequence[str]) -> Finding | None:
    """Mailbox simulators of other providers: real mail to them tests nothing and costs reputation.

    Raises:
        HeaderRefused: some recipients are such, others not; one answer cannot be true of both.
    """
    simulated = [address for address in recipients if address.lower().endswith(TEST_DOMAINS)]
    if not simulated:
        return None
    domain = next(domain for domain in TEST_DOMAINS if simulated[0].lower().endswith(domain))
    dialect = SIMULATORS[domain].name
    if len(simulated) < len(recipients):
        what = "a test recipient beside real ones"
        reply = UNSUPPORTED_HEADER.filled(header=simulated[0], what=what)
        raise HeaderError(reply, Finding(dialect, "RCPT", Verdict.REFUSE, what))
    return Finding(dialect, f"recipient at {domain.lstrip('@.')}", Verdict.DISCARD, "test mode")
