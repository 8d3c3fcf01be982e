"""The environment: what each variable may say, what it is told where it may not, and which values go together."""

import dataclasses
import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpgw.commands.serve import unknown_variables
from smtpgw.config import parsers
from smtpgw.config.parsers import Bind, SettingsError
from smtpgw.config.settings import Settings
from smtpgw.submission.translation import DEFAULT_BULK_HEADERS

NEEDED = {"SMTPGW_TLS_CERT": __file__, "SMTPGW_TLS_KEY": __file__, "SMTPGW_HOSTNAME": "gw.example"}
FIELDS = {field.metadata["name"]: field for field in dataclasses.fields(Settings)}


def settings(**variables: str) -> Settings:
    return Settings.from_environ({**NEEDED, **variables})


def mistakes(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(**variables)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return caught.value.mistakes


# --- Readers

READ = [
    (parsers.whole(1, 100), "1", 1),
    (parsers.whole(1, 100), "100", 100),
    (parsers.whole(1, 100), "007", 7),
    (parsers.seconds(0.5, 300), "0.5", 0.5),
    (parsers.seconds(0.5, 300), "300", 300.0),
    (parsers.one_of("json", "console"), "JSON", "json"),
    (parsers.switch, "on", True),
    (parsers.switch, "Off", False),
    (parsers.bind, "0.0.0.0:2587", Bind("0.0.0.0", 2587)),
    (parsers.bind, "[::]:2587", Bind("::", 2587)),
    (parsers.bind, "localhost:65535", Bind("localhost", 65535)),
    (parsers.optional_bind, "", None),
    (parsers.optional_bind, "[::1]:1", Bind("::1", 1)),
    (parsers.api_url, "https://api.example/", "https://api.example"),
    (parsers.api_url, "https://api.example:8443/base/", "https://api.example:8443/base"),
    (parsers.api_url, "http://127.0.0.1:8025", "http://127.0.0.1:8025"),
    (parsers.api_url, "http://[::1]:8025", "http://[::1]:8025"),
    (parsers.api_url, "http://localhost", "http://localhost"),
    (parsers.networks, "", ()),
    (parsers.networks, "192.0.2.1", (ipaddress.ip_network("192.0.2.1/32"),)),
    (parsers.networks, " 10.2.0.0/16, ::1,", (ipaddress.ip_network("10.2.0.0/16"), ipaddress.ip_network("::1"))),
    (parsers.header_names, "List-Unsubscribe", ("list-unsubscribe",)),
    (parsers.header_names, " list-id , X-A,list-id", ("list-id", "x-a")),
    (parsers.header_names, "", ()),
    (parsers.header_names, "None", ()),
    (parsers.hostname, "smtp.example.com", "smtp.example.com"),
    (parsers.hostname, "web_1", "web_1"),
    (parsers.hostname, "x" * 255, "x" * 255),
    (parsers.optional_file, "", ""),
    (parsers.optional_file, __file__, __file__),
]

NUMBER, SECONDS = "a whole number from 1 to 100", "a number of seconds from 0.5 to 300"
ADDRESS, HTTPS, BIND = "an address such as", "an https:// address", "HOST:PORT"
HOST, NETWORKS = "a host name such as", "networks separated by commas"
REFUSED = [  # the texts are separated by bars
    (parsers.whole(1, 100), "|0|101|-1|1.0|1e1|x|١|1_0|1 0|111111111111111111111111111111", NUMBER),
    (parsers.seconds(0.5, 300), "|0.4|300.1|-1|1s|inf|nan|1e2|.5", SECONDS),
    (parsers.one_of("json", "console"), "|xml|json ", "one of json, console"),
    (parsers.switch, "|yes|1|true", "one of on, off"),
    (parsers.bind, "|2587|:2587|host|host:|host:0|host:65536|host:x|host:²|host:٢|host:-1", BIND),
    (parsers.api_url, "|a.example|ftp://a.example|https://|https://u:p@a.example|https://a.example?x=1", ADDRESS),
    (parsers.api_url, "https://a.example#x|https://a.example:x|https://a.example:99999|https://a.example:0", ADDRESS),
    (parsers.api_url, "https://[::1|https://[::g]", ADDRESS),
    (parsers.api_url, "http://a.example|http://10.0.0.1|http://localhost.example", HTTPS),
    (parsers.optional_url, "collector:4318|ftp://a.example|http://a.example:x|http://[", ADDRESS),
    (
        parsers.storage_url,
        "|memory|redis://|http://a.example|redis://a.example:x|redis://[",
        "memory://, or the address",
    ),
    (parsers.networks, "10.2.0.1/16|10.2.0.0/33|here|10.0.0.0-10.0.0.9", NETWORKS),
    (parsers.header_names, "list-id,|list id|list-id:|none,list-id|ü|,", "names of headers separated by commas"),
    (parsers.hostname, f"|a b|{'x' * 256}|-x|x-|ü.example|a/b|[192.0.2.1]", HOST),
    (parsers.readable_file, "/nowhere|/", "a file that can be read"),
    (parsers.readable_file, "", "the path of a PEM file"),
]


@pytest.mark.parametrize(("read", "text", "value"), READ)
def test_a_reader_reads(read, text, value):
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("read", "text", "words"), [(read, text, words) for read, texts, words in REFUSED for text in texts.split("|")]
)
def test_a_reader_says_what_would_have_been_right(read, text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        read(text)


def refusal(read, text: str) -> str:
    """What a reader says of a text, "" where it takes it. Anything but ValueError fails the test."""
    try:
        read(text)
    except ValueError as wanted:
        return str(wanted)
    return ""


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
)  # no environment has them
def test_a_reader_reads_any_text_or_says_what_would_have_been_right(text):
    sayings = tuple(words for *_, words in REFUSED)
    for read, *_ in REFUSED:
        said = refusal(read, text)
        assert said == "" or said.startswith(sayings)


