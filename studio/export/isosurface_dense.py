"""Marching cubes on every sample of a grid, the way NeuS and instant-nsr extract their meshes.

This is the slow twin of :mod:`studio.export.isosurface`: it evaluates the whole grid and closes
nothing at the border of the box. Samples include both ends of every axis, so ``resolution`` samples
make ``resolution - 1`` cells, which are longer along longer sides of the box.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from studio.errors import ExportError
from studio.export.grid import SdfFn
from studio.mesh import Mesh

Box = Float[np.ndarray, "2 3"]  # lower and upper corner in world units


@torch.no_grad()
def sample_grid(
    sdf_fn: SdfFn, box: Box, resolution: int, chunk: int = 2**18
) -> Float[np.ndarray, "r r r"]:
    """Signed distances at ``resolution`` samples per axis, indexed x, y, z."""
    low, high = torch.as_tensor(box, dtype=torch.float32)
    axes = (torch.linspace(0, 1, resolution)[:, None] * (high - low) + low).unbind(1)
    values = np.empty((resolution,) * 3, dtype=np.float32)
    rows = max(1, chunk // resolution**2)
    for start in range(0, resolution, rows):
        points = torch.cartesian_prod(axes[0][start : start + rows], axes[1], axes[2])
        part = sdf_fn(points).reshape(-1, resolution, resolution)
        values[start : start + rows] = part.float().cpu().numpy()
    return values


def dense_mesh(sdf_fn: SdfFn, box: Box, resolution: int, level: float = 0.0) -> Mesh:
    """Extract a level set with outward faces, in world units.

    Official: NeuS ``extract_geometry``, which hands -f to PyMCubes for outward faces (the
    SyncDreamer family hands it +f: the same mesh, ``flipped``).

    Raises:
        ExportError: if the field does not cross the level at any sample.
    """
    from skimage.measure import marching_cubes

    box = np.asarray(box, dtype=np.float32)
    values = sample_grid(sdf_fn, box, resolution)
    if not values.min() < level < values.max():
        raise ExportError(
            f"the field lies between {values.min():.3g} and {values.max():.3g} in the export box"
            f" and never crosses {level:g}.",
            allowed="a signed distance, negative inside the object and positive outside",
        )
    vertices, faces, _, _ = marching_cubes(values, level)
    world = vertices.astype(np.float32) / np.float32(resolution - 1) * (box[1] - box[0]) + box[0]
    return Mesh(world, faces.astype(np.int64))


def enlarged_box(mesh: Mesh, share: float, limit: Box) -> Box:
    """The mesh's bounding box, larger by a share of its extent on every side, within a limit."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    margin = np.float32(share) * (high - low)
    box: Box = np.stack([np.maximum(low - margin, limit[0]), np.minimum(high + margin, limit[1])])
    return box


def two_pass_mesh(sdf_fn: SdfFn, radius: float, resolution: int, share: float = 0.1) -> Mesh:
    """Extract twice: in the cube of half side ``radius``, then in the box found there, enlarged.

    Official: instant-nsr-pl, ``models/geometry.py`` ``isosurface``.
    """
    cube = np.array([[-radius] * 3, [radius] * 3])
    coarse = dense_mesh(sdf_fn, cube, resolution)
    return dense_mesh(sdf_fn, enlarged_box(coarse, share, cube), resolution)
