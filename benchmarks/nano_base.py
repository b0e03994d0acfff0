"""Quality of Zero-1-to-3 models on unseen everyday things, by kind, at one resolution.

    python -m benchmarks.nano base [--weights FOLDER ...] [--objects 42] [--steps 10]
        [--seen-from 1] [--photos] [--out FOLDER]

PSNR and SSIM of the 15 other views of a ring at 128 px, each made on its own from one picture; what
a model makes at a lower resolution is enlarged. Beside them two answers that need no model: the
input repeated, and white pictures. `--photos` gives pictures as people take them (any elevation,
lens and framing, faults) in place of the ring's own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.answers import Figures, answer, gathered, likeness, means, save_sheet
from benchmarks.tables import table
from benchmarks.unseen import unseen_data
from studio.data.training.ring_views import ring_batch
from studio.guidance.backgrounds import generated_views
from studio.io.images import on_white
from studio.plugins.options import build
from studio.systems.guidance_training import item_object
from studio.views import Condition, ViewSet


def main(words: list[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser("benchmarks.nano base", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", nargs="+", default=["load/nano/zero123-any"])
    parser.add_argument("--training", default="configs/train/nano128-base.yaml")
    parser.add_argument("--objects", type=int, default=42)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seen-from", type=int, default=1, help="ring position of the input")
    parser.add_argument("--photos", action="store_true", help="inputs as people take them")
    parser.add_argument("--out", default="outputs/benchmark-nano-base")
    args = parser.parse_args(words)
    objects = Objects(args.training, args.objects, args.seen_from, args.photos)
    answers = {"input repeated": objects.repeated(), "white": objects.white()}
    for folder in args.weights:
        answers[folder] = objects.made(folder, args.steps)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    found = {name: objects.figures(views) for name, views in answers.items()}
    shown = [objects.truth, *(answers[folder] for folder in args.weights)]
    save_sheet(out / "views.png", shown, objects=len(objects.truth))
    (out / "figures.json").write_text(json.dumps(vars(args) | {"objects": found}, indent=1))
    print(table({name: means(figures) for name, figures in found.items()}), "", sep="\n")
    print(objects.by_kind({name: found[name]["PSNR"] for name in found}))


class Objects:
    """Unseen objects, the pictures that are given of them, and their true views."""

    def __init__(self, training: str, count: int, seen_from: int, photos: bool) -> None:
        self.data = unseen_data(training, count)
        ring = self.data.ring_views("val")
        self.cameras = ring.cameras
        self.kinds = [self.data.identity("val", i)[0] for i in range(count)]
        self.truth: list[ViewSet] = []
        self.given: list[Condition] = []
        for i in range(count):
            at = seen_from
            if photos and ring.inputs is not None:
                at = int(ring.inputs.at[i, 0])
            views = ring.seen_from(i, at)
            self.truth.append(views)
            if not photos:
                self.given.append(Condition(image=views.images[0]))
                continue
            batch = ring_batch(
                ring,
                np.array([i]),
                np.array([[at]]),
                np.arange(len(ring.cameras))[None],
                inputs=np.array([0]),
                faults=np.random.default_rng(i),
            )
            taken = item_object({name: values[0] for name, values in batch.items()}).references
            elevation = float(taken.cameras.spherical()[1][0])
            self.given.append(Condition(image=taken.images[0], elevation_deg=elevation))

    def made(self, folder: str, steps: int) -> list[ViewSet]:
        """Return the views that a model makes of every object, at the ring's resolution."""
        options: dict[str, Any] = {"weights": folder, "steps": steps, "guidance_scale": 1.0}
        guidance = build("guidance", "zero123", options).eval()
        cameras = self.cameras.resized(*(guidance.cfg.resolution,) * 2)
        views = [answer(guidance, given, cameras, seed=i) for i, given in enumerate(self.given)]
        return [self._on_white(v.rgb_on()) for v in views]

    def repeated(self) -> list[ViewSet]:
        """Return the picture itself in place of every view."""
        pictures = [on_white(given.image[None], self.cameras.size[0]) for given in self.given]
        return [self._on_white(p.expand(len(self.cameras), -1, -1, -1)) for p in pictures]

    def white(self) -> list[ViewSet]:
        """Return white pictures."""
        nothing = torch.ones(len(self.cameras), 3, 8, 8)
        return [self._on_white(nothing) for _ in self.given]

    def _on_white(self, rgb: Tensor) -> ViewSet:
        size = self.cameras.size
        if tuple(rgb.shape[-2:]) != tuple(size):
            rgb = F.interpolate(rgb, size, mode="bilinear", antialias=True)
        return generated_views(rgb * 2 - 1, self.cameras, {})

    def figures(self, made: list[ViewSet]) -> Figures:
        """Return every object's figures, without the view at the input's azimuth."""
        pairs = zip(made, self.truth, strict=True)
        return gathered(likeness(a.rgb_on()[1:], b.rgb_on()[1:]) for a, b in pairs)

    def by_kind(self, psnr: dict[str, list[float]]) -> str:
        """Return a table of the mean PSNR of every kind."""
        rows = {}
        for kind in dict.fromkeys(self.kinds):
            of_kind = [k == kind for k in self.kinds]
            rows[kind] = {n: float(np.mean(np.array(v)[of_kind])) for n, v in psnr.items()}
        return table(rows)


if __name__ == "__main__":
    main()
