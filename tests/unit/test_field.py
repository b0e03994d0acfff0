"""The hash-grid field and its colour network: native nodes against plain tensor operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.geometry.hash_sdf import HashSDF
from studio.ops.field import colour_network, hash_field, length, squareplus
from studio.ops.hash_grid import HashGridLayout

pytestmark = pytest.mark.xdist_group("field")  # float64 kernels are compiled once
LAYOUT = HashGridLayout(levels=3, base_resolution=4, growth=1.7, log2_rows=7)
COUNTS = (0, 1, 7, 2049)


def random(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def weighted(outputs: tuple[Tensor, ...], parameters: list[Tensor]) -> list[Tensor]:
    """Outputs, and the gradients of a random weighted sum of all of them."""
    weights = random(9, *(tuple(o.shape) for o in outputs))
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    assert isinstance(loss, Tensor)
    return [*(o.detach() for o in outputs), *torch.autograd.grad(loss, parameters)]


def field(count: int, backend: str) -> list[Tensor]:
    shapes = [(LAYOUT.offsets[-1], 2), (12, LAYOUT.width), (12,), (5, 12), (5,)]
    parameters = [value.requires_grad_() for value in random(1, *shapes)]
    points = random(2, (3, count))[0].clamp(-1, 1)
    table, *weights = parameters
    outputs = hash_field(points, table, tuple(weights), LAYOUT, 0.6, backend=backend)
    return weighted(outputs, parameters)


def field_on(threads: int, count: int) -> list[Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return field(count, "cpu")
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", COUNTS)
def test_field_and_its_gradients_equal_double_backward(count: int) -> None:
    one, two = field_on(1, count), field_on(2, count)
    for value, other, twin in zip(one, two, field(count, "torch"), strict=True):
        assert torch.equal(value, other), "the number of threads changes no bit"
        torch.testing.assert_close(value, twin, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_without_training_the_field_needs_no_graph(backend: str) -> None:
    geometry = HashSDF(HashSDF.Config(levels=2, backend=backend))
    with torch.no_grad():
        out = geometry(torch.rand(5, 3))
    assert not (out.sdf.requires_grad or out.gradient.requires_grad or out.feature.requires_grad)


def test_distance_alone_is_that_of_the_whole_field() -> None:
    geometry, points = HashSDF(HashSDF.Config(levels=3)), torch.rand(50, 3) * 2 - 1
    with torch.no_grad():
        geometry.table.uniform_(-0.3, 0.3)
        geometry.w2.uniform_(-0.3, 0.3)
    torch.testing.assert_close(geometry.sdf(points), geometry(points).sdf, rtol=1e-5, atol=1e-6)


def colours(count: int, backend: str, fixed: tuple[int, ...]) -> list[Tensor]:
    """Colours and gradients; ``fixed`` names the inputs that want none."""
    weights = [w.requires_grad_() for w in random(3, (11, 9), (11,), (3, 11), (3,))]
    inputs = random(4, (3, count), (2, count), (4, count))
    parameters = weights + [x.requires_grad_() for i, x in enumerate(inputs) if i not in fixed]
    rgb = colour_network(tuple(inputs), tuple(weights), backend=backend)
    return weighted((rgb,), parameters)


@pytest.mark.parametrize("fixed", [(), (2,), (0,), (0, 1, 2)])
@pytest.mark.parametrize("count", COUNTS)
def test_colours_and_their_gradients_equal_the_twin(count: int, fixed: tuple[int, ...]) -> None:
    for value, twin in zip(
        colours(count, "cpu", fixed), colours(count, "torch", fixed), strict=True
    ):
        torch.testing.assert_close(value, twin, rtol=1e-9, atol=1e-9)


def test_smooth_ramp_and_length() -> None:
    z = torch.tensor([-100.0, 0.0, 100.0])
    torch.testing.assert_close(squareplus(z), z.clamp(min=0), rtol=1e-4, atol=0.02)
    x = torch.zeros(3, 1, requires_grad=True)
    length(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
