"""Attachments: the nine types, names in every spelling (RFC 2183, 2231, 2047), and the types that are refused."""

import base64
import hashlib
from collections.abc import Iterator

from tests.corpus.case import Case, not_accepted, not_carried, request
from tests.corpus.octets import Octets, mail, mail_of, octets, part

PDF = b"%PDF-1.4\nhello\n%%EOF\n"
TEXT = part("text/plain; charset=utf-8", "Hello")
BASE64 = "Content-Transfer-Encoding: base64"

# File name, content type, the API's name and type.
TYPES = [
    ("a.csv", "text/csv", "a.csv", "csv"),
    ("a.doc", "application/msword", "a.doc", "doc"),
    ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx", "docx"),
    ("a.ics", "text/calendar", "a.ics", "calendar"),
    ("a.jpeg", "image/jpeg", "a.jpeg", "jpeg"),
    ("a.jpg", "image/jpeg", "a.jpeg", "jpeg"),
    ("a.pdf", "application/pdf", "a.pdf", "pdf"),
    ("a.png", "image/png", "a.png", "png"),
    ("a.xls", "application/vnd.ms-excel", "a.xls", "xls"),
    ("a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "a.xlsx", "xlsx"),
]
# Case, Content-Disposition of a PDF, the API's name.
NAMES: list[tuple[str, Octets, str]] = [
    ("plain", 'attachment; filename="report.pdf"', "report.pdf"),
    ("unquoted", "attachment; filename=report.pdf", "report.pdf"),
    ("unquoted-with-spaces", "attachment; filename=my report.pdf", "my_report.pdf"),
    ("inline", 'inline; filename="report.pdf"', "report.pdf"),
    ("unknown-disposition", 'x-other; filename="report.pdf"', "report.pdf"),
    ("spaces", 'attachment; filename="my  annual report.pdf"', "my_annual_report.pdf"),
    ("dots", 'attachment; filename="v1.2.final.pdf"', "v1_2_final.pdf"),
    ("brackets", 'attachment; filename="report (1).pdf"', "report_1_.pdf"),
    ("capitals", 'attachment; filename="REPORT.PDF"', "REPORT.pdf"),
    ("accents-eight-bit", 'attachment; filename="Résumé.pdf"', "Resume.pdf"),
    ("accents-latin-1", 'attachment; filename="Résumé.pdf"'.encode("latin_1"), "Resume.pdf"),
    ("accents-encoded-word", 'attachment; filename="=?utf-8?Q?R=C3=A9sum=C3=A9.pdf?="', "Resume.pdf"),
    ("accents-encoded-words", 'attachment; filename="=?utf-8?B?UsOpc3U=?= =?utf-8?B?bcOpLnBkZg==?="', "Resume.pdf"),
    ("umlauts", "attachment; filename*=utf-8''Gr%C3%B6%C3%9Fe.pdf", "Groesse.pdf"),
    ("umlauts-decomposed", 'attachment; filename="O\u0308l fu\u0308r A\u0308gypten.pdf"', "Oel_fuer_Aegypten.pdf"),
    ("letters-of-europe", 'attachment; filename="Smørrebrød Łódź Þing œuvre ıİ.pdf"',
     "Smoerrebroed_Lodz_Thing_oeuvre_iI.pdf"),
    ("encoded-as-a-whole", "=?utf-8?q?attachment=3B_filename=3D_=C3=9Cbersicht=2Epdf?=", "Uebersicht.pdf"),
    ("encoded-as-a-whole-b", "=?utf-8?b?YXR0YWNobWVudDsgZmlsZW5hbWU9IsOcYmVyc2ljaHQucGRmIg==?=", "Uebersicht.pdf"),
    ("encoded-as-a-whole-in-two-words", "=?utf-8?q?attachment=3B_filename=3D=22=C3?=\r\n"
     " =?utf-8?q?=9Cbersicht=2Epdf=22?=", "Uebersicht.pdf"),
    ("rfc-2231", "attachment; filename*=utf-8''R%C3%A9sum%C3%A9.pdf", "Resume.pdf"),
    ("rfc-2231-language", "attachment; filename*=utf-8'fr'R%C3%A9sum%C3%A9.pdf", "Resume.pdf"),
    ("rfc-2231-latin-1", "attachment; filename*=iso-8859-1''R%E9sum%E9.pdf", "Resume.pdf"),
    ("rfc-2231-koi8-r", "attachment; filename*=koi8-r''%F4%C5%D3%D4-17.pdf", "_-17.pdf"),
    ("rfc-2231-beats-plain", "attachment; filename=\"x.pdf\"; filename*=utf-8''R%C3%A9sum%C3%A9.pdf", "Resume.pdf"),
    ("rfc-2231-sections", 'attachment; filename*0="annual ";\r\n filename*1="report";\r\n'
     ' filename*2=".pdf"', "annual_report.pdf"),
    ("rfc-2231-sections-extended", "attachment;\r\n filename*0*=utf-8''R%C3%A9;\r\n filename*1*=sum%C3%A9;\r\n"
     ' filename*2=".pdf"', "Resume.pdf"),
    ("rfc-2231-sections-out-of-order", "attachment; filename*1=\"b.pdf\"; filename*0=\"a\"", "ab.pdf"),
    ("rfc-2231-sections-split-character", "attachment; filename*0*=utf-8''R%C3; "
     'filename*1*=%A9sum%C3%A9.pdf', "Resume.pdf"),
    ("rfc-2231-without-charset", "attachment; filename*=report.pdf", "report.pdf"),
    ("windows-path", r'attachment; filename="C:\Users\zoe\report.pdf"', "report.pdf"),
    ("unix-path", 'attachment; filename="../../etc/report.pdf"', "report.pdf"),
    ("escaped-quotes", r'attachment; filename="a \"b\" c.pdf"', "a_b_c.pdf"),
    ("semicolon-in-quotes", 'attachment; filename="a;b.pdf"', "a_b.pdf"),
    ("japanese", 'attachment; filename="報告書.pdf"', "attachment.pdf"),
    ("ligature", 'attachment; filename="\ufb01nal\u2460.pdf"', "final1.pdf"),
    ("emoji-only", 'attachment; filename="🎉.pdf"', "attachment.pdf"),
    ("extension-only", 'attachment; filename=".pdf"', "attachment.pdf"),
    ("none", "attachment", "attachment.pdf"),
    ("empty", 'attachment; filename=""', "attachment.pdf"),
    ("without-extension", 'attachment; filename="report"', "report.pdf"),
    ("extension-of-no-accepted-type", 'attachment; filename="report.v2"', "report_v2.pdf"),
    ("nul", b'attachment; filename="re\0port.pdf"', "re_port.pdf"),
    ("line-end-in-encoded-word", 'attachment; filename="=?utf-8?Q?a=0D=0Ab.pdf?="', "a_b.pdf"),
    ("of-300-letters", f'attachment; filename="{"a" * 300}.pdf"', "a" * 200 + ".pdf"),
    ("no-closing-quote", 'attachment; filename="report.pdf', "report.pdf"),
    ("parameter-without-value", 'attachment; foo; filename="report.pdf"', "report.pdf"),
    ("parameter-twice", "attachment; filename=a.pdf; filename=b.pdf", "a.pdf"),
]  # fmt: skip
# Case, Content-Type, Content-Disposition, the API's name.
TYPED_NAMES: list[tuple[str, Octets, Octets, str]] = [
    ("only-in-content-type", 'application/pdf; name="report.pdf"', "attachment", "report.pdf"),
    ("type-encoded-as-a-whole", "=?utf-8?q?application/pdf=3B_name=3D=22=C3=9Cbersicht=2Epdf=22?=", "",
     "Uebersicht.pdf"),
    ("no-disposition", 'application/pdf; name="report.pdf"', "", "report.pdf"),
    ("both-differ", 'application/pdf; name="a.pdf"', 'attachment; filename="b.pdf"', "b.pdf"),
    ("rfc-2231-in-content-type", "application/pdf; name*=utf-8''R%C3%A9sum%C3%A9.pdf", "attachment", "Resume.pdf"),
    ("extension-beats-content-type", "application/octet-stream", 'attachment; filename="report.pdf"', "report.pdf"),
    ("content-type-is-none", 'pdf; name="report.pdf"', "", "report.pdf"),
]  # fmt: skip
NOT_ACCEPTED = [
    ("txt", "text/plain", "notes.txt"),
    ("html", "text/html", "page.html"),
    ("zip", "application/zip", "files.zip"),
    ("gif", "image/gif", "dance.gif"),
    ("xml", "text/xml", "feed.xml"),
    ("json", "application/json", "data.json"),
    ("rtf", "application/rtf", "letter.rtf"),
    ("mp3", "audio/mpeg", "song.mp3"),
    ("eml-as-octets", "application/octet-stream", "mail.eml"),
    ("exe", "application/x-msdownload", "setup.exe"),
    ("xlsm", "application/vnd.ms-excel.sheet.macroenabled.12", "macros.xlsm"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", "slides.pptx"),
    ("vcf", "text/vcard", "zoe.vcf"),
    ("p7s", "application/pkcs7-signature", "smime.p7s"),
]


def attached(content_type: Octets, disposition: Octets, content: bytes = PDF) -> bytes:
    fields = [b"Content-Disposition: " + octets(disposition)] if disposition else []
    body = base64.encodebytes(content).strip().replace(b"\n", b"\r\n")
    return mail_of("mixed", TEXT, part(content_type, body, BASE64, *fields))


def cases() -> Iterator[Case]:
    for name, content_type, wanted, type_ in TYPES:
        # Octets that a wrong turn into text would change.
        content = hashlib.sha256(name.encode()).digest() * 9 + b"\r\n\n\r\0\x1a"
        raw = attached(content_type, f'attachment; filename="{name}"', content)
        expected = request("Test", "Hello", attachments=[(wanted, type_, content)])
        yield Case(f"attachments/type-{name.partition('.')[2]}", raw, expected)
        if (wanted, type_) != ("a.jpeg", "jpeg") or name == "a.jpg":
            base = "invite" if type_ == "calendar" else "attachment"
            expected = request("Test", "Hello", attachments=[(wanted.replace("a.", f"{base}."), type_, content)])
            yield Case(
                f"attachments/type-{name.partition('.')[2]}-unnamed",
                attached(content_type, "attachment", content),
                expected,
            )
    for name, content_type, disposition, wanted in [*((n, "application/pdf", d, w) for n, d, w in NAMES), *TYPED_NAMES]:
        expected = request("Test", "Hello", attachments=[(wanted, "pdf", PDF)])
        yield Case(f"attachments/name-{name}", attached(content_type, disposition), expected)
    for name, content_type, file_name in NOT_ACCEPTED:
        raw = attached(content_type, f'attachment; filename="{file_name}"', b"x")
        yield Case(f"attachments/refused-{name}", raw, not_accepted(file_name))
    yield from others()
    yield from several()


def others() -> Iterator[Case]:
    raw = attached("application/zip", "attachment", b"x")
    yield Case("attachments/refused-unnamed", raw, not_accepted("without a name (application/zip)"))
    raw = attached("text/plain", 'attachment; filename="Notizen für Zoë.txt"', b"x")
    yield Case("attachments/refused-name-outside-ascii", raw, not_accepted("Notizen fur Zoe.txt"))
    raw = attached("application/pdf", 'attachment; filename="a.pdf"', b"")
    yield Case("attachments/empty", raw, request("Test", "Hello", attachments=[("a.pdf", "pdf", b"")]))
    raw = attached("message/rfc822", "attachment", b"Subject: x\r\n\r\nx")
    yield Case("attachments/refused-message", raw, not_carried("An attached message (message/rfc822)"))
    raw = attached("application/x-pkcs7-mime", 'attachment; filename="smime.p7m"', b"x")
    yield Case("attachments/refused-smime", raw, not_carried("An S/MIME message (application/pkcs7-mime)"))
    for name, encoding, body in [
        ("7bit", "7bit", PDF.replace(b"\n", b"\r\n")),
        ("binary", "binary", bytes(range(256)).replace(b"\n", b"").replace(b"\r", b"")),
        ("none", "", PDF.replace(b"\n", b"\r\n")),
    ]:
        fields = ["Content-Disposition: attachment; filename=a.pdf"]
        fields += [f"Content-Transfer-Encoding: {encoding}"] if encoding else []
        raw = mail_of("mixed", TEXT, part("application/pdf", body, *fields))
        expected = request("Test", "Hello", attachments=[("a.pdf", "pdf", body)])
        yield Case(f"attachments/encoding-{name}", raw, expected)
    raw = mail_of(
        "mixed", TEXT, part("text/csv; name=a.csv", "a=3Bb=\r\n;c\r\n", "Content-Transfer-Encoding: quoted-printable")
    )
    expected = request("Test", "Hello", attachments=[("a.csv", "csv", b"a;b;c\r\n")])
    yield Case("attachments/encoding-quoted-printable", raw, expected)
    raw = mail(base64.b64encode(PDF), "Content-Type: application/pdf; name=a.pdf", BASE64)
    yield Case("attachments/whole-message", raw, request("Test", " ", attachments=[("a.pdf", "pdf", PDF)]))


def several() -> Iterator[Case]:
    def pdf(name: str, content: bytes) -> bytes:
        return part(
            "application/pdf", base64.b64encode(content), BASE64, f'Content-Disposition: attachment; filename="{name}"'
        )

    raw = mail_of("mixed", TEXT, pdf("a.pdf", b"1"), pdf("a.pdf", b"2"), pdf("A.PDF", b"3"), pdf("a-2.pdf", b"4"))
    wanted = [("a.pdf", "pdf", b"1"), ("a-2.pdf", "pdf", b"2"), ("A-3.pdf", "pdf", b"3"), ("a-2-2.pdf", "pdf", b"4")]
    yield Case("attachments/same-name-four-times", raw, request("Test", "Hello", attachments=wanted))
    raw = mail_of("mixed", TEXT, pdf("a b.pdf", b"1"), pdf("a?b.pdf", b"2"))
    wanted = [("a_b.pdf", "pdf", b"1"), ("a_b-2.pdf", "pdf", b"2")]
    yield Case("attachments/same-name-once-plain", raw, request("Test", "Hello", attachments=wanted))
    raw = mail_of("mixed", pdf("a.pdf", b"1"), TEXT, pdf("b.pdf", b"2"))
    wanted = [("a.pdf", "pdf", b"1"), ("b.pdf", "pdf", b"2")]
    yield Case("attachments/before-and-after-the-text", raw, request("Test", "Hello", attachments=wanted))
    raw = mail_of("mixed", TEXT, pdf("a.pdf", b"1"), part("application/zip; name=b.zip", "x"))
    yield Case("attachments/one-of-two-refused", raw, not_accepted("b.zip"))
