"""The native step of a fit against its twin: tensor operations and autograd."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.geometry.hash_sdf import HashSDF
from studio.models.sdf import losses as L
from studio.models.sdf.model import SDFModel
from studio.models.sdf.native_step import fit_pass, runs_natively
from studio.models.sdf.objective import Objective
from studio.ops.adam import Adam
from studio.ops.composite import composite_reference, neus_sections_reference
from studio.ops.fit_pass import RayLosses, Sections
from studio.ops.ray_march import RaySamples
from studio.plugins.parsing import parse_config
from tests.unit.test_reconstruction import sphere_views

SMALL = {"levels": 3, "base_resolution": 4, "max_resolution": 12, "log2_rows": 8}
COUNTS = [
    0,
    3,
    1,
    300,
    0,
    0,
    64,
    17,
    129,
    20,
    0,
]  # one needs more than a block, some miss


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scene(**options: Any) -> tuple[HashSDF, RaySamples, Tensor, Tensor]:
    """A field of random weights, samples of rays, and what these have to see in front of what."""
    torch.manual_seed(3)
    geometry = HashSDF(HashSDF.Config(**{**SMALL, "hidden": 10, "features": 6, **options}))
    with torch.no_grad():
        for parameter in geometry.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    rays, total = len(COUNTS), sum(COUNTS)
    along = torch.nn.functional.normalize(torch.randn(rays, 3), dim=-1)
    ray = torch.repeat_interleave(torch.arange(rays), torch.tensor(COUNTS))
    offsets = torch.tensor([0, *COUNTS]).cumsum(0)
    points, depth = torch.rand(3, total) * 1.8 - 0.9, torch.rand(total)
    samples = RaySamples(points, along[ray].T.contiguous(), depth, ray, offsets, 0.02)
    target = torch.rand(rays, 4)
    target[::3, 3], target[1::3, 3] = 0, 1
    return geometry, samples, target, torch.rand(rays, 3)


@dataclass(frozen=True)
class Step:
    """What one step is made of."""

    geometry: HashSDF
    samples: RaySamples
    target: Tensor
    background: Tensor | None
    sections: Sections
    losses: RayLosses
    pairs: tuple[Tensor, Tensor] | None
    smooth: float = 0.1


Found = tuple[list[float], list[Tensor]]
"""The errors, and the samples' weights before the gradients of all parameters."""


def native(case: Step) -> Found:
    made = fit_pass(case.geometry)
    weights = made.render(
        case.samples,
        case.target,
        case.background,
        case.sections,
        case.losses,
        pairs=0 if case.pairs is None else case.pairs[0].shape[1],
    )
    errors = made.finish(*(case.pairs or ()), smooth=case.smooth)
    named = dict(zip(map(id, made.parameters), made.grads, strict=True))
    return [*errors], [weights, *(named[id(p)].clone() for p in case.geometry.parameters())]


def twin(case: Step) -> Found:
    """The same in double precision by tensor operations."""
    samples, sections, losses, pairs = case.samples, case.sections, case.losses, case.pairs
    geometry = copy.deepcopy(case.geometry).double()
    geometry.cfg = HashSDF.Config(**{**vars(geometry.cfg), "backend": "torch"})
    points, along = samples.points.double(), samples.directions.double()
    target = case.target.double()
    field = geometry(points.T)
    how = (sections.inv_s, sections.exact)
    alpha, normal = neus_sections_reference(
        field.sdf, field.gradient.T, along, samples.step, *how, unit=sections.unit
    )
    rgb = geometry.colour(points.T, normal.T, along.T, field.feature)
    sums, mask, weights = composite_reference(alpha, rgb.T, samples.offsets)
    behind = torch.zeros(len(target), 3) if case.background is None else case.background
    behind = behind.double()
    opaque, seen = target[:, 3:], sums.T + (1 - mask)[:, None] * behind
    error = L.COLOUR_ERRORS[losses.colour_norm](
        seen - target[:, :3] * opaque - behind * (1 - opaque)
    )
    colour = L.mean_over(error, target[:, 3] > 0.5 if losses.on_mask else None)
    outline = L.mean_over(L.MASK_ERRORS[losses.mask_norm](mask, target[:, 3]))
    parts = [colour, outline, L.eikonal(field.gradient), torch.zeros(()).double()]
    if pairs is not None:
        near, far = (geometry(p.double().T).gradient for p in pairs)
        parts[3] = L.normal_smoothness(near, far)
    factors = (losses.colour, losses.mask, losses.eikonal, case.smooth)
    loss = sum(factor * part for factor, part in zip(factors, parts, strict=True))
    assert isinstance(loss, Tensor)
    grads = torch.autograd.grad(loss, list(geometry.parameters()))
    return [float(part.detach()) for part in parts], [weights.detach(), *grads]


