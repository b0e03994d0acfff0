"""Even triangles on a surface: about a wanted number of them, smaller where it bends more.

Edges that are too long are split, too short ones collapsed, others flipped; vertices then slide
along the surface to the middle of their neighbours (Botsch and Kobbelt, "A remeshing approach to
multiresolution modeling", 2004) and from there to where its planes meet, onto its edges (Lindstrom,
"Out-of-core simplification of large polygonal models", 2000). How long edges should be follows from
the curvature (Dunyach et al., "Adaptive remeshing for real-time mesh deformation", 2013). At the
end the vertices move to where the triangles as a whole lie closest to the surface, half inside and
half outside: with vertices on it, all of a ball's triangles would be inside.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, diags, eye
from scipy.sparse.linalg import cg

from studio.export.cleanup import remove_degenerate
from studio.export.edge_operations import LONG, SHORT
from studio.export.half_edges import HalfEdges, apart, borders, gathered, quadrics, two_sides
from studio.mesh import Mesh
from studio.metrics.triangle_tree import TriangleTree, closest, dots
from studio.metrics.triangles import aspect_ratios

Vertices = Float[np.ndarray, "n 3"]
Faces = Int[np.ndarray, "m 3"]

ROUNDS = 8
OFF = 0.12  # distance of planes from a vertex, in wanted lengths, at which edges are not collapsed
FLAT, CREASE = 0.08, 0.25  # how much normals around a vertex differ that slides, and that does not
COLLAPSES = 12  # sweeps in a round, at most
FINEST, COARSEST = 0.45, 1.6  # wanted lengths, of the usual one
EQUILATERAL = np.sqrt(3) / 4  # area of a triangle with sides of 1
SNAPS = 6  # last rounds, in which vertices go onto the surface's edges
FACING = 0.2  # least cosine of normals on one side of a thin part
LOOSE = 0.01  # how much vertices resist that, of the pull of all planes around them
FITS = 2  # rounds of bringing the triangles close to the surface
STIFF = 0.05  # how much vertices resist that, of a sample's pull
SLIVER = 3.5  # aspect ratio beyond which that may not make a triangle worse
FEW = 400  # triangles; less are made of so many, as no length of edges fits all of a shape then
CHEAPEST, DEARER, DEAREST = 0.005, 1.15, 4.0  # distances at which those are collapsed, see OFF
HELD = 0.03  # change of the volume
SAMPLES = np.array(
    [[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4], [5, 5, 2], [5, 2, 5], [2, 5, 5]], dtype=float
)
SAMPLES /= SAMPLES.sum(1, keepdims=True)  # barycentric


def remesh(vertices: Vertices, faces: Faces, target: int) -> tuple[Vertices, Faces]:
    """Return about ``target`` even triangles; a closed mesh stays closed.

    Less than a few hundred, and those of shapes that even triangles do not fit, are made by
    collapses alone, and as uneven as the shape asks for. There are more of them than wanted where
    so few would change the volume by more than 3 %.

    Args:
        vertices: of the surface.
        faces: their triangles. Edges that belong to one of them or to more than two stay.
        target: number of triangles.
    """
    whole = _Surface(*apart(vertices.astype(np.float64), faces))
    made = _even(whole, max(target, FEW))
    if not whole.is_held_by(*made):
        made = whole.vertices, whole.faces
    elif target >= FEW:
        return remove_degenerate(*made)
    most = target
    while len(made[1]) > most:
        points, triangles = _decimated(*made, most)
        for _ in range(FITS):
            points = whole.fitted(points, triangles)
        if whole.is_held_by(points, triangles):
            return remove_degenerate(points, triangles)
        most += most // 4 + 2
    return remove_degenerate(*made)


def fitted(vertices: Vertices, faces: Faces, points: Vertices, triangles: Faces) -> Vertices:
    """Return the vertices of triangles, moved so that these lie close to a surface.

    Args:
        vertices: of the surface.
        faces: of the surface.
        points: vertices that move.
        triangles: between them.
    """
    whole = _Surface(*apart(vertices.astype(np.float64), faces))
    for _ in range(FITS):
        points = whole.fitted(points, triangles)
    return points


def _even(whole: _Surface, target: int) -> tuple[Vertices, Faces]:
    """About a number of even triangles."""
    length = whole.lengths(target)
    points, triangles, wanted, scale = whole.vertices, whole.faces, length, 1.0
    for round_ in range(ROUNDS):
        most = target if round_ == ROUNDS - 1 else 0
        points, triangles, wanted = _adjusted(
            points, triangles, wanted, most, by_angle=round_ >= ROUNDS // 2
        )
        moved, normals = _relaxed(points, triangles, wanted)
        found, face, weights = whole.nearest(moved)
        good = dots(whole.normals[face], normals) > 0  # not the other side of a thin part
        points = np.where(good[:, None], found, points)
        if round_ >= ROUNDS - SNAPS:
            points = whole.snapped(points, triangles, normals, wanted)
        scale *= (len(triangles) / target) ** 0.5
        wanted = (length[whole.faces[face]] * weights).sum(1) * scale
    for _ in range(FITS):
        points = whole.fitted(points, triangles)
    return points, triangles


def _decimated(points: Vertices, faces: Faces, target: int) -> tuple[Vertices, Faces]:
    """As many triangles, or a few less, made from more by the cheapest collapses.

    Their sides become as uneven as the shape asks for.
    """
    usual = np.sqrt(Mesh(points, faces).area / target / EQUILATERAL)
    edges = HalfEdges(points, faces, np.full(len(points), usual))
    off = CHEAPEST
    while (over := edges.count - target) > 0 and off < DEAREST:
        edges.collapse(max(over // 2, 1), np.inf, off)
        off *= DEARER
    return edges.result()[:2]


def _adjusted(
    points: Vertices, faces: Faces, wanted: Float[np.ndarray, " n"], most: int, *, by_angle: bool
) -> tuple[Vertices, Faces, Float[np.ndarray, " k"]]:
    """Split, collapse and flip edges; then, if `most` is given, leave no more faces than that."""
    edges = HalfEdges(points, faces, wanted)
    edges.split()
    for sweep in range(COLLAPSES):
        edges.collapse(edges.sides, SHORT, OFF * 2 ** (sweep / 2 - 2))
    if most:
        below, off = SHORT, OFF
        while (over := edges.count - most) > 1 and below < 4 * LONG:
            below, off = 1.05 * below, 1.1 * off
            edges.collapse(over // 2, below, off)
    for _ in range(3):
        edges.flip(by_angle)
    return edges.result()


def _relaxed(
    points: Vertices, faces: Faces, wanted: Float[np.ndarray, " n"]
) -> tuple[Vertices, Vertices]:
    """Vertices moved across their normals to the middle of the faces around them; the normals."""
    corners = points[faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = gathered(faces, doubled, len(points))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    weight = np.linalg.norm(doubled, axis=1) / wanted[faces].mean(1) ** 2
    middle = gathered(faces, corners.mean(1) * weight[:, None], len(points))
    total = np.bincount(faces.ravel(), weight.repeat(3), len(points))[:, None]
    move = middle / np.maximum(total, 1e-30) - points
    tensor = quadrics(points, faces)[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    bent, axes = np.linalg.eigh(tensor)
    free = np.clip((CREASE - bent / np.maximum(bent[:, 2:], 1e-300)) / (CREASE - FLAT), 0, 1)
    move = np.einsum("nik,nk,njk,nj->ni", axes, free, axes, move)
    move[borders(faces, len(points))] = 0
    return points + move, normals


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
        self.middles = self.corners.mean(1)
        self.tree = TriangleTree(self.corners)
        self._doubled = doubled
        self.middle = vertices.mean(0)
        self.volume = _volume(vertices - self.middle, faces)
        self.usual_volume = abs(self.volume)
        if borders(faces, len(vertices)).any():  # that of a ball; borders stay, so changes tell
            self.usual_volume = self.area.sum() ** 1.5 / (6 * np.sqrt(np.pi))

    def is_held_by(self, points: Vertices, faces: Faces) -> bool:
        """Whether triangles enclose about as much."""
        change = _volume(points - self.middle, faces) - self.volume
        return abs(change) <= HELD * self.usual_volume

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
        normals = gathered(self.faces, self._doubled, n)
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

    def snapped(
        self, points: Vertices, faces: Faces, normals: Vertices, wanted: Float[np.ndarray, " k"]
    ) -> Vertices:
        """Vertices moved to where the planes of the surface around them meet: onto its edges.

        Args:
            points: vertices.
            faces: their triangles.
            normals: of them; what faces another way belongs to the other side of a thin part.
            wanted: lengths of edges; nothing moves more than half of one.
        """
        from scipy.spatial import KDTree

        at = KDTree(points).query(self.middles)[1]
        weight = self.area * (dots(self.normals, normals[at]) > FACING)
        off = dots(self.middles - points[at], self.normals)
        outer = (self.normals[:, :, None] * self.normals[:, None]).reshape(-1, 9)
        rows = np.concatenate([outer, off[:, None] * self.normals], 1) * weight[:, None]
        sums = np.stack([np.bincount(at, row, len(points)) for row in rows.T], 1)
        tensor, pull = sums[:, :9].reshape(-1, 3, 3), sums[:, 9:, None]
        hold = LOOSE * np.trace(tensor, axis1=1, axis2=2) + 1e-300 * self.area.sum()
        move = np.linalg.solve(tensor + hold[:, None, None] * np.eye(3), pull)[..., 0]
        length = np.linalg.norm(move, axis=1)
        move *= np.minimum(1, 0.5 * wanted / np.maximum(length, 1e-300))[:, None]
        move[borders(faces, len(points))] = 0
        return points + move

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
        weight *= dots(normals, doubled.repeat(per, 0)) > 0
        off = dots(found - at, normals)
        columns = 3 * faces.repeat(per, 0)[:, :, None] + np.arange(3)
        values = (
            np.tile(SAMPLES, (len(faces), 1))[:, :, None] * normals[:, None] * weight[:, None, None]
        )
        rows = np.arange(len(at)).repeat(9)
        pull = csr_matrix((values.ravel(), (rows, columns.ravel())), (len(at), 3 * n))
        system = (pull.T @ pull + STIFF * eye(3 * n)).tocsr()
        move = cg(system, pull.T @ (off * weight), rtol=1e-3, maxiter=100)[0].reshape(-1, 3)
        move[borders(faces, n)] = 0
        return _unspoilt(points, points + move, faces)


def _volume(points: Vertices, faces: Faces) -> float:
    return float(np.linalg.det(points[faces]).sum() / 6)


def _unspoilt(points: Vertices, moved: Vertices, faces: Faces) -> Vertices:
    """Moved vertices, but for those whose faces would turn around or become slivers."""
    before = np.cross(*two_sides(points, faces))
    ratio = np.maximum(aspect_ratios(Mesh(points, faces)), SLIVER)
    for _ in range(10):
        after = np.cross(*two_sides(moved, faces))
        sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        spoilt = dots(before, after) < 0.5 * sizes
        spoilt |= aspect_ratios(Mesh(moved, faces)) > ratio
        if not spoilt.any():
            break
        moved = moved.copy()
        moved[faces[spoilt]] = points[faces[spoilt]]
    return moved
