"""The relays that applications come from: host, login, and the differences that no header shows."""

from dataclasses import dataclass, fields

from smtpgw.config.settings import Settings

DEFAULTS = {field.metadata["name"]: field.metadata["default"] for field in fields(Settings)}
MAX_RECIPIENTS = DEFAULTS["SMTPGW_MAX_RECIPIENTS"]


@dataclass(frozen=True)
class Relay:
    """Where an application sends today, and the differences that no header shows."""

    host: str
    ports: str
    user: str
    password: str
    traps: tuple[str, ...]


RELAYS = {
    "sendgrid": Relay(
        "`smtp.sendgrid.net`",
        "587, 2525, 25; 465 with TLS",
        "`apikey`",
        "an API key",
        (
            "Tracking follows a setting of the account at SendGrid. Here it is on unless a header or the map turns it"
            " off.",
            "SendGrid accepts an `X-SMTPAPI` that is not JSON and sends an email about it. Here the reply is 550.",
            "A list of recipients in `X-SMTPAPI to` does not replace the recipients of RCPT. A message has at most"
            f" {MAX_RECIPIENTS} of them; the others are answered `452`, after which a mail server sends the rest.",
        ),
    ),
    "mailgun": Relay(
        "`smtp.mailgun.org`, `smtp.eu.mailgun.org`",
        "587, 2525, 25; 465 with TLS",
        "`postmaster@your-domain`",
        "the domain's SMTP password",
        (
            "Tracking follows a setting of the domain at Mailgun. Here it is on unless a header or the map turns it"
            " off.",
            "At Mailgun the recipients of a message without recipient variables see each other. Here they never do.",
            "A batch with recipient variables has placeholders in its text and is refused. Merge in the application.",
            "Mailgun answers `250 Great success`. Here the reply contains the id of the email.",
        ),
    ),
    "mandrill": Relay(
        "`smtp.mandrillapp.com`",
        "587, 2525, 25; 465 with TLS",
        "anything, it is not checked",
        "an API key",
        (
            "Mandrill accepts every message and rejects some of them later, out of sight of SMTP. Here the reply says"
            " so. An application that ignores replies never saw these errors before.",
            "Without `X-MC-Track` a setting of the account decides at Mandrill. Here tracking is on unless the map"
            " turns it off.",
            "Mandrill's test keys have no counterpart. Use the sandbox (`python -m smtpgw sandbox`).",
        ),
    ),
    "ses": Relay(
        "`email-smtp.<region>.amazonaws.com`",
        "587, 2587, 25; 465, 2465 with TLS",
        "an SMTP user name made from an IAM user",
        "its SMTP password",
        (
            "SES also checks MAIL FROM, Sender and Return-Path. Here only From must be a confirmed sender, and"
            " `MAIL FROM:<>` is accepted.",
            "SES refuses a message for all recipients when one address is malformed. Here that address is refused at"
            " RCPT. When Cakemail refuses some recipients of a message, a non-delivery notice names them.",
            "Event destinations of a configuration set have no counterpart in a header: use Cakemail's webhooks.",
            "A connection may be idle for five minutes after the login; SES closes it after ten seconds or more.",
        ),
    ),
    "postmark": Relay(
        "`smtp.postmarkapp.com`, `smtp-broadcasts.postmarkapp.com`",
        "587, 2525, 25",
        "a server token, or an access key",
        "the same token, or its secret key",
        (
            "Tracking is off at Postmark until a header or the server's setting turns it on. Here it is on: set"
            " `tracking` in the [provider map](../provider-map.md), or send the headers.",
            "Postmark chooses the stream by host name. Here `X-PM-Message-Stream` chooses it, or"
            " `x-email-api-type: marketing`.",
            "Postmark accepts every message and reports errors as bounces. Here the reply reports them.",
            "AUTH is PLAIN or LOGIN, after STARTTLS; CRAM-MD5 and DIGEST-MD5 are not offered.",
        ),
    ),
    "sparkpost": Relay(
        "`smtp.sparkpostmail.com`, `smtp.eu.sparkpostmail.com`",
        "587, 2525",
        "`SMTP_Injection`",
        "an API key",
        (
            "A sub-account in the user name (`SMTP_Injection:X-MSYS-SUBACCOUNT=123`) becomes the header"
            " `x-account-id`.",
            "SparkPost adds List-Unsubscribe unless `options.transactional` is true. Cakemail adds an unsubscribe link"
            " to marketing mail.",
            "SparkPost's `options.sandbox` is no test mode: it sends real mail from another domain. Use the gateway's"
            " sandbox (`python -m smtpgw sandbox`).",
        ),
    ),
    "brevo": Relay(
        "`smtp-relay.brevo.com`, once `smtp-relay.sendinblue.com`",
        "587, 2525; 465 with TLS",
        "the SMTP login, an address",
        "an SMTP key",
        (
            "Brevo has no header for tracking. Here it is on unless the map turns it off; `x-track-opens`,"
            " `x-track-clicks-html` and `x-track-clicks-text` decide for one message.",
            "Brevo delivers `X-Mailin-custom` to the recipients. Here it is delivered only with `metadata_as_headers`.",
            "There is no list of allowed client addresses to maintain.",
        ),
    ),
    "resend": Relay(
        "`smtp.resend.com`",
        "587, 2587, 25; 465, 2465 with TLS",
        "`resend`",
        "an API key",
        (
            "Tracking follows a setting of the domain at Resend. Here it is on unless a header or the map turns it"
            " off.",
            "An idempotency key is remembered for an hour or two, not for 24 hours, and by one process of the gateway."
            " As at Resend, the same email with the same key is answered like the first and not sent again; another"
            " email with that key is refused with 550 5.6.0.",
            "Resend checks the sender's domain at MAIL FROM. The gateway checks the From address, after DATA.",
        ),
    ),
    "mailjet": Relay(
        "`in-v3.mailjet.com`",
        "587, 2525, 25; 465 with TLS",
        "an API key",
        "its secret key",
        (
            "Tracking follows a setting of the account at Mailjet. Here it is on unless a header or the map turns it"
            " off.",
        ),
    ),
    "cakemail": Relay(
        "`smtp.cakemail.dev`",
        "587; 465 with TLS",
        "the account's address",
        "the account's password",
        (
            "User name and password stay as they are. Accounts with multi-factor authentication use `apikey` and an"
            " access token.",
            "Without `x-sender-id` that relay takes the sender from MAIL FROM. Here From comes first.",
            f"A message that does not name its type is {DEFAULTS['SMTPGW_DEFAULT_TYPE']} here"
            " (`SMTPGW_DEFAULT_TYPE`); with `x-email-api-enabled: true` it is marketing, as with that relay.",
        ),
    ),
}
MAPS = """\
default:                                       # for every account
  tracking: {opens: false, clicks_html: false, clicks_text: false}  # of messages that do not say
  metadata_as_headers: false                   # true: also deliver it, as X-Metadata-<key>
12345:                                         # a Cakemail account, and what is different for it
  templates:                                   # provider → its template → Cakemail's
    sendgrid: {5997fcf6-2b9f-484d-acd5-7e9a99f0dc1f: 42}
  asm_groups: {7: 101}                         # SendGrid's unsubscribe group → list
  subaccounts: {cust-123: 67890}               # X-MC-Subaccount → account
  message_streams: {weekly-news: marketing}    # Postmark's stream → marketing or transactional
  ses_lists: {news: 101, news/weekly: 102}     # contact list, or list/topic → list
  strip_mandrill_bcc: true                     # send without the copy of X-MC-BccAddress, instead of refusing
"""
INTRODUCTION = """\
## What holds for every provider

- Host, port and credentials change. So does whatever Cakemail cannot do: read [Limitations](../limitations.md) first.
- A control header that Cakemail has a counterpart for keeps its meaning. Every control header is removed from the
  delivered mail.
- A control header that Cakemail cannot honour, and that changes what the recipient sees or when, is **refused** with a
  `550` that names it: placeholders in the text, sending at a later time, templates that the provider map does not know,
  copies to addresses that have no RCPT.
- A control header that only you would miss is **removed with a warning**. The message's log line has it in `lost`, and
  `smtpgw_dialect_headers_total` counts it.
- A header that turns on a test mode is honoured: the reply is 250 and names the header, and nothing is sent.
- Metadata is written to the message's log line, beside Cakemail's id of each email.
- Cakemail tracks opens and clicks unless a header or the [provider map](../provider-map.md) turns it off.
- A message is marketing when a control header says so, or when it has `List-Unsubscribe` and is not automatic
  (`Auto-Submitted`). `Precedence` and `List-Id` alone change nothing, because ticket systems and wikis write them.
  `SMTPGW_BULK_HEADERS` names the headers that count. `explain` and the log line name the one that did.
- Most Cakemail accounts require a list. The gateway names the one of `x-list-id`, or the account's oldest active list,
  and **Cakemail adds recipients that are not in that list to it as contacts**. Make a list for this purpose if whoever
  resets a password should not become a contact of your newsletter.
- Unsubscribes and other suppressions stay with the old provider. Import them into Cakemail before the first mail.
- Ids of templates, groups, streams and sub-accounts mean something else at Cakemail. The operator lists their
  counterparts in the [provider map](../provider-map.md).
"""
