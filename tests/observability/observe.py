"""`make observe`: the dashboard, drawn from what a real Prometheus scraped of a gateway with troubles.

Sandbox, gateway and Prometheus run on this machine for two and a half minutes, while apps send and the troubles of the
runbook come one after the other: the API slow, one customer refused, the certificate about to expire, one client
flooding.
"""

import contextlib
import shutil
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from smtpgw.sandbox import certificate
from smtpgw.sandbox.accounts import OTHER, OTHER_SENDER
from tests.observability.clients import Clock, connected, flood, send_all_day
from tests.observability.dashboards import scaled
from tests.observability.drawing import Picture
from tests.observability.prometheus import RULES, START_SECONDS, Prometheus, gateway_target, wait_for
from tests.support.gateway import ROOT, SENDER, Gateway
from tests.support.sandbox import Sandbox

PICTURE = ROOT / "build/observe.png"
PHASE_SECONDS = 25.0  # of which shares, counted in windows of 15 s, may take 17 to show, and as long to vanish
CALM = "calm"
SLOW = "the API is slow"
REFUSED = "one customer is refused"
FLOODED = "one client floods"
EXPIRES = "the certificate expires soon"
AGAIN = "calm again"
PHASES = (CALM, SLOW, REFUSED, EXPIRES, FLOODED, AGAIN)
APPS = 8


def main(arguments: list[str]) -> int:
    """Play, scrape and draw; prints where the picture is."""
    parser = ArgumentParser("make observe", description="Draw the dashboard of a gateway with troubles.")
    parser.add_argument("--phase-seconds", type=float, default=PHASE_SECONDS, help=f"{PHASE_SECONDS:g} by default")
    seconds = parser.parse_args(arguments).phase_seconds
    with TemporaryDirectory() as name, Sandbox(latency_ms=20) as sandbox:
        folder = Path(name)
        rules = folder / "rules.yaml"
        rules.write_text(scaled(RULES.read_text("utf-8")))
        # No address is trusted: limits are to be met.
        limits = {"SMTPGW_TRUSTED_CIDRS": "192.0.2.0/24", "SMTPGW_MAX_SESSIONS_PER_ADDRESS": "12"}
        with (
            Gateway(sandbox.url, folder, SMTPGW_TLS_CHECK_SECONDS="1", **limits) as gateway,
            Prometheus(folder, {"smtpgw": [gateway_target(gateway)]}, rules) as prometheus,
        ):
            wait_for(lambda: prometheus.query("smtpgw_build_info") and not prometheus.alerts(), START_SECONDS)
            began = time.time()
            for phase in play(sandbox, gateway, seconds):
                print(f"{time.time() - began:5.0f} s  {phase}", flush=True)
            Picture(prometheus, began, seconds, PHASES).save(PICTURE)
    print(f"The dashboard, drawn: {PICTURE.relative_to(ROOT)}")
    return 0


def play(sandbox: Sandbox, gateway: Gateway, seconds: float) -> Iterator[str]:
    """The phases, one after the other, with their clients; yields each at its beginning."""
    goes_on = Clock()
    goes_on.begin(seconds * len(PHASES))
    apps = [threading.Thread(target=app, args=(gateway, f"127.0.0.{n}", goes_on)) for n in range(2, 2 + APPS)]
    for thread in apps:
        thread.start()
    troubles: dict[str, Callable[[Clock], object]] = {
        SLOW: lambda lasts: sandbox.fault(endpoint="POST /v2/emails", latency_ms=2500),
        REFUSED: lambda lasts: refuse(sandbox, gateway, lasts),
        EXPIRES: lambda lasts: serve_certificate_of(7, gateway),
        FLOODED: lambda lasts: flood(gateway, lasts),
    }
    for phase in PHASES:
        sandbox.clear_faults()
        yield phase
        lasts = Clock()
        lasts.begin(seconds)
        if phase in troubles:
            troubles[phase](lasts)
        time.sleep(max(lasts.end - time.monotonic(), 0))
        if phase == EXPIRES:
            serve_certificate_of(certificate.DAYS, gateway)
    for thread in apps:
        thread.join()


def app(gateway: Gateway, address: str, goes_on: Clock) -> None:
    send_all_day(connected(gateway, address), SENDER, goes_on)


def refuse(sandbox: Sandbox, gateway: Gateway, lasts: Clock) -> None:
    """A customer whose sender is suspended goes on sending."""
    sandbox.fault(status=422, body={"detail": "this sender is suspended"}, sender=OTHER_SENDER.email)
    send_all_day(connected(gateway, "127.0.0.20", OTHER.email, OTHER.password), OTHER_SENDER.email, lasts)


def serve_certificate_of(days: int, gateway: Gateway) -> None:
    """Put another certificate where the gateway looks for a new one."""
    with TemporaryDirectory() as folder, mock.patch.object(certificate, "DAYS", days):
        new_certificate, new_key = certificate.write_pair(Path(folder))
        shutil.copy(new_key, gateway.key)
        shutil.copy(new_certificate, gateway.cert)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
