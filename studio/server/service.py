"""The service over HTTP: every path, what it takes and what it answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Route

from studio.errors import StudioError
from studio.plugins.parsing import parse_config
from studio.server.answers import Refusal, refusal
from studio.server.desk import Desk
from studio.server.forms import Again, asked, files_of, form, words, words_of
from studio.server.guard import FAULT, PAGE_POLICY, Guard, refused
from studio.server.helper import Helper
from studio.server.intake import Intake
from studio.server.pages import PAGE, STYLE, docs_page, example_files, examples, page_file
from studio.server.report import files_in, kind_of, without_paths
from studio.server.schema import describe
from studio.server.settings import ServerConfig
from studio.server.tools import Tools
from studio.version import __version__

LOOK_SECONDS = 0.4
"""Between two looks at a job that is followed."""
ALIVE_SECONDS = 15.0
"""After which a line says that the connection still stands."""
SWEEP_SECONDS = 600.0
"""Between two looks for what is to be cleared away."""
MOST_FOLLOWED = 200
"""Event streams at a time."""


def make_app(config: ServerConfig, desk: Desk, helper: Helper) -> Any:
    """Return the ASGI application.

    Args:
        config: the service's options.
        desk: where jobs are.
        helper: process for what takes a moment.
    """
    intake = Intake(config, desk, helper)
    mcp = Tools(intake)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        sweep = asyncio.create_task(_sweep(desk))
        try:
            yield
        finally:
            sweep.cancel()
            await mcp.close()

    app = FastAPI(
        title="studio",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=life,
    )
    for kind in (Refusal, StudioError, HTTPException, OSError):
        app.add_exception_handler(kind, _said)
    app.add_exception_handler(Exception, _fault)
    app.router.routes.append(Route("/mcp", mcp))
    _looking(app, config, desk, intake)
    _doing(app, desk, intake)
    _files(app, desk, intake)
    _pages(app)
    describe(app)
    return Guard(app, config)


async def _sweep(desk: Desk) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await run_in_threadpool(desk.clear)


async def _said(_: Request, error: Exception) -> Response:
    """Answer with a refusal, in one form for all."""
    if isinstance(error, Refusal):
        return refused(error)
    if isinstance(error, StudioError):
        return refused(refusal(type(error)(without_paths(str(error)))))
    if isinstance(error, OSError):
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return refused(
            Refusal(507, "the server's disk is full.", hint="Its owner has to make room.")
        )
    status = getattr(error, "status_code", 500)
    told = {404: "there is nothing at this address.", 405: "this cannot be done here."}
    return refused(Refusal(status, told.get(status, str(getattr(error, "detail", error)))))


async def _fault(_: Request, error: Exception) -> Response:
    """Answer where the program is wrong; the guard writes it down."""
    return refused(Refusal(500, FAULT, hint="The server's log says more."))


def _visitor(request: Request) -> str:
    return str(request.scope["state"]["visitor"])


def _looking(app: FastAPI, config: ServerConfig, desk: Desk, intake: Intake) -> None:
    """What only looks."""

    @app.get("/api/health", tags=["service"])
    def health() -> dict[str, Any]:
        """Whether the service is up, how busy it is, and what it keeps."""
        return {
            "program": f"studio {__version__}",
            "waiting": desk.waiting,
            "queue": config.queue,
            "keep": config.keep,
            "days": config.days,
            "most_mb": config.most_mb,
            "most_megapixels": config.most_megapixels,
        }

    @app.get("/api/methods", tags=["service"])
    def list_methods() -> list[dict[str, Any]]:
        """What can be asked for, with what each takes, its licence and the options it has."""
        return intake.methods()

    @app.get("/api/formats", tags=["service"])
    def list_formats() -> list[dict[str, Any]]:
        """Kinds of mesh files that a result can be had in."""
        return intake.formats()

    @app.get("/api/examples", tags=["service"])
    def list_examples() -> list[dict[str, str]]:
        """Pictures to begin with."""
        return examples()

    @app.get("/api/examples/{name}", tags=["service"], response_class=FileResponse)
    def example(name: str) -> FileResponse:
        """One of them."""
        path = example_files().get(name)
        if path is None:
            raise Refusal(404, "there is no such example.")
        return FileResponse(path, media_type="image/png")

    @app.get("/api/jobs", tags=["jobs"])
    def list_jobs(request: Request) -> list[dict[str, Any]]:
        """The visitor's own jobs, newest first."""
        return desk.reports(desk.all(_visitor(request)))

    @app.get("/api/jobs/{name}", tags=["jobs"])
    def show_job(name: str, request: Request) -> dict[str, Any]:
        """How far a job is, and what files it has made so far."""
        return desk.report(desk.one(_visitor(request), name))

    @app.get("/api/jobs/{name}/events", tags=["jobs"], response_class=StreamingResponse)
    async def follow(name: str, request: Request) -> StreamingResponse:
        """Server-sent events: the job, at each change, until it is over."""
        record = await run_in_threadpool(desk.one, _visitor(request), name)
        events = _events(desk, _visitor(request), record.folder.name)
        return StreamingResponse(events, media_type="text/event-stream")


