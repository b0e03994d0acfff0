"""Reconstruction: visual hull, the fit of a small sphere, exact resume, plain functions."""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.app.early_checks import check_early
from studio.cameras import orbit_cameras
from studio.config import ExperimentConfig, TrainerConfig
from studio.errors import ConfigError, DataError, TrainingError
from studio.models.sdf.ray_pool import RayPool, pixel_side
from studio.ops.visual_hull import (
    Frame,
    agreed_hull,
    cell_centres,
    distance_to_cells,
    hull_distance,
    tight_frame,
    visual_hull,
)
from studio.plugins.parsing import parse_config
from studio.progress import StageProgress
from studio.runs.fitting import FitInFolder, check_gradients
from studio.runs.folder import RunFolder
from studio.systems.reconstruction import Reconstruction
from studio.views import ViewSet
from tests.conftest import REPOSITORY

RADIUS = 0.3
WHOLE = Frame(torch.zeros(3), 0.5)


def sphere_views(
    size: int = 32, centre: tuple[float, float, float] = (0, 0, 0), radius: float = RADIUS
) -> ViewSet:
    """Eleven views of a sphere whose colour is its normal."""
    cameras = orbit_cameras([45.0 * i for i in range(8)], 10.0, size=size)
    above = orbit_cameras([0.0, 120.0, 240.0], [60.0, -60.0, -40.0], size=size)
    cameras = replace(
        cameras,
        c2w=torch.cat([cameras.c2w, above.c2w]),
        intrinsics=torch.cat([cameras.intrinsics, above.intrinsics]),
    )
    rays = cameras.rays()
    offset = rays.origins - torch.tensor(centre)
    along = (offset * rays.directions).sum(-1)
    root = along**2 - offset.square().sum(-1) + radius**2
    hit = root > 0
    surface = offset + (-along - root.clamp(min=0).sqrt())[:, None] * rays.directions
    rgba = torch.cat([surface / radius * 0.5 + 0.5, hit[:, None].float()], 1)
    rgba[~hit] = 0
    images = rgba.view(len(cameras), size, size, 4).permute(0, 3, 1, 2).clamp(0, 1)
    return ViewSet(images, cameras, bound=0.5)


def small_config(**options: object) -> Reconstruction.Config:
    small = {
        "geometry": {"levels": 4, "max_resolution": 64, "log2_rows": 12, "hidden": 16},
        "renderer": {"grid_resolution": 32},
        "hull": {"resolution": 32, "fit_steps": 30},
        "samples_per_step": 1024,
        "min_rays": 32,
        "lr": 2e-2,
        "lr_end": 0.1,
    }
    return parse_config(Reconstruction.Config, small | options, key="system")


def run_fit(system: Reconstruction, steps: int) -> None:
    system.model.start(60)
    for _ in range(steps):
        system.model.step()


@pytest.fixture(scope="module")
def fitted() -> Reconstruction:
    torch.manual_seed(0)
    system = Reconstruction(small_config())
    system.set_views(sphere_views(), sphere_views())
    run_fit(system, 60)
    return system


# --- the hull -------------------------------------------------------------------------------------


def test_hull_of_a_sphere_is_a_little_larger_than_it() -> None:
    views = sphere_views(64)
    radius = cell_centres(48).norm(dim=-1).view(48, 48, 48) * 0.5
    hull = visual_hull(views, WHOLE, 48)
    assert hull[radius < RADIUS - 0.02].all()
    assert not hull[radius > RADIUS + 0.12].any()
    covering = visual_hull(views, WHOLE, 48, dilation_px=1, cover_cells=True)
    assert covering[radius < RADIUS + 0.01].all() and covering.sum() > hull.sum()


def test_looking_within_a_coarse_hull_changes_nothing() -> None:
    views = sphere_views(64)
    around = visual_hull(views, WHOLE, 16, dilation_px=1, cover_cells=True)
    within = visual_hull(views, WHOLE, 40, within=around)
    assert torch.equal(within, visual_hull(views, WHOLE, 40)) and within.any()


