"""Limit on the memory of a message while it is converted. Each step that expands it checks here before it allocates.

Converting to HTML expands characters such as "&", an image is embedded once for each reference to it, and one character
outside the Basic Multilingual Plane makes every character of a Python string take four octets.
"""

import sys
from collections.abc import Iterable

from smtpgw.core.replies import REQUEST_TOO_BIG, SMTPError

# The default of SMTPGW_MAX_REQUEST_BYTES with the default of SMTPGW_MAX_MESSAGE_BYTES.
DEFAULT_LIMIT_BYTES = 52_428_800
# The fixed part of a string's size would distort the result for shorter strings.
MAX_SHORT_CHARACTERS = 1000


def check(octets: int, limit_bytes: int) -> None:
    """Raise SMTPError (REQUEST_TOO_BIG) if the size is above the limit."""
    if octets > limit_bytes:
        raise SMTPError(REQUEST_TOO_BIG.filled(limit=limit_bytes))


def bytes_per_character(text: str) -> int:
    """Return the memory in octets of each character of a string, which its largest character determines."""
    if text.isascii():
        return 1
    if len(text) > MAX_SHORT_CHARACTERS:
        return sys.getsizeof(text) // len(text)
    largest = ord(max(text))
    return 1 if largest < 0x100 else 2 if largest < 0x10000 else 4


def memory_bytes(texts: Iterable[str], characters: int = 0) -> int:
    """Return the memory of a string that joins `texts` and has `characters` more characters."""
    length, each = characters, 1
    for text in texts:
        length += len(text)
        each = max(each, bytes_per_character(text))
    return length * each
