"""What a browser is shown: the page's own files, examples, and the HTTP interface in words."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from studio.io import shipped
from studio.server.answers import Refusal

PAGE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".hdr": "application/octet-stream",
    ".wasm": "application/wasm",
}


@functools.lru_cache(maxsize=4)
def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in KINDS and path.is_file()
    }


def page_file(folder: Path, inner: str) -> tuple[Path, str]:
    """Return a file of the page and its kind; the page itself where nothing is named.

    Raises:
        Refusal: if there is none of that name.
    """
    path = _files(folder).get(inner or "index.html")
    if path is None or not path.is_file():
        _files.cache_clear()
        path = _files(folder).get(inner or "index.html")
    if path is None:
        raise Refusal(404, "there is nothing at this address.", allowed="/, /api/docs")
    return path, KINDS[path.suffix]


def example_files() -> dict[str, Path]:
    """Return the example pictures by their names."""
    folder = shipped.ROOT / "load" / "images"
    return {path.name: path for path in sorted(folder.glob("*.png"))}


def examples() -> list[dict[str, str]]:
    """Return what is told of them."""
    return [{"name": name, "url": f"/api/examples/{name}"} for name in example_files()]


STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark; }
code, pre { font: 14px/1.45 ui-monospace, monospace; overflow-x: auto; }
section { border-top: 1px solid #8884; padding: .5rem 0; }
h2 { font-size: 1rem; } dt { font-weight: 600; }
"""


def docs_page(api: Mapping[str, Any]) -> str:
    """Return the HTTP interface as a page of its own, which loads nothing."""
    body = "\n".join(_operations(api))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        "<title>studio: HTTP interface</title>"
        "<link rel=stylesheet href=/api/docs.css>"
        f"<h1>studio, HTTP interface</h1><p>{html.escape(api['info'].get('description', ''))}</p>"
        "<p>As OpenAPI: <a href=/api/openapi.json>openapi.json</a>.</p>"
        f"{body}</html>"
    )


def _operations(api: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in api["paths"].items():
        for verb, told in operations.items():
            text = html.escape(told.get("description") or told.get("summary") or "")
            yield f"<section><h2><code>{verb.upper()} {html.escape(path)}</code></h2><p>{text}</p>"
            for kind, content in told.get("requestBody", {}).get("content", {}).items():
                yield f"<dl><dt>{html.escape(kind)}</dt>"
                for name, part in content.get("schema", {}).get("properties", {}).items():
                    said = html.escape(part.get("description", ""))
                    yield f"<dd><code>{html.escape(name)}</code>: {said}</dd>"
                    if "properties" in part:
                        shown = html.escape(json.dumps(part["properties"], indent=1))
                        yield f"<dd><pre>{shown}</pre></dd>"
                yield "</dl>"
            answers = ", ".join(sorted(told.get("responses", {})))
            yield f"<p>Answers: {html.escape(answers)}</p></section>"
