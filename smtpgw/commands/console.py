"""Terminal output of the commands: plain lines, with colours only on a terminal."""

import getpass
import os
import sys
from typing import Any, TextIO

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"  # ECMA-48 §8.3.117, Select Graphic Rendition
MAX_STRING_CHARACTERS = 100  # in the result of `shortened`
PASSWORD_VARIABLE = "CAKEMAIL_PASSWORD"  # noqa: S105 - the name of the variable


class NoPassword(Exception):
    """The environment has no password, and there is no terminal to ask for one."""


def say(text: str = "", style: str = "", file: TextIO | None = None) -> None:
    """Print a line and flush it, so that a user who waits sees the progress."""
    stream = file or sys.stdout
    if style and is_colourful(stream):
        text = f"\033[{style}m{text}\033[0m"
    print(text, file=stream, flush=True)


def complain(text: str) -> None:
    """Print an error to standard error."""
    say(text, RED, sys.stderr)


def is_colourful(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colours. NO_COLOR is the convention of https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def ask_password(user: str) -> str:
    """Return the password of `user` from the environment or the terminal.

    It is never an argument, because every process of the machine can read the arguments of the others.

    Raises:
        NoPassword: neither has one.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password:
        return password
    if not sys.stdin.isatty():
        raise NoPassword(f"set {PASSWORD_VARIABLE}, or run this on a terminal and type the password")
    return getpass.getpass(f"Password, or access token, of {user}: ")


def shortened(value: Any) -> Any:
    """Return a JSON value with its long strings cut, to show its structure."""
    if isinstance(value, dict):
        return {name: shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, str) and len(value) > MAX_STRING_CHARACTERS:
        return f"{value[: MAX_STRING_CHARACTERS // 2]}… ({len(value):,} characters)"
    return value
