"""Tests of the Amazon SES dialect: each row of the table, with every case that it names."""

import pytest

from smtpgw.config.provider_map import AccountMap
from tests.support.control_headers import changed, lost, mapped, options, refused, stripped

LISTS = AccountMap(ses_lists={"news": 42, "news/weekly": 43})
ARN = "arn:aws:ses:us-east-1:123456789012:identity/example.com"
LIST = "X-SES-LIST-MANAGEMENT-OPTIONS"

CASES = (
    mapped("X-SES-MESSAGE-TAGS", "name1=value1, name2=value2", {"tags": ("name1_value1", "name2_value2")}),
    mapped("X-SES-MESSAGE-TAGS", "alone,empty=,a=b=c", {"tags": ("alone", "empty", "a_b-c")}),
    stripped("X-SES-MESSAGE-TAGS", ""),
    stripped("X-SES-CONFIGURATION-SET", "myConfigurationSet"),
    stripped("X-SES-SOURCE-ARN", ARN),
    stripped("X-SES-FROM-ARN", ARN),
    stripped("X-SES-RETURN-PATH-ARN", ARN),
    mapped(LIST, "news", {"list_id": 42}, maps=LISTS),
    mapped(LIST, "news; topic=weekly", {"list_id": 43}, maps=LISTS),
    mapped(LIST, "news; topic=daily", {"list_id": 42}, maps=LISTS),
    mapped(LIST, "contactListName=news;topicName=weekly", {"list_id": 43}, maps=LISTS),
    mapped(LIST, "{news}; topic={weekly}", {"list_id": 43}, maps=LISTS),
    lost(LIST, "others; topic=weekly", maps=LISTS),
    lost(LIST, "news"),
    lost(LIST, ""),
    refused(LIST, "news", maps=LISTS, body={"text": "{{amazonSESUnsubscribeUrl}}"}),
    refused(LIST, "news", body={"html": '<a href="{{amazonSESUnsubscribeUrl}}">x</a>'}),
    lost("X-SES-TENANT-NAME", "tenant-1"),
    lost("X-SES-OUTGOING-IP", "1.2.3.4"),
    refused("X-SES-SANDBOX", "1"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_header(case):
    case.check("ses")


def test_only_the_first_of_several_headers_counts():
    assert changed(options(("X-SES-MESSAGE-TAGS", "a=1"), ("X-SES-MESSAGE-TAGS", "b=2"))) == {"tags": ("a_1",)}
