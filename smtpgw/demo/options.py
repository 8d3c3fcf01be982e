"""What the demo is asked to do: where to listen, and as whom to send what to whom."""

import argparse
from dataclasses import dataclass, field

from smtpgw.commands.console import PASSWORD_VARIABLE, ask_password
from smtpgw.config.parsers import api_url
from smtpgw.sandbox.accounts import DEMO, SENDER

SANDBOX_RECIPIENT = "customer@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """The arguments, read. `api` is the address of Cakemail's API; empty, the sandbox stands in for it."""

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
        """The ports that will be listened on, by the option that sets each."""
        ports = {"--smtp-port": self.smtp_port, "--http-port": self.http_port}
        return ports if self.api else {"--api-port": self.api_port, **ports}


def read_options(arguments: list[str]) -> DemoOptions:
    """Raises SystemExit, after having said what is wrong; terminal.NoPassword."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    real = {name: given.pop(name) for name in ("api", "user", "sender", "recipient")}
    if not any(real.values()):
        return DemoOptions(**given)
    if not all(real.values()):
        parser.error("to send for real, give --api, --user, --from and --to")
    return DemoOptions(**given, **real, password=ask_password(real["user"]))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m smtpgw demo",
        description="Starts the gateway on this machine, with a sandbox in the place of Cakemail's API, sends a mail"
        " through it and shows what becomes of it. Then both stay up for your own mail client, until Ctrl-C.",
    )
    parser.add_argument("--once", action="store_true", help="end after the mail; status 0 when it was accepted")
    add = parser.add_argument
    add("--api-port", type=port, default=8025, metavar="PORT", help="the sandbox's API and inbox (%(default)s)")
    add("--smtp-port", type=port, default=2587, metavar="PORT", help="the gateway's SMTP (%(default)s)")
    add("--http-port", type=port, default=8080, metavar="PORT", help="the gateway's probes and metrics (%(default)s)")
    real = parser.add_argument_group(
        "to send for real",
        f"With an account of Cakemail's. Its password comes from {PASSWORD_VARIABLE}, or is asked for.",
    )
    real.add_argument("--api", type=url, metavar="URL", help="such as https://api.cakemail.dev")
    real.add_argument("--user", help="the account's email address; or apikey, with an access token")
    real.add_argument("--from", dest="sender", metavar="ADDRESS", help="a confirmed sender of the account")
    real.add_argument("--to", dest="recipient", metavar="ADDRESS", help="who gets the mail")
    return parser


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} must be a port, from 1 to 65535")
    return int(text)


def url(text: str) -> str:
    try:
        return api_url(text)
    except ValueError as wanted:
        raise argparse.ArgumentTypeError(f"{text!r} must be {wanted}") from None
