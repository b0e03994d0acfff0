"""UV coordinates for a mesh: an atlas of its projections on the axes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from studio.export.raster import covered_texels
from studio.export.unwrap import Unwrapper, cut_along
from studio.mesh import Mesh
from studio.plugins.registry import register

_AXES = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64
)

MOST_LAYERS = 32  # of a patch that folds over itself
FOLD_GRID = 512  # lines along the mesh's longest side, on which folds are looked for


@register("unwrap", "box")
class Box(Unwrapper):
    """Projections on the axes: fast, more seams."""

    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """One chart for every connected patch that faces the same axis, packed on shelves."""
        label = _axis_labels(mesh)
        corner_uv, height = _projected(mesh, label)
        chart = _patches(mesh.faces, label)
        layer = _layers(corner_uv, height, chart, min(size, FOLD_GRID))
        if layer.any():
            chart = _patches(mesh.faces, chart * (layer.max() + 1) + layer)
        count = int(chart.max()) + 1
        low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
        np.minimum.at(low, chart, corner_uv.min(1))
        np.maximum.at(high, chart, corner_uv.max(1))
        place, texels_per_unit = _pack(high - low, size, padding)
        corner_uv = ((corner_uv - low[chart, None]) * texels_per_unit + place[chart, None]) / size
        key = chart[:, None] * np.int64(len(mesh.vertices)) + mesh.faces
        names, first, inverse = np.unique(key.ravel(), return_index=True, return_inverse=True)
        origin = names % len(mesh.vertices)
        return cut_along(mesh, origin, inverse.reshape(-1, 3), corner_uv.reshape(-1, 2)[first])


def _axis_labels(mesh: Mesh, rounds: int = 4) -> Int[np.ndarray, " m"]:
    """The axis (+x -x +y -y +z -z) each face looks along, smoothed to get fewer charts."""
    normals = mesh.face_normals.astype(np.float64)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    votes = normals @ _AXES.T
    allowed = votes > 0.35  # never project a face that is seen nearly from its edge
    a, b = _adjacent_faces(mesh.faces)
    label = votes.argmax(1)
    for _ in range(rounds):
        score = votes.copy()
        for one, other in ((a, b), (b, a)):
            np.add.at(score, (one, label[other]), 0.25)
        label = np.where(allowed, score, -np.inf).argmax(1)
    return label


def _projected(
    mesh: Mesh, label: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "m 3 2"], Float[np.ndarray, "m 3"]]:
    """Corners of faces on the plane across their axis, and their heights along it."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    plane, height = np.empty((*corners.shape[:2], 2)), np.empty(corners.shape[:2])
    for side in range(6):
        here, axis = label == side, side // 2
        plane[here] = corners[here][..., [i for i in range(3) if i != axis]]
        height[here] = corners[here][..., axis] * _AXES[side, axis]
    return plane, height


def _layers(
    plane: Float[np.ndarray, "m 3 2"],
    height: Float[np.ndarray, "m 3"],
    patch: Int[np.ndarray, " m"],
    size: int,
) -> Int[np.ndarray, " m"]:
    """How many faces of its own patch lie over each face: 0 where a patch does not fold over."""
    low, extent = plane.min((0, 1)), float(np.ptp(plane, axis=(0, 1)).max())
    grid = (plane - low) * (size / max(extent, 1e-20))
    found = [
        (patch[face] * size**2 + texel, face, (weight * height[face]).sum(1))
        for texel, face, weight in covered_texels(grid, size)
    ]
    place, face, over = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.lexsort((-over, place))
    place, face, over = place[order], face[order], over[order]
    apart = (place[1:] == place[:-1]) & (over[:-1] - over[1:] > 1e-4 * extent)  # no common edge
    pairs = np.unique(np.stack([face[:-1], face[1:]], 1)[apart], axis=0)
    layer = np.zeros(len(plane), dtype=np.int64)
    for _ in range(MOST_LAYERS):
        deeper = layer.copy()
        np.maximum.at(deeper, pairs[:, 1], layer[pairs[:, 0]] + 1)
        if np.array_equal(deeper, layer):
            break
        layer = deeper
    return layer


def _adjacent_faces(faces: Int[np.ndarray, "m 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of faces that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(edges.T[::-1])
    same = (edges[order][1:] == edges[order][:-1]).all(1)
    return owner[order][:-1][same], owner[order][1:][same]


def _patches(faces: Int[np.ndarray, "m 3"], label: Int[np.ndarray, " m"]) -> np.ndarray:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a, b = _adjacent_faces(faces)
    same = label[a] == label[b]
    shape = (len(faces), len(faces))
    graph = coo_matrix((np.ones(same.sum(), dtype=bool), (a[same], b[same])), shape=shape)
    return connected_components(graph, directed=False)[1]


def _pack(extent: Float[np.ndarray, "k 2"], size: int, padding: int) -> tuple[np.ndarray, float]:
    """Place boxes on shelves, tallest first, at the largest common scale that fits.

    Returns:
        lower left corners in texels, and texels per world unit.
    """
    low, high = 0.0, size / float(extent.max())
    best = None
    for _ in range(18):
        scale = 0.5 * (low + high) if best is not None or low else high
        place = _shelves(np.ceil(extent * scale).astype(np.int64) + padding, size)
        if place is None:
            high = scale
        else:
            low, best = scale, place
        if low == 0.0:
            low = high / 2**12
    if best is None:  # more charts than texels allow: overlap beats failure, colours stay close
        return np.zeros_like(extent), low
    return best + padding / 2, low


def _shelves(boxes: Int[np.ndarray, "k 2"], size: int) -> np.ndarray | None:
    place = np.empty(boxes.shape)
    x = y = shelf = 0
    for i in np.argsort(-boxes[:, 1], kind="stable"):
        width, height = boxes[i]
        if x + width > size:
            x, y, shelf = 0, y + shelf, 0
        if width > size or y + height > size:
            return None
        place[i] = x, y
        x, shelf = x + width, max(shelf, height)
    return place
