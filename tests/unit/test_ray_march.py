"""Ray marching: packed samples of the native kernel against the dense twin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.ops.ray_march import EMPTY, INSIDE, NEAR, march, march_reference


def shell_grid(resolution: int = 16) -> Tensor:
    """NEAR around the sphere of radius 0.6, INSIDE below 0.35, EMPTY beyond."""
    axis = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1)
    state = torch.where((radius - 0.6).abs() < 0.25, NEAR, EMPTY)
    return torch.where(radius < 0.35, INSIDE, state).to(torch.uint8)


def random_rays(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 3
    targets = torch.rand(count, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    return origins, directions, torch.rand(count, generator=generator)


@pytest.mark.parametrize("count", (0, 1, 3, 257))
@pytest.mark.parametrize("step", (0.011, 0.13))
def test_native_samples_equal_the_dense_twin(count: int, step: float) -> None:
    rays = [value.double() for value in random_rays(count)]
    native = march(*rays, shell_grid(), step, backend="cpu")
    twin = march_reference(*rays, shell_grid(), step)
    torch.testing.assert_close(native.offsets, twin.offsets)
    torch.testing.assert_close(native.ray_index, twin.ray_index)
    torch.testing.assert_close(native.t, twin.t)
    torch.testing.assert_close(native.points, twin.points)
    torch.testing.assert_close(native.directions, twin.directions)


def test_two_threads_give_the_same_samples() -> None:
    rays = random_rays(300)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = march(*rays, shell_grid(), 0.02)
        torch.set_num_threads(2)
        two = march(*rays, shell_grid(), 0.02)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.t, two.t) and torch.equal(one.offsets, two.offsets)


def test_single_precision_counts_agree() -> None:
    rays = random_rays(500)
    native, twin = march(*rays, shell_grid(), 0.01), march_reference(*rays, shell_grid(), 0.01)
    assert abs(len(native) - len(twin)) <= 1e-3 * len(twin)


def test_samples_lie_in_near_cells_in_front_of_inside_cells() -> None:
    samples = march(*random_rays(200), shell_grid(), 0.01)
    radius = samples.points.norm(dim=0)
    assert len(samples) > 1000
    assert radius.max() < 0.6 + 0.25 + 3**0.5 / 16
    assert radius.min() > 0.35 - 3**0.5 / 16
    centre = march(torch.tensor([[3.0, 0.01, 0.01]]), torch.tensor([[-1.0, 0, 0]]), torch.zeros(1),
                   shell_grid(), 0.01)  # fmt: skip
    assert centre.points[0].min() > 0  # stopped by the inside, never reaches the far side


def test_rays_that_miss_and_empty_grids_give_nothing() -> None:
    origins, directions = torch.tensor([[3.0, 3.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert len(march(origins, directions, torch.zeros(1), shell_grid(), 0.01)) == 0
    empty = torch.zeros(8, 8, 8, dtype=torch.uint8)
    samples = march(*random_rays(5), empty, 0.01)
    assert len(samples) == 0 and samples.offsets.tolist() == [0] * 6


def test_axis_parallel_rays_and_origins_inside() -> None:
    full = torch.full((4, 4, 4), NEAR, dtype=torch.uint8)
    origins = torch.tensor([[-2.0, 0.1, 0.1], [0.0, 0.0, 0.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    samples = march(origins, directions, torch.full((2,), 0.5), full, 0.1)
    twin = march_reference(origins, directions, torch.full((2,), 0.5), full, 0.1)
    torch.testing.assert_close(samples.points, twin.points)
    assert samples.offsets.diff().tolist() == [20, 10]


def test_limit_keeps_the_first_samples_of_each_ray() -> None:
    rays = random_rays(100)
    every, first = march(*rays, shell_grid(), 0.05), march(*rays, shell_grid(), 0.05, limit=1)
    assert first.offsets.diff().tolist() == every.offsets.diff().clamp(max=1).tolist()
    hit = every.offsets.diff() > 0
    assert torch.equal(first.t, every.t[every.offsets[:-1][hit]])
    torch.testing.assert_close(march_reference(*rays, shell_grid(), 0.05, 1).t, first.t)
