"""Our views as programs see them that read NeRF-synthetic only."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cameras import orbit_cameras
from studio.data.layouts.transforms import TransformsData
from studio.views import ViewSet


def make_views(size: int | tuple[int, int] = 16) -> ViewSet:
    cameras = orbit_cameras([20.0, 140.0, 260.0], [10.0, 30.0, -5.0], fov_deg=40.0, size=size)
    images = torch.rand(3, 4, *cameras.size, generator=torch.Generator().manual_seed(0))
    return ViewSet(images, cameras, 0.7, names=("a", "b.1", "c"))


def read_like_nerf(folder: Path, split: str) -> tuple[list[np.ndarray], np.ndarray, float]:
    """The rules of the original loader, which gsplat's and nerfstudio's follow.

    Returns pictures, camera-to-world matrices with OpenGL axes, and the focal length in pixels.
    """
    meta = json.loads((folder / f"transforms_{split}.json").read_text())
    pictures = [np.asarray(Image.open(folder / (f["file_path"] + ".png"))) for f in meta["frames"]]
    poses = np.array([f["transform_matrix"] for f in meta["frames"]])
    width = pictures[0].shape[1]
    return pictures, poses, 0.5 * width / math.tan(0.5 * float(meta["camera_angle_x"]))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("size", [16, (12, 20)])
def test_views_open_by_the_rules_of_nerf_synthetic(tmp_path: Path, split: str, size: int) -> None:
    views = make_views(size)
    views.save(tmp_path)
    pictures, poses, focal = read_like_nerf(tmp_path, split)
    assert np.array_equal(
        np.stack(pictures), (views.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    )
    h, w = views.cameras.size
    x, y = np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)
    local = np.stack([(x - w / 2) / focal, -(y - h / 2) / focal, -np.ones_like(x)], -1)
    for i, pose in enumerate(poses):  # the rays that such a program casts are ours
        directions = (local @ pose[:3, :3].T).reshape(-1, 3)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ours = views.cameras[[i]].rays()
        np.testing.assert_allclose(directions, ours.directions.reshape(-1, 3).numpy(), atol=1e-5)
        np.testing.assert_allclose(pose[:3, 3], ours.origins.reshape(-1, 3)[0].numpy(), atol=1e-6)


def test_our_own_readers_pass_over_the_copies(tmp_path: Path) -> None:
    """They say less than transforms.json: no bound; and their test split is no held-out one."""
    make_views().save(tmp_path)
    data = TransformsData(TransformsData.Config(root=str(tmp_path)))
    assert data.load().bound == pytest.approx(0.7) and data.test() is None
    assert ViewSet.load(tmp_path, "train").bound == pytest.approx(0.7)
    (tmp_path / "transforms.json").unlink()
    assert len(ViewSet.load(tmp_path)) == 3  # better than nothing


def test_what_those_words_cannot_say_is_not_written(tmp_path: Path) -> None:
    views = make_views()
    off_centre = views.cameras.intrinsics.clone()
    off_centre[:, 0, 2] += 1.0
    two_lenses = views.cameras.intrinsics.clone()
    two_lenses[1, :2, :2] *= 1.1
    for cameras in (
        replace(views.cameras, intrinsics=off_centre),
        replace(views.cameras, intrinsics=two_lenses),
        replace(views.cameras, ortho_scale=torch.ones(3)),
    ):
        views.save(tmp_path)
        assert (tmp_path / "transforms_train.json").is_file()
        replace(views, cameras=cameras).save(tmp_path)
        assert [p.name for p in tmp_path.glob("transforms*.json")] == ["transforms.json"]


def test_other_peoples_files_stay(tmp_path: Path) -> None:
    (tmp_path / "transforms_test.json").write_text('{"frames": []}')
    make_views().save(tmp_path)
    assert (tmp_path / "transforms_test.json").read_text() == '{"frames": []}'
    assert (tmp_path / "transforms_val.json").is_file()
