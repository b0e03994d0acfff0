"""Native CPU kernels against plain torch: a field pass with normals, and a whole training step.

    python -m benchmarks.kernels [--threads 1] [--rounds 7] [--points 16384] [--json FILE]

Variants are interleaved, one after the other in every round, so that the machine's load meets all
of them; each runs for a while before it is timed: torch's threads keep their processors busy for
some milliseconds after its last operation. Medians are of process CPU time (all threads together)
and of wall time, in ms.

* ``field``: the encoding (16 levels of 2 features, 16 to 1024 vertices a side, 2^15 rows), a
  network of 64 hidden units, 16 outputs and the normal, forward and backward. Same function in both
  variants.
* ``step``: 512 rays of 16 samples, rendered, loss on colours, opacity and normals' lengths,
  backward and Adam. ``native`` is the default of hash-sdf (8 levels, 2^15 rows, one colour layer)
  as a fit makes its steps; ``native, autograd`` calls kernels from tensor operations, and torch's
  fused Adam, as a fit with other losses does; ``torch, same model`` evaluates the same with the
  twins and torch's default Adam;
  ``torch, instant-nsr`` has instant-nsr-pl's size (16 levels, 2^19 rows, softplus network, two
  colour layers) and is differentiated twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from studio.geometry.base import Geometry
from studio.geometry.hash_sdf import HashSDF
from studio.geometry.instant_nsr import InstantNSR
from studio.models.sdf.losses import eikonal, mask_cross_entropy
from studio.models.sdf.native_step import fit_pass
from studio.ops.adam import Adam
from studio.ops.backend import keep_freed_memory
from studio.ops.composite import composite, neus_sections
from studio.ops.field import hash_field
from studio.ops.fit_pass import RayLosses, Sections
from studio.ops.hash_grid import HashGridLayout, growth_for
from studio.ops.ray_march import RaySamples
from studio.ops.threads import kernels_only

SETTLE = 0.04  # seconds
RAYS, SAMPLES, STEP = 512, 16, 0.02


def field_pass(count: int, *, native: bool) -> Callable[[], object]:
    """Encode, evaluate the SDF network and its normal, and go back to table and weights."""
    torch.manual_seed(0)
    layout = HashGridLayout(16, 16, growth_for(16, 16, 1024), 15)
    table = (torch.randn(layout.offsets[-1], 2) * 0.1).requires_grad_()
    shapes = [(64, layout.width), (64,), (16, 64), (16,)]
    weights = [(torch.randn(s) * 0.2).requires_grad_() for s in shapes]
    points, target = torch.rand(3, count) * 2 - 1, torch.randn(19, count)
    backend = "cpu" if native else "torch"

    def run() -> tuple[Tensor, ...]:
        sdf, gradient, rest = hash_field(
            points, table, tuple(weights), layout, 0.6, backend=backend
        )
        loss = (torch.cat([sdf[None], rest, gradient]) * target).sum()
        return torch.autograd.grad(loss, (table, *weights))

    return run


def rays_through_the_object() -> tuple[RaySamples, Tensor]:
    """Rays through the object's centre with a fixed number of samples, and what they see."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(RAYS, 3, generator=generator), dim=-1)
    depth = (torch.arange(SAMPLES) - SAMPLES / 2 + 0.5) * STEP + 0.6
    points = (-directions[:, None] * depth.flip(0)[:, None]).flatten(0, 1)
    ray = torch.arange(RAYS).repeat_interleave(SAMPLES)
    samples = RaySamples(
        points.T.contiguous(),  # feature-major, as marching leaves them
        directions[ray].T.contiguous(),
        depth.repeat(RAYS),
        ray,
        torch.arange(RAYS + 1) * SAMPLES,
        STEP,
    )
    target = torch.cat([torch.rand(RAYS, 3, generator=generator), torch.ones(RAYS, 1)], 1)
    return samples, target


def training_step(geometry: Geometry, backend: str, **adam: bool) -> Callable[[], object]:
    """One step by tensor operations and autograd."""
    samples, target = rays_through_the_object()
    points, along = samples.points.T, samples.directions.T
    optimizer = torch.optim.Adam(geometry.parameters(), 1e-3, betas=(0.9, 0.99), eps=1e-15, **adam)

    def run() -> float:
        out = geometry(points)
        alpha, normals = neus_sections(
            out.sdf, out.gradient.T, along.T, STEP, 100.0, unit=True, backend=backend
        )
        rgb = geometry.colour(points, normals.T, along, out.feature)
        sums, opacity, _ = composite(alpha, rgb.T, samples.offsets, backend=backend)
        loss = (sums.T - target[:, :3]).abs().mean() + 0.05 * eikonal(out.gradient)
        loss = loss + 0.1 * mask_cross_entropy(opacity, target[:, 3]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return run


def native_step(geometry: HashSDF) -> Callable[[], object]:
    """One step as a fit makes it."""
    samples, target = rays_through_the_object()
    made = fit_pass(geometry)
    optimizer = Adam(geometry.parameters(), 1e-3, betas=(0.9, 0.99), eps=1e-15, fused=True)
    losses = RayLosses(colour=1.0, mask=0.1, eikonal=0.05)

    def run() -> float:
        with kernels_only():
            made.render(samples, target, None, Sections(100.0, unit=True), losses)
            colour, mask, lengths, _ = made.finish()
            for parameter, grad in zip(made.parameters, made.grads, strict=True):
                parameter.grad = grad
            optimizer.step()
        return colour + 0.1 * mask + 0.05 * lengths

    return run


def measure(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU and wall milliseconds of each variant; ratios are to the first one."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for run in variants.values():
        run()
        run()
    for _ in range(rounds):
        for name, run in variants.items():
            settle = time.perf_counter() + SETTLE
            while time.perf_counter() < settle:
                run()  # in the caches, and beside the threads, that the one before has left
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    table = {}
    for name, pairs in times.items():
        cpu, wall = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        table[name] = {"cpu_ms": cpu, "wall_ms": wall}
    first = next(iter(table.values()))
    for row in table.values():
        row["cpu_ratio"] = row["cpu_ms"] / first["cpu_ms"]
        row["wall_ratio"] = row["wall_ms"] / first["wall_ms"]
    return table


def measure_all(points: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Both tables."""
    torch.manual_seed(0)
    small = HashSDF.Config()
    field = {
        "native": field_pass(points, native=True),
        "torch, double backward": field_pass(points, native=False),
    }
    official = InstantNSR(InstantNSR.Config(backend="torch"))
    step = {
        "native": native_step(HashSDF(small)),
        "native, autograd": training_step(HashSDF(small), "cpu", fused=True),
        "torch, same model": training_step(HashSDF(HashSDF.Config(backend="torch")), "torch"),
        "torch, instant-nsr": training_step(official, "torch"),
    }
    return {
        f"field, {points} points": measure(field, rounds),
        f"step, {RAYS} x {SAMPLES} samples": measure(step, rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--points", type=int, default=16384)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    results = measure_all(args.points, args.rounds)
    for title, table in results.items():
        print(f"\n| {title}, {args.threads} thread(s) | CPU ms | wall ms | CPU x | wall x |")
        print("| --- | --- | --- | --- | --- |")
        for name, row in table.items():
            print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row.values()) + " |")
    if args.json:
        args.json.write_text(json.dumps({"threads": args.threads, **results}, indent=2))


if __name__ == "__main__":
    main()
