"""Epipolar geometry: where the rays of a view fall in others, visibility, position embeddings.

Everything depends on cameras and resolution alone, so it is worked out once per set of cameras
(`CameraSet`) and feature-map side (`EpipolarGeometry`), always in float32, for the network.
Letters: B objects, F views, K near views (slot 0 is the view itself), N rays, S depth samples.
Official: EpiDiff, arXiv 2312.06725, section 3.2 (epipolar-constrained attention).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.errors import ConfigError
from studio.plugins.parsing import Checked
from studio.plugins.ranges import Count, Size

OCTAVES = 6  # official: HarmonicEmbedding(n_harmonic_functions=6)
POINT_CLAMP = 10.0  # projections are kept within +-10 picture sides
EMBEDDING_WIDTH = (6 + 1) * (2 * OCTAVES + 1)  # Pluecker line and depth: 91
Position = Literal["abs", "ref"]
NEAR_DISTANCES = ("sphere", "plane")


@dataclass(frozen=True)
class RayOptions(Checked):
    """How rays are laid out and sampled; the defaults are the paper's mathematics."""

    ray_start: Size = 0.5
    """Distance of the first sample from the camera centre, world units."""
    ray_end: Size = 2.8
    """Distance of the last sample."""
    n_samples: Count = 8
    """Samples per ray, both ends included."""
    disparity_space_sampling: bool = False
    """Space the samples evenly in 1/distance."""
    ray_axes: Literal["image", "swapped"] = "image"
    """"image": columns are x, rows are y. "swapped": the released code's mirrored layout."""
    align_corners: bool = False
    """Bilinear sampling of feature maps; true in the released code (shrinks views a little)."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: if a value is impossible.
        """
        super().__post_init__()
        if not self.ray_start < self.ray_end:
            raise ConfigError(
                f"ray_start is {self.ray_start}, ray_end {self.ray_end}.",
                allowed="ray_start < ray_end",
            )


@dataclass(frozen=True)
class EpipolarGeometry:
    """Sample points of one camera set at one feature-map side.

    A K axis of query or reference may be 1 where nothing depends on the near view.
    """

    points: Float[Tensor, "b f k n s 2"]
    """Projections into near view k, -1 .. 1 over its picture: (x, y) of that camera."""
    mask: Bool[Tensor, "b f k n s"]
    """True in front of near camera k and inside its picture."""
    query: Float[Tensor, "b f _ n s e"]
    """Harmonic embedding of the view's own ray and the sample's depth."""
    reference: Float[Tensor, "b f k n s e"] | None
    """Same for the line from near camera k to the sample, in the query ray's frame."""
    neighbours: Int[Tensor, "b f k"]
    """Near views; slot 0 is the view itself."""
    resolution: int
    """Side of the feature maps."""
    corners: Int[Tensor, "b f n k s 4"]
    """The four pixels around each point, as row-major indices into one feature map."""
    weights: Float[Tensor, "b f n k s 4"]
    """Their bilinear weights; points outside take the border's pixels."""
    self_first: bool
    """Whether slot 0 is the view itself everywhere: its point is the same at all depths then."""
    depths: Float[Tensor, "b f n s 1"] | None = None
    """Normalised distance of each sample: 0 at ray_start, 1 at ray_end."""

    def embedding(self, position: Position) -> Float[Tensor, "b f _ n s e"]:
        """Return the embedding of the view's own ray ("abs") or of the near view's ("ref").

        Raises:
            ValueError: if it was not asked for.
        """
        embedding = self.query if position == "abs" else self.reference
        if embedding is None:
            raise ValueError("this block needs CameraSet(with_reference=True)")
        return embedding


