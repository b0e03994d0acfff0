"""Procedural objects as photos show them, and the pictures that people take of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from studio.cameras import orbit_cameras
from studio.data.procedural.dataset import ProceduralData, render_object
from studio.data.procedural.inputs import draw_input_cameras, framed
from studio.data.procedural.light import Lighting, lit, split_triangles
from studio.data.procedural.objects import make_object
from studio.data.procedural.parts import Array, box
from studio.data.procedural.photo_faults import with_faults
from studio.data.procedural.surfaces import PATTERNS, Paint, draw_paint, painted
from studio.data.training.ring_views import RingBatches
from studio.errors import ConfigError
from studio.plugins.parsing import parse_config


def small(**options: object) -> ProceduralData:
    values = {"objects": 3, "val_objects": 1, "resolution": 32, "look": "photo", **options}
    return ProceduralData(parse_config(ProceduralData.Config, values, key="data"))


def test_photos_change_colours_and_nothing_else() -> None:
    camera = orbit_cameras([30.0], 30.0, size=48)
    plain, photo, again = (
        render_object("house", 1, camera, look=look) for look in ("plain", "photo", "photo")
    )
    assert np.abs(plain.mask - photo.mask).max() < 0.3  # an edge's sample may fall either way
    assert np.abs(plain.rgba[..., :3] - photo.rgba[..., :3]).mean() > 0.01
    assert np.array_equal(photo.rgba, again.rgba)


def test_light_and_patterns_turn_with_the_object() -> None:
    still = render_object("mug", 2, orbit_cameras([10.0], 30.0, size=48), look="photo").rgba
    turned = render_object(
        "mug", 2, orbit_cameras([100.0], 30.0, size=48), yaw_deg=90.0, look="photo"
    ).rgba
    assert np.abs(still - turned).mean() < 2e-3


def test_a_look_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.look is 'oil'"):
        small(look="oil")


STUDIO = Lighting((0.0, 0.0, 1.0), 0.3, 0.3, 0.4, 1.0, 0.0, 1.0)


def lit_floor(*more: object) -> tuple[Array, Array]:
    """Light on a plate, at its far end and under what stands or hangs above its middle."""
    plate = box((1.0, 1.0, 0.1), (0, 0, -0.4), (1, 1, 1))
    points = np.array([[0.4, 0.4, -0.35], [0.0, 0.0, -0.35]])
    up = np.tile([[0.0, 0.0, 1.0]], (2, 1))
    far, middle = lit(STUDIO, [plate, *more], points, up)  # type: ignore[list-item]
    return far, middle


def test_what_hangs_above_takes_the_lamp_and_what_is_near_the_sky() -> None:
    far, middle = lit_floor()
    assert middle == pytest.approx(far, abs=0.05)
    far, under = lit_floor(box((0.5, 0.5, 0.2), (0, 0, 0.0), (1, 1, 1)))
    assert under.mean() < far.mean() - 0.1
    _, close = lit_floor(box((0.5, 0.5, 0.2), (0, 0, -0.19), (1, 1, 1)))
    assert close.mean() < under.mean() - 0.05


def test_split_triangles_cover_the_same_area_with_short_edges() -> None:
    corners = np.array(
        [[[0.0, 0, 0], [1, 0, 0], [0, 0.3, 0]], [[0, 0, 1], [0.05, 0, 1], [0, 0.05, 1]]]
    )
    split, origin = split_triangles(corners, 0.2)

    def areas(triangles: Array) -> Array:
        a, b, c = (triangles[:, k] for k in range(3))
        return np.cross(b - a, c - a)[:, 2] / 2

    assert np.linalg.norm(split - np.roll(split, 1, axis=1), axis=-1).max() <= 0.2
    assert np.bincount(origin, areas(split)) == pytest.approx(areas(corners))
    assert (origin == 1).sum() == 1


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_mix_two_colours(kind: str) -> None:
    random = np.random.default_rng(3)
    points = random.uniform(-0.5, 0.5, (4000, 3))
    normals = np.eye(3)[random.integers(3, size=4000)]
    colour = (0.8, 0.3, 0.2)
    shares = []
    for seed in range(8):
        paint = draw_paint(np.random.default_rng(seed), colour, [kind])
        assert isinstance(paint, Paint)
        share = PATTERNS[kind](paint, points, normals)
        assert share.min() >= -1e-6 and share.max() <= 1 + 1e-6
        shares.append(share.std())
        out = painted(paint, np.tile(colour, (4000, 1)), points, normals)
        low, high = np.minimum(colour, paint.second), np.maximum(colour, paint.second)
        assert (out >= low - 1e-6).all() and (out <= high + 1e-6).all()
    assert max(shares) > 0.05


def test_patterns_are_drawn_apart_from_shapes() -> None:
    thing = make_object("chair", 3)
    assert make_object("chair", 3).paints == thing.paints
    assert any(make_object("table", seed).paints for seed in range(6))


def test_framed_pictures_have_their_object_where_it_is_asked_for() -> None:
    vertices = make_object("car", 1).arrays[0]
    camera = framed(orbit_cameras([20.0], 10.0, size=100), vertices, 0.6, np.array([0.05, -0.02]))
    pixels, _ = camera.project(torch.from_numpy(vertices))
    low, high = pixels[0].amin(0), pixels[0].amax(0)
    assert float((high - low).max()) == pytest.approx(60.0, abs=0.01)
    assert ((low + high) / 2).tolist() == pytest.approx([55.0, 48.0], abs=0.01)


def test_inputs_stand_on_the_ring_and_are_said_to_be_about_where_they_are() -> None:
    random = np.random.default_rng(0)
    cameras = draw_input_cameras(make_object("car", 1).arrays[0], 60, 16, 22.5, 32, random)
    errors = []
    for camera in cameras:
        azimuth, elevation, radius = camera.said.spherical()
        assert float(azimuth) == pytest.approx(camera.at * 22.5, abs=1e-3)
        assert float(radius) == pytest.approx(1.5)
        true_azimuth, true_elevation, _ = camera.camera.spherical()
        assert float(true_azimuth) == pytest.approx(float(azimuth), abs=1e-3)
        errors.append(float(elevation - true_elevation))
    assert 3 < np.std(errors) < 7


def test_conditions_come_from_inputs_and_stand_at_azimuth_zero() -> None:
    ring_views = small(inputs=3).ring_views("train")
    batch = RingBatches(ring_views, 12, 2, seed=0, first_step=lambda: 0).at(5)
    again = RingBatches(ring_views, 12, 2, seed=0, first_step=lambda: 0).at(5)
    assert torch.equal(batch["cond_image"], again["cond_image"])
    x, y, z = batch["cond_c2w"][:, :3, 3].unbind(-1)
    assert y.abs().max() < 1e-4 and (x > 0).all()
    elevations = torch.rad2deg(torch.asin(z / 1.5))
    assert elevations.std() > 5
    clean = replace(ring_views, inputs=None)
    plain = RingBatches(clean, 12, 2, seed=0, first_step=lambda: 0).at(5)
    assert torch.rad2deg(torch.asin(plain["cond_c2w"][:, 2, 3] / 1.5)).std() < 1e-3


def test_inputs_are_kept_beside_the_views(tmp_path: object) -> None:
    fresh = small(inputs=2, objects=1).inputs("train")
    cached = small(inputs=2, objects=1, cache_dir=str(tmp_path))
    cached.inputs("train")
    read = small(inputs=2, objects=1, cache_dir=str(tmp_path)).inputs("train")
    assert np.array_equal(read.images, fresh.images) and np.array_equal(read.at, fresh.at)
    assert torch.equal(read.c2w, fresh.c2w)


def test_faults_leave_place_and_colours() -> None:
    rgba = np.round(render_object("car", 1, orbit_cameras([30.0], 20.0, size=64)).rgba[0] * 255)
    picture = rgba.astype(np.uint8)
    changed = 0
    for seed in range(20):
        out = with_faults(picture, np.random.default_rng(seed))
        assert np.array_equal(out, with_faults(picture, np.random.default_rng(seed)))
        inside = binary_erosion(picture[..., 3] == 255, iterations=3)
        assert (np.abs((out[..., 3] > 127) ^ (picture[..., 3] > 127))).mean() < 0.03
        means = [p[..., :3][inside].astype(float).mean(0) for p in (picture, out)]
        assert means[0] == pytest.approx(means[1], abs=8)
        changed += not np.array_equal(out, picture)
    assert changed > 15
