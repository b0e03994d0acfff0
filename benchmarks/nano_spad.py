"""Agreement of nano SPAD's views with the text and with each other.

    python -m benchmarks.nano spad [--objects 40] [--views 8] [--out FOLDER]

Captions of unseen objects are the prompts. Text alignment, without a network of another project:
the training object that looks most like the made views (mean squared difference at 16 px over all
views) is looked up, and its caption compared with the prompt: same kind (car or seat), same main
colour. "true views" are the upper bound of this measure, "another prompt" compares with the
caption of the next object: chance. Consistency is that of the views with each other, see
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.answers import agreement, answer, gathered, guidance_of, means
from benchmarks.tables import table
from benchmarks.unseen import small, training_pictures, training_ring_views, unseen_ring_views
from studio.data.training.ring_views import RingViews
from studio.runs.previews import picture_grid
from studio.views import Condition, ViewSet

CONFIG, TRAINING = "configs/spad-neus.yaml", "configs/train/nano-spad.yaml"
KINDS = {"car": "car", "van": "car", "sofa": "seat", "armchair": "seat"}


def main(words: list[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser("benchmarks.nano spad", description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--weights", help="instead of the shipped ones")
    parser.add_argument("--out", default="outputs/benchmark-nano")
    args = parser.parse_args(words)
    guidance = guidance_of(CONFIG, args.weights)
    ring_views = unseen_ring_views(TRAINING, args.objects)
    step = len(ring_views.cameras) // args.views
    ring = list(range(0, len(ring_views.cameras), step))
    search = NearestCaption(training_ring_views(TRAINING), ring)
    truth = [ring_views.seen_from(i, 0).select(ring) for i in range(args.objects)]
    began, made = time.perf_counter(), []
    for i, views in enumerate(truth):
        condition = Condition(text=ring_views.captions[i])
        made.append(answer(guidance, condition, views.cameras, seed=i))
    seconds = (time.perf_counter() - began) / args.objects
    captions = list(ring_views.captions)
    rows = {
        "true views": search.figures(truth, captions),
        "SPAD": search.figures(made, captions) | {"s/object": seconds},
        "SPAD, another prompt": search.figures(made, captions[2:] + captions[:2]),
    }
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    grid = picture_grid(torch.cat([v.rgb_on() for v in made[:8]]), columns=len(ring))
    Image.fromarray(grid).save(out / "text.png")
    (out / "text.json").write_text(json.dumps(rows | {"prompts": captions[:8]}, indent=1))
    print(table(rows))


class NearestCaption:
    """Finds the training object that looks most like a set of views."""

    def __init__(self, train: RingViews, ring: list[int]) -> None:
        pictures = (small(training_pictures(train, n)[ring]) for n in range(len(train.images)))
        self.pictures: Tensor = torch.stack(list(pictures))
        self.captions = train.captions

    def caption(self, views: ViewSet) -> str:
        """Return the caption of the nearest training object."""
        error = (self.pictures - small(views.rgb_on())).square().flatten(1).mean(1)
        return self.captions[int(error.argmin())]

    def figures(self, made: list[ViewSet], prompts: list[str]) -> dict[str, float]:
        """Return the shares of views whose nearest object is of the prompt's kind and colour."""
        return means(gathered(self._figures(*pair) for pair in zip(made, prompts, strict=True)))

    def _figures(self, views: ViewSet, prompt: str) -> dict[str, float]:
        (kind, colour), (near_kind, near_colour) = words(prompt), words(self.caption(views))
        found = agreement(views)
        return {
            "kind": kind == near_kind,
            "colour": colour == near_colour,
            "both": kind == near_kind and colour == near_colour,
            "consistency": found["colour"],
            "silhouette": found["silhouette"],
        }


def words(caption: str) -> tuple[str, str]:
    """Return kind and main colour of a caption of the generator, "a <colour> <kind> ..."."""
    _, colour, kind, *_ = caption.split()
    return KINDS.get(kind, kind), colour
