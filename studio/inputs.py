"""Inputs from Python, as a data plugin's options say them: data plugins read files.

Pictures and views in memory are written to a temporary folder, losslessly but for numbers finer
than 8 bits.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.data.base import ConditionData, SceneData
from studio.errors import DataError, StudioError
from studio.io.images import to_uint8
from studio.plugins.registry import config_class
from studio.views import ViewSet

KINDS = (
    "a path, a PIL image, an array [H, W] or [H, W, 3 or 4] of uint8 or of floats in [0, 1], "
    "a tensor [3 or 4, H, W] of floats in [0, 1], a list of them, a ViewSet or a text, "
    "as the config takes"
)


@contextlib.contextmanager
def as_options(given: Any, data: type[ConditionData] | type[SceneData]) -> Iterator[dict[str, Any]]:
    """Yield the options of a data plugin that bring what was given; files live that long.

    Args:
        given: see `KINDS`.
        data: the plugin's class.

    Raises:
        DataError: if the plugin takes nothing of that kind.
    """
    name = data.brought
    if given is None:  # what the config names
        yield {}
        return
    kind = typing.get_type_hints(config_class(data))[name]
    several = typing.get_origin(kind) is list
    if isinstance(given, str) and name == "text":
        yield {name: given}
        return
    with tempfile.TemporaryDirectory(prefix="studio-") as folder:
        place = Path(folder)
        if several:
            items = given if isinstance(given, list | tuple) else [given]
            brought = [_path(item, place / f"{i:03d}") for i, item in enumerate(items)]
            with _spoken_of(folder):
                yield {name: brought}
            return
        if isinstance(given, list | tuple):
            if len(given) != 1:
                raise DataError(
                    f"{len(given)} pictures are given; data option '{name}' takes one.",
                    hint="use a config that takes several, such as viewfusion-composable-neus",
                )
            given = given[0]
        brought_one = _path(given, place / "given")
        with _spoken_of(folder):
            yield {name: brought_one}


@contextlib.contextmanager
def _spoken_of(folder: str) -> Iterator[None]:
    """Let errors speak of what was given, not of the temporary folder where it lies."""
    try:
        yield
    except StudioError as error:
        if folder not in str(error):
            raise
        place = re.escape(folder) + r"\S*?(?=[\s:,']|\.?$|\.\s)"
        text = re.sub(place, "(what was given)", str(error))
        raise type(error)(text) from error


def _path(given: Any, place: Path) -> str:
    """Where a path leads, or where a picture or views in memory have been written to."""
    if isinstance(given, str) and "://" in given:
        raise DataError(f"{given} is an address.", hint="download it first, and give its path")
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, ViewSet):
        return str(given.save(place))
    file = place.with_suffix(".png")
    picture(given).save(file, compress_level=1)  # it is read once
    return str(file)


def picture(given: Any) -> Any:
    """Return a picture in memory as a PIL image.

    Raises:
        DataError: if it is none.
    """
    from PIL import Image, ImageOps

    if isinstance(given, Image.Image):
        return storable(ImageOps.exif_transpose(given))
    if isinstance(given, torch.Tensor):
        if given.dim() != 3 or given.shape[0] not in (3, 4):
            raise DataError(f"a tensor {tuple(given.shape)} is no picture.", allowed=KINDS)
        return Image.fromarray(to_uint8(_checked(given.detach().cpu().float())))
    if not isinstance(given, np.ndarray):
        raise DataError(f"a {type(given).__name__} is no picture.", allowed=KINDS)
    if given.size == 0:
        raise DataError(f"an array {given.shape} is an empty picture.", allowed=KINDS)
    flat = given.ndim == 2
    if not flat and (given.ndim != 3 or given.shape[2] not in (3, 4)):
        raise DataError(f"an array {given.shape} is no picture.", allowed=KINDS)
    if given.dtype == np.uint8:
        return Image.fromarray(given)
    if given.dtype.kind != "f":
        raise DataError(f"an array of {given.dtype} is no picture.", allowed=KINDS)
    values = _checked(torch.from_numpy(np.ascontiguousarray(given, dtype=np.float32)))
    return Image.fromarray(np.round(values.numpy() * 255).astype(np.uint8))


def storable(image: Any) -> Any:
    """Return a PIL image in a mode that PNG files have.

    Raises:
        DataError: if it holds floating-point numbers, whose range nobody knows.
    """
    if image.mode in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"):
        return image
    if image.mode == "F":
        raise DataError("a PIL image of mode F is no picture.", allowed="an array in [0, 1]")
    return image.convert("RGBA" if image.mode in ("RGBa", "La", "PA") else "RGB")


def _checked(values: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()) or values.min() < 0 or values.max() > 1:
        raise DataError("a picture of floating-point numbers leaves [0, 1].", allowed=KINDS)
    return values
