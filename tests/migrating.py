"""The README's "Coming from …" sections, from the tables that the dialects are: python -m tests.migrating writes them.

What no table says is in `tests.relays`. A test compares the README with what this module says.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from smtpgw.dialects import DIALECTS, Dialect, HeaderRefused, Row, Verdict, read
from smtpgw.mappings import AccountMap
from tests.control_headers import RECIPIENT, mail
from tests.relays import INTRODUCTION, RELAYS, Relay

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- migrating -->\n", "<!-- /migrating -->"
WIDTH = 125
BEFORE_ALL_TIMES = -1e10  # seconds since 1970: every schedule is in the future then
WORDS = {
    Verdict.MAP: "",
    Verdict.STRIP: "removed",
    Verdict.STRIP_WARN: "removed, with a warning",
    Verdict.REFUSE: "refused",
    Verdict.DISCARD: "answered 250, sent to nobody",
}
IN_REASONS = {"STRIP_WARN": "removed with a warning", "STRIP": "removed", "REFUSE": "refused", "MAP": "mapped"}


def generated() -> str:
    """All that stands between the markers."""
    named = {dialect.name: dialect for dialect in DIALECTS}
    sections = [section(named.pop(name), relay) for name, relay in RELAYS.items()]
    return "\n".join(["", INTRODUCTION, *sections, *map(without_relay, named.values())])


def section(dialect: Dialect, relay: Relay) -> str:
    password = "stays" if dialect.name == "cakemail" else "a Cakemail access token"
    user = "stays" if dialect.name == "cakemail" else "`apikey`"
    lines = [
        f"### Coming from {dialect.title}",
        "",
        "| | there | here |",
        "|---|---|---|",
        f"| Host | {relay.host} | `smtp.cakemail.example`, your gateway |",
        f"| Port | {relay.ports} | 587 with STARTTLS; 465 with TLS where the operator has turned it on |",
        f"| User | {relay.user} | {user} |",
        f"| Password | {relay.password} | {password} |",
        "",
        *bullets(dialect),
        *(item(trap) for trap in relay.traps + dialect.notes),
        "",
        table(dialect),
    ]
    return "\n".join(lines)


def without_relay(dialect: Dialect) -> str:
    return "\n".join([f"### {dialect.title}", "", *bullets(dialect), "", table(dialect)])


# --- What maps, what is refused ---------------------------------------------------------------------------------------


def bullets(dialect: Dialect) -> Iterator[str]:
    rows = [*dialect.rows, *dialect.keys]
    mapped = [row for row in rows if row.verdict is Verdict.MAP]
    kept = grouped((row.name, "→ " + code(row.becomes)) for row in mapped if row.becomes)
    kept += grouped((row.name, f"({row.reason.partition(';')[0]})") for row in mapped if not row.becomes and row.effect)
    if dialect.keys:  # what is mapped of a header that is JSON are its keys
        kept = [one for one in kept if not one.startswith(f"`{dialect.rows[0].name}`")]
    if kept:
        yield item(f"**Kept**: {'; '.join(kept)}.")
    if lost := [f"`{row.name}`" for row in rows if row.verdict is Verdict.STRIP_WARN]:
        yield item(f"**Removed with a warning**: {', '.join(lost)}.")
    if refused := grouped((row.name, why) for row in rows if (why := refusal(dialect, row))):
        yield item(f"**Refused**: {'; '.join(refused)}.")
    tests = [f"`{row.name}`" for row in rows if row.verdict is Verdict.DISCARD]
    tests += [f"recipients at `{domain.lstrip('@.')}`" for domain in dialect.test_domains]
    if tests:
        yield item(f"**Test mode**, answered 250 and sent to nobody: {', '.join(tests)}.")


def grouped(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The names that the same is said of, with what is said."""
    names: dict[str, list[str]] = {}
    for name, said in pairs:
        names.setdefault(said, []).append(f"`{name}`")
    return [f"{', '.join(which)} {said}" for said, which in names.items()]


def refusal(dialect: Dialect, row: Row) -> str:
    """Why a row refuses, as the gateway says it of the row's example; or when it does; "" where it never does."""
    if row.verdict is Verdict.REFUSE:
        return f"({escaped(told(dialect, row).finding.detail)})"
    clause = re.search(r"\bREFUSE ([^;]+)", row.reason)
    return escaped(clause[1]) if clause else ""


def told(dialect: Dialect, row: Row) -> HeaderRefused:
    name, value = row.name, row.example
    if row in dialect.keys:
        name, value = dialect.rows[0].name, row.example
        for key in reversed(row.name.split(".")):
            value = json.dumps({key: json.loads(value)})
    try:
        read(mail([(name, value)]), [RECIPIENT], AccountMap(), BEFORE_ALL_TIMES)
    except HeaderRefused as refused:
        return refused
    raise AssertionError(f"{row.name}: {row.example} is not refused")


# --- Every header -----------------------------------------------------------------------------------------------------


def table(dialect: Dialect) -> str:
    header = f"{dialect.rows[0].name} " if dialect.keys else ""
    rows = [table_row(row.name, row) for row in dialect.rows] + [
        table_row(header + row.name, row) for row in dialect.keys
    ]
    what = f"Every header of {dialect.title}"
    head = [f"<details><summary>{what}</summary>", "", "| header | for example | what becomes of it |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", "</details>", ""])


def table_row(name: str, row: Row) -> str:
    example = row.example.replace("|", "\\|")
    return f"| `{name}` | `{example}` | {outcome(row)} |"


def outcome(row: Row) -> str:
    """The verdict, the field and the reason of a row, in words."""
    said = WORDS[row.verdict]
    if row.verdict is Verdict.MAP and row.becomes:
        said = f"becomes {code(row.becomes)}"
    elif row.verdict is Verdict.REFUSE and row.becomes:
        said += f": {row.becomes}"
    reason = in_words(row.reason)
    if not said or not reason:
        return said or reason
    is_another_case = reason != row.reason and re.match(r"(STRIP|STRIP_WARN|REFUSE)\b", row.reason)
    return f"{said}{';' if is_another_case or ':' in said else ':'} {reason}"


def in_words(reason: str) -> str:
    return escaped(re.sub(r"\b(STRIP_WARN|STRIP|REFUSE|MAP)\b", lambda found: IN_REASONS[found[0]], reason))


# --- Markdown ---------------------------------------------------------------------------------------------------------


def code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def escaped(text: str) -> str:
    """Placeholders such as *|NAME|* as they are: Markdown reads stars and bars."""
    return re.sub(r"(?<!`)([*|])", r"\\\1", text)


def item(text: str) -> str:
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def readme_with(text: str, readme: str) -> str:
    """The README with `text` between its markers."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the README has no markers for this")
    return f"{before}{BEGIN}{text}{END}{after}"


if __name__ == "__main__":
    README.write_text(readme_with(generated(), README.read_text("utf-8")), "utf-8", newline="\n")
