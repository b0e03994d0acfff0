"""Renders the demo's posed pictures: an object that no training run has seen, from three sides.

python -m benchmarks.demo_views [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.demo_pictures import PICTURES
from studio.cameras import orbit_cameras
from studio.data.procedural import render_object
from studio.data.procedural_objects import split_seed
from studio.views import ViewSet

SIDE = 128


def main(folder: Path) -> None:
    """Write the car of load/images as its own picture shows it, and from two other sides."""
    category, index, azimuth, _ = PICTURES["car"]
    cameras = orbit_cameras([azimuth + turn for turn in (0.0, 112.5, 247.5)], 30.0, size=SIDE)
    rendered = render_object(category, split_seed(index, "val", 0), cameras, supersample=4)
    images = torch.from_numpy(rendered.rgba).permute(0, 3, 1, 2)
    ViewSet(images, cameras).save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "load/posed/car"))
