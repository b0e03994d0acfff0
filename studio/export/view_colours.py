"""Colours of surface points from posed pictures.

Blending pictures on a surface blurs and doubles what small errors of shape move about. So the
pictures only correct: the surface is coloured (by the field), rendered into every picture, and what
each picture shows beyond the render goes back onto the points it sees, weighted by visibility and
viewing angle. A few rounds solve "which colours render to these pictures" in the sense of weighted
least squares (SIRT: Gilbert 1972); points that no picture sees keep the colours they had, which
for vertices then continue from where the surface is seen: a field is arbitrary there.

A picture that a person gave lies over the views made from it, and where it ends nothing may show:
it fades out before the surface turns away, all weights change smoothly along the surface whatever
its lumps hide, and of the views' corrections only the share counts on which they agree.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from studio.export.cleanup import vertex_normals
from studio.export.projection import GENERATED, GIVEN, SOLID, Gloss, Hits, ProjectedView, Sight
from studio.export.unseen import continued
from studio.mesh import Mesh
from studio.views import ViewSet

_log = logging.getLogger(__name__)

SHARPNESS = 1.0  # power of the cosine: how much the most frontal picture wins
MADE_SHARPNESS = 4.0  # the same among pictures that were made: they agree less
FRONTAL = 0.4  # cosine from which a given picture decides alone
FULL_TRUST = 0.1  # weight from which the pictures decide alone
CERTAIN = 0.5**0.5  # cosine from which a picture alone shows a colour well enough to continue it
ROUNDS = 3  # of corrections; the first brings most
SEAM = 0.06  # length over which pictures fade into each other, in object sizes
MOST_ROUNDS = 50  # of averaging weights
SMOOTHED = 6  # rounds of averaging normals: lumps of a surface do not choose its pictures
MOST_PIXELS = 6_000_000  # of the object in all pictures together; more pictures are thinned out

ENOUGH = 100  # usable pixels per vertex: more tell nothing new of its colour

Render = Callable[[Float[np.ndarray, "n 3"]], Callable[[Hits], Float[np.ndarray, "k 3"]]]
"""Colours of points to what pixels see of the surface between them."""


class Footage:
    """All that posed pictures tell about the surface of one mesh.

    Args:
        mesh: its faces may be cut apart later, if they keep their order.
        views: RGBA pictures; only what lies well inside their masks is used.
        margin: pixels beside silhouettes and depth edges that are left out altogether.
        originals: pictures from which the views were generated, of any resolution: where one of
            them shows the surface well, it decides.
        gloss: mirrored light, which is taken away from all pictures.
    """

    def __init__(
        self,
        mesh: Mesh,
        views: ViewSet,
        margin: float = 0.0,
        originals: Sequence[ViewSet] = (),
        gloss: Gloss | None = None,
    ) -> None:
        self.mesh = mesh
        corners = mesh.vertices[mesh.faces].astype(np.float64)
        self.size = size = float(np.ptp(mesh.vertices, axis=0).max())
        step = max(1, int(np.ceil(float((views.mask > SOLID).sum()) / MOST_PIXELS)))
        if step > 1:
            _log.info("texture: one of every %d pictures is used of %d", step, len(views))
        shown = [(views, i, GENERATED) for i in range(0, len(views), step)]
        shown += [(given, i, GIVEN) for given in originals for i in range(len(given))]
        self.projected = [
            ProjectedView.of(corners, of, i, size, margin, how) for of, i, how in shown
        ]
        if gloss is not None:
            normals = vertex_normals(mesh)[mesh.faces]
            self.projected = [view.without(gloss, corners, normals) for view in self.projected]
        self._normals = smoothed_normals(mesh, SMOOTHED) if originals else vertex_normals(mesh)
        self._sharpness = MADE_SHARPNESS if originals else SHARPNESS
        self._even = self._even_weights() if originals else None

    def _even_weights(self) -> Float[np.ndarray, "v s"]:
        """How much every picture counts at every vertex: smooth, and 0 at what it does not see."""
        weights = np.zeros((len(self.mesh.vertices), len(self.projected)), dtype=np.float32)
        for view, column in zip(self.projected, weights.T, strict=True):
            sight = view.sight(self.mesh.vertices, self._normals, self.size)
            column[sight.index] = sight.trust * self._by_angle(view, sight)
        return faded(self.mesh, weights, SEAM * self.size)

    def look(self, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]) -> Evidence:
        """Find what the pictures show of points at barycentric places of faces."""
        return self._look(self.mesh.faces[face], weights)

    def _look(
        self, vertices: Int[np.ndarray, "n c"], shares: Float[np.ndarray, "n c"], every: int = 1
    ) -> Evidence:
        """The same of points that are means of some vertices, whose shares add up to 1.

        Args:
            vertices: of each point.
            shares: of them.
            every: how few of the views are asked, those that a person gave apart.
        """
        points, normals = (
            np.einsum("nc,ncd->nd", shares, of[vertices]).astype(np.float32)
            for of in (self.mesh.vertices, self._normals)
        )
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        asked = [
            number
            for number, view in enumerate(self.projected)
            if view.reading.given or number % every == 0
        ]
        sights, weights = [], []
        for number in asked:
            view = self.projected[number]
            sight = view.sight(points, normals, self.size)
            if self._even is None:
                weight = self._by_angle(view, sight)
            else:
                i, even = sight.index, self._even[:, number]
                weight = np.einsum("nc,nc->n", shares[i], even[vertices[i]])
            sights.append(sight)
            weights.append(weight * sight.trust)
        chosen = [self.projected[number] for number in asked]
        return Evidence(chosen, sights, weights, len(points), CERTAIN**self._sharpness)

    def _by_angle(self, view: ProjectedView, sight: Sight) -> Float[np.ndarray, " j"]:
        """How much a picture counts by the angle under which it sees points."""
        if view.reading.given:
            low = view.reading.grazing
            return np.minimum((sight.facing - low) / (FRONTAL - low), np.float32(1))
        powered: Float[np.ndarray, " j"] = sight.facing**self._sharpness
        return powered

    def refine_vertices(self, mesh: Mesh) -> Mesh:
        """Return a mesh with vertex colours with those corrected, and continued where unseen."""
        assert mesh.colours is not None, "the mesh has no vertex colours to start from"

        def render(colours: np.ndarray) -> Callable[[Hits], np.ndarray]:
            values = np.ascontiguousarray(colours, np.float32)[mesh.faces]
            return lambda hits: hits.mean(values)

        count = len(mesh.vertices)
        usable = sum(len(view.hits.pixel) for view in self.projected if not view.reading.given)
        alone = np.arange(count)[:, None], np.ones((count, 1), np.float32)
        seen = self._look(*alone, every=max(1, usable // (ENOUGH * count)))
        certain = self._look(*alone).certain
        colours = continued(mesh.faces, seen.refine(mesh.colours, render), certain)
        return replace(mesh, colours=seen.refine(colours, render).astype(np.float32))


class Evidence:
    """What the pictures tell about the colours of some surface points.

    Args:
        projected: the pictures.
        sights: what each of them shows of the points.
        weights: how much it counts at each point that it shows.
        points: how many there are.
        enough: weight from which a colour is certain.

    Attributes:
        certain: true at points that the pictures show well, on the whole.
    """

    certain: Bool[np.ndarray, " n"]

    def __init__(
        self,
        projected: list[ProjectedView],
        sights: list[Sight],
        weights: list[Float[np.ndarray, " j"]],
        points: int,
        enough: float,
    ) -> None:
        self._projected, self._sights = projected, sights
        kinds = [view.reading.given for view in projected]
        totals = {kind: np.zeros(points) for kind in (False, True)}
        for kind, sight, weight in zip(kinds, sights, weights, strict=True):
            totals[kind][sight.index] += weight  # a picture shows a point once
        self.certain = totals[False] + totals[True] > enough
        over = totals[True].clip(max=1)[:, None].astype(np.float32)
        self._over = over if any(kinds) else None
        self._shares = [
            (weight / totals[kind][sight.index].clip(min=FULL_TRUST)).astype(np.float32)
            for kind, sight, weight in zip(kinds, sights, weights, strict=True)
        ]

    def refine(self, colours: Float[np.ndarray, "n 3"], render: Render) -> Float[np.ndarray, "n 3"]:
        """Correct the colours of the points until renders look like the pictures.

        Args:
            colours: to start from, rgb in [0, 1].
            render: what pixels see, given the colours of the points.
        """
        colours = self._corrected(colours, render, given=False)
        if self._over is None:
            return colours
        over = self._corrected(colours, render, given=True)
        return colours + self._over * (over - colours)

    def _corrected(
        self, colours: Float[np.ndarray, "n 3"], render: Render, *, given: bool
    ) -> Float[np.ndarray, "n 3"]:
        """The same with the given or with the other pictures alone."""
        used = [
            (view, sight, share)
            for view, sight, share in zip(self._projected, self._sights, self._shares, strict=True)
            if view.reading.given is given
        ]
        for _ in range(ROUNDS):
            total, power = (
                np.zeros((len(colours), 3), np.float32),
                np.zeros(len(colours), np.float32),
            )
            pixels = render(colours)
            for view, sight, share in used:
                view.correct(pixels(view.hits), sight, share, total, power)
            if self._over is not None and not given:
                total *= _agreement(total, power)[:, None]
            colours = np.clip(colours + total, 0.0, 1.0)
        return colours


def _agreement(
    mean: Float[np.ndarray, "n 3"], power: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """How far weighted corrections agree, from their mean and their mean square: 0 to 1."""
    common: Float[np.ndarray, " n"] = (mean * mean).sum(1) / np.maximum(power, 1e-12)
    return common.clip(max=1)


def smoothed_normals(mesh: Mesh, rounds: int) -> Float[np.ndarray, "n 3"]:
    """Unit vertex normals, averaged over neighbours some times."""
    normals, near = vertex_normals(mesh).astype(np.float64), _neighbourhoods(mesh)
    for _ in range(rounds):
        normals = near @ normals
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals.astype(np.float32)


def faded(mesh: Mesh, weights: Float[np.ndarray, "v s"], length: float) -> Float[np.ndarray, "v s"]:
    """Weights of vertices that fade over about a length, inward: what is 0 stays about 0."""
    near, ends = _neighbourhoods(mesh), mesh.faces[:, [0, 1, 2, 1, 2, 0]].reshape(-1, 2, 3)
    starts, stops = ends.transpose(1, 0, 2).reshape(2, -1)
    edges = mesh.vertices[starts] - mesh.vertices[stops]
    step = float(np.sqrt((edges * edges).sum(1).mean()))
    rounds = min(int(np.ceil((length / step) ** 2)), MOST_ROUNDS)
    narrow = weights
    for _ in range(max(1, round(length / step / 2))):
        narrow, wide = narrow.copy(), narrow
        np.minimum.at(narrow, starts, wide[stops])
        np.minimum.at(narrow, stops, wide[starts])
    for _ in range(rounds):
        narrow = near @ narrow
    return np.minimum(narrow, weights).astype(np.float32)


def _neighbourhoods(mesh: Mesh) -> Any:
    """Averages over every vertex and those that share a face with it, as a matrix."""
    from scipy.sparse import coo_matrix, diags, eye

    n = len(mesh.vertices)
    ends = np.concatenate([mesh.faces[:, [i, (i + 1) % 3]] for i in range(3)])
    near = coo_matrix((np.ones(len(ends)), ends.T), (n, n)).tocsr() + eye(n, format="csr")
    return diags(1 / np.asarray(near.sum(1)).ravel()) @ near
