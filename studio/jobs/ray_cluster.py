"""A Ray cluster is joined, and what its actors find in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from studio.errors import ConfigError
from studio.jobs.process import PACKAGE, THREADS

HANDED_ON = ("STUDIO_", "HF_", "TRANSFORMERS_")
"""What the names of variables of the environment begin with that actors get."""


def joined(address: str) -> tuple[Any, bool]:
    """Ray, connected, and whether this process has to end that.

    Raises:
        ConfigError: if there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return ray, False
    try:
        _knock(address)
        with our_signals():
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="error",
                include_dashboard=None if address else False,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"there is no Ray cluster at address '{address}': {str(error).splitlines()[0]}",
            hint="start one: ray start --head, then ray start --address=... on other machines",
        ) from error
    return ray, True


@contextlib.contextmanager
def our_signals() -> Iterator[None]:
    """Keep this process's answer to a termination signal, in place of which Ray puts its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """See whether anybody listens at HOST:PORT; Ray itself tries for minutes.

    Raises:
        OSError: if nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5.0).close()


def environment(threads: str = "") -> dict[str, str]:
    """Variables that actors need, wherever they are.

    Args:
        threads: of the processor, for each; empty: as many as there are.
    """
    found = dict.fromkeys(THREADS, threads) if threads else {}
    found |= {k: v for k, v in os.environ.items() if k.startswith(HANDED_ON)}
    found["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    )
    return found