def test_frame_is_tight_and_converts_both_ways() -> None:
    centre = (0.1, -0.05, 0.0)
    hull = visual_hull(sphere_views(64, centre), WHOLE, 48)
    frame = tight_frame(hull, WHOLE)
    assert torch.allclose(frame.centre, torch.tensor(centre), atol=0.03)
    assert RADIUS < frame.half < 1.4 * RADIUS
    points = torch.rand(5, 3)
    torch.testing.assert_close(frame.to_world(frame.to_local(points)), points)


def test_inconsistent_masks_relax_the_agreement_and_hopeless_ones_give_none() -> None:
    views = sphere_views()
    broken = views.images.clone()
    broken[3, 3] = 0  # one view has lost the object
    hull, agreement = agreed_hull(replace(views, images=broken), WHOLE, 32, 1.0, 0.9)
    assert hull is not None and agreement == 0.9
    broken[: len(views) * 2 // 3, 3] = 0
    hull, _ = agreed_hull(replace(views, images=broken), WHOLE, 32, 1.0, 0.9)
    assert hull is None


def test_hull_distance_is_signed_and_near_the_truth() -> None:
    radius = cell_centres(32).norm(dim=-1).view(32, 32, 32)
    distance = hull_distance(radius < 0.6)
    assert (distance - (radius - 0.6)).abs().max() < 0.1
    assert (distance[radius < 0.5] < 0).all() and (distance[radius > 0.7] > 0).all()


def test_distance_to_cells_is_a_lower_bound() -> None:
    marked = torch.zeros(16, 16, 16, dtype=torch.bool)
    marked[4:7, 8, 9] = True
    bound = distance_to_cells(marked)
    centres = cell_centres(16)
    inside = centres[marked.view(-1)]
    true = (centres[:, None] - inside).abs().sub(1 / 16).clamp(min=0).norm(dim=-1).amin(1)
    assert (bound[marked] == 0).all() and (bound[~marked] > 0).all()
    assert (bound.view(-1) <= true + 1e-3).all()


def test_empty_masks_are_an_error() -> None:
    views = sphere_views()
    images = views.images.clone()
    images[:, 3] = 0
    with pytest.raises(DataError, match="mask"):
        Reconstruction(small_config()).set_views(replace(views, images=images))


# --- the fit --------------------------------------------------------------------------------------


def test_a_sphere_is_recovered(fitted: Reconstruction) -> None:
    directions = torch.nn.functional.normalize(torch.randn(500, 3), dim=-1)
    assert fitted.model.sdf(directions * RADIUS).abs().mean() < 0.01
    assert (fitted.model.sdf(directions * (RADIUS - 0.05)) < 0).all()
    assert (fitted.model.sdf(directions * (RADIUS + 0.05)) > 0).all()
    inside = fitted.model.sdf(directions * (RADIUS - 0.05))
    assert (inside + 0.05).abs().mean() < 0.02  # distances are in world units


def test_held_out_pictures_are_matched(fitted: Reconstruction) -> None:
    from studio.metrics.image import psnr

    made, wanted = fitted._picture(sphere_views(), 4)
    assert psnr(made, wanted) > 20
    sheet = fitted.validation_pictures()
    assert sheet["pictures"].shape[1:] == (3, 32, 32)


def test_colours_and_space_outside_the_hull(fitted: Reconstruction) -> None:
    directions = torch.nn.functional.normalize(torch.randn(200, 3), dim=-1)
    colours = fitted.model.colour(directions * RADIUS, directions)
    assert (colours - (directions * 0.5 + 0.5)).abs().mean() < 0.1
    assert fitted.model.colour(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)
    corners = torch.tensor([[0.5, 0.5, 0.5], [-0.49, 0.49, -0.49], [3.0, 0.0, 0.0]])
    assert (fitted.model.sdf(corners) > 0.05).all()
    assert (fitted.model.sdf(corners) <= corners.norm(dim=-1) - RADIUS + 0.05).all()


def test_resumed_run_ends_with_the_same_weights() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(3)
        whole = Reconstruction(small_config())
        part = copy.deepcopy(whole)
        for system in (whole, part):
            system.set_views(sphere_views())
        run_fit(whole, 50)
        run_fit(part, 23)
        saved = copy.deepcopy(
            (part.state_dict(), part.model.optimizer.state_dict(), part.model.fit_state())
        )
        torch.manual_seed(99)  # nothing may depend on it
        resumed = Reconstruction(small_config())
        resumed.set_views(sphere_views())
        resumed.load_state_dict(saved[0])
        resumed.model.optimizer.load_state_dict(saved[1])
        resumed.model.load_fit_state(saved[2])
        run_fit(resumed, 27)
    finally:
        torch.set_num_threads(before)
    wanted = whole.state_dict()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, wanted[name]), name


