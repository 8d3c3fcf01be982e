"""How large a message may become: each step that makes more of its octets asks here before it takes the memory.

A text of "&" is five times as long in HTML, an image is embedded wherever the HTML refers to it, and one character
outside the Basic Multilingual Plane makes each character of a Python string take four octets.
"""

import sys
from collections.abc import Iterable

from smtpgw.core.replies import REQUEST_TOO_BIG, SMTPError

DEFAULT_LIMIT_BYTES = 52_428_800  # SMTPGW_MAX_REQUEST_BYTES where nobody has set it or SMTPGW_MAX_MESSAGE_BYTES
MAX_SHORT_CHARACTERS = 1000  # up to here, the fixed part of a string's size would be taken for characters


def check(octets: int, limit_bytes: int) -> None:
    """Raises SMTPError: REQUEST_TOO_BIG above the limit."""
    if octets > limit_bytes:
        raise SMTPError(REQUEST_TOO_BIG.filled(limit=limit_bytes))


def bytes_per_character(text: str) -> int:
    """Return the octets of memory that each character of a string takes: as many as its largest needs."""
    if text.isascii():
        return 1
    if len(text) > MAX_SHORT_CHARACTERS:
        return sys.getsizeof(text) // len(text)
    largest = ord(max(text))
    return 1 if largest < 0x100 else 2 if largest < 0x10000 else 4


def memory_bytes(texts: Iterable[str], characters: int = 0) -> int:
    """Return the memory of a string that is made of these, and of so many characters more."""
    length, each = characters, 1
    for text in texts:
        length += len(text)
        each = max(each, bytes_per_character(text))
    return length * each
