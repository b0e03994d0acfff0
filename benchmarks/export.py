"""Meshes and textures of finished fits: how well they are cut, packed and triangulated.

    STUDIO_TEST_DATA=<folder> python -m benchmarks.export [--sets NAME ...] [--keep FOLDER]
        [key=value ...]

`spot`, `bunny` and, where it is named, `chair` (100 views) are fitted to the view sets of
STUDIO_TEST_DATA, `demo` is what the README's first command makes of its car; the key=value words
are options of the exporter. With --keep, fits are kept in a folder, and what lies there is exported
again.

Columns: processor seconds of the export without pictures and of unwrapping alone; cells of the grid
along the object; faces; charts; the texture's side; the share of its texels that charts cover, in
per cent; the mean difference between the two sides of a seam, of 255; the median and the 99th
percentile of the triangles' aspect ratios (1: equal sides); the exported mesh against the surface
before it was reduced (Chamfer); PSNR inside the silhouettes of the fitted pictures (`mesh_psnr`)
and of those held out, and after each that of the fit and of the mesh in a few of them; the mesh
against the true one (Chamfer, IoU, as `benchmarks.reconstruction` measures them). Whole pictures on
white, as that benchmark compares them, give five to eight dB more: their background earns it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

import studio
from benchmarks.reconstruction import OPEN, REFERENCE, SCENES
from benchmarks.tables import table
from studio.config import parse_config
from studio.export.brought import without_seams
from studio.export.cleanup import face_components
from studio.export.exporter import MeshExporter
from studio.export.measuring import beside_fit
from studio.export.readers import read_exact, read_mesh
from studio.export.seams import seam_difference
from studio.export.texture import rasterise_uv
from studio.export.unwrap import unwrap
from studio.export.world import transformed
from studio.mesh import MeshOptions
from studio.metrics.mesh import chamfer, volume_iou
from studio.metrics.renders import mesh_psnr
from studio.metrics.triangles import aspect_ratios
from studio.models.base import SceneModel
from studio.plugins.options import build
from studio.systems.reconstruction import Reconstruction
from studio.views import ViewSet

SETS = {
    "spot": ("spot-16x128", 800),
    "bunny": ("bunny-36x256", 1500),
    "demo": ("", 0),
    "chair": ("chair-100x400", 8000),
}
"""Scene of `benchmarks.reconstruction`, and steps of its fit: seconds would not fit twice alike."""
DEMO = {"resolution": 128, "faces": 12000, "smooth": 12, "texture_margin": 1.0}  # as its config
QUIET = {"turntable": False, "preview": False, "inspect": False, "psnr_views": 0}


@dataclass(frozen=True)
class Fitted:
    """A model and the pictures that it was fitted to, given and held out.

    Attributes:
        reference: file of the true mesh, if there is one.
    """

    model: SceneModel
    views: ViewSet
    originals: list[ViewSet]
    test: ViewSet | None = None
    reference: Path | None = None


def fitted(name: str, root: Path, keep: Path) -> Fitted:
    """Fit a set, or open what was kept of it."""
    if name == "demo":
        return _demo(keep / name)
    folder, scene, steps = keep / name, SCENES[SETS[name][0]], SETS[name][1]
    source = root / scene.folder
    data = build("data", "capture", {"root": str(source), "resolution": scene.resolution})
    views, test = data.load(), data.test()
    if not folder.exists():
        options = OmegaConf.to_container(OmegaConf.from_dotlist(list(OPEN)))
        system = Reconstruction(parse_config(Reconstruction.Config, options, key="system"))
        system.model.fit(views, steps=steps)
        system.model.save(folder)
    true = source / REFERENCE
    return Fitted(SceneModel.load(folder), views, [], test, true if true.is_file() else None)


def _demo(folder: Path) -> Fitted:
    """What the README's first command fits."""
    if not folder.exists():
        result = studio.load("epidiff-neus")("load/images/car.png")
        for i, given in enumerate(result.originals):
            given.save(folder / f"given-{i}")
        result.views.save(folder / "views")
        result.model.save(folder / "model")
    originals = [ViewSet.load(given) for given in sorted(folder.glob("given-*"))]
    return Fitted(SceneModel.load(folder / "model"), ViewSet.load(folder / "views"), originals)


def measured(fitted: Fitted, options: dict[str, Any], folder: Path) -> dict[str, float]:
    """Export once and measure what the file holds."""
    options = {"formats": ["glb"], **options}
    exporter = MeshExporter(parse_config(MeshExporter.Config, options, key="exporter"))
    began = processor_seconds()
    exporter.export(fitted.model, fitted.views, folder, originals=fitted.originals)
    spent = processor_seconds() - began
    back = np.array(exporter.figures["files"]["model.glb"]["to_views"])
    mesh = transformed(read_exact(folder / "model.glb"), back)
    whole = fitted.model.mesh(exporter.cells(fitted.views), MeshOptions(0, exporter.cfg.smooth))
    ratios = aspect_ratios(mesh)
    began = processor_seconds()
    unwrap(replace(without_seams(mesh), colours=None), len(mesh.texture))
    row = {
        "export s": spent,
        "unwrap s": processor_seconds() - began,
        "cells": exporter.cells(fitted.views),
        "faces": len(mesh.faces),
        "charts": int(face_components(mesh.faces).max()) + 1,
        "texels": len(mesh.texture),
        "use %": 100 * float(rasterise_uv(mesh, len(mesh.texture)).covered.mean()),
        "seam": seam_difference(mesh),
        "ratio": float(np.median(ratios)),
        "p99": float(np.quantile(ratios, 0.99)),
        "to whole": chamfer(mesh, whole),
    }
    for views, name in ((fitted.views, "views"), (fitted.test, "test")):
        if views is not None:
            beside = beside_fit(fitted.model, mesh, views)
            row |= {f"{name} dB": mesh_psnr(mesh, views)}
            row |= {f"{name}: fit": beside["fit_psnr"], f"{name}: mesh": beside["mesh_psnr"]}
    if fitted.reference is not None:
        true = read_mesh(fitted.reference)
        row |= {"Chamfer": chamfer(mesh, true), "IoU": volume_iou(mesh, true)}
    return row


def processor_seconds() -> float:
    """Of this process and those that it has waited for: other programs do not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS)[:3])
    parser.add_argument("--keep", type=Path, help="folder of the fits")
    parser.add_argument("options", nargs="*", help="options of the exporter, key=value")
    args = parser.parse_args()
    root = os.environ.get("STUDIO_TEST_DATA")
    if not root:
        print("STUDIO_TEST_DATA is not set: it names the folder of the view sets.", file=sys.stderr)
        return 2
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.sets:
            found = fitted(name, Path(root), args.keep or Path(scratch))
            chosen = OmegaConf.to_container(OmegaConf.from_dotlist(args.options))
            assert isinstance(chosen, dict)
            options = QUIET | (DEMO if name == "demo" else {}) | chosen
            rows[name] = measured(found, options, Path(scratch) / f"{name}-files")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
