"""What is to be read: several texts, alternatives, format=flowed, invitations; and what is refused."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.corpus.case import Case, not_accepted, not_carried, request
from tests.corpus.octets import mail, mail_of, multipart, part

ICS = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
TEXT, HTML = part("text/plain", "Hello"), part("text/html", "<p>Hello</p>")
PDF = part("application/pdf; name=a.pdf", "JVBERi0=", "Content-Transfer-Encoding: base64")
GIF = part("image/gif", "R0lGODlh", "Content-Transfer-Encoding: base64", "Content-ID: <i@x>")
PDF_ATTACHED = [("a.pdf", "pdf", b"%PDF-")]


def cases() -> Iterator[Case]:
    for name, raw, expected in [
        *single(),
        *several(),
        *alternatives(),
        *more_alternatives(),
        *others(),
        *flowed(),
        *refused(),
    ]:
        yield Case(f"bodies/{name}", raw, expected)


Made = Iterator[tuple[str, bytes, dict[str, Any]]]


def single() -> Made:
    yield "text", mail("Hello\r\n", "Content-Type: text/plain"), request("Test", "Hello\n")
    yield "html", mail("<p>Hello</p>", "Content-Type: text/html"), request("Test", None, "<p>Hello</p>")
    yield "none", mail(""), request("Test", " ")
    yield "none-html", mail("", "Content-Type: text/html"), request("Test", " ")
    yield "only-an-empty-line", mail("\r\n"), request("Test", "\n")
    yield "type-in-capitals", mail("<p>", "CONTENT-TYPE: TEXT/HTML; CHARSET=UTF-8"), request("Test", None, "<p>")
    yield "type-with-a-comment", mail("Hi", "Content-Type: text/plain (really); charset=utf-8"), request("Test", "Hi")
    yield "type-is-one-word", mail("Hi", "Content-Type: text"), request("Test", "Hi")
    yield "type-is-empty", mail("Hi", "Content-Type:"), request("Test", "Hi")
    yield "type-twice", mail("<p>", "Content-Type: text/html", "Content-Type: text/plain"), request("Test", None, "<p>")
    yield "markdown", mail("*Hi*", "Content-Type: text/markdown"), request("Test", "*Hi*")
    yield "unknown-kind-of-text", mail("Hi", "Content-Type: text/x-own"), request("Test", "Hi")
    yield "text-with-a-name", mail("Hi", "Content-Type: text/plain; name=body.txt"), request("Test", "Hi")
    yield "text-inline", mail("Hi", "Content-Disposition: inline; filename=body.txt"), request("Test", "Hi")
    raw = mail_of("mixed", TEXT, part("text/plain; name=a.csv", "a;b", "Content-Disposition: inline"))
    yield "text-that-is-csv-by-name", raw, request("Test", "Hello", attachments=[("a.csv", "csv", b"a;b")])
    yield (
        "whole-message-is-an-attached-text",
        mail("Hi", "Content-Disposition: attachment; filename=a.txt"),
        not_accepted("a.txt"),
    )


def several() -> Made:
    yield (
        "two-texts",
        mail_of("mixed", part("text/plain", "One"), part("text/plain", "Two\r\n"), part("text/plain", "Three")),
        request("Test", "One\nTwo\nThree"),
    )
    raw = mail_of("mixed", TEXT, PDF, part("text/plain", "Bye"))
    yield "text-pdf-text", raw, request("Test", "Hello\nBye", attachments=PDF_ATTACHED)
    yield (
        "text-then-html",
        mail_of("mixed", part("text/plain", "1 < 2\r\n& more"), HTML),
        request("Test", None, "<div>1 &lt; 2<br>\n&amp; more</div>\n<p>Hello</p>"),
    )
    yield (
        "two-htmls",
        mail_of("mixed", HTML, part("text/html", "<p>Bye</p>")),
        request("Test", None, "<p>Hello</p>\n<p>Bye</p>"),
    )
    yield (
        "attached-text-does-not-replace-the-body",
        mail_of("mixed", TEXT, part("text/plain; name=log.txt", "log", "Content-Disposition: attachment")),
        not_accepted("log.txt"),
    )
    yield (
        "attached-html-does-not-replace-the-body",
        mail_of("mixed", TEXT, part("text/html; name=log.html", "log", "Content-Disposition: attachment")),
        not_accepted("log.html"),
    )
    yield "empty-part-between", mail_of("mixed", TEXT, b"", part("text/plain", "Bye")), request("Test", "Hello\nBye")
    blank = part("text/plain", " \r\n\r\n")
    only_html = request("Test", None, "<p>Hello</p>")
    yield "blank-text-before-html", mail_of("mixed", blank, HTML), only_html
    yield "blank-text-after-html", mail_of("mixed", HTML, blank), only_html
    yield (
        "blank-text-after-alternative",
        mail_of("mixed", multipart("alternative", TEXT, HTML, boundary="b2"), PDF, blank),
        request("Test", "Hello", "<p>Hello</p>", attachments=PDF_ATTACHED),
    )
    yield "blank-texts-only", mail_of("mixed", blank, part("text/plain", "\r\n")), request("Test", "\n")
    yield "part-without-header", mail_of("mixed", b"\r\nHello"), request("Test", "Hello")
    yield "part-without-empty-line", mail_of("mixed", b"Hello Anna\r\nBye"), request("Test", "Hello Anna\nBye")
    yield "part-of-header-only", mail_of("mixed", b"Content-Type: text/plain", TEXT), request("Test", "Hello")
    yield (
        "digest-is-of-messages",
        mail_of("digest", b"\r\nSubject: x\r\n\r\nx"),
        not_carried("An attached message (message/rfc822)"),
    )
    yield "unknown-multipart", mail_of("x-own", TEXT, PDF), request("Test", "Hello", attachments=PDF_ATTACHED)


def alternatives() -> Made:
    both = request("Test", "Hello", "<p>Hello</p>")
    yield "alternative", mail_of("alternative", TEXT, HTML), both
    yield "alternative-html-first", mail_of("alternative", HTML, TEXT), both
    yield "alternative-of-one", mail_of("alternative", HTML), request("Test", None, "<p>Hello</p>")
    yield "alternative-of-two-texts", mail_of("alternative", part("text/plain", "?"), TEXT), request("Test", "Hello")
    yield (
        "alternative-empty-text",
        mail_of("alternative", part("text/plain", ""), HTML),
        request("Test", None, "<p>Hello</p>"),
    )
    for name, blank in [
        ("empty", b""),
        ("blank", part("text/plain", "\r\n \r\n")),
        ("html", part("text/html", "\r\n")),
    ]:
        yield f"alternative-{name}-last", mail_of("alternative", TEXT, HTML, blank), both
    yield "alternative-blank-text-only", mail_of("alternative", part("text/plain", " ")), request("Test", " ")
    yield (
        "alternative-in-mixed",
        mail_of("mixed", multipart("alternative", TEXT, HTML, boundary="b2"), PDF),
        request("Test", "Hello", "<p>Hello</p>", attachments=PDF_ATTACHED),
    )
    yield "alternative-amp", mail_of("alternative", TEXT, part("text/x-amp-html", "<html amp4email>"), HTML), both
    yield "alternative-watch-html", mail_of("alternative", TEXT, part("text/watch-html", "<b>Hello</b>"), HTML), both
    yield (
        "alternative-enriched",
        mail_of("alternative", TEXT, part("text/enriched", "<bold>Hello</bold>")),
        request("Test", "Hello"),
    )
    yield (
        "alternative-enriched-only",
        mail_of("alternative", part("text/enriched", "<bold>Hi</bold>")),
        request("Test", "<bold>Hi</bold>"),
    )
    yield (
        "alternative-related",
        mail_of("alternative", TEXT, multipart("related", HTML, GIF, boundary="b2")),
        not_accepted("without a name (image/gif)"),
    )
    yield (
        "alternative-with-a-pdf",
        mail_of("alternative", TEXT, PDF),
        request("Test", "Hello", attachments=PDF_ATTACHED),
    )


def more_alternatives() -> Made:
    mixed = multipart("mixed", HTML, PDF, part("text/html", "<p>Bye</p>"), boundary="b2")
    yield (
        "alternative-mixed",
        mail_of("alternative", TEXT, mixed),
        request("Test", "Hello", "<p>Hello</p>\n<p>Bye</p>", attachments=PDF_ATTACHED),
    )
    footer = part("text/html", "<p>Footer</p>")
    yield (
        "alternative-then-html-footer",
        mail_of("mixed", multipart("alternative", TEXT, HTML, boundary="b2"), footer),
        request("Test", None, "<p>Hello</p>\n<p>Footer</p>"),
    )


def others() -> Made:
    invitation = part("text/calendar; method=REQUEST; charset=utf-8", ICS)
    invited = request("Test", "Hello", attachments=[("invite.ics", "calendar", ICS)])
    yield "calendar-alternative", mail_of("alternative", TEXT, invitation), invited
    same = part("application/ics; name=invite.ics", base64.b64encode(ICS), "Content-Transfer-Encoding: base64")
    yield "calendar-twice", mail_of("mixed", multipart("alternative", TEXT, invitation, boundary="b2"), same), invited
    same = part("application/ics; name=invite.ics", base64.b64encode(ICS), "Content-Transfer-Encoding: base64")
    lf_only = part(
        "text/calendar; method=REQUEST",
        base64.b64encode(ICS.replace(b"\r\n", b"\n").strip()),
        "Content-Transfer-Encoding: base64",
    )
    raw = mail_of("mixed", multipart("alternative", TEXT, lf_only, boundary="b2"), same)
    yield "calendar-twice-with-other-line-ends", raw, invited
    other = part("application/ics; name=invite.ics", base64.b64encode(ICS + b"x"), "Content-Transfer-Encoding: base64")
    wanted = [("invite.ics", "calendar", ICS + b"x"), ("invite-2.ics", "calendar", ICS)]
    yield (
        "calendar-and-another",
        mail_of("mixed", multipart("alternative", TEXT, invitation, boundary="b2"), other),
        request("Test", "Hello", attachments=wanted),
    )
    named = part("text/calendar; method=REQUEST; name=meeting.ics", ICS)
    yield (
        "calendar-named",
        mail_of("alternative", TEXT, named),
        request("Test", "Hello", attachments=[("meeting.ics", "calendar", ICS)]),
    )
    yield (
        "calendar-whole-message",
        mail(ICS, "Content-Type: text/calendar; method=REQUEST"),
        request("Test", " ", attachments=[("invite.ics", "calendar", ICS)]),
    )
    yield (
        "csv-whole-message",
        mail("a;b\r\n", "Content-Type: text/csv"),
        request("Test", " ", attachments=[("attachment.csv", "csv", b"a;b\r\n")]),
    )


def flowed() -> Made:
    def text(body: str, parameters: str = "format=flowed") -> bytes:
        return mail(body.replace("\n", "\r\n"), f"Content-Type: text/plain; charset=utf-8; {parameters}")

    yield "flowed", text("One \ntwo \nthree\nfour\n"), request("Test", "One two three\nfour\n")
    yield "flowed-stuffed", text(" From here\n > not quoted\n"), request("Test", "From here\n> not quoted\n")
    yield (
        "flowed-quoted",
        text("> One \n> two\n>> deep \n>> er\nback\n"),
        request("Test", "> One two\n>> deep er\nback\n"),
    )
    yield "flowed-depth-changes", text("> One \ntwo\n"), request("Test", "> One \ntwo\n")
    yield "flowed-signature", text("Bye \n-- \nZoe\n"), request("Test", "Bye \n-- \nZoe\n")
    yield "flowed-signature-quoted", text("> -- \n> Zoe\n"), request("Test", "> -- \n> Zoe\n")
    yield "flowed-to-the-end", text("One \ntwo "), request("Test", "One two ")
    yield "flowed-delsp", text("日本 \n語 \nです\n", "format=flowed; delsp=yes"), request("Test", "日本語です\n")
    yield "flowed-in-capitals", text("One \ntwo\n", 'Format="Flowed"; DelSp="Yes"'), request("Test", "Onetwo\n")
    yield "fixed", text("One \ntwo\n", "format=fixed"), request("Test", "One \ntwo\n")
    html = mail("<p>One \r\ntwo</p>", "Content-Type: text/html; format=flowed")
    yield "flowed-html-is-not", html, request("Test", None, "<p>One \ntwo</p>")
    raw = mail(
        "One =20\r\ntwo\r\n", "Content-Type: text/plain; format=flowed", "Content-Transfer-Encoding: quoted-printable"
    )
    yield "flowed-quoted-printable", raw, request("Test", "One  two\n")


def refused() -> Made:
    signature = part("application/pkcs7-signature; name=smime.p7s", "x")
    yield "refused-signed", mail_of("signed", TEXT, signature), not_carried("A signed message (multipart/signed)")
    yield (
        "refused-signed-inside",
        mail_of("mixed", multipart("signed", TEXT, signature, boundary="b2"), part("text/plain", "footer")),
        not_carried("A signed message (multipart/signed)"),
    )
    yield (
        "refused-encrypted",
        mail_of("encrypted", part("application/pgp-encrypted", "Version: 1"), TEXT),
        not_carried("An encrypted message (multipart/encrypted)"),
    )
    yield (
        "refused-report",
        mail_of("report", TEXT, part("message/delivery-status", "x: y")),
        not_carried("A delivery report (multipart/report)"),
    )
    yield (
        "refused-mailgun-variables",
        mail_of("mailgun-variables", TEXT),
        not_carried("A part with Mailgun's variables (multipart/mailgun-variables)"),
    )
    for type_ in ("rfc822", "partial", "external-body", "global"):
        raw = mail_of("mixed", TEXT, part(f"message/{type_}", "Subject: x\r\n\r\nx"))
        yield f"refused-message-{type_}", raw, not_carried(f"An attached message (message/{type_})")
    yield (
        "refused-message-whole",
        mail("Subject: x\r\n\r\nx", "Content-Type: message/rfc822"),
        not_carried("An attached message (message/rfc822)"),
    )
    yield (
        "refused-tnef",
        mail("x", "Content-Type: application/vnd.ms-tnef"),
        not_carried("Outlook's winmail.dat (application/ms-tnef)"),
    )
    yield "refused-audio", mail_of("mixed", TEXT, part("audio/wav", "RIFF")), not_accepted("without a name (audio/wav)")
