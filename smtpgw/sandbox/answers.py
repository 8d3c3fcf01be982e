"""Answers of the API and of the sandbox's controls: JSON, refusals, and the fault kinds that only change an answer."""

from flask import Response
from pydantic_core import from_json, to_json
from werkzeug.exceptions import HTTPException

from smtpgw.sandbox.errors import ApiError
from smtpgw.sandbox.faults import Rule

BAD_GATEWAY_PAGE = """<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>proxy</center></body></html>
"""


def as_json(value: object, status: int = 200) -> Response:
    # Numbers of any size, and NaN, may stand in what is shown again; orjson takes neither.
    return Response(to_json(value, inf_nan_mode="constants"), status, mimetype="application/json")


def refused(error: ApiError) -> Response:
    answer = as_json({"detail": error.detail}, error.status)
    answer.headers.update(error.headers)
    return answer


def http_refused(problem: HTTPException) -> Response:
    """What Flask refuses (no such address, wrong method, too big) in the API's shape."""
    answer = problem.get_response()
    answer.mimetype = "application/json"
    answer.set_data(to_json({"detail": [{"msg": problem.description, "type": "http_error"}]}))
    return Response(answer.get_data(), answer.status_code, answer.headers)


def instead(rule: Rule) -> Response:
    """The answer of a call that a fault keeps from being processed, or whose answer it replaces."""
    if rule.what == "challenge_200":
        return as_json({"challenge": "sandbox-challenge"})
    if rule.what == "html":
        answer = Response(BAD_GATEWAY_PAGE, rule.status or 502, mimetype="text/html")
    else:
        status = rule.status or 503
        answer = as_json({"detail": [{"msg": f"The sandbox was told to answer {status}", "type": "fault"}]}, status)
    if rule.body is not None:
        answer.set_data(rule.body if isinstance(rule.body, str) else to_json(rule.body))
    if rule.retry_after is not None:
        answer.headers["Retry-After"] = str(rule.retry_after)
    return answer


def without_id(answer: Response) -> Response:
    body = from_json(answer.get_data())
    body.get("data", {}).pop("id", None)
    return as_json(body, answer.status_code)
