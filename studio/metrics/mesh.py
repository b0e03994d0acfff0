"""Mesh metrics: Chamfer distance, F-score, normal consistency, volume IoU.

Papers disagree about every one of these, so each function says what it measures. Nothing is
normalised here unless asked for: call `normalised` on both meshes first where a protocol wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from studio.mesh import Mesh
from studio.metrics.surface import Surface

Points = Float[np.ndarray, "n 3"]
Occupancy = Callable[[Points], Bool[np.ndarray, " n"]]

SAMPLES = 100_000
SEED = 0


@dataclass(frozen=True)
class Distances:
    """How far the points of two sets are from the other set, Euclidean, in world units.

    Attributes:
        a_to_b: of each point of a (accuracy, if a is the one that is judged).
        b_to_a: of each point of b (completeness).
    """

    a_to_b: Float[np.ndarray, " n"]
    b_to_a: Float[np.ndarray, " m"]

    @property
    def chamfer(self) -> float:
        """Mean of the two mean distances (not their sum), not squared."""
        return float(0.5 * (self.a_to_b.mean() + self.b_to_a.mean()))

    @property
    def chamfer_squared(self) -> float:
        """Mean of the two mean squared distances (not their sum)."""
        return float(0.5 * ((self.a_to_b**2).mean() + (self.b_to_a**2).mean()))

    def precision(self, threshold: float) -> float:
        """Share of a's points nearer than ``threshold`` (not squared)."""
        return float((self.a_to_b < threshold).mean())

    def recall(self, threshold: float) -> float:
        """Share of b's points nearer than ``threshold`` (not squared)."""
        return float((self.b_to_a < threshold).mean())

    def f_score(self, threshold: float) -> float:
        """Harmonic mean of precision and recall at a distance (not squared)."""
        precision, recall = self.precision(threshold), self.recall(threshold)
        return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


@dataclass(frozen=True)
class SurfaceDistances(Distances):
    """Distances to the nearest triangle at area-uniform random samples of each surface.

    Attributes:
        cosine_a_to_b: n_a . n_b at the samples of a, signed, of unit face normals.
        cosine_b_to_a: the other direction.
    """

    cosine_a_to_b: Float[np.ndarray, " n"]
    cosine_b_to_a: Float[np.ndarray, " m"]

    @property
    def normal_consistency(self) -> float:
        """Mean of |n_a . n_b| over both directions, in [0, 1]; blind to flipped faces."""
        return float(0.5 * (np.abs(self.cosine_a_to_b).mean() + np.abs(self.cosine_b_to_a).mean()))


def point_distances(a: Points, b: Points) -> Distances:
    """Measure from every point to the nearest one of the other set."""
    from scipy.spatial import cKDTree

    return Distances(cKDTree(b).query(a)[0], cKDTree(a).query(b)[0])


def surface_distances(
    a: Mesh, b: Mesh, samples: int = SAMPLES, seed: int = SEED
) -> SurfaceDistances:
    """Measure both directions between two surfaces.

    Distances go to the nearest triangle, not to the nearest sample, so equal surfaces give 0 up to
    rounding whatever the number of samples.

    Args:
        a: first mesh, world units.
        b: second mesh, in the same frame.
        samples: random points per surface.
        seed: of the samples.
    """
    first, second = Surface(a), Surface(b)
    points_a, faces_a = first.sample(samples, seed=seed)
    points_b, faces_b = second.sample(samples, seed=seed + 1)
    a_to_b, near_b = second.nearest(points_a)
    b_to_a, near_a = first.nearest(points_b)
    return SurfaceDistances(
        a_to_b,
        b_to_a,
        (first.normals[faces_a] * second.normals[near_b]).sum(1),
        (second.normals[faces_b] * first.normals[near_a]).sum(1),
    )


def chamfer(
    a: Mesh, b: Mesh, samples: int = SAMPLES, *, squared: bool = False, seed: int = SEED
) -> float:
    """Mean of the two mean distances between the surfaces (of squared distances if ``squared``)."""
    distances = surface_distances(a, b, samples, seed)
    return distances.chamfer_squared if squared else distances.chamfer


def f_score(
    a: Mesh, b: Mesh, threshold: float = 0.01, samples: int = SAMPLES, seed: int = SEED
) -> float:
    """F-score at a distance (not squared) in world units: precision of a, recall of b."""
    return surface_distances(a, b, samples, seed).f_score(threshold)


