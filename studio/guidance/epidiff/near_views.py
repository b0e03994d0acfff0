"""Target cameras and the near views of each, whose features EpiDiff's epipolar blocks look at."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from studio.errors import ConfigError
from studio.guidance.epidiff.geometry import (
    NEAR_DISTANCES,
    EpipolarGeometry,
    RayOptions,
    epipolar_geometry,
)


@dataclass(frozen=True)
class CameraSet:
    """A set of cameras seen as one; gives the geometry of every feature-map side, once."""

    intrinsics: Float[Tensor, "b f 4 4"]
    """Normalised by picture size."""
    c2w: Float[Tensor, "b f 4 4"]
    """Camera-to-world, OpenCV axes."""
    neighbours: Int[Tensor, "b f k"]
    """Near views; slot 0 is the view itself."""
    options: RayOptions = field(default_factory=RayOptions)
    """Layout of rays and samples."""
    with_reference: bool = False
    """Whether the network wants the embedding that depends on the near view."""
    _known: dict[int, EpipolarGeometry] = field(default_factory=dict, repr=False, compare=False)

    def at(self, side: int) -> EpipolarGeometry:
        """Return the geometry for feature maps of this side."""
        if side not in self._known:
            with torch.no_grad():
                self._known[side] = epipolar_geometry(
                    self.intrinsics,
                    self.c2w,
                    self.neighbours,
                    side,
                    self.options,
                    self.with_reference,
                )
        return self._known[side]


def unpack_cameras(
    cameras: Float[Tensor, "*b 32"],
) -> tuple[Float[Tensor, "*b 4 4"], Float[Tensor, "*b 4 4"]]:
    """Split EpiDiff's 32 numbers per camera: normalised intrinsics, then OpenCV camera-to-world."""
    return cameras[..., :16].unflatten(-1, (4, 4)), cameras[..., 16:].unflatten(-1, (4, 4))


def pack_cameras(
    intrinsics: Float[Tensor, "*b 3 3"], c2w: Float[Tensor, "*b 4 4"]
) -> Float[Tensor, "*b 32"]:
    """Write cameras as EpiDiff's 32 numbers; intrinsics normalised by picture size."""
    return torch.cat([square_intrinsics(intrinsics).flatten(-2), c2w.flatten(-2)], dim=-1)


def square_intrinsics(intrinsics: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4 4"]:
    """Extend to 4x4 as EpiDiff does: a zero column, and 1 in the corner."""
    out = F.pad(intrinsics, (0, 1, 0, 1))
    out[..., 3, 3] = 1
    return out


def near_views(
    elevation: Float[Tensor, "*b f"],
    azimuth: Float[Tensor, "*b f"],
    k: int,
    distance: str = "sphere",
    add_global_k: int = 0,
) -> Int[Tensor, "*b f k"]:
    """Return the k nearest views of each view, itself first; ties go to the lower index.

    Args:
        elevation: radians.
        azimuth: radians.
        k: how many, the view itself included.
        distance: "sphere" is the angle between the camera directions. "plane" is the released
            code's distance of (elevation, azimuth), which takes 0 and 337.5 degrees as far apart.
        add_global_k: widen to k + g views, and let the last g of every view but the last g views
            be the last g views.

    Raises:
        ConfigError: if there are not that many views, or the distance is unknown.
    """
    views, total = elevation.shape[-1], k + add_global_k
    if not 1 <= k <= total <= views:
        raise ConfigError(
            f"k_near_views is {k} and add_global_k {add_global_k} for {views} views.",
            allowed=f"together at most {views}",
        )
    if distance == "plane":
        angles = torch.stack([elevation, azimuth], dim=-1).double()
        apart = (angles[..., :, None, :] - angles[..., None, :, :]).norm(dim=-1)
    elif distance == "sphere":
        e, a = elevation.double(), azimuth.double()
        unit = torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], dim=-1)
        apart = (unit[..., :, None, :] - unit[..., None, :, :]).norm(dim=-1)
    else:
        raise ConfigError(f"near_distance is {distance!r}.", allowed=", ".join(NEAR_DISTANCES))
    apart = (apart * 1e5).round()  # so that rounding errors do not break ties
    apart.diagonal(dim1=-2, dim2=-1).fill_(-1)
    nearest = apart.argsort(dim=-1, stable=True)[..., :total]
    if add_global_k:
        last = torch.arange(views - add_global_k, views, device=nearest.device)
        nearest[..., : views - add_global_k, -add_global_k:] = last
    return nearest
