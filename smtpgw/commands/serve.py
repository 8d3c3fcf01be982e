"""The command `serve`: check the settings, log them, and become gunicorn's master."""

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
smtpgw: a certificate is required, because clients send passwords. In production, use certbot or cert-manager for the
name that clients connect to. To try the gateway on this machine, run python -m smtpgw demo, or create a certificate:
  python -m smtpgw sandbox --certificate .sandbox"""


# Kubernetes adds the addresses of the services of a namespace to the environment of its pods. For a service "smtpgw"
# these are SMTPGW_PORT_587_TCP_ADDR and the like, which are not misspelt settings.
KUBERNETES_SERVICE = re.compile(r"SMTPGW(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_TCP(_[A-Z]+)?)?)")


def main(arguments: list[str]) -> int:
    """Run the gateway until a signal ends it.

    Returns:
        The exit status: 2 when a setting is wrong.
    """
    ArgumentParser(
        "python -m smtpgw serve",
        description="Run the gateway. Its settings are environment variables; see docs/reference/settings.md.",
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
    # Passwords and messages are in the memory of this process and its children, so none of them writes a core dump.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from smtpgw.server.master import Application

    Application(settings).run()
    return 0


def check_files(settings: Settings) -> None:
    """Check the content of the files that the settings name. Raises SettingsError."""
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
    """Return a warning for each unknown SMTPGW_ variable, with the one that was probably meant."""
    known = [f.metadata["name"] for f in dataclasses.fields(Settings)]
    warnings = []
    for name in environ:
        if name.startswith("SMTPGW_") and name not in known and not KUBERNETES_SERVICE.fullmatch(name):
            meant = difflib.get_close_matches(name, known, 1)
            warnings.append(f"{name} is not a setting" + (f"; did you mean {meant[0]}?" if meant else ""))
    return warnings
