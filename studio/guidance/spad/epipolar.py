"""Epipolar masks, Pluecker lines and condition vectors of cameras, as SPAD takes them.

Official: SPAD, arXiv 2402.05235 (CVPR 2024), and its released code. Everything is a function of
the cameras alone, in OpenCV axes as everywhere here; a token stands for view, row, column of a
square grid of `side` x `side`, in this order. Letters: V views, N = V side^2 tokens, L lines.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from studio.cameras import Cameras, orbit_cameras, pixel_grid
from studio.errors import CameraError

RADIUS = 3.5  # official: all renderings
FOV_DEG = math.degrees(0.702769935131073)  # official: all renderings
POLAR_DEG = 45.0  # official: scripts/inference.py; measured from +Z
LEVELS = (1, 2, 4, 8)
Resample = Literal["flat", "spatial"]


def default_ring(views: int = 8, polar_deg: float = POLAR_DEG, size: int = 256) -> Cameras:
    """Place the released model's cameras: evenly around the object, from azimuth 0 on."""
    azimuth = [360.0 * i / views for i in range(views)]
    return orbit_cameras(azimuth, 90.0 - polar_deg, RADIUS, FOV_DEG, size)


def plucker(cameras: Cameras, side: int) -> Float[Tensor, "v 6 side side"]:
    """Return (d, eye x d) of the rays through a grid's pixels, d of unit length, in the world."""
    rays = cameras.resized(side, side).rays()
    moment = torch.linalg.cross(rays.origins, rays.directions, dim=-1)
    lines = torch.cat([rays.directions, moment], dim=-1)
    return lines.reshape(len(cameras), side, side, 6).permute(0, 3, 1, 2).contiguous()


def _spherical(cameras: Cameras) -> Float[Tensor, "v 3"]:
    """Return polar angle from +Z, azimuth (both in radians) and distance of the camera centres."""
    x, y, z = cameras.centres.double().unbind(-1)
    across = torch.hypot(x, y)
    return torch.stack([torch.atan2(across, z), torch.atan2(y, x), torch.hypot(across, z)], dim=-1)


def relative_vectors(cameras: Cameras) -> Float[Tensor, "v v 4"]:
    """Return (polar, sin azimuth, cos azimuth, distance) of differences, view i minus view j."""
    angles = _spherical(cameras)
    polar, azimuth, distance = (angles[:, None] - angles[None]).unbind(-1)
    table = torch.stack([polar, azimuth.sin(), azimuth.cos(), distance], dim=-1)
    return table.to(cameras.c2w.dtype)


def camera_vectors(
    cameras: Cameras, *, absolute: bool, intrinsics: bool
) -> Float[Tensor, "v 4"] | Float[Tensor, "v 8"]:
    """Return what SPAD's camera MLP is given.

    Args:
        cameras: of all views of one object.
        absolute: polar angle from +Z in radians, sine and cosine of the azimuth, distance. Without
            it the same of the first view minus this one (released: two views).
        intrinsics: append focal lengths (x, y) in half pictures and the principal point's offset
            from the middle, x to the right, y down (released: four views).
    """
    if absolute:
        polar, azimuth, distance = _spherical(cameras).unbind(-1)
        vectors = torch.stack([polar, azimuth.sin(), azimuth.cos(), distance], dim=-1)
    else:
        vectors = relative_vectors(cameras)[0]
    if intrinsics:
        k = cameras.resized(2, 2).intrinsics
        lens = [k[:, 0, 0], k[:, 1, 1], k[:, 0, 2] - 1, k[:, 1, 2] - 1]
        vectors = torch.cat([vectors, torch.stack(lens, dim=-1).to(vectors)], dim=-1)
    return vectors.to(cameras.c2w.dtype)


