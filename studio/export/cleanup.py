"""Repairs of triangle meshes, on plain arrays: vertices [N, 3], faces [M, 3]."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from studio.mesh import Mesh

Vertices = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]


def remove_degenerate(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Drop faces that repeat a corner, faces that occur twice, and vertices that no face uses."""
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, 1), axis=0, return_index=True)
    return compact(vertices, faces[np.sort(first)])


def compact(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Drop the vertices that no face uses."""
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used) - 1)[faces]


def face_components(faces: Faces) -> np.ndarray:
    """Number the connected parts: one label per face, starting at 0."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = int(faces.max()) + 1
    rows, columns = faces[:, [0, 1]].T.ravel(), faces[:, [1, 2]].T.ravel()
    graph = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1][faces[:, 0]]
    return np.unique(labels, return_inverse=True)[1]


def taubin_smooth(
    vertices: Vertices, faces: Faces, rounds: int, shrink: float = 0.5, grow: float = -0.53
) -> Vertices:
    """Smooth without shrinking: a step to the neighbours' mean, then a larger step back.

    Taubin, "Curve and surface smoothing without shrinkage", 1995.
    """
    from scipy.sparse import coo_matrix, diags

    pairs = np.concatenate([faces[:, [i, (i + 1) % 3]] for i in range(3)])
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    n = len(vertices)
    neighbours = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n)).tocsr()
    neighbours.data[:] = 1.0
    degree = np.asarray(neighbours.sum(1)).ravel()
    mean = diags(1.0 / np.maximum(degree, 1)) @ neighbours
    for _ in range(rounds):
        for step in (shrink, grow):
            vertices = vertices + step * (mean @ vertices - vertices)
    return vertices


def open_edges(faces: Faces) -> np.ndarray:
    """Directed edges [K, 2] that occur more often than their opposite: none if closed."""
    n = int(faces.max()) + 1
    edges = np.concatenate([faces[:, [i, (i + 1) % 3]] for i in range(3)])
    keys, counts = np.unique(edges[:, 0] * n + edges[:, 1], return_counts=True)
    opposite = keys % n * n + keys // n
    at = np.minimum(np.searchsorted(keys, opposite), len(keys) - 1)
    matched = np.where(keys[at] == opposite, counts[at], 0)
    lonely = keys[counts > matched]
    return np.stack([lonely // n, lonely % n], 1)


def is_watertight(faces: Faces) -> bool:
    """Whether every directed edge meets its opposite."""
    return len(open_edges(faces)) == 0


def face_outward(vertices: Vertices, faces: Faces) -> Faces:
    """Turn all faces around if the mesh as a whole has a negative volume."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    volume = np.einsum("ij,ij->", a, np.cross(b, c))
    return faces if volume >= 0 else np.ascontiguousarray(faces[:, ::-1])


def vertex_normals(mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """The mesh's unit vertex normals, computed if it has none."""
    normals = mesh.normals if mesh.normals is not None else mesh.with_normals().normals
    assert normals is not None
    return normals
