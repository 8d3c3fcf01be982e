"""The API's refusals, in the shapes that its schema gives them."""

from pydantic import ValidationError

Detail = dict[str, object]


class ApiError(Exception):
    """A call is refused: `status` and `detail` are the answer."""

    def __init__(self, status: int, detail: list[Detail], headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def invalid(problem: ValidationError, where: str) -> ApiError:
    """422: what came does not fit the schema. `where` is "body", "query" or "path"."""
    found = problem.errors(include_url=False, include_context=False, include_input=False)
    return ApiError(422, [{"loc": [where, *e["loc"]], "msg": e["msg"], "type": e["type"]} for e in found])


def malformed(message: str, *loc: str) -> ApiError:
    """422, for what no model describes."""
    return ApiError(422, [{"loc": list(loc), "msg": message, "type": "value_error"}])


def bad_request(message: str, *loc: str) -> ApiError:
    """400: it fits the schema, and the account cannot do it."""
    return ApiError(400, [{"loc": list(loc), "msg": message, "type": "bad_request"}])


def unauthorized(message: str) -> ApiError:
    return ApiError(401, [{"msg": message, "type": "unauthorized"}], {"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> ApiError:
    return ApiError(403, [{"msg": message, "type": "forbidden"}])
