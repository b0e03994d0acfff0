"""Colours of surface points from posed pictures.

Blending pictures on a surface blurs and doubles what small errors of shape move about. So the
pictures only correct: the surface is coloured (by the field), rendered into every picture, and what
each picture shows beyond the render goes back onto the points it sees, weighted by visibility and
viewing angle. A few rounds solve "which colours render to these pictures" in the sense of weighted
least squares (SIRT: Gilbert 1972); points that no picture sees keep the colours they had, which
for vertices then continue from where the surface is seen: a field is arbitrary there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from studio.cameras import Cameras
from studio.data.render import RayCaster
from studio.export.cleanup import vertex_normals
from studio.export.unseen import continued
from studio.mesh import Mesh
from studio.views import ViewSet

_log = logging.getLogger(__name__)

SHARPNESS = 2.0  # power of the cosine: how much the most frontal picture wins
FEATHER = 2.0  # pixels from silhouettes and depth edges over which a picture fades in
FULL_TRUST = 0.1  # weight from which the pictures decide alone
CERTAIN = 0.5  # weight from which a colour is continued to what is not seen
SOLID = 0.9  # alpha from which a pixel shows the object alone
DEPTH_EDGE = 0.06  # jump between neighbouring pixels beyond their slope, in object sizes
SMOOTHED = 6  # rounds of averaging normals: lumps of a surface do not choose its pictures
MOST_PIXELS = 6_000_000  # of the object in all pictures together; more pictures are thinned out


@dataclass(frozen=True)
class Reading:
    """How far a picture is believed.

    Attributes:
        weight: over that of a generated view.
        grazing: cosine below which the picture tells nothing about a surface.
        bias: how far behind the visible surface a point may lie, in object sizes.
    """

    weight: float = 1.0
    grazing: float = 0.15
    bias: float = 0.015


GENERATED = Reading()
GIVEN = Reading(weight=30.0, grazing=0.05, bias=0.04)  # sharp; rather smeared a little than mixed


@dataclass(frozen=True)
class Hits:
    """Where the rays of one picture meet the mesh.

    Attributes:
        pixel: number of the pixel (row by row) of each ray that meets it.
        face: triangle.
        weights: barycentric, of its three corners.
    """

    pixel: Int[np.ndarray, " k"]
    face: Int[np.ndarray, " k"]
    weights: Float[np.ndarray, "k 3"]


HitColours = Callable[[Float[np.ndarray, "n 3"], list[Hits]], list[Float[np.ndarray, "k 3"]]]


@dataclass(frozen=True)
class Shot:
    """One picture, and the mesh as its camera sees it.

    Attributes:
        camera: a single one.
        rgb: of the picture.
        usable: 1 where picture and mesh fill the pixel.
        trust: how far inside the object, away from its outlines, a pixel lies: 0 to 1.
        hits: of two by two rays per pixel.
        depth: distance along each of these rays, infinite beside the mesh.
        reading: how far the picture is believed.
    """

    camera: Cameras
    rgb: Float[np.ndarray, "h*w 3"]
    usable: Float[np.ndarray, " h*w"]
    trust: Float[np.ndarray, "h w"]
    hits: Hits
    depth: Float[np.ndarray, "2*h 2*w"]
    reading: Reading = GENERATED


@dataclass(frozen=True)
class _Sight:
    """The surface points that one picture shows."""

    index: Int[Tensor, " j"]
    grid: Float[Tensor, "1 1 j 2"]  # where it shows them, in grid_sample's units
    weight: Float[Tensor, " j"]


class Footage:
    """All that posed pictures tell about the surface of one mesh.

    Args:
        mesh: its faces may be cut apart later, if they keep their order.
        views: RGBA pictures; only what lies well inside their masks is used.
        margin: pixels beside silhouettes and depth edges that are left out altogether.
        originals: pictures from which the views were generated, of any resolution: where one of
            them shows the surface well, it decides.
    """

    def __init__(
        self,
        mesh: Mesh,
        views: ViewSet,
        margin: float = 0.0,
        originals: Sequence[ViewSet] = (),
    ) -> None:
        caster, self.mesh = RayCaster(mesh.vertices, mesh.faces), mesh
        self.size = float(np.ptp(mesh.vertices, axis=0).max())
        step = max(1, int(np.ceil(float((views.mask > SOLID).sum()) / MOST_PIXELS)))
        if step > 1:
            _log.info("texture: one of every %d pictures is used of %d", step, len(views))
        shown = range(0, len(views), step)
        self.shots = [_shot(caster, views, i, self.size, margin) for i in shown]
        for given in originals:
            for i in range(len(given)):
                shot = _shot(caster, given, i, self.size, margin)
                self.shots.append(replace(shot, reading=GIVEN))
        self._normals = smoothed_normals(mesh, SMOOTHED) if originals else vertex_normals(mesh)

    def look(self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> Evidence:
        """Find what the pictures show of points on the surface with unit outward normals."""
        where, outward = (torch.from_numpy(np.asarray(x, np.float32)) for x in (points, normals))
        sights = [_sight(shot, where, outward, self.size) for shot in self.shots]
        return Evidence(self.shots, sights, len(points))

    def normals_at(
        self, face: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 3"]:
        """Unit normals by which pictures are chosen, at barycentric places of faces."""
        normals = np.einsum("nc,ncd->nd", weights, self._normals[self.mesh.faces[face]])
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def refine_vertices(self, mesh: Mesh) -> Mesh:
        """Return a mesh with vertex colours with those corrected, and continued where unseen."""
        assert mesh.colours is not None, "the mesh has no vertex colours to start from"

        def at_hits(colours: np.ndarray, hits: list[Hits]) -> list[np.ndarray]:
            return [np.einsum("kc,kcd->kd", h.weights, colours[mesh.faces[h.face]]) for h in hits]

        seen = self.look(mesh.vertices, self._normals)
        colours = continued(mesh.faces, seen.refine(mesh.colours, at_hits), seen.certain)
        return replace(mesh, colours=seen.refine(colours, at_hits).astype(np.float32))


class Evidence:
    """What the pictures tell about the colours of some surface points.

    Attributes:
        certain: true at points that the pictures show well, on the whole.
    """

    certain: Bool[np.ndarray, " n"]

    def __init__(self, shots: list[Shot], sights: list[_Sight], points: int) -> None:
        self._shots, self._sights = shots, sights
        total = torch.zeros(points)
        for sight in sights:
            total.index_add_(0, sight.index, sight.weight)
        self.certain = (total > CERTAIN).numpy()
        self._share = ((total / FULL_TRUST).clamp(max=1) / total.clamp(min=1e-12))[:, None]

    def refine(
        self,
        colours: Float[np.ndarray, "n 3"],
        hit_colours: HitColours,
        rounds: int = 3,
    ) -> Float[np.ndarray, "n 3"]:
        """Correct the colours of the points until renders look like the pictures.

        Args:
            colours: to start from, rgb in [0, 1].
            hit_colours: colours at ray hits, given those of the points.
            rounds: corrections; the first brings most.
        """
        for _ in range(rounds):
            change = torch.zeros(len(colours), 3)
            rendered = hit_colours(colours, [shot.hits for shot in self._shots])
            for shot, sight, rgb in zip(self._shots, self._sights, rendered, strict=True):
                size = shot.camera.size
                excess = shot.rgb - _mean_in_pixels(rgb, shot.hits.pixel, size)
                seen = _look_up(excess * shot.usable[:, None], size, sight.grid)
                change.index_add_(0, sight.index, seen * sight.weight[:, None])
            colours = np.clip(colours + (self._share * change).numpy(), 0.0, 1.0)
        return colours


def _shot(caster: RayCaster, views: ViewSet, i: int, size: float, margin: float) -> Shot:
    image, (h, w) = views.images[i].detach().float().cpu(), views.cameras.size
    camera, alpha = views.cameras[[i]].to("cpu"), image[3].numpy()
    hits, depth = _cast(caster, camera, alpha > 0.02)
    covered = np.bincount(hits.pixel, minlength=h * w).reshape(h, w) == 4
    usable = covered & (alpha > SOLID)
    trust = _trust(usable, depth, DEPTH_EDGE * size, margin)
    rgb = image[:3].reshape(3, -1).T.numpy()
    return Shot(camera, rgb, usable.reshape(-1).astype(np.float32), trust, hits, depth)


def smoothed_normals(mesh: Mesh, rounds: int) -> Float[np.ndarray, "n 3"]:
    """Unit vertex normals, averaged over neighbours some times."""
    from scipy.sparse import coo_matrix, eye

    normals, n = vertex_normals(mesh).astype(np.float64), len(mesh.vertices)
    ends = np.concatenate([mesh.faces[:, [i, (i + 1) % 3]] for i in range(3)])
    near = coo_matrix((np.ones(len(ends)), ends.T), (n, n)).tocsr() + eye(n, format="csr")
    for _ in range(rounds):
        normals = near @ normals
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals.astype(np.float32)


def _sight(shot: Shot, points: Tensor, normals: Tensor, size: float) -> _Sight:
    """What a picture shows of points with unit normals on an object of a size."""
    camera, (h, w), reading = shot.camera, shot.camera.size, shot.reading
    forward = camera.c2w[0, :3, 2]
    ray = points - camera.centres
    if camera.ortho_scale is None:
        distance = (ray * ray).sum(1).sqrt()
        facing = -(normals * ray).sum(1) / distance.clamp(min=1e-12)
    else:
        distance, facing = ray @ forward, -(normals @ forward)
    index = (facing > reading.grazing).nonzero()[:, 0]
    uv, along = (x[0] for x in camera.project(points[index]))
    framed = ((uv >= 0) & (uv < uv.new_tensor([w, h]))).all(1) & (along > 0)
    index, uv = index[framed], uv[framed]
    column, row = (uv * 2).long().unbind(1)
    clear = distance[index] < torch.from_numpy(shot.depth)[row, column] + reading.bias * size
    index, uv = index[clear], uv[clear]
    grid = (2 * uv / uv.new_tensor([w, h]) - 1)[None, None]
    trust = _look_up(shot.trust.reshape(-1, 1), (h, w), grid)[:, 0]
    weight = reading.weight * facing[index] ** SHARPNESS * trust
    used = weight > 1e-4
    return _Sight(index[used], grid[:, :, used], weight[used])


def _cast(
    caster: RayCaster, camera: Cameras, wanted: Bool[np.ndarray, "h w"]
) -> tuple[Hits, Float[np.ndarray, "2*h 2*w"]]:
    """Cast two by two rays per wanted pixel; the depth is infinite where none meets the mesh."""
    (h, w), s = wanted.shape, 2
    row, column = np.nonzero(np.kron(wanted, np.ones((s, s), dtype=bool)))
    at = torch.from_numpy(np.stack([(column + 0.5) / s, (row + 0.5) / s], 1).astype(np.float32))
    rays = camera.rays(at[None])
    found = caster.cast(rays.origins.numpy(), rays.directions.numpy())
    met = np.flatnonzero(found["primID"] >= 0)
    depth = np.full((h * s, w * s), np.inf, dtype=np.float32)
    depth[row[met], column[met]] = found["tfar"][met]
    u, v = found["u"][met], found["v"][met]
    pixel = (row[met] // s) * w + column[met] // s
    weights = np.stack([1 - u - v, u, v], 1).astype(np.float32)
    return Hits(pixel, found["primID"][met].astype(np.int64), weights), depth


def _trust(
    usable: np.ndarray, depth: np.ndarray, jump: float, margin: float
) -> Float[np.ndarray, "h w"]:
    """How far inside the object, away from its outlines, each pixel lies: 0 to 1."""
    from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

    h, w = usable.shape
    blocks = depth.reshape(h, depth.shape[0] // h, w, -1)
    low, high = blocks.min((1, 3)), blocks.max((1, 3))
    with np.errstate(invalid="ignore"):  # on a slope, one side is as near as the other is far
        behind, ahead = maximum_filter(high, 3) - low, low - minimum_filter(low, 3)
        edge = np.abs(behind - ahead) > jump
    inside = distance_transform_edt(np.pad(usable & ~edge, 1))[1:-1, 1:-1]
    return np.clip((inside - margin) / FEATHER, 0.0, 1.0).astype(np.float32)


def _mean_in_pixels(rgb: np.ndarray, pixel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    length = size[0] * size[1]
    count = np.maximum(np.bincount(pixel, minlength=length), 1)
    sums = [np.bincount(pixel, weights=rgb[:, c], minlength=length) for c in range(3)]
    return (np.stack(sums, 1) / count[:, None]).astype(np.float32)


def _look_up(values: np.ndarray, size: tuple[int, int], grid: Tensor) -> Float[Tensor, "j c"]:
    """Bilinear values of a picture [H*W, C]."""
    h, w = size
    picture = torch.from_numpy(values).T.reshape(1, -1, h, w)
    return grid_sample(picture, grid, padding_mode="border", align_corners=False)[0, :, 0].T
