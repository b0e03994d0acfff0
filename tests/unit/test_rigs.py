"""Rigs: numbers that must not change, frames, poles, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.cameras import CANONICAL_FOV_DEG, Cameras, opencv_to_opengl, orbit_cameras
from studio.errors import CameraError
from studio.rigs import RIGS, Rig, same_cameras, tilt


def same(a: Cameras, b: Cameras) -> bool:
    """Bit by bit."""
    return (
        torch.equal(a.c2w, b.c2w) and torch.equal(a.intrinsics, b.intrinsics) and a.size == b.size
    )


@pytest.mark.parametrize("views", [1, 2, 4, 7, 8, 13, 16, 24, 36, 96])
@pytest.mark.parametrize("start", [0.0, 40.0, 123.4])
def test_rings_are_what_they_were(views: int, start: float) -> None:
    """`first + k * 360 / views`, handed to `orbit_cameras`: what weights were trained with."""
    azimuths = [start + k * 360.0 / views for k in range(views)]
    expected = orbit_cameras(azimuths, 20.0, 2.7, 33.0, 64)
    ring = Rig.ring(views, 20.0, 2.7, 33.0, frame="azimuth")
    assert same(ring.cameras(64, start), expected)
    assert same(replace(ring, frame="world").cameras(64, start), ring.cameras(64))


def test_known_rings_are_what_they_were() -> None:
    step = [k * 360.0 / 16 for k in range(16)]
    levels = [-10.0, 0.0, 10.0, 20.0, 30.0, 40.0]
    assert same(RIGS["ele30"].cameras(64), orbit_cameras(step, 30.0, size=64))
    assert same(RIGS["syncdreamer-16"].cameras(256), orbit_cameras(step, 30.0, size=256))
    grid = orbit_cameras([a for a in step for _ in levels], levels * 16, size=64)
    assert same(RIGS["epidiff96"].cameras(64), grid)
    clockwise = orbit_cameras([k * -15.0 for k in range(24)], 30.0, 2.732, 30.0, 64)
    assert same(RIGS["nmr24"].cameras(64), clockwise)
    assert RIGS["epidiff96"].step_deg == 22.5 and RIGS["nmr24"].step_deg == -15.0
    assert RIGS["epidiff96"].elevations == tuple(levels)
    assert len(RIGS["epidiff96"].azimuths) == 16 and Rig.ring(1).step_deg == 360.0


def axes(cameras: Cameras) -> Tensor:
    """Right and up of every picture, in the world."""
    return opencv_to_opengl(cameras.c2w)[:, :3, :2].transpose(1, 2)


def test_mvadapters_six_pictures_of_a_mesh() -> None:
    """Right and up of each picture, as the authors' renderer has them; the front looks from -Y."""
    x, y, z = torch.eye(3)
    expected = [(x, z), (y, z), (-x, z), (-y, z), (-x, -y), (-x, y)]
    cameras = RIGS["mvadapter-geometry"].cameras(96)
    found = axes(cameras)
    wanted = torch.stack([torch.stack(pair) for pair in expected])
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=0)  # 0.01 degrees beside the poles
    assert (
        cameras.ortho_scale is not None and cameras.ortho_scale.tolist() == [pytest.approx(1.1)] * 6
    )
    pixels, _ = cameras.project(torch.tensor([[0.5, 0.5, 0.5]]))
    assert pixels.min() > 0 and pixels.max() < 96


def test_wonder3d_turns_about_the_inputs_up_axis() -> None:
    rig = RIGS["wonder3d"]
    cameras = rig.cameras(64, 70.0, 35.0)
    eye = orbit_cameras([70.0], 35.0, rig.radius)
    torch.testing.assert_close(cameras.c2w[0], eye.c2w[0], atol=1e-6, rtol=0)
    up = axes(eye)[0, 1]
    torch.testing.assert_close(axes(cameras)[:, 1], up.expand(6, 3), atol=1e-6, rtol=0)
    for c2w, azimuth in zip(cameras.c2w, rig.azimuth_deg, strict=True):
        cos, sin = (c2w[:3, 2] @ cameras.c2w[0, :3, k] for k in (2, 0))
        turned = math.degrees(math.atan2(-float(sin), float(cos))) % 360
        assert min(abs(turned - azimuth), 360 - abs(turned - azimuth)) < 1e-3
    right = cameras.centres[2] / rig.radius
    torch.testing.assert_close(right, axes(eye)[0, 0], atol=1e-6, rtol=0)


