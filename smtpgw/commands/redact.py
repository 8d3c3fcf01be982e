"""The command `redact`: print mail addresses as the log shows them, to search the log for them.

`logged` is an alias, the command's earlier name.
"""

import os
from argparse import ArgumentParser

from smtpgw.commands.console import complain, say
from smtpgw.config.parsers import SettingsError
from smtpgw.config.settings import Settings
from smtpgw.telemetry import redaction


def main(arguments: list[str]) -> int:
    """Print the addresses as a gateway with the settings of this environment logs them.

    Returns:
        The exit status: 0, or 2 when a setting is wrong.
    """
    parser = ArgumentParser(
        "python -m smtpgw redact", description="Print mail addresses as the log shows them, to search for them."
    )
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    options = parser.parse_args(arguments)
    try:
        # No client connects here, so the command needs no certificate.
        settings = Settings.from_environ({**os.environ, "SMTPGW_TLS_CERT": os.devnull, "SMTPGW_TLS_KEY": os.devnull})
    except SettingsError as problem:
        complain("\n".join(problem.mistakes))
        return 2
    redact = redaction.redactor(settings.log_addresses, settings.log_hash_key)
    for address in options.addresses:
        say(redact(address))
    return 0
