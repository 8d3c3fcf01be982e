"""Where applications send today, how they log in there, and what they meet here that no header tells."""

from dataclasses import dataclass, fields

from smtpgw.settings import Settings

DEFAULTS = {field.metadata["name"]: field.metadata["default"] for field in fields(Settings)}
MOST_RECIPIENTS = DEFAULTS["SMTPGW_MAX_RECIPIENTS"]


@dataclass(frozen=True)
class Relay:
    """Where an application sends today, and what it will meet here that no header tells."""

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
            "Tracking follows a setting of the account at SendGrid. Here it is on, where no header and no map says no.",
            "SendGrid takes an `X-SMTPAPI` that is not JSON, and writes you a mail about it. Here the"
            " client hears 550.",
            "A list of recipients in `X-SMTPAPI to` does not replace those of RCPT; a message has at most"
            f" {MOST_RECIPIENTS} of them, and the others get `452`, after which mail servers send the rest.",
        ),
    ),
    "mailgun": Relay(
        "`smtp.mailgun.org`, `smtp.eu.mailgun.org`",
        "587, 2525, 25; 465 with TLS",
        "`postmaster@your-domain`",
        "the domain's SMTP password",
        (
            "Tracking follows a setting of the domain at Mailgun. Here it is on, where no header and no map says no.",
            "At Mailgun all recipients of a message without recipient variables see each other. Here nobody does.",
            "A batch with recipient variables has placeholders in its text, and is refused: merge in the application.",
            "Mailgun answers `250 Great success`; here the reply has the id of the mail.",
        ),
    ),
    "mandrill": Relay(
        "`smtp.mandrillapp.com`",
        "587, 2525, 25; 465 with TLS",
        "anything, it is not checked",
        "an API key",
        (
            "Mandrill takes every mail and rejects some later, where SMTP does not show it. Here the reply says it:"
            " an application that does not look at replies never saw an error before.",
            "Without `X-MC-Track` a setting of the account decides at Mandrill. Here tracking is on, where no map says"
            " no.",
            "Mandrill's test keys have no counterpart: use the sandbox (`python -m smtpgw sandbox`).",
        ),
    ),
    "ses": Relay(
        "`email-smtp.<region>.amazonaws.com`",
        "587, 2587, 25; 465, 2465 with TLS",
        "an SMTP user name made from an IAM user",
        "its SMTP password",
        (
            "SES checks MAIL FROM, Sender and Return-Path too. Here From alone must be a confirmed sender, and"
            " `MAIL FROM:<>` is taken.",
            "SES refuses a message for all its recipients when one is malformed. Here that one is refused at RCPT, and"
            " of those that Cakemail refuses the sender is told by mail.",
            "Event destinations of a configuration set have no counterpart in a header: use Cakemail's webhooks.",
            "A connection may be idle for five minutes; SES closes it after ten seconds or more.",
        ),
    ),
    "postmark": Relay(
        "`smtp.postmarkapp.com`, `smtp-broadcasts.postmarkapp.com`",
        "587, 2525, 25",
        "a server token, or an access key",
        "the same token, or its secret key",
        (
            "Tracking is off at Postmark until a header or the server's setting turns it on. Here it is on: set"
            " `tracking` in the maps, or send the headers.",
            "The host name chooses the stream there. Here it is `X-PM-Message-Stream`, or"
            " `x-email-api-type: marketing`.",
            "Postmark takes every mail and tells of errors as bounces. Here the reply says it.",
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
            "SparkPost adds List-Unsubscribe unless `options.transactional` is true. Cakemail does for marketing mail.",
            "`options.sandbox` is no test mode there, but real mail from another domain: use the gateway's sandbox.",
        ),
    ),
    "brevo": Relay(
        "`smtp-relay.brevo.com`, once `smtp-relay.sendinblue.com`",
        "587, 2525; 465 with TLS",
        "the SMTP login, an address",
        "an SMTP key",
        (
            "Brevo has no header for tracking. Here it is on, where no map says no; `x-track-opens`,"
            " `x-track-clicks-html` and `x-track-clicks-text` decide for a mail.",
            "`X-Mailin-custom` reaches the recipients at Brevo. Here it does only with `metadata_as_headers`.",
            "There is no list of allowed client addresses to keep.",
        ),
    ),
    "resend": Relay(
        "`smtp.resend.com`",
        "587, 2587, 25; 465, 2465 with TLS",
        "`resend`",
        "an API key",
        (
            "Tracking follows a setting of the domain at Resend. Here it is on, where no header and no map says no.",
            "An idempotency key counts for an hour here, not for 24, and within one process of the gateway. As there,"
            " the same email under it is answered as the first time and not sent; another one is refused, 550 5.6.0.",
            "Resend checks the domain of the sender at MAIL FROM, the gateway after DATA, and the address.",
        ),
    ),
    "mailjet": Relay(
        "`in-v3.mailjet.com`",
        "587, 2525, 25; 465 with TLS",
        "an API key",
        "its secret key",
        ("Tracking follows a setting of the account at Mailjet. Here it is on, where no header and no map says no.",),
    ),
    "cakemail": Relay(
        "`smtp.cakemail.dev`",
        "587; 465 with TLS",
        "the account's address",
        "the account's password",
        (
            "User and password stay as they are; accounts with multi-factor authentication use `apikey` and a token.",
            "That relay takes the sender of MAIL FROM where there is no `x-sender-id`. Here From comes first.",
            f"A message that says nothing of its type is {DEFAULTS['SMTPGW_DEFAULT_TYPE']} here"
            " (`SMTPGW_DEFAULT_TYPE`), and with `x-email-api-enabled: true` marketing, as there.",
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
INTRODUCTION = f"""\
Whatever you come from:

- `python -m smtpgw explain mail.eml` tells what becomes of a mail of yours, header by header, before anything is sent.
- What Cakemail cannot do and cannot be left out is **refused**, with a `550` that names it: placeholders that a
  recipient would read, later sending, templates nobody has mapped, copies to addresses that have no RCPT. What you may
  miss is **removed with a warning**: in the message's log line as `lost`, and counted in
  `smtpgw_dialect_headers_total`.
- Metadata is written to the gateway's log beside Cakemail's id.
- Cakemail tracks opens and clicks unless it is told otherwise.
- A message is marketing when it says so, or has `List-Unsubscribe` and is not automatic (`Auto-Submitted`).
  `Precedence` and `List-Id` alone change nothing, since ticket systems and wikis write them. `SMTPGW_BULK_HEADERS` says
  which headers count; `explain` and the message's log line name the one that did.
- Unsubscribes and other suppressions stay at the old relay: import them into Cakemail before the first mail.
- Ids of templates, groups, streams and sub-accounts mean something else in Cakemail. The operator says what, in a file:

<details><summary>The maps (<code>SMTPGW_MAPPINGS_FILE</code>)</summary>

```yaml
{MAPS}```
</details>
"""
