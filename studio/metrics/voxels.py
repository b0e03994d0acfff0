"""Grid points that a mesh encloses, by the parity of crossings along the X axis.

The grid of mesh2sdf, on which EscherNet and SyncDreamer measure the overlap of volumes: sample i of
an axis lies at -1 + 2 i / size. Parity does not ask which way a face is turned.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_erosion

from studio.mesh import Mesh
from studio.metrics.surface import Surface
from studio.ops.compiled import kernel, part

Array = np.ndarray

TOUCHING = 1e-12  # distance of samples on the surface, up to rounding in float64


def occupancy_grid(mesh: Mesh, size: int = 64) -> Bool[np.ndarray, "s s s"]:
    """Whether the grid's sample points lie inside the mesh; axes are x, y, z.

    Crossings are counted from -X. A sample point on the outline of a triangle counts as moved by
    (e, e^2) in Y and Z, so that of two triangles that share an edge just one is crossed. Samples
    on the surface itself are not inside, as their distance 0 is not negative.

    Args:
        mesh: closed, within [-1, 1]; what lies outside is not seen.
        size: samples per axis.
    """
    corners = (mesh.vertices[mesh.faces].astype(np.float64) + 1) * (size / 2)
    crossings = np.zeros((size, size, size), np.uint8)
    _count_crossings(corners, crossings)
    inside = np.bitwise_xor.accumulate(crossings, axis=0).astype(bool)
    shell = np.argwhere(inside & ~binary_erosion(inside, np.ones((3, 3, 3), bool)))
    touching = shell[Surface(mesh).nearest(shell * (2 / size) - 1)[0] < TOUCHING]
    inside[tuple(touching.T)] = False
    return inside


def grid_iou(a: Bool[np.ndarray, "s s s"], b: Bool[np.ndarray, "s s s"]) -> float:
    """Intersection over union of two occupancy grids; 0 if both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


@kernel
def _count_crossings(corners: Array, crossings: Array) -> None:
    """Toggle, for every triangle and grid column, the first sample behind the crossing."""
    size = len(crossings)
    for f in range(len(corners)):
        a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
        first_y = max(0, int(np.ceil(min(a[1], b[1], c[1]))))
        last_y = min(size - 1, int(np.floor(max(a[1], b[1], c[1]))))
        first_z = max(0, int(np.ceil(min(a[2], b[2], c[2]))))
        last_z = min(size - 1, int(np.floor(max(a[2], b[2], c[2]))))
        for y in range(first_y, last_y + 1):
            for z in range(first_z, last_z + 1):
                side_a, area_a = _side(b, c, y, z)
                side_b, area_b = _side(c, a, y, z)
                side_c, area_c = _side(a, b, y, z)
                total = area_a + area_b + area_c
                if side_a != side_b or side_b != side_c or total == 0.0:
                    continue
                x = (area_a * a[0] + area_b * b[0] + area_c * c[0]) / total
                sample = max(0, int(np.ceil(x)))
                if sample < size:
                    crossings[sample, y, z] ^= 1


@part
def _side(p: Array, q: Array, y: int, z: int) -> tuple[int, float]:
    """Side of the edge p -> q on which the column lies (0: no edge), and twice the area between."""
    area = (p[1] - y) * (q[2] - z) - (p[2] - z) * (q[1] - y)
    if area != 0.0:
        return (1 if area > 0.0 else -1), area
    if p[2] != q[2]:
        return (1 if p[2] > q[2] else -1), area
    if p[1] != q[1]:
        return (1 if q[1] > p[1] else -1), area
    return 0, area
