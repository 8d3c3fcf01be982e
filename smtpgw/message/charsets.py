"""Decoding of octets to text that tolerates wrong charset labels.

It follows the WHATWG Encoding Standard, as mail readers do: the labels of old charsets stand for the larger charsets
that Windows wrote under them. Codecs come from a table that is built once. A client's label is never passed to Python's
codec search, which would import modules by that name and includes codecs that are not charsets.
"""

import codecs
import contextlib
import encodings.aliases
import functools
import re

from webencodings.labels import LABELS

from smtpgw.message import japanese

WINDOWS_1252 = "cp1252"
UTF_8 = "utf_8"

# Charsets that are decoded as a superset (WHATWG Encoding Standard §4.2, and §9 to §13 for East Asian charsets).
SUPERSETS = {
    "latin_1": WINDOWS_1252,
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "cp950",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso2022_jp": "iso2022_jp_ext",
}
# Labels that are missing in Python's aliases and in the Encoding Standard: codecs without an alias, and the names that
# PHP's mbstring, the API's `encoding`, Java and Windows use.
MORE_LABELS = {
    "koi8-u": "koi8_u",
    "koi8-t": "koi8_t",
    "cp737": "cp737",
    "cp874": "cp874",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8",
    "big-5": "big5",
    "cp51932": "euc_jp",
    "cp50220": "iso2022_jp",
    "cp50221": "iso2022_jp",
    "cp50222": "iso2022_jp",
    "eucjp-win": "euc_jp",
    "iso-2022-jp-ms": "iso2022_jp",
    "jis": "iso2022_jp",
    "sjis-win": "shift_jis",
    "x-sjis": "shift_jis",
    "x-gbk": "gbk",
    "x-mac-roman": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "windows-932": "shift_jis",
    "windows-936": "gbk",
    "windows-950": "big5",
    "x-windows-949": "euc_kr",
    "x-windows-950": "big5",
    "x-user-defined": WINDOWS_1252,
} | {f"win-{number}": f"cp{number}" for number in range(1250, 1259)}
NO_CHARSETS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
# UTF-7 is the only codec here that yields lone surrogates, which JSON cannot carry.
UTF_7 = "utf_7"
# Invalid UTF-7 is slow to decode, and the decoder cannot be interrupted.
MAX_UTF_7_BYTES = 1024 * 1024
# Five octets have no character in windows-1252; the Encoding Standard maps them to control characters.
WINDOWS_1252_CHARACTERS = "".join(
    chr(octet) if octet in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([octet]).decode(WINDOWS_1252)
    for octet in range(256)
)
# The end of UTF-8 text that was cut at an octet limit: an incomplete character, and possibly an ellipsis.
CUT_CHARACTER = re.compile(
    rb"([\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})((?:\xe2\x80\xa6|[ .()\[\]])*)\Z"
)
MAX_CUT_TAIL_BYTES = 16
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*+=\s*+[\"']?\s*+([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
# HTML §4.2.5.4: the declaration must be within the first 1024 octets.
MAX_META_BYTES = 1024


def normalize_label(label: str) -> str:
    """Return a label in lower case, with letters and digits only."""
    return "".join(c for c in label.lower() if c.isalnum())


def build_codecs() -> dict[str, str]:
    """Return the codec of each normalized label."""
    named = {**encodings.aliases.aliases, **{codec: codec for codec in encodings.aliases.aliases.values()}}
    named = {label: codec for label, codec in named.items() if codec not in NO_CHARSETS}
    labelled = {normalize_label(label): codec for label, codec in (named | MORE_LABELS).items()}
    for label, name in LABELS.items():
        # The encoding "replacement" exists for browsers only and has no codec.
        if codec := labelled.get(normalize_label(name)):
            labelled.setdefault(normalize_label(label), codec)
    return {label: SUPERSETS.get(codec, codec) for label, codec in labelled.items()}


CODECS = build_codecs()


@functools.lru_cache(1024)
def find_codec(label: str) -> str:
    """Return the codec for a label, "" if the label is unknown or does not define octets above 127."""
    codec = CODECS.get(normalize_label(label), "")
    return "" if codec == "ascii" else codec


def decode(octets: bytes, label: str = "") -> str:
    """Decode octets. Never fails, and never returns lone surrogates.

    If the label is missing, unknown or `us-ascii`, the octets are decoded as UTF-8, or as windows-1252 if they are not
    valid UTF-8. Octets that are invalid in the charset of the label are tried as UTF-8 before any is replaced.
    """
    codec = find_codec(label[:40])
    if not codec or is_mislabelled(octets, codec):
        return decode_utf_8_or_windows_1252(octets)
    if codec == WINDOWS_1252:
        return decode_windows_1252(octets)
    try:
        decoded = octets.decode(codec)
    except UnicodeDecodeError:
        return decode_mislabelled(octets, codec)
    if codec in japanese.CODECS:
        return japanese.convert_to_windows(decoded)
    return replace_surrogates(decoded) if codec == UTF_7 else decoded


def is_mislabelled(octets: bytes, codec: str) -> bool:
    """Return whether the label must be wrong: ASCII labelled UTF-16, or more UTF-7 than any program writes."""
    if codec == UTF_7:
        return len(octets) > MAX_UTF_7_BYTES
    return codec.startswith("utf_16") and b"\0" not in octets and octets.isascii()


def decode_header(octets: bytes, declared: str) -> str:
    """Decode the octets of a header field. A field has no label; RFC 6532 allows only UTF-8.

    Args:
        octets: The octets as received.
        declared: The charset that the message declares for its text. Old programs use it for header fields too.
    """
    with contextlib.suppress(UnicodeDecodeError):
        return octets.decode(UTF_8)
    codec = find_codec(declared[:40])
    is_old = codec not in ("", WINDOWS_1252) and not codec.startswith("utf_")
    if is_old and decode_cut_utf_8(octets).partition("\ufffd")[0].isascii():
        decoded = decode(octets, declared)
        if "\ufffd" not in decoded:
            return decoded
    return decode_utf_8_or_windows_1252(octets)


def find_html_label(octets: bytes) -> str:
    """Return the charset that an HTML document declares, "" if it is valid UTF-8 or has no declaration."""
    if found := META_CHARSET.search(octets, 0, MAX_META_BYTES):
        try:
            octets.decode(UTF_8)
        except UnicodeDecodeError:
            return found[1].decode("ascii")
    return ""


def decode_utf_8_or_windows_1252(octets: bytes) -> str:
    """Decode octets as UTF-8, also if it is cut at the end, or as windows-1252 if they are not UTF-8."""
    try:
        return octets.decode(UTF_8)
    except UnicodeDecodeError:
        return decode_cut_utf_8(octets) or decode_windows_1252(octets)


def decode_cut_utf_8(octets: bytes) -> str:
    """Return the text of UTF-8 octets that end inside a character, "" for other octets.

    A single octet above 127 after ASCII does not count: it is as likely to be a letter of windows-1252.
    """
    found = CUT_CHARACTER.search(octets, max(0, len(octets) - MAX_CUT_TAIL_BYTES))
    if not found:
        return ""
    try:
        before = octets[: found.start()].decode(UTF_8)
    except UnicodeDecodeError:
        return ""
    is_certain = len(found[1]) > 1 or not before.isascii()
    return f"{before}\ufffd{found[2].decode(UTF_8)}" if is_certain else ""


def decode_windows_1252(octets: bytes) -> str:
    """Decode windows-1252 as in the Encoding Standard, where every octet has a character."""
    return codecs.charmap_decode(octets, "strict", WINDOWS_1252_CHARACTERS)[0]


def decode_mislabelled(octets: bytes, codec: str) -> str:
    """Decode octets that are invalid in the codec of their label."""
    if codec == UTF_8:
        # If no part is valid UTF-8, the program writes another charset and labels all of its mail UTF-8.
        if octets.decode(UTF_8, "ignore").isascii():
            return decode_cut_utf_8(octets) or decode_windows_1252(octets)
        return octets.decode(UTF_8, "replace")
    # A seven-bit charset with its escape sequences would be valid UTF-8.
    if not octets.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            return octets.decode(UTF_8)
    if codec in japanese.CODECS:
        return japanese.convert_to_windows(japanese.decode_with_nec_rows(octets, codec))
    return replace_surrogates(octets.decode(codec, "replace"))


def replace_surrogates(decoded: str) -> str:
    """Replace lone surrogates by U+FFFD."""
    return decoded.encode("utf_16", "surrogatepass").decode("utf_16", "replace")
