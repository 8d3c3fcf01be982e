"""Watches a test from the end of its ramp on, and judges it by the objectives: in a process alone, or on the master."""

import math
from time import time
from typing import Any

from _connection import REPLY, STEPS
from _objectives import Measured, Objectives, Overhead, Row, exit_status, table
from _overhead import GATEWAY, OVERHEAD, GatewayMetrics
from _users import TYPE
from locust.runners import STATE_INIT
from locust.stats import StatsEntry

P95, P99 = 0.95, 0.99


class Verdict:
    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.options = environment.parsed_options
        self.metrics: GatewayMetrics | None = None
        self.began: float | None = None  # times of the clock, as locust's own counts by second are
        self.ended: float | None = None
        self.rows: list[Row] = []
        self.by_metrics: tuple[float | None, int] = (None, 0)
        events = environment.events
        events.spawning_complete.add_listener(self.on_spawning_complete)
        events.test_stopping.add_listener(self.on_test_stopping)
        events.quitting.add_listener(self.on_quitting)
        events.quit.add_listener(self.on_quit)

    def on_spawning_complete(self, **_: object) -> None:
        """The ramp is over: locust's tables begin anew, as with its --reset-stats; its charts keep the ramp."""
        stats = self.environment.stats
        history = stats.history
        stats.reset_all()
        stats.history = history
        self.began, self.ended = time(), None
        urls = [url for url in self.options.metrics_url.split(",") if url]
        self.metrics = GatewayMetrics(urls) if urls and not self.options.sandbox_url else None

    def on_test_stopping(self, **_: object) -> None:
        self.ended = time()
        if self.metrics:
            self.by_metrics = self.metrics.since_begin(P95)

    def on_quitting(self, **_: object) -> None:
        if self.environment.runner.state == STATE_INIT:
            return  # nothing was tested
        options = self.options
        objectives = Objectives(
            target_per_hour=options.target_per_hour,
            p99_ms=options.p99_ms,
            overhead_p95_ms=options.overhead_p95_ms,
            failure_share=options.failure_share,
        )
        self.rows = objectives.judge(self.measured())
        self.environment.process_exit_code = exit_status(self.rows)

    def on_quit(self, **_: object) -> None:
        """After locust's own tables."""
        if self.rows:
            print(f"\n{table(self.rows)}\n", flush=True)

    def measured(self) -> Measured:
        stats = self.environment.stats
        lines = {name: stats.entries[name, TYPE] for name in STEPS if (name, TYPE) in stats.entries}
        return Measured(
            seconds=len(self.seconds()),
            accepted=self.accepted(lines[REPLY]) if REPLY in lines else 0,
            attempts=stats.total.num_requests,
            failures=stats.total.num_failures,
            p99_ms={name: line.get_response_time_percentile(P99) for name, line in lines.items()},
            overhead=self.overhead(),
            bugs=sum(exception["count"] for exception in self.environment.runner.exceptions.values()),
        )

    def seconds(self) -> range:
        """The seconds of the clock in which the rate was to be held: whole ones, as locust counts by them."""
        return range(math.ceil(self.began), math.floor(self.ended or time())) if self.began else range(0)

    def accepted(self, line: StatsEntry) -> int:
        return sum(line.num_reqs_per_sec.get(s, 0) - line.num_fail_per_sec.get(s, 0) for s in self.seconds())

    def overhead(self) -> Overhead | None:
        stats = self.environment.stats
        if self.options.sandbox_url:
            line = stats.entries.get((OVERHEAD, GATEWAY))
            p95_ms = line.get_response_time_percentile(P95) if line and line.num_requests else None
            return Overhead("the sandbox's clock", p95_ms, line.num_requests if line else 0)
        return Overhead("the gateway's metrics", *self.by_metrics) if self.metrics else None