def corner_table(
    points: Float[Tensor, "*p 2"], side: int, ray_axes: str, align_corners: bool
) -> tuple[Int[Tensor, "*p 4"], Float[Tensor, "*p 4"]]:
    """Turn points in -1 .. 1 into pixel indices and weights of bilinear sampling, border padding.

    With swapped axes a point's x runs over the rows of the map.
    """
    scaled = (points + 1) / 2 * (side - 1) if align_corners else ((points + 1) * side - 1) / 2
    scaled = scaled.clamp(0, side - 1)
    column, row = scaled.unbind(-1) if ray_axes == "image" else scaled.flip(-1).unbind(-1)
    left, top = column.floor(), row.floor()
    fx, fy = column - left, row - top
    left, top = left.long(), top.long()
    right, bottom = (left + 1).clamp(max=side - 1), (top + 1).clamp(max=side - 1)
    corners = [top * side + left, top * side + right, bottom * side + left, bottom * side + right]
    weights = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]
    return torch.stack(corners, -1), torch.stack(weights, -1)


def harmonic_embedding(x: Float[Tensor, "... d"], octaves: int = OCTAVES) -> Float[Tensor, "... e"]:
    """Return sin and cos of 2^0 x .. 2^(octaves-1) x (dimension by dimension), then x itself."""
    frequencies = 2.0 ** torch.arange(octaves, dtype=torch.float32, device=x.device)
    angles = (x[..., None] * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos(), x], dim=-1)


def _plucker_embedding(direction: Tensor, origin: Tensor) -> Tensor:
    moment = torch.linalg.cross(origin, direction, dim=-1)
    return harmonic_embedding(torch.cat([direction, moment], dim=-1))


def sample_distances(options: RayOptions, device: torch.device) -> Float[Tensor, " s"]:
    """Return the distances of the samples along a unit ray, nearest first."""
    t = torch.linspace(0, 1, options.n_samples, device=device)
    if options.disparity_space_sampling:
        return 1 / ((1 - t) / options.ray_start + t / options.ray_end)
    return torch.linspace(options.ray_start, options.ray_end, options.n_samples, device=device)


def feature_rays(
    intrinsics: Float[Tensor, "b f 4 4"], c2w: Float[Tensor, "b f 4 4"], side: int, ray_axes: str
) -> tuple[Float[Tensor, "b f n 3"], Float[Tensor, "b f n 3"]]:
    """Return origins and unit directions of the rays through a side x side map, row by row.

    Args:
        intrinsics: normalised by picture size.
        c2w: camera-to-world, OpenCV axes.
        side: of the feature map.
        ray_axes: with "swapped", row i takes the camera's x and column j its y.
    """
    centres = (torch.arange(side, dtype=torch.float32, device=c2w.device) + 0.5) / side
    rows, columns = (g.reshape(-1) for g in torch.meshgrid(centres, centres, indexing="ij"))
    x, y = (columns, rows) if ray_axes == "image" else (rows, columns)
    fx, fy = intrinsics[..., 0, 0, None], intrinsics[..., 1, 1, None]
    cx, cy = intrinsics[..., 0, 2, None], intrinsics[..., 1, 2, None]
    skew = intrinsics[..., 0, 1, None]
    local_x = (x - cx + cy * skew / fy - skew * y / fy) / fx
    local_y = (y - cy) / fy
    local = torch.stack([local_x, local_y, torch.ones_like(local_x)], dim=-1)
    directions = F.normalize(local @ c2w[..., :3, :3].transpose(-1, -2), dim=-1)
    return c2w[..., None, :3, 3].expand_as(directions), directions


def project(
    matrices: Float[Tensor, "b f k 4 4"], world: Float[Tensor, "b f n s 3"]
) -> tuple[Float[Tensor, "b f k n s 2"], Bool[Tensor, "b f k n s"]]:
    """Project points into the near views: (u, v) in picture sides, and whether they are seen."""
    flat = F.pad(world, (0, 1), value=1.0).flatten(2, 3)[:, :, None]
    image = (flat @ matrices.transpose(-1, -2)).unflatten(3, world.shape[2:4])
    depth = image[..., 2]
    uv = image[..., :2] / depth.clamp(min=1e-8)[..., None]
    uv = uv.clamp(-POINT_CLAMP, POINT_CLAMP)
    return uv, (depth > 0) & (uv >= 0).all(-1) & (uv <= 1).all(-1)


def _of_near_views(values: Tensor, neighbours: Tensor) -> Tensor:
    """Select values [B, F, ...] of the near views: [B, F, K, ...]."""
    batch = torch.arange(len(values), device=values.device)[:, None, None]
    return values[batch, neighbours]


