"""The shape of the load: as many users as locust's --users says, --spawn-rate more each second, until --run-time.

Without these it is a user for each message a second, all of them after ten seconds. The rate is the target's, however
many users share it.
"""

import math
from typing import Any

from locust import LoadTestShape

RAMP_SECONDS = 10.0


def fill_in(options: Any) -> None:
    """The users and their spawn rate, where locust was not told."""
    options.num_users = options.num_users or math.ceil(offered_per_second(options))
    options.spawn_rate = options.spawn_rate or options.num_users / RAMP_SECONDS


def offered_per_second(options: Any) -> float:
    """A little more than the target: at its very rate, chance alone would miss it every other time."""
    return float(options.target_per_hour) * (1 + float(options.headroom)) / 3600


class RampAndHold(LoadTestShape):
    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """What locust asks each second; it ramps by itself."""
        options = self.runner.environment.parsed_options
        if options.run_time and self.get_run_time() >= options.run_time:
            return None
        return options.num_users, options.spawn_rate
