"""SPAD's joint attention at full size: a bias built once against one built in every layer.

    python -m benchmarks.spad_attention [--views 2 4 8] [--threads 2] [--rounds 3] [--unet]

``dense`` is the plain formulation: every layer of every step repeats the mask over the heads, turns
it into a float32 bias, adds it to the scores and takes the softmax of them all. ``studio`` is what
the plugin runs; ``bias`` is the same without its tiles of queries: one call of torch's fused
attention with a bias built once. All see the released default cameras on 32 x 32 latents with the
released ("flat") masks of the lower levels, random queries, keys and values of one object without
guidance's second half, and take turns in every round, so that the machine's load meets all.

* ``attention``: the 16 self-attentions of one UNet evaluation (grid side, head width, layers:
  32, 40, 5; 16, 80, 5; 8, 160, 5; 4, 160, 1), 8 heads, without projections. One layer of each
  kind runs; its seconds count for all of the kind.
* ``unet`` (with --unet): a whole evaluation of the 860 million parameter UNet, random weights.

Seconds are medians of wall and of processor time (of all threads); memory is the highest resident
size during a run over the one before it. A variant that would need more than what is available is
left out, with a word.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor

from studio.guidance.spad.attention import (
    CameraConditioning,
    ConditioningSlot,
    JointSelfAttention,
    joint_attention,
    masked_attention,
)
from studio.guidance.spad.epipolar import default_ring, epipolar_mask, plucker
from studio.guidance.spad.network import SIZES, MultiViewUNet, build_unet
from studio.guidance.stable_diffusion import network_kwargs

SIDE, HEADS = 32, 8
LAYERS = ((32, 40, 5), (16, 80, 5), (8, 160, 5), (4, 160, 1))
GIB = 2**30
Run = Callable[[], Tensor]
Runs = list[tuple[int, Run]]  # how many times a step does this, and what


def dense_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention [n, h, t, d] under a mask [n, t, t] by explicit scores, bias and softmax."""
    n, heads = q.shape[:2]
    repeated = mask[:, None].repeat(1, heads, 1, 1).flatten(0, 1)
    bias = torch.zeros(repeated.shape).masked_fill_(~repeated, -1e9)
    scores = torch.einsum("bid,bjd->bij", q.flatten(0, 1), k.flatten(0, 1)) * q.shape[-1] ** -0.5
    scores = scores + bias
    return torch.einsum("bij,bjd->bid", scores.softmax(-1), v.flatten(0, 1)).unflatten(
        0, (n, heads)
    )


