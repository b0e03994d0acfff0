"""Images: any file read as straight-alpha RGBA, resizing, centring, compositing, saving.

Pictures are float tensors [C, H, W] in [0, 1]; alpha is straight (not premultiplied). Files and
Pillow pictures are uint8 at the border only. Removing backgrounds stands in
`studio.captures.foreground`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate, pad

from studio.errors import DataError
from studio.io.files import atomic_write
from studio.io.picture_files import carries_alpha, opened

LARGE = 2048  # px; what of a larger picture is of use is found out in a small copy
SMALL = 512  # px of that
MIN_SIDE = 8  # px; smaller pictures show nothing of an object
SPECK = 5e-3  # coverage of a part, of the largest part's, below which it is dust
SOLID = 0.1  # alpha from which a pixel belongs to the object's box


Needed = Callable[[Float[Tensor, "4 h w"]], float]
"""Asked with a small copy: at which size is the picture of use, in pixels of its longer side?"""


def read_picture(path: str | Path, needed: Needed | None = None) -> Float[Tensor, "4 h w"]:
    """Read a user's picture of one object as straight-alpha RGBA in [0, 1].

    Takes greyscale, 16-bit, palette, CMYK and transparent files, turns the picture upright by its
    EXIF tag and reads the first frame of an animation. A file without alpha gets alpha 1.

    Args:
        path: the file.
        needed: asked for 8-bit pictures above `LARGE` px on a side, which come back no larger.

    Raises:
        DataError: if the file cannot be read, is smaller than 8 px or too large, or is fully
            transparent.
    """
    picture = read_rgba_or_rgb(path, needed=needed)[0]
    height, width = picture.shape[1:]
    if min(height, width) < MIN_SIDE:
        raise DataError(
            f"picture {path} is {width}x{height} px, too small to show an object.",
            allowed=f"at least {MIN_SIDE} px on a side; 256 px or more is advised",
        )
    if picture[3].max() < SOLID:
        raise DataError(
            f"picture {path} is fully transparent.",
            allowed="a picture whose alpha channel is opaque where the object is",
            hint="Save it again without the alpha channel, or with the object in it.",
        )
    return picture


def read_rgba(path: str | Path) -> Float[Tensor, "4 h w"]:
    """Read a picture file of any size and content as straight-alpha RGBA in [0, 1].

    Raises:
        DataError: if the file is missing, no picture, broken or larger than 16,384 px on a side.
    """
    return read_rgba_or_rgb(path)[0]


def read_rgba_or_rgb(
    path: str | Path, *, upright: bool = True, needed: Needed | None = None
) -> tuple[Float[Tensor, "4 h w"], bool]:
    """Read like `read_rgba`, and say whether the file itself carries transparency.

    Args:
        path: the file.
        upright: turn the picture by its EXIF tag.
        needed: see `read_picture`.
    """
    with opened(path) as picture:
        picture.load()
        turned = ImageOps.exif_transpose(picture) if upright else picture
        return _to_tensor(Path(path), turned, needed), carries_alpha(picture)


def _to_tensor(path: Path, picture: Image.Image, needed: Needed | None) -> Float[Tensor, "4 h w"]:
    if picture.mode.startswith("I") or picture.mode == "F":
        grey, alpha = _deep_grey(path, picture)
        return torch.from_numpy(np.stack([grey, grey, grey, alpha]))
    if picture.mode not in ("RGBA", "RGB"):
        picture = picture.convert("LA") if picture.mode == "La" else picture
        picture = picture.convert("RGBA" if carries_alpha(picture) else "RGB")
    if needed is not None and max(picture.size) > LARGE:
        picture = _as_needed(picture, needed)
    return from_uint8(np.asarray(picture.convert("RGBA")))


def _as_needed(picture: Image.Image, needed: Needed) -> Image.Image:
    """Reduce a picture to the size at which it is of use, by the means of areas."""
    largest = max(picture.size)
    small = picture.reduce(math.ceil(largest / SMALL))
    share = needed(from_uint8(np.asarray(small.convert("RGBA")))) / largest
    if share >= 1:
        return picture
    width, height = (max(1, math.ceil(n * share)) for n in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _deep_grey(path: Path, picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Greyscale of 16 bits (kept whole), or 32-bit values that lie in the range of one."""
    grey = np.asarray(picture).astype(np.float32)
    alpha = np.ones_like(grey)
    if "transparency" in picture.info:
        alpha = (grey != picture.info["transparency"]).astype(np.float32)
    top = 1.0 if picture.mode == "F" else 65535.0
    if not (np.isfinite(grey).all() and grey.min() >= 0 and grey.max() <= top):
        raise DataError(
            f"picture {path} holds values from {grey.min():g} to {grey.max():g}.",
            allowed=f"0 to {top:g} in a picture of Pillow mode {picture.mode}",
            hint="Save it as an ordinary 8-bit PNG.",
        )
    return grey / top, alpha


