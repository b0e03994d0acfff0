"""How fine a mesh and its texture are to be, by what the pictures show of the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.export.cleanup import face_components
from studio.mesh import Mesh
from studio.views import ViewSet

FEWEST_CELLS, MOST_CELLS = 192, 512
"""Along the box around the object, where their number follows from pictures: one a pixel."""
USUAL = 0.5
"""Quantile of the object's sizes in the pictures: neither a wrong mask nor a close look decides."""
FINENESS = 2.0  # texels per pixel of the views, along a line
FILLED = 0.65  # share of a texture that charts cover, about


def fitting_cells(views: ViewSet | None) -> int:
    """Cells of the grid in which a surface is found: as many as pixels lie along the object.

    Args:
        views: pictures whose masks outline it; without any, there are as few cells as ever.
    """
    if views is None:
        return FEWEST_CELLS
    solid = views.mask.detach().cpu() > 0.5
    sides = [max(_span(mask.any(axis)) for axis in (0, 1)) for mask in solid]
    return int(np.clip(np.quantile(sides, USUAL).round(), FEWEST_CELLS, MOST_CELLS))


def _span(shown: Tensor) -> int:
    """From the first to the last of what is shown [n], both included."""
    at = torch.nonzero(shown)
    return int(at[-1] - at[0]) + 1 if len(at) else 0


def fitting_size(mesh: Mesh, views: ViewSet | None, originals: Sequence[ViewSet] = ()) -> int:
    """Side of the texture that holds what pictures show: a power of two, 256 to 2048.

    Two texels per pixel keep all detail; more would cost time and space. 1024 without views.
    """
    if views is None:
        return 1024
    pixel = finest_pixel(mesh, (views, *originals))
    texels = mesh.area * (FINENESS / pixel) ** 2 / FILLED
    return next((side for side in (256, 512, 1024) if side**2 >= texels), 2048)


def finest_pixel(mesh: Mesh, pictures: Sequence[ViewSet]) -> float:
    """Side of the smallest pixels that show a mesh, at its middle, in world units."""
    centre = torch.from_numpy(mesh.vertices.mean(0))
    return min(_pixel_side(given.cameras.to("cpu"), centre) for given in pictures)


def texture_figures(mesh: Mesh, size: int, pictures: Sequence[ViewSet]) -> dict[str, Any]:
    """What a texture is good for.

    Args:
        mesh: with ``uv``.
        size: side of the texture.
        pictures: that its colours come from.

    Returns:
        ``texture_size``, ``texture_use`` (share of its texels that charts cover), ``charts``, and,
        with pictures, ``texels_per_pixel`` (along a line, of the finest of them).
    """
    assert mesh.uv is not None, "the mesh has no uv"
    corners = mesh.uv[mesh.faces].astype(np.float64)
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    use = 0.5 * float(np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum())
    charts = int(face_components(mesh.faces).max()) + 1
    figures = {"texture_size": size, "texture_use": round(use, 4), "charts": charts}
    if pictures:
        density = size * np.sqrt(use / mesh.area) * finest_pixel(mesh, pictures)
        figures["texels_per_pixel"] = round(float(density), 3)
    return figures


def _pixel_side(cameras: Cameras, centre: Float[Tensor, 3]) -> float:
    """Side of a pixel at a point, in world units: the median over cameras."""
    if cameras.ortho_scale is not None:
        return float((cameras.ortho_scale / cameras.size[0]).median())
    return float(((cameras.centres - centre).norm(dim=1) / cameras.intrinsics[:, 1, 1]).median())
