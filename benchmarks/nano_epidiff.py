"""Quality of nano EpiDiff's views and meshes, on procedural objects that it has never seen.

    python -m benchmarks.nano epidiff [--objects 20] [--seconds 8] [--meshes 10] [--out FOLDER]

Views: PSNR and SSIM of 16 made views against the true ones (64 px, white background), and how
consistent each set is in itself, for nano EpiDiff, nano Zero-1-to-3 without epipolar blocks, and
three answers that need no model: the input repeated, the mean training picture, and the views of
the training object whose picture is nearest to the input. Meshes: Chamfer distance (mean of both
directions, unsquared, longest side 1) and volume IoU of what is reconstructed from the made and
from the true views.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.answers import (
    agreement,
    answer,
    gathered,
    guidance_of,
    likeness,
    means,
    save_sheet,
)
from benchmarks.tables import table
from benchmarks.unseen import small, training_pictures, training_ring_views, unseen_data
from studio.config import plain
from studio.guidance.backgrounds import generated_views
from studio.mesh import Mesh, MeshOptions
from studio.metrics.mesh import chamfer, volume_iou
from studio.models.sdf.model import SDFModel
from studio.plugins.options import build
from studio.views import Condition, ViewSet

COLUMNS = ("PSNR", "SSIM", "colour", "silhouette", "Chamfer", "IoU", "IoU min", "s/object")


def main(words: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser("benchmarks.nano epidiff", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each reconstruction")
    parser.add_argument("--meshes", type=int, default=10, help="objects reconstructed")
    parser.add_argument("--config", default="configs/epidiff-neus.yaml")
    parser.add_argument("--training", default="configs/train/nano-epidiff.yaml")
    parser.add_argument("--out", default="outputs/benchmark-nano")
    args = parser.parse_args(words)
    bench = NanoBenchmark(args.config, args.training, args.objects, args.seconds)
    rows = bench.views()
    if args.meshes:
        for name in ("EpiDiff", "true views"):
            rows[name] |= bench.meshes(name, args.meshes)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    names = ("true views", "Zero-1-to-3, no epipolar blocks", "EpiDiff")
    save_sheet(out / "views.png", [bench.made[name] for name in names])
    (out / "nano.json").write_text(json.dumps(rows, indent=1))
    print(table(rows, COLUMNS))


class NanoBenchmark:
    """The unseen objects, the answers to them, and their figures."""

    def __init__(self, config: str, training: str, objects: int, seconds: float) -> None:
        self.options: Any = plain(OmegaConf.load(config))["system"]
        self.seconds = seconds
        self.train = training_ring_views(training)
        self.data = unseen_data(training, objects)
        self.ring_views = self.data.ring_views("val")
        guidance = self.options["guidance"]
        base = {k: guidance[k] for k in ("steps", "guidance_scale")}
        self.epidiff = guidance_of(config)
        self.zero123 = build("guidance", "zero123", {"weights": guidance["base"], **base}).eval()
        self.made: dict[str, list[ViewSet]] = {}

    def views(self) -> dict[str, dict[str, float]]:
        """Return the figures of the made views, by method."""
        methods: dict[str, Callable[[int], ViewSet]] = {
            "true views": self.true_views,
            "input repeated": lambda i: self._same(self.true_views(i).rgb_on()[:1]),
            "mean training picture": lambda i: self._same(self._mean_picture()),
            "nearest training object": self.nearest,
            "Zero-1-to-3, no epipolar blocks": lambda i: self._generate(self.zero123, i),
            "EpiDiff": lambda i: self._generate(self.epidiff, i),
        }
        rows: dict[str, dict[str, float]] = {}
        for name, method in methods.items():
            began = time.perf_counter()
            self.made[name] = [method(i) for i in range(len(self.ring_views.images))]
            seconds = (time.perf_counter() - began) / len(self.ring_views.images)
            rows[name] = self._figures(name) | {"s/object": seconds}
            print(f"{name}: {rows[name]}", flush=True)
        return rows

    def _figures(self, name: str) -> dict[str, float]:
        made, truth = self.made[name], self.made["true views"]
        figures = means(gathered(map(agreement, made)))
        if name == "true views":
            return figures
        pairs = zip(made, truth, strict=True)
        return means(gathered(likeness(a.rgb_on(), b.rgb_on()) for a, b in pairs)) | figures

    # --- the answers ----------------------------------------------------------------------------

    def true_views(self, i: int) -> ViewSet:
        """Return the rendered ring of an unseen object."""
        return self.ring_views.seen_from(i)

    def nearest(self, i: int) -> ViewSet:
        """Return the ring of the training object, turned, that looks most like the input."""
        wanted = small(self.true_views(i).rgb_on()[:1])
        if not hasattr(self, "_small"):
            self._small = torch.cat(
                [small(training_pictures(self.train, n)) for n in range(len(self.train.images))]
            )
        error = (self._small - wanted).square().flatten(1).mean(1)
        count = len(self.ring_views.cameras)
        best = int(error.argmin())  # of all objects, turned by all steps of the ring
        pictures = training_pictures(self.train, best // count)
        return self._on_white(pictures.roll(-(best % count), 0))

    def _mean_picture(self) -> Tensor:
        if not hasattr(self, "_mean"):
            sums = [training_pictures(self.train, n).mean(0) for n in range(0, 400)]
            self._mean = torch.stack(sums).mean(0, keepdim=True)
        return self._mean

    def _same(self, picture: Tensor) -> ViewSet:
        return self._on_white(picture.expand(len(self.ring_views.cameras), -1, -1, -1))

    def _on_white(self, rgb: Tensor) -> ViewSet:
        return generated_views(rgb * 2 - 1, self.ring_views.cameras, {})

    def _generate(self, guidance: Any, i: int) -> ViewSet:
        condition = Condition(image=self.true_views(i).images[0])
        return answer(guidance, condition, self.ring_views.cameras, seed=i)

    # --- meshes ---------------------------------------------------------------------------------

    def meshes(self, name: str, count: int) -> dict[str, float]:
        """Return Chamfer distance and volume IoU of the reconstructions from a method's views."""
        distances, overlaps = [], []
        for i, views in enumerate(self.made[name][:count]):
            mesh = self.reconstruct(views)
            truth = self.data.truth(
                "val", i, self.ring_views.references[0] if self.ring_views.references else 0
            )
            distances.append(chamfer(mesh, truth.mesh()))
            overlaps.append(volume_iou(mesh, truth.occupancy))
            print(f"{name} {i}: {distances[-1]:.4f} {overlaps[-1]:.3f}", flush=True)
        return {
            "Chamfer": float(np.mean(distances)),
            "IoU": float(np.mean(overlaps)),
            "IoU min": float(np.min(overlaps)),
        }

    def reconstruct(self, views: ViewSet) -> Mesh:
        """Fit the chain's reconstruction to views and return its mesh, without decimation."""
        names = {option.name for option in fields(SDFModel.Config)}
        options = {k: v for k, v in self.options.items() if k in names}
        model = build("model", "sdf", options, key="system")
        model.fit(views, seconds=self.seconds)
        return model.mesh(self.options["exporter"]["resolution"], MeshOptions(faces=0))
