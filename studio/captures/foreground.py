"""Background removal: by the alpha channel, an even background, or rembg."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.even_background import ADVICE
from studio.captures.large_cut import cut_out_any_size
from studio.errors import DataError
from studio.io.images import SOLID, from_uint8, to_uint8

METHODS = ("auto", "alpha", "border", "rembg", "none")
FAINT = 0.12  # share of an outline without contrast from which on it is worth a word
NOTABLE_SHADOW = 0.005  # of the picture


def foreground(
    picture: Float[Tensor, "4 h w"],
    method: str = "auto",
    *,
    tolerance: float = 0.08,
    model: str | Path | None = None,
    holes: bool = True,
    notes: list[str] | None = None,
) -> Float[Tensor, "4 h w"]:
    """Return the picture with its background transparent.

    Args:
        picture: straight-alpha RGBA in [0, 1].
        method: "alpha" keeps the picture's own alpha channel; "border" removes the even colour
            that touches the border, with its soft shadows and holes; "auto" is "alpha" where the
            picture has one, else "border"; "rembg" asks a segmentation network; "none" leaves the
            picture as it is.
        tolerance: largest difference of a colour channel from the background's ("border").
        model: U2-Net or IS-Net weights in an ONNX file on this machine ("rembg").
        holes: enclosed areas of exactly the background's colour are background, too ("border").
        notes: receives what a person should know of the result ("border").

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
    return _remove_border_colour(picture, tolerance, holes, [] if notes is None else notes)


def has_alpha(picture: Float[Tensor, "4 h w"]) -> bool:
    """Whether at least 0.1 % of the picture is transparent."""
    return bool((picture[3] < 0.5).float().mean() >= 1e-3)


def _remove_border_colour(
    picture: Tensor, tolerance: float, holes: bool, notes: list[str]
) -> Float[Tensor, "4 h w"]:
    try:
        cut = cut_out_any_size(picture[:3].numpy(), tolerance, holes=holes)
    except DataError as error:
        raise DataError(str(error), hint=ADVICE) from error
    if cut.holes:
        notes.append(
            f"{cut.holes} enclosed area(s) of exactly the background's colour are taken as holes "
            "(data.holes=false keeps them)"
        )
    if cut.shadow > NOTABLE_SHADOW:
        notes.append(f"a soft shadow is removed ({cut.shadow:.0%} of the picture)")
    if cut.low_contrast > FAINT:
        notes.append(
            f"{cut.low_contrast:.0%} of the object's outline hardly differs from the background, "
            "parts of it may be missing: a picture with an alpha channel is safer"
        )
    rgba = np.concatenate([cut.rgb, cut.alpha[None]]).astype(np.float32)
    return torch.from_numpy(rgba)


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
