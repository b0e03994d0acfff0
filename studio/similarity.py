"""Changes of the world that cameras stand in: rotation, uniform scale, translation.

Poses are camera-to-world; what their camera axes are does not matter here. Coordinates may be huge
(UTM, ECEF: 5e6 m, where float32 has steps of 0.5 m): they stay float64 until the world's origin is
near, and what is written in float32 keeps its offset apart (`studio.export.world`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import CameraError

FAR = 100.0
"""Distance of the origin, in sizes of what is looked at, from which float32 blurs it."""


def far_centre(centres: Float[Tensor, "v 3"]) -> Float[Tensor, "3"] | None:
    """Return the middle of cameras that stand far from the origin, None where they are near it.

    Args:
        centres: camera centres, float64.
    """
    middle = (centres.double().amin(0) + centres.double().amax(0)) / 2
    spread = (centres.double() - middle).norm(dim=1).max()
    return middle if bool(spread > 0) and bool(middle.norm() > FAR * spread) else None


def translation(centre: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """Return the matrix that leads from a world with its origin at `centre` to the present one."""
    matrix = torch.eye(4, dtype=centre.dtype)
    matrix[:3, 3] = centre
    return matrix


def posed_in(
    c2w: Float[Tensor, "v 4 4"], to_world: Float[Tensor, "4 4"]
) -> tuple[Float[Tensor, "v 4 4"], float]:
    """Return camera poses in a new world and the length of its unit in the present one.

    Args:
        c2w: camera-to-world matrices of the present world.
        to_world: the similarity (rotation, uniform scale, translation) from the new world to it.

    Raises:
        CameraError: if the matrix is no such similarity.
    """
    linear = to_world[:3, :3].double()
    size = torch.linalg.det(linear).item()
    size = size ** (1 / 3) if size > 0 else 0.0
    square = linear.T @ linear
    off = (square - size**2 * torch.eye(3, dtype=torch.float64)).abs().max()
    if size == 0 or off > 1e-4 * size**2:
        raise CameraError(
            f"the matrix {to_world.tolist()} cannot place a scene.",
            allowed="rotation, uniform scale and translation",
        )
    rotation = linear.T / size
    placed = c2w.clone()
    placed[:, :3, :3] = (rotation @ c2w[:, :3, :3].double()).to(c2w)
    moved = c2w[:, :3, 3].double() - to_world[:3, 3].double()
    placed[:, :3, 3] = (moved @ rotation.T / size).to(c2w)
    return placed, size


def scaled_poses(c2w: Float[Tensor, "*v 4 4"], factor: float) -> Float[Tensor, "*v 4 4"]:
    """Return camera poses in a world that is `factor` times as large."""
    scaled = c2w.clone()
    scaled[..., :3, 3] *= factor
    return scaled
