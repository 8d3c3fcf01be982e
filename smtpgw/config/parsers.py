"""Readers of environment variables: the text of one → its value; and `setting`, a field that is read by one.

Readers raise ValueError with what would have been right, as the end of the sentence "must be …".
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

MIB = 1024 * 1024
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """The environment cannot be used; `mistakes` has one line for each variable that is wrong."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Bind:
    """An address to listen on, as `HOST:PORT` or `[IPv6]:PORT`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def setting(
    name: str,
    default: str,
    read: Callable[[str], Any],
    meaning: str,
    *,
    secret: bool = False,
    can_be_empty: bool = False,
) -> Any:
    """A field of `Settings`: the variable `name`, `default` as one would write it in the environment.

    The value of a `secret` one is in no printout, message or representation. An empty variable is one that is not set,
    unless it `can_be_empty`.
    """
    told = {"name": name, "default": default, "read": read, "meaning": meaning}
    told |= {"secret": secret, "can_be_empty": can_be_empty}
    return dataclasses.field(metadata=told, repr=not secret)


def whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def number(least: float, most: float, what: str = "a number") -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not least <= float(text) <= most:
            raise ValueError(f"{what} from {least:g} to {most:g}")
        return float(text)

    return read


def seconds(least: float, most: float) -> Callable[[str], float]:
    return number(least, most, "a number of seconds")


def ratio(text: str) -> float:
    if not re.fullmatch(r"[0-9](\.[0-9]{1,9})?", text) or float(text) > 1:
        raise ValueError("a number from 0 to 1")
    return float(text)


def key(text: str) -> str:
    if text and not 16 <= len(text.encode()) <= 64:  # what BLAKE2b takes, and what is no key (RFC 7693 §2.1)
        raise ValueError("empty, or 16 to 64 octets that nobody can guess")
    return text


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text.lower()

    return read


def switch(text: str) -> bool:
    return one_of("on", "off")(text) == "on"


def bind(text: str) -> Bind:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("HOST:PORT, such as 0.0.0.0:2587 or [::]:2587")
    return Bind(host, int(port))


def optional_bind(text: str) -> Bind | None:
    return bind(text) if text else None


def url(text: str, *schemes: str) -> SplitResult | None:
    """The parts of an address, None where it is none or of another scheme."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # a host in half a pair of brackets, or a port that is no number
        return None
    return parts if is_one else None


def api_url(text: str) -> str:
    parts = url(text, "http", "https")
    if not parts or parts.query or parts.fragment or parts.username:
        raise ValueError("an address such as https://api.cakemail.dev")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("an https:// address; http:// is only for loopback, since passwords travel on it")
    return text.rstrip("/")


def optional_url(text: str) -> str:
    parts = url(text, "http", "https")
    if text and (not parts or parts.query or parts.fragment or parts.username):
        raise ValueError("an address such as http://collector:4318")
    return text.rstrip("/")


def storage_url(text: str) -> str:
    if text != "memory://" and not url(text, "redis", "rediss"):
        raise ValueError("memory://, or the address of a Redis such as redis://:PASSWORD@HOST:6379/0")
    return text


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        raise ValueError("networks separated by commas, such as 10.2.0.0/16,2001:db8::/32") from None


def header_names(text: str) -> tuple[str, ...]:
    """Read names of header fields (RFC 5322 §2.2), in lower case; none for an empty text or the word `none`."""
    if text.lower() in ("", "none"):
        return ()
    names = [name.strip().lower() for name in text.split(",")]
    if "none" in names or not all(re.fullmatch(r"[!-9;-~]{1,76}", name) for name in names):
        raise ValueError("names of headers separated by commas, such as list-unsubscribe,list-id, or none")
    return tuple(dict.fromkeys(names))


def hostname(text: str) -> str:
    if not re.fullmatch(r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise ValueError("a host name such as smtp.example.com")
    return text


def readable_file(text: str) -> str:
    if not text:
        raise ValueError("the path of a PEM file")
    try:
        with open(text, "rb"):
            return text
    except OSError as problem:
        raise ValueError(f"a file that can be read ({problem.strerror})") from None


def optional_file(text: str) -> str:
    return readable_file(text) if text else text


def as_text(value: object) -> str:
    """The reverse: a value as one would write it in the environment."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
