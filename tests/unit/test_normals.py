"""Views that carry normals: saved, read, and fitted (Wonder3D's recipe)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import OmegaConf

from studio.cameras import Cameras
from studio.config import parse_config
from studio.data.layouts.capture import CaptureData
from studio.data.layouts.wonder3d import fixed_poses
from studio.systems.reconstruction import Reconstruction
from studio.views import ViewSet
from tests.conftest import REPOSITORY
from tests.unit.test_reconstruction import run_fit, small_config

RADIUS = 0.6
TINY = {
    "geometry": {"levels": 4, "base_resolution": 8, "log2_rows": 10, "hidden": 16},
    "renderer": {"grid_resolution": 16, "step_min": 0.04, "step_max": 0.04},
    "samples_per_step": 1024,
    "min_rays": 64,
    "loss": {"random_points": 64},
}


def ball(size: int = 24) -> ViewSet:
    """Wonder3D's six orthographic views of a grey ball, with its normals."""
    c2w = torch.stack(list(fixed_poses().values()))
    k = torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1.0]])
    views = len(c2w)
    cameras = Cameras(c2w, k.expand(views, 3, 3).clone(), (size, size), torch.full((views,), 2.0))
    rays = cameras.rays()
    along = -(rays.origins * rays.directions).sum(-1, keepdim=True)
    nearest = rays.origins + along * rays.directions
    depth = RADIUS**2 - nearest.square().sum(-1, keepdim=True)
    hit = depth > 0
    normals = (nearest - depth.clamp(min=0).sqrt() * rays.directions) / RADIUS * hit
    rgba = torch.cat([0.5 * hit, 0.5 * hit, 0.5 * hit, hit.float()], 1)

    def pictures(values: torch.Tensor) -> torch.Tensor:
        return values.view(views, size, size, -1).permute(0, 3, 1, 2).contiguous()

    return ViewSet(pictures(rgba), cameras, 1.0, {}, tuple(fixed_poses()), pictures(normals))


def test_normals_are_saved_and_read(tmp_path: Path) -> None:
    views = ball()
    views.save(tmp_path)
    for read in (
        ViewSet.load(tmp_path),
        CaptureData(CaptureData.Config(root=str(tmp_path))).load(),
    ):
        assert read.normals is not None and views.normals is not None
        known = views.normals.norm(dim=1) > 0.5
        assert torch.equal(read.normals.norm(dim=1) > 0.5, known)
        assert float((read.normals * views.normals).sum(1)[known].min()) > 0.9999
    replace(views, normals=None).save(tmp_path)
    assert ViewSet.load(tmp_path).normals is None
    assert not list((tmp_path / "normals").iterdir())


def test_normals_shape_the_surface() -> None:
    """Six silhouettes of a ball in one grey leave edges, which its normals round."""
    views = ball()
    roundness = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        system = Reconstruction(small_config(loss={"normal": weight, "colour": 0.0}))
        system.set_views(views)
        run_fit(system, 60)
        losses = system.model.step()
        assert ("normal" in losses) == (weight > 0)
        points = torch.nn.functional.normalize(torch.randn(500, 3), dim=1) * RADIUS
        gradient = system.model.geometry(system.model.frame.to_local(points)).gradient
        cosine = torch.cosine_similarity(gradient, points, dim=1)
        roundness.append(float(cosine.detach().mean()))
    assert roundness[1] > roundness[0] and roundness[1] > 0.98, roundness


def test_wonder3ds_recipe_uses_all_its_losses() -> None:
    recipe = OmegaConf.load(REPOSITORY / "configs/wonder3d-neus.yaml").system
    options = OmegaConf.to_container(OmegaConf.merge(recipe, TINY))
    torch.manual_seed(0)
    system = Reconstruction(parse_config(Reconstruction.Config, options, key="system"))
    system.set_views(ball())
    system.model.start(60)
    steps = [system.model.step() for _ in range(60)]
    wanted = {"loss", "colour", "mask", "normal", "eikonal", "sparsity", "smooth"}
    assert set(steps[0]) == set(steps[-1]) == wanted
    for name in ("mask", "normal"):
        first, last = (
            torch.stack([s[name] for s in part]).mean() for part in (steps[:5], steps[-5:])
        )
        assert last < first, name
