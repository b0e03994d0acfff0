"""Masks: files of every kind, and where a capture's masks come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from studio.captures.foreground import METHODS, foreground
from studio.errors import DataError
from studio.io.picture_files import carries_alpha, opened
from studio.plugins.parsing import Checked
from studio.plugins.ranges import OneOf, Share

BORDER = 0.9  # share of its outermost pixels from which on a mask covers a picture's border
CLEAR = 0.5  # share of its outermost pixels below which a mask leaves the border free
FULL = 0.995  # share of a picture from which on a mask is full
MARKED = 0.5  # share of the file's largest possible value from which a pixel counts as object
DIM = 24  # of 255: what is darker is background, however a photo was cut out
COLOURED = 0.02  # share of what is brighter that differs by DIM between channels, in a colour photo
FEW_COLOURS = 16  # (of 32 levels each) that make up 90 % of a coloured mask; a photo has more


@dataclass(frozen=True)
class Cutting(Checked):
    """How the object is told from the background in the pictures of a capture.

    Attributes:
        background: "auto": mask files and alpha channels, where there are none the even colour that
            touches the border; "alpha": masks and alpha alone; "border" or "rembg": cut out by
            these, whatever masks there are; "none": everything that the pictures show is object.
        tolerance: largest colour difference, of 1, from an even background.
        model: ONNX file of "rembg".
        required: a picture without mask is refused; otherwise it is object everywhere.
        inverted: masks (files, where there are some, else alpha channels) are white on the
            background; None: they are not, and refused where it looks so.
        holes: enclosed areas of exactly an even background's colour are background, too.
    """

    background: Annotated[str, OneOf(METHODS)] = "auto"
    tolerance: Share = 0.08
    model: str | None = None
    required: bool = True
    inverted: bool | None = None
    holes: bool = True

    @property
    def uses_masks(self) -> bool:
        """Whether mask files and alpha channels count."""
        return self.background in ("auto", "alpha")

    def cut(
        self, picture: Float[Tensor, "4 h w"], method: str, notes: list[str]
    ) -> Float[Tensor, "4 h w"]:
        """Return the picture with its background transparent, see `foreground`."""
        return foreground(
            picture,
            method,
            tolerance=self.tolerance,
            model=self.model,
            holes=self.holes,
            notes=notes,
        )


def read_mask(path: str | Path, *, upright: bool = True) -> Float[Tensor, "4 h w"]:
    """Read a mask file as a white picture whose alpha, in [0, 1], is the mask.

    A file's alpha channel is its mask, where it has one that is not the same everywhere. Otherwise
    the largest colour channel counts, so that red on black is a mask, too. In a palette of labels
    everything but black is object; where nothing is black, everything but label 0. Two values, one
    of them 0, mean no and yes whatever the other.

    Args:
        path: greyscale, colour, palette, 1-bit or 16-bit.
        upright: turn the picture by its EXIF tag.

    Raises:
        DataError: if the file cannot be read, shows a photo, or its largest value is too low for a
            mask.
    """
    with opened(path) as picture:
        picture.load()
        if _is_photo(picture):
            raise DataError(
                f"mask {path} is a colour photo without an alpha channel, and no mask.",
                allowed="white on the object and black elsewhere, or an alpha channel",
                hint="Save the cut-out with its transparency, or its outline in black and white.",
            )
        values, top = _values(ImageOps.exif_transpose(picture) if upright else picture)
    levels = np.unique(values)
    if len(levels) == 2 and levels[0] == 0:
        mask = (values > 0).astype(np.float32)
    elif 0 < levels[-1] < MARKED * top or not np.isfinite(levels).all() or levels[0] < 0:
        raise DataError(
            f"the largest value of mask {path} is {levels[-1]:g} of {top:g}, with "
            f"{len(levels)} values in all: what is object cannot be told.",
            allowed="0 on the background and the largest value, or any single other one, on the "
            "object; or an alpha channel",
            hint="Save it again as a black and white PNG.",
        )
    else:
        mask = np.minimum(values / top, 1.0).astype(np.float32)
    alpha = torch.from_numpy(np.ascontiguousarray(mask))
    return torch.cat([torch.ones(3, *alpha.shape), alpha[None]])


def _alpha(picture: Image.Image) -> np.ndarray | None:
    """A file's alpha channel of 0 to 255, where it has one that is not the same everywhere."""
    if carries_alpha(picture):
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if alpha.min() != alpha.max():
            return alpha.astype(np.float64)
    return None


