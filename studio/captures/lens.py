"""Lens distortion, and pictures as a pinhole camera would have taken them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from studio.errors import DataError
from studio.io.images import premultiply, unpremultiply

MOST_STRETCH = 5.0  # times as far from the centre as a pinhole draws it
MOST_MAPS = 8  # kept at once: a rig of as many cameras in turn


class Distortion(Protocol):
    """What undistorting needs to know of a lens; hashable, so that maps can be kept."""

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines stay straight."""

    def distort(self, positions: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        """Where the lens draws what a pinhole sees at a normalised position (x/z, y/z)."""


@dataclass(frozen=True)
class Lens:
    """Coefficients of OpenCV's rational model (Brown, 1966, with a denominator).

    With r^2 = x^2 + y^2 of a normalised position (x, y), the radial factor is
    (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6); p1 and p2 are tangential.
    """

    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0

    @property
    def is_pinhole(self) -> bool:
        """Whether straight lines stay straight."""
        return not any(vars(self).values())

    def distort(self, positions: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        """Where the lens draws what a pinhole sees at a normalised position (x/z, y/z)."""
        x, y = positions.unbind(-1)
        r2 = x * x + y * y
        radial = (1 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))) / (
            1 + r2 * (self.k4 + r2 * (self.k5 + r2 * self.k6))
        )
        across = 2 * x * y
        return torch.stack(
            [
                x * radial + self.p1 * across + self.p2 * (r2 + 2 * x * x),
                y * radial + self.p2 * across + self.p1 * (r2 + 2 * y * y),
            ],
            dim=-1,
        )


def check_lens(
    lens: Distortion, intrinsics: Float[Tensor, "3 3"], size: tuple[int, int], where: str
) -> None:
    """Refuse a lens that no camera has: it folds the picture over itself, or tears it apart.

    Args:
        lens: that of the picture.
        intrinsics: in pixels.
        size: (height, width) of the picture in pixels.
        where: file and picture, for messages.

    Raises:
        DataError: if the way from the centre to a corner does not go outwards all along, or ends
            `MOST_STRETCH` times as far away as a pinhole's.
    """
    if lens.is_pinhole:
        return
    h, w = size
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]]).double()
    corners = torch.tensor([[0, 0], [w, 0], [0, h], [w, h]]).double() - intrinsics[:2, 2].double()
    corners = corners / focal
    length = corners.norm(dim=1).clamp(min=1e-12)
    rays = torch.linspace(0, 1, 129).double()[:, None, None] * corners
    along = (lens.distort(rays) * (corners / length[:, None])).sum(-1)  # [129, 4]
    if bool((along.diff(dim=0) > 0).all()) and bool((along[-1] < MOST_STRETCH * length).all()):
        return
    values = vars(lens) if isinstance(lens, Lens) else {}
    named = ", ".join(f"{key} = {value:.6g}" for key, value in values.items() if value) or lens
    raise DataError(
        f"{where}: the lens ({named}) folds the picture over itself or tears it apart before its "
        "corners.",
        allowed="coefficients that move every part of the picture outwards in order, for x and y\n"
        "  in focal lengths; those of most lenses lie within -1 and 1",
        hint="Calibrate anew, or undistort the pictures first (COLMAP's image_undistorter).",
    )


class Undistorter:
    """Makes pictures into those that a pinhole camera of the same intrinsics and size takes.

    Bicubic, colours weighted by alpha. Beyond a picture's border its last pixels are repeated. The
    pictures of one camera share one map, which is kept.
    """

    def __init__(self) -> None:
        self._maps: dict[tuple[Any, ...], Float[Tensor, "h w 2"]] = {}

    def __call__(
        self, rgba: Float[Tensor, "4 h w"], lens: Distortion, intrinsics: Float[Tensor, "3 3"]
    ) -> Float[Tensor, "4 h w"]:
        """Return the picture undistorted.

        Args:
            rgba: straight alpha in [0, 1].
            lens: that of the picture.
            intrinsics: in pixels, pixel centres at half-integers, without skew.
        """
        if lens.is_pinhole:
            return rgba
        h, w = rgba.shape[1:]
        key = (lens, h, w, *intrinsics.flatten().tolist())
        if key not in self._maps:
            if len(self._maps) >= MOST_MAPS:
                self._maps.clear()
            self._maps[key] = undistortion(lens, intrinsics, (h, w))
        grid = self._maps[key].to(rgba.dtype)
        sampled = F.grid_sample(
            premultiply(rgba)[None], grid[None], "bicubic", "border", align_corners=False
        )
        return unpremultiply(sampled[0].clamp(0, 1))


def undistortion(
    lens: Distortion, intrinsics: Float[Tensor, "3 3"], size: tuple[int, int]
) -> Float[Tensor, "h w 2"]:
    """Return where in a distorted picture each pixel of the pinhole's lies, in [-1, 1]."""
    h, w = size
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]]).double()
    centre = intrinsics[:2, 2].double()
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    ideal = (torch.stack([x, y], dim=-1).double() - centre) / focal
    source = lens.distort(ideal) * focal + centre
    return (source / source.new_tensor([w, h]) * 2 - 1).float()