# --- All of them


def test_defaults():
    found = settings()
    for name, field in FIELDS.items():
        if name not in NEEDED:
            assert getattr(found, field.name) == field.metadata["parse"](field.metadata["default"])


def test_an_empty_variable_is_one_that_is_not_set_but_where_nothing_is_a_value():
    assert settings(SMTPGW_WORKERS=" ").workers == 1
    assert settings().bulk_headers == DEFAULT_BULK_HEADERS
    assert settings(SMTPGW_BULK_HEADERS=" ").bulk_headers == ()
    assert settings(SMTPGW_BULK_HEADERS="none").bulk_headers == ()


def test_every_mistake_is_told_at_once_and_names_its_variable():
    wrong = {name: "no such value" for name, field in FIELDS.items() if not field.metadata["secret"]}
    found = mistakes(**wrong)
    named = [re.match(r"([A-Z_]+)='no such value': must be ", mistake) for mistake in found]
    assert all(named)
    assert [match[1] for match in named] == list(wrong)


def test_what_is_needed_and_not_there():
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"SMTPGW_TLS_CERT": "  "})
    assert caught.value.mistakes == [
        "SMTPGW_TLS_CERT is not set: the path of a PEM file",
        "SMTPGW_TLS_KEY is not set: the path of a PEM file",
    ]


def test_spaces_around_a_value_and_an_empty_one_do_no_harm():
    assert settings(SMTPGW_WORKERS=" 2\n").workers == 2
    assert settings(SMTPGW_WORKERS="").workers == 1


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().workers = 2


def test_described_is_what_would_be_written_in_the_environment():
    first = settings(
        SMTPGW_TRUSTED_CIDRS="10.0.0.0/8,2001:db8::/32", SMTPGW_SMTPS_BIND="[::]:465", SMTPGW_NOTICES="off"
    )
    described = {name: value for name, value, _, _ in first.described()}
    assert list(described) == list(FIELDS)
    secret = {name for name, field in FIELDS.items() if field.metadata["secret"]}
    assert {described[name] for name in secret} <= {"", "(secret)"}
    assert Settings.from_environ({k: v for k, v in described.items() if k not in secret}) == first


# --- Together


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"SMTPGW_HTTP_BIND": "127.0.0.1:2587"}, ["SMTPGW_SMTP_BIND", "SMTPGW_HTTP_BIND"]),
        ({"SMTPGW_SMTPS_BIND": "127.0.0.1:8080"}, ["SMTPGW_SMTPS_BIND"]),
        ({"SMTPGW_INTERNAL_BIND": "127.0.0.1:2587"}, ["SMTPGW_INTERNAL_BIND"]),
        ({"SMTPGW_MAX_BYTES_IN_FLIGHT": "26214399"}, ["SMTPGW_MAX_BYTES_IN_FLIGHT", "SMTPGW_MAX_MESSAGE_BYTES"]),
        ({"SMTPGW_DRAIN_TIMEOUT_SECONDS": "25"}, ["SMTPGW_DRAIN_TIMEOUT_SECONDS", "SMTPGW_SUBMIT_TIMEOUT_SECONDS"]),
        ({"SMTPGW_SUBMIT_TIMEOUT_SECONDS": "19"}, ["SMTPGW_SUBMIT_TIMEOUT_SECONDS", "SMTPGW_API_TIMEOUT_SECONDS"]),
        ({"SMTPGW_API_RETRY_SECONDS": "26"}, ["SMTPGW_SUBMIT_TIMEOUT_SECONDS", "SMTPGW_API_RETRY_SECONDS"]),
        ({"SMTPGW_SUBMIT_TIMEOUT_SECONDS": "100"}, ["SMTPGW_DRAIN_TIMEOUT_SECONDS", "SMTPGW_SUBMIT_TIMEOUT_SECONDS"]),
        ({"SMTPGW_PROXY_PROTOCOL": "on"}, ["SMTPGW_PROXY_CIDRS"]),
        ({"SMTPGW_LOG_ADDRESSES": "hashed"}, ["SMTPGW_LOG_HASH_KEY"]),
    ],
)
def test_a_contradiction_names_its_variables(variables, names):
    (mistake,) = mistakes(**variables)
    assert all(name in mistake for name in names)


