"""Metrics against closed forms, scikit-image, torch's modules and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from studio.errors import WeightsError
from studio.mesh import Mesh
from studio.metrics.image import mask_iou, psnr, ssim
from studio.metrics.lpips import BACKBONES, LPIPS, SCALE, SHIFT, expected_shapes
from studio.metrics.mesh import (
    chamfer,
    f_score,
    inside_mesh,
    mesh_metrics,
    normal_consistency,
    normalised,
    point_distances,
    spread_points,
    surface_distances,
    volume_iou,
)
from studio.metrics.surface import Surface
from studio.metrics.visible import thinned, visible_points
from studio.metrics.voxels import grid_iou, occupancy_grid


def as_mesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int64))


def ball(radius: float, subdivisions: int = 4) -> Mesh:
    return as_mesh(trimesh.creation.icosphere(subdivisions, radius=radius))


def cube(side: float, shift: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    shape = trimesh.creation.box((side, side, side))
    shape.apply_translation(shift)
    return as_mesh(shape)


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
    faces = [m.faces + start for m, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


@pytest.fixture
def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 33, 47, generator=random)
    return a, (a + 0.1 * torch.randn(a.shape, generator=random)).clamp(0, 1)


def test_psnr_of_a_known_error():
    a = torch.full((3, 8, 8), 0.5)
    assert psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert math.isinf(psnr(a, a))
    half = torch.zeros(8, 8)
    half[:4] = 1
    b = a.clone()
    b[:, 4:] = 1.0
    b[:, :4] = 0.6
    assert psnr(a, b, half) == pytest.approx(20.0, abs=1e-4)


def test_psnr_and_ssim_agree_with_skimage(noisy):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    a, b = (x[0].permute(1, 2, 0).numpy().astype(np.float64) for x in noisy)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wanted = structural_similarity(a, b, data_range=1.0, channel_axis=2, **options)
    assert ssim(noisy[0][0], noisy[1][0]) == pytest.approx(wanted, abs=1e-6)
    wanted = peak_signal_noise_ratio(a, b, data_range=1.0)
    assert psnr(noisy[0][0], noisy[1][0]) == pytest.approx(wanted, abs=1e-6)


def test_ssim_with_a_box_window_is_that_of_skimage(noisy):
    from skimage.metrics import structural_similarity

    a, b = (x[0].permute(1, 2, 0).numpy().astype(np.float64) for x in noisy)
    wanted = structural_similarity(a, b, data_range=0.7, channel_axis=2)
    got = ssim(noisy[0][0], noisy[1][0], window="box", data_range=0.7)
    assert got == pytest.approx(wanted, abs=1e-6)


def test_ssim_of_a_stack_is_the_mean(noisy):
    one, two = (ssim(noisy[0][i], noisy[1][i]) for i in range(2))
    assert ssim(*noisy) == pytest.approx((one + two) / 2, abs=1e-6)
    assert ssim(noisy[0], noisy[0]) == pytest.approx(1.0)


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match="at least 11"):
        ssim(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))


def test_mask_iou():
    a, b = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    assert mask_iou(a, b) == 1.0
    a[0, :2], b[0, 1:3] = 1, 1
    assert mask_iou(a, b) == pytest.approx(4 / 12)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_lpips_against_modules(backbone, noisy):
    """The same network put together from torch's own modules, numbered as torchvision does."""
    random = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=random) / math.prod(shape[1:]) ** 0.5
        for name, shape in expected_shapes(backbone).items()
    }
    modules, taps = [], []
    for stage in BACKBONES[backbone]:
        if stage.pool:
            modules.append(torch.nn.MaxPool2d(stage.pool, 2))
        for c in stage.convs:
            assert len(modules) == c.number  # as in torchvision's `features`
            conv = torch.nn.Conv2d(c.inputs, c.outputs, c.kernel, c.stride, c.padding)
            conv.weight.data, conv.bias.data = (
                tensors[f"{c.number}.{p}"] for p in ("weight", "bias")
            )
            modules += [conv, torch.nn.ReLU()]
        taps.append(len(modules) - 1)
    a, b = noisy
    x, y = ((p * 2 - 1 - torch.tensor(SHIFT)[:, None, None]) for p in (a, b))
    x, y = (p / torch.tensor(SCALE)[:, None, None] for p in (x, y))
    wanted = torch.zeros(len(a))
    with torch.no_grad():
        for i, module in enumerate(modules):
            x, y = module(x), module(y)
            if i in taps:
                unit = [v / v.norm(dim=1, keepdim=True).clamp_min(1e-10) for v in (x, y)]
                head = tensors[f"head{taps.index(i)}"]
                wanted += (
                    ((unit[0] - unit[1]) ** 2 * head[:, :, 0, 0, None, None]).sum(1).mean((1, 2))
                )
    metric = LPIPS(backbone, tensors)
    assert metric(a, b) == pytest.approx(wanted.tolist(), rel=1e-4)
    assert metric(a, a) == [0.0, 0.0]
    with pytest.raises(ValueError, match="32 pixels"):
        metric(a[..., :20], b[..., :20])


