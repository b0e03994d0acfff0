"""Rounder solids: convex slices that together are the shape that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from studio.data.procedural.bodies import bead, limb, rounded, wheel
from studio.data.procedural.parts import Array, Part
from studio.data.procedural.solids import arch, chain, hull, lathe, oval, shell, tube

RED = (0.9, 0.1, 0.1)
BLUE = (0.1, 0.1, 0.9)


def volume(parts: list[Part]) -> float:
    """Sum of the volumes of parts, which must not overlap."""
    corners = np.concatenate([part.corners for part in parts])
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return float((a * np.cross(b, c)).sum() / 6)


def inside(parts: list[Part], points: Array) -> Array:
    """Which of the points lie in any part."""
    return np.any([part.contains(np.asarray(points, float)) for part in parts], axis=0)


def test_a_lathed_sphere_has_its_volume_and_its_normals_point_outwards() -> None:
    angle = np.linspace(0.02, np.pi - 0.02, 24)
    parts = lathe(np.c_[np.sin(angle), -np.cos(angle)], RED, sides=48)
    assert volume(parts) == pytest.approx(4 / 3 * np.pi, rel=0.02)
    middle = parts[11]
    around = np.abs(middle.normals[..., 2]) < 0.9  # all but the caps between slices
    direction = middle.corners[around] / np.linalg.norm(middle.corners[around], axis=-1)[:, None]
    assert (middle.normals[around] * direction).sum(-1).min() > 0.99


def test_steps_of_a_profile_have_their_own_colours_and_sharp_edges_stay_sharp() -> None:
    parts = lathe([(1.0, 0.0), (1.0, 1.0), (0.1, 1.2)], [RED, BLUE])
    assert [part.colour for part in parts] == [RED, BLUE]
    assert np.abs(parts[0].normals[: 2 * 24, :, 2]).max() < 1e-9  # not bent by the lid


@pytest.mark.parametrize("lining", [None, BLUE])
def test_a_shell_is_hollow_and_its_wall_is_not(lining: tuple[float, float, float] | None) -> None:
    parts = shell([(1.0, 0.0), (1.2, 1.0)], [0.9, 1.1], RED, lining=lining, sides=32)
    heights = np.linspace(0.05, 0.95, 7)
    wall = np.c_[0.95 + 0.2 * heights, np.zeros(7), heights]
    assert inside(parts, wall).all()
    assert (
        not inside(parts, wall * (0.8, 1, 1)).any() and not inside(parts, wall * (1.2, 1, 1)).any()
    )
    expected = np.pi * np.mean([(1 + 0.2 * z) ** 2 - (0.9 + 0.2 * z) ** 2 for z in heights])
    assert volume(parts) == pytest.approx(expected, rel=0.02)
    assert {part.colour for part in parts} == ({RED} if lining is None else {RED, BLUE})


def test_an_arc_of_a_shell_stands_where_it_was_asked_for() -> None:
    parts = shell([(1.0, 0.0), (1.0, 1.0)], [0.8, 0.8], RED, sides=24, arc=(-6, 7))
    ahead, behind = (0.9, 0.0, 0.5), (-0.9, 0.0, 0.5)
    assert inside(parts, np.array([ahead, behind])).tolist() == [True, False]
    assert len(parts) == 13


def test_a_tube_holds_its_path_and_a_loop_closes() -> None:
    path = arch((-1, 0, 0), (1, 0, 0), (0, 0, 1), 16)
    parts = tube(path, 0.1, RED)
    middles = (path[1:] + path[:-1]) / 2  # the points themselves lie between two slices
    assert inside(parts, middles).all()
    assert not inside(parts, middles * 0.8).any()
    turn = np.linspace(0, 2 * np.pi, 33)
    ring = np.c_[np.cos(turn), np.sin(turn), np.zeros(33)]
    around = np.linspace(0.003, 6.28, 397)
    assert inside(tube(ring, 0.1, RED), np.c_[np.cos(around), np.sin(around), 0 * around]).all()
    assert volume(tube(ring, 0.1, RED, sides=16)) == pytest.approx(2 * np.pi**2 * 0.01, rel=0.04)


def test_a_chain_of_cross_sections_is_the_prism_that_they_bound() -> None:
    section = oval(24)
    rings = np.stack([np.c_[np.full(24, x), section * (1 + 0.2 * x)] for x in (0.0, 1.0, 2.0)])
    assert volume(chain(rings, RED)) == pytest.approx(
        np.pi * (1 + 0.4 + 0.04 * 4 / 3) * 2, rel=0.02
    )


def test_rounded_boxes_keep_their_size_and_lose_their_corners() -> None:
    part = rounded((2.0, 1.0, 0.6), (0.5, 0, 0), RED, 0.2)
    low, high = part.corners.min((0, 1)), part.corners.max((0, 1))
    assert np.allclose(high - low, (2.0, 1.0, 0.6)) and np.allclose((low + high) / 2, (0.5, 0, 0))
    flat = [(1.49, 0.0, 0.0), (0.5, 0.49, 0.0), (0.5, 0.0, 0.29)]
    assert part.contains(np.array(flat)).all()
    assert not part.contains(np.array([(1.47, 0.47, 0.27)])).any()


def test_limbs_and_beads_are_convex_hulls_of_balls() -> None:
    part = limb((0, 0, 0), (2, 0, 0), 0.5, 0.25, RED)
    assert part.contains(np.array([(-0.4, 0, 0), (1, 0, 0.35), (2.2, 0, 0)])).all()
    assert not part.contains(np.array([(2.3, 0, 0), (1, 0, 0.45)])).any()
    assert np.allclose(
        np.abs(bead((1, 2, 3), (0, 0, 0), RED).corners).max((0, 1)), (1, 2, 3), rtol=0.2
    )


def test_hulls_take_the_normals_of_their_points_where_these_fit_the_face() -> None:
    cube = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    flat = hull(cube, RED)
    assert np.allclose(np.abs(flat.normals).max(-1), 1)
    slanted = hull(cube, RED, np.tile([0.0, 0.6, 0.8], (8, 1)))
    top = slanted.corners[..., 2].min(-1) > 0.99
    assert np.allclose(slanted.normals[top], (0, 0.6, 0.8))
    assert np.allclose(np.abs(slanted.normals[~top]).max(-1), 1)


def test_the_rim_of_a_wheel_shows_towards_plus_y() -> None:
    parts = wheel(0.5, 0.2, (1.0, 2.0, 0.5), RED, BLUE, spokes=5)
    corners = np.concatenate([part.corners.reshape(-1, 3) for part in parts])
    assert np.allclose((corners.min(0)[[0, 2]] + corners.max(0)[[0, 2]]) / 2, (1.0, 0.5), atol=0.01)
    rim = np.concatenate([part.corners.reshape(-1, 3) for part in parts if part.colour == BLUE])
    assert rim[:, 1].min() > 2.0 and rim[:, 1].max() > corners[:, 1].min() + 0.2
