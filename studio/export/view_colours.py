"""Colours of surface points from posed pictures: visibility by rays, blending by viewing angle."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.data.render import RayCaster
from studio.mesh import Mesh
from studio.views import ViewSet

SHARPNESS = 4.0  # power of the cosine: how much the most frontal picture wins
GRAZING = 0.15  # cosine below which a picture tells nothing about a surface
FEATHER = 3.0  # pixels from the silhouette over which a picture fades in
FULL_TRUST = 0.1  # weight from which the pictures replace the fallback completely


def colours_from_views(
    mesh: Mesh,
    views: ViewSet,
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Blend what the pictures show at surface points.

    Args:
        mesh: the surface, for occlusion.
        views: RGBA pictures; only what lies well inside their masks is used.
        points: world positions on the surface.
        normals: unit outward normals.

    Returns:
        rgb in [0, 1], and the certainty in [0, 1]: 0 where no picture sees the point.
    """
    caster = RayCaster(mesh.vertices, mesh.faces)
    lift = 2e-3 * float(np.ptp(mesh.vertices, axis=0).max())
    total, blend = np.zeros(len(points)), np.zeros((len(points), 3))
    points = np.asarray(points, np.float32)
    h, w = views.cameras.size
    for i in range(len(views)):
        to_camera = _directions_to_camera(views, i, points)
        facing = (normals * to_camera).sum(1)
        index = np.flatnonzero(facing > GRAZING)
        uv, depth = views.cameras[i : i + 1].project(torch.from_numpy(points[index]))
        framed = ((uv[0] >= 0) & (uv[0] < uv.new_tensor([w, h]))).all(-1) & (depth[0] > 0)
        index, uv = index[framed.numpy()], uv[0, framed]
        origins = points[index] + lift * normals[index]
        clear = caster.cast(origins, to_camera[index])["primID"] < 0
        index, uv = index[clear], uv[torch.from_numpy(clear)]
        rgb, trust = _sample(views.images[i], uv)
        weight = facing[index] ** SHARPNESS * trust
        total[index] += weight
        blend[index] += weight[:, None] * rgb
    colours = blend / np.maximum(total, 1e-12)[:, None]
    return colours.astype(np.float32), np.clip(total / FULL_TRUST, 0, 1).astype(np.float32)


def _directions_to_camera(views: ViewSet, i: int, points: np.ndarray) -> np.ndarray:
    cameras = views.cameras
    if cameras.ortho_scale is not None:
        return np.broadcast_to(-cameras.c2w[i, :3, 2].numpy(), points.shape)
    towards = cameras.centres[i].numpy() - points
    return towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)


def _sample(
    image: Float[Tensor, "4 h w"], uv: Float[Tensor, "n 2"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Bilinear colour, and how far inside the silhouette the position lies, in [0, 1]."""
    from scipy.ndimage import distance_transform_edt

    h, w = image.shape[1:]
    depth_inside = distance_transform_edt(np.pad(image[3].numpy() > 0.9, 1))[1:-1, 1:-1]
    trust = torch.from_numpy(np.clip((depth_inside - 1.0) / FEATHER, 0.0, 1.0)).float()[None]
    layers = torch.cat([image[:3] * image[3:], image[3:], trust])
    grid = 2.0 * uv / uv.new_tensor([w, h]) - 1.0
    sampled = torch.nn.functional.grid_sample(
        layers[None], grid[None, None], padding_mode="border", align_corners=False
    )[0, :, 0].numpy()
    return (sampled[:3] / np.maximum(sampled[3], 1e-6)).T, sampled[4]
