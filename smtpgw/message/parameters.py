"""Parser for Content-Type and Content-Disposition: the value and its parameters (RFC 2045 §5.1, 2183, 2231)."""

import functools
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from smtpgw.message import charsets
from smtpgw.message.words import decode_outer_encoding, replace_controls

FIRST = re.compile(r"[^;\s(\"]*")
PARAMETER = re.compile(r";\s*([^\s=;\"]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"?|([^;]*))")
# Other backslashes are kept: Windows programs write unquoted paths here (against RFC 822 §3.4.4).
QUOTED_PAIR = re.compile(r"\\([\"\\])")
# RFC 2231 §3 and §4: name*0*, name*1, name*.
SECTION = re.compile(r"([^*]+)(?:\*([0-9]{1,6}))?(\*)?")
# Short values, such as a type and its charset, repeat in most messages; boundaries and file names do not.
MAX_CACHED_CHARACTERS = 120

ParsedValue = tuple[str, Mapping[str, str]]


def parse(value: str) -> ParsedValue:
    """Return the value before the first parameter, in lower case, and the parameters by their lower-case names."""
    return parse_cached(value) if len(value) <= MAX_CACHED_CHARACTERS else parse_uncached(value)


def parse_uncached(value: str) -> ParsedValue:
    """Parse a value without the cache."""
    value = decode_outer_encoding(value)
    first = FIRST.match(value.strip())
    found: dict[str, str] = {}
    extended: dict[str, dict[int, tuple[str, bool]]] = {}
    for parameter in PARAMETER.finditer(value):
        name = parameter[1].lower()
        text = parameter[3].strip() if parameter[2] is None else QUOTED_PAIR.sub(r"\1", parameter[2])
        if "*" not in name:
            found.setdefault(name, text)
        elif section := SECTION.fullmatch(name):
            extended.setdefault(section[1], {}).setdefault(int(section[2] or 0), (text, bool(section[3])))
    # The extended form wins: a program writes the plain one beside it for old readers (RFC 6266 §4.3).
    found.update({name: join(sections) for name, sections in extended.items()})
    return first[0].lower() if first else "", found


parse_cached = functools.lru_cache(512)(parse_uncached)


def join(sections: Mapping[int, tuple[str, bool]]) -> str:
    """Join the sections of a parameter in their order and decode them in the charset that the first one names."""
    charset, octets = "", list[bytes]()
    for number, (text, is_extended) in sorted(sections.items()):
        if is_extended and number == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        octets.append(unquote_to_bytes(text) if is_extended else text.encode(errors="replace"))
    return replace_controls(charsets.decode(b"".join(octets), charset))
