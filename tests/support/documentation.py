"""Write the generated tables of docs/ from the code: python -m tests.documentation.

A page marks where a table goes with `<!-- name -->` and `<!-- /name -->`; the prose around it is written by hand.
"""

import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from smtpgw.commands import capacity
from smtpgw.config.settings import Settings
from smtpgw.core import replies
from smtpgw.core.replies import Reply
from smtpgw.telemetry import metrics
from tests.support import log_fields
from tests.support.relays import MAPS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
MAX_LABEL_VALUES = 30  # of a label; beyond that the values are a page of their own, or HTTP's
# Limit, as a label of smtpgw_limits_hit_total → what was reached, and the setting that moves it.
LIMITS = {
    "api_connections": "calls to the API at a time (`SMTPGW_API_CONNECTIONS`), after `SMTPGW_API_WAIT_SECONDS`",
    "auth_account": "logins to an account that is guessed at from elsewhere were delayed",
    "auth_address": "logins refused since their address had too many failed ones (`SMTPGW_THROTTLE_FAILURES`)",
    "auth_failures": "failed logins of a session (`SMTPGW_MAX_AUTH_FAILURES`)",
    "auth_turn": "failed logins of an address that wait for their turn",
    "bytes_in_flight": "octets of messages a worker holds (`SMTPGW_MAX_BYTES_IN_FLIGHT`)",
    "bytes_per_client": "the share of these that one client or account may hold",
    "command_bytes": "length of a command line (`SMTPGW_MAX_COMMAND_BYTES`)",
    "commands": "commands of a session without login (`SMTPGW_MAX_COMMANDS_BEFORE_LOGIN`)",
    "data_rate": "the least rate of message data (`SMTPGW_DATA_MIN_BYTES_PER_SECOND`, `SMTPGW_DATA_TIMEOUT_SECONDS`)",
    "descriptors": "file descriptors of the process; the log says at the start how many it needs",
    "errors": "mistakes of a session (`SMTPGW_MAX_ERRORS`)",
    "idle": "wait for a command (`SMTPGW_IDLE_TIMEOUT_SECONDS`)",
    "large_messages": "large messages that a worker reads at a time",
    "login": "time of a session without login",
    "message_bytes": "size of a message (`SMTPGW_MAX_MESSAGE_BYTES`)",
    "proxy_header": "connections from the load balancer without a PROXY header",
    "proxy_only": "connections that do not come from the load balancer (`SMTPGW_PROXY_CIDRS`)",
    "recipients": "recipients of a message (`SMTPGW_MAX_RECIPIENTS`)",
    "remembered": "recipients accepted, or of unknown outcome, that were forgotten early: a retry may double them",
    "same_message": "the same message came again and the first one was not answered in time",
    "session": "age of a session (`SMTPGW_SESSION_TIMEOUT_SECONDS`)",
    "sessions": "sessions of a worker (`SMTPGW_MAX_SESSIONS`)",
    "sessions_per_address": "sessions of a client address (`SMTPGW_MAX_SESSIONS_PER_ADDRESS`)",
}


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def settings() -> str:
    fields = [field.metadata for field in dataclasses.fields(Settings)]
    rows = [f"| `{f['name']}` | {code(f['default'], f['name'])} | {cell(f['meaning'])} |" for f in fields]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def code(default: str, name: str) -> str:
    if name == "SMTPGW_HOSTNAME":
        return "the machine's"
    return f"`{default}`" if default else ""


def reply_table() -> str:
    rows = [
        f"| {reply.code} | {reply.status} | {cell(reply.text)} | `{reply.name}` |"
        for reply in vars(replies).values()
        if isinstance(reply, Reply)
    ]
    return "\n".join(["| code | status | text | name |", "|---|---|---|---|", *rows])


def metric_table() -> str:
    rows = [
        f"| `{m.name}` | {m.type} | {', '.join(f'`{label}`' for label in m.labels)} | {cell(m.meaning)} |"
        for m in metrics.CATALOG
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def label_table() -> str:
    """Return the values that each label may have, where they are few and not those of the version."""
    rows = [
        f"| `{m.name}` | `{label}` | {', '.join(f'`{value}`' for value in sorted(values))} |"
        for m in metrics.CATALOG
        for label, values in m.labels.items()
        if len(values) <= MAX_LABEL_VALUES and m.name not in ("smtpgw_limits_hit_total", "smtpgw_build_info")
    ]
    return "\n".join(["| metric | label | values |", "|---|---|---|", *rows])


def limit_table() -> str:
    rows = [f"| `{name}` | {LIMITS.get(name, '')} |" for name in sorted(metrics.LIMIT_NAMES)]
    return "\n".join(["| limit | what was reached |", "|---|---|", *rows])


def capacity_table() -> str:
    """Return the table of capacity and its assumptions; the chart's README has it, too."""
    lines, sentences = capacity.findings(capacity.VOLUMES, capacity.Assumed(), {})
    rows = [f"| {' | '.join(line)} |" for line in (capacity.COLUMNS, *lines)]
    rows.insert(1, "|" + "--:|" * len(capacity.COLUMNS))
    assumptions = [textwrap.fill(f"- {sentence}", 118, subsequent_indent="  ") for sentence in sentences]
    return "\n".join([*rows, "", *assumptions])


def maps_example() -> str:
    return f"```yaml\n{MAPS}```"


TABLES: dict[str, tuple[Path, Callable[[], str]]] = {
    "settings": (DOCS / "reference/settings.md", settings),
    "replies": (DOCS / "reference/replies.md", reply_table),
    "metrics": (DOCS / "reference/metrics.md", metric_table),
    "label values": (DOCS / "reference/metrics.md", label_table),
    "limits": (DOCS / "reference/metrics.md", limit_table),
    "log events": (DOCS / "reference/log-fields.md", log_fields.event_table),
    "log fields": (DOCS / "reference/log-fields.md", log_fields.field_table),
    "capacity": (DOCS / "capacity.md", capacity_table),
    "maps": (DOCS / "provider-map.md", maps_example),
}


def between(name: str, text: str) -> str:
    """Return what a page says between the markers of a table."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.DOTALL)
    assert found, f"the page has no markers for {name}"
    return found[1]


def rewritten(name: str, table: str, text: str) -> str:
    """Return a page's text with this table between its markers."""
    before, begin, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    assert end, f"the page has no markers for {name}"
    return f"{before}{begin}{table}\n{end}{after}"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with generated tables, and the text that it should have."""
    texts: dict[Path, str] = {}
    for name, (path, table) in TABLES.items():
        texts[path] = rewritten(name, table(), texts.get(path) or path.read_text("utf-8"))
    yield from texts.items()


def write(found: Iterator[tuple[Path, str]]) -> None:
    for path, text in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    write(pages())