def test_progress_follows_steps_until_a_fit_is_far_behind(fitted: Reconstruction) -> None:
    fitter = copy.copy(fitted.model.fitter)
    fitter.max_steps, fitter.seconds = 100, 10.0
    fitter.step_count = 30
    for elapsed, progress in ((0.0, 0.3), (5.0, 0.3), (6.4, 0.3), (7.5, 0.5), (10.0, 1.0)):
        fitter.elapsed_s = elapsed  # the load of the machine changes nothing before that
        assert fitter.progress == pytest.approx(progress)
    fitter.step_count, fitter.elapsed_s = 100, 1.0
    assert fitter.progress == 1.0
    fitter.max_steps, fitter.elapsed_s = 0, 2.5  # no steps are asked for: time decides
    assert fitter.progress == 0.25
    with pytest.raises(ConfigError, match="no end"):
        fitter.start()


def test_steps_without_samples_change_nothing() -> None:
    system = Reconstruction(small_config())
    system.set_views(sphere_views())
    fitter = system.model.fitter
    fitter.started, fitter.max_steps = True, 5
    system.model.renderer.restrict(torch.zeros(8, 8, 8, dtype=torch.bool))
    before = copy.deepcopy(system.model.geometry.state_dict())
    assert fitter.step() == {}
    assert fitter.step_count == 1
    for name, value in system.model.geometry.state_dict().items():
        assert torch.equal(value, before[name])


def test_not_finite_losses_name_step_and_loss(fitted: Reconstruction) -> None:
    with pytest.raises(TrainingError, match=r"step \d+ of the fit: mask = nan"):
        fitted.model.fitter.check({"mask": torch.tensor(float("nan"))})


def in_folder(root: Path, system: Reconstruction, **trainer: object) -> FitInFolder:
    """A fit in a new run folder."""
    options = {"accelerator": "cpu", "checkpoint_every": 20, "log_every_n_steps": 20} | trainer
    config = ExperimentConfig(trainer=parse_config(TrainerConfig, options))
    fit = FitInFolder(config, RunFolder(root).create(), system)
    fit.open_logs()
    return fit


def test_a_broken_picture_stops_training_before_the_weights(tmp_path: Path) -> None:
    views = sphere_views()
    images = views.images.clone()
    images[:, 0][views.mask > 0.5] = float("nan")
    system = Reconstruction(small_config())
    system.set_views(replace(views, images=images))
    fit = in_folder(tmp_path / "run", system, max_steps=5)
    with pytest.raises(TrainingError, match=r"colour = nan(.|\n)*no checkpoint") as caught:
        fit.fit(None)
    assert "step 0" in str(caught.value)
    assert all(torch.isfinite(p).all() for p in system.parameters())
    fit.run.last_checkpoint.touch()
    with pytest.raises(TrainingError, match=r"last\.ckpt: resume=last"):
        fit.fit(None)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    layers[1].weight.grad = torch.ones(2, 2)
    check_gradients(layers, 7)
    layers[1].weight.grad[1, 0] = float("inf")
    with pytest.raises(TrainingError, match=r"step 7: the gradient of 1\.weight is not finite"):
        check_gradients(layers, 7)


@pytest.mark.parametrize("background", ["random", "white", "black", "none"])
def test_targets_are_composited_like_the_picture(background: str) -> None:
    system = Reconstruction(small_config(background=background))
    system.set_views(sphere_views())
    behind = system.model.fitter.pool.batch(40, seed=0, step=0).background
    constant = {"white": 1.0, "black": 0.0}
    if background == "none":
        assert behind is None
    elif background == "random":
        assert behind is not None and behind.std() > 0.1
    else:
        assert behind is not None and (behind == constant[background]).all()
    system.model.start(1)
    assert system.model.step()["loss"] > 0


