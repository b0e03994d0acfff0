"""What corrections of exposure, poses and gloss do for captures that need them, and for others.

    STUDIO_TEST_DATA=FOLDER python -m benchmarks.captures steps=1500 only=poses off=1,2 sets=spot
    STUDIO_TEST_DATA=FOLDER python -m benchmarks.captures only=gloss

Renders of known objects are disturbed: every picture gets a brightness (up to 25 % more or less)
and a tint, or every camera is turned and moved. The means over the pictures are left as they were,
so no reconstruction has to be brought to the truth before it is compared. PSNR is that of held-out
views that are true, on white; Chamfer and IoU those of `benchmarks.reconstruction`. With gloss, two
lamps that stand still are mirrored by the surface (Blinn and Phong's highlights), in the held-out
views, too; `texture` is the PSNR of the textured mesh, unlit, against held-out views without them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.api import configured
from studio.config import parse_config
from studio.export.readers import read_mesh
from studio.mesh import Mesh, MeshOptions
from studio.metrics.mesh import chamfer, volume_iou
from studio.metrics.renders import mesh_psnr
from studio.models.sdf.alignment import turned
from studio.ops.ray_caster import cast_mesh
from studio.plugins.options import build
from studio.systems.reconstruction import Reconstruction
from studio.views import ViewSet

SETS = {"spot": "spot_16views_128", "bunny": "bunny_36views_256"}
SIDE = 128
GAIN, TINT = 0.25, 0.08  # largest change of a picture's brightness, and of a channel beside that
POSES = {"0": (0.0, 0.0), "0.5": (0.5, 0.01), "1": (1.0, 0.01), "2": (2.0, 0.02)}
"""Degrees and shares of the distance by which poses are off."""
LAMPS, SHINE = (((1.0, -0.6, 1.2), 0.6), ((-0.8, 1.0, 0.5), 0.4)), 40.0
"""Where lamps stand and how bright they are; the exponent of their highlights."""


def exposed(views: ViewSet, seed: int = 0) -> ViewSet:
    """The views, each with a brightness and a tint; the mean of their logarithms is 0."""
    generator = torch.Generator().manual_seed(seed)
    bright = (torch.rand(len(views), 1, generator=generator) * 2 - 1) * GAIN
    tint = (torch.rand(len(views), 3, generator=generator) * 2 - 1) * TINT
    logs = (1 + bright).log() + (1 + tint).log()
    factors = (logs - logs.mean(0)).exp()
    images = views.images.clone()
    images[:, :3] = (images[:, :3] * factors[..., None, None]).clamp(0, 1)
    return replace(views, images=images)


def glossy(views: ViewSet, mesh: Mesh) -> ViewSet:
    """The views, with what a surface mirrors of two lamps far away."""
    cameras = views.cameras
    normals = torch.from_numpy(cast_mesh(mesh.with_normals(), cameras).normal)
    rays = cameras.rays().directions.view(*normals.shape)
    added = torch.zeros(normals.shape[:3])
    for lamp, light in LAMPS:
        towards = torch.nn.functional.normalize(torch.tensor(lamp), dim=0)
        half = torch.nn.functional.normalize(towards - rays, dim=-1)
        added += light * (normals * half).sum(-1).clamp(min=0) ** SHINE
    images = views.images.clone()
    images[:, :3] = (images[:, :3] + added[:, None]).clamp(0, 1)
    return replace(views, images=images)


def gloss_rows(name: str, folder: Path, steps: int, loss: float) -> Iterator[list[str]]:
    """Rows of one set, as it is and with highlights, told from colours or not."""
    data = build("data", "capture", {"root": str(folder), "resolution": SIDE}, key="data")
    true, test, mesh = data.load(), data.test(), read_mesh(folder / "reference.ply")
    for said in ("as rendered", "highlights"):
        views, held_out = (
            (glossy(of, mesh) if said == "highlights" else of) for of in (true, test)
        )
        for on in (False, True):
            options = {"system.geometry.gloss": on, "system.loss.gloss": loss if on else 0.0}
            system = fitted(views, held_out, steps, options)
            row = [name, said, "gloss" if on else "-", *measured(system, views, mesh)[:3]]
            textured = system.exporter.mesh(system.model, views)
            yield [*row, f"{mesh_psnr(textured, test):.2f}"]


def unposed(views: ViewSet, degrees: float, share: float, seed: int = 0) -> ViewSet:
    """The views with every camera turned about itself and moved, at random, by that much (rms).

    What all cameras have in common is taken away: a motion, and a size.
    """
    generator = torch.Generator().manual_seed(seed)
    cameras = views.cameras
    centres = cameras.centres.double()
    turn = torch.randn(len(views), 3, generator=generator).double()
    turn *= torch.deg2rad(torch.tensor(degrees)) / 3**0.5
    move = torch.randn(len(views), 3, generator=generator).double() * share / 3**0.5
    turn = turn - turn.mean(0)
    about = (turned(turn) @ centres[..., None])[..., 0]
    shift = centres + move * centres.norm(dim=1, keepdim=True) - about
    shift = shift - shift.mean(0)
    shift = shift - (shift * centres).sum() / (centres**2).sum() * centres
    c2w = cameras.c2w.double().clone()
    c2w[:, :3, :3], c2w[:, :3, 3] = turned(turn) @ c2w[:, :3, :3], about + shift
    return replace(views, cameras=replace(cameras, c2w=c2w.to(cameras.c2w)))


def pose_errors(views: ViewSet, true: ViewSet) -> tuple[Tensor, Tensor]:
    """Degrees, and shares of the distance to the origin, by which cameras are off."""
    a, b = views.cameras.c2w.double(), true.cameras.c2w.double()
    trace = torch.einsum("vij,vij->v", a[:, :3, :3], b[:, :3, :3])
    angle = torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).acos())
    off = (a[:, :3, 3] - b[:, :3, 3]).norm(dim=1)
    return angle, off / b[:, :3, 3].norm(dim=1)


def fitted(views: ViewSet, test: ViewSet, steps: int, options: Mapping[str, Any]) -> Any:
    """A fit by `configs/reconstruct.yaml` with options over it."""
    system = configured("reconstruct", options).system
    torch.manual_seed(0)
    made = Reconstruction(parse_config(Reconstruction.Config, system, key="system"))
    made.set_views(views, test)
    made.model.start(steps)
    while not made.model.done:
        made.model.step()
    made.model.eval()
    return made


def measured(system: Any, true: ViewSet, whole: Mesh) -> list[str]:
    """Figures of a fit as the cells of a row."""
    views = system.model.corrected(system.views)
    angle, off = pose_errors(views, true)
    mesh = system.model.mesh(128, MeshOptions(faces=0))
    return [
        f"{system.measure()['psnr']:.2f}",
        f"{chamfer(mesh, whole):.5f}",
        f"{volume_iou(mesh, whole):.3f}",
        f"{float((angle**2).mean().sqrt()):.2f}",
        f"{100 * float((off**2).mean().sqrt()):.2f}",
    ]


def cases(true: ViewSet, only: list[str], poses: list[str]) -> Iterator[tuple[str, ViewSet, str]]:
    """What is fitted, and the option that corrects it."""
    if "exposure" in only:
        yield "as rendered", true, "exposure"
        yield "exposures differ", exposed(true), "exposure"
    if "poses" in only:
        for degrees, share in (POSES[name] for name in poses):
            words = f"poses off by {degrees:g} degrees, {100 * share:g} %"
            yield words, unposed(true, degrees, share), "poses"


def main() -> None:
    """Print the table."""
    words = {
        "steps": "1500",
        "sets": ",".join(SETS),
        "only": "exposure,poses",
        "off": ",".join(POSES),
        "loss": "0.01",
    }
    words |= dict(word.split("=", 1) for word in sys.argv[1:])
    steps, root = int(words["steps"]), os.environ.get("STUDIO_TEST_DATA")
    if not root:
        raise SystemExit("STUDIO_TEST_DATA is not set: it names the folder of the view sets.")
    if words["only"] == "gloss":
        print("| set | views | told apart | PSNR | Chamfer | IoU | texture |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in words["sets"].split(","):
            for cells in gloss_rows(name, Path(root) / SETS[name], steps, float(words["loss"])):
                print(f"| {' | '.join(cells)} |", flush=True)
        return
    print("| set | views | correct | PSNR | Chamfer | IoU | degrees off | % off |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in words["sets"].split(","):
        folder = Path(root) / SETS[name]
        data = build("data", "capture", {"root": str(folder), "resolution": SIDE}, key="data")
        true, test, whole = data.load(), data.test(), read_mesh(folder / "reference.ply")
        for said, views, option in cases(true, *(words[key].split(",") for key in ("only", "off"))):
            for on in (False, True):
                system = fitted(views, test, steps, {f"system.correct.{option}": on})
                row = [
                    name,
                    said,
                    option if on else "-",
                    *measured(system, true, whole),
                ]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
