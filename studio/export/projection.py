"""Views projected on a mesh: where their rays meet it, and which of its points they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from studio.cameras import Cameras
from studio.ops.ray_caster import RayCaster
from studio.views import ViewSet

FEATHER = 2.0  # pixels from silhouettes and depth edges over which a picture fades in
SOLID = 0.9  # alpha from which a pixel shows the object alone
DEPTH_EDGE = 0.06  # jump between neighbouring pixels beyond their slope, in object sizes


@dataclass(frozen=True)
class Reading:
    """How a picture is read.

    Attributes:
        given: by a person, and decides wherever it shows the surface; else made from such a one.
        grazing: cosine below which the picture tells nothing about a surface.
        bias: how far behind the visible surface a point may lie, in object sizes.
    """

    given: bool = False
    grazing: float = 0.15
    bias: float = 0.015


GENERATED = Reading()
GIVEN = Reading(given=True, grazing=0.05, bias=0.04)  # sharp; rather smeared a little than mixed


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


class Spots:
    """Points of a surface, and what every picture asks of them.

    Args:
        points: positions.
        normals: unit, outward.
    """

    def __init__(self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]) -> None:
        self.points, self.normals = points, normals
        self._columns = [values.T.contiguous().unbind(0) for values in (points, normals)]
        self._squared = _dot(self._columns[0], self._columns[0])
        self._along = _dot(*self._columns)

    def seen_from(self, centre: Float[Tensor, "3"]) -> tuple[Tensor, Tensor]:
        """Distances to a camera, and cosines of the angles between normals and the way there."""
        place, outward = (_dot(columns, centre) for columns in self._columns)
        distance = (self._squared - 2 * place + _dot(centre, centre)).clamp(min=1e-24).sqrt()
        return distance, (outward - self._along) / distance


def _dot(a: Any, b: Any) -> Tensor:
    """Of three columns each; unlike BLAS' products, the same bits wherever they lie in memory."""
    total: Tensor = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return total


@dataclass(frozen=True)
class Sight:
    """The surface points that one picture shows.

    Attributes:
        index: which ones.
        grid: where it shows them, in grid_sample's units.
        facing: cosine between their normals and the rays.
        trust: how far from outlines they appear, 0 to 1.
    """

    index: Int[Tensor, " j"]
    grid: Float[Tensor, "1 1 j 2"]
    facing: Float[Tensor, " j"]
    trust: Float[Tensor, " j"]


@dataclass(frozen=True)
class ProjectedView:
    """One picture, and the mesh as its camera sees it.

    Attributes:
        camera: a single one.
        rgb: of the picture.
        usable: 1 where picture and mesh fill the pixel.
        trust: how far inside the object, away from its outlines, a pixel lies: 0 to 1.
        hits: of two by two rays per pixel.
        depth: distance along each of these rays, infinite beside the mesh.
        reading: how the picture is read.
    """

    camera: Cameras
    rgb: Float[np.ndarray, "h*w 3"]
    usable: Float[np.ndarray, " h*w"]
    trust: Float[np.ndarray, "h w"]
    hits: Hits
    depth: Float[np.ndarray, "2*h 2*w"]
    reading: Reading = GENERATED

    @classmethod
    def of(
        cls,
        caster: RayCaster,
        views: ViewSet,
        i: int,
        size: float,
        margin: float = 0.0,
        reading: Reading = GENERATED,
    ) -> ProjectedView:
        """Take the i-th view of a mesh of a size, but for a margin of pixels beside outlines."""
        image, (h, w) = views.images[i].detach().float().cpu(), views.cameras.size
        camera, alpha = views.cameras[[i]].to("cpu"), image[3].numpy()
        hits, depth = _cast(caster, camera, alpha > 0.02)
        covered = np.bincount(hits.pixel, minlength=h * w).reshape(h, w) == 4
        usable = covered & (alpha > SOLID)
        trust = _trust(usable, depth, DEPTH_EDGE * size, margin)
        rgb = image[:3].reshape(3, -1).T.numpy()
        filled = usable.reshape(-1).astype(np.float32)
        return cls(camera, rgb, filled, trust, hits, depth, reading)

    def sight(self, spots: Spots, size: float) -> Sight:
        """What the picture shows of points on an object of a size."""
        camera, (h, w), reading = self.camera, self.camera.size, self.reading
        forward, centre = camera.c2w[0, :3, 2], camera.centres[0]
        if camera.ortho_scale is None:
            distance, facing = spots.seen_from(centre)
        else:
            distance = spots.points @ forward - centre @ forward
            facing = -(spots.normals @ forward)
        index = (facing > reading.grazing).nonzero()[:, 0]
        uv, along = (x[0] for x in camera.project(spots.points[index]))
        framed = ((uv >= 0) & (uv < uv.new_tensor([w, h]))).all(1) & (along > 0)
        index, uv = index[framed], uv[framed]
        column, row = (uv * 2).long().unbind(1)
        clear = distance[index] < torch.from_numpy(self.depth)[row, column] + reading.bias * size
        index, uv = index[clear], uv[clear]
        grid = (2 * uv / uv.new_tensor([w, h]) - 1)[None, None]
        trust = look_up(self.trust.reshape(-1, 1), (h, w), grid)[:, 0]
        used = trust > 1e-4
        return Sight(index[used], grid[:, :, used], facing[index][used], trust[used])

    def excess(self, rendered: Float[np.ndarray, "k 3"], sight: Sight) -> Float[Tensor, "j 3"]:
        """What the picture shows beyond a render, whose colours at the hits are given."""
        size = self.camera.size
        beyond = self.rgb - _mean_in_pixels(rendered, self.hits.pixel, size)
        return look_up(beyond * self.usable[:, None], size, sight.grid)


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

    s = depth.shape[0] // usable.shape[0]
    samples = [depth[i::s, j::s] for i, j in np.ndindex(s, s)]
    low, high = np.minimum.reduce(samples), np.maximum.reduce(samples)
    with np.errstate(invalid="ignore"):  # on a slope, one side is as near as the other is far
        behind, ahead = maximum_filter(high, 3) - low, low - minimum_filter(low, 3)
        edge = np.abs(behind - ahead) > jump
    inside = distance_transform_edt(np.pad(usable & ~edge, 1))[1:-1, 1:-1]
    return np.clip((inside - margin) / FEATHER, 0.0, 1.0).astype(np.float32)


def _mean_in_pixels(rgb: np.ndarray, pixel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    length = size[0] * size[1]
    count = np.maximum(np.bincount(pixel, minlength=length), 1)
    means = np.empty((length, 3), dtype=np.float32)
    for c in range(3):
        means[:, c] = np.bincount(pixel, weights=rgb[:, c], minlength=length) / count
    return means


def look_up(values: np.ndarray, size: tuple[int, int], grid: Tensor) -> Float[Tensor, "j c"]:
    """Bilinear values of a picture [H*W, C]."""
    h, w = size
    picture = torch.from_numpy(values).T.reshape(1, -1, h, w)
    return grid_sample(picture, grid, padding_mode="border", align_corners=False)[0, :, 0].T
