"""NeuS opacity and compositing: native kernels against their twins, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.ops.composite import (
    composite,
    composite_reference,
    neus_alpha,
    neus_alpha_reference,
    neus_sections,
)

COUNTS = ([], [0], [1], [0, 3, 0, 17, 1], [5, 130, 0])


def case(counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    total = sum(counts)
    alpha = torch.rand(total, generator=generator, dtype=torch.float64) * 0.98
    values = torch.randn(4, total, generator=generator, dtype=torch.float64)
    return alpha, values, torch.tensor([0, *counts]).cumsum(0)


@pytest.mark.parametrize("counts", COUNTS)
def test_composite_equals_its_twin_with_gradients(counts: list[int]) -> None:
    results = []
    for run in (lambda *a: composite(*a, backend="cpu"), composite_reference):
        alpha, values, offsets = case(counts)
        alpha.requires_grad_()
        values.requires_grad_()
        outputs = run(alpha, values, offsets)
        generator = torch.Generator().manual_seed(6)
        loss = sum(
            (o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in outputs
        )
        results.append([*outputs, *torch.autograd.grad(loss, (alpha, values))])
    for native, twin in zip(*results, strict=True):
        torch.testing.assert_close(native, twin, rtol=1e-6, atol=1e-9)


def test_composite_passes_gradcheck() -> None:
    alpha, values, offsets = case([0, 3, 4])
    alpha[2] = 0.0
    inputs = (alpha.requires_grad_(), values.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, v: composite(a, v, offsets), inputs)


def test_opaque_sample_hides_what_is_behind_and_stays_differentiable() -> None:
    alpha = torch.tensor([0.5, 1.0, 0.7], requires_grad=True)
    values = torch.tensor([[1.0, 10.0, 100.0]])
    sums, opacity, weights = composite(alpha, values, torch.tensor([0, 3]))
    assert sums.item() == pytest.approx(5.5) and opacity.item() == 1.0
    assert weights.tolist() == [0.5, 0.5, 0.0]
    sums.sum().backward()
    # d/da0 (a0 + 10 (1 - a0)) = -9; the opaque one trades its 10 for the 70 behind it
    assert alpha.grad is not None
    assert alpha.grad.tolist() == pytest.approx([-9.0, 0.5 * (10 - 70), 0.0])


@pytest.mark.parametrize("count", (0, 1, 33))
@pytest.mark.parametrize("inv_s", (20.0, 600.0))
def test_alpha_equals_its_twin_with_gradients(count: int, inv_s: float) -> None:
    generator = torch.Generator().manual_seed(7)
    results = []
    sdf = (torch.rand(count, generator=generator, dtype=torch.float64) - 0.5) * 0.1
    cosine = -torch.rand(count, generator=generator, dtype=torch.float64)
    weight = torch.randn(count, generator=generator, dtype=torch.float64)
    for backend in ("cpu", "torch"):
        a, b = sdf.clone().requires_grad_(), cosine.clone().requires_grad_()
        alpha = neus_alpha(a, b, 0.02, inv_s, backend=backend)
        results.append([alpha, *torch.autograd.grad((alpha * weight).sum(), (a, b))])
    for native, twin in zip(*results, strict=True):
        torch.testing.assert_close(native, twin, rtol=1e-9, atol=1e-12)


def test_alpha_far_outside_is_small_and_at_the_surface_large() -> None:
    sdf = torch.tensor([1.0, 0.0, -1.0])
    alpha = neus_alpha_reference(sdf, torch.full((3,), -1.0), 0.02, 500.0)
    assert alpha[0] < 1e-4 and alpha[1] > 0.95
    assert ((alpha >= 0) & (alpha <= 1)).all()


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("exact", [1.0, 0.4])
@pytest.mark.parametrize("count", [0, 1, 513])
def test_sections_equal_their_twin_with_gradients(count: int, exact: float, unit: bool) -> None:
    results = []
    for backend in ("cpu", "torch"):
        generator = torch.Generator().manual_seed(7)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: B023

        sdf, gradient, directions = 0.02 * random(count), random(3, count), random(3, count)
        directions = directions / directions.norm(dim=0)
        inputs = sdf.requires_grad_(), gradient.requires_grad_()
        alpha, normal = neus_sections(
            *inputs, directions, 0.02, 80.0, exact, unit=unit, backend=backend
        )
        loss = (alpha * random(count)).sum() + (normal * random(3, count)).sum()
        results.append([alpha, normal, *torch.autograd.grad(loss, inputs)])
    for native, twin in zip(*results, strict=True):
        torch.testing.assert_close(native, twin, rtol=1e-6, atol=1e-8)
