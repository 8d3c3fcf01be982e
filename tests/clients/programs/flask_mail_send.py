"""Sends one mail with Flask-Mail.

Flask-Mail starts TLS, but has no way to verify the server's certificate.
"""

from os import environ
from pathlib import Path

from flask import Flask
from flask_mail import Mail, Message

app = Flask(__name__)
app.config.update(
    MAIL_SERVER=environ["SMTP_HOST"],
    MAIL_PORT=int(environ["SMTP_PORT"]),
    MAIL_USE_TLS=True,
    MAIL_USERNAME=environ["SMTP_USER"],
    MAIL_PASSWORD=environ["SMTP_PASSWORD"],
)

attachment = Path(environ["MAIL_ATTACHMENT"])
message = Message(
    subject=environ["MAIL_SUBJECT"],
    sender=(environ["MAIL_FROM_NAME"], environ["MAIL_FROM"]),
    recipients=[environ["MAIL_TO"]],
    bcc=[environ["MAIL_BCC"]],
    body=environ["MAIL_TEXT"],
    html=environ["MAIL_HTML"],
)
message.attach(attachment.name, "application/pdf", attachment.read_bytes())

with app.app_context():
    Mail(app).send(message)
