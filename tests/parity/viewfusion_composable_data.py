"""Parity of ViewFusion (composable): its data set and its figures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from studio.data.training.nmr import Draw, NMRData
from studio.data.training.nmr_index import VIEWS
from studio.guidance.viewfusion_composable.conditioning import with_reference
from studio.metrics.image import psnr, ssim
from tests.parity.case import Adapter, Case


def dataset(case: Case) -> dict[str, Tensor]:
    """Samples of the loader with given draws, read from the zip in place."""
    out: dict[str, Tensor] = {}
    case.config.about("shard_count")  # samples are named, whatever shard holds them
    case.config.only(percent=100)
    with tempfile.TemporaryDirectory() as folder:  # the index is kept beside the zip
        archive = Path(folder) / "NMR_Dataset.zip"
        archive.symlink_to(next(case.folder.rglob("NMR_Dataset.zip")).resolve())
        data = NMRData(
            NMRData.Config(
                root=str(archive),
                resolution=case.config["image_px"],
                withhold=case.config.get("withheld", []),
                inputs=VIEWS - 1,
                val_targets=1,
                settings="released",
            )
        )
        for sample in case.meta["samples"]:
            out |= _sample(case, sample, data)
    return out


def _sample(case: Case, sample: dict[str, Any], data: NMRData) -> dict[str, Tensor]:
    name = f"s{sample['index']}"
    views = data.views(sample["mode"])
    index = views.keys.index(sample["scene_hash"])
    draw = Draw(case.inputs[f"{name}.perm1"], case.inputs.get(f"{name}.perm2"))
    item = views.item(index, draw)
    cond = item["ref_images"] / 2 + 0.5
    return {
        f"{name}.target": item["images"][0] / 2 + 0.5,
        f"{name}.cond": cond,
        f"{name}.relative_cond": with_reference(cond[None])[0],
        f"{name}.all_views": views.pictures(index, range(VIEWS)) / 2 + 0.5,
        f"{name}.angle": item["angle"],
        f"{name}.relative_angle": item["relative_angle"],
    }


def metrics(case: Case) -> dict[str, Tensor]:
    """PSNR and SSIM of each picture, as made and after rounding to 8 bit."""
    made, truth = case.inputs["generated"], case.inputs["target"]
    rounded = [(picture.clamp(0, 1) * 255).round() / 255 for picture in (made, truth)]
    out: dict[str, Tensor] = {}
    for suffix, a, b in (("", made, truth), ("_u8", *rounded)):
        out[f"psnr{suffix}"] = torch.tensor([psnr(x, y) for x, y in zip(a, b, strict=True)])
        out[f"ssim{suffix}"] = torch.tensor([ssim(x, y) for x, y in zip(a, b, strict=True)])
    return out


CASES: dict[str, Adapter] = {"dataset": dataset, "metrics": metrics}
