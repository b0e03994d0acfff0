"""Even triangles: as many as asked for, without slivers, on the surface, closed as before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from studio.export.cleanup import face_components, is_watertight, open_edges
from studio.export.isosurface import extract_mesh
from studio.export.remesh import remesh
from studio.mesh import Mesh
from studio.metrics.mesh import surface_distances
from studio.metrics.triangles import aspect_ratios


def blob(points: torch.Tensor) -> torch.Tensor:
    """A ball with a bar through it: flat, round and sharply curved parts."""
    ball = points.norm(dim=1) - 0.3
    bar = ((points.abs() - torch.tensor([0.45, 0.06, 0.1])).clamp(min=0)).norm(dim=1) - 0.03
    return torch.minimum(ball, bar)


@pytest.fixture(scope="module")
def dense() -> Mesh:
    return extract_mesh(blob, 0.5, 96)


@pytest.mark.parametrize("target", [6000, 600])
def test_triangles_are_even_and_lie_on_the_surface(dense, target):
    vertices, faces = remesh(dense.vertices, dense.faces, target)
    mesh = Mesh(vertices.astype(np.float32), faces)
    ratios = aspect_ratios(mesh)
    assert 0.93 * target < len(faces) < 1.03 * target
    assert is_watertight(faces) and mesh.volume == pytest.approx(dense.volume, rel=0.01)
    assert np.median(ratios) < 1.6 and np.quantile(ratios, 0.99) < 4
    away = surface_distances(mesh, dense, 5000)
    edge = np.sqrt(mesh.area / target)
    assert away.chamfer < 0.04 * edge and max(away.a_to_b.max(), away.b_to_a.max()) < 0.6 * edge


@pytest.mark.parametrize("target", [8, 60, 250])
def test_few_triangles_keep_the_volume(dense, target):
    """And there are more where so few cannot."""
    vertices, faces = remesh(dense.vertices, dense.faces, target)
    mesh = Mesh(vertices, faces)
    assert is_watertight(faces) and face_components(faces).max() == 0
    assert mesh.volume == pytest.approx(dense.volume, rel=0.031)
    assert len(faces) <= max(target, 150)


def test_edges_and_corners_stay_sharp():
    """A cube of small triangles, none of which the new ones know."""
    cube = trimesh.creation.box().subdivide_to_size(0.05)
    vertices, faces = remesh(np.asarray(cube.vertices), np.asarray(cube.faces), 900)
    corners = trimesh.creation.box().vertices
    away = np.linalg.norm(vertices[:, None] - corners, axis=2).min(0)
    assert away.max() < 0.002
    assert np.abs(np.abs(vertices).max(1) - 0.5).max() < 0.002  # all of it on the cube
    assert Mesh(vertices, faces).volume == pytest.approx(1, abs=0.002)


def test_aspect_ratios_are_those_of_known_triangles():
    height = np.sqrt(0.75)
    points = [[0, 0, 0], [1, 0, 0], [0.5, height, 0], [0, 1, 0], [0.5, height / 10, 0], [2, 0, 0]]
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 5]])
    found = aspect_ratios(Mesh(np.array(points), faces))
    np.testing.assert_allclose(found, [1, 2 * height, 10, np.inf], rtol=1e-6)


def test_a_border_stays_where_it_is(dense):
    """Half of the object, open: its rim is that of before, vertex by vertex."""
    kept = dense.faces[(dense.vertices[dense.faces][..., 2] > 0).all(1)]
    vertices, faces = remesh(dense.vertices, kept, 1500)
    rims = [
        np.unique(points[open_edges(found)[:, 0]].astype(np.float32), axis=0)
        for points, found in ((dense.vertices, kept), (vertices, faces))
    ]
    assert np.array_equal(*rims) and len(faces) < 0.7 * len(kept)


def test_parts_that_touch_in_a_vertex_come_apart():
    """Two tetrahedra with a common tip."""
    tip, base = [[0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    faces = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])
    other = np.where(faces > 0, faces + 3, 0)[:, ::-1]
    points = np.array([*tip, *base, *(-np.array(base))], dtype=float)
    vertices, found = remesh(points, np.concatenate([faces, other]), 8)
    assert is_watertight(found) and face_components(found).max() == 1


def test_the_same_surface_gives_the_same_triangles(dense):
    one, other = (remesh(dense.vertices, dense.faces, 600) for _ in range(2))
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