def _reference_embedding(
    c2w: Tensor, origins: Tensor, directions: Tensor, world: Tensor, depth: Tensor, near: Tensor
) -> Tensor:
    """Embed the line from each near camera to the sample, in the frame of the query ray."""
    up = c2w[..., None, :3, 1]  # column 1 of the OpenCV pose
    y = F.normalize(up - (directions * up).sum(-1, keepdim=True) * directions, dim=-1)
    x = F.normalize(torch.linalg.cross(y, directions, dim=-1), dim=-1)
    rotation = torch.stack([x, y, directions], dim=-2)  # [B, F, N, 3, 3], rows X, Y, Z
    centres = _of_near_views(c2w[..., :3, 3], near)[:, :, :, None]  # [B, F, K, 1, 3]
    line = F.normalize(world[:, :, None] - centres[..., None, :], dim=-1)
    line = torch.einsum("bfnij,bfknsj->bfknsi", rotation, line)
    origin = torch.einsum("bfnij,bfknj->bfkni", rotation, centres - origins[:, :, None])
    plucker = _plucker_embedding(line, origin[..., None, :].expand_as(line))
    return torch.cat([plucker, depth[:, :, None].expand(*line.shape[:-1], -1)], dim=-1)


def epipolar_geometry(
    intrinsics: Float[Tensor, "b f 4 4"],
    c2w: Float[Tensor, "b f 4 4"],
    neighbours: Int[Tensor, "b f k"],
    side: int,
    options: RayOptions,
    with_reference: bool = False,
) -> EpipolarGeometry:
    """Work out the geometry of one camera set for feature maps of one side.

    Args:
        intrinsics: normalised by picture size, [3, 3] and [3, 2] as given (official: 1 and 0).
        c2w: camera-to-world, OpenCV axes.
        neighbours: near views, slot 0 the view itself.
        side: of the feature map.
        options: layout of rays and samples.
        with_reference: also make the embedding that depends on the near view.
    """
    with torch.autocast(c2w.device.type, enabled=False):  # half precision moves points by 3 %
        intrinsics, c2w = intrinsics.float(), c2w.float()
        origins, directions = feature_rays(intrinsics, c2w, side, options.ray_axes)
        z = sample_distances(options, c2w.device)
        world = origins[..., None, :] + z[:, None] * directions[..., None, :]
        uv, mask = project(_of_near_views(intrinsics @ torch.linalg.inv(c2w), neighbours), world)
        points = 2 * uv - 1
        depth = (z - options.ray_start) / (options.ray_end - options.ray_start)
        depth = depth[:, None].expand(*world.shape[:-1], 1)
        depth_embedding = harmonic_embedding(depth)
        own = _plucker_embedding(directions, origins)[..., None, :]
        query = torch.cat([own.expand(*world.shape[:-1], -1), depth_embedding], dim=-1)
        reference = None
        if with_reference:
            reference = _reference_embedding(
                c2w, origins, directions, world, depth_embedding, neighbours
            )
    return assemble(points, mask, query[:, :, None], reference, neighbours, side, options, depth)


def assemble(
    points: Float[Tensor, "b f k n s 2"],
    mask: Bool[Tensor, "b f k n s"],
    query: Float[Tensor, "b f _ n s e"],
    reference: Float[Tensor, "b f k n s e"] | None,
    neighbours: Int[Tensor, "b f k"],
    side: int,
    options: RayOptions,
    depths: Float[Tensor, "b f n s 1"] | None = None,
) -> EpipolarGeometry:
    """Complete given points and embeddings with the tables for bilinear sampling."""
    ray_major = points.transpose(2, 3)  # attention runs ray by ray
    corners, weights = corner_table(ray_major, side, options.ray_axes, options.align_corners)
    own = torch.arange(neighbours.shape[1], device=neighbours.device)
    self_first = bool((neighbours[..., 0] == own).all())
    return EpipolarGeometry(
        points, mask, query, reference, neighbours, side, corners, weights, self_first, depths
    )
