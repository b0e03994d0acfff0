"""NeuS: networks, published checkpoints, hierarchical samples, the renderer and its switches."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.cameras import Rays
from studio.errors import ConfigError, WeightsError
from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.hash_sdf import HashSDF
from studio.geometry.neus_checkpoint import load_renamed, rename
from studio.geometry.neus_mlp import NeuSMLP
from studio.geometry.neus_networks import ColourNetwork, WeightNormLinear, positional_embedding
from studio.ops.importance import inverse_cdf, merge, section_opacity, section_weights
from studio.plugins.options import build
from studio.renderers.background import BackgroundNeRF, outside_depths
from studio.renderers.neus import NeuSRenderer
from tests.unit.test_reconstruction import sphere_views

KEYS = Path(__file__).parents[1] / "parity" / "cases" / "recon"
RADIUS = 0.55
TINY: dict[str, Any] = {
    "hidden": 24, "layers": 3, "features": 8, "skips": [2], "octaves": 3,
    "colour_hidden": 16, "colour_layers": 1, "colour_octaves": 2,
}  # fmt: skip


class Sphere(Geometry):
    """A sphere coloured by its normal; ``slope`` is the length of its gradient."""

    def __init__(self, radius: float = RADIUS, slope: float = 1.0) -> None:
        super().__init__()
        self.radius, self.slope = nn.Parameter(torch.tensor(radius)), slope

    def forward(self, points: Tensor) -> GeometryOutput:
        normal = nn.functional.normalize(points, dim=-1)
        return GeometryOutput(self.sdf(points), normal * self.slope, points)

    def sdf(self, points: Tensor) -> Tensor:
        return (points.norm(dim=-1) - self.radius) * self.slope

    def colour(self, points: Tensor, normals: Tensor, view_dirs: Tensor, feature: Tensor) -> Tensor:
        return nn.functional.normalize(normals, dim=-1) * 0.5 + 0.5


def parallel_rays(height: list[float], distance: float = 3.0) -> Rays:
    """Orthographic rays along -x at heights y."""
    y = torch.tensor(height)
    origins = torch.stack([torch.full_like(y, distance), y, torch.zeros_like(y)], 1)
    return Rays(origins, torch.tensor([[-1.0, 0.0, 0.0]]).repeat(len(y), 1))


def perspective_rays(height: list[float], distance: float = 3.0) -> Rays:
    """Rays from one point towards (0, y, 0)."""
    origin = torch.tensor([[distance, 0.0, 0.0]])
    targets = torch.tensor([[0.0, y, 0.0] for y in height])
    directions = nn.functional.normalize(targets - origin, dim=1)
    return Rays(origin.repeat(len(targets), 1), directions)


def renderer_with(**options: Any) -> NeuSRenderer:
    given = {"samples": 32, "importance": 32, "variance": 0.6, **options}
    return NeuSRenderer(NeuSRenderer.Config(**given)).eval()


# --- networks -------------------------------------------------------------------------------------


def test_embedding_goes_octave_by_octave() -> None:
    x = torch.tensor([[0.3, -1.0]])
    want = [x, x.sin(), x.cos(), (2 * x).sin(), (2 * x).cos()]
    torch.testing.assert_close(positional_embedding(x, 2), torch.cat(want, 1))
    assert positional_embedding(x, 0) is x


def test_weight_norm_splits_length_and_direction() -> None:
    torch.manual_seed(0)
    ours, plain = WeightNormLinear(5, 7), nn.Linear(5, 7)
    ours.set_weight(plain.weight)
    ours.bias = plain.bias
    x = torch.randn(4, 5)
    torch.testing.assert_close(ours(x), plain(x))
    with torch.no_grad():
        ours.weight_v.mul_(3)  # the direction alone counts
    torch.testing.assert_close(ours(x), plain(x))
    names = {name: tuple(value.shape) for name, value in ours.state_dict().items()}
    assert names == {"bias": (7,), "weight_g": (7, 1), "weight_v": (7, 5)}


def test_full_size_network_starts_roughly_as_a_sphere() -> None:
    # means over five seeds of the official initialisation; seeds scatter by 0.16 at the rim
    official = {0.0: -0.208, 0.25: -0.136, 0.5: 0.045, 0.75: 0.264, 1.0: 0.494}
    torch.manual_seed(0)
    directions = nn.functional.normalize(torch.randn(50, 3), dim=1)
    points = torch.cat([directions * radius for radius in official])
    fields = torch.stack([NeuSMLP(NeuSMLP.Config()).sdf_in_chunks(points) for _ in range(5)])
    for mean, (radius, want) in zip(fields.mean(0).split(50), official.items(), strict=True):
        assert mean.mean().item() == pytest.approx(want, abs=0.03 + 0.12 * radius)
    room = NeuSMLP(NeuSMLP.Config(inside_out=True)).sdf_in_chunks(points)
    assert room[:50].mean() > 0.1 and room[-50:].mean() < -0.2


def test_one_evaluation_gives_the_numbers_of_two() -> None:
    torch.manual_seed(0)
    geometry = NeuSMLP(NeuSMLP.Config(**TINY))
    points = torch.rand(50, 3) * 2 - 1
    output = geometry(points)
    x = points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(geometry.sdf(x).sum(), x, create_graph=True)
    assert torch.equal(output.gradient, gradient)
    assert torch.equal(output.sdf, geometry.sdf(points))
    parameters = list(geometry.sdf_network.parameters())
    losses = [((g.norm(dim=1) - 1) ** 2).mean() for g in (output.gradient, gradient)]
    ours, theirs = (torch.autograd.grad(e, parameters, allow_unused=True) for e in losses)
    for one, two in zip(ours, theirs, strict=True):
        assert (one is None and two is None) or torch.equal(one, two)


def test_gradient_is_the_derivative_and_scale_keeps_distances() -> None:
    torch.manual_seed(0)
    plain = NeuSMLP(NeuSMLP.Config(**TINY)).double()
    scaled = NeuSMLP(NeuSMLP.Config(**TINY, scale=0.5)).double()
    scaled.load_state_dict(plain.state_dict())
    points = torch.rand(20, 3).double() - 0.5
    step = torch.tensor([1e-5, 0, 0]).double()
    slope = (plain.sdf(points + step) - plain.sdf(points - step)) / 2e-5
    torch.testing.assert_close(plain(points).gradient[:, 0], slope, rtol=1e-6, atol=1e-8)
    far, near = scaled(points * 2), plain(points)
    torch.testing.assert_close(far.sdf, near.sdf * 2)
    torch.testing.assert_close(far.gradient, near.gradient)
    torch.testing.assert_close(far.feature, near.feature)


def test_evaluation_without_gradient_is_chunked_and_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    geometry = NeuSMLP(NeuSMLP.Config(**TINY))
    points = torch.rand(50, 3)
    whole = geometry(points)
    monkeypatch.setattr("studio.geometry.neus_mlp.CHUNK", 7)
    with torch.no_grad():
        parts = geometry(points)
    assert not parts.gradient.requires_grad and not parts.sdf.requires_grad
    for name in ("sdf", "gradient", "feature"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


def test_colour_modes_see_what_they_say() -> None:
    torch.manual_seed(0)
    x, g, d, f = torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 3), torch.randn(6, 4)
    d = nn.functional.normalize(d, dim=1)
    for mode, blind_to in {"idr": "", "no_view_dir": "d", "no_normal": "g"}.items():
        net = ColourNetwork(8, 1, 4, octaves=2, mode=mode)  # type: ignore[arg-type]
        base = net(x, g, d, f)
        assert torch.equal(base, net(x, g, -d, f)) == (blind_to == "d")
        assert torch.equal(base, net(x, 2 * g, d, f)) == (blind_to == "g")
        assert not torch.equal(base, net(x, g, d, -f))
    idr, mirrored = (ColourNetwork(8, 1, 4, octaves=2, mode=m) for m in ("idr", "reflected"))
    mirrored.load_state_dict(idr.state_dict())
    n = nn.functional.normalize(g, dim=1)
    torch.testing.assert_close(mirrored(x, g, -n, f), idr(x, n, n, f))  # frontal: the normal
    back = d - 2 * (d * n).sum(1, keepdim=True) * n
    torch.testing.assert_close(mirrored(x, 5 * g, d, f), idr(x, n, back, f))


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="colour_mode is 'rgb'"):
        build("geometry", "neus-mlp", {"colour_mode": "rgb"}, key="geometry")
    with pytest.raises(ConfigError, match="skips"):
        build("geometry", "neus-mlp", {"skips": [9]})
    with pytest.raises(ConfigError, match="hidden is 39"):
        NeuSMLP(NeuSMLP.Config(hidden=39))
    for options, message in [
        ({"gate": "box"}, "renderer.gate is 'box'"),
        ({"importance": 30}, "importance is 30, in 4 rounds"),
        ({"outside": 4, "gate": "cube"}, "cube as gate"),
        ({"near": 2.0, "far": 1.0}, "near < far"),
        ({"scale": 0.0}, "renderer.scale is 0.0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            build("renderer", "neus", options, key="renderer")


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "geometry_options", "renderer_options"),
    [
        ("neus_checkpoint", {}, {"outside": 32}),
        ("neus_checkpoint", {}, {}),  # the background is always saved, used or not
        ("syncdreamer_neus_renderer", {"colour_mode": "reflected"}, {}),
        ("wonder3d_neus_checkpoint", {"colour_mode": "no_view_dir"}, {"outside": 32}),
    ],
)
def test_published_checkpoints_fit_key_by_key(
    name: str, geometry_options: dict[str, Any], renderer_options: dict[str, Any]
) -> None:
    with gzip.open(KEYS / f"{name}.keys.json.gz", "rt") as file:
        shapes = json.load(file)
    with torch.device("meta"):
        geometry = NeuSMLP(NeuSMLP.Config(**geometry_options))
        renderer = NeuSRenderer(NeuSRenderer.Config(**renderer_options))
        tensors = {key: torch.empty(shape) for key, shape in shapes.items()}
    load_renamed(rename(tensors, name), {**geometry.neus_parts(), **renderer.neus_parts()}, name)
    assert sum(p.numel() for p in geometry.sdf_network.parameters()) == 529_076
    if renderer.background is not None:
        assert sum(p.numel() for p in renderer.background.parameters()) == 606_596


def official_checkpoint(
    geometry: NeuSMLP, renderer: NeuSRenderer, names: dict[str, str]
) -> dict[str, dict[str, Tensor]]:
    """The state dicts of a published program that has the weights of ours."""
    parts = {**geometry.neus_parts(), **renderer.neus_parts()}
    return {names[part]: dict(module.state_dict()) for part, module in parts.items()}


NEUS = {
    "sdf": "sdf_network_fine",
    "colour": "color_network_fine",
    "sharpness": "variance_network_fine",
    "background": "nerf",
}
SYNCDREAMER = {"sdf": "sdf_network", "colour": "color_network", "sharpness": "deviation_network"}


def test_a_neus_file_gives_back_the_same_field_and_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"samples": 8, "importance": 8, "outside": 4, "outside_hidden": 16}
    geometry, renderer = NeuSMLP(NeuSMLP.Config(**TINY)), renderer_with(variance=0.4, **options)
    parts: dict[str, Any] = official_checkpoint(geometry, renderer, NEUS)
    optimizer = torch.optim.Adam(geometry.parameters()).state_dict()
    path = tmp_path / "ckpt_000010.pth"
    torch.save({**parts, "optimizer": optimizer, "iter_step": 10}, path)
    again = NeuSMLP(NeuSMLP.Config(**TINY, weights=str(path)))
    seen = renderer_with(weights=str(path), **options)
    assert seen.sharpness.variance.item() == pytest.approx(0.4)
    rays = perspective_rays([0.0, 0.3])
    with torch.no_grad():
        assert torch.equal(seen(rays, again).rgb, renderer(rays, geometry).rgb)
    without = renderer_with(weights=str(path), samples=8, importance=8)
    assert without.sharpness.variance.item() == pytest.approx(0.4)


def test_a_lightning_file_loads_and_newer_names_of_weight_norm_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    geometry = NeuSMLP(NeuSMLP.Config(**TINY, colour_mode="reflected"))
    parts = official_checkpoint(geometry, renderer_with(), SYNCDREAMER)
    flat = {f"renderer.{p}.{k}": v for p, part in parts.items() for k, v in part.items()}
    newer = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in flat.items()
    }
    for i, tensors in enumerate((flat, newer)):
        path = tmp_path / f"{i}.ckpt"
        torch.save({"state_dict": tensors, "global_step": 2000}, path)
        options = {**TINY, "colour_mode": "reflected", "weights": str(path)}
        again = NeuSMLP(NeuSMLP.Config(**options)).state_dict()
        assert all(torch.equal(again[k], v) for k, v in geometry.state_dict().items())


def test_checkpoints_that_do_not_fit_are_reported_key_by_key(tmp_path: Path) -> None:
    geometry = NeuSMLP(NeuSMLP.Config(**TINY))
    parts = official_checkpoint(geometry, renderer_with(), NEUS)
    path = tmp_path / "ckpt.pth"

    def load() -> None:
        NeuSMLP(NeuSMLP.Config(**TINY, weights=str(path)))

    del parts["sdf_network_fine"]["lin1.bias"]
    parts["color_network_fine"]["lin9.bias"] = torch.zeros(1)
    parts["color_network_fine"]["lin0.bias"] = torch.zeros(5)
    torch.save(parts, path)
    with pytest.raises(WeightsError, match="sdf.lin1.bias") as error:
        load()
    assert "unexpected: colour.lin9.bias" in str(error.value)
    assert "colour.lin0.bias [5] instead of [16]" in str(error.value)
    torch.save({"model.encoder.weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"NeuS family; it holds model\.encoder\.weight"):
        load()
    torch.save({"iter_step": 3}, path)
    with pytest.raises(WeightsError, match="no tensors"):
        load()
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="no mapping"):
        load()


# --- samples --------------------------------------------------------------------------------------


def test_inverse_cdf_follows_the_weights() -> None:
    edges = torch.linspace(0, 4, 5)[None]
    even = inverse_cdf(edges, torch.ones(1, 4), 8)
    torch.testing.assert_close(even, torch.arange(8)[None] * 0.5 + 0.25)
    third = inverse_cdf(edges, torch.tensor([[0.0, 0.0, 1.0, 0.0]]), 16)
    assert (third > 2).all() and (third < 3).all() and (third.diff() > 0).all()
    nothing = inverse_cdf(edges, torch.zeros(1, 4), 4)
    torch.testing.assert_close(nothing, torch.tensor([[0.5, 1.5, 2.5, 3.5]]))


def test_merge_keeps_values_at_their_depths() -> None:
    depths, more = torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 1.0]])
    joined, values = merge(depths, more, torch.tensor([[0.0, 20.0, 30.0, 10.0]]))
    assert joined.tolist() == [[0, 1, 2, 3]] and values.tolist() == [[0, 10, 20, 30]]


def test_weights_peak_where_the_ray_enters_and_vanish_outside_the_gate() -> None:
    depths = torch.linspace(0, 4, 41)[None]
    sdf = (depths - 2).abs() - 1  # a slab from 1 to 3
    everywhere = torch.ones_like(sdf, dtype=torch.bool)
    weights = section_weights(depths, sdf, everywhere, 64.0)
    middle = 0.5 * (depths[:, 1:] + depths[:, :-1])
    assert abs(middle[0, weights.argmax()] - 1) < 0.11
    assert weights[middle > 1.5].max() < 1e-3 and weights.sum() == pytest.approx(1, abs=1e-2)
    closed = section_weights(depths, sdf, depths > 2, 64.0)
    assert closed[0, :11].max() < 1e-3 < 0.9 < weights[0, 8:11].sum()


def test_samples_gather_at_the_surface() -> None:
    renderer, sphere = renderer_with(), Sphere()
    rays = perspective_rays([0.0, 0.2, 0.4])
    even, _ = renderer.depths(renderer.span(rays))
    depths = renderer.refine(rays, sphere, even)
    assert depths.shape == (3, 64) and (depths.diff(dim=1) >= 0).all()
    points = rays.origins[:, None] + rays.directions[:, None] * depths[..., None]
    near = (sphere.sdf(points).abs() < 0.05).sum(1)
    assert (near > 24).all()  # 32 even samples alone leave three or four there
    assert (sphere.sdf(points[:, :, :]).abs() < 0.005).sum() > 20


def test_opacity_is_the_formula_and_the_relaxed_slope_sees_backs() -> None:
    sdf, length = torch.tensor([0.01, -0.02]), torch.tensor([0.1, 0.1])
    slope = torch.tensor([-0.8, 0.5])
    s = torch.tensor(30.0)
    alpha, begin = section_opacity(sdf, slope, length, s)
    first, last = torch.sigmoid(s * (0.01 + 0.04)), torch.sigmoid(s * (0.01 - 0.04))
    torch.testing.assert_close(alpha[0], (first - last + 1e-5) / (first + 1e-5))
    torch.testing.assert_close(begin[0], first)
    assert alpha[1] < 1e-3  # leaving the surface
    relaxed, _ = section_opacity(sdf, slope, length, s, anneal=0.0)
    assert relaxed[1] > 0.1


# --- rendering ------------------------------------------------------------------------------------

SYNC = {
    "radius": 3**0.5 / 2, "gate": "cube", "gate_size": 0.6, "evaluate_outside": False,
    "last_section": "previous", "eikonal_radius": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, SYNC, {"slope": "unit", "epsilon": 0.0}])
@pytest.mark.parametrize("rays_through", [parallel_rays, perspective_rays])
def test_a_sphere_has_the_right_silhouette_depth_normal_and_colour(
    options: dict[str, Any], rays_through: Any
) -> None:
    renderer, sphere = renderer_with(**options), Sphere()
    rays = rays_through([0.0, 0.2, 0.4, 0.75, 0.95])
    output = renderer.render_in_chunks(rays, sphere, background=1.0, chunk=3)
    along = -(rays.origins * rays.directions).sum(1)
    closest = rays.origins + along[:, None] * rays.directions
    offset = (RADIUS**2 - closest.square().sum(1)).clamp(min=0).sqrt()
    hit = offset > 0
    assert hit.tolist() == [True, True, True, False, False]
    assert (output.mask[hit] > 0.98).all() and (output.mask[~hit] < 0.02).all()
    torch.testing.assert_close(output.depth[hit], (along - offset)[hit], atol=0.04, rtol=0)
    surface = rays.origins + (along - offset)[:, None] * rays.directions
    torch.testing.assert_close(output.normal[hit], surface[hit] / RADIUS, atol=0.05, rtol=0)
    colour = surface / RADIUS * 0.5 + 0.5
    torch.testing.assert_close(output.rgb[hit], colour[hit], atol=0.05, rtol=0)
    torch.testing.assert_close(output.rgb[~hit], torch.ones(2, 3), atol=0.02, rtol=0)


def test_scale_is_a_change_of_units() -> None:
    plain, scaled = renderer_with(), renderer_with(scale=0.5)
    rays = parallel_rays([0.0, 0.3, 0.6])
    large = Rays(rays.origins * 2, rays.directions)
    one, two = plain(rays, Sphere()), scaled(large, Sphere(2 * RADIUS))
    torch.testing.assert_close(two.mask, one.mask, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(two.depth, one.depth * 2, atol=1e-3, rtol=1e-3)
    assert torch.equal(one.eikonal_weights, two.eikonal_weights)


def test_rays_may_be_sampled_between_fixed_depths() -> None:
    renderer = renderer_with(near=0.2, far=2.4, scale=0.5)
    even, _ = renderer.depths(renderer.span(parallel_rays([0.0, 0.9])))
    torch.testing.assert_close(even[:, [0, -1]], torch.tensor([[0.4, 4.8]]).repeat(2, 1))
    around = renderer_with(radius=1.5).span(parallel_rays([0.0, 0.9], distance=-1.0))
    assert around[0].flatten().tolist() == [-2.5] * 2 and around[1].flatten().tolist() == [0.5] * 2


def test_raw_and_unit_slopes_differ_where_the_gradient_is_long() -> None:
    rays, steep = parallel_rays([0.3]), Sphere(slope=3.0)
    raw, unit = (renderer_with(slope=s, variance=0.4)(rays, steep) for s in ("raw", "unit"))
    assert (raw.weights - unit.weights).abs().max() > 0.01
    even = [renderer_with(slope=s)(rays, Sphere()).weights for s in ("raw", "unit")]
    torch.testing.assert_close(*even)


def test_training_noise_is_a_function_of_seed_and_step() -> None:
    renderer = renderer_with(outside=6, outside_hidden=8)
    span = renderer.span(parallel_rays([0.0, 0.1, 0.2]))
    still = renderer.depths(span, 1)
    assert all(torch.equal(a, b) for a, b in zip(still, renderer.depths(span, 2), strict=True))
    renderer.train()
    first = renderer.depths(span, 7)
    assert all(torch.equal(a, b) for a, b in zip(first, renderer.depths(span, 7), strict=True))
    for a, b in zip(first, renderer.depths(span, 8), strict=True):
        assert not torch.equal(a, b)
    shift = first[0] - still[0]
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-5, rtol=0)
    assert shift.abs().max() <= 1 / 32 + 1e-6 and (first[1].diff(dim=1) > 0).all()
    renderer.seed = 1
    assert not torch.equal(renderer.depths(span, 7)[0], first[0])


def test_anneal_runs_over_its_steps_in_training_only() -> None:
    renderer = renderer_with(anneal_steps=200)
    assert renderer.anneal(50) == 1.0
    renderer.train()
    assert [renderer.anneal(step) for step in (0, 50, 300)] == [0.0, 0.25, 1.0]
    assert renderer_with().train().anneal(0) == 1.0


def test_hull_and_gate_limit_what_is_evaluated() -> None:
    renderer, sphere = renderer_with(), Sphere()
    assert renderer.hull is None
    half = torch.zeros(32, 32, 32, dtype=torch.bool)
    half[:, 16:] = True  # y > 0
    renderer.restrict(half)
    output = renderer(parallel_rays([0.3, -0.3]), sphere)
    assert output.mask[0] > 0.98 and output.mask[1] == 0
    assert (output.points[:, 1] > 0).all() and renderer.hull is not None
    renderer.restrict(torch.ones(128, 128, 128, dtype=torch.bool))
    assert renderer.hull is None
    cube = renderer_with(**SYNC)
    assert cube.hull is not None and 0.5 < cube.hull.float().mean() ** (1 / 3) < 0.65
    assert (cube(parallel_rays([0.3]), sphere).points.abs() <= 0.6 + 1e-6).all()


@pytest.mark.parametrize(
    "geometry", [Sphere(), HashSDF(HashSDF.Config(levels=2)), NeuSMLP(NeuSMLP.Config(**TINY))]
)
def test_rays_without_samples_see_the_background(geometry: Geometry) -> None:
    renderer = renderer_with(evaluate_outside=False)
    renderer.restrict(torch.zeros(8, 8, 8, dtype=torch.bool))
    for training in (True, False):
        renderer.train(training)
        output = renderer(parallel_rays([0.0, 0.2]), geometry, torch.full((2, 3), 0.3))
        assert output.samples == 0 and output.mask.tolist() == [0, 0]
        torch.testing.assert_close(output.rgb, torch.full((2, 3), 0.3))
    assert renderer(Rays(torch.zeros(0, 3), torch.zeros(0, 3)), geometry).rgb.shape == (0, 3)


def test_eikonal_weights_mark_the_neighbourhood_of_the_sphere() -> None:
    rays, sphere = parallel_rays([0.0, 0.9]), Sphere()
    output = renderer_with(eikonal_radius=0.7)(rays, sphere)
    assert output.eikonal_weights is not None
    assert torch.equal(output.eikonal_weights, (output.points.norm(dim=1) < 0.7).float())
    assert renderer_with(eikonal_radius=0.0)(rays, sphere).eikonal_weights is None


def test_samples_are_packed_ray_by_ray() -> None:
    rays = parallel_rays([0.0, 0.3])
    output = renderer_with(**SYNC)(rays, Sphere())
    assert output.ray_index is not None and output.t is not None and output.sections is not None
    assert (output.ray_index.diff() >= 0).all() and len(output.t) == output.samples
    points = rays.origins[output.ray_index] + output.t[:, None] * rays.directions[output.ray_index]
    torch.testing.assert_close(points, output.points)
    sums = torch.zeros(2).index_add(0, output.ray_index, output.weights)
    torch.testing.assert_close(sums.clamp(max=1), output.mask)


# --- background -----------------------------------------------------------------------------------


def test_outside_depths_are_even_in_their_inverse() -> None:
    depths = outside_depths(torch.tensor([[4.0]]), 8, 0.0)
    assert depths[0, 0] == pytest.approx(4.5, rel=1e-3) and depths[0, -1] == pytest.approx(4000)
    inverse = (4 / depths).diff()
    torch.testing.assert_close(inverse, inverse[:, :1].expand_as(inverse), atol=1e-4, rtol=1e-3)


def test_background_fills_what_the_object_leaves() -> None:
    torch.manual_seed(0)
    renderer, sphere = renderer_with(outside=16, outside_hidden=16), Sphere()
    assert renderer.background is not None
    with torch.no_grad():
        renderer.background.alpha_linear.bias.fill_(20)  # a wall
        renderer.background.rgb_linear.bias.copy_(torch.tensor([9.0, -9.0, -9.0]))
    rays = parallel_rays([0.0, 0.8])
    output = renderer(rays, sphere, torch.ones(2, 3))
    # at height 0.8 sampling begins before the unit sphere: there the wall hides everything
    assert output.mask[0] > 0.98 and output.mask[1] < 0.02
    want = torch.tensor([[1.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(output.rgb, want, atol=0.03, rtol=0)
    depths, outside = renderer.depths(renderer.span(rays))
    seen = renderer.sections(rays, sphere, depths, outside)
    assert seen.weights.shape == (2, 32 + 16)
    torch.testing.assert_close(seen.weights.sum(1), torch.ones(2), atol=1e-3, rtol=0)


def test_background_sees_points_inverted() -> None:
    torch.manual_seed(0)
    net = BackgroundNeRF(16, 4, skips=(2,), octaves=2, view_octaves=1)
    assert net.pts_linears[3].in_features == 16 + 20
    rays = Rays(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    alpha, rgb = net.render(rays, torch.tensor([[1.0, 3.0]]), 2.0)
    points = torch.tensor([[1.0, 0, 0, 1 / 4], [1.0, 0, 0, 1 / 6]])
    density, colour = net(points, rays.directions.repeat(2, 1))
    torch.testing.assert_close(alpha[0], 1 - (-2 * nn.functional.softplus(density)).exp())
    torch.testing.assert_close(rgb[0], colour.sigmoid())


# --- fitting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geometry", "renderer", "options"),
    [
        ("neus-mlp", "neus", {"samples": 8, "importance": 8}),
        ("neus-mlp", "neus-occupancy", {"grid_resolution": 32}),
        ("hash-sdf", "neus", {"samples": 8, "importance": 8, "colour_normal": "unit"}),
        ("neus-mlp", "neus", {**SYNC, "scale": 0.52, "samples": 8, "importance": 8}),
    ],
)
def test_geometries_and_renderers_fit_a_sphere_together(
    geometry: str, renderer: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    table = {"levels": 4, "max_resolution": 64, "log2_rows": 12, "hidden": 16}
    cfg = {
        "geometry_type": geometry,
        "geometry": TINY if geometry == "neus-mlp" else table,
        "renderer_type": renderer,
        "renderer": options,
        "hull": {"resolution": 32, "fit_steps": 20},
        "samples_per_step": 1024,
        "min_rays": 64,
        "max_rays": 64,
        "lr": 5e-3,
    }
    model = build("model", "sdf", cfg)
    model.begin(sphere_views())
    directions = nn.functional.normalize(torch.randn(300, 3), dim=1)
    before = model.sdf(directions * 0.3).abs().mean().item()
    model.start(40)
    for _ in range(40):
        model.step()
    after = model.sdf(directions * 0.3).abs().mean().item()
    assert after < min(before, 0.05)
    if renderer == "neus":
        learned = model.renderer.sharpness.variance
        assert learned.item() != pytest.approx(0.3, abs=1e-6)
        twin = build("model", "sdf", cfg)
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin.renderer.gate.cells, model.renderer.gate.cells)
    colours = model.colour(directions * 0.3, directions)
    assert colours.shape == (300, 3) and 0 <= colours.min() and colours.max() <= 1


def test_parameter_groups_scale_learning_rates() -> None:
    geometry = NeuSMLP(NeuSMLP.Config(**TINY, colour_lr_scale=2.0))
    assert [g["lr_scale"] for g in geometry.parameter_groups()] == [1.0, 2.0]
    renderer = renderer_with(outside=4, outside_hidden=8, variance_lr_scale=0.1)
    groups = renderer.parameter_groups()
    assert [g["lr_scale"] for g in groups] == [0.1, 1.0]
    held = {id(p) for m in (geometry, renderer) for p in m.parameters()}
    given = [p for m in (geometry, renderer) for g in m.parameter_groups() for p in g["params"]]
    assert {id(p) for p in given} == held and len(given) == len(held)
