"""An email as a recipient would see it, as a page that can do no harm: no script, nothing from the network."""

from flask import Response
from markupsafe import Markup

from smtpgw.sandbox.emails import Email

# The last word matters most: without it, opened alone, the page would have the sandbox's own origin.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
PAGE = Markup('<!DOCTYPE html><meta charset="utf-8"><title>{}</title><pre style="white-space:pre-wrap">{}</pre>')


def rendered(email: Email) -> Response:
    content = email.request()["content"]
    if content.get("html"):
        page = content["html"]
    else:
        page = PAGE.format(
            email.subject, content.get("text") or "The sandbox has no templates to show this email with."
        )
    answer = Response(page, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer
