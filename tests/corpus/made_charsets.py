"""Every charset the API's `encoding` has a name for, and those that mail is mislabelled with."""

import base64
from collections.abc import Iterator

from tests.corpus.case import Case, request
from tests.corpus.octets import mail, mail_of, part

RUSSIAN, JAPANESE, KOREAN = "Привет, мир!", "日本語のテスト、カタカナ", "한국어 시험"
# The name of the charset, Python's codec that writes it, a text that has its own letters.
KNOWN = [
    ("utf-8", "utf-8", "Grüße, Привет, 日本語, 🎉"),
    ("ascii", "ascii", "Plain old text."),
    ("big-5", "big5", "繁體中文測試"),
    ("cp51932", "euc_jp", JAPANESE),
    ("cp866", "cp866", RUSSIAN),
    ("cp936", "gbk", "简体中文测试，國"),
    ("euc-cn", "gb2312", "简体中文测试"),
    ("euc-jp", "euc_jp", JAPANESE),
    ("eucjp-win", "euc_jp", JAPANESE),
    ("euc-kr", "euc_kr", KOREAN),
    ("hz", "hz", "简体中文测试"),
    ("iso-2022-jp", "iso2022_jp", JAPANESE),
    ("iso-2022-jp-ms", "iso2022_jp", JAPANESE),
    ("iso-2022-kr", "iso2022_kr", KOREAN),
    ("iso-8859-1", "latin_1", "Grüße à la carte"),
    ("iso-8859-2", "iso8859_2", "Zażółć gęślą jaźń"),
    ("iso-8859-3", "iso8859_3", "Ĝis la revido, ŝafo"),
    ("iso-8859-4", "iso8859_4", "Ņemu žagatu, čigāns"),
    ("iso-8859-5", "iso8859_5", RUSSIAN),
    ("iso-8859-6", "iso8859_6", "مرحبا بالعالم"),
    ("iso-8859-7", "iso8859_7", "Καλημέρα κόσμε"),
    ("iso-8859-8", "iso8859_8", "שלום עולם"),
    ("iso-8859-9", "iso8859_9", "Türkçe ğüşiöç İı"),
    ("iso-8859-10", "iso8859_10", "Sámegiella čđŋ"),
    ("iso-8859-13", "iso8859_13", "Ąžuolas šnekučiuoja"),
    ("iso-8859-14", "iso8859_14", "Ŵyn ŷ ḃ"),
    ("iso-8859-15", "iso8859_15", "Œuvre à 5 €"),
    ("iso-8859-16", "iso8859_16", "România, știință, 5 €"),
    ("jis", "iso2022_jp", JAPANESE),
    ("koi8-r", "koi8_r", RUSSIAN),
    ("sjis", "shift_jis", JAPANESE),
    ("sjis-win", "cp932", "㈱テスト ①番"),
    ("uhc", "cp949", "똠방각하"),
    ("windows-1251", "cp1251", "Привет – “мир”"),
    ("windows-1252", "cp1252", "“Grüße” – 5 €"),
    # Not among the API's, and common.
    ("utf-16", "utf-16", "Grüße, Привет"),
    ("utf-7", "utf-7", "Grüße, Привет"),
    ("koi8-u", "koi8_u", "Їжак і ґанок"),
    ("windows-1250", "cp1250", "Zażółć „gęślą” jaźń"),
    ("windows-1253", "cp1253", "Καλημέρα – κόσμε"),
    ("windows-1254", "cp1254", "“Türkçe” ğüşiöç"),
    ("windows-1255", "cp1255", "שלום – עולם"),
    ("windows-1256", "cp1256", "مرحبا – بالعالم"),
    ("windows-1257", "cp1257", "“Ąžuolas” šnekučiuoja"),
    ("windows-1258", "cp1258", "Tiê\u0301ng Viê\u0323t"),
    ("windows-874", "cp874", "สวัสดีชาวโลก"),
    ("gb18030", "gb18030", "简体中文测试，𠮷"),
    ("gb2312", "gbk", "镕 is in no GB2312, and sent as such"),
    ("ks_c_5601-1987", "cp949", "똠방각하 is in no KS C 5601"),
    ("shift_jis", "cp932", "㈱ is in no JIS X 0208"),
    ("iso-2022-jp", "iso2022_jp_ext", "ﾊﾝｶｸ is in no ISO-2022-JP"),
]
# NEC's row 13 and its selection of IBM's kanji, which Python's codecs lack; the wave dash, as Windows reads it.
NEC_ROWS_SEEN = "～①㈱№髙～"
NEC_ROWS_EUC = b"\xa1\xc1\xad\xa1\xad\xea\xad\xe2\xfc\xe2\xa1\xc1"
NEC_ROWS_JIS = b"\x1b$B" + NEC_ROWS_EUC.translate(bytes(range(128)) * 2) + b"\x1b(B"
# Labels of the Encoding Standard that no alias of Python has, the codec that writes them, a text.
OF_THE_STANDARD = [
    ("windows-31j", "cp932", "㈱テスト ①番"),
    ("x-euc-jp", "euc_jp", JAPANESE),
    ("cn-big5", "big5", "繁體中文測試"),
    ("x-x-big5", "big5", "繁體中文測試"),
    ("ks_c_5601-1989", "cp949", "똠방각하"),
    ("windows-949", "cp949", "똠방각하"),
    ("iso-ir-149", "euc_kr", KOREAN),
    ("x-cp1250", "cp1250", "Zażółć „gęślą” jaźń"),
    ("x-cp1251", "cp1251", "Привет – “мир”"),
    ("x-cp1252", "cp1252", "“Grüße” – 5 €"),
    ("dos-874", "cp874", "สวัสดีชาวโลก"),
    ("koi", "koi8_r", RUSSIAN),
    ("koi8-ru", "koi8_u", "Їжак і ґанок"),
    ("sun_eu_greek", "iso8859_7", "Καλημέρα κόσμε"),
    ("logical", "iso8859_8", "שלום עולם"),
    ("csisolatin9", "iso8859_15", "Œuvre à 5 €"),
    ("x-mac-cyrillic", "mac_cyrillic", RUSSIAN),
    ("unicode", "utf-16-le", "Grüße, Привет"),
]
# What the label says, the octets, what its reader sees.
MISLABELLED = [
    ("nec-rows-iso-2022-jp", "iso-2022-jp", NEC_ROWS_JIS, NEC_ROWS_SEEN),
    ("nec-rows-euc-jp", "euc-jp", NEC_ROWS_EUC, NEC_ROWS_SEEN),
    ("nec-rows-cp51932", "cp51932", NEC_ROWS_EUC, NEC_ROWS_SEEN),
    ("nec-rows-cp50221", "cp50221", NEC_ROWS_JIS, NEC_ROWS_SEEN),
    ("nec-rows-and-nonsense", "euc-jp", b"\xad\xa1\xff\xa9\xa1\xad\xa2", "①\ufffd\ufffd②"),
    ("utf-16-that-is-ascii", "utf-16", b"Hello!", "Hello!"),
    ("no-charset-utf-8-cut-inside-a-character", "x-unknown", "Grüße €".encode()[:-1], "Grüße \ufffd"),
    ("no-charset-utf-8-cut-after-ascii", "x-unknown", "5 €".encode()[:-1], "5 \ufffd"),
    ("no-charset-windows-1252-at-the-end", "x-unknown", "IRMÃ".encode("cp1252"), "IRMÃ"),
    ("us-ascii-that-is-utf-8", "us-ascii", "Grüße".encode(), "Grüße"),
    ("us-ascii-that-is-windows-1252", "us-ascii", "“Grüße” – 5 €".encode("cp1252"), "“Grüße” – 5 €"),
    ("iso-8859-1-that-is-windows-1252", "iso-8859-1", "“Grüße” – 5 €".encode("cp1252"), "“Grüße” – 5 €"),
    ("latin1-that-is-windows-1252", "latin1", "don’t".encode("cp1252"), "don’t"),
    ("iso-8859-9-that-is-windows-1254", "iso-8859-9", "“ğ”".encode("cp1254"), "“ğ”"),
    ("utf-8-that-is-windows-1252", "utf-8", "“Grüße”".encode("cp1252"), "“Grüße”"),
    ("utf-8-cut-inside-a-character", "utf-8", "Grüße €".encode()[:-1], "Grüße \ufffd"),
    ("big5-that-is-utf-8", "big5", "测试 é".encode(), "测试 é"),
    ("unknown-charset-utf-8", "x-unknown", "Grüße".encode(), "Grüße"),
    ("unknown-charset-windows-1252", "x-unknown", "Grüße".encode("cp1252"), "Grüße"),
    ("charset-is-a-codec-but-no-charset", "zlib", "Grüße".encode(), "Grüße"),
    ("charset-of-the-api-nobody-reads", "armscii-8", b"Barev", "Barev"),
    ("windows-1252-octets-without-a-character", "windows-1252", b"a\x81b", "a\x81b"),
    ("utf-8-with-byte-order-mark", "utf-8", b"\xef\xbb\xbfHello", "Hello"),
    ("charset-in-quotes-and-capitals", '"UTF-8"', "Grüße".encode(), "Grüße"),
    ("charset-with-a-comment", "utf-8 (Unicode)", "Grüße".encode(), "Grüße"),
    ("charset-with-spaces-around-equals", " = utf-8", "Grüße".encode(), "Grüße"),
]


