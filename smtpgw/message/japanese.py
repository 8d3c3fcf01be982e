"""Decoding of Japanese text as Windows writes it: CP50220 labelled ISO-2022-JP, and CP51932 labelled EUC-JP.

Both extend JIS X 0208 with the rows of NEC (①, ㈱, №, and kanji of names such as 髙). Python has a codec for neither.
An error handler takes the missing characters from CP932, which has all of them.
"""

import codecs
from contextvars import ContextVar

CODECS = ("euc_jp", "iso2022_jp_ext")
CELLS = range(1, 95)
# NEC's special characters, and its selection of IBM's characters.
ROWS = (13, 89, 90, 91, 92)
# Each repair of a text costs a call of the error handler. Octets with more errors are not text.
MAX_REPAIRS = 100_000
ERRORS = "smtpgw.nec_rows"
# Characters that Python's codecs and CP932 map differently (Encoding Standard, index jis0208). A message must read the
# same in each of the three charsets.
WINDOWS_CHARACTERS = {
    "\u301c": "\uff5e",
    "\u2016": "\u2225",
    "\u2212": "\uff0d",
    "\u00a2": "\uffe0",
    "\u00a3": "\uffe1",
    "\u00ac": "\uffe2",
}
REPAIRS_LEFT = ContextVar("REPAIRS_LEFT", default=0)


def cp932_octets(row: int, cell: int) -> bytes:
    """Return the octets of CP932 for a row and a cell of JIS X 0208."""
    lead = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
    trail = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell <= 63 else 0x40)
    return bytes([lead, trail])


def characters_by_octets(offset: int) -> dict[bytes, str]:
    """Return the characters of ROWS by their octets. A charset adds its `offset` to the numbers of row and cell."""
    return {
        bytes([row + offset, cell + offset]): cp932_octets(row, cell).decode("cp932", "ignore")
        for row in ROWS
        for cell in CELLS
    }


# Codec → the first and the last octet of a row, and the characters that the codec lacks.
LACKING = {
    "iso2022_jp_ext": (0x21, 0x7E, characters_by_octets(0x20)),
    "euc_jp": (0xA1, 0xFE, characters_by_octets(0xA0)),
}


def repair(error: UnicodeError) -> tuple[str, int]:
    """Error handler that returns a character the codec lacks, or U+FFFD. Raises `error` after MAX_REPAIRS calls."""
    left = REPAIRS_LEFT.get()
    if not isinstance(error, UnicodeDecodeError) or not left:
        raise error
    REPAIRS_LEFT.set(left - 1)
    first, last, characters = LACKING[error.encoding]
    pair = error.object[error.start : error.start + 2]
    is_pair = len(pair) == 2 and first <= min(pair) and max(pair) <= last
    # Both octets of an unknown pair are skipped; the second one would be read as the first of the next pair.
    return characters.get(pair) or "\ufffd", error.start + 2 if is_pair else error.end


codecs.register_error(ERRORS, repair)


def decode_with_nec_rows(octets: bytes, codec: str) -> str:
    """Decode octets with one of CODECS. Octets without a character become U+FFFD."""
    before = REPAIRS_LEFT.set(MAX_REPAIRS)
    try:
        return octets.decode(codec, ERRORS)
    except UnicodeDecodeError:
        return octets.decode(codec, "replace")
    finally:
        REPAIRS_LEFT.reset(before)


def convert_to_windows(text: str) -> str:
    """Replace the characters that Python maps differently by those of CP932."""
    for character, chosen in WINDOWS_CHARACTERS.items():
        text = text.replace(character, chosen)
    return text
