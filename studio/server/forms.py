"""Requests that bring files: read within limits, and turned into words where they are not right."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from studio.io.reading import parse_json
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Range, Seed
from studio.server.answers import Refusal
from studio.server.methods import MOST_STEPS
from studio.server.uploads import MOST_PICTURES

MOST_UPLOADS = 4
"""At a time; others wait for their turn."""
UPLOAD_SECONDS = 900.0
"""After which an upload is given up."""
MOST_WORDS = 1 << 16
"""Bytes of the part that is JSON."""
LONGEST_TEXT = 500

_turn = asyncio.Semaphore(MOST_UPLOADS)


@dataclass
class Asked:
    """What a job is asked for with: the part `request`, JSON."""

    method: str = ""
    """Name of a method, see `GET /api/methods`."""
    text: str = ""
    """What is to be made, for methods that take a text."""
    options: dict[str, Any] = field(default_factory=dict)
    """Those that the method lists, by their dotted keys."""
    seed: Seed = 0
    """Of all noise."""
    steps: Annotated[int, Range(0, MOST_STEPS)] = 0
    """Of the fit; 0: as many as the method takes."""
    seconds: Annotated[float, Range(0, 86400)] = 0.0
    """Most seconds of the fit; 0: as many as the steps take."""
    label: str = ""
    """What people call the job."""


@dataclass
class Again:
    """What a job is asked for once more with."""

    seed: Seed | None = None
    """Of all noise; null: the next one."""


@contextlib.asynccontextmanager
async def form(request: Request) -> AsyncIterator[FormData]:
    """Read a request with files, of which no more than a few are read at a time.

    Raises:
        Refusal: if it is no such request, or stops in the middle.
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Refusal(
            415, "files are sent as multipart/form-data.", hint="See /api/docs for an example."
        )
    async with _turn:
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                read = await request.form(
                    max_files=MOST_PICTURES, max_fields=8, max_part_size=MOST_WORDS
                )
        except TimeoutError as error:
            raise Refusal(408, "the upload took too long.") from error
        except ClientDisconnect as error:
            raise Refusal(400, "the upload broke off.") from error
        except (HTTPException, MultiPartException, ValueError, UnicodeError) as error:
            said = getattr(error, "detail", None) or str(error) or "it cannot be read"
            raise Refusal(
                400,
                f"the form is not right: {str(said)[:200]}",
                allowed=f"up to {MOST_PICTURES} files and a request of {MOST_WORDS:,} bytes",
            ) from error
        try:
            yield read
        finally:
            await read.close()


def files_of(read: FormData) -> list[UploadFile]:
    """Return the files of a form.

    Raises:
        Refusal: if they are called otherwise.
    """
    others = [k for k, v in read.multi_items() if isinstance(v, UploadFile) and k != "files"]
    if others:
        raise Refusal(422, f"the form holds the file '{others[0][:60]}'.", allowed="files")
    return [item for item in read.getlist("files") if isinstance(item, UploadFile)]


def words_of(read: FormData, name: str) -> Mapping[str, Any]:
    """Return a part of a form that is a JSON object; empty where it is not there.

    Raises:
        Refusal: if it is something else.
    """
    given = read.get(name, "{}")
    if not isinstance(given, str):
        raise Refusal(422, f"the part '{name}' is a file.", allowed="JSON")
    return words(given, f"the part '{name}'")


def words(given: str | bytes, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        Refusal: if it is something else.
    """
    try:
        value = parse_json(given, finite=True)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"{what} is no JSON: {str(error)[:120]}.") from error
    if not isinstance(value, dict):
        raise Refusal(422, f"{what} is a {type(value).__name__}.", allowed="a JSON object")
    return value


def asked(given: Mapping[str, Any]) -> Asked:
    """Return what a job is asked for with.

    Raises:
        ConfigError: if something in it cannot be used.
    """
    wanted = parse_config(Asked, {k: v for k, v in given.items() if v is not None}, key="")
    if len(wanted.text) > LONGEST_TEXT:
        raise Refusal(
            422, f"the text has {len(wanted.text):,} characters.", allowed=f"up to {LONGEST_TEXT}"
        )
    return wanted
