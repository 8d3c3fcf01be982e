"""Japanese text as Windows writes it: CP50220 under the label ISO-2022-JP, CP51932 under EUC-JP.

Both add to JIS X 0208 the rows that NEC had (①, ㈱, №, and kanji of names such as 髙). Python's codecs know neither,
so that an error handler supplies the characters from CP932, which has them all.
"""

import codecs
from contextvars import ContextVar

CODECS = ("euc_jp", "iso2022_jp_ext")
CELLS = range(1, 95)
ROWS = (13, 89, 90, 91, 92)  # NEC's special characters, and its selection of IBM's
MAX_REPAIRS = 100_000  # of one text: what has more is no text, and each costs a call
ERRORS = "smtpgw.nec_rows"
# The characters that Python's codecs and CP932 choose differently for the same place (Encoding Standard, index
# jis0208): a message must read the same whichever of the three charsets it came in.
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
    lead = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
    trail = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell <= 63 else 0x40)
    return bytes([lead, trail])


def characters_by_octets(offset: int) -> dict[bytes, str]:
    """The characters of ROWS by their octets: rows and cells are numbers that a charset adds its `offset` to."""
    return {
        bytes([row + offset, cell + offset]): cp932_octets(row, cell).decode("cp932", "ignore")
        for row in ROWS
        for cell in CELLS
    }


# By codec: the octets that begin and end what a row can hold, and the characters that the codec lacks.
LACKING = {
    "iso2022_jp_ext": (0x21, 0x7E, characters_by_octets(0x20)),
    "euc_jp": (0xA1, 0xFE, characters_by_octets(0xA0)),
}


def repair(error: UnicodeError) -> tuple[str, int]:
    """Error handler for codecs: the character of a row they lack, else U+FFFD. Raises `error` after MAX_REPAIRS."""
    left = REPAIRS_LEFT.get()
    if not isinstance(error, UnicodeDecodeError) or not left:
        raise error
    REPAIRS_LEFT.set(left - 1)
    first, last, characters = LACKING[error.encoding]
    pair = error.object[error.start : error.start + 2]
    is_pair = len(pair) == 2 and first <= min(pair) and max(pair) <= last
    # A pair without a character goes whole: its second octet would be taken for the first of the next.
    return characters.get(pair) or "\ufffd", error.start + 2 if is_pair else error.end


codecs.register_error(ERRORS, repair)


def decode_with_nec_rows(octets: bytes, codec: str) -> str:
    """Decode by one of CODECS; octets without a character become U+FFFD."""
    before = REPAIRS_LEFT.set(MAX_REPAIRS)
    try:
        return octets.decode(codec, ERRORS)
    except UnicodeDecodeError:
        return octets.decode(codec, "replace")
    finally:
        REPAIRS_LEFT.reset(before)


def convert_to_windows(text: str) -> str:
    for character, chosen in WINDOWS_CHARACTERS.items():
        text = text.replace(character, chosen)
    return text
