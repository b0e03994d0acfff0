"""The flat base of objects that are seen from above only, on a sphere."""

from __future__ import annotations

import math

import pytest
import torch

from studio.cameras import Cameras, orbit_cameras
from studio.models.sdf.flat_base import lowest_seen
from studio.renderers.base import RenderOutput

RADIUS = 0.4


def ring(elevation_deg: float) -> Cameras:
    return orbit_cameras([45.0 * k for k in range(8)], elevation_deg, radius=3.0, size=160)


def see(camera: Cameras) -> RenderOutput:
    """Where the rays meet the sphere."""
    rays = camera.rays()
    along = (rays.origins * rays.directions).sum(-1)
    inside = along**2 - (rays.origins**2).sum(-1) + RADIUS**2
    hit = (inside > 0).float()
    depth = -along - inside.clamp(min=0).sqrt()
    normal = (rays.origins + rays.directions * depth[:, None]) / RADIUS
    empty = torch.zeros(0)
    return RenderOutput(
        rgb=normal,
        mask=hit,
        depth=depth * hit,
        normal=normal * hit[:, None],
        weights=empty,
        gradients=empty[:, None],
        sdf=empty,
        points=empty[:, None],
        samples=0,
    )


def test_it_is_where_the_surface_turns_away_from_the_cameras() -> None:
    facing, away = 0.25, 3.0
    lowest = lowest_seen(see, ring(30.0), facing=facing, quantile=0.0)
    # at the angle a from the camera's direction, the camera is seen under this cosine:
    angle = torch.linspace(0, math.pi, 100_000)
    across, along = away * angle.sin(), away * angle.cos() - RADIUS
    last = float(angle[along / torch.hypot(along, across) > facing].max())
    expected = RADIUS * math.sin(math.radians(30.0) - last)
    assert lowest == pytest.approx(expected, abs=0.02)


def test_depths_are_scaled() -> None:
    def halved(camera: Cameras) -> RenderOutput:
        output = see(camera)
        output.depth.mul_(0.5)
        return output

    views = ring(30.0)
    assert lowest_seen(halved, views, scale=2.0) == pytest.approx(lowest_seen(see, views))


def test_there_is_none_where_a_camera_looks_from_below_or_sees_nothing() -> None:
    assert lowest_seen(see, ring(-30.0)) is None

    def nothing(camera: Cameras) -> RenderOutput:
        output = see(camera)
        output.mask.zero_()
        return output

    assert lowest_seen(nothing, ring(30.0)) is None