def test_lpips_reads_published_files(tmp_path, noisy):
    shapes = expected_shapes("alex")
    features = {f"features.{n}": torch.full(s, 0.01) for n, s in shapes.items() if "head" not in n}
    heads = {f"lin{i}.model.1.weight": torch.ones(shapes[f"head{i}"]) for i in range(5)}
    torch.save(features | {"classifier.1.weight": torch.ones(2, 2)}, tmp_path / "alexnet.pth")
    torch.save(heads, tmp_path / "alex.pth")
    assert set(LPIPS.load("alex", tmp_path).tensors) == set(shapes)
    assert LPIPS.load("alex", tmp_path).tensors["head3"].unique().item() == 1
    bundled = LPIPS.load("alex", tmp_path / "alexnet.pth")  # heads from torchmetrics
    assert len(bundled.tensors["head3"].unique()) > 100
    with pytest.raises(WeightsError, match=r"0.weight is missing[\s\S]*alexnet-owt"):
        LPIPS.load("alex", tmp_path / "alex.pth")
    with pytest.raises(WeightsError, match="no file vgg"):
        LPIPS.load("vgg", tmp_path)


def test_equal_surfaces_have_no_distance():
    """However they are triangulated, and whatever the number of samples."""
    coarse = trimesh.creation.box((1, 1, 1))
    fine = coarse.subdivide().subdivide()
    distances = surface_distances(as_mesh(coarse), as_mesh(fine), samples=2000)
    assert distances.chamfer < 1e-7
    assert distances.normal_consistency > 0.999
    assert distances.f_score(1e-6) == 1.0


def test_concentric_balls():
    big, small = ball(0.5, 5), ball(0.45, 5)
    assert chamfer(big, small, 5000) == pytest.approx(0.05, abs=2e-4)
    assert chamfer(big, small, 5000, squared=True) == pytest.approx(0.0025, rel=0.01)
    assert f_score(big, small, 0.049, 5000) < 0.05 and f_score(big, small, 0.051, 5000) > 0.95
    assert normal_consistency(big, small, 5000) > 0.99
    assert normal_consistency(big.flipped(), small, 5000) > 0.99


def test_directions_are_kept_apart():
    """A part that is missing harms completeness, not accuracy."""
    whole = joined(cube(0.2), cube(0.2, (1.0, 0, 0)))
    distances = surface_distances(cube(0.2), whole, samples=4000)
    assert distances.a_to_b.max() < 1e-7
    assert distances.b_to_a.mean() == pytest.approx(0.5 * 0.9, rel=0.05)
    assert distances.f_score(0.01) == pytest.approx(2 / 3, abs=0.02)
    figures = mesh_metrics(cube(0.2), whole, samples=4000, iou_points=20000)
    assert figures["accuracy"] < 1e-7 < figures["completeness"]
    assert figures["volume_iou"] == pytest.approx(0.5, abs=0.03)


def test_nearest_is_exact_against_brute_force():
    random = np.random.default_rng(0)
    corners = random.normal(size=(300, 3, 3)) * np.array([1.0, 0.3, 0.1])
    corners[:20, 2] = corners[:20, 1]  # degenerate ones count as segments
    mesh = Mesh(corners.reshape(-1, 3).astype(np.float32), np.arange(900).reshape(-1, 3))
    points = random.normal(size=(200, 3))
    distance, face = Surface(mesh).nearest(points)
    triangles = mesh.vertices.astype(np.float64)[mesh.faces]
    wanted = []
    for p in points:
        near = trimesh.triangles.closest_point(triangles, np.tile(p, (300, 1)))
        wanted.append(np.linalg.norm(near - p, axis=1).min())
    assert np.allclose(distance, wanted, atol=1e-9)
    near = trimesh.triangles.closest_point(triangles[face], points)
    assert np.allclose(np.linalg.norm(near - points, axis=1), distance, atol=1e-9)


def test_samples_are_spread_by_area():
    points, faces = Surface(joined(cube(1.0), cube(2.0, (5, 0, 0)))).sample(10000)
    assert (points[:, 0] > 3).mean() == pytest.approx(24 / 30, abs=0.005)
    assert ((faces >= 12) == (points[:, 0] > 3)).all()


def test_volume_iou_of_cubes_and_balls():
    assert volume_iou(cube(1.0), cube(1.0, (0.5, 0, 0))) == pytest.approx(1 / 3, abs=0.005)
    assert volume_iou(ball(0.5, 5), ball(0.4, 5)) == pytest.approx(0.8**3, abs=0.005)
    assert volume_iou(cube(1.0), cube(1.0, (3, 0, 0))) == 0.0


