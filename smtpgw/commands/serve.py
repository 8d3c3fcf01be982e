"""`python -m smtpgw serve`: checks all that can be checked, says what it found, and becomes gunicorn's master."""

import dataclasses
import difflib
import os
import re
import resource
import ssl
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping

from smtpgw import __version__
from smtpgw.config.parsers import SettingsError
from smtpgw.config.settings import Settings
from smtpgw.server import descriptors
from smtpgw.telemetry import logs, tracing

HOW_TO_GET_A_CERTIFICATE = """\
smtpgw: a certificate is needed, since clients send passwords. In production: certbot or cert-manager, for the name that
clients connect to. To try the gateway on this machine: python -m smtpgw demo, or, for a certificate of your own,
  python -m smtpgw sandbox --certificate .sandbox"""


# Kubernetes puts the addresses of the services of a namespace into the environment of its pods. A service called
# "smtpgw" makes SMTPGW_PORT_587_TCP_ADDR and the like, which are nobody's typing mistake.
KUBERNETES_SERVICE = re.compile(r"SMTPGW(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_TCP(_[A-Z]+)?)?)")


def main(arguments: list[str]) -> int:
    """Run the gateway until it is told to end. 2 when it cannot start as it is told to."""
    ArgumentParser(
        "python -m smtpgw serve", description="Run the gateway. Its settings are environment variables; see the README."
    ).parse_args(arguments)
    try:
        settings = Settings.from_environ()
        check_files(settings)
        limit = descriptors.raise_limit(settings)
        if too_few := descriptors.mistake(settings):
            raise SettingsError([too_few])
    except SettingsError as problem:
        for mistake in problem.mistakes:
            print(f"smtpgw: {mistake}", file=sys.stderr)  # noqa: T201
        if any("SMTPGW_TLS_" in mistake for mistake in problem.mistakes):
            print(HOW_TO_GET_A_CERTIFICATE, file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(settings.log_level, settings.log_format, settings.log_addresses, settings.log_hash_key)
    shown = {name: value for name, value, _, _ in settings.described()}
    logs.lifecycle(what="starting", version=__version__, descriptors=limit, settings=shown)
    for warning in filter(None, [*unknown_variables(), descriptors.warning(settings)]):
        logs.lifecycle(what="warning", warning=warning)
    if settings.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="smtpgw-metrics-")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # passwords and messages are in this memory and its children's
    from smtpgw.server.master import Application

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
        from smtpgw.config.provider_map import ProviderMap, ProviderMapError

        try:
            ProviderMap.load(settings.mappings_file)
        except ProviderMapError as problem:
            mistakes += [f"SMTPGW_MAPPINGS_FILE: {mistake}" for mistake in problem.mistakes]
    if settings.tracing_url and not tracing.is_installed():
        mistakes.append("SMTPGW_TRACING_URL: needs the packages of requirements-tracing.txt, which are not installed")
    if mistakes:
        raise SettingsError(mistakes)


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A warning for each SMTPGW_ variable that is none of ours, with the one that was probably meant."""
    known = [f.metadata["name"] for f in dataclasses.fields(Settings)]
    warnings = []
    for name in environ:
        if name.startswith("SMTPGW_") and name not in known and not KUBERNETES_SERVICE.fullmatch(name):
            meant = difflib.get_close_matches(name, known, 1)
            warnings.append(f"{name} is not a setting" + (f"; did you mean {meant[0]}?" if meant else ""))
    return warnings