def epipolar_mask(
    cameras: Cameras,
    side: int,
    resample: str = "flat",
    level: int = 1,
    *,
    spread: int = 1,
) -> Bool[Tensor, "n n"]:
    """Return which tokens may attend to which: those of the own view and of the epipolar lines.

    Row = query, column = key; the mask is not symmetric. Masks are remembered by camera set: do
    not write into the result.

    Args:
        cameras: perspective, any pose and lens.
        side: of the grid of the UNet's top level.
        resample: how lower levels take their mask from the top one, see `coarser_mask`.
        level: side of the top level over side of the wanted one: 1, 2, 4 or 8.
        spread: pixels by which a line is thickened to each side.

    Raises:
        CameraError: for orthographic cameras, or a level that does not divide the side.
        ConfigError: if the resampling is unknown.
    """
    if cameras.ortho_scale is not None:
        raise CameraError("epipolar masks are made of perspective cameras, these are orthographic.")
    if level not in LEVELS or side % level:
        raise CameraError(
            f"no level {level} of a grid of side {side}.",
            allowed=f"levels {', '.join(map(str, LEVELS))} that divide the side",
        )
    given = cameras.resized(side, side)
    numbers = torch.cat([given.c2w.flatten(1), given.intrinsics.flatten(1)], dim=1)
    key = numbers.detach().double().cpu().numpy().tobytes()
    mask = coarser_mask(_full_mask(key, side, spread), len(cameras), level, resample)
    return mask.contiguous().to(cameras.c2w.device)


def coarser_mask(
    mask: Bool[Tensor, "*n t t"], views: int, level: int, resample: str
) -> Bool[Tensor, "*n q q"]:
    """Read the top level's mask at a lower level of the UNet.

    Args:
        mask: of the top level.
        views: of an object.
        level: side of the top level over side of the wanted one.
        resample: "flat" takes every level^2-th row and column of the flattened mask, which is not
            the epipolar geometry of the smaller grid, but what the released weights were trained
            with; "spatial" takes every level-th pixel row and column of each view.
    """
    if resample not in get_args(Resample):
        raise ValueError(f"mask resampling is {resample!r}")
    if level == 1:
        return mask
    if resample == "flat":
        return mask[..., :: level**2, :: level**2]
    side = round((mask.shape[-1] / views) ** 0.5)
    tokens = torch.arange(mask.shape[-1], device=mask.device).reshape(views, side, side)
    tokens = tokens[:, ::level, ::level].reshape(-1)
    return mask[..., tokens[:, None], tokens]


