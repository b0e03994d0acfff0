"""A service and a browser for tests and pictures of the page."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""As root, and 3D without a graphics card."""
START_SECONDS = 120.0


def chromium() -> str | None:
    """Return the path of a Chromium, None where there is none; STUDIO_CHROMIUM names another."""
    named = os.environ.get("STUDIO_CHROMIUM")
    return named or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


@contextlib.contextmanager
def service(jobs: Path, *words: str) -> Iterator[str]:
    """Run `studio ui` and yield its address; ends it afterwards.

    Args:
        jobs: folder of the jobs.
        words: further options.
    """
    command = [sys.executable, "-m", "studio", "ui", "port=0", "open=false", f"jobs={jobs}", *words]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
    reader.daemon = True
    reader.start()
    try:
        yield _address(process, said)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _address(process: subprocess.Popen[str], said: list[str]) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"(http://\S+?)/?\s", "".join(said)):
            return found[1]
        time.sleep(0.1)
    raise RuntimeError("studio ui did not start:\n" + "".join(said))


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium and yield playwright's `Browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        with contextlib.closing(started):
            yield started