ALL = {"colour": 1.0, "mask": 0.3, "eikonal": 0.2}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Sections, bool, bool]] = {
    "default": ({}, ALL, Sections(40.0), True, True),
    "annealed, no background": ({}, ALL, Sections(40.0, 0.3), False, True),
    "unit slopes": ({"view_dependent": False}, ALL, Sections(90.0, 1.0, True), True, False),
    "smoothstep": ({"interpolation": "smoothstep", "features": 0}, ALL, Sections(40.0), True, True),
    "colours alone": ({"features": 3}, {"colour": 1.0}, Sections(40.0, 0.7), True, False),
    "on the mask": ({}, {**ALL, "on_mask": True, "mask_norm": "mse"}, Sections(40.0), True, False),
    **{
        norm: ({}, {"colour": 1.0, "colour_norm": norm}, Sections(40.0), True, False)
        for norm in L.COLOUR_ERRORS
    },
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_equal_autograd(name: str) -> None:
    options, losses, sections, with_background, smooth = CASES[name]
    geometry, samples, target, background = scene(**options)
    generator = torch.Generator().manual_seed(5)
    near = torch.rand(3, 100, generator=generator) - 0.5
    pairs = (near, near + 0.02 * torch.randn(3, 100, generator=generator)) if smooth else None
    behind = background if with_background else None
    case = Step(geometry, samples, target, behind, sections, RayLosses(**losses), pairs)
    errors, found = native(case)
    wanted_errors, wanted = twin(case)
    torch.testing.assert_close(
        torch.tensor(errors).double(), torch.tensor(wanted_errors).double(), rtol=1e-5, atol=1e-7
    )
    for value, expected in zip(found, wanted, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=2e-5 * scale + 1e-12)
    with threads(2):
        again = native(case)
    assert again[0] == errors, "the number of threads changes no bit"
    assert all(torch.equal(a, b) for a, b in zip(again[1], found, strict=True))


# --- whole fits -----------------------------------------------------------------------------------


def fit(steps: int = 20, *, by_autograd: bool = False, **options: Any) -> tuple[SDFModel, list]:
    """A short fit of a sphere and its losses, step by step."""
    torch.manual_seed(0)
    given = {
        "geometry": {**SMALL, "levels": 4, "hidden": 16},
        "hull": {"fit_steps": 10},
        "samples_per_step": 1024,
        "loss": {"random_points": 100},
        **options,
    }
    model = SDFModel(parse_config(SDFModel.Config, given))
    model.begin(sphere_views(24), seed=1)
    if by_autograd:
        model.fitter.native = None
    model.start(steps)
    losses = []
    while not model.done:
        losses.append({name: float(value) for name, value in model.step().items()})
    return model, losses


@pytest.mark.parametrize("background", ["random", "white", "none"])
def test_a_fit_goes_where_that_by_autograd_goes(background: str) -> None:
    model, losses = fit(background=background)
    other, wanted = fit(background=background, by_autograd=True)
    assert model.fitter.native is not None and model.fitter.rays == other.fitter.rays
    assert [sorted(step) for step in losses] == [sorted(step) for step in wanted]
    assert "smooth" in losses[-1] and "smooth" not in losses[0]
    for mine, theirs in zip(losses, wanted, strict=True):
        assert mine == pytest.approx(theirs, rel=5e-3, abs=1e-5)
    assert losses[0] == pytest.approx(wanted[0], rel=1e-5)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(model.sdf(points), other.sdf(points), rtol=0, atol=2e-3)


def test_a_fit_has_the_same_bits_on_any_number_of_threads() -> None:
    one, losses = fit(8)
    with threads(2):
        two, again = fit(8)
    assert losses == again
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_without_samples_a_step_changes_nothing() -> None:
    model, _ = fit(2)
    assert isinstance(model.renderer.grid.state, Tensor)
    model.renderer.grid.state.zero_()
    model.fitter.max_steps, before = 5, copy.deepcopy(model.geometry.state_dict())
    model.fitter.step_count = 3  # no update of the grid is due
    assert model.step() == {} and model.fitter.step_count == 4
    for name, value in model.geometry.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "options",
    [
        {"loss": {"opaque": 0.1}},
        {"loss": {"colour_keep": 0.8}},
        {"loss": {"colour_rays": "hit"}},
        {"loss": {"smooth_at": "random"}},
        {"renderer": {"sharpness": "learned"}},
        {"renderer": {"visible_threshold": 0.01}},
        {"renderer": {"backend": "torch"}},
        {"geometry": {"backend": "torch"}},
        {"geometry_type": "implicit-sdf"},
        {"renderer_type": "neus"},
    ],
    ids=str,
)
def test_all_other_fits_are_tensor_operations(options: dict[str, Any]) -> None:
    model = SDFModel(parse_config(SDFModel.Config, options))
    objective = Objective(model.cfg.loss, model.geometry, model.renderer)
    assert not runs_natively(objective)


