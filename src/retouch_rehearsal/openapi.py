"""The service's own description, `GET /openapi.json`: OpenAPI 3.1, requests from `wire`."""

from __future__ import annotations

from functools import cache
from typing import cast

from pydantic import BaseModel

from . import wire
from .catalogue import MODELS
from .refusal import JsonObject, JsonValue

_TEMPLATE = "#/components/schemas/{model}"
_TEXT: JsonObject = {"type": "string"}
_COUNT: JsonObject = {"type": "integer", "minimum": 0}
_NOTE: JsonObject = {
    "type": "object",
    "required": ["plan", "warnings"],
    "properties": {"plan": _TEXT, "warnings": {"type": "array", "items": _TEXT}},
}
_PICTURES = ("image/png", "image/jpeg", "image/webp")
_REFUSALS = {
    "400": "The request is wrong, or a picture cannot be used",
    "401": "No key, or a wrong one",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The body is neither JSON nor, for edits, a form",
    "421": "Another host's name (served only)",
    "429": "Too many requests",
    "503": "No such model (`quota_exceeded_error`), or no room for another body",
}


def _object(required: str, **properties: JsonValue) -> JsonObject:
    names: list[JsonValue] = [*required.split()]
    return {"type": "object", "required": names, "properties": properties}


def _list(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


def _reply_schemas() -> JsonObject:
    details = _object("text_tokens image_tokens", text_tokens=_COUNT, image_tokens=_COUNT)
    usage = _object(
        "total_tokens input_tokens output_tokens input_tokens_details",
        total_tokens=_COUNT, input_tokens=_COUNT, output_tokens=_COUNT,
        input_tokens_details=details,
    )  # fmt: skip
    error = _object("message type", message=_TEXT, type=_TEXT, param=_TEXT,
                    code={"type": ["string", "integer"]})  # fmt: skip
    picture = _object("url content_type", url=_TEXT, content_type=_TEXT)
    return {
        "Error": _object("error", error=error),
        "Edited": _object(
            "created data output_format rehearsal",
            created=_COUNT, data=_list(_object("b64_json", b64_json=_TEXT)),
            output_format={"enum": ["png", "jpeg", "webp", "gif", "svg"]}, usage=usage,
            svg_usage={"type": "object"}, rehearsal=_NOTE,
        ),
        "TaskAccepted": _object("task_id", task_id=_TEXT),
        "TaskState": _object(
            "task_id created status status_message",
            task_id=_TEXT, created=_COUNT, status=_TEXT, status_message=_TEXT,
            data=_list(_object("index url", index=_COUNT, url=_TEXT)), quantity=_COUNT,
            rehearsal=_NOTE,
        ),
        "QueueState": _object(
            "status request_id response_url status_url",
            status=_TEXT, request_id=_TEXT, response_url=_TEXT, status_url=_TEXT,
            cancel_url=_TEXT, error=_TEXT, rehearsal=_NOTE,
            result=_object("images", images=_list(picture)),
        ),
        "Models": _object("object data", object=_TEXT, data=_list(_object("id", id=_TEXT))),
        "Usage": _object("status data", status={"const": True}, data=_list({"type": "object"})),
        "UsageRefused": _object("status message", status={"const": False}, message=_TEXT),
    }  # fmt: skip


def _requests() -> JsonObject:
    schemas: JsonObject = {}
    shapes: tuple[type[BaseModel], ...] = (wire.EditBody, wire.GenerationBody, wire.QueueBody)
    for shape in shapes:
        schema = shape.model_json_schema(ref_template=_TEMPLATE)
        schemas.update(schema.pop("$defs", {}))
        schemas[shape.__name__] = schema
    for name, reached_by in (("EditBody", "edits"), ("GenerationBody", "generations")):
        properties = cast("JsonObject", cast("JsonObject", schemas[name])["properties"])
        names: list[JsonValue] = [n for n, card in MODELS.items() if getattr(card, reached_by)]
        properties["model"] = {"enum": names}
    return schemas


def _form() -> JsonObject:
    binary: JsonObject = {"type": "string", "contentMediaType": "application/octet-stream"}
    return _object("model prompt", model=_TEXT, prompt=_TEXT, image=binary, mask=binary)


def _json(schema: str) -> JsonObject:
    return {"application/json": {"schema": {"$ref": _TEMPLATE.format(model=schema)}}}


def _replies(*schemas: str, refusals: str) -> JsonObject:
    options: list[JsonValue] = [{"$ref": _TEMPLATE.format(model=name)} for name in schemas]
    schema: JsonObject = {"anyOf": options}
    replies: JsonObject = {
        "200": {"description": "Done", "content": {"application/json": {"schema": schema}}}
    }
    for status in refusals.split():
        text = _REFUSALS.get(status, "Not found")
        replies[status] = {"description": text, "content": _json("Error")}
    return replies


def _submit(summary: str, body: str, *schemas: str) -> JsonObject:
    content = _json(body)
    if body == "EditBody":
        content["multipart/form-data"] = {"schema": _form()}
    operation: JsonObject = {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": _replies(*schemas, refusals="400 401 408 413 415 421 429 503"),
    }
    return {"post": operation}


def _get(summary: str, *schemas: str, refusals: str = "401 421", path: str = "") -> JsonObject:
    parameters: list[JsonValue] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in path.split()
    ]
    operation: JsonObject = {
        "summary": summary,
        "parameters": parameters,
        "responses": _replies(*schemas, refusals=refusals),
    }
    return {"get": operation}


