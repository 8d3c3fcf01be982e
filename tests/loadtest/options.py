"""The README's table of the load test's options, from the code: python -m tests.loadtest.options writes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _options import add_options

from tests.loadtest import LOADTEST
from tests.support.documentation import write

README = LOADTEST / "README.md"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->"


class Parser:
    """Takes the options in the place of locust's parser."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}
        add_options(self)

    def add_argument(self, name: str, **rest: Any) -> None:
        self.options[name] = rest


def table() -> str:
    rows = [f"| `{name}` | {shown(each['default'])} | {each['help']} |\n" for name, each in Parser().options.items()]
    return "| option | default | meaning |\n|---|---|---|\n" + "".join(rows)


def shown(default: object) -> str:
    text = f"{default:.10g}" if isinstance(default, float) else default
    return f"`{text}`" if text else ""


def split(text: str) -> tuple[str, str, str]:
    """What stands before the table, it, and what stands after it."""
    before, _, rest = text.partition(BEGIN)
    found, _, after = rest.partition(END)
    return before, found, after


def pages() -> Iterator[tuple[Path, str]]:
    """The README, and the text that it should have."""
    before, _, after = split(README.read_text("utf-8"))
    yield README, f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    write(pages())
