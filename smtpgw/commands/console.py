"""What the commands for people, demo and check, write: plain lines, with colours only on a terminal."""

import getpass
import os
import sys
from typing import Any, TextIO

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"  # ECMA-48 §8.3.117, Select Graphic Rendition
LONGEST_STRING = 100  # characters of a string in `shortened`
PASSWORD_VARIABLE = "CAKEMAIL_PASSWORD"  # noqa: S105 - the name of the variable


class NoPassword(Exception):
    """There is neither a variable with a password nor a terminal to ask for one."""


def say(text: str = "", style: str = "", file: TextIO | None = None) -> None:
    """Write one piece of text and a newline, at once: whoever waits sees how far it got."""
    stream = file or sys.stdout
    if style and is_colourful(stream):
        text = f"\033[{style}m{text}\033[0m"
    print(text, file=stream, flush=True)


def complain(text: str) -> None:
    """Say what went wrong, where errors go."""
    say(text, RED, sys.stderr)


def is_colourful(stream: TextIO) -> bool:
    """Whether it is a terminal that takes colours; NO_COLOR is the convention of https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ask_password(user: str) -> str:
    """The password of `user`, from the environment or typed unseen; never an argument, which every process can read.

    Raises:
        NoPassword: when it can come from neither.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password:
        return password
    if not sys.stdin.isatty():
        raise NoPassword(f"set {PASSWORD_VARIABLE}, or run this on a terminal and type the password")
    return getpass.getpass(f"Password, or access token, of {user}: ")


def shortened(value: Any) -> Any:
    """A JSON value with its long strings cut, for a look at its shape."""
    if isinstance(value, dict):
        return {name: shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, str) and len(value) > LONGEST_STRING:
        return f"{value[: LONGEST_STRING // 2]}… ({len(value):,} characters)"
    return value
