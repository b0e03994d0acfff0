"""Seams of a texture: where two edges of charts are one edge of the surface, and what they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import cg

from studio.export.attributes import welded
from studio.mesh import Mesh

STEP = 0.5  # texels between the points of a seam that are compared
KEPT, GAP = 0.02, 0.002  # how much texels of charts, and those between them, resist a change
ROUNDS = 60  # of conjugate gradients, at most
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Seams:
    """Points of the surface that have two places in a texture.

    Attributes:
        one: in texels, x to the right and y down, texel centres at half-integers.
        other: the same points across the seam.
    """

    one: Float[np.ndarray, "n 2"]
    other: Float[np.ndarray, "n 2"]


def seams_of(mesh: Mesh, size: int) -> Seams:
    """Points every half texel along all seams of a mesh with ``uv``, in texels of a texture."""
    assert mesh.uv is not None, "the mesh has no uv"
    at = mesh.uv.astype(np.float64) * size
    at[:, 1] = size - at[:, 1]
    _, place = welded(mesh)
    starts, ends = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    count = np.int64(place.max()) + 1
    key, opposite = place[starts] * count + place[ends], place[ends] * count + place[starts]
    order = np.argsort(key, kind="stable")
    found = order[np.minimum(np.searchsorted(key, opposite, sorter=order), len(key) - 1)]
    cut = (key[found] == opposite) & (place[starts] < place[ends])
    cut &= (starts[found] != ends) | (ends[found] != starts)
    a, b, c, d = starts[cut], ends[cut], ends[found[cut]], starts[found[cut]]
    length = np.maximum(*(np.linalg.norm(at[q] - at[p], axis=1) for p, q in ((a, b), (c, d))))
    points = np.maximum(1, np.ceil(length / STEP)).astype(np.int64)
    edge = np.arange(len(a)).repeat(points)
    within = np.arange(len(edge)) - (np.cumsum(points) - points).repeat(points)
    t = ((within + 0.5) / points[edge])[:, None]
    one, other = ((1 - t) * at[p[edge]] + t * at[q[edge]] for p, q in ((a, b), (c, d)))
    return Seams(one, other)


def seam_difference(mesh: Mesh) -> float:
    """How much a texture's two colours differ at a seam, the mean along all seams, of 255."""
    assert mesh.texture is not None, "the mesh has no texture"
    seams = seams_of(mesh, len(mesh.texture))
    if len(seams.one) == 0:
        return 0.0
    flat = mesh.texture.reshape(-1, 3).astype(np.float64)
    one, other = (_lookup(at, len(mesh.texture)) @ flat for at in (seams.one, seams.other))
    return float(np.abs(one - other).mean())


def levelled(
    texture: Float[np.ndarray, "s s 3"], covered: np.ndarray, seams: Seams
) -> Float[np.ndarray, "s s 3"]:
    """Change a texture as little as possible so that both sides of its seams show one colour.

    The texels x that bilinear lookups at seams read minimise |A x - B x|² + |w (x - x0)|², with A
    and B the lookups on either side, texels between charts changing more easily than theirs
    (after Iwanicki, "Lighting technology of The Last of Us", 2013).

    Args:
        texture: rgb in [0, 1], with the gaps between charts filled.
        covered: true at texels of charts.
        seams: of the same texture.
    """
    if len(seams.one) == 0:
        return texture
    size = len(texture)
    apart = _lookup(seams.one, size) - _lookup(seams.other, size)
    touched = np.unique(apart.indices)
    apart = apart[:, touched]
    kept = np.where(covered.ravel()[touched], KEPT, GAP)
    system = (apart.T @ apart + diags(kept)).tocsr()
    inverse = diags(1 / system.diagonal())
    result, start = texture.copy(), texture.reshape(-1, 3)[touched].astype(np.float64)
    residual = -(apart.T @ (apart @ start))  # of x - x0
    changes = [
        cg(system, column, rtol=TOLERANCE, maxiter=ROUNDS, M=inverse)[0] for column in residual.T
    ]
    result.reshape(-1, 3)[touched] = np.clip(start + np.stack(changes, 1), 0, 1)
    return result


def _lookup(at: Float[np.ndarray, "n 2"], size: int) -> csr_matrix:
    """Bilinear lookups in a square texture as a matrix over its texels."""
    low = np.floor(at - 0.5).astype(np.int64)
    share = at - 0.5 - low
    columns, weights = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = (np.clip(low[:, k] + d, 0, size - 1) for k, d in ((0, dx), (1, dy)))
            columns.append(y * size + x)
            weights.append(np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1]))
    rows = np.arange(len(at))
    return csr_matrix(
        (np.concatenate(weights), (np.tile(rows, 4), np.concatenate(columns))),
        (len(at), size * size),
    )
