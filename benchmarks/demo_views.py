"""The demos' sets of images, rendered: objects that no training run has seen, from three sides.

python -m benchmarks.demo_views [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.demo_pictures import PICTURES
from studio.cameras import Cameras, orbit_cameras
from studio.data.procedural.dataset import render_object
from studio.data.procedural.objects import split_seed
from studio.data.training.nmr_cameras import nmr_ring
from studio.io.images import save_png
from studio.views import ViewSet

SIDE = 128
TURNS = (0.0, 112.5, 247.5)  # of the posed pictures from the first one, degrees
UNPOSED = {"car": (22, 9, 17), "sofa-blue": (22, 9, 17)}  # positions in the ring of NMR


def main(folder: Path) -> None:
    """Write posed/car (a capture: pictures and cameras) and pictures alone in unposed/."""
    azimuth = PICTURES["car"][2]
    posed = orbit_cameras([azimuth + turn for turn in TURNS], 30.0, size=SIDE)
    seen("car", posed).save(folder / "posed" / "car")
    for name, positions in UNPOSED.items():
        views = seen(name, nmr_ring(SIDE)[list(positions)])
        for i, image in enumerate(views.images):
            save_png(folder / "unposed" / name / f"{i}.png", image)


def seen(name: str, cameras: Cameras) -> ViewSet:
    """Return views of the object of a demo picture."""
    category, index, *_ = PICTURES[name]
    rendered = render_object(category, split_seed(index, "val", 0), cameras, supersample=4)
    return ViewSet(torch.from_numpy(rendered.rgba).permute(0, 3, 1, 2), cameras)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "load"))
