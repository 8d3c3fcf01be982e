"""Options of the demo: ports, account, sender and recipient."""

import argparse
from dataclasses import dataclass, field

from smtpgw.commands.console import PASSWORD_VARIABLE, ask_password
from smtpgw.config.parsers import api_url
from smtpgw.sandbox.accounts import DEMO, SENDER

SANDBOX_RECIPIENT = "customer@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The options. `api` is the address of Cakemail's API; when it is empty, the sandbox is used."""

    api_port: int
    smtp_port: int
    http_port: int
    once: bool
    api: str = ""
    user: str = DEMO.email
    password: str = field(default=DEMO.password, repr=False)
    sender: str = SENDER.email
    recipient: str = SANDBOX_RECIPIENT

    @property
    def ports(self) -> dict[str, int]:
        """The ports to listen on, by the option that sets each."""
        ports = {"--smtp-port": self.smtp_port, "--http-port": self.http_port}
        return ports if self.api else {"--api-port": self.api_port, **ports}


def read_options(arguments: list[str]) -> DemoOptions:
    """Parse the arguments.

    Raises:
        SystemExit: an argument is wrong; the error has been printed.
        NoPassword: an account is given without its password.
    """
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    real = {name: given.pop(name) for name in ("api", "user", "sender", "recipient")}
    if not any(real.values()):
        return DemoOptions(**given)
    if not all(real.values()):
        parser.error("to send a real mail, give --api, --user, --from and --to")
    return DemoOptions(**given, **real, password=ask_password(real["user"]))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m smtpgw demo",
        description="Start the gateway on this machine with a sandbox instead of Cakemail's API, send a mail through it"
        " and show the result. Both then stay up for your own mail client, until Ctrl-C.",
    )
    parser.add_argument("--once", action="store_true", help="end after the mail, with status 0 if it was accepted")
    add = parser.add_argument
    add("--api-port", type=port, default=8025, metavar="PORT", help="port of the sandbox: API and inbox (%(default)s)")
    add("--smtp-port", type=port, default=2587, metavar="PORT", help="port of the gateway for SMTP (%(default)s)")
    add(
        "--http-port",
        type=port,
        default=8080,
        metavar="PORT",
        help="port of the gateway for probes and metrics (%(default)s)",
    )
    real = parser.add_argument_group(
        "to send a real mail",
        f"Needs a Cakemail account. Its password is read from {PASSWORD_VARIABLE} or from the terminal.",
    )
    real.add_argument("--api", type=url, metavar="URL", help="address of the API, such as https://api.cakemail.dev")
    real.add_argument("--user", help="email address of the account, or `apikey` with an access token as password")
    real.add_argument("--from", dest="sender", metavar="ADDRESS", help="confirmed sender of the account")
    real.add_argument("--to", dest="recipient", metavar="ADDRESS", help="recipient of the mail")
    return parser


def port(text: str) -> int:
    """Parse a port. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} must be a port, from 1 to 65535")
    return int(text)


def url(text: str) -> str:
    """Parse the address of the API. Raises ArgumentTypeError."""
    try:
        return api_url(text)
    except ValueError as wanted:
        raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}") from None
