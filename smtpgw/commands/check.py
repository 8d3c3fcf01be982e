"""`python -m smtpgw check`: whether real credentials work, what they may send from and, if asked to, one small mail.

Takes the gateway's own way to the API: what works here works over SMTP.
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

OK, REFUSED, CANNOT_SAY = 0, 1, 2  # exit statuses
SENDERS_SHOWN = 5


def main(arguments: list[str]) -> int:
    """Check the credentials.

    Returns:
        The exit status: 0 when all that was asked for works, 1 when something is refused, 2 when that cannot be found
        out: wrong usage, or an API that cannot be reached.
    """
    options = parser().parse_args(arguments)
    try:
        settings = read_settings(options.api)
        credentials = Credentials(options.user, ask_password(options.user))
    except SettingsError as problem:
        complain("\n".join(problem.mistakes))
        return CANNOT_SAY
    except NoPassword as problem:
        complain(str(problem))
        return CANNOT_SAY
    line("API", settings.api_url)
    try:
        return check(Gateway(settings, ProviderMap.EMPTY), credentials, options.sender, options.recipient)
    except SMTPError as refusal:
        cause = f" ({refusal.__cause__})" if refusal.__cause__ else ""
        reply = refusal.reply
        line("Failed" if reply.is_temporary else "Refused", f"{reply.code} {reply.status} {reply.text}{cause}", RED)
        return CANNOT_SAY if reply.is_temporary else REFUSED
    except ApiError as problem:
        line("API", f"{problem}", RED)
        return REFUSED if isinstance(problem, (NotAuthorized, Rejected)) else CANNOT_SAY


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m smtpgw check",
        description="Tries an account of Cakemail's: whether it logs in, which senders are confirmed, which list is"
        f" used. Sends nothing without --to. The password comes from {PASSWORD_VARIABLE}, or is asked for.",
    )
    made.add_argument("--user", required=True, help="the account's email address; or apikey, with an access token")
    made.add_argument("--api", metavar="URL", help="another API than CAKEMAIL_API_URL or https://api.cakemail.dev")
    made.add_argument("--from", dest="sender", metavar="ADDRESS", help="a sender that must be confirmed")
    made.add_argument("--to", dest="recipient", metavar="ADDRESS", help="send one small mail, to this address")
    return made


def read_settings(api: str | None) -> Settings:
    """The gateway's settings, without the certificate, which nobody connects to here. Raises SettingsError."""
    environ = {**os.environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull}
    return Settings.from_environ({**environ, "CAKEMAIL_API_URL": api} if api else environ)


def check(gateway: Gateway, credentials: Credentials, sender: str | None, recipient: str | None) -> int:
    """Raises SMTPError, ApiError."""
    account = gateway.logins.login(credentials)
    line("Login", f"accepted, account {account.id}", GREEN)
    senders = list(gateway.delivery.api.senders(gateway.logins.token(account), None))
    confirmed = [s for s in senders if s.confirmed]
    line("Senders", "confirmed: " + shown(confirmed), GREEN if confirmed else RED)
    if len(confirmed) < len(senders):
        line("", "not confirmed, so refused: " + shown([s for s in senders if not s.confirmed]))
    list_id = gateway.directories.default_list(account, None)
    line("List", f"{list_id}, the oldest active one; x-list-id names another" if list_id else "none")
    if not confirmed:
        return REFUSED
    if sender and sender.lower() not in [s.email.lower() for s in confirmed]:
        line("From", f"{sender} is not a confirmed sender of this account", RED)
        return REFUSED
    author = sender or confirmed[0].email
    line("From", f"{author} is confirmed", GREEN)
    if recipient:
        reply = gateway.submit(submission(account, author, recipient)).reply
        line("Mail", f"{reply.code} {reply.status} {reply.text}", GREEN)
    else:
        line("Mail", "none sent; --to ADDRESS sends one")
    return OK


def shown(senders: list[Sender]) -> str:
    """The addresses, or as many as fit on a line."""
    addresses = [s.email for s in senders[:SENDERS_SHOWN]]
    if len(senders) > SENDERS_SHOWN:
        addresses.append(f"… {len(senders)} in all")
    return ", ".join(addresses) or "none"


def submission(account: Account, sender: str, recipient: str) -> Submission:
    """A small mail, as a session would hand it on."""
    mail = EmailMessage(policy.SMTP.clone(cte_type="7bit"))
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, "Check of the SMTP gateway"
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    mail.set_content("This mail was sent to see whether the SMTP gateway may send in the name of its sender. It may.\n")
    return Submission(
        id=secrets.token_hex(8),
        session_id="check",
        account=account,
        envelope=Envelope(sender, [recipient]),
        raw=mail.as_bytes(),
    )


def line(what: str, found: str, style: str = "") -> None:
    say(f"{what:8} {found}", style)
