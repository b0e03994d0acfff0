"""Cameras: one convention, checked by where things appear in the picture."""

import dataclasses
import math

import pytest
import torch

from studio.cameras import (
    CANONICAL_FOV_DEG,
    Cameras,
    look_at,
    opengl_to_opencv,
    orbit_cameras,
    pinhole_intrinsics,
    spherical_to_cartesian,
)
from studio.errors import CameraError


def rig(size: int | tuple[int, int] = (48, 64)) -> Cameras:
    return orbit_cameras([0, 75, 190, 300], [30.0, -20.0, 60.0, 0.0], 1.5, 49.13, size)


def orthographic(size: tuple[int, int] = (48, 64)) -> Cameras:
    return dataclasses.replace(rig(size), ortho_scale=torch.tensor([1.2, 1.5, 2.0, 1.0]))


def test_azimuth_and_elevation_mean_what_the_convention_says() -> None:
    centres = orbit_cameras([0, 90, 180], [0.0, 0.0, 45.0], radius=2.0).centres
    expected = [[2, 0, 0], [0, 2, 0], [-math.sqrt(2), 0, math.sqrt(2)]]
    torch.testing.assert_close(centres, torch.tensor(expected), atol=1e-6, rtol=0)


def test_world_axes_appear_where_they_should() -> None:
    """From +X: +Y is to the right, +Z is up (small y), nearer points have a smaller depth."""
    camera = orbit_cameras([0], 0.0, radius=2.0, fov_deg=60, size=100)
    points = torch.tensor([[0.0, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
    pixels, depth = camera.project(points)
    torch.testing.assert_close(pixels[0, 0], torch.tensor([50.0, 50.0]))
    assert pixels[0, 1, 0] > 60 and pixels[0, 1, 1] == pytest.approx(50, abs=1e-4)
    assert pixels[0, 2, 1] < 40 and pixels[0, 2, 0] == pytest.approx(50, abs=1e-4)
    torch.testing.assert_close(depth[0], torch.tensor([2.0, 2.0, 2.0, 1.5]))


def test_field_of_view_is_vertical() -> None:
    camera = orbit_cameras([0], 0.0, radius=2.0, fov_deg=60, size=(100, 300))
    top = torch.tensor([[0.0, 0.0, 2.0 * math.tan(math.radians(30))]])
    pixels, _ = camera.project(top)
    torch.testing.assert_close(pixels[0, 0], torch.tensor([150.0, 0.0]), atol=1e-4, rtol=0)


def test_canonical_field_of_view_is_that_of_a_35_mm_lens_on_32_mm() -> None:
    assert pytest.approx(2 * math.degrees(math.atan(16 / 35)), abs=1e-6) == CANONICAL_FOV_DEG
    assert pinhole_intrinsics(CANONICAL_FOV_DEG, (256, 256))[0, 0] == pytest.approx(280, abs=1e-3)


@pytest.mark.parametrize("cameras", [rig(), orthographic()], ids=["perspective", "orthographic"])
def test_rays_and_projection_are_inverse(cameras: Cameras) -> None:
    height, width = cameras.size
    rays = cameras.rays()
    assert len(rays) == 4 * height * width
    torch.testing.assert_close(rays.directions.norm(dim=1), torch.ones(len(rays)))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    expected = torch.stack([x, y], -1).reshape(-1, 2)
    points = (rays.origins + 1.3 * rays.directions).reshape(4, -1, 3)
    for i in range(4):
        pixels, depth = cameras[i : i + 1].project(points[i])
        torch.testing.assert_close(pixels[0], expected, atol=2e-3, rtol=0)
        assert (depth > 0).all()


def test_rays_through_given_pixels() -> None:
    cameras = rig()
    corner = torch.tensor([[[0.5, 0.5]]]).expand(4, 1, 2)
    every = cameras.rays().directions.reshape(4, -1, 3)
    torch.testing.assert_close(cameras.rays(corner).directions, every[:, 0])


def test_orthographic_picture_height_is_the_scale() -> None:
    camera = dataclasses.replace(
        orbit_cameras([0], 0.0, 2.0, 45, (50, 80)), ortho_scale=torch.tensor([1.2])
    )
    pixels, _ = camera.project(torch.tensor([[0.7, 0.0, 0.6], [-0.3, 0.48, 0.0]]))
    expected = torch.tensor([[40.0, 0.0], [60.0, 25.0]])
    torch.testing.assert_close(pixels[0], expected, atol=1e-4, rtol=0)


def test_matrices_are_rotations_and_w2c_inverts() -> None:
    cameras = rig()
    rotation = cameras.c2w[:, :3, :3]
    identity = torch.eye(3).expand(4, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4))
    product = cameras.w2c @ cameras.c2w
    torch.testing.assert_close(product, torch.eye(4).expand(4, 4, 4), atol=1e-6, rtol=0)


def test_spherical_inverts_the_orbit() -> None:
    azimuth, elevation, radius = rig().spherical()
    torch.testing.assert_close(azimuth, torch.tensor([0.0, 75, 190, 300]), atol=1e-4, rtol=0)
    torch.testing.assert_close(elevation, torch.tensor([30.0, -20, 60, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(radius, torch.full((4,), 1.5))
    again = spherical_to_cartesian(azimuth, elevation, radius)
    torch.testing.assert_close(again, rig().centres, atol=1e-6, rtol=0)


def test_opengl_axes() -> None:
    """OpenGL looks along -z with y up; the conversion is its own inverse."""
    c2w = rig().c2w
    opengl = opengl_to_opencv(c2w)
    torch.testing.assert_close(opengl[:, :3, 0], c2w[:, :3, 0])
    torch.testing.assert_close(opengl[:, :3, 1], -c2w[:, :3, 1])
    torch.testing.assert_close(opengl[:, :3, 2], -c2w[:, :3, 2])
    torch.testing.assert_close(opengl[:, :3, 3], c2w[:, :3, 3])
    assert torch.equal(opengl_to_opencv(opengl), c2w)
    assert (opengl[:3, 2, 1] > 0).all()  # +Z up in the world is up in the picture


def test_resizing_scales_projections() -> None:
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    for cameras in (rig(), orthographic()):
        pixels, _ = cameras.project(points)
        smaller, _ = cameras.resized(24, 32).project(points)
        torch.testing.assert_close(smaller, pixels / 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize("index", [slice(1, 3), [1, 2], torch.tensor([1, 2])])
def test_selection(index: slice | list[int] | torch.Tensor) -> None:
    chosen = orthographic()[index]
    assert len(chosen) == 2
    assert torch.equal(chosen.c2w, orthographic().c2w[1:3])
    assert chosen.ortho_scale is not None and chosen.ortho_scale.tolist() == [1.5, 2.0]


def test_looking_at_another_point() -> None:
    target = torch.tensor([0.2, -0.1, 0.3])
    c2w = look_at(torch.tensor([[2.0, 1.0, 0.5]]), target)
    cameras = Cameras(c2w, pinhole_intrinsics(50, (64, 64))[None], (64, 64))
    pixels, depth = cameras.project(target[None])
    torch.testing.assert_close(pixels[0, 0], torch.tensor([32.0, 32.0]), atol=1e-3, rtol=0)
    expected = (target - torch.tensor([2.0, 1.0, 0.5])).norm()
    torch.testing.assert_close(depth[0, 0], expected)


@pytest.mark.parametrize("azimuth", [0.0, 55.0, 180.0])
def test_poles_are_the_end_of_the_way_there(azimuth: float) -> None:
    """Up is what it comes to; no jump where the last tenth of a degree begins."""
    for sign in (1, -1):
        way = orbit_cameras([azimuth] * 4, [sign * e for e in (89.8, 89.95, 89.99, 90.0)])
        assert torch.isfinite(way.c2w).all()
        assert (way.c2w[1:] - way.c2w[:-1]).abs().max() < 6e-3  # 0.15 degrees at distance 1.5
        right = torch.tensor([-math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth)), 0])
        torch.testing.assert_close(way.c2w[:, :3, 0], right.expand(4, 3), atol=1e-6, rtol=0)
        torch.testing.assert_close(way.c2w[3, :3, 2], torch.tensor([0, 0, -1.0 * sign]))


def test_beyond_the_poles_nothing_is_placed() -> None:
    with pytest.raises(CameraError, match="an elevation is -90.5 degrees(.|\n)*-90 to 90"):
        orbit_cameras([0, 0], [90.0, -90.5])
    with pytest.raises(CameraError, match="straight up or down"):
        look_at(torch.tensor([[0.0, 0.0, 2.0]]))


def test_nonsense_is_refused() -> None:
    good = rig()
    bad = good.c2w.clone()
    bad[1, 0, 3] = float("nan")
    with pytest.raises(CameraError, match="NaN"):
        Cameras(bad, good.intrinsics, good.size)
    with pytest.raises(CameraError, match="do not belong together"):
        Cameras(good.c2w, good.intrinsics[:2], good.size)


def test_a_new_world_and_back() -> None:
    """A similarity moves points, cameras and orthographic scales alike."""
    to_world = torch.eye(4)
    to_world[:3, :3] = 2.5 * look_at(torch.tensor([[1.0, 2.0, 0.5]]))[0, :3, :3]
    to_world[:3, 3] = torch.tensor([3.0, -1.0, 0.5])
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    new = (points - to_world[:3, 3]) @ torch.linalg.inv(to_world[:3, :3]).T
    for cameras in (rig(), orthographic()):
        placed = cameras.placed(to_world)
        pixels, depth = placed.project(new)
        expected, expected_depth = cameras.project(points)
        torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(depth * 2.5, expected_depth, atol=1e-4, rtol=0)
        back = placed.placed(torch.linalg.inv(to_world))
        torch.testing.assert_close(back.c2w, cameras.c2w, atol=1e-5, rtol=0)
    sheared = torch.eye(4)
    sheared[0, 1] = 0.5
    for wrong in (sheared, torch.diag(torch.tensor([1.0, 1, -1, 1])), torch.zeros(4, 4)):
        with pytest.raises(CameraError, match="cannot place a scene"):
            rig().placed(wrong)


def test_a_world_of_another_size() -> None:
    """Points of the scaled world appear where they did, that many times as far away."""
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    for cameras in (rig(), orthographic()):
        pixels, depth = cameras.scaled(3.0).project(3.0 * points)
        expected, expected_depth = cameras.project(points)
        torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
        torch.testing.assert_close(depth, 3.0 * expected_depth, atol=1e-4, rtol=0)
    torch.testing.assert_close(rig().scaled(3.0).c2w, rig().placed(torch.eye(4) / 3.0).c2w)


def test_orthographic_pixels_of_any_shape() -> None:
    """Rays pass through what is projected, with oblong pixels and a shifted principal point."""
    cameras = orthographic()
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, 0, 0] *= 1.7
    intrinsics[:, :2, 2] += 3.25
    cameras = dataclasses.replace(cameras, intrinsics=intrinsics)
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    pixels, depth = cameras.project(points)
    rays = cameras.rays(pixels)
    again = rays.origins + rays.directions * depth.reshape(-1, 1)
    torch.testing.assert_close(again.reshape(4, 20, 3), points.expand(4, 20, 3))
    with pytest.raises(CameraError, match="ortho_scale is"):
        dataclasses.replace(cameras, ortho_scale=torch.tensor([1.0, -1.0, 1.0, 1.0]))


def test_integer_pixel_centres() -> None:
    """A calibration for integer centres means the same rays, half a pixel further."""
    cameras = rig()
    integer = torch.tensor([[[3.0, 5.0]]]).expand(4, 1, 2)
    shifted = cameras.with_pixel_centres(0.0).rays(integer + 0.5)
    torch.testing.assert_close(shifted.directions, cameras.rays(integer).directions)
    assert torch.equal(cameras.with_pixel_centres(0.5).intrinsics, cameras.intrinsics)


def test_between_two_cameras() -> None:
    cameras = rig()
    for share, i in ((0.0, 1), (1.0, 2)):
        way = cameras.between(1, 2, share)
        torch.testing.assert_close(way.c2w[0], cameras.c2w[i], atol=1e-5, rtol=0)
    first, half = cameras.between(1, 2, 0.3), cameras.between(1, 2, 0.65)
    steps = [
        torch.trace(a.c2w[0, :3, :3].T @ b.c2w[0, :3, :3])
        for a, b in ((cameras[[1]], first), (first, half), (half, cameras[[2]]))
    ]
    angles = torch.stack(steps).sub(1).div(2).clamp(-1, 1).acos()
    torch.testing.assert_close(
        angles / angles.sum(), torch.tensor([0.3, 0.35, 0.35]), atol=1e-3, rtol=0
    )


def test_clip_matrices_are_those_of_a_rasteriser() -> None:
    """Clip coordinates run from -1 to 1 over the picture and from near to far."""
    cameras = rig()
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    pixels, depth = cameras.project(points)
    homogeneous = torch.cat([points, torch.ones(20, 1)], dim=1)
    clip = homogeneous @ cameras.clip_matrices(0.1, 10.0).transpose(1, 2)
    ndc = clip[..., :3] / clip[..., 3:]
    torch.testing.assert_close(clip[..., 3], depth)
    size = torch.tensor([64.0, 48.0])
    torch.testing.assert_close((ndc[..., :2] + 1) / 2 * size, pixels, atol=1e-3, rtol=0)
    expected = (10.1 - 2.0 / depth) / 9.9
    torch.testing.assert_close(ndc[..., 2], expected, atol=1e-4, rtol=0)


def test_a_rig_without_views_is_refused() -> None:
    with pytest.raises(CameraError, match="no view"):
        orbit_cameras([], 30.0)
