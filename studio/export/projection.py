"""Views projected on a mesh: where their samples meet it, and which of its points they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from studio.cameras import Cameras
from studio.export.view_kernels import SAMPLES, add_corrections, blend, find_sights, rasterise
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
    """Where the samples of one picture's usable pixels meet the mesh.

    Attributes:
        pixel: number of each pixel, row by row.
        face: triangle of each of its samples.
        weights: barycentric, of the triangle's second and third corner.
    """

    pixel: Int[np.ndarray, " k"]
    face: Int[np.ndarray, "k s"]
    weights: Float[np.ndarray, "k s 2"]

    def mean(self, values: Float[np.ndarray, "m 3 c"]) -> Float[np.ndarray, "k c"]:
        """What each pixel sees of values that the corners of all triangles hold."""
        shown = np.empty((len(self.pixel), values.shape[2]), np.float32)
        blend(values, self.face, self.weights, shown)
        return shown


@dataclass(frozen=True)
class Sight:
    """The surface points that one picture shows.

    Attributes:
        index: which ones.
        at: where it shows them, in pixels.
        facing: cosine between their normals and the rays.
        trust: how far from outlines they appear, 0 to 1.
    """

    index: Int[np.ndarray, " j"]
    at: Float[np.ndarray, "j 2"]
    facing: Float[np.ndarray, " j"]
    trust: Float[np.ndarray, " j"]


Gloss = Callable[
    [Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]],
    Float[np.ndarray, "n 3"],
]
"""What mirrored light adds to colours: of points, unit normals and unit directions of rays."""


@dataclass(frozen=True)
class ProjectedView:
    """One picture, and the mesh as its camera sees it.

    Attributes:
        camera: from world points to pixels, see `studio.export.view_kernels`.
        centre: of the camera, or its viewing direction; likewise.
        rgb: of the usable pixels, those that picture and mesh fill.
        trust: how far inside the object, away from its outlines, a pixel lies: 0 to 1.
        hits: of two by two samples of every usable pixel.
        distance: of the mesh along all samples' rays; infinite beside it.
        reading: how the picture is read.
    """

    camera: Float[np.ndarray, "4 4"]
    centre: Float[np.ndarray, "4"]
    rgb: Float[np.ndarray, "k 3"]
    trust: Float[np.ndarray, "h w"]
    hits: Hits
    distance: Float[np.ndarray, "2*h 2*w"]
    reading: Reading = GENERATED

    @classmethod
    def of(
        cls,
        corners: Float[np.ndarray, "m 3 3"],
        views: ViewSet,
        i: int,
        size: float,
        margin: float = 0.0,
        reading: Reading = GENERATED,
    ) -> ProjectedView:
        """Take the i-th view of a mesh.

        Args:
            corners: of the mesh's triangles.
            views: the pictures.
            i: which one.
            size: of the object.
            margin: pixels beside outlines that are left out.
            reading: how it is read.
        """
        image = views.images[i].detach().float().cpu().numpy()
        camera, centre = matrices(views.cameras[[i]].to("cpu"))
        face, weights, distance = _seen(corners, camera, centre, image[3] > 0.02)
        samples = [distance[j::SAMPLES, k::SAMPLES] for j, k in np.ndindex(SAMPLES, SAMPLES)]
        low, high = np.minimum.reduce(samples), np.maximum.reduce(samples)
        usable = np.isfinite(high) & (image[3] > SOLID)
        trust = _trust(usable, low, high, DEPTH_EDGE * size, margin)
        row, column = np.nonzero(usable)
        rows, columns = (
            SAMPLES * at[:, None] + offset.reshape(-1)
            for at, offset in zip((row, column), np.indices((SAMPLES, SAMPLES)), strict=True)
        )
        pixel = row * usable.shape[1] + column
        hits = Hits(pixel, face[rows, columns], weights[rows, columns])
        rgb = np.ascontiguousarray(image[:3, row, column].T)
        return cls(camera, centre, rgb, trust, hits, distance, reading)

    def sight(
        self, points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], size: float
    ) -> Sight:
        """What the picture shows of points with unit outward normals on an object of a size."""
        count = len(points)
        index, at = np.empty(count, np.int32), np.empty((count, 2), np.float32)
        facing, trust = np.empty(count, np.float32), np.empty(count, np.float32)
        reading = self.reading
        found = find_sights(
            points,
            normals,
            self.camera,
            self.centre,
            self.distance,
            self.trust,
            reading.grazing,
            reading.bias * size,
            index,
            at,
            facing,
            trust,
        )
        return Sight(*(values[:found].copy() for values in (index, at, facing, trust)))

    def without(
        self, gloss: Gloss, corners: Float[np.ndarray, "m 3 3"], normals: Float[np.ndarray, "m 3 3"]
    ) -> ProjectedView:
        """The picture without mirrored light.

        Args:
            gloss: tells it.
            corners: of the mesh's triangles.
            normals: there.
        """
        points, outward = (self.hits.mean(of.astype(np.float32)) for of in (corners, normals))
        rays = np.broadcast_to(self.centre[:3], points.shape)
        rays = points - rays if self.centre[3] > 0 else rays
        outward, rays = (
            (of / np.maximum(np.linalg.norm(of, axis=1, keepdims=True), 1e-12)).astype(np.float32)
            for of in (outward, rays)
        )
        return replace(self, rgb=self.rgb - gloss(points, outward, rays))

    def correct(
        self,
        shown: Float[np.ndarray, "k 3"],
        sight: Sight,
        share: Float[np.ndarray, " j"],
        total: Float[np.ndarray, "n 3"],
        power: Float[np.ndarray, " n"],
    ) -> None:
        """Add to points what the picture shows beyond a render.

        Args:
            shown: colours of the usable pixels in the render.
            sight: the points that the picture shows.
            share: how much it counts there.
            total: sums of the differences of all points, which are added to.
            power: those of their squares.
        """
        beyond = np.zeros((self.trust.size, 3), np.float32)
        beyond[self.hits.pixel] = self.rgb - shown
        beyond = beyond.reshape(*self.trust.shape, 3)
        add_corrections(beyond, sight.index, sight.at, share, total, power)


def matrices(camera: Cameras) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "4"]]:
    """A single camera as `studio.export.view_kernels` has it, and its centre or direction."""
    w2c, k = camera.w2c[0].double().numpy(), camera.intrinsics[0].double().numpy()
    c2w = camera.c2w[0].double().numpy()
    if camera.ortho_scale is None:
        return np.concatenate([k @ w2c[:3], w2c[2:3]]), np.append(c2w[:3, 3], 1.0)
    scale = float(camera.ortho_scale[0]) / camera.size[0] * k[1, 1]
    flat = np.concatenate([w2c[:2] / scale, w2c[3:]])
    return np.concatenate([k @ flat, w2c[2:3]]), np.append(c2w[:3, 2], 0.0)


def _seen(
    corners: Float[np.ndarray, "m 3 3"],
    camera: Float[np.ndarray, "4 4"],
    centre: Float[np.ndarray, "4"],
    wanted: Bool[np.ndarray, "h w"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle, weights and distance of every sample of the wanted pixels."""
    shape = SAMPLES * wanted.shape[0], SAMPLES * wanted.shape[1]
    face, weights = np.full(shape, -1, np.int32), np.zeros((*shape, 2), np.float32)
    distance = np.full(shape, np.inf, np.float32)
    rasterise(corners, camera, centre, wanted, face, weights, distance)
    return face, weights, distance


def _trust(
    usable: Bool[np.ndarray, "h w"], low: np.ndarray, high: np.ndarray, jump: float, margin: float
) -> Float[np.ndarray, "h w"]:
    """How far inside the object, away from its outlines, each pixel lies: 0 to 1.

    Args:
        usable: true where picture and mesh fill a pixel.
        low: least distance in each pixel.
        high: largest one.
        jump: of the distance, between neighbours and beyond their slope, that is an outline.
        margin: pixels beside outlines that are left out.
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

    trust = np.zeros(usable.shape, np.float32)
    if not usable.any():
        return trust
    ends = [np.flatnonzero(usable.any(axis)) for axis in (1, 0)]
    box = tuple(slice(max(at[0] - 1, 0), at[-1] + 2) for at in ends)
    usable, low, high = usable[box], low[box], high[box]
    with np.errstate(invalid="ignore"):  # on a slope, one side is as near as the other is far
        behind, ahead = maximum_filter(high, 3) - low, low - minimum_filter(low, 3)
        edge = np.abs(behind - ahead) > jump
    inside = distance_transform_edt(np.pad(usable & ~edge, 1))[1:-1, 1:-1]
    trust[box] = np.clip((inside - margin) / FEATHER, 0.0, 1.0)
    return trust
