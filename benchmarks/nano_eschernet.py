"""Quality of nano EscherNet's views, by the number of reference images.

    python -m benchmarks.nano eschernet [--objects 20] [--counts 1 2 3 5] [--out FOLDER]

PSNR and SSIM (64 px, white background) over 16 views of procedural objects it has never seen, and
how consistent each set of views is in itself. The first reference is any view of the ring;
every further one stands a golden angle on, so that those of fewer are among those of more. Views
that are a reference for any number are left out of PSNR and SSIM; objects, noise and views that
count are the same for all numbers, so that differences are those of pairs. "nearest of N" answers
every view with the reference whose camera is nearest to it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.answers import (
    Figures,
    agreement,
    answer,
    gathered,
    guidance_of,
    likeness,
    means,
    save_sheet,
)
from benchmarks.tables import difference, table
from benchmarks.unseen import UNSEEN_SEED, unseen_ring_views
from studio.guidance.base import Guidance
from studio.views import Condition, ViewSet

CONFIG, TRAINING = "configs/eschernet-neus.yaml", "configs/train/nano-eschernet.yaml"
GOLDEN = (3 - math.sqrt(5)) / 2  # of a full turn


def main(words: list[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        "benchmarks.nano eschernet", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--weights", help="instead of the shipped ones")
    parser.add_argument("--out", default="outputs/benchmark-nano")
    args = parser.parse_args(words)
    guidance = guidance_of(CONFIG, args.weights)
    objects = unseen_objects(args.objects)
    ring, counts = len(objects[0]), args.counts
    fair = [k for k in range(ring) if k not in positions(max(counts), ring)]
    found: dict[str, Figures] = {}
    rows, shown = {}, [objects]
    for count in counts:
        made, seconds = answers(guidance, objects, count)
        near = [nearest(views, positions(count, ring)) for views in objects]
        for name, views in ((f"EscherNet of {count}", made), (f"nearest of {count}", near)):
            found[name] = figures(views, objects, fair)
            rows[name] = means(found[name])
        rows[f"EscherNet of {count}"]["s/object"] = seconds
        shown.append(made)
    gains = [gain(found, f"EscherNet of {b}", f"EscherNet of {a}") for a, b in pairwise(counts)]
    gains += [gain(found, f"EscherNet of {n}", f"nearest of {n}") for n in counts]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    save_sheet(out / "references.png", shown)
    document = {"views": fair, "means": rows, "gains": gains, "objects": found}
    (out / "references.json").write_text(json.dumps(document, indent=1))
    print(table(rows), gain_table(gains), sep="\n\n")


def unseen_objects(count: int) -> list[ViewSet]:
    """Return views of unseen objects, turned so that any view, drawn for each, is view 0."""
    ring_views = unseen_ring_views(TRAINING, count)
    first = np.random.default_rng(UNSEEN_SEED).integers(len(ring_views.cameras), size=count)
    return [ring_views.seen_from(i, int(first[i])) for i in range(count)]


def positions(count: int, ring: int) -> list[int]:
    """Return different ring positions of references, well spread; fewer are the first of more.

    Raises:
        ValueError: if the ring has no so many.
    """
    order = dict.fromkeys(round(k * GOLDEN * ring) % ring for k in range(8 * ring))
    if not 1 <= count <= len(order):
        raise ValueError(f"{count} references of a ring of {ring} views")
    return list(order)[:count]


def answers(guidance: Guidance, objects: list[ViewSet], count: int) -> tuple[list[ViewSet], float]:
    """Return the views made from `count` references of each object, and seconds per object."""
    began, made = time.perf_counter(), []
    for i, views in enumerate(objects):
        condition = Condition(views=views.select(positions(count, len(views))))
        made.append(answer(guidance, condition, views.cameras, seed=i))
    return made, (time.perf_counter() - began) / len(objects)


def nearest(views: ViewSet, references: list[int]) -> ViewSet:
    """Answer every view with the reference whose camera is nearest."""
    distance = torch.cdist(views.cameras.centres, views.cameras.centres[references])
    chosen = [references[k] for k in distance.argmin(1).tolist()]
    return ViewSet(views.images[chosen], views.cameras)


def figures(made: list[ViewSet], objects: list[ViewSet], fair: list[int]) -> Figures:
    """Return every object's PSNR (of all views together) and SSIM over some views, consistency."""
    return gathered(
        likeness(a.rgb_on()[fair], b.rgb_on()[fair]) | agreement(a)
        for a, b in zip(made, objects, strict=True)
    )


def gain(found: dict[str, Figures], more: str, less: str) -> dict[str, str | float]:
    """Return by how much one way is better than another, object by object.

    Mean and its standard error of the differences in PSNR (dB) and SSIM, and the share of objects
    whose PSNR is higher.
    """
    row: dict[str, str | float] = {"more": more, "less": less}
    for key in ("PSNR", "SSIM"):
        row[key], row[f"{key} error"] = difference(found[more][key], found[less][key])
    row["share"] = float(np.mean(np.greater(found[more]["PSNR"], found[less]["PSNR"])))
    return row


def gain_table(gains: list[dict[str, str | float]]) -> str:
    """Return the differences as a Markdown table."""
    lines = ["| better by | PSNR | SSIM | objects |", "| --- | --- | --- | --- |"]
    for row in gains:
        lines.append(
            f"| {row['more']} than {row['less']} "
            f"| {row['PSNR']:+.2f} ± {row['PSNR error']:.2f} "
            f"| {row['SSIM']:+.4f} ± {row['SSIM error']:.4f} | {row['share']:.0%} |"
        )
    return "\n".join(lines)
