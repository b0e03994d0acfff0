"""Half-edges of a triangle mesh: which sides belong together, and a mesh that changes in place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix

from studio.export.cleanup import compact
from studio.export.edge_operations import collapse_short, flip_edges, split_long

Vertices = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]


class HalfEdges:
    """A mesh whose edges are split, collapsed and flipped; see `studio.export.edge_operations`.

    Args:
        points: of the vertices.
        faces: their triangles, without vertices at which parts touch that share no edge (`apart`).
        wanted: length of the edges at every vertex.
    """

    def __init__(self, points: Vertices, faces: Faces, wanted: Float[np.ndarray, " n"]) -> None:
        n, m = len(points), len(faces)
        room = n // 2 + 64
        self.points = np.concatenate([points, np.zeros((room, 3))])
        self.length = np.pad(wanted, (0, room))
        self.flat, self.twin = (np.full(3 * (m + 2 * room), -1, np.int64) for _ in range(2))
        self.flat[: 3 * m], self.twin[: 3 * m] = faces.ravel(), twins(faces, n)
        self.valence = np.bincount(faces.ravel(), minlength=n + room)
        self.fixed = np.zeros(n + room, bool)
        border = np.flatnonzero(self.twin[: 3 * m] < 0)
        for ends in (faces.ravel(), np.roll(faces, -1, axis=1).ravel()):
            self.fixed[ends[border]] = True
        self._counts = np.array([n, m])
        self._quadrics: Float[np.ndarray, "n 11"] | None = None

    @property
    def sides(self) -> int:
        """Half-edges that are in use or were."""
        return 3 * int(self._counts[1])

    @property
    def count(self) -> int:
        """Faces that are left."""
        return int(np.count_nonzero(self.flat[: self.sides : 3] >= 0))

    def split(self) -> None:
        """Cut edges that are too long, as far as there is room."""
        split_long(self.points, self.flat, self.twin, self.length, self.valence, self._counts)

    def collapse(self, most: int, below: float, off: float) -> None:
        """Join the ends of edges; see `collapse_short`. The planes are those at the first call."""
        if self._quadrics is None:
            self._quadrics = quadrics(self.points, self.flat[: self.sides].reshape(-1, 3))
        state = (self.points, self.flat, self.twin, self.length, self.valence, self.fixed)
        collapse_short(*state, self._quadrics, self.sides, most, below, off)

    def flip(self, by_angle: bool) -> None:
        """Turn edges to their quads' other diagonal; see `flip_edges`."""
        state = (self.points, self.flat, self.twin, self.valence, self.fixed)
        flip_edges(*state, self.sides, by_angle)

    def result(self) -> tuple[Vertices, Faces, Float[np.ndarray, " k"]]:
        """Vertices and faces that are left, and the wanted lengths."""
        left = self.flat[: self.sides].reshape(-1, 3)
        left = left[left[:, 0] >= 0]
        both, left = compact(np.concatenate([self.points, self.length[:, None]], axis=1), left)
        return both[:, :3], left, both[:, 3]


def quadrics(points: Vertices, faces: Faces) -> Float[np.ndarray, "n 11"]:
    """Of every vertex, as `collapse_short` wants them: the planes of the faces around it."""
    one, other = two_sides(points, faces)
    normals = np.cross(one, other)
    weight = np.linalg.norm(normals, axis=1)
    x, y, z = (normals / np.maximum(weight, 1e-300)[:, None]).T
    d = -(np.stack([x, y, z], 1) * points[faces[:, 0]]).sum(1)
    terms = [x * x, x * y, x * z, y * y, y * z, z * z, d * x, d * y, d * z, d * d, np.ones_like(d)]
    at, n = faces.ravel(), len(points)
    return np.stack([np.bincount(at, (t * weight).repeat(3), n) for t in terms], 1)


def twins(faces: Faces, count: int) -> Int[np.ndarray, " 3*m"]:
    """Of every side of a face the one that runs back; -1 without one, or if several run alike."""
    starts, ends = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key, back = starts * count + ends, ends * count + starts
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    single = np.ones(len(key), bool)
    same = ordered[1:] == ordered[:-1]
    single[order[1:][same]] = single[order[:-1][same]] = False
    found = order[np.minimum(np.searchsorted(ordered, back), len(key) - 1)]
    matched = (key[found] == back) & single & single[found]
    return np.where(matched, found, -1)


def apart(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Double the vertices at which parts of the surface meet without sharing an edge."""
    from scipy.sparse.csgraph import connected_components

    twin = twins(faces, len(vertices))
    side = np.arange(len(twin))
    around = twin[np.where(side % 3 > 0, side - 1, side + 2)]  # the next side out of one's start
    met = around >= 0
    graph = coo_matrix((np.ones(met.sum()), (side[met], around[met])), (len(twin),) * 2)
    fan = connected_components(graph, directed=False)[1]
    _, first = np.unique(fan, return_index=True)
    return vertices[faces.ravel()[first]], fan.reshape(-1, 3)


def borders(faces: Faces, count: int) -> Bool[np.ndarray, " n"]:
    """Vertices at edges of one face, or of more than two."""
    border = twins(faces, count) < 0
    found = np.zeros(count, bool)
    for ends in (faces.ravel(), np.roll(faces, -1, axis=1).ravel()):
        found[ends[border]] = True
    return found


def gathered(faces: Faces, values: Float[np.ndarray, "m 3"], count: int) -> Vertices:
    """Sums over the faces around every vertex."""
    at = faces.ravel()
    return np.stack([np.bincount(at, values[:, k].repeat(3), count) for k in range(3)], 1)


def two_sides(points: Vertices, faces: Faces) -> tuple[Vertices, Vertices]:
    """Of every face, from its first corner to the others."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    return b - a, c - a
