"""Points of a mesh that a ring of cameras sees: SyncDreamer measures distances on these."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from studio.mesh import Mesh

Points = Float[np.ndarray, "n 3"]

VIEWS, ELEVATION_DEG, SIDE, VOXEL = 16, 30.0, 256, 0.01  # official: camera-16.pkl, eval_mesh.py


def visible_points(mesh: Mesh) -> Points:
    """Surface points behind the pixels of 16 views, thinned to one per voxel of 0.01.

    The ring: azimuths 22.5 degrees apart, elevation 30 degrees, distance 1.5, field of view 49.1
    degrees, 256 x 256 pixels, rays through pixel centres. Of a voxel the mean point is kept.

    Args:
        mesh: around the origin, within the unit ball.

    Raises:
        ValueError: if no camera sees anything.
    """
    from studio.cameras import orbit_cameras
    from studio.ops.ray_caster import RayCaster

    caster = RayCaster(mesh.vertices, mesh.faces)
    cameras = orbit_cameras([k * 360 / VIEWS for k in range(VIEWS)], ELEVATION_DEG, size=SIDE)
    seen = []
    for view in range(VIEWS):
        rays = cameras[[view]].rays()
        origins, directions = (x.reshape(-1, 3).numpy() for x in (rays.origins, rays.directions))
        hit = caster.cast(origins, directions)
        front = hit["primID"] >= 0
        seen.append(origins[front] + hit["tfar"][front, None] * directions[front])
    points = np.concatenate(seen).astype(np.float64)
    if not len(points):
        raise ValueError("the ring of cameras sees nothing of the mesh")
    return thinned(points, VOXEL)


def thinned(points: Points, voxel: float) -> Points:
    """The mean of the points in each occupied voxel; the grid starts half a voxel before them."""
    cell = np.floor((points - points.min(0)) / voxel + 0.5).astype(np.int64)
    _, group, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), 3))
    np.add.at(total, group.reshape(-1), points)
    return total / count[:, None]
