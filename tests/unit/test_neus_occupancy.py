"""The NeuS renderer on an occupancy grid: an analytic sphere, thin cases, native against torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.cameras import Rays
from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.hash_sdf import HashSDF
from studio.ops.ray_march import EMPTY, INSIDE, NEAR
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer

RADIUS = 0.55


class Sphere(Geometry):
    """An exact sphere, coloured by its normal."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(RADIUS))

    def forward(self, points: Tensor) -> GeometryOutput:
        distance = points.norm(dim=-1, keepdim=True)
        return GeometryOutput(self.sdf(points), points / distance, points)

    def sdf(self, points: Tensor) -> Tensor:
        return points.norm(dim=-1) - self.radius

    def colour(self, points: Tensor, normals: Tensor, view_dirs: Tensor, feature: Tensor) -> Tensor:
        return normals * 0.5 + 0.5


def rays_towards(targets: Tensor, distance: float = 3.0) -> Rays:
    """Parallel rays along -x through (y, z) targets."""
    origins = torch.cat([torch.full((len(targets), 1), distance), targets], 1)
    return Rays(origins, torch.tensor([[-1.0, 0.0, 0.0]]).repeat(len(targets), 1))


def ready_renderer(**options: float) -> tuple[NeuSOccupancyRenderer, Sphere]:
    renderer, sphere = NeuSOccupancyRenderer(NeuSOccupancyRenderer.Config(**options)), Sphere()
    renderer.advance(sphere, 1.0, 0)
    return renderer.eval(), sphere


def test_sphere_has_the_right_silhouette_depth_normal_and_colour() -> None:
    renderer, sphere = ready_renderer()
    height = torch.tensor([0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.95])
    rays = rays_towards(torch.stack([height, torch.zeros_like(height)], 1))
    output = renderer.render_in_chunks(rays, sphere, background=1.0, chunk=3)
    hit = height < RADIUS
    assert (output.mask[hit] > 0.99).all() and (output.mask[~hit] < 0.01).all()
    depth = 3 - (RADIUS**2 - height[hit] ** 2).sqrt()
    torch.testing.assert_close(output.depth[hit], depth, atol=5e-3, rtol=0)
    surface = torch.stack([3 - depth, height[hit], torch.zeros_like(depth)], 1) / RADIUS
    torch.testing.assert_close(output.normal[hit], surface, atol=2e-2, rtol=0)
    torch.testing.assert_close(output.rgb[hit], surface * 0.5 + 0.5, atol=2e-2, rtol=0)
    torch.testing.assert_close(output.rgb[~hit], torch.ones(3, 3), atol=1e-2, rtol=0)


def test_grid_states_surround_the_surface() -> None:
    renderer, sphere = ready_renderer()
    state, size = renderer.grid.state, renderer.grid.resolution
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    sdf = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1) - RADIUS
    reach = 0.9 * renderer.grid.cell + 4 / renderer.inv_s + renderer.section
    assert (state[sdf.abs() < reach - 1e-6] == NEAR).all()
    assert (state[sdf > reach + 1e-6] == EMPTY).all()
    assert (state[sdf < -(reach + 0.03)] == INSIDE).all()


def test_hull_limits_where_rays_are_sampled() -> None:
    renderer, sphere = ready_renderer()
    hull = torch.zeros(32, 32, 32, dtype=torch.bool)
    hull[:, 16:] = True  # y > 0
    renderer.restrict(hull)
    renderer.refresh(sphere)
    rays = rays_towards(torch.tensor([[0.3, 0.0], [-0.3, 0.0]]))
    assert renderer.meets(rays).tolist() == [True, False]
    output = renderer.render_in_chunks(rays, sphere)
    assert output.mask[0] > 0.99 and output.mask[1] == 0


