"""Parsers of setting values, and `setting`, which declares a field of `Settings`.

A parser turns the text of an environment variable into its value. It raises ValueError with the end of the sentence
"must be …", which describes a valid value.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

MIB = 1024 * 1024
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """The environment cannot be used. `mistakes` has one line for each wrong variable."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Bind:
    """Address to listen on, written `HOST:PORT` or `[IPv6]:PORT`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def setting(
    name: str,
    default: str,
    parse: Callable[[str], Any],
    meaning: str,
    *,
    secret: bool = False,
    can_be_empty: bool = False,
) -> Any:
    """Declare a field of `Settings`.

    Args:
        name: the environment variable.
        default: its default, as it would be written in the environment.
        parse: the parser of its value.
        meaning: its description in the documentation.
        secret: its value is never printed, logged or part of a message.
        can_be_empty: an empty variable is a value; otherwise it counts as not set.
    """
    metadata = {"name": name, "default": default, "parse": parse, "meaning": meaning}
    metadata |= {"secret": secret, "can_be_empty": can_be_empty}
    return dataclasses.field(metadata=metadata, repr=not secret)


def parse_fields(fields: Iterable[dataclasses.Field[Any]], environ: Mapping[str, str]) -> dict[str, Any]:
    """Parse the variables of fields that `setting` has declared.

    Returns:
        The values by the names of the fields.

    Raises:
        SettingsError: with all mistakes.
    """
    values, mistakes = {}, []
    for field in fields:
        name, default, parse = (field.metadata[key] for key in ("name", "default", "parse"))
        text = environ.get(name, default).strip() or ("" if field.metadata["can_be_empty"] else default)
        try:
            values[field.name] = parse(text)
        except ValueError as wanted:
            given = name if field.metadata["secret"] else f"{name}={text!r}"
            mistakes.append(f"{given}: must be {wanted}" if text else f"{name} is not set: {wanted}")
    if mistakes:
        raise SettingsError(mistakes)
    return values


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in this range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def number(minimum: float, maximum: float, kind: str = "a number") -> Callable[[str], float]:
    """Return a parser of decimal numbers in this range."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not minimum <= float(text) <= maximum:
            raise ValueError(f"{kind} from {minimum:g} to {maximum:g}")
        return float(text)

    return parse


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a parser of durations in this range."""
    return number(minimum, maximum, "a number of seconds")


def ratio(text: str) -> float:
    """Parse a share, from 0 to 1."""
    if not re.fullmatch(r"[0-9](\.[0-9]{1,9})?", text) or float(text) > 1:
        raise ValueError("a number from 0 to 1")
    return float(text)


def key(text: str) -> str:
    """Parse the key of a digest, or an empty text."""
    # BLAKE2b takes keys of at most 64 octets (RFC 7693 §2.1); a short one can be guessed.
    if text and not 16 <= len(text.encode()) <= 64:
        raise ValueError("empty, or 16 to 64 octets that nobody can guess")
    return text


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of these words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text.lower()

    return parse


def switch(text: str) -> bool:
    """Parse `on` or `off`."""
    return one_of("on", "off")(text) == "on"


def bind(text: str) -> Bind:
    """Parse an address to listen on."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("HOST:PORT, such as 0.0.0.0:2587 or [::]:2587")
    return Bind(host, int(port))


def optional_bind(text: str) -> Bind | None:
    """Parse an address to listen on, or an empty text."""
    return bind(text) if text else None


def url(text: str, *schemes: str) -> SplitResult | None:
    """Return the parts of a URL; None when the text is not a URL with one of these schemes."""
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        # The host has one bracket only, or the port is not a number.
        return None
    return parts if is_valid else None


def api_url(text: str) -> str:
    """Parse the address of the API."""
    parts = url(text, "http", "https")
    if not parts or parts.query or parts.fragment or parts.username:
        raise ValueError("an address such as https://api.cakemail.dev")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("an https:// address; http:// is only for loopback, since passwords travel on it")
    return text.rstrip("/")


def optional_url(text: str) -> str:
    """Parse the address of a collector, or an empty text."""
    parts = url(text, "http", "https")
    if text and (not parts or parts.query or parts.fragment or parts.username):
        raise ValueError("an address such as http://collector:4318")
    return text.rstrip("/")


def storage_url(text: str) -> str:
    """Parse the address of a storage for counters."""
    if text != "memory://" and not url(text, "redis", "rediss"):
        raise ValueError("memory://, or the address of a Redis such as redis://:PASSWORD@HOST:6379/0")
    return text


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def networks(text: str) -> tuple[Network, ...]:
    """Parse networks separated by commas."""
    try:
        return tuple(ipaddress.ip_network(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        raise ValueError("networks separated by commas, such as 10.2.0.0/16,2001:db8::/32") from None


def header_names(text: str) -> tuple[str, ...]:
    """Parse names of header fields (RFC 5322 §2.2) to lower case; none for an empty text or the word `none`."""
    if text.lower() in ("", "none"):
        return ()
    names = [name.strip().lower() for name in text.split(",")]
    if "none" in names or not all(re.fullmatch(r"[!-9;-~]{1,76}", name) for name in names):
        raise ValueError("names of headers separated by commas, such as list-unsubscribe,list-id, or none")
    return tuple(dict.fromkeys(names))


def hostname(text: str) -> str:
    """Parse the name of a host."""
    if not re.fullmatch(r"(?=.{1,255}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise ValueError("a host name such as smtp.example.com")
    return text


def readable_file(text: str) -> str:
    """Parse the path of a file that can be read."""
    if not text:
        raise ValueError("the path of a PEM file")
    try:
        with open(text, "rb"):
            return text
    except OSError as problem:
        raise ValueError(f"a file that can be read ({problem.strerror})") from None


def optional_file(text: str) -> str:
    """Parse the path of a file that can be read, or an empty text."""
    return readable_file(text) if text else text


def as_text(value: object) -> str:
    """Return a value as it would be written in the environment, the reverse of a parser."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
