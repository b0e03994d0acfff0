"""Queries of a triangle surface: points on it, distance to it, inside or outside."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from studio.mesh import Mesh

if TYPE_CHECKING:
    from studio.metrics.triangle_tree import TriangleTree

Points = Float[np.ndarray, "n 3"]

# Three directions without symmetry, so that rays rarely run along edges of axis-aligned meshes.
RAYS = np.array([[0.5377, 0.3419, 0.7707], [-0.8137, 0.4871, 0.3172], [0.2213, -0.8779, 0.4247]])


class Surface:
    """Queries on a mesh; search structures are built when first needed.

    Args:
        mesh: triangles, at least one of positive area.
    """

    def __init__(self, mesh: Mesh) -> None:
        """Compute face normals and areas."""
        self.mesh = mesh
        self._corners = mesh.vertices.astype(np.float64)[mesh.faces]
        cross = np.cross(
            self._corners[:, 1] - self._corners[:, 0], self._corners[:, 2] - self._corners[:, 0]
        )
        length = np.linalg.norm(cross, axis=1)
        if not length.sum() > 0:
            raise ValueError(f"a mesh of {len(mesh.faces)} faces without area cannot be measured")
        self._areas = 0.5 * length
        self.normals = cross / np.maximum(length, 1e-300)[:, None]
        """[M, 3] unit face normals."""

    def sample(self, count: int, seed: int = 0) -> tuple[Points, Int[np.ndarray, " n"]]:
        """Area-uniform random points and the faces they lie on."""
        random = np.random.default_rng(seed)
        total = np.cumsum(self._areas)
        where = (np.arange(count) + random.random(count)) / count * total[-1]  # stratified
        face = np.minimum(np.searchsorted(total, where, side="right"), len(total) - 1)
        root, share = np.sqrt(random.random((count, 1))), random.random((count, 1))
        a, b, c = self._corners[face].transpose(1, 0, 2)
        return (1 - root) * a + root * (1 - share) * b + root * share * c, face

    def nearest(self, points: Points) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Exact distance to the surface, and the nearest face."""
        return self._tree.query(points)

    def contains(self, points: Points) -> Bool[np.ndarray, " n"]:
        """Whether points are enclosed: leaving minus entering crossings of two of three rays.

        Counting with sign makes overlapping closed parts one body and nested shells of opposite
        orientation a cavity. A mesh that is inside out as a whole is read the right way round.
        """
        sign = 1 if self.mesh.volume >= 0 else -1
        low, high = self._corners.min((0, 1)), self._corners.max((0, 1))
        inside = np.zeros(len(points), dtype=bool)
        boxed = np.flatnonzero(((points >= low) & (points <= high)).all(1))
        if len(boxed):
            first, second = (sign * self._tree.windings(points[boxed], r) > 0 for r in RAYS[:2])
            inside[boxed] = first & second
            if len(split := boxed[first != second]):
                inside[split] = sign * self._tree.windings(points[split], RAYS[2]) > 0
        return inside

    @cached_property
    def open_edges(self) -> int:
        """Edges that an odd number of faces shares, equal positions being one vertex; 0: closed."""
        _, same = np.unique(self.mesh.vertices, axis=0, return_inverse=True)
        faces = same.reshape(-1)[self.mesh.faces]
        faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        shared = np.unique(edges, axis=0, return_counts=True)[1]
        return int((shared % 2).sum())

    @cached_property
    def _tree(self) -> TriangleTree:
        from studio.metrics.triangle_tree import TriangleTree

        return TriangleTree(self._corners)
