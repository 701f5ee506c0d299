"""Errors for clients: an HTTP status and OpenAI's object ``{"error": {...}}``."""

from __future__ import annotations

from typing import Any

from llmkit.errors import InputError, OptionError, OutOfMemory, RowError, one_line

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
# Options whose name in Python differs from the JSON field.
_FIELDS = {
    **dict.fromkeys(("constraint", "schema", "regex", "grammar", "choice"), "response_format"),
    "max_new_tokens": "max_tokens",
    "num_return_sequences": "n",
}


class ApiError(Exception):
    """An error as the response to a request.

    Args:
        status: HTTP status.
        message: the problem, and the next step.
        param: field of the request that is wrong.
        code: name of the error for programs.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after

    def as_json(self) -> dict[str, Any]:
        """Return the error as OpenAI's object."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad(param: str | None, reason: str, code: str | None = "invalid_value") -> ApiError:
    """Return the error of a field with a bad value."""
    return ApiError(400, f"`{param}` {reason}" if param else reason, param=param, code=code)


def as_api_error(error: BaseException) -> ApiError:
    """Return an error for the client. Details of server errors are not sent."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OptionError):
        return bad(_FIELDS.get(error.option, error.option), error.reason, "unsupported_value")
    if isinstance(error, RowError):
        return ApiError(400, error.reason, param=error.where, code="invalid_value")
    if isinstance(error, InputError):
        return ApiError(400, one_line(error), code="invalid_value")
    if isinstance(error, OutOfMemory):
        return ApiError(503, one_line(error), code="out_of_memory", retry_after=5)
    return ApiError(500, "the model failed on this request; see the server's log", code="internal_error")
