"""Even triangles on a surface: about a wanted number of them, smaller where it bends more.

Edges that are too long are split, too short ones collapsed, others flipped; vertices then slide
along the surface to the middle of their neighbours (Botsch and Kobbelt, "A remeshing approach to
multiresolution modeling", 2004). How long edges should be follows from the curvature (Dunyach et
al., "Adaptive remeshing for real-time mesh deformation", 2013). At the end the vertices move to
where the triangles as a whole lie closest to the surface, half inside and half outside: with
vertices on it, all of a ball's triangles would be inside.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, csr_matrix, diags, eye
from scipy.sparse.linalg import cg

from studio.export.cleanup import compact, remove_degenerate
from studio.export.edge_operations import LONG, SHORT, collapse_short, flip_edges, split_long
from studio.mesh import Mesh
from studio.metrics.triangle_tree import TriangleTree
from studio.metrics.triangles import aspect_ratios

Vertices = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]

ROUNDS = 8
OFF = 0.12  # distance of planes from a vertex, in wanted lengths, at which edges are not collapsed
FLAT, CREASE = 0.08, 0.25  # how much normals around a vertex differ that slides, and that does not
COLLAPSES = 12  # sweeps in a round, at most
FINEST, COARSEST = 0.45, 1.6  # wanted lengths, of the usual one
EQUILATERAL = np.sqrt(3) / 4  # area of a triangle with sides of 1
FITS = 3  # rounds of bringing the triangles close to the surface
STIFF = 0.05  # how much vertices resist that, of a sample's pull
SLIVER = 3.5  # aspect ratio beyond which that may not make a triangle worse
SAMPLES = np.array(
    [[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [5, 5, 2], [5, 2, 5], [2, 5, 5]], dtype=float
)
SAMPLES /= SAMPLES.sum(1, keepdims=True)  # barycentric


def remesh(vertices: Vertices, faces: Faces, target: int) -> tuple[Vertices, Faces]:
    """Return about ``target`` even triangles; a closed mesh stays closed.

    Args:
        vertices: of the surface.
        faces: their triangles. Edges that belong to one of them or to more than two stay.
        target: number of triangles.
    """
    vertices, faces = _apart(vertices.astype(np.float64), faces)
    whole = _Surface(vertices, faces)
    length = whole.lengths(target)
    points, triangles, wanted, scale = vertices, faces, length, 1.0
    for round_ in range(ROUNDS):
        most = target if round_ == ROUNDS - 1 else 0
        points, triangles, wanted = _adjusted(
            points, triangles, wanted, most, by_angle=round_ >= ROUNDS // 2
        )
        moved, normals = _relaxed(points, triangles, wanted)
        found, face, weights = whole.nearest(moved)
        good = (whole.normals[face] * normals).sum(1) > 0  # not the other side of a thin part
        points = np.where(good[:, None], found, points)
        scale *= (len(triangles) / target) ** 0.5
        wanted = (length[faces[face]] * weights).sum(1) * scale
    for _ in range(FITS):
        points = whole.fitted(points, triangles)
    return remove_degenerate(points, triangles)


def _adjusted(
    points: Vertices, faces: Faces, wanted: Float[np.ndarray, " n"], most: int, *, by_angle: bool
) -> tuple[Vertices, Faces, Float[np.ndarray, " k"]]:
    """Split, collapse and flip edges; then, if `most` is given, leave no more faces than that."""
    n, m = len(points), len(faces)
    room = n // 2 + 64
    placed, length = np.concatenate([points, np.zeros((room, 3))]), np.pad(wanted, (0, room))
    flat, twin = (np.full(3 * (m + 2 * room), -1, np.int64) for _ in range(2))
    flat[: 3 * m], twin[: 3 * m] = faces.ravel(), _twins(faces, n)
    valence = np.bincount(faces.ravel(), minlength=n + room)
    fixed = np.zeros(n + room, bool)
    border = np.flatnonzero(twin[: 3 * m] < 0)
    fixed[flat[border]] = fixed[np.roll(faces, -1, axis=1).ravel()[border]] = True
    counts = np.array([n, m])
    split_long(placed, flat, twin, length, valence, counts)
    edges = 3 * int(counts[1])
    quadrics = _quadrics(placed, flat[:edges].reshape(-1, 3))
    collapse = (placed, flat, twin, length, valence, fixed, quadrics, edges)
    for sweep in range(COLLAPSES):
        collapse_short(*collapse, edges, SHORT, OFF * 2 ** (sweep / 2 - 2))
    if most:
        below, off = SHORT, OFF
        while (over := np.count_nonzero(flat[:edges:3] >= 0) - most) > 1 and below < 4 * LONG:
            below, off = 1.05 * below, 1.1 * off
            collapse_short(*collapse, over // 2, below, off)
    for _ in range(3):
        flip_edges(placed, flat, twin, valence, fixed, edges, by_angle)
    left = flat[:edges].reshape(-1, 3)
    left = left[left[:, 0] >= 0]
    both, left = compact(np.concatenate([placed, length[:, None]], axis=1), left)
    return both[:, :3], left, both[:, 3]


def _quadrics(points: Vertices, faces: Faces) -> Float[np.ndarray, "n 11"]:
    """Of every vertex, as `collapse_short` wants them: the planes of the faces around it."""
    one, other = _two_sides(points, faces)
    normals = np.cross(one, other)
    weight = np.linalg.norm(normals, axis=1)
    x, y, z = (normals / np.maximum(weight, 1e-300)[:, None]).T
    d = -(np.stack([x, y, z], 1) * points[faces[:, 0]]).sum(1)
    terms = [x * x, x * y, x * z, y * y, y * z, z * z, d * x, d * y, d * z, d * d, np.ones_like(d)]
    at, n = faces.ravel(), len(points)
    return np.stack([np.bincount(at, (t * weight).repeat(3), n) for t in terms], 1)


def _twins(faces: Faces, count: int) -> Int[np.ndarray, " 3*m"]:
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


def _apart(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Double the vertices at which parts of the surface meet without sharing an edge."""
    from scipy.sparse.csgraph import connected_components

    twin = _twins(faces, len(vertices))
    side = np.arange(len(twin))
    around = twin[np.where(side % 3 > 0, side - 1, side + 2)]  # the next side out of one's start
    met = around >= 0
    graph = coo_matrix((np.ones(met.sum()), (side[met], around[met])), (len(twin),) * 2)
    fan = connected_components(graph, directed=False)[1]
    _, first = np.unique(fan, return_index=True)
    return vertices[faces.ravel()[first]], fan.reshape(-1, 3)