def from_uint8(pixels: UInt8[np.ndarray, "h w c"]) -> Float[Tensor, "c h w"]:
    """Turn 8-bit pixels into floats in [0, 1]; `to_uint8` undoes it exactly."""
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")).float() / 255.0


def to_uint8(picture: Float[Tensor, "c h w"]) -> UInt8[np.ndarray, "h w c"]:
    """Turn a picture in [0, 1] into 8-bit pixels, rounded to the nearest and clipped."""
    scaled = picture.detach().float().cpu().clamp(0, 1) * 255.0 + 0.5
    return np.ascontiguousarray(scaled.to(torch.uint8).permute(1, 2, 0).numpy())


def save_png(path: str | Path, picture: Float[Tensor, "c h w"]) -> None:
    """Write a picture with 1, 3 or 4 channels in [0, 1] as an 8-bit PNG, atomically.

    Raises:
        StudioError: if the system refuses to write.
    """
    pixels = to_uint8(picture)
    with atomic_write(Path(path)) as temporary:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
            temporary, format="PNG"
        )


def composite(
    rgba: Float[Tensor, "... 4 h w"], background: float | Float[Tensor, " 3"] = 1.0
) -> Float[Tensor, "... 3 h w"]:
    """Lay a straight-alpha picture over a grey level or a colour in [0, 1] (1 = white)."""
    colour = torch.as_tensor(background, dtype=rgba.dtype, device=rgba.device)
    colour = colour.expand(3)[:, None, None]
    rgb, alpha = rgba[..., :3, :, :], rgba[..., 3:, :, :]
    return rgb * alpha + colour * (1 - alpha)


def on_white(rgba: Float[Tensor, "n 4 h w"], side: int) -> Float[Tensor, "n 3 side side"]:
    """Lay straight-alpha pictures on white and bring them to a side in pixels, antialiased."""
    rgb = composite(rgba)
    if rgb.shape[-2:] != (side, side):
        rgb = interpolate(rgb, (side, side), mode="bilinear", antialias=True)
    return rgb.clamp(0, 1)


def premultiply(rgba: Float[Tensor, "... 4 h w"]) -> Float[Tensor, "... 4 h w"]:
    """Multiply the colours by alpha, as resampling needs them."""
    alpha = rgba[..., 3:, :, :]
    return torch.cat([rgba[..., :3, :, :] * alpha, alpha], dim=-3)


def unpremultiply(rgba: Float[Tensor, "... 4 h w"]) -> Float[Tensor, "... 4 h w"]:
    """Divide the colours by alpha (clipped to [0, 1]); fully transparent pixels become black."""
    alpha = rgba[..., 3:, :, :].clamp(0, 1)
    rgb = torch.where(alpha > 1e-6, rgba[..., :3, :, :] / alpha.clamp(min=1e-6), 0.0)
    return torch.cat([rgb.clamp(0, 1), alpha], dim=-3)