def test_empty_grid_gives_background_and_no_crash() -> None:
    renderer, sphere = ready_renderer()
    renderer.restrict(torch.zeros(8, 8, 8, dtype=torch.bool))
    renderer.refresh(sphere)
    rays = rays_towards(torch.zeros(4, 2))
    for training in (True, False):
        renderer.train(training)
        output = renderer(rays, sphere, torch.full((4, 3), 0.3), step=5)
        assert output.samples == 0
        assert output.mask.tolist() == [0] * 4
        torch.testing.assert_close(output.rgb, torch.full((4, 3), 0.3))
    renderer.eval()
    none = Rays(torch.zeros(0, 3), torch.zeros(0, 3))
    assert renderer(none, sphere).rgb.shape == (0, 3)


def test_training_noise_is_a_function_of_seed_and_step() -> None:
    renderer, _ = ready_renderer()
    renderer.train()
    rays = rays_towards(torch.rand(50, 2) - 0.5)
    first, again = renderer.sample(rays, 7), renderer.sample(rays, 7)
    assert torch.equal(first.t, again.t)
    other = renderer.sample(rays, 8)
    assert len(other) != len(first) or not torch.equal(other.t, first.t)
    renderer.seed = 1
    seeded = renderer.sample(rays, 7)
    assert len(seeded) != len(first) or not torch.equal(seeded.t, first.t)


def test_schedules_run_between_their_ends() -> None:
    renderer, sphere = ready_renderer(sharpness_start=50.0, sharpness_end=800.0)
    renderer.advance(sphere, 0.0, 1)
    assert renderer.inv_s == pytest.approx(50) and renderer.section == renderer.cfg.step_max
    renderer.advance(sphere, 0.5, 1)
    assert renderer.inv_s == pytest.approx(200)
    renderer.advance(sphere, 2.0, 1)
    assert renderer.inv_s == pytest.approx(800) and renderer.section == renderer.cfg.step_min


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_native_rendering_and_gradients_equal_the_torch_twin(progress: float) -> None:
    results = []
    for backend in ("cpu", "torch"):
        torch.manual_seed(0)
        options = {"levels": 3, "base_resolution": 4, "max_resolution": 16, "log2_rows": 9}
        geometry = HashSDF(HashSDF.Config(hidden=16, features=5, backend=backend, **options))
        with torch.no_grad():
            geometry.table.normal_(0, 0.1)
            geometry.w2[0].normal_(0, 0.1)
        renderer = NeuSOccupancyRenderer(
            NeuSOccupancyRenderer.Config(grid_resolution=16, backend=backend)
        )
        geometry.double()
        renderer.double().advance(geometry, progress, 0)
        generator = torch.Generator().manual_seed(1)
        plain = rays_towards(torch.rand(40, 2, generator=generator) * 1.6 - 0.8)
        rays = Rays(plain.origins.double(), plain.directions.double())
        output = renderer.train()(rays, geometry, torch.ones(40, 3).double(), step=3)
        lengths = output.gradients.norm(dim=-1)
        loss = output.rgb.square().sum() + output.mask.sum() + (lengths - 1).square().sum()
        grads = torch.autograd.grad(loss, list(geometry.parameters()))
        results.append([output.rgb, output.mask, output.weights, *grads])
    assert results[0][2].numel() > 100
    for native, twin in zip(*results, strict=True):
        torch.testing.assert_close(native, twin, rtol=1e-4, atol=1e-6)  # 1 - 1e-6 in the twin


def test_hash_sdf_starts_as_its_sphere_and_sdf_agrees_with_forward() -> None:
    geometry = HashSDF(HashSDF.Config(levels=3, log2_rows=10, radius=0.4))
    points = torch.rand(100, 3) * 2 - 1
    output = geometry(points)
    torch.testing.assert_close(output.sdf, points.norm(dim=-1) - 0.4)
    torch.testing.assert_close(output.gradient, points / points.norm(dim=-1, keepdim=True))
    with torch.no_grad():
        geometry.table.normal_()
        geometry.w2[0].normal_()
    torch.testing.assert_close(geometry.sdf(points), geometry(points).sdf, rtol=1e-4, atol=1e-4)
    rgb = geometry.colour(points, output.gradient, output.gradient, output.feature)
    assert rgb.shape == (100, 3) and rgb.min() >= 0 and rgb.max() <= 1
