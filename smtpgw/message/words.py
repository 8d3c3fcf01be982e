"""Encoding and decoding of encoded words, which carry non-ASCII text in header fields (RFC 2047)."""

import base64
import binascii
import contextlib
import re

from smtpgw.message import charsets

# The encoded text has no "?" (RFC 2047 §2). Spaces are invalid too, but common. RFC 2231 §5 adds "*language".
WORD = re.compile(r"=\?([^?*\s]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?([^?\r\n]*)\?=")
# A value that consists of encoded words only.
ONLY_WORDS = re.compile(r"(?:=\?[^?\s]{1,120}\?[bBqQ]\?[^?\r\n]*\?=\s*+)++")
# Characters that could end a line or a field, here or in a later program.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Each run of non-ASCII words is encoded separately. A value with more runs is encoded as a whole.
MAX_RUNS = 500
# An encoded word has at most 75 characters (RFC 2047 §2). Base64 turns 45 octets into 60 characters.
MAX_WORD_BYTES = 45


def decode(value: str) -> str:
    """Return a field value for display: encoded words decoded, on one line, without control characters.

    Adjacent words of one charset are joined before they are decoded, because many programs split them inside a
    character (against RFC 2047 §5).
    """
    return replace_controls(decode_words(value) if "=?" in value else value)


def decode_outer_encoding(value: str) -> str:
    """Return a structured value, decoded if it consists of encoded words only and could not be parsed otherwise."""
    return decode(value) if value.startswith("=?") and ONLY_WORDS.fullmatch(value) else value


def replace_controls(value: str) -> str:
    """Return a value on one line. Each run of control characters becomes a space."""
    return value if value.isprintable() else CONTROLS.sub(" ", value).strip()


def decode_words(value: str) -> str:
    """Decode the encoded words in a value and keep the text between them."""
    pieces: list[str] = []
    charset, octets = "", list[bytes]()
    end = 0
    for word in WORD.finditer(value):
        between = value[end : word.start()]
        # RFC 2047 §6.2: white space between two encoded words is not part of the text.
        if between.strip() or not end or word[1].lower() != charset:
            pieces.append(charsets.decode(b"".join(octets), charset))
            pieces.append(between if between.strip() or not end else "")
            charset, octets = word[1].lower(), []
        octets.append(decode_word(word[2], word[3]))
        end = word.end()
    pieces += (charsets.decode(b"".join(octets), charset), value[end:])
    return "".join(pieces)


def decode_word(encoding: str, encoded: str) -> bytes:
    """Return the octets of the encoded text of a word."""
    raw = encoded.encode("utf-8")
    if encoding in "qQ":
        return binascii.a2b_qp(raw.replace(b" ", b"_").replace(b"==", b"=3D="), header=True)
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    return binascii.a2b_base64(clean[: len(clean) - (len(clean) % 4 == 1)] + b"==")


def escape_octets(value: str) -> str:
    """Return a field, passed as Latin-1, with the octets above 127 inside its encoded words encoded as in RFC 2047.

    These octets are in UTF-8 if they are valid UTF-8, otherwise in the charset that the word names.
    """
    return WORD.sub(lambda word: word[0] if word[0].isascii() else escape_word(word[1], word[2], word[3]), value)


def escape_word(charset: str, encoding: str, encoded: str) -> str:
    """Return an encoded word whose octets above 127, passed as Latin-1, are encoded."""
    raw = encoded.encode("latin_1")
    if encoding in "bB":
        # Octets above 127 are not base64 and are dropped.
        return f"=?{charset}?{encoding}?{raw.decode('ascii', 'ignore')}?="
    with contextlib.suppress(UnicodeDecodeError):
        binascii.a2b_qp(raw, header=True).decode()
        charset = "utf-8"
    return f"=?{charset}?{encoding}?{''.join(c if c.isascii() else f'={ord(c):02X}' for c in encoded)}?="


def encode(value: str) -> str:
    """Return a value in ASCII. Runs of words that are not ASCII become encoded words."""
    if value.isascii():
        return value
    # Existing encoded words are decoded first: they would be joined with a new word beside them.
    words = decode(value).split(" ")
    runs: list[list[str]] = []
    for word in words:
        if runs and not word.isascii() and not runs[-1][-1].isascii():
            runs[-1].append(word)
        else:
            runs.append([word])
    if len(runs) > MAX_RUNS:
        return encode_words(" ".join(words))
    return " ".join(run[0] if run[0].isascii() else encode_words(" ".join(run)) for run in runs)


def encode_words(text: str) -> str:
    """Return a text as encoded words, none of which ends inside a character."""
    chunks = [b""]
    for character in text:
        octets = character.encode("utf-8")
        if len(chunks[-1]) + len(octets) > MAX_WORD_BYTES:
            chunks.append(b"")
        chunks[-1] += octets
    return " ".join(f"=?utf-8?B?{base64.b64encode(chunk).decode('ascii')}?=" for chunk in chunks)