def resize(
    rgba: Float[Tensor, "4 h w"], height: int, width: int, *, smooth: bool = False
) -> Float[Tensor, "4 height width"]:
    """Resample a straight-alpha picture, weighting colours by alpha so that no fringe appears.

    Args:
        rgba: in [0, 1].
        height: new height in pixels.
        width: new width in pixels.
        smooth: bicubic with antialiasing instead of the mean over each new pixel's area.
    """
    box = (0.0, 0.0, float(rgba.shape[2]), float(rgba.shape[1]))
    return _resample(
        rgba, box, height, width, Image.Resampling.BICUBIC if smooth else Image.Resampling.BOX
    )


def resize_8bit(
    rgba: Float[Tensor, "4 h w"], height: int, width: int
) -> Float[Tensor, "4 height width"]:
    """Resample with Pillow's bicubic filter on 8-bit values, colours and alpha each on its own."""
    pixels = to_uint8(rgba)
    parts = [Image.fromarray(pixels[..., :3]), Image.fromarray(pixels[..., 3])]
    resized = [np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in parts]
    return from_uint8(np.dstack(resized))


def _resample(
    rgba: Tensor,
    box: tuple[float, float, float, float],
    height: int,
    width: int,
    kind: Image.Resampling,
) -> Tensor:
    channels = premultiply(rgba.detach().float().cpu()).numpy()
    resized = [
        np.asarray(Image.fromarray(c).resize((width, height), kind, box=box)) for c in channels
    ]
    return unpremultiply(torch.from_numpy(np.stack(resized)))


def object_box(rgba: Float[Tensor, "4 h w"]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) in pixels of what is not transparent.

    Specks apart from the object (dust, faint remains of a shadow) do not count.

    Raises:
        DataError: if nothing is.
    """
    solid = _without_specks(rgba[3])
    if not solid.any():
        raise DataError(
            "the picture is empty after its background was removed.",
            hint="Give an RGBA picture of the object, or choose data.background=none.",
        )
    ys, xs = solid.any(dim=1).nonzero(), solid.any(dim=0).nonzero()
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _without_specks(alpha: Float[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """What is not transparent, without parts of little coverage against the largest one's."""
    from scipy import ndimage

    solid = (alpha >= SOLID).numpy()
    labels, count = ndimage.label(solid, structure=np.ones((3, 3)))
    if count < 2:
        return torch.from_numpy(solid)
    weights = ndimage.sum_labels(alpha.numpy(), labels, np.arange(1, count + 1))
    kept = np.flatnonzero(weights >= SPECK * weights.max()) + 1
    return torch.from_numpy(np.isin(labels, kept))


def object_square(rgba: Float[Tensor, "4 h w"], ratio: float = 0.75) -> tuple[float, float, float]:
    """Return (left, top, side) in pixels of the square that `centre_object` cuts out.

    Raises:
        DataError: if the picture is empty or `ratio` is not in (0, 1].
    """
    if not 0 < ratio <= 1:
        raise DataError(f"ratio is {ratio}.", allowed="above 0, at most 1; 0.75 is usual")
    left, top, right, bottom = object_box(rgba)
    side = max(right - left, bottom - top) / ratio
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def centre_object(
    rgba: Float[Tensor, "4 h w"], size: int, ratio: float = 0.75
) -> Float[Tensor, "4 size size"]:
    """Crop to the object, scale it and put it in the middle of a transparent square.

    Bicubic rather than Lanczos: its single negative lobe is clipped away with alpha, while
    Lanczos would leave a faint second ring around the silhouette.

    Args:
        rgba: straight alpha in [0, 1], background transparent.
        size: side of the result in pixels.
        ratio: longer side of the object's box over `size`. In renderings of the canonical rig
            (longest side 1, distance 1.5, 49.1 degrees, elevation 30 degrees) it is 0.72 to 0.79.

    Raises:
        DataError: if the picture is empty or `ratio` is not in (0, 1].
    """
    x0, y0, side = object_square(rgba, ratio)
    margin = math.ceil(max(0, -x0, -y0, x0 + side - rgba.shape[2], y0 + side - rgba.shape[1])) + 1
    padded = pad(rgba, (margin,) * 4)
    x0, y0 = x0 + margin, y0 + margin
    return _resample(padded, (x0, y0, x0 + side, y0 + side), size, size, Image.Resampling.BICUBIC)