def _file() -> JsonObject:
    path = _get("A result, by its signed URL", path="task_id name")
    operation = cast("JsonObject", path["get"])
    parameters = cast("list[JsonValue]", operation["parameters"])
    parameters += [{"name": name, "in": "query", "schema": _TEXT} for name in ("e", "token")]
    refused: JsonObject = {"application/json": {"schema": _object("error", error=_TEXT)}}
    operation["security"] = []
    operation["responses"] = {
        "200": {"description": "The picture", "content": {kind: {} for kind in _PICTURES}},
        "403": {"description": "A broken or expired link", "content": refused},
        "404": {"description": "Not found", "content": _json("Error")},
        "421": {"description": _REFUSALS["421"], "content": _json("Error")},
    }
    return path


def _usage() -> JsonObject:
    path = _get("The usage export", "Usage")
    operation = cast("JsonObject", path["get"])
    operation["parameters"] = [
        {"name": "granularity", "in": "query", "schema": {"enum": ["day", "hour"]}},
        {"name": "start", "in": "query", "required": True, "schema": _TEXT},
        {"name": "end", "in": "query", "required": True, "schema": _TEXT},
    ]
    replies = cast("JsonObject", operation["responses"])
    replies["400"] = {"description": "No such period", "content": _json("UsageRefused")}
    return path


@cache
def document() -> JsonObject:
    """The whole description."""
    queue = "/queue/fal-ai/kling-image"
    polled = "401 404 421"
    return {
        "openapi": "3.1.0",
        "info": {"title": "retouch rehearsal service", "version": "1"},
        "security": [{"key": []}],
        "paths": {
            "/v1/images/edits": _submit("Edit pictures", "EditBody", "Edited", "TaskAccepted"),
            "/v1/images/generations": _submit(
                "Edit one picture with Kling", "GenerationBody", "TaskAccepted"
            ),
            f"{queue}/o1": _submit("Edit pictures with Kling o1", "QueueBody", "QueueState"),
            "/v1/images/tasks/{task_id}": _get(
                "A task's state", "TaskState", refusals=polled, path="task_id"
            ),
            f"{queue}/requests/{{task_id}}": _get(
                "A queued request's result", "QueueState", refusals=polled, path="task_id"
            ),
            f"{queue}/requests/{{task_id}}/status": _get(
                "A queued request's state", "QueueState", refusals=polled, path="task_id"
            ),
            "/files/{task_id}/{name}": _file(),
            "/v1/models": _get("The models", "Models"),
            "/v2/stat/usage": _usage(),
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_requests(), **_reply_schemas()},
        },
    }
