"""What is given from Python, as a data plugin's options say it: data plugins read files.

Pictures and views in memory are written to a temporary folder, losslessly but for numbers finer
than 8 bits.
"""

from __future__ import annotations

import contextlib
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.data.base import ConditionData, SceneData
from studio.errors import DataError
from studio.io.images import to_uint8
from studio.plugins.registry import config_class
from studio.views import ViewSet

KINDS = (
    "a path, a PIL image, an array or tensor ([H, W], [H, W, 3 or 4] uint8 or float in [0, 1], "
    "[3 or 4, H, W] for tensors), a list of them, a ViewSet or a text, as the config takes"
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
    kind = typing.get_type_hints(config_class(data))[name]
    several = typing.get_origin(kind) is list
    if isinstance(given, str) and name == "text":
        yield {name: given}
        return
    with tempfile.TemporaryDirectory(prefix="studio-") as folder:
        place = Path(folder)
        if several:
            items = given if isinstance(given, list | tuple) else [given]
            yield {name: [_path(item, place / f"{i:03d}") for i, item in enumerate(items)]}
            return
        if isinstance(given, list | tuple):
            if len(given) != 1:
                raise DataError(
                    f"{len(given)} pictures are given; data option '{name}' takes one.",
                    hint="use a config that takes several, such as viewfusion-composable-neus",
                )
            given = given[0]
        yield {name: _path(given, place / "given")}


def _path(given: Any, place: Path) -> str:
    """Where a path leads, or where a picture or views in memory have been written to."""
    if isinstance(given, str | Path):
        return str(given)
    if isinstance(given, ViewSet):
        return str(given.save(place))
    file = place.with_suffix(".png")
    picture(given).save(file)
    return str(file)


def picture(given: Any) -> Any:
    """Return a picture in memory as a PIL image.

    Raises:
        DataError: if it is none.
    """
    from PIL import Image

    if isinstance(given, Image.Image):
        return given
    if isinstance(given, torch.Tensor):
        if given.dim() != 3 or given.shape[0] not in (3, 4):
            raise DataError(f"a tensor {tuple(given.shape)} is no picture.", allowed=KINDS)
        return Image.fromarray(to_uint8(_checked(given.detach().cpu().float())))
    if not isinstance(given, np.ndarray):
        raise DataError(f"a {type(given).__name__} is no picture.", allowed=KINDS)
    flat = given.ndim == 2
    if not flat and (given.ndim != 3 or given.shape[2] not in (3, 4)):
        raise DataError(f"an array {given.shape} is no picture.", allowed=KINDS)
    if given.dtype == np.uint8:
        return Image.fromarray(given)
    if given.dtype.kind != "f":
        raise DataError(f"an array of {given.dtype} is no picture.", allowed=KINDS)
    values = _checked(torch.from_numpy(np.ascontiguousarray(given, dtype=np.float32)))
    return Image.fromarray(np.round(values.numpy() * 255).astype(np.uint8))


def _checked(values: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()) or values.min() < 0 or values.max() > 1:
        raise DataError("a picture of floating-point numbers leaves [0, 1].", allowed=KINDS)
    return values
