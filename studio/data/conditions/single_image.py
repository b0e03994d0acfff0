"""One picture of an object, made ready for guidance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.foreground import METHODS, foreground
from studio.data.base import ConditionData
from studio.errors import DataError
from studio.io.images import (
    centre_object,
    object_box,
    object_square,
    read_picture,
    resize,
    save_png,
)
from studio.io.picture_files import frames
from studio.plugins.ranges import Angle, Elevation, OneOf, Pixels, Range, Share
from studio.plugins.registry import register
from studio.views import FINEST, Condition, Original

LEAST = 2e-3
"""Share of the prepared picture that shows the object, at least: 8 pixels of 64 by 64."""


@register("data", "single-image")
class SingleImageData(ConditionData):
    """One picture of an object: background removed, object centred and of the size asked for."""

    @dataclass
    class Config:
        """Which picture, and how it is prepared."""

        image: str = ""
        """The picture file."""
        background: Annotated[str, OneOf(METHODS)] = "auto"
        """How the object is cut out: auto, alpha, border, rembg or none."""
        background_model: str | None = None
        """ONNX file on this machine for background=rembg."""
        tolerance: Share = 0.08
        """Largest colour difference, of 1, from an even background that is removed."""
        holes: bool = True
        """Enclosed areas of exactly an even background's colour (a handle) are background, too."""
        ratio: Annotated[float, Range(0, 1, above=True)] | None = 0.75
        """Size of the object (see `fit`) over the side of the picture; 0.78 is Zero-1-to-3's 200 of
        256 px. null keeps the picture's framing."""
        fit: Literal["box", "breadth"] = "box"
        """What `ratio` measures: box (longer side of the object's box, which is centred) or breadth
        (its width, the picture's own centre staying where it is: ViewFusion)."""
        resolution: Pixels = 256
        """Side of the prepared picture in pixels."""
        elevation_deg: Elevation | None = 30.0
        """Elevation of the camera that took the picture, in degrees; 0 is level with the object.
        null: unknown, for guidance that finds it out or does without."""
        azimuth_deg: Angle = 0.0
        """World azimuth, in degrees, at which that camera is placed."""
        prepared: str | None = None
        """PNG file that receives the prepared picture, to look at."""

    def __init__(self, cfg: Config) -> None:
        """Take the options; the picture is read by `condition`."""
        if not cfg.image:
            raise DataError("data.image is not given.", hint="Add data.image=<picture>.")
        self.cfg = cfg

    def condition(self) -> Condition:
        """Read and prepare the picture.

        Raises:
            DataError: if it cannot be read or the object cannot be told from the background.
        """
        cfg = self.cfg
        notes: list[str] = []
        picture = self._cut_out(read_picture(cfg.image, self._needed), notes)
        if (count := frames(cfg.image)) > 1:
            notes.append(f"the first of the file's {count} frames is taken")
        original = Original(picture, *self._square(picture)).trimmed()
        if cfg.ratio is None:
            picture = resize(_squared(picture), cfg.resolution, cfg.resolution, smooth=True)
        elif cfg.fit == "breadth":
            picture = fit_breadth(picture, cfg.resolution, cfg.ratio)
        else:
            picture = centre_object(picture, cfg.resolution, cfg.ratio)
        _check_size(picture)
        if cfg.prepared:
            save_png(cfg.prepared, picture)
        meta = {
            "image": cfg.image,
            "background": cfg.background,
            "ratio": cfg.ratio,
            "fit": cfg.fit,
            "notes": notes,
        }
        return Condition(
            image=picture,
            elevation_deg=cfg.elevation_deg,
            azimuth_deg=cfg.azimuth_deg,
            originals=(original,),
            meta=meta,
        )

    def _cut_out(self, picture: Tensor, notes: list[str]) -> Tensor:
        cfg = self.cfg
        return foreground(
            picture,
            cfg.background,
            tolerance=cfg.tolerance,
            model=cfg.background_model,
            holes=cfg.holes,
            notes=notes,
        )

    def _needed(self, small: Tensor) -> float:
        """At which size a large picture is of use, told by its object in a small copy."""
        if self.cfg.background == "rembg":  # which reduces pictures by itself
            return math.inf
        try:
            left, top, right, bottom = object_box(self._cut_out(small, []))
        except DataError:  # the whole picture tells why
            return math.inf
        side = max(right - left - 2, bottom - top - 2, 1)  # its outermost pixels are shared
        return max(FINEST, self.cfg.resolution) * max(small.shape[1:]) / side

    def _square(self, picture: Tensor) -> tuple[float, float, float]:
        """Left, top and side in pixels of the part of the cut-out picture that is prepared."""
        cfg, (height, width) = self.cfg, picture.shape[1:]
        if cfg.ratio is not None and cfg.fit == "box":
            return object_square(picture, cfg.ratio)
        side = max(height, width) if cfg.ratio is None else _breadth_side(picture, cfg.ratio)
        return -((side - width) // 2), -((side - height) // 2), side


def _check_size(prepared: Float[Tensor, "4 h w"]) -> None:
    """Refuse an object of which a method would see next to nothing."""
    seen = int((prepared[3] > 0.5).sum())
    if seen < LEAST * prepared[3].numel():
        height, width = prepared.shape[1:]
        raise DataError(
            f"at {width}x{height} px, which the method sees, {seen} pixels show the object.",
            hint="Crop the picture to the object, or set data.ratio=0.75, which does so; what is "
            "long and thin cannot be shown so small.",
        )


def fit_breadth(
    picture: Float[Tensor, "4 h w"], size: int, breadth: float
) -> Float[Tensor, "4 size size"]:
    """Scale a picture about its own centre until the object is so broad.

    Where the object would be cut off it stays smaller; ViewFusion's script cuts it.

    Args:
        picture: straight alpha in [0, 1], background transparent.
        size: side of the result in pixels.
        breadth: width of the object's box over `size`.

    Raises:
        DataError: if the picture is empty or `breadth` is not in (0, 1].
    """
    return resize(_squared(picture, _breadth_side(picture, breadth)), size, size, smooth=True)


def _breadth_side(picture: Tensor, breadth: float) -> int:
    """Side of the square about the picture's centre that `fit_breadth` scales."""
    if not 0 < breadth <= 1:
        raise DataError(f"data.ratio is {breadth}.", allowed="above 0, at most 1; 0.75 is usual")
    height, width = picture.shape[1:]
    left, top, right, bottom = object_box(picture)
    reach = max(width - 2 * left, 2 * right - width, height - 2 * top, 2 * bottom - height)
    return max(round((right - left) / breadth), reach)


def _squared(picture: Tensor, side: int | None = None) -> Tensor:
    """Pad with transparency, or crop, evenly to a square; by default of the longer side."""
    height, width = picture.shape[1:]
    side = side or max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    pads = (left, side - width - left, top, side - height - top)
    return torch.nn.functional.pad(picture, pads)
