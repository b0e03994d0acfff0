"""Consistency of an object's images with each other, measured without knowing the object.

The masks are carved into a visual hull. Views that agree have silhouettes that the hull fills, and
show similar colours where they see the same point of it. Both figures compare view sets of the same
rig and object; they are not absolute, because a hull is larger than the object where it is hollow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool2d

from studio.cameras import Cameras
from studio.views import ViewSet

SOLID = 0.9  # alpha from which a pixel shows the object alone
LARGEST = 96  # pictures are reduced to this many pixels per side first


@dataclass(frozen=True)
class ViewConsistency:
    """Agreement of the views of one object.

    Attributes:
        silhouette_iou: mean over views of the IoU between mask and hull silhouette, in [0, 1]. The
            hull lies inside all masks, so what is missing was cut away by other views.
        worst_view: position of the view with the lowest IoU.
        colour_std: root mean square deviation of the colours that views show of one surface point
            from their mean, in [0, 1]; NaN if no point is seen twice.
        colour_db: the same as -20 log10, larger is better.
        seen_twice: share of hull surface points that two views or more show.
    """

    silhouette_iou: float
    worst_view: int
    colour_std: float
    colour_db: float
    seen_twice: float


@torch.no_grad()
def view_consistency(views: ViewSet, resolution: int = 64) -> ViewConsistency:
    """Measure silhouettes and colours against the visual hull of all masks.

    Args:
        views: two pictures or more, with masks; the object lies within ``views.bound``.
        resolution: hull cells per side of the object cube.

    Raises:
        ValueError: if there is only one view.
    """
    if len(views) < 2:
        raise ValueError("consistency needs two views or more")
    images, cameras = reduced(views)
    hull = carve(images[:, 3], cameras, views.bound, resolution)
    depth, hit, origins, directions = cast(hull, images[:, 3], cameras, views.bound)
    iou = _silhouette_iou(images[:, 3], hit)
    points = (origins + depth[..., None] * directions)[hit]
    near = 2.0 * 2 * views.bound / resolution
    deviation, shown = _colour_variance(*sightings(images, cameras, points, depth, hit, near))
    std = float(deviation[shown].mean().sqrt()) if shown.any() else float("nan")
    return ViewConsistency(
        silhouette_iou=float(iou.mean()),
        worst_view=int(iou.argmin()),
        colour_std=std,
        colour_db=float(-20 * torch.log10(torch.tensor(std).clamp_min(1e-6))),
        seen_twice=float(shown.float().mean()) if len(shown) else 0.0,
    )


@torch.no_grad()
def outline_overlaps(views: ViewSet, resolution: int = 64) -> Float[Tensor, " v"]:
    """How far each outline is filled by the hull that all of them leave, IoU in [0, 1].

    One object, seen by right cameras, fills all its outlines, however few there are: values are
    near 1. Where cameras or outlines are wrong, they cut each other's away. They need not: two
    pictures of a round thing fit each other from many sides.

    Args:
        views: two pictures or more, with masks; the object lies within ``views.bound``.
        resolution: hull cells per side of the object cube.
    """
    images, cameras = reduced(views)
    hull = carve(images[:, 3], cameras, views.bound, resolution)
    return _silhouette_iou(images[:, 3], cast(hull, images[:, 3], cameras, views.bound)[1])


def reduced(views: ViewSet, largest: int = LARGEST) -> tuple[Float[Tensor, "v 4 h w"], Cameras]:
    """Pictures of at most so many pixels a side, and their cameras."""
    h, w = views.cameras.size
    scale = min(1.0, largest / max(h, w))
    if scale == 1.0:
        return views.images.float(), views.cameras
    size = (round(h * scale), round(w * scale))
    premultiplied = torch.cat([views.images[:, :3] * views.images[:, 3:], views.images[:, 3:]], 1)
    small = interpolate(premultiplied.float(), size, mode="area")
    colour = small[:, :3] / small[:, 3:].clamp_min(1e-6)
    return torch.cat([colour, small[:, 3:]], 1), views.cameras.resized(*size)


def _look_up(pictures: Float[Tensor, "v c h w"], uv: Float[Tensor, "v n 2"]) -> Tensor:
    """Bilinear values [V, C, N] at pixel positions; the edge continues outwards."""
    h, w = pictures.shape[-2:]
    grid = 2 * uv / uv.new_tensor([w, h]) - 1
    return grid_sample(pictures, grid[:, None], padding_mode="border", align_corners=False)[:, :, 0]


def carve(
    masks: Float[Tensor, "v h w"], cameras: Cameras, bound: float, resolution: int
) -> Float[Tensor, "r r r"]:
    """The lowest mask value over all views at cell centres (z, y, x); above 0.5 is hull."""
    axis = (torch.arange(resolution) + 0.5) / resolution * 2 * bound - bound
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], -1).reshape(-1, 3).to(masks)
    hull = torch.ones(len(points), dtype=masks.dtype, device=masks.device)
    for i in range(len(cameras)):
        uv, depth = cameras[i : i + 1].project(points)
        value = _look_up(masks[i : i + 1, None], uv)[0, 0]
        hull = torch.minimum(hull, torch.where(depth[0] > 0, value, torch.ones_like(value)))
    return hull.reshape(resolution, resolution, resolution)


def cast(
    hull: Float[Tensor, "r r r"], masks: Float[Tensor, "v h w"], cameras: Cameras, bound: float
) -> tuple[Float[Tensor, "v p"], Bool[Tensor, "v p"], Tensor, Tensor]:
    """Where each pixel's ray first meets the hull: distance along the ray, hit, and the rays.

    Pixels outside their own mask are not cast, because the hull was carved there.
    """
    rays = cameras.rays()
    origins, directions = (x.reshape(len(cameras), -1, 3) for x in (rays.origins, rays.directions))
    steps = torch.linspace(-1, 1, 2 * hull.shape[0]).to(origins) * bound * 3**0.5
    depth = origins.new_zeros(origins.shape[:2])
    hit = torch.zeros_like(depth, dtype=torch.bool)
    near_mask = max_pool2d(masks[:, None], 3, 1, 1).flatten(1) > 0.25
    for i in range(len(cameras)):
        pixels = near_mask[i].nonzero()[:, 0]
        o, d = origins[i, pixels], directions[i, pixels]
        along = steps - (o * d).sum(-1, keepdim=True)  # centred on the point nearest to the origin
        at = (o[:, None] + along[..., None] * d[:, None]) / bound
        value = grid_sample(hull[None, None], at[None, None], align_corners=False)[0, 0, 0]
        full = (value > 0.5) & (along > 0)
        first = full.to(torch.uint8).argmax(-1, keepdim=True)
        inner, outer = value.gather(1, first), value.gather(1, (first - 1).clamp_min(0))
        back = ((inner - 0.5) / (inner - outer).clamp_min(1e-6)).clamp(0, 1)
        depth[i, pixels] = (along.gather(1, first) - back * (steps[1] - steps[0]))[:, 0]
        hit[i, pixels] = full.any(-1)
    return depth, hit, origins, directions


def _silhouette_iou(masks: Float[Tensor, "v h w"], hit: Bool[Tensor, "v p"]) -> Float[Tensor, " v"]:
    solid = masks.flatten(1) > 0.5
    union = (solid | hit).sum(1)
    return torch.where(union > 0, (solid & hit).sum(1) / union.clamp_min(1), 1.0)


def sightings(
    images: Float[Tensor, "v 4 h w"],
    cameras: Cameras,
    points: Float[Tensor, "n 3"],
    depth: Float[Tensor, "v p"],
    hit: Bool[Tensor, "v p"],
    tolerance: float,
) -> tuple[Float[Tensor, "v 3 n"], Bool[Tensor, "v n"]]:
    """Colours of points in all pictures, and which pictures show them: nothing lies before them.

    Args:
        images: pictures.
        cameras: theirs.
        points: on the surface.
        depth: where each pixel's ray meets the surface, along the ray.
        hit: which do.
        tolerance: how far behind that a point may lie.
    """
    h, w = images.shape[-2:]
    uv, z = cameras.project(points)
    sampled = _look_up(images, uv)
    ray_depth = z
    if cameras.ortho_scale is None:
        ray_depth = (points - cameras.centres[:, None]).norm(dim=-1)
    blocked = torch.where(hit, depth, torch.full_like(depth, torch.inf)).reshape(-1, 1, h, w)
    pixel = uv.floor().long()
    framed = ((pixel >= 0) & (pixel < pixel.new_tensor([w, h]))).all(-1) & (z > 0)
    flat = pixel[..., 1].clamp(0, h - 1) * w + pixel[..., 0].clamp(0, w - 1)
    front = blocked.flatten(1).gather(1, flat)
    sees = framed & (sampled[:, 3] > SOLID) & (ray_depth < front + tolerance)
    return sampled[:, :3], sees


def _colour_variance(
    colours: Float[Tensor, "v 3 n"], sees: Bool[Tensor, "v n"]
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """Variance over the views that see a point (mean of the channels), and whether two do."""
    weight = sees.float()[:, None]
    count = weight.sum(0).clamp_min(1)
    mean = (colours * weight).sum(0) / count
    variance = (((colours - mean) ** 2) * weight).sum(0) / count
    return variance.mean(0), sees.sum(0) >= 2
