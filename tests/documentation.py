"""The README's tables of settings, replies, metrics and capacity, from the code: python -m tests.documentation."""

import dataclasses
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from smtpgw import capacity, metrics, replies
from smtpgw.replies import Reply
from smtpgw.settings import Settings

README = Path(__file__).parent.parent / "README.md"


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
        f"| {reply.code} | {reply.status} | {cell(reply.text)} |"
        for reply in vars(replies).values()
        if isinstance(reply, Reply)
    ]
    return "\n".join(["| code | status | text |", "|---|---|---|", *rows])


def metric_table() -> str:
    rows = [
        f"| `{m.name}` | {m.type} | {', '.join(f'`{label}`' for label in m.labels)} | {cell(m.meaning)} |"
        for m in metrics.CATALOG
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def capacity_table() -> str:
    """The table of capacity, and what it holds for; in the chart's README, too."""
    lines, sentences = capacity.findings(capacity.VOLUMES, capacity.Assumed(), {})
    rows = [f"| {' | '.join(line)} |" for line in (capacity.COLUMNS, *lines)]
    rows.insert(1, "|" + "--:|" * len(capacity.COLUMNS))
    told = [textwrap.fill(f"- {sentence}", 118, subsequent_indent="  ") for sentence in sentences]
    return "\n".join([*rows, "", *told])


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "replies": reply_table,
    "metrics": metric_table,
    "capacity": capacity_table,
}


def between(name: str, text: str) -> str:
    """What the README says between the markers of a table."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n?<!-- /{name} -->", text, re.DOTALL)
    assert found, f"README.md has no markers for {name}"
    return found[1]


def rewritten(text: str) -> str:
    for name, table in TABLES.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{table()}\n<!-- /{name} -->{after}"
    return text


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text()))