def test_every_step_is_counted_and_a_fit_resumes_exactly(tmp_path: Path) -> None:
    def fitted_to(name: str, steps: int, resume: Path | None = None) -> FitInFolder:
        system = Reconstruction(small_config(steps_per_block=10))
        system.set_views(sphere_views(), sphere_views(16))
        fit = in_folder(
            tmp_path / name,
            system,
            max_steps=steps,
            validate_every=20,
            validate_batches=2,
            preview_every=20,
        )
        fit.fit(resume)
        assert fit.step == system.model.fitter.step_count == steps
        return fit

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        whole = fitted_to("whole", 40)
        torch.manual_seed(1)
        resumed = fitted_to("resumed", 40, whole.stored.path(20))
    finally:
        torch.set_num_threads(before)
    for name, value in resumed.system.state_dict().items():
        assert torch.equal(value, whole.system.state_dict()[name]), name
    (measured,) = resumed.measure("test")
    assert measured["psnr"] > 10 and 0 < measured["ssim"] <= 1
    run = whole.run
    assert sorted(p.name for p in run.ckpts.iterdir()) == [
        "last.ckpt",
        "step=00000020.ckpt",
        "step=00000040.ckpt",
    ]
    assert sorted(p.name for p in run.save.iterdir()) == [
        "step=00000020.png",
        "step=00000040.png",
    ]
    rows = list(csv.DictReader((run.logs / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["20", "40"]
    assert {"train/loss", "train/rays_per_s", "psnr", "ssim"} <= set(rows[0])
    assert json.loads((run.logs / "progress.json").read_text())["step"] == 40


def test_time_budget_ends_training(tmp_path: Path) -> None:
    system = Reconstruction(small_config(time_budget_s=0.2))
    system.set_views(sphere_views())
    fit = in_folder(tmp_path, system, max_steps=100000)
    fit.fit(None)
    assert system.model.done and 0 < fit.step == system.model.fitter.step_count < 100000


@pytest.mark.parametrize(
    "options", [{"devices": 2}, {"devices": "0,1"}, {"accumulate_grad_batches": 2}]
)
def test_a_fit_runs_in_one_process(options: dict[str, object]) -> None:
    words = ["data.root=any", *(f"trainer.{name}={value}" for name, value in options.items())]
    with pytest.raises(
        ConfigError, match=r"trainer\.\w+ is .*: a fit to views runs in one process"
    ):
        check_early(REPOSITORY / "configs/reconstruct.yaml", words, verbs=["train"])


def test_distances_are_differences_of_positions() -> None:
    """The hull of a shifted sphere shifts the recovered zero set with it."""
    system = Reconstruction(small_config())
    centre = torch.tensor([0.08, 0.0, -0.05])
    system.set_views(sphere_views(centre=(0.08, 0.0, -0.05)))
    run_fit(system, 20)
    directions: Tensor = torch.nn.functional.normalize(torch.randn(200, 3), dim=-1)
    assert system.model.sdf(centre + directions * RADIUS).abs().mean() < 0.03


# --- what cannot be seen, and few views -----------------------------------------------------------


def test_nothing_outside_the_hull_reaches_the_mesh() -> None:
    """Even a field that is solid everywhere has its surface within a cell of the hull."""
    system = Reconstruction(small_config())
    system.set_views(sphere_views())
    with torch.no_grad():
        system.model.geometry.b2[0] -= 10  # type: ignore[union-attr,operator,index]
    points = cell_centres(40) * 0.5
    solid = system.model.sdf(points) < 0
    hull = system.model.renderer.hull
    assert hull is not None
    local = system.model.frame.to_local(points)
    cell = ((local + 1) * (0.5 * len(hull))).long().clamp(0, len(hull) - 1)
    allowed = hull[cell.unbind(-1)] & (local.abs() <= 1).all(-1)
    assert torch.equal(solid, allowed) and 0.02 < float(solid.float().mean()) < 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_few_views_give_one_closed_body(count: int) -> None:
    from studio.export.isosurface import extract_mesh

    system = Reconstruction(small_config())
    system.set_views(sphere_views().select(list(range(count))))
    run_fit(system, 30)
    mesh = extract_mesh(system.model.sdf, system.model.bound, 32)
    assert 0.5 * 0.113 < mesh.volume < 1.05**3 and len(mesh.faces) > 100


def test_rays_come_from_one_view_and_from_the_masks() -> None:
    system = Reconstruction(small_config(rays_from="one-view", rays_per_step=64, foreground=0.5))
    system.set_views(sphere_views())
    pool = system.model.fitter.pool
    seen = []
    for step in range(11):
        batch = pool.batch(system.model.fitter.rays, seed=3, step=step)
        assert len(batch.view) == 64 and len(batch.view.unique()) == 1
        assert (batch.mask[:32] > 0.5).all()
        seen.append(int(batch.view[0]))
        again = pool.batch(64, seed=3, step=step)
        assert torch.equal(batch.rays.directions, again.rays.directions)
    assert sorted(seen) == list(range(11))  # every view once, then anew
    mixed = RayPool(
        sphere_views(), system.model.frame, system.model.renderer.meets, pool.target.device
    ).batch(200, seed=3, step=0)
    assert len(mixed.view.unique()) == 11
    run_fit(system, 2)
    assert system.model.fitter.rays == 64  # fixed


@pytest.mark.parametrize("size", [32, 128])
def test_the_smoothing_reaches_over_a_pixel_of_the_views(size: int) -> None:
    views = sphere_views(size)
    height = 2 * 1.5 * math.tan(math.radians(49.134 / 2))  # of what a picture shows at the origin
    assert pixel_side(views, WHOLE) == pytest.approx(height / size / 0.5, rel=1e-3)
    flat = replace(views.cameras, ortho_scale=torch.full((len(views),), 1.2))
    assert pixel_side(replace(views, cameras=flat), WHOLE) == pytest.approx(1.2 / size / 0.5)
    system = Reconstruction(small_config())
    system.set_views(views)
    wanted = pixel_side(views, system.model.fitter.frame)
    assert system.model.fitter.objective.pixel == pytest.approx(wanted)


def test_a_view_that_lost_the_object_teaches_nothing() -> None:
    views = sphere_views()
    images = views.images.clone()
    images[4, 3] = 0
    system = Reconstruction(small_config())
    system.set_views(replace(views, images=images))
    assert sorted(system.model.fitter.pool.view.unique().tolist()) == [*range(4), *range(5, 11)]


def test_progress_is_in_seconds_where_only_they_are_limited(
    fitted: Reconstruction, tmp_path: Path
) -> None:
    fitter = fitted.model.fitter
    before = (fitter.max_steps, fitter.seconds, fitter.step_count, fitter.elapsed_s)
    fit = in_folder(tmp_path, fitted, max_steps=1000)
    fit.step = 20
    try:
        assert fit._place() == (20, 1000, "")
        fitted.cfg.time_budget_s = 30.0
        fitter.max_steps, fitter.seconds, fitter.elapsed_s = 0, 30.0, 6.0
        assert fit._place() == (20, 1000, "")  # steps decide
        fit.steps = 0
        assert fit._place() == (6, 30, "s")
    finally:
        fitter.max_steps, fitter.seconds, fitter.step_count, fitter.elapsed_s = before
        fitted.cfg.time_budget_s = 0.0
    stage = StageProgress("train", 60, unit="s")
    with stage:
        stage(12, 60, {"step": 300, "train/loss": 0.25})
        assert stage.text == "train: 12/60 s  0:48 left  loss 0.25  step 300"


def test_what_is_fitted_is_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    views = sphere_views(24)
    views.images[2, 3] = 0
    run = RunFolder(tmp_path)
    with caplog.at_level(logging.INFO):
        Reconstruction(small_config(), run=run).set_views(views)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures == {
        "views": 10,
        "views_given": 11,
        "bound": 0.5,
        "picture_size": [24, 24],
        "chosen": {"steps": 2000},
    }
    assert "fitting 10 of 11 views of 24x24 px in a cube that reaches to 0.5" in caplog.text
