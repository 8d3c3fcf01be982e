"""The one mail that every client sends, as the clients need it: words, an attachment, and the whole as a message.

Everything in it is there to go wrong somewhere: umlauts in the display name and the file name, an emoji in the subject,
a line that begins with a dot (RFC 5321 §4.5.2), an attachment of many lines.
"""

import random
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from tests.support.gateway import SENDER as FROM

FROM_NAME = "Zoë Müller"
SUBJECT = "Grüße aus Köln 🎉"
TEXT = "Grüße aus Köln,\n\nhier ist der Überblick.\n.Diese Zeile beginnt mit einem Punkt.\n\nZoë\n"
HTML = "<html><body><p>Grüße aus <b>Köln</b>,</p>\n<p>hier ist der Überblick.</p></body></html>\n"
FILENAME = "Überblick 2026.pdf"


def pdf(filler_bytes: int = 40_000) -> bytes:
    """A page of PDF (ISO 32000-1 §7.5), with an unused stream of `filler_bytes` octets, the same at each call."""
    words = b"BT /F1 24 Tf 72 760 Td (\xdcberblick 2026) Tj ET"
    filler = random.Random(2026).randbytes(filler_bytes)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
        b" /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(words), words),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(filler), filler),
    ]
    file, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(file))
    return file + b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table) + trailer


def message(to: str, bcc: str) -> EmailMessage:
    """The mail for clients that carry a finished one. It still has its Bcc field."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(FROM_NAME, addr_spec=FROM)
    mail["To"] = to
    mail["Bcc"] = bcc
    mail["Subject"] = SUBJECT
    mail.set_content(TEXT)
    mail.add_alternative(HTML, subtype="html")
    mail.add_attachment(pdf(), maintype="application", subtype="pdf", filename=FILENAME)
    return mail


def environment(folder: Path, to: str, bcc: str) -> dict[str, str]:
    """The mail as the variables that the client programs read; its files are written to `folder`."""
    attachment, file = folder / FILENAME, folder / "mail.eml"
    attachment.write_bytes(pdf())
    file.write_bytes(message(to, bcc).as_bytes())
    return {
        "MAIL_FROM_NAME": FROM_NAME,
        "MAIL_FROM": FROM,
        "MAIL_TO": to,
        "MAIL_BCC": bcc,
        "MAIL_SUBJECT": SUBJECT,
        "MAIL_TEXT": TEXT,
        "MAIL_HTML": HTML,
        "MAIL_ATTACHMENT": str(attachment),
        "MAIL_FILE": str(file),
    }