def test_frames() -> None:
    """What the input's camera turns and tilts."""
    free = Rig((0.0, 90.0), (10.0, -10.0))
    here = free.cameras(32)
    assert same(free.cameras(32, 50.0, 20.0), here)
    turned = replace(free, frame="azimuth").cameras(32, 50.0, 20.0)
    assert same(turned, orbit_cameras([50.0, 140.0], [10.0, -10.0], size=32))
    tilted = replace(free, frame="input")
    assert same(tilted.cameras(32), here) and same(tilted.cameras(32, 0.0, None), here)
    back = torch.linalg.inv(tilt(50.0, 20.0)) @ tilted.cameras(32, 50.0, 20.0).c2w.double()
    torch.testing.assert_close(back.float(), here.c2w, atol=1e-6, rtol=0)
    straight = Rig((0.0,), (0.0,), frame="input").cameras(32, 50.0, 20.0)
    torch.testing.assert_close(
        straight.c2w, orbit_cameras([50.0], 20.0, size=32).c2w, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("frame", ["world", "azimuth", "input"])
def test_the_inputs_own_camera(frame: str) -> None:
    rig = replace(RIGS["ele30"], frame=frame)
    found = rig.input_camera(32, 40.0, -15.0)
    assert found is not None and same(found, orbit_cameras([40.0], -15.0, size=32))
    unknown = rig.input_camera(32, 40.0, None)
    assert (unknown is None) == (frame != "input")
    if unknown is not None:
        assert same(unknown, orbit_cameras([40.0], 0.0, size=32))


def test_orthographic_pictures_show_their_scale() -> None:
    cameras = Rig((0.0,), (0.0,), 2.0, ortho_scale=1.5).cameras((60, 90))
    pixels, depth = cameras.project(torch.tensor([[0.3, 0.0, 0.75], [0.0, 1.125, -0.75]]))
    torch.testing.assert_close(pixels[0], torch.tensor([[45.0, 0.0], [90.0, 60.0]]))
    torch.testing.assert_close(depth[0], torch.tensor([1.7, 2.0]))


@pytest.mark.parametrize("measure", ["side", "diagonal", "sphere"])
def test_objects_are_placed_by_their_measure(measure: str) -> None:
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3, 1, 2])
    placed = replace(RIGS["ele30"], measure=measure).placed(points + 7)
    side = placed.amax(0) - placed.amin(0)
    torch.testing.assert_close(placed.amax(0), -placed.amin(0), atol=1e-6, rtol=0)
    found = {"side": side.max(), "diagonal": side.norm(), "sphere": 2 * placed.norm(dim=1).max()}
    assert float(found[measure]) == pytest.approx(1)


@pytest.mark.parametrize("name", RIGS)
def test_cameras_are_told_from_others(name: str) -> None:
    rig = RIGS[name]
    cameras = rig.cameras(64)
    assert same_cameras(cameras, rig.cameras(256))
    others = [
        replace(rig, azimuth_deg=tuple(a + 1.0 for a in rig.azimuth_deg)).cameras(64),
        replace(rig, azimuth_deg=rig.azimuth_deg[::-1]).cameras(64),
        rig.cameras(64)[list(range(len(rig) - 1))],
    ]
    if rig.ortho_scale is None:
        others.append(replace(rig, fov_deg=rig.fov_deg + 1).cameras(64))
        others.append(replace(rig, radius=rig.radius * 1.05).cameras(64))
        others.append(replace(rig, ortho_scale=1.1).cameras(64))
    else:
        others.append(replace(rig, ortho_scale=rig.ortho_scale * 1.05).cameras(64))
        others.append(replace(rig, ortho_scale=None).cameras(64))
        assert same_cameras(cameras, replace(rig, radius=5.0).cameras(64))
    assert not any(same_cameras(cameras, other) for other in others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elevation_deg": (0.0,)}, "2 azimuths, 1 elevations"),
        ({"azimuth_deg": (), "elevation_deg": ()}, "0 azimuths"),
        ({"names": ("front",)}, "1 names"),
        ({"frame": "object"}, "frame is 'object'(.|\n)*world, azimuth, input"),
        ({"measure": "volume"}, "measure is 'volume'(.|\n)*side, diagonal, sphere"),
        ({"radius": 0.0}, "radius 0.0"),
        ({"ortho_scale": -1.0}, "ortho_scale -1.0"),
        ({"fov_deg": 180.0}, "fov_deg 180.0"),
        ({"bound": float("nan")}, "bound nan"),
    ],
)
def test_rigs_without_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(CameraError, match=message):
        Rig(**{"azimuth_deg": (0.0, 90.0), "elevation_deg": (0.0, 0.0), **options})  # type: ignore[arg-type]


def test_the_canonical_lens() -> None:
    assert pytest.approx(49.1343, abs=1e-4) == CANONICAL_FOV_DEG
    k = RIGS["ele30"].cameras(256).intrinsics[0]
    assert k[0, 0] == k[1, 1] == 280 and k[0, 2] == 128
