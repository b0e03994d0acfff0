"""The interface's description beyond what functions tell: parts of forms, and how refusals look."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from studio.plugins.sources import PARSING
from studio.server.forms import Again, Asked

ABOUT = (
    "Pictures, a text or a capture in, a textured mesh out. A visitor is known by a cookie, which "
    "the first answer sets, or by a key of his own choice (16 to 200 letters and digits) in the "
    "header Authorization: Bearer KEY or X-Studio-Visitor: KEY; jobs are seen by the visitor who "
    "made them. A refusal is {error, allowed?, hint?}, sentences for people."
)
REFUSALS = {
    "401": "A password is needed (HTTP's basic scheme).",
    "404": "There is no such job, file or format.",
    "413": "Too large.",
    "422": "It cannot be used; the answer says why.",
    "429": "Busy: the queue is full.",
}
TOLD = {"properties": {n: {"type": "string"} for n in ("error", "allowed", "hint")}}
FILES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "Pictures, or one zip of a capture; under whatever names.",
}


def describe(app: FastAPI) -> None:
    """Put into the application's description what it cannot know."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            schema["info"]["description"] = ABOUT
            _bodies(schema["paths"])
            _refusals(schema["paths"])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _bodies(paths: dict[str, Any]) -> None:
    asked = {"type": "string", "description": "JSON of:", **_plain(Asked)}
    options = {
        "type": "string",
        "description": "JSON: {method, options, text}, the options those of the data plugin.",
    }
    form = {"/api/jobs": {"request": asked}, "/api/prepare": {"options": options}}
    for path, parts in form.items():
        content = {"schema": {"type": "object", "properties": {**parts, "files": FILES}}}
        paths[path]["post"]["requestBody"] = {"content": {"multipart/form-data": content}}
    content = {"application/json": {"schema": _plain(Again)}}
    paths["/api/jobs/{name}/again"]["post"]["requestBody"] = {"content": content}


def _plain(cls: type) -> dict[str, Any]:
    """What the fields of a dataclass are, without the ranges that only this program knows."""
    cls.__pydantic_config__ = {"use_attribute_docstrings": True}  # type: ignore[attr-defined]
    with PARSING:  # the docstrings of its fields are read from its source
        schema = TypeAdapter(cls).json_schema()
    for part in schema["properties"].values():
        part.pop("title", None)
    return {"properties": schema["properties"]}


def _refusals(paths: dict[str, Any]) -> None:
    content = {"application/json": {"schema": TOLD}}
    for path, operations in paths.items():
        for told in operations.values():
            brings = ("413", "422", "429") if "requestBody" in told else ()
            told["responses"].pop("422", None)  # of FastAPI's own form, which is not answered
            for status in ("401", *(("404",) if "{" in path else ()), *brings):
                told["responses"][status] = {"description": REFUSALS[status], "content": content}
