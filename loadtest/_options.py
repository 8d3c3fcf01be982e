"""What the load test is told, beside locust's own options: on the command line, in the environment, in the web UI."""

from argparse import ArgumentTypeError
from typing import Any

VARIABLE = "LOADTEST_{}"  # each option's environment variable: LOADTEST_TARGET_PER_HOUR, …


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text} must be more than 0")
    return value


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} must be a share, from 0 to 1")
    return value


def add_options(parser: Any) -> None:
    """To locust's parser. The defaults are those of this project's sandbox, whose password is no secret."""

    def add(name: str, default: object, metavar: str, meaning: str, **rest: object) -> None:
        variable = VARIABLE.format(name.strip("-").replace("-", "_").upper())
        parser.add_argument(name, default=default, metavar=metavar, env_var=variable, help=meaning, **rest)

    add("--target-per-hour", 1_000_000.0, "<n>", "messages accepted an hour, to be reached and held", type=positive)
    add("--headroom", 0.02, "<share>", "offered above the target, since chance is in the traffic", type=share)
    add("--p99-ms", 2000.0, "<ms>", "what 99 in 100 of connect, TLS, AUTH and DATA→reply may take, each", type=positive)
    add("--overhead-p95-ms", 100.0, "<ms>", "what the gateway may add to 95 in 100 messages", type=positive)
    add("--failure-share", 0.0001, "<share>", "of attempts that may fail", type=share)
    add("--username", "demo@cakemail.example", "<name>", "whose mail it is")
    add("--password", "demo-password", "<password>", "its password, or an access token", include_in_web_ui=False)
    add("--sender", "sender@cakemail.example", "<address>", "a confirmed sender of the account")
    add("--recipient-domain", "customers.example", "<domain>", "whose users get the mail; .example does not exist")
    add("--reconnect-share", 0.25, "<share>", "of applications that connect for each message", type=share)
    add("--bad-credentials-share", 0.005, "<share>", "logins with an old password beside the messages", type=share)
    add("--bad-sender-share", 0.005, "<share>", "messages of a sender nobody confirmed beside the others", type=share)
    add("--ca-file", "", "<file>", "PEM file of certificates to trust, instead of the system's")
    add("--sandbox-url", "", "<url>", "the sandbox behind the gateway; its clock tells the overhead")
    add("--metrics-url", "", "<url,…>", "/metrics of each gateway; tells the overhead where there is no sandbox")
