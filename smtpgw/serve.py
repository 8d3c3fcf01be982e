"""`python -m smtpgw serve`: checks all that can be checked, says what it found, and becomes gunicorn's master."""

import os
import ssl
import sys
import tempfile
from argparse import ArgumentParser

from smtpgw import __version__, logs
from smtpgw.settings import Settings, SettingsError, unknown_variables

HOW_TO_GET_A_CERTIFICATE = """\
smtpgw: a certificate is needed, since clients send passwords. In production: certbot or cert-manager, for the name that
clients connect to. To try the gateway on this machine: python -m smtpgw demo, or, for a certificate of your own,
  python -m smtpgw sandbox --certificate .sandbox"""


def main(arguments: list[str]) -> int:
    """Run the gateway until it is told to end. 2 when it cannot start as it is told to."""
    ArgumentParser(
        "python -m smtpgw serve", description="Run the gateway. Its settings are environment variables; see the README."
    ).parse_args(arguments)
    try:
        settings = Settings.from_environ()
        check_files(settings)
    except SettingsError as problem:
        for mistake in problem.mistakes:
            print(f"smtpgw: {mistake}", file=sys.stderr)  # noqa: T201
        if any("SMTPGW_TLS_" in mistake for mistake in problem.mistakes):
            print(HOW_TO_GET_A_CERTIFICATE, file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(settings.log_level, settings.log_format, settings.log_addresses)
    logs.lifecycle(
        what="starting", version=__version__, settings={name: value for name, value, _, _ in settings.described()}
    )
    for warning in unknown_variables():
        logs.lifecycle(what="warning", warning=warning)
    if settings.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="smtpgw-metrics-")
    from smtpgw.gunicorn_conf import Application

    Application(settings).run()
    return 0


def check_files(settings: Settings) -> None:
    """See that the files named by the settings hold what they should. Raises SettingsError."""
    mistakes = []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as problem:
        mistakes.append(f"SMTPGW_TLS_CERT, SMTPGW_TLS_KEY: not a certificate and its key ({problem})")
    if settings.mappings_file:
        from smtpgw.mappings import Mappings, MappingsError

        try:
            Mappings.load(settings.mappings_file)
        except MappingsError as problem:
            mistakes += [f"SMTPGW_MAPPINGS_FILE: {mistake}" for mistake in problem.mistakes]
    if mistakes:
        raise SettingsError(mistakes)
