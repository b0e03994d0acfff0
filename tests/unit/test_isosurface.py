"""Isosurface extraction: size, closedness, frame, cost, and the errors when there is no surface."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.errors import ExportError
from studio.export import cleanup
from studio.export.isosurface import extract_mesh
from studio.export.isosurface_dense import dense_mesh, two_pass_mesh
from studio.ops.ray_caster import render_mesh


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


def test_floaters_go_and_large_parts_stay(monkeypatch):
    def field(p: Tensor) -> Tensor:
        parts = [
            (p - torch.tensor([-0.2, 0, 0])).norm(dim=1) - 0.2,
            (p - torch.tensor([0.3, 0, 0])).norm(dim=1) - 0.12,
            (p - torch.tensor([0.0, 0.4, 0])).norm(dim=1) - 0.03,
        ]
        return torch.stack(parts).amin(0)

    told: list[str] = []

    def parts(share: float) -> int:
        mesh = extract_mesh(field, 0.5, 96, keep_components=share, report=told.append)
        return len(np.unique(cleanup.face_components(mesh.faces)))

    assert (parts(0.0), parts(0.05), parts(0.5)) == (3, 2, 1)
    assert [text.split(" of ")[0] for text in told] == [
        "1 loose part(s), 2%",
        "2 loose part(s), 28%",
    ]
    monkeypatch.setattr("studio.export.parts.WORTH_TELLING", 0.05)  # less is said in passing
    monkeypatch.setattr("studio.export.parts._log.info", lambda text, *a: told.append(text % a))
    assert parts(0.05) == 2
    assert told[2].startswith("mesh: 1 loose part(s), 1.") and "keep_components=0" in told[2]


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


@pytest.mark.parametrize("fit", [True, False])
def test_an_empty_field_is_refused_at_every_resolution(fit):
    """At 192 cells the search starts so coarse that no cell is ever refined."""
    with pytest.raises(ExportError, match="no surface"):
        extract_mesh(lambda p: torch.ones(len(p)), 0.5, 192, fit=fit)


def test_a_small_object_in_a_large_box_gets_all_cells():
    centre = torch.tensor([1.1, -0.7, 0.4])

    def ball(p: Tensor) -> Tensor:
        return (p - centre).norm(dim=1) - 0.15

    mesh = extract_mesh(ball, 2.0, 64)
    loose = extract_mesh(ball, 2.0, 64, fit=False)
    assert len(mesh.faces) > 20 * len(loose.faces)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.15**3, rel=0.01)
    assert cleanup.is_watertight(mesh.faces)


def test_a_plate_too_thin_for_the_search_is_still_found():
    def plate(p: Tensor) -> Tensor:
        return (p - torch.tensor([0, 0, 0.0078])).abs().sub(torch.tensor([0.3, 0.3, 0.004])).amax(1)

    mesh = extract_mesh(plate, 0.5, 192)
    assert np.ptp(mesh.vertices[:, 0]) == pytest.approx(0.6, abs=0.01)


def test_sparse_blocks_agree_with_the_dense_twin():
    box = np.array([[-0.5] * 3, [0.5] * 3])
    sparse, dense = extract_mesh(torus, 0.5, 96, fit=False), dense_mesh(torus, box, 97)
    assert len(sparse.vertices) == len(dense.vertices) and len(sparse.faces) == len(dense.faces)
    order = [np.lexsort(m.vertices.round(3).T[::-1]) for m in (sparse, dense)]
    one, two = (m.vertices[o] for m, o in zip((sparse, dense), order, strict=True))
    assert np.abs(one.mean(0) - two.mean(0)).max() < 1e-5
    assert sparse.volume == pytest.approx(dense.volume, rel=1e-4)
    assert sparse.area == pytest.approx(dense.area, rel=1e-4)


def test_the_second_pass_of_the_twin_is_finer():
    cube = np.array([[-1.0] * 3, [1.0] * 3])
    errors = [
        np.abs(np.linalg.norm(mesh.vertices[mesh.faces].mean(1), axis=1) - 0.35).mean()
        for mesh in (dense_mesh(sphere, cube, 24), two_pass_mesh(sphere, 1.0, 24))
    ]
    assert errors[1] < 0.3 * errors[0]
    with pytest.raises(ExportError, match="never crosses"):
        dense_mesh(lambda p: sphere(p) + 9, cube, 8)


def balls(*centres_and_radii: tuple[float, float, float, float]):
    """A field of several balls."""

    def field(p: Tensor) -> Tensor:
        parts = [(p - torch.tensor(c[:3])).norm(dim=1) - c[3] for c in centres_and_radii]
        return torch.stack(parts).amin(0)

    return field


def test_closed_cavities_are_filled():
    def shell(p: Tensor) -> Tensor:
        return torch.maximum(p.norm(dim=1) - 0.35, 0.25 - p.norm(dim=1))

    assert extract_mesh(shell, 0.5, 64).volume == pytest.approx(4 / 3 * math.pi * 0.35**3, rel=0.01)
    hollow = extract_mesh(shell, 0.5, 64, keep_components=0)
    assert hollow.volume == pytest.approx(4 / 3 * math.pi * (0.35**3 - 0.25**3), rel=0.01)


def test_small_parts_stay_where_outlines_need_them():
    """The views show the body and one small ball beside it; the other small ball is a floater."""
    body, real, floater = (0.0, 0, 0, 0.25), (0.36, 0, 0, 0.04), (0, 0, 0.38, 0.04)
    true = extract_mesh(balls(body, real), 0.5, 64, keep_components=0)
    views = render_mesh(true, orbit_cameras([0, 60, 120, 200, 280], 15.0, size=96))
    field = balls(body, real, floater)
    blind = extract_mesh(field, 0.5, 64)
    seeing = extract_mesh(field, 0.5, 64, views=views)
    assert len(np.unique(cleanup.face_components(blind.faces))) == 1
    assert len(np.unique(cleanup.face_components(seeing.faces))) == 2
    assert seeing.vertices[:, 0].max() > 0.39 and seeing.vertices[:, 2].max() < 0.3


def test_too_large_a_grid_is_refused_with_the_size_that_fits():
    with pytest.raises(ExportError, match="resolution 2048 needs .* GiB") as caught:
        extract_mesh(sphere, 0.5, 2048, memory_gb=1.0)
    fits = int(str(caught.value).split("about ")[1].split()[0])
    assert 400 < fits < 700


def test_faces_are_turned_outward():
    mesh = extract_mesh(sphere, 0.5, 32)
    turned = cleanup.face_outward(mesh.vertices, mesh.flipped().faces)
    assert np.array_equal(np.sort(turned, 1), np.sort(mesh.faces, 1))
    a, b, c = (mesh.vertices[turned[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a) * (a + b + c)).sum(1).min() > 0
