"""SPAD's cameras: masks against a pixel-by-pixel twin and against projected points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from studio.cameras import Cameras, look_at, opencv_to_opengl, orbit_cameras, pinhole_intrinsics
from studio.errors import CameraError
from studio.guidance.spad.epipolar import (
    camera_vectors,
    default_ring,
    draw_lines,
    epipolar_mask,
    plucker,
)


def _random_cameras(views: int, seed: int, near: float = 2.0, shifted: bool = False) -> Cameras:
    """Cameras of unequal distance, lens and target; `shifted` moves the principal point as well."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    centres = torch.nn.functional.normalize(draw(views, 3) - 0.5, dim=-1)
    centres = centres * (near + 2 * draw(views, 1))
    lenses = torch.stack(
        [pinhole_intrinsics(f, (64, 64)) for f in (30 + 25 * draw(views)).tolist()]
    )
    if shifted:
        lenses[:, :2, 2] += 10 * draw(views, 2) - 5
        lenses[:, 0, 0] *= 1.3
    return Cameras(look_at(centres, 0.3 * draw(3)), lenses, (64, 64))


SETS = {
    "ring": default_ring(4),
    "flat ring": default_ring(3, polar_deg=80),
    "facing": orbit_cameras([10, 185], [5, -12], 1.5, 49.1),
    "two": _random_cameras(2, 0),
    "five": _random_cameras(5, 1),
    "close": _random_cameras(4, 2, near=0.6),
    "lenses": _random_cameras(4, 3, shifted=True),
}


def _bresenham(x: int, y: int, x1: int, y1: int) -> set[tuple[int, int]]:
    """The textbook's line with an error term."""
    dx, dy = abs(x1 - x), abs(y1 - y)
    sx, sy = (1 if x1 > x else -1), (1 if y1 > y else -1)
    steep = dy > dx
    if steep:
        x, y, dx, dy, sx, sy = y, x, dy, dx, sy, sx
    error, cells = 2 * dy - dx, set()
    for _ in range(dx + 1):
        cells.add((y, x) if steep else (x, y))
        if error >= 0:
            y, error = y + sy, error - 2 * dx
        x, error = x + sx, error + 2 * dy
    return cells


def _slow_row(source: Cameras, target: Cameras, pixel: int, side: int) -> Tensor:
    """One pixel's line as the released code finds it, by a point of the ray near the object."""
    ray = source.resized(side, side).rays()
    depth = source.centres.norm()
    ends = torch.stack([ray.origins[pixel], ray.origins[pixel] + depth * ray.directions[pixel]])
    view = Cameras(target.c2w.double(), target.intrinsics.double(), target.size)
    (e, p), _ = (t[0] for t in view.resized(side, side).project(ends.double()))
    gx, gy = (p - e).tolist()
    slope = gx / gy
    offset = (p[0] - slope * p[1]).item()
    hits = [(offset, 0.0), (slope * side + offset, float(side))]
    hits += [(float(side), (side - offset) / slope), (0.0, -offset / slope)]
    valid = [h for h in hits if 0 <= min(h) and max(h) <= side]
    first, last = (valid[0], valid[-1]) if valid else ((0.0, 0.0), (0.0, 0.0))
    if 0 <= e.min() and e.max() <= side:
        forward = [(h > c) == (g > 0) for h, c, g in zip(first, e.tolist(), (gx, gy), strict=True)]
        first, last = first if all(forward) else last, tuple(e.tolist())
    x0, y0, x1, y1 = (math.trunc(v - 0.5) for v in (*first, *last))
    row = torch.zeros(side, side, dtype=torch.bool)
    if (x0, y0, x1, y1) == (0, 0, 0, 0):
        return row.flatten()
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            places = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
            for x, y in _bresenham(*(min(max(v, 0), side - 1) for v in places)):
                row[y, x] = True
    return row.flatten()


@pytest.mark.parametrize("name", [n for n in SETS if n != "close"])
def test_masks_equal_the_pixel_by_pixel_twin(name: str) -> None:
    """Rows of all pairs; "close" has points behind the target, where the twin goes wrong."""
    cameras, side = SETS[name], 8
    mask = epipolar_mask(cameras, side).unflatten(0, (-1, side**2)).unflatten(2, (-1, side**2))
    for a in range(len(cameras)):
        for b in range(len(cameras)):
            if a == b:
                assert mask[a, :, b].all()
                continue
            for pixel in range(0, side**2, 3):
                slow = _slow_row(cameras[[a]], cameras[[b]], pixel, side)
                assert torch.equal(mask[a, pixel, b], slow), (a, b, pixel)


