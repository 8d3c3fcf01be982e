"""Dialect of Amazon SES: X-SES-*."""

import re

from smtpgw.dialects import values
from smtpgw.dialects.context import HeaderContext
from smtpgw.dialects.rules import first_instance
from smtpgw.dialects.table import MAP, STRIP, STRIP_WARN, Dialect, Row

# Only the first two fields of the value have a meaning; fields beyond the limit are not read.
MAX_FIELDS = 10


def message_tags(context: HeaderContext, value: str) -> None:
    """Add a tag for each `name=value` pair, because Cakemail's tags have no values."""
    context.add_tags(["_".join(filter(None, pair.split("=", 1))) for pair in values.comma_separated(value)])


def list_management(context: HeaderContext, value: str) -> None:
    """Map a contact list to a Cakemail list.

    The value is `list; topic=name` or `contactListName=list; topicName=name`.
    """
    if context.has_text("{{amazonSESUnsubscribeUrl}}"):
        context.refuse("replacing {{amazonSESUnsubscribeUrl}} in the message")
    named = [
        re.sub(r"(?i)^(contactlistname|topicname|topic)\s*=", "", part.strip()) for part in value.split(";", MAX_FIELDS)
    ]
    contact_list, *topic = [name.strip().strip("{}") for name in named if name.strip()] or [""]
    lists = context.mapping.ses_lists
    found = lists.get("/".join([contact_list, *topic[:1]])) or lists.get(contact_list)
    if found:
        context.decide(list_id=found)
    else:
        context.record(STRIP_WARN, f"{contact_list} is not mapped")


SES = Dialect(
    name="ses",
    title="Amazon SES",
    prefixes=("x-ses-",),
    rows=(
        Row(
            "X-SES-MESSAGE-TAGS",
            "campaign=welcome, lang=fr",
            MAP,
            "tags",
            "as campaign_welcome",
            first_instance(message_tags),
        ),
        Row("X-SES-CONFIGURATION-SET", "myConfigurationSet", STRIP, "", "a setting of SES's account"),
        Row("X-SES-SOURCE-ARN", "arn:aws:ses:us-east-1:123456789012:identity/x.test", STRIP, "", "AWS's permissions"),
        Row("X-SES-FROM-ARN", "arn:aws:ses:us-east-1:123456789012:identity/x.test", STRIP, "", "AWS's permissions"),
        Row(
            "X-SES-RETURN-PATH-ARN",
            "arn:aws:ses:us-east-1:123456789012:identity/x.test",
            STRIP,
            "",
            "AWS's permissions",
        ),
        Row(
            "X-SES-LIST-MANAGEMENT-OPTIONS",
            "news; topic=weekly",
            MAP,
            "list_id",
            "through the operator's map; STRIP_WARN when unmapped;"
            " REFUSE when {{amazonSESUnsubscribeUrl}} stands in the message",
            list_management,
        ),
        Row("X-SES-TENANT-NAME", "tenant-1", STRIP_WARN, "", "Cakemail has no tenants"),
    ),
    test_domains=("@simulator.amazonses.com",),
)