def test_every_contradiction_is_told_at_once():
    ports, room, proxy = "127.0.0.1:2587", "1024", "on"
    assert len(mistakes(SMTPGW_HTTP_BIND=ports, SMTPGW_MAX_BYTES_IN_FLIGHT=room, SMTPGW_PROXY_PROTOCOL=proxy)) == 3


def times_hold_one_another(found: Settings) -> bool:
    """A call ends within its message's time, that within the drain, and that before gunicorn's SIGKILL."""
    return (
        found.api_timeout_seconds <= found.submit_timeout_seconds
        and found.api_retry_seconds <= found.submit_timeout_seconds
        and found.submit_timeout_seconds < found.drain_timeout_seconds
        and found.drain_timeout_seconds + 5 <= found.graceful_timeout_seconds
    )


def test_the_times_of_the_defaults_hold_one_another():
    found = settings()
    assert found.api_connect_timeout_seconds < found.api_timeout_seconds
    assert times_hold_one_another(found)


TIMES = [f"SMTPGW_{name}_SECONDS" for name in ("API_TIMEOUT", "API_RETRY", "SUBMIT_TIMEOUT", "DRAIN_TIMEOUT")]
some_seconds = st.integers(0, 301).map(str) | st.floats(0, 301).map(lambda number: f"{number:.3f}")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(TIMES, some_seconds)))
def test_times_are_accepted_where_they_hold_one_another_and_only_there(variables):
    lone = [name for name in variables if refusal(FIELDS[name].metadata["parse"], variables[name])]
    usual = {name: FIELDS[name].metadata["default"] for name in TIMES}
    call, retry, submit, drain = (float({**usual, **variables}[name]) for name in TIMES)
    if lone:
        assert [mistake.partition("=")[0] for mistake in mistakes(**variables)] == [n for n in FIELDS if n in lone]
    elif call <= submit and retry <= submit < drain:
        assert times_hold_one_another(settings(**variables))
    else:
        assert all(mistake.startswith(tuple(TIMES)) for mistake in mistakes(**variables))


# --- Variables that are none of ours


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SMTPGW_WORKER", "SMTPGW_WORKERS"),
        ("SMTPGW_MAX_MESSAGES_BYTES", "SMTPGW_MAX_MESSAGE_BYTES"),
        ("SMTPGW_TLS_CERTIFICATE", "SMTPGW_TLS_CERT"),
        ("SMTPGW_ZZZZZZZZZZZZZZZZZZZZZZZZZZ", None),
    ],
)
def test_an_unknown_variable(name, meant):
    (warning,) = unknown_variables({name: "x", "PATH": "/bin", "CAKEMAIL_PASSWORD": "x", **NEEDED})
    assert warning == f"{name} is not a setting" + (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    "name",
    [
        "SMTPGW_SERVICE_HOST",
        "SMTPGW_SERVICE_PORT",
        "SMTPGW_SERVICE_PORT_SUBMISSION",
        "SMTPGW_PORT",
        "SMTPGW_PORT_587_TCP",
        "SMTPGW_PORT_587_TCP_ADDR",
        "SMTPGW_PORT_587_TCP_PORT",
        "SMTPGW_PORT_587_TCP_PROTO",
        "SMTPGW_INTERNAL_SERVICE_HOST",
        "SMTPGW_METRICS_PORT_8080_TCP_ADDR",
        "SMTPGW_METRICS_SERVICE_PORT_HTTP_METRICS",
    ],
)
def test_what_kubernetes_tells_of_its_services_is_no_mistake(name):
    assert unknown_variables({name: "tcp://10.3.0.1:587"}) == []


def test_no_setting_looks_like_a_service_of_kubernetes():
    assert unknown_variables(dict.fromkeys(FIELDS, "")) == []
    for name in FIELDS:
        assert len(unknown_variables({name + "S_": "x"})) == name.startswith("SMTPGW_")
