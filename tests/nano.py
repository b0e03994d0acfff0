"""Nano weights, each model's folder with all of its parts in it."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "load" / "nano"
"""As they come with the program: the auto-encoder that they have in common lies beside them."""


@functools.cache
def whole_nano() -> Path:
    """A folder like `SHIPPED` where every model has its own auto-encoder; nothing is copied."""
    folder = Path(tempfile.mkdtemp(prefix="studio-nano-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(SHIPPED, folder, copy_function=_link, dirs_exist_ok=True)
    for config in folder.glob("*/config.json"):
        options = json.loads(config.read_text())
        if options.get("vae_weights"):
            shared = (config.parent / options["vae_weights"]).resolve()
            shutil.copytree(shared, config.parent / "vae", copy_function=_link)
            config.unlink()  # the link, not what it leads to
            config.write_text(json.dumps(options | {"vae_weights": ""}))
    return folder


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
