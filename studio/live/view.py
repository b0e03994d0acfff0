"""`studio view RUN`: shows a run, a job or a capture in a browser and follows it."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch

from studio.errors import ConfigError, DataError
from studio.io.paths import existing
from studio.io.yaml_text import Word
from studio.jobs.record import Record
from studio.live.captures import CaptureSource
from studio.live.runs import JobSource, RunSource
from studio.live.sight import Source
from studio.live.stage import Stage
from studio.plugins.overrides import put
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Range

SECONDS = 1.0  # between two looks at the folder
PAUSE = 0.05  # after each, however much is asked for
LOCAL = ("127.0.0.1", "localhost", "::1")
RUNS = "a run folder (outputs/<name>/<tag>...), a job's folder, a capture or a folder of views"


@dataclass
class ViewConfig:
    """Words of `studio view RUN`."""

    host: str = "127.0.0.1"
    """Address to listen at; 127.0.0.1: for this machine alone, 0.0.0.0: for all that reach it."""
    port: Annotated[int, Range(0, 65535)] = 8080
    """Port to listen at; 0: any that is free."""
    dark: bool = False
    """Begin with a dark page; its panel has a switch."""
    data_type: str = "capture"
    """Layout of a capture; capture: recognised."""
    data: dict[str, Any] = field(default_factory=dict)
    """Options of a capture, as `data.background=none`."""


def run_view(folder: str, words: Sequence[str]) -> int:
    """Show a folder until Ctrl-C; returns the exit code.

    Args:
        folder: what is shown.
        words: `key=value` words, the keys of `ViewConfig`.

    Raises:
        StudioError: if a word or the folder cannot be used, viser is not there, or the port is
            taken.
    """
    content: dict[str, Any] = {}
    for word in words:
        key, _, text = word.partition("=")
        put(content, key, Word(text))
    cfg = parse_config(ViewConfig, content)
    check_viser()
    check_port(cfg.host, cfg.port)
    print(f"reading {folder} ...", flush=True)  # it takes seconds
    source = source_of(Path(folder), {"data_type": cfg.data_type, **cfg.data})
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)  # a fit on this machine goes first
    torch.set_num_threads(1)
    with serving(source, cfg.host, cfg.port, dark=cfg.dark) as (server, stage):
        print(
            f"{source.title}: {address(cfg.host, server.get_port())}  (Ctrl-C ends it)", flush=True
        )
        if cfg.host not in LOCAL:
            print("everyone who reaches this machine can look", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            follow(stage)
    return 0


def follow(stage: Stage) -> None:
    """Draw what is new, and what is asked for, for ever."""
    while True:
        stage.update()
        stage.wanted.wait(SECONDS)
        time.sleep(PAUSE)


@contextlib.contextmanager
def serving(
    source: Source, host: str, port: int, *, dark: bool = False
) -> Iterator[tuple[Any, Stage]]:
    """A viser server with the stage of a source, which is stopped at the end.

    Args:
        source: what is shown.
        host: address to listen at.
        port: to listen at; 0: any that is free.
        dark: whether its page begins dark.
    """
    import viser

    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # of what is no browser
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host=host, port=port or free_port(host), verbose=False)
    server.request_share_url = lambda verbose=True: None  # nothing leaves this machine
    try:
        yield server, Stage(server, source, dark=dark)
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


def source_of(folder: Path, options: Mapping[str, Any] | None = None) -> Source:
    """What a folder is: a run, a job, or a capture.

    Args:
        folder: it; for captures the file that describes one, too.
        options: of a capture, see `CaptureSource`.

    Raises:
        StudioError: if it is nothing that can be shown; says what it is.
    """
    existing(folder)
    if (folder / "configs" / "config.yaml").is_file():
        return RunSource(folder)
    if Record(folder).exists():
        return JobSource(folder)
    if folder.is_dir() and (runs := _runs_in(folder)):
        raise DataError(f"{folder} holds runs.", hint=f"name one of them; the newest: {runs[-1]}")
    options = {"data_type": "capture", **(options or {})}
    try:
        return CaptureSource(folder, options)
    except DataError as error:
        if "no capture of a known layout" not in str(error):
            raise
        said = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{said}, and no run.", allowed=RUNS) from error


def _runs_in(folder: Path) -> list[Path]:
    """The runs and jobs in a folder, from the oldest to the newest."""
    patterns = ("*/configs/config.yaml", "*/*/configs/config.yaml", "*/job.json", "*/*/job.json")
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    found.sort(key=lambda path: path.stat().st_mtime)
    return [p.parent if p.name == "job.json" else p.parent.parent for p in found]


def check_viser() -> None:
    """Refuse to go on without viser.

    Raises:
        ConfigError: saying how to get it.
    """
    if find_spec("viser") is None:
        raise ConfigError(
            "studio view needs viser, which is not installed.",
            hint="pip install 'studio3d[view]', or pip install -e .[view] in a checkout",
        )


def check_port(host: str, port: int) -> None:
    """Refuse an address that is not this machine's, or a port that is taken.

    Raises:
        ConfigError: naming a port that is free.
    """
    try:
        with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is taken.",
                hint=f"another view may be open there; a free one: port={free_port(host)}",
            ) from error
        raise ConfigError(
            f"host={host} port={port} cannot be listened at: {error.strerror or error}.",
            allowed="127.0.0.1, 0.0.0.0 or an address of this machine; ports from 1024 on",
        ) from error


def free_port(host: str) -> int:
    """A port that nobody listens at now."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    name = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
