"""Time and quality of reconstruction on the view sets of STUDIO_TEST_DATA.

    STUDIO_TEST_DATA=<folder> python -m benchmarks.reconstruction [--sets NAME ...] [--seconds S]
        [--steps N] [--neus [SECONDS]] [option=value ...]

Chamfer is the mean of both directions, unsquared, of point-to-triangle distances, in world units
(the objects' longest side is 1); IoU is that of volumes; PSNR and SSIM are means over all held-out
views on white. The bunny's base has holes: a point is inside if two rays of fixed directions that
leave it, or else a third one, wind around the surface. With --neus each set is also fitted with
`configs/neus.yaml`, the official NeuS; rendering its views would take longer than the fit and is
left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from studio.config import parse_config
from studio.mesh import MeshOptions
from studio.plugins.options import build
from studio.systems.reconstruction import Reconstruction


@dataclass(frozen=True)
class Scene:
    """A view set and how it is fitted.

    Attributes:
        folder: below STUDIO_TEST_DATA.
        seconds: time budget of the optimisation.
        resolution: picture side in pixels; None keeps it.
    """

    folder: str
    seconds: float
    resolution: int | None = None
    holdout: int = 0  # every n-th view is kept for testing, where the set has no test views


REFERENCE = "reference.ply"
OPEN = (
    "geometry.levels=null",
    "geometry.max_resolution=null",
    "geometry.log2_rows=null",
    "renderer.sharpness_end=null",
)
"""What follows from the pictures, as in configs/reconstruct.yaml; options given override it."""
SCENES = {
    "spot-16x128": Scene("spot_16views_128", 25),
    "spot-ring16x64": Scene("spot_ring16_256", 30, 64),
    "spot-ring16x256": Scene("spot_ring16_256", 60),
    "bunny-36x256": Scene("bunny_36views_256", 60),
    "chair-100x200": Scene("nerf_synthetic_chair", 180, 200),
    "chair-100x400": Scene("nerf_synthetic_chair", 300, 400),
    "chair-100x800": Scene("nerf_synthetic_chair", 600, 800),  # where the files have 800 px
    "elephant-20x256": Scene("gso_elephant", 60, holdout=5),
}


@dataclass
class Row:
    """One line of the table."""

    name: str
    wall_s: float
    cpu_s: float
    steps: int
    psnr: float = float("nan")
    ssim: float = float("nan")
    chamfer: float = float("nan")
    iou: float = float("nan")

    HEADER = f"{'set':16} {'wall s':>7} {'cpu s':>7} {'steps':>6} {'PSNR':>6} {'SSIM':>6} {'Chamfer':>8} {'IoU':>6}"  # noqa: E501

    def __str__(self) -> str:
        return (
            f"{self.name:16} {self.wall_s:7.1f} {self.cpu_s:7.1f} {self.steps:6d} {self.psnr:6.2f} "
            f"{self.ssim:6.3f} {self.chamfer:8.5f} {self.iou:6.3f}"
        )


def fit(
    scene: Scene, root: Path, seconds: float, options: Any, steps: int = 0
) -> tuple[Reconstruction, Row]:
    """Fit one scene with the system's loop; the row's time holds everything but reading."""
    source = {"root": str(root / scene.folder), "resolution": scene.resolution}
    data = build("data", "capture", source | {"holdout": scene.holdout})
    views, test = data.load(), data.test()
    torch.manual_seed(0)
    system = Reconstruction(parse_config(Reconstruction.Config, options, key="system"))
    wall, cpu = time.perf_counter(), time.process_time()
    system.set_views(views, test)
    system.model.start(steps, 0.0 if steps else seconds)
    while not system.model.done:
        system.model.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return system, Row("", wall, cpu, system.model.fit_state()["step_count"])


def compare(system: Reconstruction, reference: Path, row: Row, resolution: int = 192) -> None:
    """Measure the extracted mesh against the true one."""
    from studio.export.readers import read_mesh
    from studio.metrics.mesh import chamfer, volume_iou

    mesh, true = system.model.mesh(resolution, MeshOptions(faces=0)), read_mesh(reference)
    row.chamfer, row.iou = chamfer(mesh, true), volume_iou(mesh, true)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", choices=list(SCENES), default=list(SCENES))
    parser.add_argument("--seconds", type=float, help="time budget, instead of each set's own")
    parser.add_argument("--steps", type=int, default=0, help="so many, however long they take")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--neus",
        type=float,
        nargs="?",
        const=0.0,
        metavar="SECONDS",
        help="fit the official NeuS beside it, for this long; without a number for as long",
    )
    parser.add_argument("options", nargs="*", help="options of the system, key=value")
    args = parser.parse_args()
    root = os.environ.get("STUDIO_TEST_DATA")
    if not root:
        print("STUDIO_TEST_DATA is not set: it names the folder of the view sets.", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads")
    print(Row.HEADER)
    for name in args.sets:
        scene = SCENES[name]
        seconds, reference = args.seconds or scene.seconds, Path(root) / scene.folder / REFERENCE
        others = any("_type=" in option for option in args.options)
        given = OmegaConf.from_dotlist([*(() if others else OPEN), *args.options])
        options = OmegaConf.to_container(given)
        system, row = fit(scene, Path(root), seconds, options, args.steps)
        row.name = name
        print(f"{name}: {system.model.choices()}")
        figures = system.measure()
        row.psnr, row.ssim = figures["psnr"], figures["ssim"]
        if reference.is_file():
            compare(system, reference, row)
        print(row, flush=True)
        if args.neus is not None and reference.is_file():
            official = OmegaConf.to_container(OmegaConf.load("configs/neus.yaml").system)
            system, row = fit(scene, Path(root), args.neus or seconds, official)
            row.name = "  official NeuS"
            compare(system, reference, row, resolution=64)
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
