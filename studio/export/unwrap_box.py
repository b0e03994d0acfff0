"""UV coordinates for a mesh: patches that face one axis each, laid flat and packed.

A patch of faces that one axis sees is a height field, so its projection has no folds; from there it
is flattened without much stretch (`studio.export.flatten`). Few patches, any number of faces, and
nothing that depends on the machine.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from studio.export.flatten import flattened
from studio.export.packing import packed
from studio.export.raster import covered_texels
from studio.export.unwrap import Unwrapper, cut_along
from studio.mesh import Mesh
from studio.plugins.registry import register

_AXES = np.array(
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64
)

STEEPEST = 0.2  # cosine to its axis: a face that is seen more from its edge is not projected
SMOOTHED = 12  # rounds in which faces take the axis of their neighbours
TOGETHER = 0.3  # how much each of three neighbours counts in that, beside a cosine
SMALL = 0.004  # of the surface; smaller charts join a neighbour where its axis sees them
JOININGS = 4
MOST_LAYERS = 32  # of a patch that folds over itself
FOLD_GRID = 512  # lines along the mesh's longest side, on which folds are looked for


@register("unwrap", "box")
class Box(Unwrapper):
    """Patches that face one axis each, laid flat without stretch: fast, any number of faces."""

    def unwrap(self, mesh: Mesh, size: int, padding: int = 4) -> Mesh:
        """One chart for every connected patch that faces the same axis."""
        label = _axis_labels(mesh)
        corner_uv, height = _projected(mesh, label)
        chart = _patches(mesh.faces, label)
        layer = _layers(corner_uv, height, chart, min(size, FOLD_GRID))
        if layer.any():
            chart = _patches(mesh.faces, chart * (layer.max() + 1) + layer)
        key = chart[:, None] * np.int64(len(mesh.vertices)) + mesh.faces
        names, first, inverse = np.unique(key.ravel(), return_index=True, return_inverse=True)
        joint = inverse.reshape(-1, 3)
        corners = mesh.vertices[mesh.faces].astype(np.float64)
        flat = packed(flattened(corners, corner_uv, joint, chart), chart, size, padding) / size
        return cut_along(mesh, names % len(mesh.vertices), joint, flat.reshape(-1, 2)[first])


def _axis_labels(mesh: Mesh) -> Int[np.ndarray, " m"]:
    """The axis (+x -x +y -y +z -z) each face looks along, smoothed to get few charts."""
    doubled = mesh.face_normals.astype(np.float64)
    area = np.linalg.norm(doubled, axis=1)
    votes = (doubled / np.maximum(area, 1e-20)[:, None]) @ _AXES.T
    allowed = votes > STEEPEST
    allowed[~allowed.any(1)] = True  # faces without area
    a, b = _adjacent_faces(mesh.faces)
    label = votes.argmax(1)
    for _ in range(SMOOTHED):
        near = np.zeros(votes.size)
        for one, other in ((a, b), (b, a)):
            near += np.bincount(one * 6 + label[other], minlength=votes.size)
        label = np.where(allowed, votes + TOGETHER * near.reshape(votes.shape), -np.inf).argmax(1)
    for _ in range(JOININGS):
        label = _joined(mesh.faces, label, allowed, area / area.sum(), (a, b))
    return label


def _joined(
    faces: Int[np.ndarray, "m 3"],
    label: Int[np.ndarray, " m"],
    allowed: Bool[np.ndarray, "m 6"],
    share: Float[np.ndarray, " m"],
    adjacent: tuple[np.ndarray, np.ndarray],
) -> Int[np.ndarray, " m"]:
    """Small patches given to the axis of the neighbour that they share most edges with."""
    patch, (a, b) = _patches(faces, label), adjacent
    count = int(patch.max()) + 1
    small = np.bincount(patch, share) < SMALL
    border = np.zeros(count * 6)
    for one, other in ((a, b), (b, a)):
        across = (patch[one] != patch[other]) & small[patch[one]]
        at = patch[one[across]] * 6 + label[other[across]]
        border += np.bincount(at, minlength=count * 6)
    seen = np.stack([np.bincount(patch, ~allowed[:, k], count) == 0 for k in range(6)], 1)
    border = np.where(seen, border.reshape(count, 6), 0)
    chosen = border.argmax(1)
    moved = small & (border.max(1) > 0)
    return np.where(moved[patch], chosen[patch], label)


def _projected(
    mesh: Mesh, label: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "m 3 2"], Float[np.ndarray, "m 3"]]:
    """Corners of faces on the plane across their axis, and their heights along it."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    plane, height = np.empty((*corners.shape[:2], 2)), np.empty(corners.shape[:2])
    for side in range(6):
        here, axis = label == side, side // 2
        plane[here] = corners[here][..., [i for i in range(3) if i != axis]]
        if _AXES[side, axis] * (-1) ** axis < 0:
            plane[here, :, 0] *= -1  # so that all faces stay counter-clockwise
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
