"""Colours of what no picture shows: continued smoothly from where the surface is seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

ROUNDS = 300  # of conjugate gradients, at most: about the vertices across an unseen part
TOLERANCE = 1e-3


def continued(
    faces: Int[np.ndarray, "f 3"],
    colours: Float[np.ndarray, "v 3"],
    certain: Bool[np.ndarray, " v"],
) -> Float[np.ndarray, "v 3"]:
    """Return vertex colours that are harmonic over the mesh where they are not certain.

    Certain vertices keep their colours; the others solve L c = 0 with the Laplacian L of the mesh's
    graph: every colour is the mean of its neighbours'. Parts of the mesh without a certain vertex
    keep their colours.

    Args:
        faces: triangles.
        colours: rgb in [0, 1].
        certain: true where a colour stays.
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import cg

    n = len(colours)
    ends = np.concatenate([faces[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
    graph = coo_matrix((np.ones(len(ends)), ends.T), (n, n)).tocsr()
    graph = ((graph + graph.T) > 0).astype(np.float64)
    part = connected_components(graph, directed=False)[1]
    reached = np.bincount(part, weights=certain)[part] > 0
    free = np.flatnonzero(~certain & reached)
    if len(free) == 0:
        return colours
    degree = np.asarray(graph.sum(1)).ravel()
    inner = diags(degree[free]) - graph[free][:, free]
    given = graph[free][:, certain] @ colours[certain].astype(np.float64)
    start = np.broadcast_to(colours[certain].mean(0), (len(free), 3))
    smooth = np.empty((len(free), 3))
    for c in range(3):
        smooth[:, c], _ = cg(
            inner,
            given[:, c],
            start[:, c],
            rtol=TOLERANCE,
            maxiter=ROUNDS,
            M=diags(1 / degree[free]),
        )
    result = colours.astype(np.float32, copy=True)
    result[free] = np.clip(smooth, 0.0, 1.0)
    return result
