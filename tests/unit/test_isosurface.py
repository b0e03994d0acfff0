"""Isosurface extraction: size, closedness, frame, cost, and the errors when there is no surface."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.errors import ExportError
from studio.export import cleanup
from studio.export.isosurface import extract_mesh


def sphere(points: Tensor) -> Tensor:
    return points.norm(dim=1) - 0.35


def torus(points: Tensor) -> Tensor:
    ring = torch.stack([points[:, :2].norm(dim=1) - 0.3, points[:, 2]], 1)
    return ring.norm(dim=1) - 0.1


class Counted:
    def __init__(self, field) -> None:
        self.field, self.points = field, 0

    def __call__(self, points: Tensor) -> Tensor:
        self.points += len(points)
        return self.field(points)


@pytest.mark.parametrize(
    "field, volume",
    [(sphere, 4 / 3 * math.pi * 0.35**3), (torus, 2 * math.pi**2 * 0.3 * 0.1**2)],
    ids=["sphere", "torus"],
)
def test_volume_is_right_and_the_mesh_closed_and_outward(field, volume):
    mesh = extract_mesh(field, 0.5, 96)
    assert mesh.volume == pytest.approx(volume, rel=0.005)
    assert cleanup.is_watertight(mesh.faces)
    assert mesh.vertices.dtype == np.float32 and mesh.faces.dtype == np.int64


def test_vertices_lie_on_the_surface_in_world_units():
    centre = torch.tensor([0.2, -0.1, 3.0])
    box = ((-0.4, -0.6, 2.5), (0.8, 0.4, 3.5))
    mesh = extract_mesh(lambda p: sphere(p - centre), box, 80)
    distance = np.abs(np.linalg.norm(mesh.vertices - centre.numpy(), axis=1) - 0.35)
    assert distance.max() < 0.02 * 1.2 / 80  # a fiftieth of a cell


def test_genus_of_the_torus_survives():
    mesh = extract_mesh(torus, 0.5, 64)
    edges = 3 * len(mesh.faces) // 2
    assert len(mesh.vertices) - edges + len(mesh.faces) == 0


def test_only_cells_near_the_surface_are_evaluated():
    counted = Counted(sphere)
    extract_mesh(counted, 0.5, 192)
    assert counted.points < 0.12 * 193**3


def test_blocks_join_exactly_where_the_field_meets_grid_points():
    """A box whose faces run through grid points and block borders: exact zeros everywhere."""
    mesh = extract_mesh(lambda p: (p.abs() - 0.25).amax(1), 0.5, 128)
    assert cleanup.is_watertight(mesh.faces)
    assert mesh.volume == pytest.approx(0.125, rel=0.01)
    assert len(np.unique(cleanup.face_components(mesh.faces))) == 1


def test_surface_that_leaves_the_box_is_closed_by_a_wall():
    mesh = extract_mesh(sphere, 0.3, 60)
    assert cleanup.is_watertight(mesh.faces)
    assert np.abs(mesh.vertices).max() <= 0.3


def test_floaters_go_and_large_parts_stay():
    def field(p: Tensor) -> Tensor:
        parts = [
            (p - torch.tensor([-0.2, 0, 0])).norm(dim=1) - 0.2,
            (p - torch.tensor([0.3, 0, 0])).norm(dim=1) - 0.12,
            (p - torch.tensor([0.0, 0.4, 0])).norm(dim=1) - 0.03,
        ]
        return torch.stack(parts).amin(0)

    def parts(share: float) -> int:
        mesh = extract_mesh(field, 0.5, 96, keep_components=share)
        return len(np.unique(cleanup.face_components(mesh.faces)))

    assert (parts(0.0), parts(0.05), parts(0.5)) == (3, 2, 1)


def test_points_declared_outside_are_cut_away():
    mesh = extract_mesh(sphere, 0.5, 64, outside=lambda p: p[:, 0] > 0)
    assert mesh.vertices[:, 0].max() < 1 / 64
    assert cleanup.is_watertight(mesh.faces)
    assert mesh.volume == pytest.approx(2 / 3 * math.pi * 0.35**3, rel=0.05)


def test_decimation_keeps_the_mesh_closed_and_the_shape():
    mesh = extract_mesh(torus, 0.5, 96, faces=3000)
    assert 2500 <= len(mesh.faces) <= 3100
    assert cleanup.is_watertight(mesh.faces)
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.3 * 0.1**2, rel=0.02)


def test_smoothing_removes_noise_without_shrinking():
    def rough(p: Tensor) -> Tensor:
        return sphere(p) + 0.006 * torch.sin(p * 300).sum(1) / 3

    def spread(rounds: int) -> tuple[float, float]:
        radius = np.linalg.norm(extract_mesh(rough, 0.5, 96, smooth=rounds).vertices, axis=1)
        return float(radius.std()), float(radius.mean())

    (before, _), (after, mean) = spread(0), spread(20)
    assert after < 0.65 * before
    assert mean == pytest.approx(0.35, rel=0.01)


@pytest.mark.parametrize(
    "field, words",
    [
        (lambda p: p.norm(dim=1) + 0.1, ["no surface", "+0.1", "masks"]),
        (lambda p: p.norm(dim=1) - 5.0, ["negative", "whole export box", "flip the sign"]),
        (lambda p: p.norm(dim=1) * float("nan"), ["NaN", "diverged"]),
    ],
    ids=["empty", "full", "nan"],
)
def test_errors_say_what_is_wrong(field, words):
    with pytest.raises(ExportError) as caught:
        extract_mesh(field, 0.5, 32)
    assert all(word in str(caught.value) for word in words)


def test_too_large_a_grid_is_refused_with_the_size_that_fits():
    with pytest.raises(ExportError, match="resolution 2048 needs .* GiB") as caught:
        extract_mesh(sphere, 0.5, 2048, memory_gb=1.0)
    fits = int(str(caught.value).split("about ")[1].split()[0])
    assert 400 < fits < 700


def test_small_holes_are_filled():
    mesh = extract_mesh(sphere, 0.5, 32)
    torn = mesh.faces[1:]
    assert len(cleanup.open_edges(torn)) == 3
    vertices, faces = cleanup.fill_small_holes(mesh.vertices, torn)
    assert cleanup.is_watertight(faces)
    assert len(vertices) == len(mesh.vertices) + 1


def test_faces_are_turned_outward():
    mesh = extract_mesh(sphere, 0.5, 32)
    turned = cleanup.face_outward(mesh.vertices, mesh.flipped().faces)
    assert np.array_equal(np.sort(turned, 1), np.sort(mesh.faces, 1))
    a, b, c = (mesh.vertices[turned[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a) * (a + b + c)).sum(1).min() > 0
