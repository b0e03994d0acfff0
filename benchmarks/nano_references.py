"""How good nano EscherNet's views are, by the number of reference pictures.

    python -m benchmarks.nano_references [--objects 20] [--counts 1 2 3 5] [--out FOLDER]

PSNR and SSIM (64 px, white background) over 16 views of procedural objects it has never seen, and
how consistent each set of views is in itself. The first reference is seen from the front left;
the others are spread evenly over the ring. Views that are references themselves are left out of
PSNR and SSIM: the same views for every count. "nearest references" answers every view with the
reference whose camera is nearest to it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

from benchmarks.nano import UNSEEN_SEED, table
from studio.callbacks.preview import picture_grid
from studio.config import plain
from studio.data.procedural import ProceduralData
from studio.guidance.base import Guidance
from studio.metrics.consistency import view_consistency
from studio.metrics.image import psnr, ssim
from studio.registry import build
from studio.views import Condition, ViewSet

CONFIG, TRAINING = "configs/eschernet-neus.yaml", "configs/train/nano-eschernet.yaml"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--weights", help="instead of the shipped ones")
    parser.add_argument("--out", default="outputs/benchmark-nano")
    args = parser.parse_args()
    options = plain(OmegaConf.load(CONFIG))["system"]["guidance"]
    options |= {"weights": args.weights} if args.weights else {}
    guidance = build("guidance", "eschernet", options).eval()
    objects = unseen_objects(args.objects)
    rows, sheet = {}, [views.rgb_on()[::2] for views in objects[:6]]
    for count in args.counts:
        made, seconds = answers(guidance, objects, count)
        name = f"EscherNet, {count} reference{'s' * (count > 1)}"
        rows[name] = figures(made, objects, args.counts) | {"s/object": seconds}
        near = [nearest(views, positions(count, len(views))) for views in objects]
        rows[f"nearest of {count}"] = figures(near, objects, args.counts)
        sheet += [views.rgb_on()[::2] for views in made[:6]]
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    shown = min(6, len(objects))
    order = [k * shown + i for i in range(shown) for k in range(len(args.counts) + 1)]
    grid = picture_grid(torch.cat([sheet[k] for k in order]), columns=len(sheet[0]))
    Image.fromarray(grid).save(out / "references.png")
    (out / "references.json").write_text(json.dumps(rows, indent=1))
    print(table(rows))


def unseen_objects(count: int) -> list[ViewSet]:
    """Return rings of unseen objects, turned so that view 0 is the first reference."""
    data = plain(OmegaConf.load(TRAINING))["data"]
    unseen = {**data, "val_objects": count, "seed": UNSEEN_SEED, "cache_dir": None}
    rings = ProceduralData(ProceduralData.Config(**unseen)).rings("val")
    return [rings.seen_from(i) for i in range(count)]


def positions(count: int, ring: int) -> list[int]:
    """Ring positions of the references."""
    return [k * ring // count for k in range(count)]


def answers(guidance: Guidance, objects: list[ViewSet], count: int) -> tuple[list[ViewSet], float]:
    """Return the views made from `count` references of each object, and seconds per object."""
    began, made = time.perf_counter(), []
    for i, views in enumerate(objects):
        condition = Condition(views=views.select(positions(count, len(views))))
        generator = torch.Generator().manual_seed(i)
        made.append(guidance.generate(condition, views.cameras, generator=generator))
    return made, (time.perf_counter() - began) / len(objects)


def nearest(views: ViewSet, references: list[int]) -> ViewSet:
    """Answer every view with the reference whose camera is nearest."""
    distance = torch.cdist(views.cameras.centres, views.cameras.centres[references])
    chosen = [references[k] for k in distance.argmin(1).tolist()]
    return ViewSet(views.images[chosen], views.cameras)


def figures(made: list[ViewSet], objects: list[ViewSet], counts: list[int]) -> dict[str, float]:
    """Return PSNR and SSIM over the views that no count has as a reference, and consistency."""
    ring = len(objects[0])
    seen = {k for count in counts for k in positions(count, ring)}
    fair = [k for k in range(ring) if k not in seen]
    found: dict[str, list[float]] = {"PSNR": [], "SSIM": [], "colour": [], "silhouette": []}
    for views, truth in zip(made, objects, strict=True):
        a, b = views.rgb_on()[fair], truth.rgb_on()[fair]
        found["PSNR"].append(psnr(a, b))
        found["SSIM"].append(float(np.mean([ssim(x, y) for x, y in zip(a, b, strict=True)])))
        consistency = view_consistency(views)
        found["colour"].append(consistency.colour_db)
        found["silhouette"].append(consistency.silhouette_iou)
    return {k: float(np.mean(v)) for k, v in found.items()}


if __name__ == "__main__":
    main()
