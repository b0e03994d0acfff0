"""What stands before every request: who may ask, from where, and how much may be sent.

A page of a stranger that a browser shows may send requests here. Two things stand against it: names
that are not known as ours are refused (a name can be made to lead here, an address cannot), and
what changes something has to come from our own page, which browsers say.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.server.answers import Refusal
from studio.server.settings import ServerConfig
from studio.server.visitors import cookie, key_in, knows, new_key

log = logging.getLogger(__name__)

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self' blob:; font-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may load: what comes from here, and what it made itself."""
FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of everything else: shown by itself, it may do nothing."""
FAULT = "a fault of the program."
SAFE = ("GET", "HEAD", "OPTIONS")
SMALL_BODY = 1 << 20
"""Bytes of a request that brings no files."""
UPLOADS = ("/api/jobs", "/api/prepare")
"""Where files may be sent, which go to the disk as they come."""
MCP, MOST_MCP = "/mcp", 32 << 20
"""Where they come as text, which is held in memory."""
SILENT_SECONDS = 30.0
"""That a sender may pause."""
LEAST_RATE = 10_000
"""Bytes a second that have to come on average, later than that."""
DRAINED = 1 << 30
"""Bytes of a refused upload that are read and dropped: a browser shows no answer before it has sent
everything."""
DRAIN_SECONDS = 60.0
WRONG_PASSWORD_SECONDS = 1.0
"""That a wrong password takes; the next one waits for it."""
MOST_GUESSING = 20
"""Wrong passwords that wait for their turn."""


class Guard:
    """The first to see a request, the last to see an answer.

    Args:
        app: what answers.
        config: the service's options.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.app, self.config = app, config
        self._guessing, self._one_guess = 0, asyncio.Lock()
        self._names = own_names() | {name.lower().rstrip(".") for name in config.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self.config.most_bytes
        limit = {**dict.fromkeys(UPLOADS, most), MCP: min(most, MOST_MCP)}
        body = _Body(receive, limit.get(scope["path"], SMALL_BODY))
        answer = _Answer(send, scope, body)
        try:
            await self._check(scope, headers)
            key = key_in(headers)
            if not key:
                key = new_key()
                answer.cookie = cookie(key)
            scope.setdefault("state", {})["visitor"] = key
            scope["state"]["keyed"] = not answer.cookie
            body.check(headers.get("content-length"))
            await self.app(scope, body, answer)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except asyncio.CancelledError:
            return  # the server is stopped, and this took too long to wait for
        except ConnectionError:
            raise
        except Exception:
            log.exception("a fault in the answer to %s %s", scope["method"], scope["path"])
            await answer.refuse(Refusal(500, FAULT, hint="The server's log says more."))

    async def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what does not come from where it may.

        Raises:
            Refusal: 401, 403 or 421.
        """
        host = headers.get("host", "")
        if not self.known(host):
            raise Refusal(
                421,
                f"this server is not known as {host[:100]!r}.",
                allowed="an address, localhost, or a name that its owner gave: names=[...]",
            )
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if scope["method"] not in SAFE and (
            (origin is not None and origin.partition("://")[2] != host)
            or site not in ("same-origin", "none")
        ):
            raise Refusal(403, "this request comes from another page.", hint="Use this server's.")
        if self.config.password and not knows(self.config.password, headers):
            if "authorization" in headers:
                await self._punish()
            raise Refusal(
                401,
                "a password is needed.",
                hint="Programs send it by HTTP's basic scheme, their key as the name; "
                "the owner of this server knows it.",
            )

    async def _punish(self) -> None:
        """Let wrong passwords pass one at a time, so that guessing takes for ever.

        Raises:
            Refusal: 429 if many wait for that.
        """
        if self._guessing >= MOST_GUESSING:
            raise Refusal(429, "too many wrong passwords.", hint="Try again in a minute.")
        self._guessing += 1
        try:
            async with self._one_guess:
                await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        finally:
            self._guessing -= 1

    def known(self, host: str) -> bool:
        """Whether a Host header names this server: any address, or one of its names."""
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?", host)
        if match is None:
            return False
        name = match[1].strip("[]").lower().rstrip(".")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True


def own_names() -> set[str]:
    """Return the names that this machine goes by."""
    name = socket.gethostname().lower().rstrip(".")
    return {"localhost", name, name.partition(".")[0], f"{name.partition('.')[0]}.local"} - {""}


class _Body:
    """What is sent, up to a limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit = receive, limit
        self._size, self._began = 0, 0.0
        self.over = False  # whether all of it has been read

    async def __call__(self) -> Message:
        if self.over:  # what comes now is that the other side is gone, some day
            return await self._receive()
        self._began = self._began or time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), SILENT_SECONDS)
        except TimeoutError:
            raise self._too_slow() from None
        if message["type"] == "http.request":
            spent = time.monotonic() - self._began
            if spent > SILENT_SECONDS and self._size < LEAST_RATE * spent:
                raise self._too_slow()
            self._size += len(message.get("body", b""))
            self.over = not message.get("more_body", False)
            if self._size > self._limit:
                raise self._too_large()
        return message

    def check(self, length: str | None) -> None:
        """Refuse by what the request says of its length, before anything of it is read."""
        if length is not None and length.isdigit() and int(length) > self._limit:
            raise self._too_large()

    def _too_slow(self) -> Refusal:
        self.over = True  # nothing more is waited for
        return Refusal(408, "the upload is too slow, or has stopped.", hint="Try again.")

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "this is too large for the server.",
            allowed=f"up to {self._limit / 1e6:,.0f} MB",
            hint="Scale the pictures down, or leave some out.",
        )

    async def drain(self) -> None:
        """Read what is still coming, for a while, and keep nothing of it."""
        end, size = time.monotonic() + DRAIN_SECONDS, 0
        while not self.over and size < DRAINED and time.monotonic() < end:
            try:
                message = await asyncio.wait_for(self._receive(), 10)
            except TimeoutError:
                return
            if message["type"] != "http.request":
                return
            size += len(message.get("body", b""))
            self.over = not message.get("more_body", False)


class _Answer:
    """What is answered, with the headers that every answer has.

    A refusal ends only when what was sent has been read: browsers and many clients look at an
    answer after they have sent everything, and see a broken connection otherwise.
    """

    def __init__(self, send: Send, scope: Scope, body: _Body) -> None:
        self._send, self._scope, self._body = send, scope, body
        self._begun = self._refused = False
        self.cookie = ""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun, self._refused = True, message["status"] >= 400
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("content-security-policy", FILE_POLICY)
            headers.setdefault("cache-control", "no-store")
            if self.cookie and not self._refused:
                headers.append("set-cookie", self.cookie)
        elif self._refused and not message.get("more_body") and not self._body.over:
            await self._send({**message, "more_body": True})
            await self._body.drain()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, where nothing was answered yet."""
        if not self._begun:
            await refused(refusal)(self._scope, self._body, self)


def refused(refusal: Refusal) -> JSONResponse:
    """Return the answer that a refusal is."""
    headers = {
        401: {"www-authenticate": 'Basic realm="studio", charset="UTF-8"'},
        429: {"retry-after": "30"},
    }
    return JSONResponse(refusal.content, refusal.status, headers.get(refusal.status))
