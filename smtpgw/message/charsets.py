"""Octets to text, whatever the charset claims to be.

Follows what mail readers do, which is the WHATWG Encoding Standard: labels of old charsets mean the larger ones that
Windows really wrote. Codecs come from a table made once; a client's label is never handed to Python's codec search,
which would import modules by that name and knows codecs that are no charsets.
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

# Labels that claim less than what is sent under them (WHATWG Encoding Standard §4.2, and §9 to §13 for the far east).
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
# Names that neither Python's table of aliases nor the Encoding Standard has: of codecs without an alias, of PHP's
# mbstring, of the API's `encoding`, of Java and of Windows.
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
UTF_7 = "utf_7"  # the one codec here that makes lone surrogates, which no JSON can carry
# Of mistakes UTF-7 is decoded slowly and in one go; mail that large was never written in it.
MAX_UTF_7_BYTES = 1024 * 1024
# Five octets have no character in windows-1252; the Encoding Standard leaves them the control characters they are.
WINDOWS_1252_CHARACTERS = "".join(
    chr(octet) if octet in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([octet]).decode(WINDOWS_1252)
    for octet in range(256)
)
# UTF-8 that a program cut at an octet limit: what is left of the last character, and an ellipsis after it.
CUT_CHARACTER = re.compile(
    rb"([\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})((?:\xe2\x80\xa6|[ .()\[\]])*)\Z"
)
MAX_CUT_TAIL_BYTES = 16
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*+=\s*+[\"']?\s*+([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
MAX_META_BYTES = 1024  # HTML §4.2.5.4: the declaration stands within these


def normalize_label(label: str) -> str:
    return "".join(c for c in label.lower() if c.isalnum())


def build_codecs() -> dict[str, str]:
    named = {**encodings.aliases.aliases, **{codec: codec for codec in encodings.aliases.aliases.values()}}
    named = {label: codec for label, codec in named.items() if codec not in NO_CHARSETS}
    labelled = {normalize_label(label): codec for label, codec in (named | MORE_LABELS).items()}
    for label, name in LABELS.items():
        if codec := labelled.get(normalize_label(name)):  # none for "replacement", which is for browsers
            labelled.setdefault(normalize_label(label), codec)
    return {label: SUPERSETS.get(codec, codec) for label, codec in labelled.items()}


CODECS = build_codecs()


@functools.lru_cache(1024)
def find_codec(label: str) -> str:
    """The codec for a label, "" for one that says nothing about octets above 127."""
    codec = CODECS.get(normalize_label(label), "")
    return "" if codec == "ascii" else codec


def decode(octets: bytes, label: str = "") -> str:
    """Decode `octets` as the charset `label`; never fails, and makes no lone surrogates.

    Where the label is missing, unknown or `us-ascii`, octets above 127 are UTF-8 if they can be, else windows-1252.
    Octets that a known charset cannot have written are tried as UTF-8 before any is lost.
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
    """Whether octets are sure to be something else: ASCII that is called UTF-16, megabytes of UTF-7."""
    if codec == UTF_7:
        return len(octets) > MAX_UTF_7_BYTES
    return codec.startswith("utf_16") and b"\0" not in octets and octets.isascii()


def decode_header(octets: bytes, declared: str) -> str:
    """Decode the octets of a header field, which has no label of its own: RFC 6532 allows UTF-8 and nothing else.

    Args:
        octets: as they came.
        declared: the charset that the message declares for its text. Old programs use it for their header fields, too.
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
    """The charset that an HTML document without a label declares in itself, "" for UTF-8 and where it does not say."""
    if found := META_CHARSET.search(octets, 0, MAX_META_BYTES):
        try:
            octets.decode(UTF_8)
        except UnicodeDecodeError:
            return found[1].decode("ascii")
    return ""


def decode_utf_8_or_windows_1252(octets: bytes) -> str:
    try:
        return octets.decode(UTF_8)
    except UnicodeDecodeError:
        return decode_cut_utf_8(octets) or decode_windows_1252(octets)


def decode_cut_utf_8(octets: bytes) -> str:
    """Return the text of UTF-8 that ends inside a character, "" for what is none.

    A single octet after ASCII is none: it is as likely a letter of windows-1252.
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
    return codecs.charmap_decode(octets, "strict", WINDOWS_1252_CHARACTERS)[0]


def decode_mislabelled(octets: bytes, codec: str) -> str:
    """Text of octets that are not what they are said to be."""
    if codec == UTF_8:
        # Where none of it is UTF-8, the program writes another charset and puts the same label on all of its mail.
        if octets.decode(UTF_8, "ignore").isascii():
            return decode_cut_utf_8(octets) or decode_windows_1252(octets)
        return octets.decode(UTF_8, "replace")
    if not octets.isascii():  # charsets of seven bits would pass for UTF-8, escape sequences and all
        with contextlib.suppress(UnicodeDecodeError):
            return octets.decode(UTF_8)
    if codec in japanese.CODECS:
        return japanese.convert_to_windows(japanese.decode_with_nec_rows(octets, codec))
    return replace_surrogates(octets.decode(codec, "replace"))


def replace_surrogates(decoded: str) -> str:
    return decoded.encode("utf_16", "surrogatepass").decode("utf_16", "replace")