def _relaxed(
    points: Vertices, faces: Faces, wanted: Float[np.ndarray, " n"]
) -> tuple[Vertices, Vertices]:
    """Vertices moved across their normals to the middle of the faces around them; the normals."""
    corners = points[faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = _gathered(faces, doubled, len(points))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    weight = np.linalg.norm(doubled, axis=1) / wanted[faces].mean(1) ** 2
    middle = _gathered(faces, corners.mean(1) * weight[:, None], len(points))
    total = np.bincount(faces.ravel(), weight.repeat(3), len(points))[:, None]
    move = middle / np.maximum(total, 1e-30) - points
    tensor = _quadrics(points, faces)[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    bent, axes = np.linalg.eigh(tensor)
    free = np.clip((CREASE - bent / np.maximum(bent[:, 2:], 1e-300)) / (CREASE - FLAT), 0, 1)
    move = np.einsum("nik,nk,njk,nj->ni", axes, free, axes, move)
    move[_borders(faces, len(points))] = 0
    return points + move, normals


def _gathered(faces: Faces, values: Float[np.ndarray, "m 3"], count: int) -> Vertices:
    """Sums over the faces around every vertex."""
    at = faces.ravel()
    return np.stack([np.bincount(at, values[:, k].repeat(3), count) for k in range(3)], 1)


class _Surface:
    """What is approximated.

    Args:
        vertices: of it.
        faces: their triangles.
    """

    def __init__(self, vertices: Vertices, faces: Faces) -> None:
        self.vertices, self.faces = vertices, faces
        self.corners = vertices[faces]
        doubled = np.cross(
            self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        )
        size = np.linalg.norm(doubled, axis=1, keepdims=True)
        self.area, self.normals = 0.5 * size[:, 0], doubled / np.maximum(size, 1e-30)
        self.tree = TriangleTree(self.corners)
        self._doubled = doubled

    def lengths(self, target: int) -> Float[np.ndarray, " n"]:
        """Edges' wanted length at every vertex for a number of triangles in all."""
        n = len(self.vertices)
        ends = np.concatenate([self.faces[:, [i, (i + 1) % 3]] for i in range(3)])
        ends = np.concatenate([ends, ends[:, ::-1]])
        near = csr_matrix((np.ones(len(ends)), ends.T), (n, n)) + 2 * eye(n)
        near = diags(1 / np.asarray(near.sum(1)).ravel()) @ near
        usual = np.sqrt(self.area.sum() / target / EQUILATERAL)
        apart = np.linalg.norm(self.vertices[ends[:, 0]] - self.vertices[ends[:, 1]], axis=1)
        rounds = int(np.clip((usual / np.median(apart)) ** 2, 1, 40))
        normals = _gathered(self.faces, self._doubled, n)
        for _ in range(rounds):
            normals = near @ normals
            normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        bent = np.linalg.norm(normals[ends[:, 0]] - normals[ends[:, 1]], axis=1)
        bent /= np.maximum(apart, 1e-30)
        curvature = np.bincount(ends[:, 0], bent**2, n) / np.bincount(ends[:, 0], minlength=n)
        for _ in range(rounds):
            curvature = near @ curvature
        curvature = np.sqrt(curvature)
        share = np.bincount(self.faces.ravel(), self.area.repeat(3) / 3, n)
        middle = np.sqrt((curvature**2 * share).sum() / share.sum())
        length = np.clip(np.sqrt(middle / np.maximum(curvature, 1e-12)), FINEST, COARSEST)
        return length * np.sqrt((share / length**2).sum() / EQUILATERAL / target)

    def nearest(
        self, points: Vertices
    ) -> tuple[Vertices, Int[np.ndarray, " k"], Float[np.ndarray, "k 3"]]:
        """Nearest points of the surface, their triangles and their places in those."""
        _, face = self.tree.query(points)
        weights = closest(points, self.corners[face])
        return np.einsum("kc,kcd->kd", weights, self.corners[face]), face, weights

    def fitted(self, points: Vertices, faces: Faces) -> Vertices:
        """Vertices moved so that samples of their triangles lie close to the surface.

        Least squares over the samples' distances along the surface's normals.
        """
        n, per = len(points), len(SAMPLES)
        corners = points[faces]
        at = np.einsum("sc,mcd->msd", SAMPLES, corners).reshape(-1, 3)
        doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        found, face, _ = self.nearest(at)
        normals = self.normals[face]
        weight = np.linalg.norm(doubled, axis=1)
        weight = np.sqrt(weight / weight.mean()).repeat(per)
        weight *= (normals * doubled.repeat(per, 0)).sum(1) > 0
        off = ((found - at) * normals).sum(1)
        columns = 3 * faces.repeat(per, 0)[:, :, None] + np.arange(3)
        values = (
            np.tile(SAMPLES, (len(faces), 1))[:, :, None] * normals[:, None] * weight[:, None, None]
        )
        rows = np.arange(len(at)).repeat(9)
        pull = csr_matrix((values.ravel(), (rows, columns.ravel())), (len(at), 3 * n))
        system = (pull.T @ pull + STIFF * eye(3 * n)).tocsr()
        move = cg(system, pull.T @ (off * weight), rtol=1e-3, maxiter=100)[0].reshape(-1, 3)
        move[_borders(faces, n)] = 0
        return _unspoilt(points, points + move, faces)


def _borders(faces: Faces, count: int) -> Bool[np.ndarray, " n"]:
    """Vertices at edges of one face, or of more than two."""
    border = _twins(faces, count) < 0
    found = np.zeros(count, bool)
    for ends in (faces.ravel(), np.roll(faces, -1, axis=1).ravel()):
        found[ends[border]] = True
    return found


def _unspoilt(points: Vertices, moved: Vertices, faces: Faces) -> Vertices:
    """Moved vertices, but for those whose faces would turn around or become slivers."""
    before = np.cross(*_two_sides(points, faces))
    ratio = np.maximum(aspect_ratios(Mesh(points, faces)), SLIVER)
    for _ in range(10):
        after = np.cross(*_two_sides(moved, faces))
        sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        spoilt = (before * after).sum(1) < 0.5 * sizes
        spoilt |= aspect_ratios(Mesh(moved, faces)) > ratio
        if not spoilt.any():
            break
        moved = moved.copy()
        moved[faces[spoilt]] = points[faces[spoilt]]
    return moved


def _two_sides(points: Vertices, faces: Faces) -> tuple[Vertices, Vertices]:
    a, b, c = (points[faces[:, k]] for k in range(3))
    return b - a, c - a


def closest(
    points: Float[np.ndarray, "k 3"], corners: Float[np.ndarray, "k 3 3"]
) -> Float[np.ndarray, "k 3"]:
    """Barycentric weights of the point of each triangle that is nearest to each point."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    scale = np.maximum(uu * vv - uv * uv, 1e-30)
    s, t = (vv * uw - uv * vw) / scale, (uu * vw - uv * uw) / scale
    best = np.stack([1 - s - t, s, t], 1)
    outside = (best < 0).any(1)
    nearest2 = np.where(outside, np.inf, -1.0)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        along = corners[:, j] - corners[:, i]
        r = ((points - corners[:, i]) * along).sum(1) / np.maximum((along**2).sum(1), 1e-30)
        r = np.clip(r, 0, 1)
        away2 = ((corners[:, i] + r[:, None] * along - points) ** 2).sum(1)
        better = away2 < nearest2
        weights = np.zeros_like(best)
        weights[:, i], weights[:, j] = 1 - r, r
        best = np.where(better[:, None], weights, best)
        nearest2 = np.where(better, away2, nearest2)
    return best