def test_of_other_geometries_nothing_is_assumed() -> None:
    class Own(HashSDF):
        """May evaluate what it likes."""

    model = SDFModel()
    assert runs_natively(Objective(model.cfg.loss, model.geometry, model.renderer))
    assert not runs_natively(Objective(model.cfg.loss, Own(HashSDF.Config()), model.renderer))
    model.geometry.table.requires_grad_(False)
    assert not runs_natively(Objective(model.cfg.loss, model.geometry, model.renderer))


# --- the optimiser --------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("count", [1, 2])
def test_adam_is_that_of_torch(decay: float, count: int) -> None:
    start = [torch.randn(40000), torch.randn(7, 5), torch.randn(3)]
    optimizers = []
    for kind in (Adam, torch.optim.Adam):
        copies = [torch.nn.Parameter(value.clone()) for value in start]
        how: dict[str, Any] = {"betas": (0.9, 0.99), "eps": 1e-15, "weight_decay": decay}
        optimizers.append(kind([{"params": copies}], lr=1e-2, fused=True, **how))
    with threads(count):
        for step in range(5):
            for i, pair in enumerate(
                zip(*(o.param_groups[0]["params"] for o in optimizers), strict=True)
            ):
                grad = torch.randn(start[i].shape) * (torch.rand(start[i].shape) > 0.5)
                for parameter in pair:
                    parameter.grad = None if i == 2 and step < 2 else grad.clone()
            for optimizer in optimizers:
                optimizer.step()
    mine, theirs = (optimizer.state_dict() for optimizer in optimizers)
    assert mine["param_groups"] == theirs["param_groups"]
    for key, state in theirs["state"].items():
        assert state.keys() == mine["state"][key].keys()
        for name, value in state.items():
            torch.testing.assert_close(mine["state"][key][name], value, rtol=1e-5, atol=1e-7)
    for a, b in zip(*(o.param_groups[0]["params"] for o in optimizers), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_adam_takes_what_the_loop_can_read() -> None:
    assert Adam.fits([torch.zeros(3), torch.zeros(2, 2)])
    assert not Adam.fits([torch.zeros(3, dtype=torch.float64)])
    assert not Adam.fits([torch.zeros(2, 3).T])
