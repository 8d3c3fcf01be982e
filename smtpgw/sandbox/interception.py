"""What happens around every call of the API: the latency, the fault that is due, and the count of the call."""

import time

from flask import Blueprint, Response, g, request
from pydantic_core import from_json

from smtpgw.sandbox.answers import instead, without_id
from smtpgw.sandbox.connection import WITHOUT_STATUS, disturbed
from smtpgw.sandbox.faults import Call, Rule
from smtpgw.sandbox.state import State


class Interception:
    """Hooks of the API's blueprint."""

    def __init__(self, state: State) -> None:
        self._state = state

    def attach(self, blueprint: Blueprint) -> None:
        blueprint.before_request(self.begin)
        blueprint.after_request(self.finish)

    def begin(self) -> Response | None:
        g.arrived = g.started = time.perf_counter()
        g.rule = None
        pattern = request.url_rule.rule if request.url_rule else request.path
        name = f"{request.method} {pattern.replace('<', '{').replace('>', '}')}"
        g.endpoint = self._state.calls.begin(name)
        request.get_data(parse_form_data=True)  # all of it: a fault must not come before the request has
        rule = g.rule = self._state.faults.hit(self.call(name)) if self._state.faults else None
        wait = self._state.latency_ms / 1000
        if rule and rule.what not in ("slow_headers", "slow_body"):
            wait += rule.wait_seconds
        if wait:
            time.sleep(wait)
        g.started = time.perf_counter()
        return None if rule is None or rule.lets_through else instead(rule)

    def call(self, name: str) -> Call:
        if request.path == "/token":
            return Call(name, request.form.get("username", ""))
        try:
            body = from_json(request.get_data()) if request.method == "POST" else None
        except ValueError:
            body = None  # refused later, with the reason
        if not isinstance(body, dict):
            return Call(name)
        sender = body.get("sender")
        sender_id = str(sender.get("id", "")) if isinstance(sender, dict) else ""
        return Call(name, str(body.get("email", "")), (sender_id, *self.addresses(sender_id)))

    def addresses(self, sender_id: str) -> list[str]:
        directory = self._state.directory
        found = (directory.sender(account_id, sender_id) for account_id in directory.accounts)
        return [sender.email for sender in found if sender]

    def finish(self, answer: Response) -> Response:
        if "endpoint" not in g:
            return answer  # refused before it came here
        g.endpoint.own.add(time.perf_counter() - g.started)
        rule: Rule | None = g.rule
        if rule:
            if rule.lets_through and rule.what in ("status", "html"):
                answer = instead(rule)
            elif rule.what == "no_id":
                answer = without_id(answer)
            answer = disturbed(rule, answer)
        g.endpoint.under_way -= 1
        ended = time.perf_counter()
        g.endpoint.total.add(ended - g.arrived)
        if "recipient" in g:
            self._state.clock.add(g.recipient, g.arrived, ended)
        g.endpoint.outcomes[rule.what if rule and rule.what in WITHOUT_STATUS else str(answer.status_code)] += 1
        return answer
