"""Tests of charsets: every label of the Encoding Standard, characters that Python's codecs lack, and the cost.

Messages in each charset are in the corpus (`charsets/`, `subjects/`).
"""

import time

import pytest
from webencodings.labels import LABELS

from smtpgw.message import charsets, japanese, words

NO_CODEC = {"iso-2022-cn", "iso-2022-cn-ext", "replacement"}  # Python has none; browsers refuse them as well


@pytest.mark.parametrize("label", sorted(LABELS.keys() - NO_CODEC))
def test_each_label_of_the_encoding_standard_is_known(label: str) -> None:
    assert charsets.normalize_label(label) in charsets.CODECS


def test_labels_of_one_charset_mean_one_codec() -> None:
    exceptions = {"ascii", "us-ascii", "big5-hkscs", "utf-16", "ansi_x3.4-1968", "iso-ir-6"}
    for label, name in LABELS.items():
        if name not in ("replacement", "utf-16le", "x-user-defined") and label not in exceptions | NO_CODEC:
            assert charsets.find_codec(label) == charsets.find_codec(name), label


def test_the_rows_that_nec_had_are_those_of_cp932() -> None:
    """CP932 has them twice: at NEC's position, which Python decodes, and at IBM's, which it encodes."""
    for octets, character in japanese.characters_by_octets(0xA0).items():
        if character:
            assert charsets.decode(octets, "euc-jp") == character
            seven_bits = bytes(octet - 0x80 for octet in octets)
            assert charsets.decode(b"\x1b$B" + seven_bits + b"\x1b(B", "iso-2022-jp") == character
    assert charsets.decode(b"\xad\xa1\xad\xb5\xad\xe2\xad\xea\xad\xdf", "euc-jp") == "①Ⅰ№㈱㍻"


def test_octets_without_a_character_leave_their_neighbours_alone() -> None:
    assert charsets.decode(b"\xa9\xa1\xad\xa1\xff\xb0\xa1\xa9", "euc-jp") == "\ufffd①\ufffd亜\ufffd"
    assert charsets.decode(b"\x1b$B\x29\x21\x2d\x21\x30\x21\x1b(B.\x1b$B\x2d", "iso-2022-jp") == "\ufffd①亜.\ufffd"


def test_a_text_of_too_many_is_decoded_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(japanese, "MAX_REPAIRS", 3)
    assert charsets.decode(b"\xad\xa1" * 3, "euc-jp") == "①" * 3
    assert charsets.decode(b"\xad\xa1" * 4 + b"\n\xb0\xa1", "euc-jp").endswith("亜")
    assert "①" not in charsets.decode(b"\xad\xa1" * 4, "euc-jp")
    assert charsets.decode(b"\xad\xa1" * 3, "euc-jp") == "①" * 3


def test_megabytes_of_utf_7_are_left_as_they_are() -> None:
    assert charsets.decode(b"+AOQ- ", "utf-7") == "ä "
    assert charsets.decode(b"+AOQ- " * 200_000, "utf-7") == "+AOQ- " * 200_000


@pytest.mark.parametrize("label", ["euc-jp", "iso-2022-jp", "utf-8", "utf-16", "utf-7", "hz", "x-unknown", ""])
@pytest.mark.parametrize(
    "piece",
    [b"\xad\xa1a", b"\xad", b"\xc3", b"\xe2\x82", b"\xe2\x80\xa6", b"\x1b$B\x2d\x21", b"\x1b", b"a\xf0\x9f\x8e..."],
)
def test_time_grows_with_the_size(label: str, piece: bytes) -> None:
    """An input eight times as long would take 64 times as long if the cost were quadratic."""
    small = spent(piece * (100_000 // len(piece)), label)
    large = spent(piece * (800_000 // len(piece)), label)
    assert large < 30 * small + 0.1


def spent(octets: bytes, label: str) -> float:
    begun = time.process_time()
    charsets.decode(octets, label)
    charsets.decode_header(octets, label)
    return time.process_time() - begun


@pytest.mark.parametrize(
    "piece", ["=?a?q?\xe4", "=?", "=?a?q?\xe4?=", "=?a*b?q?", "\xe4", "=?a?q?" + "=" * 50 + "\xe4?= "]
)
def test_escaping_takes_no_more_than_its_share(piece: str) -> None:
    value = piece * (256 * 1024 // len(piece))
    begun = time.process_time()
    words.escape_octets(value)
    words.decode_outer_encoding(value)
    assert time.process_time() - begun < 2