def _is_photo(picture: Image.Image) -> bool:
    """Whether a mask file shows its object in colours: many of them, where a mask has few."""
    if picture.mode not in ("RGB", "RGBA", "CMYK", "YCbCr") or _alpha(picture) is not None:
        return False
    colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    seen = colours[colours.max(axis=1) > DIM]
    if len(seen) == 0 or (np.ptp(seen, axis=1) > DIM).mean() < COLOURED:
        return False
    coarse = (seen // 8).astype(np.int64) @ np.array([1024, 32, 1])
    largest = np.sort(np.bincount(coarse))[::-1]
    return bool(largest[:FEW_COLOURS].sum() < 0.9 * len(seen))


def _values(picture: Image.Image) -> tuple[np.ndarray, float]:
    """The values of a mask file, whatever channel holds them, and the largest possible one."""
    alpha = _alpha(picture)
    if alpha is not None:
        return alpha, 255.0
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.float64), 65535.0
    if picture.mode == "F":
        return np.asarray(picture).astype(np.float64), 1.0
    colours = np.asarray(picture.convert("RGB")).astype(np.float64)
    largest = colours.max(axis=-1)
    if picture.mode == "P" and np.any(np.ptp(colours, axis=-1) > 0):  # labels
        if (largest > 0).all():  # no black: label 0 is the background
            largest = np.asarray(picture).astype(np.float64)
        return 255.0 * (largest > 0), 255.0
    return largest, 255.0


def checked_masks(
    source: object,
    masks: list[Float[Tensor, "_h _w"]],
    files: list[Path | None],
    pictures: list[Path],
    inverted: bool | None,
) -> None:
    """Refuse the masks of a capture that are all empty, or plainly inverted, all or some.

    Args:
        source: the capture, for messages.
        masks: in [0, 1], one per picture, after any inverting.
        files: mask file of each, None where it is the picture's alpha channel.
        pictures: picture of each.
        inverted: what the user says; None lets it be checked.

    Raises:
        DataError: naming what to do.
    """
    share = torch.stack([(mask > 0.5).float().mean() for mask in masks])
    named = next((file.name for file in files if file is not None), None)
    what = "alpha channels" if named is None else f"masks ({named}, ...)"
    if bool((share == 0).all()):
        largest = max(float(mask.max()) for mask in masks)
        raise DataError(
            f"{source}: the {what} of all {len(masks)} pictures are empty: their largest value is "
            f"{255 * largest:.0f} of 255.",
            allowed="255 (white, opaque) on the object and 0 elsewhere",
            hint="data.invert_masks=true, if black is the object."
            if inverted is None
            else "Check data.invert_masks.",
        )
    covered = torch.stack([_border(mask) for mask in masks])
    if inverted is not False:
        names = [(file or picture).name for file, picture in zip(files, pictures, strict=True)]
        _one_sense(source, covered, share, names)
    if inverted is None and bool((covered > BORDER).all() and (share < FULL).any()):
        raise DataError(
            f"{source}: the {what} cover the border of every picture: they seem to mark the "
            "background.",
            allowed="white (opaque) on the object",
            hint="data.invert_masks=true inverts them; data.invert_masks=false takes them as "
            "they are.",
        )


def _one_sense(
    source: object, covered: Float[Tensor, " v"], share: Float[Tensor, " v"], names: list[str]
) -> None:
    """Refuse masks some of which mark the object and others the background.

    Full masks tell neither. A few that cover the border among many that half cover it may show an
    object that its pictures cut off.
    """
    odd = [i for i in range(len(names)) if covered[i] > BORDER and share[i] < FULL]
    clear = int(((covered < CLEAR) & (share > 0)).sum())
    if not odd or 2 * clear < len(names) - len(odd) or clear == 0:
        return
    some = ", ".join(names[i] for i in odd[:8]) + (
        f" and {len(odd) - 8} more" if len(odd) > 8 else ""
    )
    raise DataError(
        f"{source}: {len(odd)} of {len(names)} masks cover the border and seem to mark the "
        f"background, while {clear} others mark the object: {some}.",
        allowed="white (opaque) on the object in all masks",
        hint="Invert those files; data.invert_masks=false takes all masks as they are.",
    )


def _border(mask: Float[Tensor, "h w"]) -> Float[Tensor, ""]:
    ring = torch.cat([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return (ring > 0.5).float().mean()
