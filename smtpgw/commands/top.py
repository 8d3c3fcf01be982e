"""The command `top`: watch gateways on a terminal: rates, latencies, results, rejections."""

import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from smtpgw.commands.scrape import Interval, Scrape, largest

ADDRESS = "http://127.0.0.1:8080"
INTERVAL_SECONDS = 2.0
ANSWER_TIMEOUT_SECONDS = 5.0
MAX_ROWS = 8
DAY_SECONDS = 86_400.0
RESULTS = {"accepted": "green", "partial": "yellow", "deferred": "red", "refused": "yellow", "discarded": "dim"}
LATENCIES = {
    "DATA to reply": ("smtpgw_message_duration_seconds", {}),
    "less the API": ("smtpgw_message_overhead_seconds", {}),
    "API, one email": ("smtpgw_api_request_duration_seconds", {"endpoint": "emails"}),
    "loop lag": ("smtpgw_loop_lag_seconds", {}),
}
# Prefixes of API statuses that are a failure of the API, or no answer at all.
FAILED_STATUSES = ("5", "un", "429")


def main(arguments: list[str]) -> int:
    """Watch gateways until Ctrl-C, or print one interval with --once.

    Returns:
        The exit status: 0, or 1 when a gateway cannot be read.
    """
    parser = ArgumentParser("python -m smtpgw top", description="Watch gateways through their /metrics.")
    parser.add_argument(
        "addresses", nargs="*", default=[ADDRESS], metavar="ADDRESS", help=f"port of the probes; by default {ADDRESS}"
    )
    parser.add_argument(
        "--interval", type=float, default=INTERVAL_SECONDS, metavar="SECONDS", help="time between two scrapes"
    )
    parser.add_argument("--once", action="store_true", help="print one interval and exit")
    given = parser.parse_args(arguments)
    try:
        watch(given.addresses, max(given.interval, 0.1), once=given.once)
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as problem:
        print(f"smtpgw: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def watch(addresses: list[str], interval_seconds: float, *, once: bool) -> None:
    """Scrape repeatedly and show the difference between two scrapes. Raises OSError, ValueError."""
    console = Console()
    before = scrape(addresses)
    if once:
        time.sleep(interval_seconds)
        console.print(view(Interval(before, scrape(addresses)), addresses))
        return
    views = views_of(before, addresses, interval_seconds)
    if not console.is_terminal:
        # In a pipe, or with `kubectl exec` without a terminal, the views are printed one after the other.
        for shown in views:
            console.print(shown, "")
        return
    with Live(Text("waiting for the first interval…"), console=console, screen=True, auto_refresh=False) as live:
        for shown in views:
            live.update(shown, refresh=True)


def views_of(before: Scrape, addresses: list[str], interval_seconds: float) -> Iterator[Group | Text]:
    """Yield views without end. A gateway that does not answer, as during a restart, is reported and tried again."""
    while True:
        time.sleep(interval_seconds)
        try:
            after = scrape(addresses)
        except OSError as problem:
            yield Text(f"no answer: {problem}", style="bold red")
            continue
        yield view(Interval(before, after), addresses)
        before = after


def scrape(addresses: list[str]) -> Scrape:
    """Scrape all gateways.

    Raises:
        OSError: one does not answer.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found = Scrape(time.monotonic())
    for address in addresses:
        base = address if "://" in address else f"http://{address}"
        url = f"{base.removesuffix('/metrics').rstrip('/')}/metrics"
        try:
            with opener.open(url, timeout=ANSWER_TIMEOUT_SECONDS) as answer:
                found.add(answer.read().decode())
        except OSError as problem:
            raise OSError(f"{url}: {getattr(problem, 'reason', problem)}") from problem
    return found


def view(interval: Interval, addresses: list[str]) -> Group:
    """Return everything that is shown for an interval."""
    tables = [results(interval), latencies(interval), api(interval), refusals(interval), limits(interval)]
    return Group(headline(interval, addresses), Columns(tables, padding=(1, 2)))


def headline(interval: Interval, addresses: list[str]) -> Text:
    """Return the first line: version, addresses, rate, sessions, workers, certificate."""
    now = interval.after
    expiry = now.minimum.get("smtpgw_certificate_expiry_timestamp_seconds")
    days = "" if expiry is None else f"certificate {(expiry - time.time()) / DAY_SECONDS:.0f} days"
    draining = now.value("smtpgw_draining")
    words = [
        f"smtpgw {', '.join(now.by('smtpgw_build_info', 'version'))}",
        ", ".join(addresses),
        f"{interval.rate('smtpgw_messages_total'):,.1f} messages/s",
        f"{now.value('smtpgw_sessions_active'):,.0f} sessions",
        f"{now.value('smtpgw_workers'):.0f} workers" + (f", {draining:.0f} draining" if draining else ""),
        days,
    ]
    return Text("  ".join(filter(None, words)), style="bold")


def results(interval: Interval) -> Table:
    """Return the table of messages by result."""
    table = titled("messages", "per second", "total")
    rates = interval.rates("smtpgw_messages_total", "result")
    for result, style in RESULTS.items():
        total = interval.after.value("smtpgw_messages_total", result=result)
        table.add_row(result, f"{rates.get(result, 0.0):,.1f}", f"{total:,.0f}", style=style if total else "dim")
    return table


def latencies(interval: Interval) -> Table:
    """Return the table of latencies."""
    table = titled("latency", "p50", "p95", "p99")
    for name, (metric, labels) in LATENCIES.items():
        table.add_row(name, *map(duration, interval.quantiles(metric, (0.5, 0.95, 0.99), **labels)))
    return table


def api(interval: Interval) -> Table:
    """Return the table of API calls."""
    table = titled("Cakemail's API", "")
    now = interval.after
    if now.samples.get("smtpgw_breaker_open"):
        is_open = now.value("smtpgw_breaker_open") > 0
        table.add_row("breaker", "open" if is_open else "closed", style="bold red" if is_open else "green")
    table.add_row("in progress", f"{now.value('smtpgw_api_requests_in_flight'):,.0f}")
    table.add_row("waiting", f"{now.value('smtpgw_api_requests_waiting'):,.0f}")
    for status, rate in largest(interval.rates("smtpgw_api_request_duration_seconds_count", "status"), MAX_ROWS):
        table.add_row(f"answers {status}", f"{rate:,.1f}/s", style="red" if status.startswith(FAILED_STATUSES) else "")
    return table


def refusals(interval: Interval) -> Table:
    """Return the table of error replies."""
    return ranked("refusals", interval, "smtpgw_refusals_total", "reply")


def limits(interval: Interval) -> Table:
    """Return the table of limits reached."""
    return ranked("limits", interval, "smtpgw_limits_hit_total", "limit")


def ranked(title: str, interval: Interval, metric: str, label: str) -> Table:
    """Return the largest series of a counter: by rate, then by total."""
    table = titled(title, "per second", "total")
    rates, totals = interval.rates(metric, label), interval.after.by(metric, label)
    names = [name for name, _ in largest(rates, MAX_ROWS)]
    names += [name for name, _ in largest(totals, MAX_ROWS) if name not in names]
    for name in names[:MAX_ROWS]:
        table.add_row(name, f"{rates[name]:,.1f}", f"{totals[name]:,.0f}", style="" if rates[name] else "dim")
    if not names:
        table.add_row("none", "", "", style="dim")
    return table


def titled(title: str, *columns: str) -> Table:
    """Return an empty table with a title in its first column."""
    table = Table(box=None, pad_edge=False, header_style="bold cyan")
    table.add_column(title, min_width=14)
    for column in columns:
        table.add_column(column, justify="right", min_width=8)
    return table


def duration(seconds: float | None) -> str:
    """Format a duration."""
    if seconds is None:
        return "–"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
