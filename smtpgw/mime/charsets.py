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
# Names that Python's table of aliases has not: of codecs it has none for, of PHP's mbstring, of the API's `encoding`.
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
    "eucjp-win": "euc_jp",
    "iso-2022-jp-ms": "iso2022_jp",
    "jis": "iso2022_jp",
    "sjis-win": "shift_jis",
    "x-sjis": "shift_jis",
    "x-gbk": "gbk",
    "x-mac-roman": "mac_roman",
    "x-user-defined": WINDOWS_1252,
    "unicode-1-1-utf-8": UTF_8,
}
NO_CHARSETS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
UTF_7 = "utf_7"  # the one codec here that makes lone surrogates, which no JSON can carry
# Five octets have no character in windows-1252; the Encoding Standard leaves them the control characters they are.
WINDOWS_1252_CHARACTERS = "".join(
    chr(octet) if octet in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([octet]).decode(WINDOWS_1252)
    for octet in range(256)
)
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
META_BYTES = 1024  # HTML §4.2.5.4: the declaration stands within these


def plain_label(label: str) -> str:
    return "".join(c for c in label.lower() if c.isalnum())


def codecs_by_label() -> dict[str, str]:
    named = {**encodings.aliases.aliases, **{codec: codec for codec in encodings.aliases.aliases.values()}}
    named = {label: codec for label, codec in named.items() if codec not in NO_CHARSETS}
    labelled = {plain_label(label): codec for label, codec in (named | MORE_LABELS).items()}
    return {label: SUPERSETS.get(codec, codec) for label, codec in labelled.items()}


CODECS = codecs_by_label()


@functools.lru_cache(1024)
def codec_of(label: str) -> str:
    """The codec for a label, "" for one that says nothing about octets above 127."""
    codec = CODECS.get(plain_label(label), "")
    return "" if codec == "ascii" else codec


def text(octets: bytes, label: str = "") -> str:
    """Decode `octets` as the charset `label`; never fails, and makes no lone surrogates.

    Where the label is missing, unknown or `us-ascii`, octets above 127 are UTF-8 if they can be, else windows-1252.
    Octets that a known charset cannot have written are tried as UTF-8 before any is lost.
    """
    codec = codec_of(label[:40])
    if not codec:
        return utf_8_or_windows_1252(octets)
    if codec == WINDOWS_1252:
        return windows_1252(octets)
    try:
        decoded = octets.decode(codec)
    except UnicodeDecodeError:
        return mistaken(octets, codec)
    return without_surrogates(decoded) if codec == UTF_7 else decoded


def html_label(octets: bytes) -> str:
    """The charset that an HTML document without a label declares in itself, "" for UTF-8 and where it does not say."""
    if found := META_CHARSET.search(octets, 0, META_BYTES):
        try:
            octets.decode(UTF_8)
        except UnicodeDecodeError:
            return found[1].decode("ascii")
    return ""


def utf_8_or_windows_1252(octets: bytes) -> str:
    try:
        return octets.decode(UTF_8)
    except UnicodeDecodeError:
        return windows_1252(octets)


def windows_1252(octets: bytes) -> str:
    return codecs.charmap_decode(octets, "strict", WINDOWS_1252_CHARACTERS)[0]


def mistaken(octets: bytes, codec: str) -> str:
    """Text of octets that are not what they are said to be."""
    if codec == UTF_8:
        # Where none of it is UTF-8, the program writes another charset and puts the same label on all of its mail.
        if octets.decode(UTF_8, "ignore").isascii():
            return windows_1252(octets)
        return octets.decode(UTF_8, "replace")
    if not octets.isascii():  # charsets of seven bits would pass for UTF-8, escape sequences and all
        with contextlib.suppress(UnicodeDecodeError):
            return octets.decode(UTF_8)
    return without_surrogates(octets.decode(codec, "replace"))


def without_surrogates(decoded: str) -> str:
    return decoded.encode("utf_16", "surrogatepass").decode("utf_16", "replace")
