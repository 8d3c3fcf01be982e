"""Interpreter that turns the control headers of a message into the options of its submission.

Each provider has one module with a table from header to effect. To add a provider, add such a module, its entry in
`DIALECTS`, and a folder of messages in the test corpus.
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
    CAKEMAIL,
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
    """A control header of a message and its row."""

    dialect: Dialect
    row: Row
    header: Header


UNKNOWN_HEADER = "not a header we know"
NO_OPTIONS = Options()
ROWS = {row.name.lower(): (dialect, row) for dialect in DIALECTS for row in dialect.rows}
# Rows for all headers with a prefix, such as X-PM-Metadata-*.
OPEN_ROWS = {name[:-1]: found for name, found in ROWS.items() if name.endswith("*")}
FAMILIES = {prefix: dialect for dialect in DIALECTS for prefix in dialect.prefixes}
PREFIXES = (*FAMILIES, *OPEN_ROWS)
SIMULATORS = {domain: dialect for dialect in DIALECTS for domain in dialect.test_domains}
TEST_DOMAINS = tuple(SIMULATORS)


def read(message: Message, recipients: Sequence[str], mapping: AccountMap, now: float | None = None) -> Options:
    """Return the options that the control headers of a message ask for.

    Args:
        message: The parsed message.
        recipients: The addresses of RCPT.
        mapping: The operator's maps for the account that submits.
        now: Seconds since 1970. The current time by default.

    Raises:
        HeaderError: A header that Cakemail cannot honour changes what the recipient sees. Nothing must be sent.
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
    # Cakemail's own headers come first, then the others in the order of the message. The first decision wins.
    for dialect, row, header in sorted(found, key=lambda control: control.dialect is not CAKEMAIL):
        context.dialect = dialect.name
        row.apply(context, header.name if row.name.endswith("*") else row.name, decode(header.value).strip())
    context.run_deferred()
    if test_mode:
        context.findings.append(test_mode)
        context.discard = context.discard or test_mode.header
    return context.build_options()


def find_control_header(header: Header) -> Control | None:
    """Return the row of a control header, None for an ordinary header. An unknown control header gets a new row."""
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
    """Return a finding if the recipients are mailbox simulators of other providers, None if there are none.

    Real mail to them tests nothing and costs reputation.

    Raises:
        HeaderError: Some recipients are simulators and others are not, so that no single reply is correct.
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
