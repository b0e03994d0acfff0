"""The service for programs that speak MCP; its library is loaded when somebody does."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from studio.server.guard import MOST_MCP
from studio.server.intake import Intake


class Tools:
    """ASGI application that speaks MCP (streamable HTTP); its library is loaded when it is needed.

    Args:
        intake: what the tools do.
    """

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self._manager: Any = None
        self._starting = asyncio.Lock()
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        async with self._starting:
            if self._manager is None:
                await self._start()
        await self._manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End what is running."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _start(self) -> None:
        made = await run_in_threadpool(_made, self.intake)
        made.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=MOST_MCP,
            host=self.intake.config.host,
        )
        manager, ready = made.session_manager, asyncio.Event()
        manager.security_settings = None  # the guard has looked at host and origin already

        async def run() -> None:
            async with manager.run():
                ready.set()
                await self._stop.wait()

        self._running = asyncio.create_task(run())
        await ready.wait()
        self._manager = manager


def _made(intake: Intake) -> Any:
    from studio.server.toolbox import make_tools

    return make_tools(intake)
