"""MCP's tools: a few functions over the same intake as HTTP's."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import BlobResourceContents, EmbeddedResource
from starlette.concurrency import run_in_threadpool

from studio.errors import StudioError
from studio.server.answers import Refusal, refusal
from studio.server.forms import asked
from studio.server.intake import Intake
from studio.server.report import files_in, kind_of, without_paths
from studio.server.visitors import KEY
from studio.version import __version__

ABOUT = (
    "Makes textured 3D meshes of pictures, texts or captures. Call `methods`, then `submit`, then "
    "`follow` until the phase is done, then `fetch`. Jobs belong to whoever holds the key that "
    "`submit` returns; give it to the other tools if your client keeps no cookies."
)
LONGEST_WAIT = 60.0
"""Seconds that `follow` waits for news."""
MOST_FETCHED = 32 << 20
"""Bytes of a file that is handed out whole; larger ones are fetched over HTTP."""
PICTURES = (".png", ".jpg", ".gif")


@dataclass
class _Sent:
    filename: str | None
    file: BinaryIO


class _Server(MCPServer):
    """Answers wrong arguments in words; unknown ones would be passed over otherwise."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        tool = next((tool for tool in await self.list_tools() if tool.name == name), None)
        if tool is not None:
            known = tool.input_schema["properties"]
            wrong = [f"'{key[:60]}' is unknown" for key in arguments if key not in known]
            missing = set(tool.input_schema.get("required", ())) - set(arguments)
            wrong += [f"'{key}' is missing" for key in sorted(missing)]
            if wrong:
                raise ToolError(f"{name}: {', '.join(wrong)}. It takes {', '.join(known)}.")
        return await super().call_tool(name, arguments, context)


def make_tools(intake: Intake) -> Any:
    """Return the MCP server with its tools."""
    server = _Server(
        "studio", instructions=ABOUT, version=__version__, log_level="ERROR", subscriptions=False
    )

    @server.tool()
    def methods() -> list[dict[str, Any]]:
        """List what can be asked for: what each takes, its licence, the options that it has."""
        return intake.methods()

    @server.tool()
    def submit(
        method: str,
        ctx: Context,
        text: str = "",
        files: list[str] | None = None,
        options: dict[str, Any] | None = None,
        seed: int = 0,
        steps: int = 0,
        seconds: float = 0.0,
        label: str = "",
        key: str = "",
    ) -> dict[str, Any]:
        """Begin a job; returns it with its id, and the key that the other tools know you by.

        Args:
            method: its name, one of `methods`.
            text: what is to be made, for methods that take a text.
            files: pictures, or one zip of a capture, in base64.
            options: those that the method lists, by their dotted keys.
            seed: of all noise.
            steps: of the fit; 0: as many as the method takes.
            seconds: most seconds of the fit; 0: as many as the steps take.
            label: what people call the job.
            key: of an earlier job, to keep them together.
        """
        with _in_words():
            intake.desk.check_room()
            visitor = _visitor(ctx, key)
            given = {"method": method, "text": text, "options": options or {}, "seed": seed}
            given |= {"steps": steps, "seconds": seconds, "label": label}
            sent = [_Sent(f"file {i + 1}", _decoded(one)) for i, one in enumerate(files or [])]
            record = intake.submit(visitor, asked(given), sent)
            return {**intake.desk.report(record), "key": visitor}

    @server.tool()
    async def follow(id: str, ctx: Context, wait: float = 20.0, key: str = "") -> dict[str, Any]:
        """Wait until a job is over, or for some seconds, and tell how far it is.

        Args:
            id: of the job.
            wait: seconds, 60 at most; 0 tells at once.
            key: see `submit`.
        """
        with _in_words():
            visitor, desk = _visitor(ctx, key), intake.desk
            end = asyncio.get_running_loop().time() + min(max(wait, 0.0), LONGEST_WAIT)
            while True:
                told = await run_in_threadpool(lambda: desk.report(desk.one(visitor, id)))
                over = told["phase"] in ("done", "failed", "cancelled")
                if over or desk.closing or asyncio.get_running_loop().time() >= end:
                    return told
                await asyncio.sleep(0.5)

    @server.tool(structured_output=False)
    def fetch(id: str, ctx: Context, file: str = "", format: str = "", key: str = "") -> Any:
        """Return a file that a job has made: a picture as such, another one as a resource.

        Args:
            id: of the job.
            file: one of the files that the job lists, such as preview.png.
            format: instead of it, the mesh in a format: glb, obj (as zip), ply, stl, 3mf, usdz.
            key: see `submit`.
        """
        with _in_words():
            return _fetched(intake, _visitor(ctx, key), id, file, format)

    @server.tool()
    def cancel(id: str, ctx: Context, key: str = "") -> dict[str, Any]:
        """End a job.

        Args:
            id: of the job.
            key: see `submit`.
        """
        with _in_words():
            return intake.desk.report(intake.desk.cancel(_visitor(ctx, key), id))

    return server


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Let refusals reach the caller as they are."""
    try:
        yield
    except (Refusal, StudioError) as error:
        said = error if isinstance(error, Refusal) else refusal(error)
        parts = [said.error, f"Allowed: {said.allowed}" if said.allowed else "", said.hint]
        raise ToolError(without_paths(" ".join(part for part in parts if part))) from error


def _visitor(ctx: Any, key: str) -> str:
    """Who calls: whoever holds the key, else the visitor that the request's headers tell."""
    if key and not KEY.fullmatch(key):
        raise Refusal(422, "this is no key.", allowed="the key that `submit` returned")
    return key or str(ctx.request_context.request.scope["state"]["visitor"])


def _decoded(text: str) -> BinaryIO:
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return io.BytesIO(base64.b64decode("".join(payload.split()), validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            422, "a file is not in base64.", hint="Encode its bytes as base64."
        ) from error


def _fetched(intake: Intake, visitor: str, name: str, file: str, kind: str) -> Any:
    record = intake.desk.one(visitor, name)
    if kind:
        path, called = intake.mesh(record, kind)
    else:
        known = {inner: path for inner, path, _ in files_in(record.result)}
        if file not in known:
            raise Refusal(404, f"there is no file {file[:60]!r}.", allowed=", ".join(known)[:1000])
        path, called = known[file], file
    address = f"/api/jobs/{name}/mesh.{kind}" if kind else f"/api/jobs/{name}/files/{file}"
    if path.stat().st_size > MOST_FETCHED:
        raise Refusal(413, f"{called} is too large for this.", hint=f"Fetch it by HTTP: {address}")
    if path.suffix in PICTURES:
        return Image(path=path)
    content = BlobResourceContents(
        uri=f"studio:{address}",
        mime_type=kind_of(path),
        blob=base64.b64encode(path.read_bytes()).decode(),
    )
    return EmbeddedResource(type="resource", resource=content)
