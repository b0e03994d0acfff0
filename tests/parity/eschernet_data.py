"""EscherNet's data: training items, and the cameras of its evaluation sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.data.training.eschernet_eval import EscherNetEvalData
from studio.data.training.eschernet_eval_frames import EvalConfig, Frames, spherical_poses, spiral
from studio.data.training.views_release import ViewsReleaseData, ViewsReleaseDataset
from studio.guidance.eschernet.poses import (
    blender_w2c,
    inverse_transposed,
    poses_4dof,
    poses_6dof,
)
from tests.parity.case import Adapter, Case


def network_poses(c2w: Tensor, cape: str, name: str) -> dict[str, Tensor]:
    """What the network is given of cameras (OpenCV, c2w)."""
    w2c = blender_w2c(c2w.double())
    if cape == "4DoF":
        return {name: poses_4dof(w2c)}
    poses = poses_6dof(w2c)
    return {name: poses, f"{name}_inv": inverse_transposed(poses)}


def dataset(case: Case) -> dict[str, Tensor]:
    """One item of the training set, on given or on the fixed views."""
    config = case.config
    references, targets = config["T_in"], config["T_out"]
    cfg = ViewsReleaseData.Config(
        root=str(case.folder / config["root"]),
        size=config["resolution"],
        total_view=config["total_view"],
        references=references,
        targets=targets,
        replacement=True,
        fix_sample=config["fix_sample"],
        compositing="released",
    )
    items = ViewsReleaseDataset(cfg, [config["uid"]], fixed=True)
    if config["fix_sample"]:
        item = items[0]
    else:
        views = case.inputs["index_target"].tolist(), case.inputs["index_input"].tolist()
        item = items.views(0, *views)
    return {
        "image_input": item["ref_images"],
        "image_target": item["images"],
        **network_poses(item["ref_c2w"], config["cape"], "pose_in"),
        **network_poses(item["c2w"], config["cape"], "pose_out"),
    }


# --- evaluation sets: a case becomes files of its layout, which the reader reads ------------------


def write_views(folder: Path, w2c: Tensor, rgba: Tensor | None = None) -> None:
    """Write NNN.npy, and NNN.png of the first views."""
    folder.mkdir(parents=True)
    for i, matrix in enumerate(w2c):
        np.save(folder / f"{i:03d}.npy", matrix.numpy())
    for i, pixels in enumerate(() if rgba is None else rgba):
        Image.fromarray(pixels.numpy()).save(folder / f"{i:03d}.png")


def write_gso(root: Path, case: Case, rig: str) -> None:
    """The 25 views, of which few have pictures, and the poses of the target rig."""
    given = case.inputs.get("RT", case.inputs.get("RT_in"))
    assert given is not None
    write_views(root / "render_mvs_25" / "model", given, case.inputs.get("ref_rgba"))
    wanted = [name for name in case.inputs if name.startswith("RT_out")]
    if wanted:
        write_views(root / rig / "model", case.inputs[wanted[0]])


def write_nerf(root: Path, case: Case) -> None:
    """Training and test frames without content."""
    for split in ("train", "test"):
        frames = []
        (root / split).mkdir()
        for i, matrix in enumerate(case.inputs[f"{split}_c2w"]):
            Image.new("RGBA", (8, 8)).save(root / split / f"r_{i}.png")
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": matrix.tolist()})
        document = {"camera_angle_x": 0.6911112070083618, "frames": frames}
        (root / f"transforms_{split}.json").write_text(json.dumps(document))


def write_rtmv(root: Path, case: Case) -> None:
    """Cameras of all frames."""
    for i, matrix in enumerate(case.inputs["cam2world_json"]):
        camera = {"camera_data": {"cam2world": matrix.tolist()}}
        (root / f"{i:05d}.json").write_text(json.dumps(camera))


def write_object(root: Path, case: Case) -> dict[str, Any]:
    """Write an object's folder; returns the reader's options that it needs."""
    kind, config = case.config["data_type"], case.config
    config.about("T_out", "object", "azimuth_step_deg", "azimuth_offset_rad", "elevations_deg")
    count = {"references": config["T_in"]}
    if kind.startswith("GSO"):
        rigs = {"GSO3D": "render_sync_36_single", "GSO100": "render_spiral_100"}
        write_gso(root, case, rigs.get(kind, ""))
        return count
    if kind == "NeRF":
        write_nerf(root, case)
        return {"reference_views": case.inputs["train_index"].tolist()}
    if kind == "RTMV":
        write_rtmv(root, case)
        return {**count, "targets": min(config["T_out"], len(case.inputs["cam2world_json"]))}
    if kind == "Franka":
        np.save(root / "angles.npy", case.inputs["angles"].numpy())
        views = case.inputs["index_in"].tolist()
        return {"reference_views": views, "targets": config["T_out"]}
    if kind == "Text2Img":
        Image.new("RGBA", (8, 8)).save(root / "0_rgba.png")
    return {**count, "targets": config["T_out"]}


def official_poses(frames: Frames, case: Case, name: str) -> dict[str, Tensor]:
    """What the network is given, in the world of the authors' program.

    That of NeRF with 6DoF is turned by half a turn about x, which no relative camera shows; angles
    of made cameras are not wrapped in 4DoF.
    """
    cape, c2w = case.config["cape"], frames.c2w.double()
    if case.config["data_type"] == "NeRF" and cape == "6DoF":
        c2w = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).double() @ c2w
    found = network_poses(c2w, cape, name)
    if cape == "4DoF" and frames.angles is not None:
        found = {name: torch.nn.functional.pad(frames.angles, (0, 2))}
    stored = case.meta["tensors"].get(f"output:{name}", {"shape": [len(frames)]})["shape"][0]
    return {key: value[:stored] for key, value in found.items()}


def poses(case: Case) -> dict[str, Tensor]:
    """Cameras and pictures of an evaluation set, read from a folder of its layout."""
    config = case.config
    with TemporaryDirectory() as folder:
        options = write_object(Path(folder), case)
        data = EscherNetEvalData(
            EvalConfig(
                root=folder,
                type=config["data_type"],
                cape=config["cape"].lower(),
                resolution=config.get("resolution", 256),
                compositing="released",
                **options,
            )
        )
        references, targets = data.object.references, data.object.targets
        out: dict[str, Tensor] = {}
        if "ref_rgba" in case.inputs:
            views = data.condition().views
            assert views is not None
            out["input_images"] = views.images[:, :3] * 2 - 1
    config.about("radius")  # read below, of made cameras; else of the inputs
    if "spiral_a" in config:
        angles = spiral(config["T_out"], config["spiral_a"], config["spiral_start"])
        targets = replace(targets, angles=angles)
    for name, frames in (("pose_in", references), ("pose_out", targets)):
        if frames.angles is not None:
            frames = replace(frames, c2w=spherical_poses(frames.angles, config["radius"]))
        out |= official_poses(frames, case, name)
    return out


CASES: dict[str, Adapter] = {"dataset": dataset, "poses": poses}
