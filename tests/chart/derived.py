"""`python -m tests.chart.derived`: writes what of the chart is made from something else.

The names of the gateway's settings, and of the values that must be there, go into values.schema.json; the comments of
values.yaml, and what capacity takes, into README.md. A test sees that they are as this would write them.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smtpgw.config.settings import Settings
from tests.support.documentation import capacity_table, write

CHART = Path(__file__).parent.parent.parent / "helm" / "smtpgw"

# What values of their own, or the templates, say. Each setting is here, among the secret ones or in `config`.
COMPUTED = frozenset(
    {
        "CAKEMAIL_API_URL",
        "SMTPGW_DRAIN_TIMEOUT_SECONDS",
        "SMTPGW_HOSTNAME",
        "SMTPGW_HTTP_BIND",
        "SMTPGW_INTERNAL_BIND",
        "SMTPGW_MAPPINGS_FILE",
        "SMTPGW_PROXY_CIDRS",
        "SMTPGW_PROXY_PROTOCOL",
        "SMTPGW_SMTPS_BIND",
        "SMTPGW_SMTP_BIND",
        "SMTPGW_TLS_CERT",
        "SMTPGW_TLS_KEY",
        "SMTPGW_WORKERS",
    }
)


def require(place: dict[str, Any], values: dict[str, Any]) -> None:
    """Require each value that has a default: a `null` takes it away, and with it whatever is checked of it."""
    place["required"] = [key for key, value in values.items() if value is not None]
    for key, value in values.items():
        if isinstance(value, dict) and place["properties"][key].get("additionalProperties") is False:
            require(place["properties"][key], value)


def schema() -> str:
    """values.schema.json with the settings that `config` may have, and with what must have a value."""
    whole = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    require(whole, yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))
    whole["$defs"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            told["name"]: {"type": ["string", "number", "boolean"], "description": told["meaning"]}
            for told in (field.metadata for field in dataclasses.fields(Settings))
            if told["name"] not in COMPUTED and not told["secret"]
        },
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def rows(node: yaml.MappingNode, lines: list[str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and comment of each value; the comment stands behind it, or above where it is long."""
    for key, value in node.value:
        name = f"{path}{key.value}"
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from rows(value, lines, f"{name}.")
            continue
        line, above = lines[key.start_mark.line], lines[key.start_mark.line - 1].strip()
        default = line[value.start_mark.column : value.end_mark.column]
        comment = line[value.end_mark.column :].partition("# ")[2] or (above.startswith("# ") and above[2:]) or ""
        yield name, default, comment


def table() -> str:
    """The values as a table in Markdown."""
    text = (CHART / "values.yaml").read_text("utf-8")
    found = rows(yaml.compose(text), text.splitlines())
    lines = [f"| `{name}` | `{default}` | {comment} |" for name, default, comment in found]
    return "\n".join(["| value | default | |", "| --- | --- | --- |", *lines])


def readme() -> str:
    """README.md with the tables of values and of capacity."""
    text = (CHART / "README.md").read_text("utf-8")
    for name, made in (("values", table()), ("capacity", capacity_table())):
        before, begin, rest = text.partition(f"<!-- {name}: begin -->")
        _, end, after = rest.partition(f"<!-- {name}: end -->")
        text = f"{before}{begin}\n\n{made}\n\n{end}{after}"
    return text


def pages() -> Iterator[tuple[Path, str]]:
    """Each file that is written here, and the text that it should have."""
    yield CHART / "values.schema.json", schema()
    yield CHART / "README.md", readme()


if __name__ == "__main__":
    write(pages())
