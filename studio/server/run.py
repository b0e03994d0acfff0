"""`studio ui`: starts the service and says where it is."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from studio.errors import ConfigError, StudioError, Terminated
from studio.io.files import make_folder
from studio.jobs import LocalExecutor
from studio.plugins.parsing import parse_config
from studio.runs.lock import RunLock
from studio.server import light
from studio.server.answers import Refusal
from studio.server.desk import Desk
from studio.server.helper import Helper
from studio.server.methods import methods
from studio.server.settings import ServerConfig

NEEDS = {"fastapi": "fastapi", "uvicorn": "uvicorn", "multipart": "python-multipart", "mcp": "mcp"}
"""Packages of the extra `ui`, by their modules."""
WARMED = ("epidiff-neus", "viewfusion-composable-neus")
"""Configs of which the page begins with one."""
LOCAL = ("127.0.0.1", "localhost", "::1")


def run_ui(words: Sequence[str]) -> NoReturn:
    """Serve until somebody stops it.

    Args:
        words: `key=value` words, the keys of `ServerConfig`.

    Raises:
        StudioError: if a word cannot be used, a package is missing, or the address is taken.
    """
    config = settings(words)
    check_packages()
    listener = listen(config)
    config = replace(config, port=listener.getsockname()[1])
    with listener, alone(make_folder(config.jobs)):
        serve(config, listener)


def settings(words: Sequence[str]) -> ServerConfig:
    """Return the options that words give.

    Raises:
        ConfigError: if one cannot be used.
    """
    from studio.io.yaml_text import Word

    given = {key: Word(value) for key, _, value in (word.partition("=") for word in words)}
    config = parse_config(ServerConfig, given)
    if not config.password and (secret := os.environ.get("STUDIO_PASSWORD")):
        config = replace(config, password=secret)
    return config


def check_packages() -> None:
    """Refuse to start without the packages of the extra `ui`.

    Raises:
        ConfigError: naming those that are missing.
    """
    missing = [name for module, name in NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"studio ui needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed.",
            hint="pip install 'studio3d[ui]', or in a checkout: pip install -e '.[ui]'",
        )


def listen(config: ServerConfig) -> socket.socket:
    """Return a socket that listens where the options say.

    Raises:
        ConfigError: if that address cannot be had.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(256)
    except (OSError, UnicodeError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"nothing can listen at {config.host}, port {config.port}: "
            f"{getattr(error, 'strerror', None) or error}.",
            allowed="host: 127.0.0.1, 0.0.0.0 or an address of this machine; port: a free one",
            hint="port=0 takes any free one; another studio ui may be running already.",
        ) from error
    return listener


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only server of a folder of jobs.

    Raises:
        ConfigError: naming the process that is one already.
    """
    lock = RunLock(folder, other="jobs").acquire()
    try:
        yield
    finally:
        lock.release()


def serve(config: ServerConfig, listener: socket.socket) -> NoReturn:
    """Serve at a socket until somebody stops it, which is raised as anywhere else."""
    import uvicorn

    from studio.server.service import make_app

    with contextlib.closing(LocalExecutor(config.workers)) as executor:
        desk = Desk(config, executor)
        with contextlib.closing(Helper()) as helper:
            for work, *about in ((methods,), (_warm, helper, executor)):
                threading.Thread(target=work, args=about, daemon=True).start()
            app = make_app(config, desk, helper)
            options = uvicorn.Config(
                app,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=3,
                proxy_headers=False,
                lifespan="on",
            )
            say_where(config, desk.taken_up)
            stopped_by = until_stopped(uvicorn.Server(options), listener, desk)
    if stopped_by == signal.SIGTERM:
        raise Terminated(128 + stopped_by)
    raise KeyboardInterrupt


def until_stopped(server: Any, listener: socket.socket, desk: Desk) -> int:
    """Serve until a signal comes; returns its number, once everything has ended in good order."""
    came: list[int] = []

    def heard(number: int, frame: Any) -> None:
        came.append(number)
        desk.closing = True
        server.handle_exit(number, frame)

    @contextlib.contextmanager
    def listening() -> Iterator[None]:
        before = {n: signal.signal(n, heard) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

    server.capture_signals = listening  # uvicorn's own raises the signal anew, within its loop
    server.run(sockets=[listener])
    return came[0] if came else signal.SIGINT


def _warm(helper: Helper, executor: LocalExecutor) -> None:
    """Start one process after the other while the page is looked at: its first picture first."""
    with contextlib.suppress(StudioError, Refusal, RuntimeError):
        helper(light.warm, WARMED)
    with contextlib.suppress(StudioError, RuntimeError):
        executor.start()


def say_where(config: ServerConfig, taken_up: int) -> None:
    """Print where the service is, and open the page where a browser may be seen."""
    host = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{config.port}/"
    print(f"studio is at {address}  (Ctrl-C stops it)")
    print(f"  HTTP: {address}api/docs   MCP: {address}mcp   jobs: {config.jobs}")
    if taken_up:
        print(f"  {taken_up} unfinished jobs of an earlier start are taken up again.")
    if config.host not in LOCAL and not config.password:
        print("  Everybody who reaches this machine may use it; password=... asks for one.")
    sys.stdout.flush()
    if config.open and config.host in LOCAL and sys.stdout.isatty() and _has_screen():
        threading.Timer(0.5, webbrowser.open, [address]).start()


def _has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
