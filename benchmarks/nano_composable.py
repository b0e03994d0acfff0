"""Quality of composable ViewFusion by the number of input images, on procedural objects never seen.

    python -m benchmarks.nano composable [--weights load/nano/viewfusion-composable]
        [--objects 20] [--views 1 2 4 6] [--runs ddim:10] [--out FOLDER]

PSNR and SSIM of six targets per object against the true views, 64 px on white. Inputs and targets
are drawn once per object: targets are never among the inputs, and more inputs hold all those of
fewer. `--runs` compares samplers, such as `ddim:10 ddim:5 ddim:25 ancestral:0` (0: all 2000 steps),
from the same start noise. The answer that needs no model is the input whose angle is nearest to the
target's. As objects differ more than settings do, the second table has the mean differences object
by object, and their standard errors: of more inputs to the number before, and of runs to the first.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from benchmarks.answers import answer
from benchmarks.tables import cell
from benchmarks.unseen import unseen_ring_views
from studio.metrics.image import psnr, ssim
from studio.plugins.options import build
from studio.runs.previews import picture_grid
from studio.views import Condition, ViewSet

TARGETS = 6
MOST_INPUTS = 6
NEAREST = "nearest input"
Row = dict[str, Any]
"""PSNR and SSIM object by object, and the seconds that a view took."""


@dataclass(frozen=True)
class Question:
    """An object's inputs, in the order in which they are given, and its targets."""

    inputs: ViewSet
    targets: ViewSet


def main(words: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "benchmarks.nano composable", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--weights", default="load/nano/viewfusion-composable")
    parser.add_argument("--training", default="configs/train/nano-viewfusion-composable.yaml")
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4, 6])
    parser.add_argument("--runs", nargs="+", default=["ddim:5"], metavar="SAMPLER:STEPS")
    parser.add_argument("--out", default="outputs/benchmark-viewfusion-composable")
    args = parser.parse_args(words)
    asked = questions(args.training, args.objects)
    rows: dict[str, Row] = {}
    sheet = [q.targets.rgb_on() for q in asked[:4]]
    for count in args.views:
        made = [nearest(q, count) for q in asked]
        rows[name(count, NEAREST)] = figures(made, asked)
    for run in args.runs:
        sampler, steps = run.split(":")
        options = {"weights": args.weights, "sampler": sampler, "steps": int(steps)}
        guidance = build("guidance", "viewfusion-composable", options).eval()
        for count in args.views:
            began = time.perf_counter()
            made = [targets_from(guidance, q, count, seed) for seed, q in enumerate(asked)]
            seconds = (time.perf_counter() - began) / len(made) / TARGETS
            row = rows[name(count, run)] = figures(made, asked) | {"s/view": seconds}
            print(f"{name(count, run)}: {np.mean(row['PSNR']):.2f} dB", flush=True)
            sheet += made[:4]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps(vars(args) | {"rows": rows}, indent=1))
    Image.fromarray(picture_grid(torch.cat(sheet), 4 * TARGETS)).save(out / "views.png")
    print(table(rows), differences(rows, args.views, args.runs), sep="\n\n")


def name(count: int, run: str) -> str:
    """Return what a row is called."""
    return f"{count} view(s), {run}"


def questions(training: str, objects: int) -> list[Question]:
    """Return the unseen objects with inputs and targets, the same in every run."""
    ring_views = unseen_ring_views(training, objects)
    asked = []
    for i in range(objects):
        order = np.random.default_rng(i).permutation(len(ring_views.cameras)).tolist()
        views = ring_views.seen_from(i, 0)
        inputs, targets = order[:MOST_INPUTS], order[MOST_INPUTS:][:TARGETS]
        asked.append(Question(views.select(inputs), views.select(targets)))
    return asked


def targets_from(guidance: Any, asked: Question, count: int, seed: int) -> Float[Tensor, "t 3 h w"]:
    """Return the targets as made from the first `count` inputs."""
    given = Condition(views=asked.inputs.select(list(range(count))))
    return answer(guidance, given, asked.targets.cameras, seed).rgb_on()


def nearest(asked: Question, count: int) -> Float[Tensor, "t 3 h w"]:
    """Return, for every target, the one of the first `count` inputs that stands nearest to it."""
    eyes, wanted = asked.inputs.cameras.centres[:count], asked.targets.cameras.centres
    return asked.inputs.rgb_on()[torch.cdist(wanted, eyes).argmin(dim=1)]


def figures(made: list[Float[Tensor, "t 3 h w"]], asked: list[Question]) -> Row:
    """Return PSNR and SSIM of every object, the means over its targets."""
    row: Row = {"PSNR": [], "SSIM": []}
    for pictures, question in zip(made, asked, strict=True):
        pairs = list(zip(pictures, question.targets.rgb_on(), strict=True))
        row["PSNR"].append(float(np.mean([psnr(a, b) for a, b in pairs])))
        row["SSIM"].append(float(np.mean([ssim(a, b) for a, b in pairs])))
    return row


def table(rows: dict[str, Row]) -> str:
    """Return the means over objects as a Markdown table."""
    lines = ["| | PSNR | SSIM | s/view |", "| --- | --- | --- | --- |"]
    for title, row in rows.items():
        seconds = f"{row['s/view']:.2f}" if "s/view" in row else "–"
        means = f"{np.mean(row['PSNR']):.2f} | {np.mean(row['SSIM']):.3f}"
        lines.append(f"| {title} | {means} | {seconds} |")
    return "\n".join(lines)


def differences(rows: dict[str, Row], counts: list[int], runs: list[str]) -> str:
    """Return mean differences and their standard errors as a Markdown table."""
    pairs = [
        (name(more, run), name(fewer, run))
        for run in (NEAREST, *runs)
        for fewer, more in zip(counts, counts[1:], strict=False)
    ]
    pairs += [(name(count, run), name(count, runs[0])) for run in runs[1:] for count in counts]
    lines = ["| | PSNR | SSIM |", "| --- | --- | --- |"]
    for one, other in pairs:
        digits = {"PSNR": 2, "SSIM": 3}
        cells = [cell(rows[one][key], rows[other][key], n) for key, n in digits.items()]
        lines.append(f"| {one} – {other} | {' | '.join(cells)} |")
    return "\n".join(lines)
