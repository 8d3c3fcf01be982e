"""The command `check`: log in to Cakemail, list the senders and, if asked to, send one small mail.

It calls the API as the gateway does, so that what works here also works over SMTP.
"""

import argparse
import os
import secrets
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from smtpgw.cakemail.bodies import Sender
from smtpgw.cakemail.errors import ApiError, NotAuthorized, Rejected
from smtpgw.commands.console import GREEN, PASSWORD_VARIABLE, RED, NoPassword, ask_password, complain, say
from smtpgw.config.parsers import SettingsError
from smtpgw.config.provider_map import ProviderMap
from smtpgw.config.settings import Settings
from smtpgw.core.models import Account, Credentials, Envelope, Submission
from smtpgw.core.replies import SMTPError
from smtpgw.submission.gateway import Gateway

OK, REJECTED, UNKNOWN = 0, 1, 2  # exit statuses
MAX_SENDERS_SHOWN = 5


def main(arguments: list[str]) -> int:
    """Check the credentials.

    Returns:
        The exit status: 0 when everything works, 1 when something is rejected, 2 when the result is unknown: wrong
        usage, or an API that cannot be reached.
    """
    options = parser().parse_args(arguments)
    try:
        settings = read_settings(options.api)
        credentials = Credentials(options.user, ask_password(options.user))
    except SettingsError as problem:
        complain("\n".join(problem.mistakes))
        return UNKNOWN
    except NoPassword as problem:
        complain(str(problem))
        return UNKNOWN
    line("API", settings.api_url)
    try:
        return check(Gateway(settings, ProviderMap.EMPTY), credentials, options.sender, options.recipient)
    except SMTPError as refusal:
        cause = f" ({refusal.__cause__})" if refusal.__cause__ else ""
        reply = refusal.reply
        line("Failed" if reply.is_temporary else "Refused", f"{reply.code} {reply.status} {reply.text}{cause}", RED)
        return UNKNOWN if reply.is_temporary else REJECTED
    except ApiError as problem:
        line("API", f"{problem}", RED)
        return REJECTED if isinstance(problem, (NotAuthorized, Rejected)) else UNKNOWN


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog="python -m smtpgw check",
        description="Check a Cakemail account: its login, its confirmed senders and the list that is used. Sends"
        f" nothing without --to. The password is read from {PASSWORD_VARIABLE} or from the terminal.",
    )
    made.add_argument(
        "--user", required=True, help="email address of the account, or `apikey` with an access token as password"
    )
    made.add_argument(
        "--api", metavar="URL", help="address of the API; by default CAKEMAIL_API_URL or https://api.cakemail.dev"
    )
    made.add_argument("--from", dest="sender", metavar="ADDRESS", help="check that this sender is confirmed")
    made.add_argument("--to", dest="recipient", metavar="ADDRESS", help="send one small mail to this address")
    return made


def read_settings(api: str | None) -> Settings:
    """Return the settings of the gateway. No client connects, so no certificate is needed. Raises SettingsError."""
    environ = {**os.environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull}
    return Settings.from_environ({**environ, "CAKEMAIL_API_URL": api} if api else environ)


def check(gateway: Gateway, credentials: Credentials, sender: str | None, recipient: str | None) -> int:
    """Check and print each step, and return the exit status.

    Raises:
        SMTPError: the login or the mail is rejected, or cannot be checked.
        ApiError: the API does not return the senders or lists.
    """
    account = gateway.logins.login(credentials)
    line("Login", f"accepted, account {account.id}", GREEN)
    senders = list(gateway.delivery.api.senders(gateway.logins.token(account), None))
    confirmed = [s for s in senders if s.confirmed]
    line("Senders", "confirmed: " + shown(confirmed), GREEN if confirmed else RED)
    if len(confirmed) < len(senders):
        line("", "not confirmed, so refused: " + shown([s for s in senders if not s.confirmed]))
    list_id = gateway.directories.default_list(account, None)
    line("List", f"{list_id}, the oldest active one; the header x-list-id selects another" if list_id else "none")
    if not confirmed:
        return REJECTED
    if sender and sender.lower() not in [s.email.lower() for s in confirmed]:
        line("From", f"{sender} is not a confirmed sender of this account", RED)
        return REJECTED
    author = sender or confirmed[0].email
    line("From", f"{author} is confirmed", GREEN)
    if recipient:
        reply = gateway.submit(submission(account, author, recipient)).reply
        line("Mail", f"{reply.code} {reply.status} {reply.text}", GREEN)
    else:
        line("Mail", "none sent; --to ADDRESS sends one")
    return OK


def shown(senders: list[Sender]) -> str:
    """Return the addresses that fit on a line."""
    addresses = [s.email for s in senders[:MAX_SENDERS_SHOWN]]
    if len(senders) > MAX_SENDERS_SHOWN:
        addresses.append(f"… {len(senders)} in all")
    return ", ".join(addresses) or "none"


def submission(account: Account, sender: str, recipient: str) -> Submission:
    """Return a small mail as a session would submit it."""
    mail = EmailMessage(policy.SMTP.clone(cte_type="7bit"))
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, "Check of the SMTP gateway"
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail.set_content("This mail was sent to check that the SMTP gateway can send mail from its sender. It can.\n")
    return Submission(
        id=secrets.token_hex(8),
        session_id="check",
        account=account,
        envelope=Envelope(sender, [recipient]),
        raw=mail.as_bytes(),
    )


def line(label: str, result: str, style: str = "") -> None:
    """Print one line of the result."""
    say(f"{label:8} {result}", style)
