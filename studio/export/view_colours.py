"""Colours of surface points from posed pictures.

Blending pictures on a surface blurs and doubles what small errors of shape move about. So the
pictures only correct: the surface is coloured (by the field), rendered into every picture, and what
each picture shows beyond the render goes back onto the points it sees, weighted by visibility and
viewing angle. A few rounds solve "which colours render to these pictures" in the sense of weighted
least squares (SIRT: Gilbert 1972); points that no picture sees keep the colours they had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from studio.cameras import Cameras
from studio.data.render import RayCaster
from studio.mesh import Mesh
from studio.views import ViewSet

_log = logging.getLogger(__name__)

SHARPNESS = 2.0  # power of the cosine: how much the most frontal picture wins
GRAZING = 0.15  # cosine below which a picture tells nothing about a surface
FEATHER = 2.0  # pixels from silhouettes and depth edges over which a picture fades in
FULL_TRUST = 0.1  # weight from which the pictures decide alone
SOLID = 0.9  # alpha from which a pixel shows the object alone
DEPTH_EDGE = 0.06  # jump between neighbouring pixels, in object sizes
DEPTH_BIAS = 0.015  # how far behind the visible surface a point may lie, in object sizes
MOST_PIXELS = 6_000_000  # of the object in all pictures together; more pictures are thinned out


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
class _Shot:
    """One picture, the mesh as its camera sees it, and the points that it shows."""

    rgb: Float[np.ndarray, "h*w 3"]
    usable: Float[np.ndarray, " h*w"]  # 1 where the picture and the mesh fill the pixel
    hits: Hits
    index: Int[Tensor, " j"]  # of the points it shows
    grid: Float[Tensor, "1 1 j 2"]  # where it shows them, in grid_sample's units
    weight: Float[Tensor, " j"]


def refine_from_views(
    colours: Float[np.ndarray, "n 3"],
    mesh: Mesh,
    views: ViewSet,
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    hit_colours: HitColours,
    rounds: int = 3,
) -> Float[np.ndarray, "n 3"]:
    """Correct the colours of surface points until renders look like the pictures.

    Args:
        colours: to start from, rgb in [0, 1].
        mesh: the surface, for occlusion and renders.
        views: RGBA pictures; only what lies well inside their masks is used.
        points: world positions on the surface.
        normals: unit outward normals.
        hit_colours: colours at ray hits, given those of the points.
        rounds: corrections; the first brings most.
    """
    shots = _shots(mesh, views, points, normals)
    total = torch.zeros(len(points))
    for shot in shots:
        total.index_add_(0, shot.index, shot.weight)
    share = ((total / FULL_TRUST).clamp(max=1) / total.clamp(min=1e-12))[:, None]
    size = views.cameras.size
    for _ in range(rounds):
        change = torch.zeros(len(points), 3)
        rendered = hit_colours(colours, [shot.hits for shot in shots])
        for shot, rgb in zip(shots, rendered, strict=True):
            excess = (shot.rgb - _mean_in_pixels(rgb, shot.hits.pixel, size)) * shot.usable[:, None]
            seen = _look_up(excess, size, shot.grid)
            change.index_add_(0, shot.index, seen * shot.weight[:, None])
        colours = np.clip(colours + (share * change).numpy(), 0.0, 1.0)
    return colours


def refine_vertex_colours(mesh: Mesh, views: ViewSet, normals: Float[np.ndarray, "n 3"]) -> Mesh:
    """Return a mesh with vertex colours with those colours corrected by what views show."""
    assert mesh.colours is not None, "the mesh has no vertex colours to start from"

    def at_hits(colours: np.ndarray, all_hits: list[Hits]) -> list[np.ndarray]:
        return [np.einsum("kc,kcd->kd", h.weights, colours[mesh.faces[h.face]]) for h in all_hits]

    colours = refine_from_views(mesh.colours, mesh, views, mesh.vertices, normals, at_hits)
    return replace(mesh, colours=colours.astype(np.float32))


def _shots(mesh: Mesh, views: ViewSet, points: np.ndarray, normals: np.ndarray) -> list[_Shot]:
    caster = RayCaster(mesh.vertices, mesh.faces)
    size = float(np.ptp(mesh.vertices, axis=0).max())
    where = torch.from_numpy(np.asarray(points, np.float32))
    outward = torch.from_numpy(np.asarray(normals, np.float32))
    filled = float((views.mask > SOLID).sum())
    step = int(np.ceil(filled / MOST_PIXELS)) or 1
    if step > 1:
        _log.info("texture: every %d. of %d pictures is used", step, len(views))
    return [_shot(caster, views, i, where, outward, size) for i in range(0, len(views), step)]


def _shot(
    caster: RayCaster, views: ViewSet, i: int, points: Tensor, normals: Tensor, size: float
) -> _Shot:
    image, (h, w) = views.images[i].detach().float().cpu(), views.cameras.size
    camera = views.cameras[i : i + 1].to("cpu")
    hits, depth = _cast(caster, camera, image[3].numpy() > 0.02, 2)
    covered = np.bincount(hits.pixel, minlength=h * w) == 4
    usable = covered & (image[3].reshape(-1).numpy() > SOLID)
    trust = _trust(usable.reshape(h, w), depth, DEPTH_EDGE * size)

    if camera.ortho_scale is None:
        ray = points - camera.centres
        distance = (ray * ray).sum(1).sqrt()
        facing = -(normals * ray).sum(1) / distance.clamp(min=1e-12)
    else:
        distance = (points - camera.centres) @ camera.c2w[0, :3, 2]
        facing = -(normals @ camera.c2w[0, :3, 2])
    index = (facing > GRAZING).nonzero()[:, 0]
    uv, along = (x[0] for x in camera.project(points[index]))
    framed = ((uv >= 0) & (uv < uv.new_tensor([w, h]))).all(1) & (along > 0)
    index, uv = index[framed], uv[framed]
    distance, facing = distance[index], facing[index]
    column, row = (uv * 2).long().clamp(max=torch.tensor([2 * w - 1, 2 * h - 1])).unbind(1)
    clear = distance < torch.from_numpy(depth)[row, column] + DEPTH_BIAS * size
    grid = (2 * uv / uv.new_tensor([w, h]) - 1)[None, None]
    weight = facing**SHARPNESS * clear * _look_up(trust.reshape(-1, 1), (h, w), grid)[:, 0]
    used = weight > 1e-4
    rgb = image[:3].reshape(3, -1).T.numpy()
    return _Shot(rgb, usable.astype(np.float32), hits, index[used], grid[:, :, used], weight[used])


def _cast(
    caster: RayCaster, camera: Cameras, wanted: np.ndarray, supersample: int
) -> tuple[Hits, Float[np.ndarray, "h*s w*s"]]:
    """Meet the mesh with the rays of one picture; its depth map is infinite beside the object."""
    h, w = wanted.shape
    s = supersample
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


def _trust(usable: np.ndarray, depth: np.ndarray, jump: float) -> Float[np.ndarray, "h w"]:
    """How far inside the object, away from its outlines, each pixel lies: 0 to 1."""
    from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

    h, w = usable.shape
    blocks = depth.reshape(h, depth.shape[0] // h, w, -1)
    low, high = blocks.min((1, 3)), blocks.max((1, 3))
    with np.errstate(invalid="ignore"):
        edge = maximum_filter(high, 3) - minimum_filter(low, 3) > jump
    inside = distance_transform_edt(np.pad(usable & ~edge, 1))[1:-1, 1:-1]
    return np.clip(inside / FEATHER, 0.0, 1.0).astype(np.float32)


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
