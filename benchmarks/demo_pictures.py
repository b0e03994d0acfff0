"""The demo's input images, rendered: procedural objects that no training run has seen.

python -m benchmarks.demo_pictures [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from studio.cameras import orbit_cameras
from studio.data.procedural.dataset import render_object
from studio.data.procedural.objects import split_seed
from studio.io.images import composite, save_png

PICTURES = {  # name: category, test object, azimuth in degrees, background (None: transparent)
    "car": ("car", 9006, 36.0, None),
    "car-on-white": ("car", 9003, 30.0, 1.0),
    "sofa-blue": ("armchair", 9001, 33.0, None),
    "sofa-pink": ("armchair", 9004, 40.0, None),
}


def main(folder: Path) -> None:
    """Write every picture, 256 px, seen from elevation 30 degrees."""
    for name, (category, index, azimuth, background) in PICTURES.items():
        cameras = orbit_cameras([azimuth], 30.0, size=256)
        rendered = render_object(category, split_seed(index, "val", 0), cameras, supersample=4)
        rgba = torch.from_numpy(rendered.rgba[0]).permute(2, 0, 1)
        if background is not None:
            rgba = torch.cat([composite(rgba, background), torch.ones_like(rgba[:1])])
        save_png(folder / f"{name}.png", rgba)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "load/images"))
