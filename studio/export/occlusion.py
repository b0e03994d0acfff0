"""Ambient occlusion: how much of the sky above each place of a surface the surface itself hides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from studio.export.attributes import unit_normals
from studio.export.normal_map import seen
from studio.export.texture import Texels, rasterise_uv, spread
from studio.mesh import Mesh
from studio.ops.ray_caster import RayCaster

RAYS = 64
LARGEST = 512  # texels; light that comes from everywhere has no fine detail
AWAY = 2e-3  # of the object's size: where rays begin, off the surface
GOLDEN = (np.sqrt(5) - 1) / 2


def with_occlusion_map(mesh: Mesh, whole: Mesh, size: int) -> Mesh:
    """Return a mesh with a picture of how open its surface is, for glTF's occlusion textures.

    White is where nothing hides the sky, black where everything does; lights from the sides of the
    surface count less than those from above it (cosine).

    Args:
        mesh: with ``uv``.
        whole: the surface that it approximates.
        size: side of its texture in texels; the map is at most `LARGEST`, then a half, a quarter,
            ... of that.
    """
    while size > LARGEST:
        size //= 2
    texels = rasterise_uv(mesh, size)
    face, weights = seen(whole, texels.points.astype(float), texels.normals.astype(float))
    corners = whole.faces[face]
    points = np.einsum("nc,ncd->nd", weights, whole.vertices[corners])
    normals = np.einsum("nc,ncd->nd", weights, unit_normals(whole)[corners])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    openness = _smooth(_openness(whole, points, normals), texels)
    picture = np.round(255 * spread(openness[:, None], texels.covered)[..., 0])
    return replace(mesh, occlusion_map=picture.astype(np.uint8))


def _openness(
    whole: Mesh, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    """Share of rays over each point that meet nothing, more of them along the normal."""
    caster = RayCaster(whole.vertices, whole.faces)
    along, across = _across(normals)
    begin = points + AWAY * float(np.ptp(whole.vertices, axis=0).max()) * normals
    turn = np.arange(len(points)) * GOLDEN  # neighbours ask in other directions
    free = np.zeros(len(points))
    for i in range(RAYS):
        radius = np.sqrt((i + 0.5) / RAYS)
        angle = 2 * np.pi * (i * GOLDEN + turn)
        x, y = (radius * part(angle)[:, None] for part in (np.cos, np.sin))
        rays = x * along + y * across + np.sqrt(1 - radius**2) * normals
        free += caster.cast(begin, rays)["primID"] < 0
    return free / RAYS


def _across(
    normals: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Two unit vectors that stand on each normal and on each other."""
    axis = np.eye(3)[np.abs(normals).argmin(1)]
    along = np.cross(normals, axis)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return along, np.cross(normals, along)


def _smooth(values: Float[np.ndarray, " n"], texels: Texels) -> Float[np.ndarray, " n"]:
    """The mean of three by three covered texels: neighbours have asked in other directions."""
    from scipy.ndimage import uniform_filter

    covered = texels.covered
    picture, weight = np.zeros(covered.shape), covered.astype(float)
    picture[covered] = values
    mean = uniform_filter(picture, 3, mode="constant")[covered]
    return np.asarray(mean / uniform_filter(weight, 3, mode="constant")[covered])
