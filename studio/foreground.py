"""Cutting the object out of a picture: by its alpha channel, its even background, or rembg."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from studio.errors import DataError
from studio.images import SOLID, from_uint8, to_uint8

METHODS = ("auto", "alpha", "border", "rembg", "none")
EVEN_SHARE = 0.9  # of the border that must have the background's colour
ADVICE = (
    "Give a picture with an alpha channel or on an even background, or install rembg and set\n"
    "  data.background=rembg data.background_model=<file>.onnx."
)


def foreground(
    picture: Float[Tensor, "4 h w"],
    method: str = "auto",
    *,
    tolerance: float = 0.08,
    model: str | Path | None = None,
) -> Float[Tensor, "4 h w"]:
    """Return the picture with its background transparent.

    Args:
        picture: straight-alpha RGBA in [0, 1].
        method: "alpha" keeps the picture's own alpha channel; "border" removes the even colour
            that touches the border; "auto" is "alpha" where the picture has one, else "border";
            "rembg" asks a segmentation network; "none" leaves the picture as it is.
        tolerance: largest difference of a colour channel from the background's ("border").
        model: U2-Net or IS-Net weights in an ONNX file on this machine ("rembg").

    Raises:
        DataError: if the method is unknown or cannot tell the object from the background.
    """
    if method not in METHODS:
        raise DataError(f"data.background is {method!r}.", allowed=", ".join(METHODS))
    if method == "none":
        return picture
    if method == "rembg":
        return _rembg(picture, model)
    if has_alpha(picture) and method in ("auto", "alpha"):
        return picture
    if method == "alpha":
        raise DataError(
            "the picture has no transparent background, and data.background=alpha needs one.",
            hint=ADVICE,
        )
    return _remove_border_colour(picture, tolerance)


def has_alpha(picture: Float[Tensor, "4 h w"]) -> bool:
    """Whether at least 0.1 % of the picture is transparent."""
    return bool((picture[3] < 0.5).float().mean() >= 1e-3)


def _remove_border_colour(picture: Tensor, tolerance: float) -> Tensor:
    from scipy import ndimage

    rgb = picture[:3].numpy()
    colour, share = _border_colour(rgb, tolerance)
    if share < EVEN_SHARE:
        raise DataError(
            f"the picture's background is not even: only {share:.0%} of its border has one "
            f"colour (within {tolerance:g} of 1).",
            allowed=f"{EVEN_SHARE:.0%} or more",
            hint=ADVICE,
        )
    similar = np.abs(rgb - colour[:, None, None]).max(axis=0) <= tolerance
    labels, _ = ndimage.label(similar)
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    background = np.isin(labels, np.unique(frame[frame > 0]))
    if (~background).mean() < 1e-3:
        raise DataError("the picture shows nothing but its background.", hint=ADVICE)
    rgb, alpha = _soft_edge(rgb, colour, background)
    return torch.from_numpy(np.concatenate([rgb, alpha[None]]).astype(np.float32))


def _border_colour(
    rgb: Float[np.ndarray, "3 h w"], tolerance: float
) -> tuple[Float[np.ndarray, " 3"], float]:
    """Return the median colour of the outermost 1 % and the share of it that looks the same."""
    width = max(1, round(0.01 * min(rgb.shape[1:])))
    ring = np.ones(rgb.shape[1:], dtype=bool)
    ring[width:-width, width:-width] = False
    colours = rgb[:, ring]
    median = np.median(colours, axis=1)
    return median, float((np.abs(colours - median[:, None]).max(axis=0) <= tolerance).mean())


def _soft_edge(
    rgb: Float[np.ndarray, "3 h w"],
    colour: Float[np.ndarray, " 3"],
    background: Bool[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "3 h w"], Float[np.ndarray, "h w"]]:
    """Unmix the pixels along the silhouette, c = a F + (1 - a) B.

    B is the background's colour and F that of the nearest pixel at least two pixels inside. Where
    none is within four pixels (thin parts), the pixel stays opaque.
    """
    from scipy import ndimage

    alpha = (~background).astype(np.float32)
    inside = ~ndimage.binary_dilation(background, iterations=2)
    if not inside.any():
        return rgb, alpha
    edge = ndimage.binary_dilation(~background) & ~inside
    distance, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    edge &= distance <= 4
    inner = rgb[:, nearest[0][edge], nearest[1][edge]]
    pixel, away = rgb[:, edge] - colour[:, None], inner - colour[:, None]
    length = (away * away).sum(axis=0)
    share = np.clip((pixel * away).sum(axis=0) / np.maximum(length, 1e-6), 0, 1)
    share[share < 0.02] = 0.0
    rgb = rgb.copy()
    rgb[:, edge] = inner
    alpha[edge] = share
    return rgb, alpha


def _rembg(picture: Tensor, model: str | Path | None) -> Tensor:
    if importlib.util.find_spec("rembg") is None:
        raise DataError(
            "data.background=rembg needs the package rembg, which is not installed.",
            hint='pip install "rembg[cpu]", or give a picture with an alpha channel.',
        )
    if model is None or not Path(model).expanduser().is_file():
        given = f"data.background_model={model} is not a file" if model else "no model was given"
        raise DataError(
            f"data.background=rembg: {given}.",
            allowed="the path of u2net.onnx, isnet-general-use.onnx or a model of their kind",
            hint="Download one from rembg's release page; nothing is downloaded unasked.",
        )
    from PIL import Image
    from rembg import new_session, remove

    kind = "dis_custom" if "isnet" in Path(model).stem.lower() else "u2net_custom"
    session = new_session(kind, model_path=str(model))
    result = remove(Image.fromarray(to_uint8(picture[:3])), session=session)
    cut = from_uint8(np.asarray(result.convert("RGBA")))
    if cut[3].max() < SOLID:
        raise DataError("rembg found no object in the picture.", hint=ADVICE)
    return cut
