"""Digests of what every compiled kernel computes: `python -m tests.kernel_bits`, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from studio.metrics.triangle_tree import TriangleTree
from studio.ops.adam import Adam
from studio.ops.composite import composite, neus_alpha, neus_sections
from studio.ops.field import colour_network, hash_field
from studio.ops.fit_pass import FitPass, RayLosses, Sections
from studio.ops.hash_grid import HashGridLayout
from studio.ops.ray_march import RaySamples, march

COUNT, RAYS = 4999, 100
LAYOUT = HashGridLayout(4, 8, 1.6, 10)


def digests() -> dict[str, str]:
    """A few hex digits of the values and the gradients of every operation."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def with_gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> str:
        loss = sum((o * random(*o.shape)).sum() for o in outputs)
        return _digest(*outputs, *torch.autograd.grad(loss, inputs))

    def wanted(*shape: int) -> Tensor:
        return random(*shape).requires_grad_()

    table, points = wanted(LAYOUT.offsets[-1], 2), random(3, COUNT) * 0.5
    field = [wanted(32, LAYOUT.width), wanted(32), wanted(16, 32), wanted(16)]
    found = {
        "hash_field": with_gradients(
            hash_field(points, table, field, LAYOUT, 0.5, backend="cpu"), [table, *field]
        )
    }
    colour = [wanted(32, 6), wanted(32), wanted(3, 32), wanted(3)]
    rgb = colour_network((points, random(3, COUNT)), colour, backend="cpu")
    found["colour_network"] = with_gradients([rgb], colour)

    sdf, slope = random(COUNT).mul(0.1).requires_grad_(), wanted(3, COUNT)
    along = torch.nn.functional.normalize(random(3, COUNT), dim=0)
    sections = neus_sections(sdf, slope, along, 0.02, 100.0, unit=True, backend="cpu")
    found["sections"] = with_gradients(sections, [sdf, slope])
    cosine = random(COUNT).abs().neg().requires_grad_()
    alpha = neus_alpha(sdf, cosine, 0.02, 100.0, backend="cpu")
    found["alpha"] = with_gradients([alpha], [sdf, cosine])

    opacity, values = torch.rand(COUNT, generator=generator).requires_grad_(), wanted(3, COUNT)
    ends = torch.randint(COUNT, (RAYS,), generator=generator).sort().values
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), ends, torch.tensor([COUNT])])
    sums = composite(opacity, values, offsets, backend="cpu")
    found["composite"] = with_gradients(sums, [opacity, values])

    grid = torch.randint(2, (16, 16, 16), generator=generator).to(torch.uint8)
    origins, jitter = random(RAYS, 3) * 0.3, torch.rand(RAYS, generator=generator)
    samples = march(origins, along.T[:RAYS].contiguous(), jitter, grid, 0.02, backend="cpu")
    found["march"] = _digest(samples.t, samples.points, samples.directions, samples.offsets)
    found["step"] = _step(samples, random(RAYS, 4).sigmoid(), [table, *field])
    nearest = TriangleTree(random(50, 3, 3).double().numpy()).query(random(99, 3).numpy())
    found["nearest"] = _digest(*(torch.from_numpy(np.asarray(a)) for a in nearest))
    return found


def _step(samples: RaySamples, target: Tensor, field: Sequence[Tensor]) -> str:
    """Gradients of rays, of pairs of points, and what Adam makes of them."""
    generator = torch.Generator().manual_seed(1)
    table, *weights = (p.detach().requires_grad_() for p in field)
    shapes = [(32, 21), (32,), (3, 32), (3,)]
    colours = [torch.randn(s, generator=generator).requires_grad_() for s in shapes]
    step = FitPass(table, weights, colours, LAYOUT, 0.5, view_dependent=True)
    losses = RayLosses(colour=1.0, mask=0.1, eikonal=0.1)
    seen = step.render(samples, target, None, Sections(60.0), losses, pairs=200)
    step.finish(samples.points[:, :200], samples.points[:, 200:400], 0.1)
    optimizer = Adam(step.parameters, 1e-2, fused=True)
    for parameter, grad in zip(step.parameters, step.grads, strict=True):
        parameter.grad = grad
    optimizer.step()
    return _digest(seen, *step.grads, *step.parameters)


def _digest(*tensors: Tensor) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(digests()))