@pytest.mark.parametrize(
    ("name", "side"), [*((name, 8) for name in SETS), ("ring", 32), ("close", 32)]
)
def test_lines_hold_the_projections_of_their_pixels_points(name: str, side: int) -> None:
    """Whatever is seen in two views lies in both masks, at any depth.

    As the ends of lines are rounded towards 0, a few percent of the points fall beside the line by
    one pixel; and a line that ends at the corner (0, 0) twice is not drawn at all (official).
    """
    cameras, n = SETS[name], side**2
    rays = cameras.resized(side, side).rays()
    mask = epipolar_mask(cameras, side).reshape(-1, len(cameras), side, side)
    near = torch.nn.functional.max_pool2d(mask.float(), 3, 1, 1).bool()
    query, found, missed, on, beside = torch.arange(len(mask)), 0, 0, 0, 0
    for depth in (0.4, 1.0, 1.5, 2.5, 3.5, 6.0, 50.0):
        pixels, z = cameras.resized(side, side).project(rays.origins + depth * rays.directions)
        for b in range(len(cameras)):
            seen = (z[b] > 0) & ((pixels[b] > 0) & (pixels[b] < side)).all(-1) & (query // n != b)
            drawn = mask[:, b].any(-1).any(-1)
            missed += int((seen & ~drawn).sum())
            at = query[seen & drawn]
            x, y = pixels[b, at].long().unbind(-1)
            found += len(at)
            on += int(mask[at, b, y, x].sum())
            beside += int(near[at, b, y, x].sum())
    assert found > 5 * n
    assert missed < 0.005 * found
    assert on > 0.95 * found
    assert beside == found


def test_lines_are_thin() -> None:
    """At the real size a line takes 9 % of a view; one is never wider than about four pixels."""
    mask = epipolar_mask(default_ring(4), 32)
    blocks = mask.reshape(4, 1024, 4, 1024).float().mean((1, 3))
    assert (blocks.diagonal() == 1).all()
    off = blocks[~torch.eye(4, dtype=torch.bool)]
    assert (off > 0.08).all() and (off < 0.095).all()
    assert not torch.equal(mask, mask.T)


def test_one_view_sees_itself() -> None:
    assert epipolar_mask(default_ring(1), 8).all()


def test_turned_camera_sees_points() -> None:
    """Without a baseline there are no lines: pixels meet by the homography K R K^-1."""
    side = 16
    turn = torch.tensor(math.radians(9.0))
    rotation = torch.eye(4)
    rotation[0, 0], rotation[0, 2], rotation[2, 0], rotation[2, 2] = (
        turn.cos(), turn.sin(), -turn.sin(), turn.cos(),
    )  # fmt: skip
    first = default_ring(1).c2w[0]
    lens = pinhole_intrinsics(50.0, (side, side))
    cameras = Cameras(torch.stack([first, first @ rotation]), lens.repeat(2, 1, 1), (side, side))
    block = epipolar_mask(cameras, side)[: side**2, side**2 :].reshape(-1, side, side)
    homography = lens @ rotation[:3, :3].T @ torch.linalg.inv(lens)
    seen = 0
    for row in range(side):
        for column in range(side):
            x, y, w = (homography @ torch.tensor([column + 0.5, row + 0.5, 1.0])).tolist()
            column_b, row_b = math.floor(x / w), math.floor(y / w)
            expected = torch.zeros(side, side, dtype=torch.bool)
            if 0 <= column_b < side and 0 <= row_b < side:
                seen += 1
                cells = (
                    slice(max(row_b - 1, 0), row_b + 2),
                    slice(max(column_b - 1, 0), column_b + 2),
                )
                expected[cells] = True
            assert torch.equal(block[row * side + column], expected)
    assert 0 < seen < side**2


def test_plane_in_front_of_a_stereo_rig() -> None:
    """Lines of cameras side by side are rows; a plane moves pixels along them by its disparity."""
    side, baseline, depth = 16, 0.5, 2.0
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[1, 0, 3] = baseline
    lens = pinhole_intrinsics(60.0, (side, side))
    cameras = Cameras(c2w, lens.repeat(2, 1, 1), (side, side))
    block = epipolar_mask(cameras, side)[: side**2, side**2 :].reshape(side, side, side, side)
    disparity = (lens[0, 0] * baseline / depth).item()
    for row in range(1, side - 1):
        rows = block[row].any(-1)
        assert (rows == rows[0]).all()
        on = rows[0].nonzero().flatten().tolist()
        assert row in on and len(on) == 3
        for column in range(side):
            shifted = math.floor(column + 0.5 - disparity)
            if 0 <= shifted:
                assert block[row, column, row, shifted]


def test_draw_lines_is_bresenham() -> None:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(0, 12, (300, 4), generator=generator)
    drawn = draw_lines(ends, 12, spread=0).reshape(-1, 12, 12)
    for (x0, y0, x1, y1), picture in zip(ends.tolist(), drawn, strict=True):
        found = {(x, y) for y, x in picture.nonzero().tolist()}
        assert found == _bresenham(x0, y0, x1, y1)


def test_levels() -> None:
    """Flat takes rows and columns of the matrix; spatial takes pixels of each view."""
    cameras, side = default_ring(3), 16
    full = epipolar_mask(cameras, side)
    flat = epipolar_mask(cameras, side, "flat", 4)
    assert torch.equal(flat, full[::16, ::16])
    grid = full.reshape(3, side, side, 3, side, side)
    proper = grid[:, ::2, ::2, :, ::2, ::2].reshape(3 * 64, 3 * 64)
    assert torch.equal(epipolar_mask(cameras, side, "spatial", 2), proper)
    assert torch.equal(epipolar_mask(cameras, side, "spatial", 1), full)
    with pytest.raises(CameraError, match="no level 3"):
        epipolar_mask(cameras, side, "flat", 3)
    with pytest.raises(CameraError, match="no level 8"):
        epipolar_mask(cameras, 12, "spatial", 8)
    with pytest.raises(ValueError, match="nearest"):
        epipolar_mask(cameras, side, "nearest", 2)


def test_masks_are_remembered() -> None:
    first = epipolar_mask(default_ring(4, polar_deg=51), 32)
    assert epipolar_mask(default_ring(4, polar_deg=51), 32).data_ptr() == first.data_ptr()
    assert not torch.equal(first, epipolar_mask(default_ring(4, polar_deg=70), 32))


def test_plucker_lines() -> None:
    """Lines are unit, hold the eye, and meet the pixel centre when projected."""
    cameras, side = SETS["lenses"], 8
    lines = plucker(cameras, side).flatten(2).transpose(1, 2)
    directions, moments = lines[..., :3], lines[..., 3:]
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(len(cameras), side**2))
    eyes = cameras.centres[:, None].expand_as(directions)
    torch.testing.assert_close(torch.linalg.cross(eyes, directions, dim=-1), moments)
    ahead = (eyes + 2 * directions)[2]
    pixels, depth = cameras.resized(side, side).project(ahead)
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    expected = torch.stack([x, y], dim=-1).reshape(-1, 2)
    torch.testing.assert_close(pixels[2], expected, atol=1e-4, rtol=0)
    assert (depth[2] > 0).all()


