"""Encoded words: text outside ASCII in header fields (RFC 2047)."""

import base64
import binascii
import contextlib
import re

from smtpgw.message import charsets

# The encoded text has no "?" (RFC 2047 §2); spaces are none either, but common. RFC 2231 §5 adds "*language".
WORD = re.compile(r"=\?([^?*\s]{1,60})(?:\*[^?\s]{0,60})?\?([bBqQ])\?([^?\r\n]*)\?=")
# A value of nothing but encoded words, whatever these hold.
ONLY_WORDS = re.compile(r"(?:=\?[^?\s]{1,120}\?[bBqQ]\?[^?\r\n]*\?=\s*+)++")
# Whatever could end a line or a field, for us or for what comes after us.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
MAX_RUNS = 500  # of words in and outside ASCII, by turns; each run becomes encoded words of its own
MAX_WORD_BYTES = 45  # base64 makes 60 characters of them: with the frame, less than the 75 of RFC 2047 §2


def decode(value: str) -> str:
    """A header field's value as people read it: encoded words decoded, on one line, without control characters.

    Neighbouring words of one charset are put together before they are decoded, since many programs split them inside
    a character (against RFC 2047 §5).
    """
    return one_line(decode_words(value) if "=?" in value else value)


def decode_outer_encoding(value: str) -> str:
    """Return a structured value decoded if it is nothing but encoded words, which no parser could take apart."""
    return decode(value) if value.startswith("=?") and ONLY_WORDS.fullmatch(value) else value


def one_line(value: str) -> str:
    return value if value.isprintable() else CONTROLS.sub(" ", value).strip()


def decode_words(value: str) -> str:
    pieces: list[str] = []
    charset, octets = "", list[bytes]()
    end = 0
    for word in WORD.finditer(value):
        between = value[end : word.start()]
        # RFC 2047 §6.2: white space between two encoded words is no part of the text.
        if between.strip() or not end or word[1].lower() != charset:
            pieces.append(charsets.decode(b"".join(octets), charset))
            pieces.append(between if between.strip() or not end else "")
            charset, octets = word[1].lower(), []
        octets.append(decode_word(word[2], word[3]))
        end = word.end()
    pieces += (charsets.decode(b"".join(octets), charset), value[end:])
    return "".join(pieces)


def decode_word(encoding: str, encoded: str) -> bytes:
    raw = encoded.encode("utf-8")
    if encoding in "qQ":
        return binascii.a2b_qp(raw.replace(b" ", b"_").replace(b"==", b"=3D="), header=True)
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    return binascii.a2b_base64(clean[: len(clean) - (len(clean) % 4 == 1)] + b"==")


def escape_octets(value: str) -> str:
    """Return a field, given as Latin-1, with the octets above 127 inside its encoded words written as RFC 2047 wants.

    They are of the charset that the word names, whatever the rest of the field is; of UTF-8 where they can be.
    """
    return WORD.sub(lambda word: word[0] if word[0].isascii() else escape_word(word[1], word[2], word[3]), value)


def escape_word(charset: str, encoding: str, encoded: str) -> str:
    raw = encoded.encode("latin_1")
    if encoding in "bB":
        return f"=?{charset}?{encoding}?{raw.decode('ascii', 'ignore')}?="  # they are no base64
    with contextlib.suppress(UnicodeDecodeError):
        binascii.a2b_qp(raw, header=True).decode()
        charset = "utf-8"
    return f"=?{charset}?{encoding}?{''.join(c if c.isascii() else f'={ord(c):02X}' for c in encoded)}?="


def encode(value: str) -> str:
    """A value in ASCII: runs of words that are not become encoded words."""
    if value.isascii():
        return value
    words = decode(value).split(" ")  # a word encoded already would run into its new neighbour
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
    chunks = [b""]
    for character in text:
        octets = character.encode("utf-8")
        if len(chunks[-1]) + len(octets) > MAX_WORD_BYTES:
            chunks.append(b"")
        chunks[-1] += octets
    return " ".join(f"=?utf-8?B?{base64.b64encode(chunk).decode('ascii')}?=" for chunk in chunks)
