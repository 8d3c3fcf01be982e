"""What locust reads of this folder: `locust -f loadtest/ --host smtp://smtp.example.com`. README.md says how.

locust takes each file whose name does not begin with _ for a locustfile. This is the only one, the others its parts.
"""

import sys
from typing import Any

from _connection import Target
from _options import add_options
from _overhead import SandboxClock
from _shape import RampAndHold, fill_in, offered_per_second
from _users import Application, Campaign
from _verdict import Verdict
from locust import events, stats
from locust.runners import MasterRunner, WorkerRunner

__all__ = ["Application", "Campaign", "RampAndHold"]  # what locust finds here

CANNOT_START = 2  # exit status

stats.PERCENTILES_TO_CHART = stats.PERCENTILES_TO_STATISTICS = [0.5, 0.95, 0.99]


@events.init_command_line_parser.add_listener
def on_options(parser: Any, **_: object) -> None:
    add_options(parser)
    parser.set_defaults(stop_timeout="30")  # in the end, messages under way get their answers


@events.init.add_listener
def on_init(environment: Any, runner: Any, **_: object) -> None:
    options = environment.parsed_options
    if not isinstance(runner, MasterRunner):
        SandboxClock(environment)
    if isinstance(runner, WorkerRunner):
        return
    if options.headless:
        check_host(options.host)
    fill_in(options)
    environment.events.test_start.add_listener(on_test_start)
    Verdict(environment)


def on_test_start(environment: Any, **_: object) -> None:
    """How often each user sends. A master tells its workers, which do not know how many users there are."""
    options = environment.parsed_options
    options.seconds_between_messages = options.num_users / offered_per_second(options)


def check_host(host: str | None) -> None:
    try:
        Target.named(host or "")
    except ValueError as problem:
        sys.stderr.write(f"--host: {problem}\n")
        sys.exit(CANNOT_START)
