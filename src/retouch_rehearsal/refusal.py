"""What the service says no with: an HTTP status and the service's own error document.

Shapes and types follow the provider's (PROTOCOL §1): the OpenAI error object, often without
`param` and `code`; a wrong model name is a 503 about its price.
"""

from __future__ import annotations

from collections.abc import Mapping

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]


class Refusal(Exception):
    """A request the service will not carry out; nothing was charged for it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | int | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def document(self) -> JsonObject:
        """The error object the client is sent."""
        error: JsonObject = {"message": self.message, "type": self.kind}
        if self.param is not None:
            error["param"] = self.param
        if self.code is not None:
            error["code"] = self.code
        return {"error": error}


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> Refusal:
    """A 400: the request itself is wrong."""
    return Refusal(400, message, param=param, code=code)


def unauthorized(message: str) -> Refusal:
    """A 401: no key, or not the service's key."""
    return Refusal(401, message, kind="authentication_error")


def no_such_model(model: str) -> Refusal:
    """The 503 a wrong model name gets; permanent in spite of its status (the provider's FAQ)."""
    return Refusal(
        503,
        f"the price of the model is not set (model: {model})",
        kind="quota_exceeded_error",
    )


def not_found(what: str) -> Refusal:
    """A 404 for a task, a file or a path."""
    return Refusal(404, f"{what} not found", kind="not_found_error")