def test_occupancy_grid_of_a_box():
    """Samples on the surface (distance 0) are outside; turned faces do not matter."""
    box = cube(1.0)
    grid = occupancy_grid(box, 16)  # samples at multiples of 1/8: -1/2 and 1/2 are among them
    axis = -1 + 2 * np.arange(16) / 16
    inside = np.abs(axis) < 0.5
    assert (grid == inside[:, None, None] & inside[:, None] & inside).all()
    assert (occupancy_grid(box.flipped(), 16) == grid).all()
    moved = occupancy_grid(cube(1.0, (0.26, 0, 0)), 16)
    assert moved.sum(axis=(1, 2)).nonzero()[0].tolist() == list(range(7, 15))
    assert grid_iou(grid, moved) == pytest.approx(5 / 10)
    assert grid_iou(np.zeros_like(grid), np.zeros_like(grid)) == 0.0


def test_occupancy_grid_agrees_with_windings():
    mesh = joined(ball(0.3), cube(0.2, (0.55, 0.11, -0.3)))
    axis = -1 + 2 * np.arange(32) / 32
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    assert (occupancy_grid(mesh, 32).reshape(-1) == inside_mesh(mesh, points)).all()


def test_open_edges():
    box = cube(1.0)
    assert Surface(box).open_edges == 0
    assert Surface(replace(box, faces=box.faces[1:])).open_edges == 3
    split = Mesh(box.vertices[box.faces].reshape(-1, 3), np.arange(36).reshape(-1, 3))
    assert Surface(split).open_edges == 0  # corners of one place are one vertex


def test_point_distances():
    a, b = np.zeros((2, 3)), np.array([[3.0, 4, 0], [0, 0, 1], [0, 0, 2]])
    distances = point_distances(a, b)
    assert distances.a_to_b.tolist() == [1, 1] and distances.b_to_a.tolist() == [5, 1, 2]
    assert distances.chamfer == pytest.approx((1 + 8 / 3) / 2)
    assert distances.chamfer_squared == pytest.approx((1 + 10) / 2)
    assert (distances.precision(1.5), distances.recall(1.5)) == (1.0, pytest.approx(1 / 3))
    assert distances.f_score(1.5) == pytest.approx(0.5)
    assert distances.f_score(0.5) == 0.0


def test_visible_points_lie_on_what_is_seen():
    shells = joined(ball(0.45, 5), ball(0.2))  # the inner one is hidden
    points = visible_points(shells)
    assert np.abs(np.linalg.norm(points, axis=1) - 0.45).max() < 2e-3
    assert points[:, 2].max() > 0.44 and points[:, 2].min() < -0.2
    assert points[:, 2].min() > -0.445  # nothing looks at it from below
    assert 4 * math.pi * 0.45**2 / 0.01**2 * 0.5 < len(points) < 3 * 4 * math.pi * 45**2
    with pytest.raises(ValueError, match="sees nothing"):
        visible_points(cube(0.1, (30, 0, 0)))


def test_thinning_keeps_the_mean_of_a_voxel():
    points = np.array([[0, 0, 0], [0.2, 0, 0], [0.4, 0.2, 0], [2.0, 0, 0]])
    assert np.allclose(thinned(points, 1.0), [[0.2, 0.2 / 3, 0], [2, 0, 0]])


def test_volume_iou_takes_functions():
    def inside(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points, axis=1) < 0.4

    assert volume_iou(ball(0.5, 5), inside) == pytest.approx(0.8**3, abs=0.005)
    assert volume_iou(inside, inside, 1000, box=np.array([[-1] * 3, [1] * 3])) == 1.0
    with pytest.raises(ValueError, match="needs a box"):
        volume_iou(inside, inside)


def test_overlapping_parts_are_one_body_and_cavities_are_empty():
    points = spread_points(20000) * 2 - 1
    union = joined(cube(1.0), cube(1.0, (0.4, 0, 0)))  # shares whole planes
    wanted = (np.abs(points) < 0.5)[:, 1:].all(1) & (points[:, 0] > -0.5) & (points[:, 0] < 0.9)
    assert (inside_mesh(union, points) == wanted).mean() > 0.9999
    hollow = joined(ball(0.8), ball(0.4).flipped())
    radius = np.linalg.norm(points, axis=1)
    clear = (np.abs(radius - 0.8) > 0.01) & (np.abs(radius - 0.4) > 0.01)
    wanted = (radius < 0.8) & (radius > 0.4)
    assert (inside_mesh(hollow, points) == wanted)[clear].all()


def test_a_mesh_inside_out_is_read_the_right_way_round():
    points = spread_points(5000) * 2 - 1
    assert (inside_mesh(ball(0.5).flipped(), points) == inside_mesh(ball(0.5), points)).all()


def test_a_mesh_without_area_is_refused():
    flat = Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="without area"):
        chamfer(flat, ball(1.0))


def test_normalised_meshes_are_centred_with_longest_side_one():
    moved = replace(ball(0.3), vertices=ball(0.3).vertices * np.float32([1, 2, 3]) + 5)
    vertices = normalised(moved).vertices
    assert np.ptp(vertices, axis=0).max() == pytest.approx(1.0, abs=1e-6)
    assert np.allclose(vertices.min(0) + vertices.max(0), 0, atol=1e-5)
