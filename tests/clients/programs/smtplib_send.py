"""Sends one mail with smtplib, from Python's standard library."""

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from os import environ
from pathlib import Path

attachment = Path(environ["MAIL_ATTACHMENT"])

mail = EmailMessage()
mail["From"] = Address(environ["MAIL_FROM_NAME"], addr_spec=environ["MAIL_FROM"])
mail["To"] = environ["MAIL_TO"]
mail["Bcc"] = environ["MAIL_BCC"]
mail["Subject"] = environ["MAIL_SUBJECT"]
mail.set_content(environ["MAIL_TEXT"])
mail.add_alternative(environ["MAIL_HTML"], subtype="html")
mail.add_attachment(attachment.read_bytes(), maintype="application", subtype="pdf", filename=attachment.name)

with smtplib.SMTP(environ["SMTP_HOST"], int(environ["SMTP_PORT"])) as smtp:
    smtp.starttls(context=ssl.create_default_context(cafile=environ.get("SMTP_CA")))
    smtp.login(environ["SMTP_USER"], environ["SMTP_PASSWORD"])
    smtp.send_message(mail)
