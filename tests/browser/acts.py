"""What a visitor does on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from tests.conftest import REPOSITORY

PATIENCE = 600.0
"""Seconds; a busy machine takes long."""
CAR = REPOSITORY / "load" / "images" / "car.png"
FEW = {"Steps of the fit": "20", "Grid cells": "48", "Triangles": "2000"}
"""Options under which a mesh takes seconds."""
LEFT_OUT = ("Turntable video", "Sheet of pictures", "The mesh with its cameras, as a file")
"""Files that take seconds, too."""


def give(page: Any, kind: str, *files: Path) -> None:
    """Choose a way to begin, and files."""
    page.get_by_role("radio", name=kind, exact=True).check(force=True)
    if files:
        page.locator("input[type=file]").set_input_files([str(file) for file in files])


def make(page: Any, **options: str) -> str:
    """Set options, press the button, and return the new job's id."""
    page.locator("summary", has_text="More options").click()
    for name, value in {**FEW, **options}.items():
        page.get_by_label(name, exact=True).fill(value)
    for name in LEFT_OUT:
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_role("button", name="Make the mesh").click()
    page.wait_for_url("**/#/job/*")
    return str(page.url.rsplit("/", 1)[1])


def shown(page: Any, name: str, seconds: float = PATIENCE) -> None:
    """Wait until a mesh of this name is in the viewer."""
    page.locator(f"canvas[data-shown*='/{name}?']").wait_for(timeout=1000 * seconds)


def ended(page: Any, word: str = "Done", seconds: float = PATIENCE) -> None:
    """Wait until the job is over."""
    page.locator(".progress-words", has_text=word).wait_for(timeout=1000 * seconds)


def sight(page: Any, at: int = 0) -> Image.Image:
    """Return what the viewer shows; of several, the one at a position."""
    from io import BytesIO

    page.wait_for_timeout(150)  # it draws at the next frame
    return Image.open(BytesIO(page.locator("canvas.scene").nth(at).screenshot())).convert("RGB")


def differ(first: Image.Image, second: Image.Image) -> float:
    """Return the share of pixels that are not the same."""
    changed = (
        ImageChops.difference(first, second).convert("L").point(lambda value: 255 * (value > 8))
    )
    return changed.histogram()[255] / (first.width * first.height)


def drag(page: Any, right: float, down: float) -> None:
    """Pull the mesh with the mouse."""
    box = page.locator("canvas.scene").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y + down, steps=4)
    page.mouse.up()
