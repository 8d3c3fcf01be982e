"""Sends one mail with Django's SMTP backend.

The backend has no setting for the authorities it trusts: it takes the system's, or those of SSL_CERT_FILE.
"""

from email.headerregistry import Address
from os import environ

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

settings.configure(
    EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
    EMAIL_HOST=environ["SMTP_HOST"],
    EMAIL_PORT=int(environ["SMTP_PORT"]),
    EMAIL_HOST_USER=environ["SMTP_USER"],
    EMAIL_HOST_PASSWORD=environ["SMTP_PASSWORD"],
    EMAIL_USE_TLS=True,
    EMAIL_TIMEOUT=60,
)

mail = EmailMultiAlternatives(
    subject=environ["MAIL_SUBJECT"],
    body=environ["MAIL_TEXT"],
    from_email=str(Address(environ["MAIL_FROM_NAME"], addr_spec=environ["MAIL_FROM"])),
    to=[environ["MAIL_TO"]],
    bcc=[environ["MAIL_BCC"]],
)
mail.attach_alternative(environ["MAIL_HTML"], "text/html")
mail.attach_file(environ["MAIL_ATTACHMENT"])
mail.send()