_followed = 0


async def _events(desk: Desk, visitor: str, name: str) -> AsyncIterator[str]:
    global _followed
    if _followed >= MOST_FOLLOWED:
        yield "event: busy\ndata: {}\n\n"
        return
    _followed += 1
    try:
        last, quiet = "", 0.0
        while not desk.closing:
            try:
                told = await run_in_threadpool(lambda: desk.report(desk.one(visitor, name)))
            except Refusal:
                yield "event: gone\ndata: {}\n\n"
                return
            over = told["phase"] in ("done", "failed", "cancelled")
            text = json.dumps(told)
            steady = json.dumps({**told, "seconds": 0, "seconds_left": 0})
            if steady != last or over:
                yield f"data: {text}\n\n"
                last, quiet = steady, 0.0
            elif quiet >= ALIVE_SECONDS:
                yield ": still here\n\n"
                quiet = 0.0
            if over:
                return
            await asyncio.sleep(LOOK_SECONDS)
            quiet += LOOK_SECONDS
    finally:
        _followed -= 1


def _doing(app: FastAPI, desk: Desk, intake: Intake) -> None:
    """What makes, ends and removes jobs."""

    @app.post("/api/prepare", tags=["jobs"])
    async def prepare(request: Request) -> Response:
        """The picture as the method will be shown it, and remarks; of a text, remarks alone."""
        async with form(request) as read:
            given = words_of(read, "options")
            pictures, notes = await run_in_threadpool(intake.prepare, given, files_of(read))
        if not pictures or "application/json" in request.headers.get("accept", ""):
            shown = [f"data:image/png;base64,{base64.b64encode(p).decode()}" for p in pictures]
            return JSONResponse({"pictures": shown, "warnings": notes})
        headers = {"x-studio-warnings": json.dumps(notes)}
        return Response(pictures[0], media_type="image/png", headers=headers)

    @app.post("/api/jobs", tags=["jobs"], status_code=201)
    async def submit(request: Request) -> JSONResponse:
        """A new job."""
        await run_in_threadpool(desk.check_room)
        async with form(request) as read:
            wanted, files = asked(words_of(read, "request")), files_of(read)
            record = await run_in_threadpool(intake.submit, _visitor(request), wanted, files)
        return JSONResponse(await run_in_threadpool(desk.report, record), status_code=201)

    @app.post("/api/jobs/{name}/again", tags=["jobs"], status_code=201)
    async def again(name: str, request: Request) -> JSONResponse:
        """A new job with the same input and another seed."""
        given = words((await request.body()) or b"{}", "the request")
        seed = parse_config(Again, given).seed
        record = await run_in_threadpool(desk.again, _visitor(request), name, seed)
        return JSONResponse(await run_in_threadpool(desk.report, record), status_code=201)

    @app.post("/api/jobs/{name}/cancel", tags=["jobs"])
    def cancel(name: str, request: Request) -> dict[str, Any]:
        """End a job."""
        return desk.report(desk.cancel(_visitor(request), name))

    @app.delete("/api/jobs/{name}", tags=["jobs"], status_code=204, response_class=Response)
    def remove(name: str, request: Request) -> Response:
        """Remove a job and all its files."""
        desk.remove(_visitor(request), name)
        return Response(status_code=204)


def _files(app: FastAPI, desk: Desk, intake: Intake) -> None:
    """What a job has made."""

    @app.get("/api/jobs/{name}/files/{inner:path}", tags=["jobs"], response_class=FileResponse)
    def file(name: str, inner: str, request: Request) -> FileResponse:
        """A file of the result, by the name that the job lists."""
        record = desk.one(_visitor(request), name)
        for known, path, status in files_in(record.result):
            if known == inner:
                lasting = request.query_params.get("v") == str(status.st_mtime_ns)
                kept = "private, max-age=86400, immutable" if lasting else "no-store"
                return FileResponse(path, media_type=kind_of(path), headers={"cache-control": kept})
        raise Refusal(404, "the job has no such file.", hint="It may not be made yet.")

    @app.get("/api/jobs/{name}/mesh.{kind}", tags=["jobs"], response_class=FileResponse)
    def mesh(name: str, kind: str, request: Request) -> FileResponse:
        """The finished mesh in a format; several files come as one zip."""
        record = desk.one(_visitor(request), name)
        path, called = intake.mesh(record, kind)
        return FileResponse(path, media_type=kind_of(path), filename=called)


def _pages(app: FastAPI) -> None:
    """What is looked at with a browser."""
    policy = {"content-security-policy": PAGE_POLICY}

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers=policy)

    @app.get("/api/docs.css", include_in_schema=False)
    def docs_style() -> Response:
        return Response(STYLE, media_type="text/css")

    @app.get("/api/{inner:path}", include_in_schema=False)
    def nothing(inner: str) -> None:
        raise Refusal(404, "there is nothing at this address.", hint="/api/docs lists what is.")

    @app.get("/{inner:path}", include_in_schema=False)
    def page(inner: str, request: Request) -> Response:
        path, kind = page_file(PAGE, inner)
        status = path.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        headers = {**policy, "cache-control": "no-cache", "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type=kind, headers=headers)