@lru_cache(maxsize=4)
def _full_mask(numbers: bytes, side: int, spread: int) -> Bool[Tensor, "n n"]:
    """Return the mask of the top level; `numbers` are c2w and pixel intrinsics, as float64."""
    table = torch.frombuffer(bytearray(numbers), dtype=torch.float64).reshape(-1, 25)
    c2w, intrinsics = table[:, :16].reshape(-1, 4, 4), table[:, 16:].reshape(-1, 3, 3)
    v, n = len(table), side * side
    ends, drawn = line_ends(c2w, intrinsics, side)
    places = side ** torch.arange(3, -1, -1)
    codes = torch.where(drawn, (ends * places).sum(-1), -1)
    distinct, which = torch.unique(codes.transpose(1, 2), return_inverse=True)  # few: drawn once
    pictures = draw_lines(distinct[:, None] // places % side, side, spread)
    mask = (pictures & (distinct >= 0)[:, None])[which]  # [V, n, V, n]
    mask[range(v), :, range(v)] = True
    return mask.reshape(v * n, v * n)


def line_ends(
    c2w: Float[Tensor, "v 4 4"], intrinsics: Float[Tensor, "v 3 3"], side: int
) -> tuple[Int[Tensor, "v v n 4"], Bool[Tensor, "v v n"]]:
    """Return the first and last pixel (x, y, x, y) of the epipolar lines of all pixels.

    Axes are the source view, the target view and the source's pixels, row by row. The second
    result is false where the line misses the target.

    Lines are homogeneous, l = e x p of the epipole and the vanishing point of a pixel's ray, so
    that horizontal lines and epipoles at infinity are no special cases (the released code draws
    nothing there). Cameras of one centre have no lines: each sees the other's rays as points.

    Args:
        c2w: OpenCV axes, float64.
        intrinsics: for pictures of side x side.
        side: of the grid.
    """
    pixels = torch.nn.functional.pad(pixel_grid((side, side)).double()[0], (0, 1), value=1.0)
    rays = pixels @ torch.linalg.inv(intrinsics).transpose(1, 2) @ c2w[:, :3, :3].transpose(1, 2)
    centres = c2w[:, :3, 3]
    baseline = centres[:, None] - centres
    to_image = intrinsics @ c2w[:, :3, :3].transpose(1, 2)  # of the targets
    point = torch.einsum("bij,anj->abni", to_image, rays)
    epipole = torch.einsum("bij,abj->abi", to_image, baseline)[:, :, None].expand_as(point)
    first, last = _border_hits(torch.linalg.cross(epipole, point, dim=-1), side)
    p, e = point[..., :2] / point[..., 2:], epipole[..., :2] / epipole[..., 2:]
    inside = ((e >= 0) & (e <= side)).all(-1, keepdim=True)  # then only half of the line is seen
    onwards = (p - e) * point[..., 2:].sign()
    same_way = ((first - e > 0) == (onwards > 0)).all(-1, keepdim=True)
    first, last = torch.where(inside & ~same_way, last, first), torch.where(inside, e, last)
    ends = (torch.cat([first, last], dim=-1) - 0.5).trunc()
    distance = centres.norm(dim=-1)
    one_centre = (baseline.norm(dim=-1) <= 1e-6 * (distance[:, None] + distance))[..., None]
    ends = torch.where(one_centre[..., None], p.floor().repeat(1, 1, 1, 2), ends)
    seen = (point[..., 2] > 0) & ((p >= 0) & (p < side)).all(-1)
    drawn = torch.where(one_centre, seen, (ends != 0).any(-1))
    return torch.where(drawn[..., None], ends, 0).long(), drawn


def _border_hits(line: Float[Tensor, "*b 3"], side: int) -> tuple[Tensor, Tensor]:
    """Return where lines l x = 0 meet the border of the picture: (x, y), (0, 0) where they do not.

    Borders are tried in the order top, bottom, right, left for the first point and backwards for
    the last one; a hit exactly at (0, 0) counts as none (official).
    """
    lx, ly, lw = line.unbind(-1)
    low, high = torch.zeros_like(lx), torch.full_like(lx, side)
    top, bottom = -lw / lx, -(lw + ly * side) / lx
    right, left = -(lw + lx * side) / ly, -lw / ly
    hits = torch.stack(
        [
            torch.stack([top, low], -1),
            torch.stack([bottom, high], -1),
            torch.stack([high, right], -1),
            torch.stack([low, left], -1),
        ]
    )
    free = torch.stack([top, bottom, right, left])
    valid = (free >= 0) & (free <= side) & (hits.sum(-1) != 0)  # false for NaN
    points = []
    for order in ((3, 2, 1, 0), (0, 1, 2, 3)):  # the last one written is the first in order
        found = torch.zeros_like(hits[0])
        for border in order:
            found = torch.where(valid[border][..., None], hits[border], found)
        points.append(found)
    return points[0], points[1]


def draw_lines(ends: Int[Tensor, "l 4"], side: int, spread: int = 1) -> Bool[Tensor, "l n"]:
    """Draw lines between pixels (x, y, x, y) in pictures of side x side, flattened row by row.

    The union of Bresenham's lines between both ends shifted by up to `spread` pixels and clamped
    to the picture (official: 3 x 3 shifts).
    """
    shift = torch.arange(-spread, spread + 1)
    shifts = torch.cartesian_prod(shift, shift).repeat(1, 2)
    x0, y0, x1, y1 = (ends[:, None] + shifts).clamp(0, side - 1)[..., None].unbind(-2)
    dx, dy = x1 - x0, y1 - y0
    steps = torch.maximum(dx.abs(), dy.abs())
    i = torch.arange(side).minimum(steps)
    # after i steps along the longer axis, the other one has gone floor((2 i d + D) / 2 D)
    along = torch.clamp(2 * steps, min=1)
    x = x0 + dx.sign() * ((2 * i * dx.abs() + steps) // along)
    y = y0 + dy.sign() * ((2 * i * dy.abs() + steps) // along)
    picture = torch.zeros(len(ends), side * side, dtype=torch.bool)
    return picture.scatter_(1, (y * side + x).flatten(1), True)
