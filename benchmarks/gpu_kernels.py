"""Triton kernels on a CUDA device: checked against their twins, then timed. Needs a GPU.

    python -m benchmarks.gpu_kernels [--json FILE]      on a machine with a CUDA device
    python -m benchmarks.gpu_kernels --compile 90       anywhere with triton: only compiles

Correctness first: every kernel, values and gradients, in float32 against the twin in float64. Then
median times by CUDA events of the encoding with normals, forward and backward, beside the torch
twin (double backward), and tiny-cuda-nn where it is installed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from studio.ops.backend import obstacle
from studio.ops.composite import composite, neus_alpha
from studio.ops.hash_grid import HashGridLayout, contract, encode, growth_for
from studio.ops.ray_march import march

TOLERANCE = 2e-4  # largest error over the largest magnitude, float32 against float64


def encoding_pass(
    layout: HashGridLayout, table: Tensor, points: Tensor, backend: str
) -> list[Tensor]:
    """Features, normals and the gradient of the table for a loss on both."""
    table = table.detach().requires_grad_()
    y, token, encoding = encode(points, table, layout, normals=True, backend=backend)
    normal = contract(torch.tanh(y), token, encoding)
    loss = (y * y).sum() + (normal * normal).sum()
    return [y.detach(), normal.detach(), *torch.autograd.grad(loss, table)]


def error(result: Tensor, wanted: Tensor) -> float:
    """Largest error over the largest magnitude."""
    if wanted.numel() == 0:
        return 0.0
    return float((result.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def check_hash_grid(device: torch.device) -> dict[str, float]:
    """Worst errors over layouts and sizes; coordinates 0 and 1 are among the points."""
    worst: dict[str, float] = {}
    for features in (1, 2, 4, 8):
        layout = HashGridLayout(6, 8, 1.7, 12, features)
        for count in (0, 1, 31, 1025, 70001):
            table = torch.randn(layout.offsets[-1], features, device=device)
            points = torch.rand(3, count, device=device)
            if count > 2:
                points[:, 0], points[:, 1] = 1, 0
            twin = encoding_pass(layout, table.double(), points.double(), "torch")
            for name, result, wanted in zip(
                ("features", "normal", "table"),
                encoding_pass(layout, table, points, "triton"),
                twin,
                strict=True,
            ):
                key = f"hash grid {name}"
                worst[key] = max(worst.get(key, 0), error(result, wanted))
    return worst


def check_rendering(device: torch.device) -> dict[str, float]:
    """Marching (share of samples that differ), opacity and compositing with gradients."""
    generator = torch.Generator().manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(4001, 3, generator=generator), dim=-1) * 3
    target = torch.rand(4001, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(target - origins, dim=-1)
    axis = (torch.arange(64) + 0.5) / 32 - 1
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).norm(dim=-1)
    grid = ((radius < 0.8).int() + (radius < 0.4).int()).to(torch.uint8)
    rays = [x.to(device) for x in (origins, directions, torch.rand(4001, generator=generator))]
    samples = march(*rays, grid.to(device), 0.01, backend="triton")
    twin = march(*rays, grid.to(device), 0.01, backend="torch")
    moved = int((samples.offsets.diff() - twin.offsets.diff()).abs().sum())
    found = {"march, share of samples": moved / max(len(twin), 1)}
    offsets, results = samples.offsets, []
    sdf = 0.1 * (torch.rand(len(samples), generator=generator) - 0.5)
    cosine, values = -torch.rand(len(samples), generator=generator), torch.randn(4, len(samples))
    for backend, dtype in (("triton", torch.float32), ("torch", torch.float64)):
        inputs = [x.to(device, dtype).requires_grad_() for x in (sdf, cosine, values)]
        alpha = neus_alpha(inputs[0], inputs[1], 0.01, 200.0, backend=backend)
        sums, opacity, weights = composite(alpha, inputs[2], offsets, backend=backend)
        loss = (sums**2).sum() + (opacity**2).sum() + (weights**2).sum()
        gradients = torch.autograd.grad(loss, inputs)
        results.append([x.detach() for x in (alpha, sums, opacity, weights, *gradients)])
    names = ("alpha", "sums", "opacity", "weights", "by sdf", "by cosine", "by values")
    for name, result, wanted in zip(names, *results, strict=True):
        found[f"composite {name}"] = error(result, wanted)
    return found


def median_ms(run: Callable[[], object], repeats: int = 20) -> float:
    """Median of CUDA-event times after three warm-up runs."""
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def timings(device: torch.device) -> list[dict[str, float | str]]:
    """Encoding with normals, forward and backward: 16 levels of 2 features."""
    rows: list[dict[str, float | str]] = []
    names = ["triton", *(["tcnn"] if obstacle("tcnn", device) is None else []), "torch"]
    for log2_rows in (15, 19, 22):
        layout = HashGridLayout(16, 16, growth_for(16, 16, 2048), log2_rows)
        table = torch.randn(layout.offsets[-1], 2, device=device) * 0.1
        for log2_points in (18, 19, 20, 21):
            points = torch.rand(3, 2**log2_points, device=device)
            for name in names:
                if name == "torch" and log2_points > 19:
                    continue  # its graph takes tens of GB
                ms = median_ms(partial(encoding_pass, layout, table, points, name))
                rows.append(
                    {
                        "backend": name,
                        "log2 rows": log2_rows,
                        "log2 points": log2_points,
                        "ms": ms,
                        "Mpoints/s": 2**log2_points / ms / 1e3,
                    }
                )
    return rows


def compile_only(capability: int) -> int:
    """Compile every kernel for a compute capability; returns how many."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from studio.ops import composite_triton, hash_grid_triton, ray_march_triton

    integers = ("count", "width", "samples", "rays", "channels", "resolution", "limit")
    kinds = dict.fromkeys(integers, "i32")
    kinds |= dict.fromkeys(("numbers", "offsets", "counts", "ray_index"), "*i64") | {"grid": "*u8"}
    jobs = [(hash_grid_triton._contract_kernel, {"SIZE": 256}, 4)]
    jobs += [(hash_grid_triton._expand_kernel, {"SIZE": 256}, 4)]
    for features in (1, 2, 4, 8):
        for normal in (True, False):
            options = {"F": features, "SIZE": 256}
            jobs.append((hash_grid_triton._encode_kernel, options | {"JACOBIAN": normal}, 4))
            jobs.append((hash_grid_triton._scatter_kernel, options | {"NORMAL": normal}, 4))
    jobs += [(composite_triton._alpha_kernel, {"SIZE": 512}, 4)]
    jobs += [(composite_triton._light_kernel, {"CHUNK": 32}, 1)]
    jobs += [(composite_triton._forward_kernel, {"C": 4, "CHUNK": 32}, 1)]
    jobs += [(composite_triton._backward_kernel, {"C": 4, "CHUNK": 32}, 1)]
    jobs += [(ray_march_triton._march_kernel, {"FILL": f, "SIZE": 64}, 2) for f in (True, False)]
    for kernel, constants, warps in jobs:
        signature = {
            name: "constexpr" if name in constants else kinds.get(name, "*fp32")
            for name in kernel.arg_names
        }
        source = ASTSource(kernel, signature, constexprs=constants)
        target = GPUTarget("cuda", capability, 32)
        triton.compile(source, target=target, options={"num_warps": warps})
    return len(jobs)


def main() -> int:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    parser.add_argument("--compile", type=int, metavar="CAPABILITY", help="such as 80 or 90")
    args = parser.parse_args()
    if args.compile:
        print(f"{compile_only(args.compile)} kernels compile for sm_{args.compile}")
        return 0
    if not torch.cuda.is_available():
        print("needs a CUDA device and torch's CUDA build; --compile 90 works without")
        return 2
    device = torch.device("cuda")
    torch.manual_seed(0)
    errors = check_hash_grid(device) | check_rendering(device)
    good = all(math.isfinite(value) and value <= TOLERANCE for value in errors.values())
    for name, value in errors.items():
        print(f"{name:28s} {value:.2e}")
    print(f"{'agrees' if good else 'DISAGREES'} with the twins (tolerance {TOLERANCE:g})\n")
    rows = timings(device)
    print(f"| {torch.cuda.get_device_name()} | " + " | ".join(list(rows[0])[1:]) + " |")
    print("| --- " * len(rows[0]) + "|")
    for row in rows:
        print(
            "| "
            + " | ".join(str(v) if isinstance(v, str) else f"{v:.4g}" for v in row.values())
            + " |"
        )
    if args.json:
        args.json.write_text(json.dumps({"errors": errors, "timings": rows}, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
