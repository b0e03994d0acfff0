"""Charts: packed without overlaps and with padding, flattened, level across their seams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from studio.export.flatten import flattened
from studio.export.isosurface import extract_mesh
from studio.export.packing import packed
from studio.export.raster import covered_texels
from studio.export.seams import levelled, seam_difference, seams_of
from studio.export.texture import fill_texture, rasterise_uv
from studio.export.unwrap import unwrap


def rings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Arcs of many widths: shapes that fit into each other, but whose boxes do not."""
    random = np.random.default_rng(0)
    corners, chart = [], []
    for number in range(count):
        turn = np.linspace(0, random.uniform(0.5, 1.6) * np.pi, 13)
        ray = np.stack([np.cos(turn), np.sin(turn)], 1) * random.uniform(0.2, 1)
        inner, outer = ray * random.uniform(0.3, 0.8), ray
        quads = inner[:-1], outer[:-1], outer[1:], inner[1:]
        corners += [np.stack([quads[0], quads[1], quads[2]], 1)]
        corners += [np.stack([quads[0], quads[2], quads[3]], 1)]
        chart += [number] * 24
    return np.concatenate(corners), np.array(chart)


@pytest.mark.parametrize("size, padding", [(256, 2), (512, 4)])
def test_charts_keep_apart_and_fill_the_square(size, padding):
    corners, chart = rings(30)
    placed = packed(corners, chart, size, padding)
    assert placed.min() >= padding / 2 - 1e-6 and placed.max() <= size - padding / 2 + 1e-6
    owner = np.full(size * size, -1)
    for texel, face, _ in covered_texels(placed, size):
        assert ((owner[texel] == -1) | (owner[texel] == chart[face])).all(), "two charts overlap"
        owner[texel] = chart[face]
    owner = owner.reshape(size, size)
    assert (owner >= 0).mean() > 0.5
    for number in range(0, 30, 5):
        others = (owner >= 0) & (owner != number)
        assert distance_transform_edt(~others)[owner == number].min() >= padding
    sides = [np.linalg.norm(np.roll(x, -1, axis=1) - x, axis=-1) for x in (corners, placed)]
    scale = sides[1] / sides[0]
    assert np.ptp(scale) < 1e-6 * scale.mean(), "charts are turned and moved, not bent"
    a, b = ((x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]) for x in (corners, placed))
    cross = [u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] for u, v in (a, b)]
    assert (np.sign(cross[0]) == np.sign(cross[1])).all(), "nor mirrored"


def test_more_charts_than_texels_do_not_fail():
    corners, chart = rings(300)
    placed = packed(corners, chart, 16, 4)
    assert placed.min() >= 0 and placed.max() <= 16


def test_half_a_pipe_is_rolled_out_again():
    """Its projection squeezes the sides; flattened, all lengths are those in space."""
    turn, along = np.meshgrid(
        np.linspace(0.2, np.pi - 0.2, 25), np.linspace(0, 1, 9), indexing="ij"
    )
    space = np.stack([-np.cos(turn), along, np.sin(turn)], -1).reshape(-1, 3)
    a = (np.arange(24)[:, None] * 9 + np.arange(8)).ravel()
    joint = np.concatenate([np.stack([a, a + 9, a + 10], 1), np.stack([a, a + 10, a + 1], 1)])
    corners, chart = space[joint], np.zeros(len(joint), int)
    flat = flattened(corners, corners[..., :2], joint, chart)
    sides = [np.linalg.norm(np.roll(x, -1, axis=1) - x, axis=-1) for x in (corners, flat)]
    np.testing.assert_allclose(sides[1], sides[0], rtol=0.01)


def test_both_sides_of_a_seam_show_one_colour():
    ball = extract_mesh(lambda x: x.norm(dim=1) - 0.3, 0.5, 48, faces=2000).with_normals()
    cut, size = unwrap(ball, 256), 256
    texels = rasterise_uv(cut, size)
    colours = (0.5 + 0.4 * np.sin(80 * texels.points)).astype(np.float32)
    before = fill_texture(colours, texels.covered)
    after = levelled(before / np.float32(255), texels.covered, seams_of(cut, size))
    after = np.round(255 * after).astype(np.uint8)
    found = [seam_difference(replace(cut, texture=x)) for x in (before, after)]
    assert found[0] > 5 and found[1] < 0.1 * found[0]
    change = np.abs(after.astype(int) - before)[texels.covered]
    assert change.mean() < 0.5, "charts hardly change"


def test_seams_are_where_the_surface_is_cut():
    """Points on either side of a seam lie at the same place of the surface."""
    mesh = extract_mesh(lambda x: x.norm(dim=1) - 0.3, 0.5, 32, faces=800).with_normals()
    cut = unwrap(mesh, 128)
    seams = seams_of(cut, 512)
    texels = rasterise_uv(cut, 512)
    place = np.zeros((512, 512, 3), np.float32)
    place[texels.covered] = texels.points
    near = distance_transform_edt(~texels.covered, return_distances=False, return_indices=True)
    place = place[tuple(near)]
    one, other = (
        place[tuple(at[:, ::-1].astype(int).clip(0, 511).T)] for at in (seams.one, seams.other)
    )
    assert len(one) > 500 and np.abs(one - other).max() < 0.02
    assert torch.from_numpy(one).norm(dim=1).sub(0.3).abs().max() < 0.02