class DenseSelfAttention(JointSelfAttention):
    """The plain formulation as an attention processor."""

    def __init__(self, slot: ConditioningSlot, mask: Tensor) -> None:
        super().__init__(slot)
        self.mask = mask

    def __call__(self, attn: Attention, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Attend over the tokens of all views."""
        x = rearrange(hidden_states, "(n v) t c -> n (v t) c", v=self.slot.current().views)
        q, k, v = (
            rearrange(part(x), "n t (h d) -> n h t d", h=attn.heads)
            for part in (attn.to_q, attn.to_k, attn.to_v)
        )
        r = self.mask.shape[-1] // x.shape[1]
        out = dense_attention(q, k, v, self.mask[:, ::r, ::r])
        out = rearrange(out, "n h (v t) d -> (n v) t (h d)", v=self.slot.current().views)
        return attn.to_out[1](attn.to_out[0](out))


def make_conditioning(views: int) -> CameraConditioning:
    """Return the conditioning of the default cameras."""
    cameras = default_ring(views)
    return CameraConditioning(plucker(cameras, SIDE)[None], epipolar_mask(cameras, SIDE)[None])


def attention_runs(views: int) -> dict[str, Runs]:
    """Return the variants of the self-attentions of one evaluation."""
    conditioning = make_conditioning(views)
    assert conditioning.mask is not None
    generator = torch.Generator().manual_seed(0)
    runs: dict[str, Runs] = {"dense": [], "bias": [], "studio": []}
    for side, width, count in LAYERS:
        shape = (3, 1, views * side**2, HEADS, width)  # as the projections leave them
        q, k, v = torch.randn(shape, generator=generator).transpose(2, 3)
        r = (SIDE // side) ** 2
        mask = conditioning.mask[:, ::r, ::r]
        runs["dense"].append((count, partial(dense_attention, q, k, v, mask)))
        runs["bias"].append((count, partial(_bias_attention, q, k, v, conditioning)))
        runs["studio"].append((count, partial(_studio_attention, q, k, v, conditioning)))
    return runs


def _bias_attention(q: Tensor, k: Tensor, v: Tensor, conditioning: CameraConditioning) -> Tensor:
    return masked_attention(q, k, v, conditioning.bias(q.shape[2]))


def _studio_attention(q: Tensor, k: Tensor, v: Tensor, conditioning: CameraConditioning) -> Tensor:
    return joint_attention(q, k, v, conditioning)


def unet_runs(views: int, model: MultiViewUNet) -> dict[str, Runs]:
    """Return both variants of one evaluation of the UNet."""
    conditioning = make_conditioning(views)
    assert conditioning.mask is not None
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, views, 4, SIDE, SIDE, generator=generator)
    text = torch.randn(1, views, 77, 768, generator=generator)
    camera = torch.randn(1, views, 1280, generator=generator)
    t = torch.full((1, views), 500)
    blocks = [m for m in model.modules() if isinstance(m, BasicTransformerBlock)]
    processors = {
        "dense": DenseSelfAttention(model.slot, conditioning.mask),
        "studio": JointSelfAttention(model.slot),
    }

    def run(name: str) -> Tensor:
        for block in blocks:
            block.attn1.set_processor(processors[name])
        return model(latents, t, text, camera, conditioning)

    return {name: [(1, partial(run, name))] for name in processors}


def full_unet() -> MultiViewUNet:
    """Return the full-size UNet with random weights."""
    with torch.device("meta"):
        model = MultiViewUNet(build_unet(network_kwargs(SIZES, "full", "unet")))
    model = model.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.02, generator=generator)
    return model


# --- measuring ------------------------------------------------------------------------------------


def resident(key: str) -> int:
    """Return "VmRSS" or "VmHWM" (the highest so far) of this process in bytes; Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(runs: Runs) -> tuple[float, float, int, list[Tensor]]:
    """Return wall seconds, processor seconds, bytes at the peak and the results of a step."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back
    before, wall, used, results = resident("VmRSS"), 0.0, 0.0, []
    for count, run in runs:
        start, start_used = time.perf_counter(), time.process_time()
        with torch.no_grad():
            results.append(run())
        wall += count * (time.perf_counter() - start)
        used += count * (time.process_time() - start_used)
    return wall, used, resident("VmHWM") - before, results


def available() -> int:
    """Return the machine's free memory in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def compare(runs: dict[str, Runs], needed: dict[str, int], rounds: int) -> dict[str, Any]:
    """Let the variants take turns; return medians of what `measure` says, and their difference.

    Before the first round `studio` runs once more, for its memory only: it builds what it keeps.
    """
    names = [name for name in runs if needed.get(name, 0) <= 0.8 * available()]
    for name in set(runs) - set(names):
        print(f"{name}: needs {needed[name] / GIB:.1f} GiB, left out")
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    results, built = {}, measure(runs["studio"])[2]
    for _ in range(rounds):
        for name in names:
            *numbers, results[name] = measure(runs[name])
            rows[name].append(tuple(numbers))
    out: dict[str, Any] = {}
    for name, given in rows.items():
        wall, used, peaks = zip(*given, strict=True)
        out[name] = {
            "wall_s": statistics.median(wall),
            "cpu_s": statistics.median(used),
            "peak_gib": max(*peaks, built if name == "studio" else 0) / GIB,
        }
    if "dense" in out:
        out["faster"] = out["dense"]["wall_s"] / out["studio"]["wall_s"]
        out["faster_cpu"] = out["dense"]["cpu_s"] / out["studio"]["cpu_s"]
        pairs = zip(results["dense"], results["studio"], strict=True)
        out["difference"] = max((a - b).abs().max().item() for a, b in pairs)
    return out


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--views", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unet", action="store_true", help="whole evaluations instead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = full_unet() if options.unet else None
    print(
        f"{options.threads} threads, {'unet' if model else 'attention'}, seconds wall (cpu), peak"
    )
    table = {}
    for views in options.views:
        runs = attention_runs(views) if model is None else unet_runs(views, model)
        scores = HEADS * (views * SIDE**2) ** 2 * 4
        row = table[views] = compare(runs, {"dense": 3 * scores}, options.rounds)
        for name in runs:
            if name in row:
                wall, used, peak = row[name].values()
                print(f"V={views} {name:7} {wall:7.2f} s ({used:7.2f}) {peak:6.2f} GiB", flush=True)
        if "faster" in row:
            print(
                f"V={views} faster by {row['faster']:.1f} (cpu {row['faster_cpu']:.1f}), "
                f"largest difference {row['difference']:.1e}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
