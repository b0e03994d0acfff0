"""Gain of interpolated denoising over nano Zero-1-to-3, on procedural objects never seen.

    python -m benchmarks.nano interpolated [--weights FOLDER] [--objects 40] [--skip 20]
        [--steps 10] [--eta 0] [--temperatures 1.0 0.5] [--sides] [--out FOLDER]

PSNR and SSIM of 15 made views against the true ones, and how consistent each set is in itself, for
Zero-1-to-3 on its own and for ViewFusion on the same weights with the same steps and start noise;
then the differences, object by object. The input's own position counts nowhere: ViewFusion returns
the input there. True views that went through the autoencoder show what can be reached.
`--sides` measures Zero-1-to-3 with the true view of every side as its input: what it knows of
conditions that are not seen from the front left, which generated views are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.answers import Figures, agreement, gathered, likeness, means, save_sheet
from benchmarks.tables import cell, table
from benchmarks.unseen import unseen_ring_views
from studio.data.training.ring_views import RingViews
from studio.guidance.autoencoder import decode, encode
from studio.guidance.backgrounds import generated_views
from studio.metrics.image import psnr
from studio.plugins.options import build
from studio.views import Condition, ViewSet


def main(words: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "benchmarks.nano interpolated", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--weights", default="load/nano/zero123-any")
    parser.add_argument("--training", default="configs/train/nano-zero123-any.yaml")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--skip", type=int, default=20, help="objects that settings were chosen on")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of classifier-free guidance")
    parser.add_argument("--temperatures", type=float, nargs=2, default=(1.0, 0.5))
    parser.add_argument("--sides", action="store_true", help="inputs from all sides instead")
    parser.add_argument("--out", default="outputs/benchmark-viewfusion-interpolated")
    args = parser.parse_args(words)
    ring_views = unseen_ring_views(args.training, args.skip + args.objects)
    objects = range(args.skip, len(ring_views.images))
    common: dict[str, Any] = {"weights": args.weights, "steps": args.steps, "eta": args.eta}
    common["guidance_scale"] = args.scale
    zero123 = build("guidance", "zero123", common).eval()
    if args.sides:
        print(sides(zero123, ring_views, objects))
        return
    taus = {"input_temperature": args.temperatures[0], "view_temperature": args.temperatures[1]}
    fused = build("guidance", "viewfusion-interpolated", common | taus).eval()
    truth = [ring_views.seen_from(i) for i in objects]
    reach = figures([autoencoded(zero123, views) for views in truth], truth)
    found: dict[str, Figures] = {}
    rows, shown = {"true views, autoencoder": means(reach)}, [truth]
    for name, guidance in {"Zero-1-to-3": zero123, "ViewFusion-interpolated": fused}.items():
        began = time.perf_counter()
        made = [generate(guidance, ring_views, i) for i in objects]
        seconds = (time.perf_counter() - began) / len(made)
        found[name] = figures(made, truth)
        rows[name] = means(found[name]) | {"s/object": seconds}
        shown.append(made)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps(vars(args) | {"rows": rows, "objects": found}))
    save_sheet(out / "views.png", shown)
    alone, both = found.values()
    digits = {"PSNR": 2, "SSIM": 4, "colour": 2, "silhouette": 4}
    gains = [f"{k} {cell(both[k], alone[k], n)}" for k, n in digits.items()]
    print(table(rows), "ViewFusion - Zero-1-to-3: " + ", ".join(gains), sep="\n\n")


def generate(guidance: Any, ring_views: RingViews, i: int, reference: int | None = None) -> ViewSet:
    """Return the ring of an object, made from its reference view."""
    condition = Condition(image=ring_views.seen_from(i, reference).images[0])
    generator = torch.Generator().manual_seed(i)
    latent = guidance.vae.config.latent_channels
    noise = torch.randn(len(ring_views.cameras), latent, 8, 8, generator=generator)
    views: ViewSet = guidance.generate(
        condition, ring_views.cameras, noise=noise, generator=generator
    )
    return views


@torch.no_grad()
def autoencoded(guidance: Any, views: ViewSet) -> ViewSet:
    """Return views as the guidance's autoencoder writes them."""
    latents = encode(guidance.vae, 2 * views.rgb_on() - 1) * guidance.vae.config.scaling_factor
    return generated_views(decode(guidance.vae, latents), views.cameras, {})


def figures(made: list[ViewSet], truth: list[ViewSet]) -> Figures:
    """Return every object's figures, without the input's own position, which is the first."""
    others = list(range(1, len(made[0])))
    pairs = [(a.select(others), b.select(others)) for a, b in zip(made, truth, strict=True)]
    return gathered(likeness(a.rgb_on(), b.rgb_on()) | agreement(a) for a, b in pairs)


def sides(guidance: Any, ring_views: RingViews, objects: range) -> str:
    """Return PSNR by the ring position of the true view that is the input."""
    lines = ["| input seen from | PSNR |", "| --- | --- |"]
    for reference in range(0, len(ring_views.cameras), 2):
        values = [
            psnr(
                generate(guidance, ring_views, i, reference).rgb_on(),
                ring_views.seen_from(i, reference).rgb_on(),
            )
            for i in objects
        ]
        lines.append(f"| {reference * 22.5:g} degrees | {np.mean(values):.2f} |")
    return "\n".join(lines)