def normal_consistency(a: Mesh, b: Mesh, samples: int = SAMPLES, seed: int = SEED) -> float:
    """Mean |n_a . n_b| between nearest surface points, over both directions."""
    return surface_distances(a, b, samples, seed).normal_consistency


def vertex_chamfer(a: Mesh, b: Mesh, *, squared: bool = False) -> float:
    """Mean of the two mean distances between *vertices* (EscherNet's protocol).

    It depends on how the surfaces are cut into triangles: compare only with figures made so.
    """
    distances = point_distances(a.vertices, b.vertices)
    return distances.chamfer_squared if squared else distances.chamfer


def volume_iou(
    a: Mesh | Occupancy,
    b: Mesh | Occupancy,
    points: int = 200_000,
    *,
    box: Float[np.ndarray, "2 3"] | None = None,
) -> float:
    """Intersection over union of the volumes, by evenly spread points in a box around both.

    The error is about 1 / sqrt(points) of the object's share in the box, 0.002 by default. Meshes
    must be closed; their parts may overlap.

    Args:
        a: mesh, or a function from points to "inside".
        b: mesh, or a function from points to "inside".
        points: how many.
        box: lower and upper corner; the joint box of the meshes plus 1 % if absent.

    Raises:
        ValueError: if there is neither a mesh nor a box.
    """
    if box is None:
        vertices = [shape.vertices for shape in (a, b) if isinstance(shape, Mesh)]
        if not vertices:
            raise ValueError("volume_iou of two functions needs a box")
        low = np.min([v.min(0) for v in vertices], axis=0)
        high = np.max([v.max(0) for v in vertices], axis=0)
        margin = 0.01 * (high - low).max()
        box = np.stack([low - margin, high + margin])
    where = box[0] + spread_points(points) * (box[1] - box[0])
    inside_a, inside_b = (_occupancy(shape)(where) for shape in (a, b))
    union = int((inside_a | inside_b).sum())
    return float((inside_a & inside_b).sum() / union) if union else 0.0


def spread_points(count: int) -> Points:
    """Evenly spread points in the unit cube: Roberts' R3 sequence, the same on every call."""
    plastic = 1.22074408460575947536  # real root of x^4 = x + 1
    step = plastic ** -np.arange(1.0, 4.0)
    return (0.5 + np.arange(1, count + 1)[:, None] * step) % 1.0


def inside_mesh(mesh: Mesh, points: Points) -> Bool[np.ndarray, " n"]:
    """Whether points lie inside a closed mesh whose parts may overlap or be nested."""
    return Surface(mesh).contains(points)


def normalised(mesh: Mesh, longest_side: float = 1.0) -> Mesh:
    """Move the middle of the bounding box to the origin and scale its longest side."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    scale = longest_side / float((high - low).max())
    vertices = (mesh.vertices - (low + high) / 2) * scale
    return replace(mesh, vertices=vertices.astype(np.float32))


def mesh_metrics(
    a: Mesh,
    b: Mesh,
    *,
    samples: int = SAMPLES,
    thresholds: tuple[float, ...] = (0.01, 0.02),
    iou_points: int = 200_000,
) -> dict[str, float]:
    """All figures of a mesh against a reference, in world units, under names for `metrics.json`.

    Args:
        a: the mesh to judge.
        b: the reference.
        samples: random points per surface.
        thresholds: distances of the F-scores.
        iou_points: points of the volume IoU; 0 leaves it out (open meshes).
    """
    distances = surface_distances(a, b, samples)
    figures = {
        "chamfer": distances.chamfer,
        "chamfer_squared": distances.chamfer_squared,
        "accuracy": float(distances.a_to_b.mean()),
        "completeness": float(distances.b_to_a.mean()),
        "normal_consistency": distances.normal_consistency,
    }
    figures |= {f"f_score@{t:g}": distances.f_score(t) for t in thresholds}
    if iou_points:
        figures["volume_iou"] = volume_iou(a, b, iou_points)
    return figures


def _occupancy(shape: Mesh | Occupancy) -> Occupancy:
    if isinstance(shape, Mesh):
        return Surface(shape).contains
    return lambda points: np.asarray(shape(points)).astype(bool).reshape(-1)
