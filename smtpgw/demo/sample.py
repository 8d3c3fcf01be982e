"""The sample mail of the demo: a receipt with text, HTML and a PDF."""

from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

# The message has CRLF and only ASCII, so that any server accepts it as it is.
POLICY = policy.SMTP.clone(cte_type="7bit")

SUBJECT = "Your receipt, votre reçu"

TEXT = """\
Hello,

thank you for your order. Your receipt is attached.

Merci de votre commande. Votre reçu est en pièce jointe.
"""

HTML = """\
<!doctype html>
<html>
  <body style="font-family: sans-serif">
    <h1>Thank you for your order</h1>
    <p>Your receipt is attached. <em>Votre reçu est en pièce jointe.</em></p>
    <p><a href="https://www.cakemail.com/">cakemail.com</a></p>
  </body>
</html>
"""


def sample_message(sender: str, recipient: str) -> bytes:
    """Return the message (RFC 5322) with these addresses."""
    message = EmailMessage(POLICY)
    message["From"] = f"Demo <{sender}>"
    message["To"] = recipient
    message["Subject"] = SUBJECT
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["X-Tags"] = "demo,receipt"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    message.add_attachment(small_pdf("Receipt no. 1"), maintype="application", subtype="pdf", filename="receipt.pdf")
    return message.as_bytes()


def small_pdf(line: str) -> bytes:
    """Return a PDF of one page with one line of ASCII: header, body, cross-reference, trailer (ISO 32000-1 §7.5)."""
    page = f"BT /F1 24 Tf 72 720 Td ({line}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R"
        " /Resources << /Font << /F1 4 0 R >> >> >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Length {len(page)} >>\nstream\n{page}\nendstream",
    ]
    body, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    trailer = f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {count}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")
