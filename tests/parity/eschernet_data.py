"""EscherNet's data: training items, and the cameras of its evaluation sets."""

from __future__ import annotations

from torch import Tensor

from studio.data.views_release import ViewsReleaseData, ViewsReleaseDataset
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


CASES: dict[str, Adapter] = {"dataset": dataset}