def cases() -> Iterator[Case]:
    for label, codec, text in [*KNOWN, *OF_THE_STANDARD]:
        written = text.encode(codec)
        body = base64.encodebytes(written).replace(b"\n", b"\r\n")
        fields = (f"Content-Type: text/plain; charset={label}", "Content-Transfer-Encoding: base64")
        name = label if (label, codec) != ("iso-2022-jp", "iso2022_jp_ext") else "iso-2022-jp-half-width"
        word = f"=?{label}?B?{base64.b64encode(written).decode()}?="
        yield Case(f"charsets/{name}", mail(body, *fields, subject=word), request(text, text))
    for name, label, written, text in MISLABELLED:
        equals = "" if "=" in label else "="
        fields = (f"Content-Type: text/plain; charset{equals}{label}", "Content-Transfer-Encoding: 8bit")
        yield Case(f"charsets/{name}", mail(written, *fields), request("Test", text))
    yield from without_label()


def without_label() -> Iterator[Case]:
    for codec in ("utf-8", "cp1252"):
        raw = mail("Grüße – 5 €".encode(codec))
        yield Case(f"charsets/no-content-type-{codec}", raw, request("Test", "Grüße – 5 €"))
        raw = mail("Grüße – 5 €".encode(codec), "Content-Type: text/plain")
        yield Case(f"charsets/no-charset-{codec}", raw, request("Test", "Grüße – 5 €"))
    page = f'<html><head><meta charset="shift_jis"></head><body>{JAPANESE}</body></html>'
    raw = mail(page.encode("shift_jis"), "Content-Type: text/html", "Content-Transfer-Encoding: 8bit")
    yield Case("charsets/html-meta-charset", raw, request("Test", None, page))
    raw = mail(page.encode(), "Content-Type: text/html", "Content-Transfer-Encoding: 8bit")
    yield Case("charsets/html-meta-charset-that-lies", raw, request("Test", None, page))
    raw = mail_of(
        "alternative",
        part("text/plain; charset=koi8-r", RUSSIAN.encode("koi8-r"), "Content-Transfer-Encoding: 8bit"),
        part("text/html; charset=utf-8", f"<p>{RUSSIAN}</p>", "Content-Transfer-Encoding: 8bit"),
    )
    yield Case("charsets/two-charsets-in-one-message", raw, request("Test", RUSSIAN, f"<p>{RUSSIAN}</p>"))