def test_camera_vectors() -> None:
    cameras = orbit_cameras([30, 120, 300], [45, 0, -20], 3.5, 40.0, 64)
    absolute = camera_vectors(cameras, absolute=True, intrinsics=True)
    a, polar = math.radians(120), math.radians(90)
    focal = 1 / math.tan(math.radians(20))
    expected = torch.tensor([polar, math.sin(a), math.cos(a), 3.5, focal, focal, 0.0, 0.0])
    torch.testing.assert_close(absolute[1], expected, atol=1e-6, rtol=1e-6)
    relative = camera_vectors(cameras, absolute=False, intrinsics=False)
    turn, tilt = math.radians(30 - 300), math.radians(45 - 110)
    expected = torch.tensor([tilt, math.sin(turn), math.cos(turn), 0.0])
    torch.testing.assert_close(relative[2], expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(relative[0], torch.tensor([0.0, 0.0, 1.0, 0.0]))


def test_default_ring() -> None:
    """The example of the released script's first camera, in Blender's axes."""
    c2w = opencv_to_opengl(default_ring(8).c2w)[0]
    h = math.sqrt(0.5)
    expected = torch.tensor([[0.0, -h, h], [1.0, 0.0, 0.0], [0.0, h, h]])
    torch.testing.assert_close(c2w[:3, :3], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(c2w[:3, 3], 3.5 * torch.tensor([h, 0.0, h]))
    azimuth, elevation, _ = default_ring(8).spherical()
    torch.testing.assert_close(azimuth, 45.0 * torch.arange(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((8,), 45.0))


def test_orthographic_cameras_are_refused() -> None:
    ring = default_ring(2)
    with pytest.raises(CameraError, match="orthographic"):
        epipolar_mask(Cameras(ring.c2w, ring.intrinsics, ring.size, torch.ones(2)), 8)
