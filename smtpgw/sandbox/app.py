"""The sandbox as a Flask application: the API, its controls, the inbox page."""

from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from smtpgw.config.parsers import MIB, is_loopback
from smtpgw.sandbox.answers import as_json, http_refused, refused
from smtpgw.sandbox.api import Api
from smtpgw.sandbox.controls import Controls
from smtpgw.sandbox.errors import forbidden
from smtpgw.sandbox.inbox import Inbox, shown
from smtpgw.sandbox.state import State

MAX_REQUEST_BYTES = 150 * MIB  # the largest message the gateway can be set to take, in base64


def create_app(state: State) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = app.config["MAX_FORM_MEMORY_SIZE"] = MAX_REQUEST_BYTES
    app.before_request(refuse_other_names)
    app.register_blueprint(Api(state).blueprint())
    app.register_blueprint(Controls(state).blueprint())
    app.register_blueprint(Inbox(state).blueprint())
    app.add_url_rule("/health", view_func=health)
    app.register_error_handler(HTTPException, missing)
    return app


def health() -> Response:
    return as_json({"status": "ok"})


def refuse_other_names() -> Response | None:
    """Answer only to names of loopback: a web page of another name could otherwise point it here, and read it."""
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        name = ""
    return None if is_loopback(name) else refused(forbidden("The sandbox is for loopback only"))


def missing(problem: HTTPException) -> Response:
    if request.blueprint == "inbox":
        answer = shown("missing.html", why=problem.description)
        answer.status_code = problem.code or 500
        return answer
    return http_refused(problem)
