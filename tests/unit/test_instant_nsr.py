"""The instant-nsr geometry: shapes at the start, gradients, opening levels, weights, short fits."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.errors import ConfigError, WeightsError
from studio.geometry.density import DensityField, contract_sphere, trunc_exp
from studio.geometry.encodings import FrequencyEncoding, HashEncoding
from studio.geometry.finite_differences import central_differences
from studio.geometry.implicit_sdf import ImplicitSDF
from studio.geometry.instant_nsr import InstantNSR
from studio.geometry.instant_nsr_checkpoint import (
    geometry_names,
    load_fused_density,
    load_instant_nsr,
    renderer_names,
    split_flat,
)
from studio.geometry.mlp import FusedMLP, VanillaMLP
from studio.models.sdf.model import SDFModel
from studio.ops.hash_grid import HashGridLayout
from studio.ops.spherical_harmonics import spherical_harmonics
from studio.plugins.options import build
from studio.renderers.learned_background import BackgroundConfig
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer
from tests.unit.test_reconstruction import RADIUS, sphere_views

SMALL: dict[str, Any] = {"levels": 4, "base_resolution": 6, "growth": 1.5, "log2_rows": 10}


def small(**options: Any) -> InstantNSR:
    return InstantNSR(InstantNSR.Config(**{**SMALL, "hidden": 16, **options}))


def stirred(**options: Any) -> InstantNSR:
    """A geometry with random weights everywhere, in float64."""
    torch.manual_seed(0)
    geometry = small(**options)
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return geometry.double()


def points(count: int = 60) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, generator=generator).double() * 1.8 - 0.9


# --- the field ------------------------------------------------------------------------------------


def test_it_starts_as_about_its_sphere_with_closed_details() -> None:
    torch.manual_seed(0)
    geometry = InstantNSR(InstantNSR.Config(**SMALL, hidden=256, layers=2))
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=-1)
    assert (geometry.sdf(directions * 0.1) < 0).all()
    assert (geometry.sdf(directions * 0.95) > 0).all()
    field = geometry(directions * 0.5)
    assert field.sdf.abs().mean() < 0.2
    assert ((field.gradient * directions).sum(-1) > 0).all(), "normals point outwards"
    rgb = geometry.colour(directions, directions, directions, field.feature)
    assert rgb.shape == (200, 3) and rgb.min() > 0 and rgb.max() < 1


@pytest.mark.parametrize("encoding", ["hash", "nerfstudio-hash", "frequency"])
@pytest.mark.parametrize("radius", [1.0, 1.5])
def test_gradient_is_the_derivative_of_the_distance(encoding: str, radius: float) -> None:
    geometry, x = stirred(encoding=encoding, radius=radius, growth=1.2), points()
    field, step = geometry(x), 1e-6
    torch.testing.assert_close(geometry.sdf(x), field.sdf)
    for axis, unit in enumerate(torch.eye(3).double()):
        slope = (geometry.sdf(x + step * unit) - geometry.sdf(x - step * unit)) / (2 * step)
        off = (slope - field.gradient[:, axis]).abs()
        assert (off < 1e-4).double().mean() > 0.95, "but for cells' borders, the slope"


@pytest.mark.parametrize("gradient", ["analytic", "finite-difference"])
def test_native_encoding_equals_its_twin_with_gradients(gradient: str) -> None:
    results = []
    for backend in ("cpu", "torch"):
        options = {"gradient": gradient, "start_level": 2, "difference": "level"}
        geometry = stirred(backend=backend, **options)
        field = geometry(points())
        rgb = geometry.colour(points(), field.gradient, points(), field.feature)
        loss = (field.gradient.norm(dim=-1) - 1).square().sum() + rgb.square().sum()
        grads = torch.autograd.grad(loss + field.sdf.sum(), list(geometry.parameters()))
        with torch.no_grad():
            quiet = geometry(points())
        torch.testing.assert_close(quiet.gradient, field.gradient.detach())
        assert not quiet.sdf.requires_grad and not quiet.gradient.requires_grad
        results.append([field.sdf, field.gradient, field.feature, *grads])
    for native, twin in zip(*results, strict=True):
        torch.testing.assert_close(native, twin, rtol=1e-6, atol=1e-9)


def test_differences_are_exact_for_quadratics_also_at_the_faces() -> None:
    slope, bend = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([3.0, 1.0, 2.0]).double()

    def field(x: Tensor) -> Tensor:
        return (x @ slope + 0.5 * (x * x) @ bend)[:, None]

    x = torch.cat([points(), torch.tensor([[1.0, 0.0, -1.0], [0.999, 0.2, 0.1]]).double()])
    out, gradient, laplacian = central_differences(field, x, 0.01)
    torch.testing.assert_close(out, field(x))
    torch.testing.assert_close(gradient[:-2], slope + bend * x[:-2])
    torch.testing.assert_close(laplacian[:-2], torch.full_like(laplacian[:-2], 6.0))
    assert (gradient[-2:] - (slope + bend * x[-2:])).abs().max() < 0.02  # one-sided there
    torch.testing.assert_close(laplacian[-2:], torch.tensor([1.0, 3.0]).double())
    _, released, _ = central_differences(field, x, 0.01, exact=False)
    assert (released[-2, 0] / gradient[-2, 0] - 0.5).abs() < 1e-6, "the released code halves it"


def test_levels_open_and_differences_shrink() -> None:
    geometry = small(start_level=2, level_every=10, gradient="finite-difference")
    seen = []
    for step in (0, 9, 10, 20, 500):
        geometry.advance(0.0, step)
        assert isinstance(geometry.encoding, HashEncoding)
        seen.append(int(geometry.encoding.mask.sum()))
    assert seen == [4, 4, 6, 8, 8]
    geometry.cfg.difference, geometry.cfg.radius = "level", 1.5
    geometry.advance(0.0, 10)
    assert geometry.epsilon == pytest.approx(3.0 / (6 * 1.5**2))
    geometry.cfg.difference = "smooth"
    assert geometry.epsilon == pytest.approx(0.5 * 3.0 / (6 * 1.5))
    resumed = small(start_level=2)
    resumed.load_state_dict(geometry.state_dict())
    assert resumed.state_dict()["encoding.open"] == 3, "the state is saved"


def test_closed_levels_neither_count_nor_learn() -> None:
    geometry = stirred(start_level=1)
    assert isinstance(geometry.encoding, HashEncoding)
    layout, field = geometry.encoding.layout, geometry(points())
    (grad,) = torch.autograd.grad(field.sdf.sum(), geometry.encoding.table)
    assert grad[: layout.offsets[1]].abs().sum() > 0 and grad[layout.offsets[1] :].abs().sum() == 0


def test_frequencies_fade_in_one_after_another() -> None:
    waves = FrequencyEncoding(4, open_steps=40)
    assert waves(torch.rand(3, 3)).abs().sum() == 0
    waves.advance(15)  # the first octave is there, the second half-way
    torch.testing.assert_close(waves.share, torch.tensor([1.0, 0.5, 0.0, 0.0]))
    waves.advance(40)
    x = torch.rand(3, 3)
    wanted = torch.cat([f(2.0**k * x) for k in range(4) for f in (torch.sin, torch.cos)], 1)
    torch.testing.assert_close(waves(x), wanted)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gradient is 'exact'.*"):
        build("geometry", "instant-nsr", {"gradient": "exact"})
    with pytest.raises(ConfigError, match="sharpness is 'fixed'"):
        build("renderer", "neus-occupancy", {"sharpness": "fixed"})


# --- pieces ---------------------------------------------------------------------------------------


def test_harmonics_are_orthonormal_and_begin_as_instant_ngp_writes_them() -> None:
    generator = torch.Generator().manual_seed(0)
    d = torch.nn.functional.normalize(torch.randn(200000, 3, generator=generator), dim=-1).double()
    values = spherical_harmonics(d, 4)
    product = values.T @ values / len(d) * 4 * math.pi
    torch.testing.assert_close(product, torch.eye(16).double(), atol=0.03, rtol=0)
    x, y, z = d.unbind(-1)
    first = torch.stack([torch.full_like(x, 0.28209479), -0.48860251 * y, 0.48860251 * z], -1)
    torch.testing.assert_close(values[:, :3], first)
    torch.testing.assert_close(values[:, 4], 1.09254843 * x * y)


def test_fused_network_is_a_padded_one_without_biases() -> None:
    network = FusedMLP(5, 3, hidden=16, layers=1)
    assert network.params.shape == (16 * 16 + 16 * 16,)
    first, last = network.params.view(2, 16, 16)
    x = torch.rand(7, 5)
    padded = torch.cat([x, torch.ones(7, 11)], 1)
    torch.testing.assert_close(network(x), ((padded @ first.T).relu() @ last.T)[:, :3])


def test_contraction_keeps_the_ball_and_density_slopes_stay_finite() -> None:
    inside = torch.tensor([[0.3, -0.2, 0.1]])
    torch.testing.assert_close(contract_sphere(inside), inside / 4 + 0.5)
    far = contract_sphere(torch.tensor([[1e6, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    torch.testing.assert_close(far, torch.tensor([[1.0, 0.5, 0.5], [0.5, 0.875, 0.5]]))
    x = torch.tensor([1.0, 20.0], requires_grad=True)
    trunc_exp(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 15.0]).exp())


# --- weights --------------------------------------------------------------------------------------

LINEAR = {"layers.0": (64, 32), "layers.2": (64, 64), "layers.4": (3, 64)}


def official(levels_table: int, *, sdf_inputs: int = 35, wrapped: bool = False) -> dict[str, Any]:
    """Names and sizes of a checkpoint of instant-nsr-pl without its texture."""
    table = "model.geometry.encoding.encoding." + ("encoding." if wrapped else "") + "params"
    sizes: dict[str, Any] = {
        "model.scene_aabb": (6,),
        "model.occupancy_grid._roi_aabb": (6,),
        "model.occupancy_grid._binary": (128, 128, 128),
        "model.occupancy_grid.resolution": (3,),
        "model.occupancy_grid.occs": (128**3,),
        table: (levels_table,),
        "model.variance.variance": (),
    }
    for layer, (out, width) in {"0": (64, sdf_inputs), "2": (13, 64)}.items():
        name = f"model.geometry.network.layers.{layer}."
        sizes |= {f"{name}weight_g": (out, 1), f"{name}weight_v": (out, width)}
        sizes[f"{name}bias"] = (out,)
    return sizes


def vanilla(prefix: str, inputs: int) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for layer, (out, width) in LINEAR.items():
        sizes[f"{prefix}{layer}.weight"] = (out, inputs if layer == "layers.0" else width)
        sizes[f"{prefix}{layer}.bias"] = (out,)
    return sizes


HARMONICS = {"model.texture.encoding.encoding.params": (0,)}
TEXTURE = vanilla("model.texture.network.", 32)
BACKGROUND = {
    "model.occupancy_grid_bg._roi_aabb": (6,),
    "model.occupancy_grid_bg._binary": (256, 256, 256),
    "model.occupancy_grid_bg.resolution": (3,),
    "model.occupancy_grid_bg.occs": (256**3,),
    "model.geometry_bg.encoding_with_network.encoding.encoding.params": (13969152,),
    "model.geometry_bg.encoding_with_network.network.layers.0.weight": (64, 32),
    "model.geometry_bg.encoding_with_network.network.layers.0.bias": (64,),
    "model.geometry_bg.encoding_with_network.network.layers.2.weight": (8, 64),
    "model.geometry_bg.encoding_with_network.network.layers.2.bias": (8,),
    "model.texture_bg.encoding.encoding.params": (0,),
    **vanilla("model.texture_bg.network.", 24),
}
CHECKPOINTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "neus-blender": (
        {"texture": "fused"},
        {**official(13969152), **HARMONICS, "model.texture.network.params": (7168,)},
    ),
    "neus-dtu-wmask": ({}, {**official(13969152), **HARMONICS, **TEXTURE}),
    "neuralangelo-dtu-wmask": (
        {"start_level": 4, "gradient": "finite-difference"},
        {**official(13969152, wrapped=True), **HARMONICS, **TEXTURE},
    ),
    "neus-dtu": (
        {"background": True},
        {**official(13969152), **HARMONICS, **TEXTURE, **BACKGROUND},
    ),
    "wonder3d": (
        {"levels": 10, "start_level": 4, "directions": "none"},
        {
            **official(7677696, sdf_inputs=23, wrapped=True),
            **vanilla("model.texture.network.", 16),
        },
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_tensor_of_a_released_checkpoint_has_its_place(name: str) -> None:
    options, sizes = copy.deepcopy(CHECKPOINTS[name])
    background = BackgroundConfig(enabled=bool(options.pop("background", False)), grid_resolution=4)
    with torch.device("meta"):
        geometry = InstantNSR(InstantNSR.Config(**options))
    renderer = NeuSOccupancyRenderer(
        NeuSOccupancyRenderer.Config(
            grid_resolution=4, sharpness="learned", occupancy="opacity", background=background
        )
    )
    names = geometry_names(geometry)
    found = {names[k]: v.numel() for k, v in geometry.state_dict().items() if k in names}
    names = renderer_names(renderer)
    found |= {names[k]: v.numel() for k, v in renderer.state_dict().items() if k in names}
    ignored: tuple[str, ...] = (
        "scene_aabb",
        "_roi_aabb",
        "resolution",
        "texture.encoding.encoding.params",
    )
    ignored += ("texture_bg.encoding.encoding.params",)
    wanted = {
        name.removeprefix("model."): math.prod(size)
        for name, size in sizes.items()
        if not name.endswith(ignored)
    }
    assert found.keys() == wanted.keys()
    grids = ("occs", "_binary")  # built small here
    assert {k: v for k, v in found.items() if not k.endswith(grids)} == {
        k: v for k, v in wanted.items() if not k.endswith(grids)
    }


def exported(geometry: InstantNSR, renderer: NeuSOccupancyRenderer) -> dict[str, Tensor]:
    """A checkpoint as the authors would write it, of a cube of half side 1.5."""
    state = {"scene_aabb": torch.tensor([-1.5] * 3 + [1.5] * 3)}
    state |= {t: geometry.state_dict()[o].flatten() for o, t in geometry_names(geometry).items()}
    state |= {t: renderer.state_dict()[o] for o, t in renderer_names(renderer).items()}
    state["variance.variance"] = torch.tensor(0.4)
    return {f"model.{name}": value.clone() for name, value in state.items()}


def small_renderer() -> NeuSOccupancyRenderer:
    options: dict[str, Any] = {"sharpness": "learned", "occupancy": "opacity"}
    return NeuSOccupancyRenderer(NeuSOccupancyRenderer.Config(grid_resolution=4, **options))


def test_weights_go_in_and_mean_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, renderer = small(radius=1.5), small_renderer()
    renderer.state_dict()["grid.values"].uniform_()
    file = tmp_path / "official.ckpt"
    torch.save({"state_dict": exported(source, renderer)}, file)
    for start_level in (0, 2):  # the name of the table depends on whether levels open
        loaded = small(radius=1.5, weights=str(file), start_level=start_level)
        loaded.advance(1.0, 10**6)
        x = points().float()
        assert torch.equal(loaded(x).sdf, source(x).sdf)
        assert torch.equal(loaded(x).gradient, source(x).gradient)
    options: dict[str, Any] = {"sharpness": "learned", "occupancy": "opacity"}
    other = NeuSOccupancyRenderer(
        NeuSOccupancyRenderer.Config(grid_resolution=4, weights=str(file), **options)
    )
    assert other.inv_s == pytest.approx(math.exp(4) * 1.5), "s per half of the cube"
    assert torch.equal(other.state_dict()["grid.values"], renderer.state_dict()["grid.values"])


def test_weights_that_do_not_fit_are_refused() -> None:
    given = exported(small(radius=1.5), small_renderer())
    with pytest.raises(WeightsError, match="half side 1.5"):
        load_instant_nsr(given, small())
    with pytest.raises(WeightsError, match="the options make"):
        load_instant_nsr(given, small(radius=1.5, log2_rows=9))
    with pytest.raises(WeightsError, match=r"lack texture\.network\.params"):
        load_instant_nsr(given, small(radius=1.5, texture="fused"))
    given["model.texture_bg.network.layers.0.weight"] = torch.zeros(3)
    with pytest.raises(WeightsError, match="texture_bg"):
        load_instant_nsr(given, renderer=small_renderer())


def test_flat_vectors_hold_the_network_first() -> None:
    layout = HashGridLayout(4, 6, 1.5, 8)
    field = DensityField(HashEncoding(layout), FusedMLP(layout.width, 16, layers=1))
    network, table = 64 * 16 + 16 * 64, layout.offsets[-1] * 2
    vector = torch.arange(float(network + table))
    load_fused_density(field, vector)
    state = field.state_dict()
    assert state["network.params"][-1] == network - 1 and state["encoding.table"][0, 0] == network
    assert [len(part) for part in split_flat(vector, network)] == [network, table]
    with pytest.raises(WeightsError, match="hash grid"):
        load_fused_density(field, vector[:-1])
    with torch.device("meta"):  # NeRF of instant-nsr-pl: 12,602,992 parameters
        big = HashEncoding(HashGridLayout(16, 16, 1.447269237440378, 19))
        fused = FusedMLP(big.width, 16, layers=1)
    assert big.table.numel() + fused.params.numel() == 12602992


# --- fits -----------------------------------------------------------------------------------------


def system(renderer: dict[str, Any] | None = None, **geometry: Any) -> SDFModel:
    section = {"step_min": 0.05, "step_max": 0.05, "grid_resolution": 16, "occupancy_warmup": 32}
    authors = {"sharpness": "learned", "slope": "unit", "occupancy": "opacity"}
    options = {
        "geometry_type": "instant-nsr",
        "geometry": {**SMALL, "hidden": 16, **geometry},
        "renderer": {**section, **authors, "cosine_anneal": 1.0, **(renderer or {})},
        "hull": {"enabled": False},
        "loss": {"eikonal": 0.1, "curvature": 5e-4 if "gradient" in geometry else 0.0},
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "samples_per_step": 1024,
        "min_rays": 32,
    }
    return build("model", "sdf", options, key="system")


def fit(fitted: SDFModel, steps: int, whole: int = 40) -> None:
    fitted.start(whole)
    for _ in range(steps):
        fitted.step()


NEURALANGELO: dict[str, Any] = {
    "gradient": "finite-difference",
    "difference": "level",
    "start_level": 1,
    "level_every": 10,
}


@pytest.mark.parametrize("geometry", [{}, NEURALANGELO], ids=["instant-nsr", "neuralangelo"])
def test_a_sphere_is_approached(geometry: dict[str, Any]) -> None:
    torch.manual_seed(0)
    fitted = system(**geometry)
    fitted.begin(sphere_views(16))
    directions = torch.nn.functional.normalize(torch.randn(300, 3), dim=-1)
    before = fitted.sdf(directions * RADIUS).abs().mean()
    fit(fitted, 40)
    assert fitted.sdf(directions * RADIUS).abs().mean() < 0.7 * before
    assert fitted.sdf(directions * RADIUS).abs().mean() < 0.05
    assert (fitted.sdf(directions * 0.1) < 0).all() and (fitted.sdf(directions * 0.48) > 0).all()
    sampled = fitted.state_dict()["renderer.grid.binary"].float().mean()
    assert 0 < sampled < 0.9, "empty cells are skipped"


def test_a_fit_resumes_exactly() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(3)
        options = {"sharpness_limit": [3.0, 30.0, 25.0], "visible_threshold": 0.01}
        background = {"enabled": True, "levels": 2, "log2_rows": 6, "grid_resolution": 8}
        whole = system({**options, "background": background}, **NEURALANGELO)
        part = copy.deepcopy(whole)
        for run in (whole, part):
            run.begin(sphere_views(16))
        fit(whole, 16)
        fit(part, 7)
        saved = copy.deepcopy((part.state_dict(), part.optimizer.state_dict(), part.fit_state()))
        resumed = system({**options, "background": background}, **NEURALANGELO)
        resumed.begin(sphere_views(16))
        resumed.load_state_dict(saved[0])
        resumed.optimizer.load_state_dict(saved[1])
        resumed.load_fit_state(saved[2])
        fit(resumed, 9)
    finally:
        torch.set_num_threads(threads)
    wanted = whole.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    assert wanted["renderer.sharpness.ceiling"] < 25, "the limit was at work"


@pytest.mark.parametrize("gradient", ["analytic", "finite-difference"])
def test_implicit_sdf_starts_near_its_ellipsoid_and_has_outward_gradients(gradient: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {**SMALL, "hidden": 16, "gradient": gradient, "epsilon": 1e-3}
    axes = torch.tensor([0.8, 0.5, 0.4])
    geometry = ImplicitSDF(ImplicitSDF.Config(**options, semi_axes=axes.tolist()))
    directions = torch.nn.functional.normalize(torch.randn(100, 3), dim=-1)
    field = geometry(directions * axes)
    assert field.sdf.abs().max() < 1e-2
    assert ((field.gradient * directions / axes).sum(-1) > 0).all()
    torch.testing.assert_close(geometry.sdf(directions * axes), field.sdf, atol=1e-6, rtol=1e-5)
    assert (field.laplacian is None) == (gradient == "analytic")
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    geometry.double()
    field, unit = geometry(points()), torch.tensor([[1e-6, 0.0, 0.0]]).double()
    slope = (geometry.sdf(points() + unit) - geometry.sdf(points() - unit)) / 2e-6
    limit = 1e-4 if gradient == "analytic" else 0.1
    assert ((slope - field.gradient[:, 0]).abs() < limit).double().mean() > 0.8
    loss = (
        field.gradient.square().sum()
        + geometry.colour(points(), points(), points(), field.feature).sum()
    )
    for grad in torch.autograd.grad(loss, list(geometry.parameters())):
        assert grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="semi_axes"):
        ImplicitSDF(ImplicitSDF.Config(**options, semi_axes=[0.5, 0.5]))


def test_sphere_network_can_be_inside_out() -> None:
    torch.manual_seed(0)
    network = VanillaMLP(3, 1, hidden=256, sphere_radius=0.5, inside_out=True)
    out = network(torch.tensor([[0.0, 0.0, 0.01], [0.0, 0.95, 0.0]]))
    assert out[0] > 0 > out[1]
