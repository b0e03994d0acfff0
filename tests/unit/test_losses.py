"""Losses against direct formulas and known cases; schedules of weights, rates and rays."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from studio.cameras import Rays
from studio.config import load_experiment
from studio.errors import ConfigError
from studio.geometry.base import Geometry, GeometryOutput
from studio.geometry.hash_sdf import HashSDF
from studio.models.sdf import losses as L
from studio.models.sdf.loss_options import built_in, read_losses
from studio.models.sdf.objective import Objective
from studio.models.sdf.optimizer import FitOptimizerConfig, make_fit_optimizer
from studio.models.sdf.ray_pool import RayBatch
from studio.ops.schedule import LEARNING_RATES, LearningRate, Schedule, next_ray_count
from studio.ops.volsdf import volsdf_density
from studio.plugins.parsing import parse_config
from studio.renderers.base import Renderer, RenderOutput
from studio.runs.hashing import source_hash
from studio.systems.optim import (
    OptimizerConfig,
    make_optimizer,
    rate_by_step,
)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- functions ------------------------------------------------------------------------------------


def test_colour_errors_are_what_they_are_called() -> None:
    off = uniform(5, 3) - 0.5
    errors = {name: error(off) for name, error in L.COLOUR_ERRORS.items()}
    torch.testing.assert_close(errors["l1-sum"], 3 * errors["l1"])
    torch.testing.assert_close(errors["mse-sum"], 3 * errors["mse"])
    torch.testing.assert_close(errors["huber"], 0.5 * errors["mse"])  # |off| < 1
    torch.testing.assert_close(errors["charbonnier"], (off.norm(dim=1) ** 2 + 0.001).sqrt())


def test_masked_mean_counts_the_mask_only() -> None:
    error = torch.tensor([1.0, 2.0, 30.0])
    assert float(L.mean_over(error)) == 11
    assert float(L.mean_over(error, torch.tensor([1.0, 1.0, 0.0]))) == pytest.approx(1.5, abs=1e-4)
    assert float(L.mean_over(error, torch.zeros(3, dtype=torch.bool))) == 0
    assert float(L.mean_over(error[:0])) == 0


def test_mask_cross_entropy_is_least_at_the_mask_and_stops_at_the_clip() -> None:
    mask = torch.tensor([0.0, 1.0, 0.5, 1.0])
    opacity = torch.tensor([0.0, 1.2, 0.5, 0.3], requires_grad=True)
    error = L.mask_cross_entropy(opacity, mask)
    torch.testing.assert_close(error[3], -torch.tensor(0.3).log())
    error.sum().backward()
    assert opacity.grad is not None and (opacity.grad[:2] == 0).all()  # clipped
    assert opacity.grad[2].abs() < 1e-5 and opacity.grad[3] < 0


def test_ranking_leaves_the_largest_errors_out() -> None:
    error = torch.tensor([5.0, 1.0, 3.0, 2.0, 100.0])
    assert float(L.ranked_mean(error, 0.8)) == pytest.approx((1 + 2 + 3 + 5) / 4)
    weight = torch.tensor([1.0, 0.0, 1.0, 2.0, 1.0])
    assert float(L.ranked_mean(error, 0.8, weight)) == pytest.approx((0 + 4 + 3 + 5) / 4)
    assert float(L.ranked_mean(error, 0.8, reduce="sum")) == 11
    assert float(L.ranked_mean(error[:0], 0.8)) == 0
    # Wonder3D's code takes places 1, 3, 2, 0 of the sorted errors 1, 2, 3, 5, 100
    assert float(L.ranked_mean(error, 0.8, as_released=True)) == pytest.approx((2 + 5 + 3 + 1) / 4)
    other = torch.tensor([1.0, 9.0, 2.0, 3.0])
    assert float(L.ranked_mean(other, 0.5, as_released=True)) == pytest.approx((1 + 3) / 2)


def test_normals_that_face_away_are_not_believed() -> None:
    wanted = torch.nn.functional.normalize(uniform(6, 3) - 0.5, dim=1)
    cosine = torch.tensor([-0.9, -0.5, -0.2, 0.0, 0.4, -0.05])
    error, facing = L.normal_error(2 * wanted, wanted, cosine, geo_aware=True)
    assert facing.tolist() == [True, True, True, False, False, False]
    assert error.abs().max() < 1e-6
    error, _ = L.normal_error(-wanted, wanted, cosine, geo_aware=True)
    assert float(error.sum()) == pytest.approx(2, abs=1e-5)  # weights add up to 1
    assert error[0] > error[1] > error[3]


def test_eikonal_of_unit_and_of_weighted_gradients() -> None:
    unit = torch.nn.functional.normalize(uniform(7, 3) - 0.5, dim=1)
    assert float(L.eikonal(unit)) < 1e-10 and float(L.eikonal(3 * unit)) == pytest.approx(4)
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0, 0])
    mixed = torch.cat([3 * unit[:1], unit[1:]])
    assert float(L.eikonal(mixed, weights)) == pytest.approx(4, rel=1e-4)


def test_distortion_is_the_double_sum() -> None:
    counts = torch.tensor([4, 0, 3])
    ray = torch.arange(3).repeat_interleave(counts)
    w, t, section = uniform(7, seed=1), uniform(7, seed=2).cumsum(0), uniform(7, seed=3)
    wanted = 0.0
    for n in range(3):
        a, b, c = w[ray == n], t[ray == n], section[ray == n]
        wanted += float((a[:, None] * a * (b[:, None] - b).abs()).sum() + (a * a * c).sum() / 3)
    assert float(L.distortion(w, t, section, ray, 3)) == pytest.approx(wanted / 3, rel=1e-5)
    assert float(L.distortion(w[:0], t[:0], section[:0], ray[:0], 3)) == 0
    check = lambda x: L.distortion(x, t.double(), section.double(), ray, 3)  # noqa: E731
    assert torch.autograd.gradcheck(check, (w.double().requires_grad_(),))


def test_regularisers_of_known_fields() -> None:
    assert float(L.opaque(torch.tensor([0.0, 1.0]))) < 0.01
    assert float(L.opaque(torch.tensor([0.5]))) == pytest.approx(math.log(2))
    assert float(L.sparsity(torch.zeros(3), 10)) == 1 > float(L.sparsity(torch.ones(3), 10))
    assert float(L.curvature(torch.tensor([-2.0, 2.0]))) == 2
    assert float(L.normal_smoothness(torch.zeros(2, 3), torch.ones(2, 3))) == 1
    assert float(L.outside(torch.tensor([-1.0, 0.5, 2.0]), margin=1.0)) == pytest.approx(2.5 / 3)
    assert float(L.picture_smoothness(torch.ones(1, 4, 5, 3))) == 0
    assert float(L.opacity_sparsity(torch.zeros(2))) == pytest.approx(0.1)
    variance, opacity = torch.tensor([1.0, 5.0]), torch.tensor([0.9, 0.1])
    assert float(L.depth_variance(variance, opacity)) == 1
    assert float(L.depth_variance(variance, opacity * 0)) == 0


def test_orient_moves_normals_but_not_weights() -> None:
    normals = torch.tensor([[0.0, 0, 1], [0, 0, -1]], requires_grad=True)
    weights = torch.tensor([0.5, 0.5], requires_grad=True)
    directions = torch.tensor([[0.0, 0, 1], [0, 0, 1]])
    loss = L.orient(weights, normals, directions, torch.tensor([1.0, 0.0]))
    assert float(loss.detach()) == 0.5
    loss.backward()
    assert weights.grad is None and normals.grad is not None
    assert normals.grad[0, 2] > 0 and (normals.grad[1] == 0).all()


def test_volsdf_density_is_sharp_inside_and_nothing_outside() -> None:
    density = volsdf_density(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(50.0))
    torch.testing.assert_close(density, torch.tensor([50.0, 25.0, 0.0]))
    assert float(volsdf_density(torch.tensor([-9.0]), torch.tensor(500.0))) == 80


# --- the objective --------------------------------------------------------------------------------


class Plane(Geometry):
    """SDF z - height, with a gradient that can be bent."""

    def __init__(self) -> None:
        super().__init__()
        self.height = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, points: Tensor) -> GeometryOutput:
        gradient = torch.stack([points[:, 0] * 0, points[:, 0] * 0, points[:, 0] * 0 + 1], 1)
        return GeometryOutput(self.sdf(points), gradient, points)

    def sdf(self, points: Tensor) -> Tensor:
        return points[:, 2] - self.height

    def colour(self, points: Tensor, *_: Tensor) -> Tensor:
        return points * 0

    def gloss(self, points: Tensor, normals: Tensor, view_dirs: Tensor, _: Tensor) -> Tensor:
        return (normals * view_dirs) ** 2 + self.height


class NoRenderer(Renderer):
    """Renders nothing, but knows a hull: the lower half of the cube."""

    def forward(self, *_: Any, **__: Any) -> RenderOutput:
        raise AssertionError

    @property
    def hull(self) -> Tensor:
        lower = torch.zeros(4, 4, 4, dtype=torch.bool)
        lower[:, :, :2] = True
        return lower


def rendered(n: int = 6, each: int = 4) -> RenderOutput:
    p = n * each
    return RenderOutput(
        rgb=uniform(n, 3, seed=5),
        mask=uniform(n, seed=6),
        depth=uniform(n),
        normal=torch.zeros(0, 3),
        weights=uniform(p, seed=7),
        gradients=uniform(p, 3, seed=8),
        sdf=uniform(p, seed=9) - 0.5,
        points=uniform(p, 3, seed=10) - 0.5,
        samples=p,
        laplacian=uniform(p, seed=11),
        ray_index=torch.arange(n).repeat_interleave(each),
        t=uniform(p, seed=12),
        sections=uniform(p, seed=13),
    )


def batch(n: int = 6) -> RayBatch:
    directions = torch.nn.functional.normalize(uniform(n, 3, seed=14) - 0.5, dim=1)
    return RayBatch(
        Rays(torch.zeros(n, 3), directions),
        uniform(n, 4, seed=15).round(),
        uniform(n, 3, seed=16),
        torch.arange(n) % 2,
        -directions,
    )


def objective(view_weights: tuple[float, ...] = (), **options: Any) -> Objective:
    off = dict.fromkeys(built_in(), 0.0)
    return Objective(
        read_losses({**off, **options}),
        Plane(),
        NoRenderer(),
        view_weights,
    )


def losses(of: Objective, output: RenderOutput, step: int = 0) -> dict[str, Tensor]:
    return of(output, batch(), seed=1, step=step, progress=0.5)


def test_the_gloss_loss_is_the_mean_of_what_visible_points_mirror() -> None:
    output = replace(rendered(), weights=torch.zeros(24).index_fill(0, torch.tensor([9]), 0.5))
    found = losses(objective(gloss=1.0), output)
    along = batch().rays.directions[2]  # of the only sample that can be seen
    normal = torch.nn.functional.normalize(torch.tensor([0.0, 0.0, 1.0]), dim=0)
    assert float(found["gloss"].detach()) == pytest.approx(float((normal * along).square().mean()))
    nothing = losses(objective(gloss=1.0), replace(output, weights=torch.zeros(24)))
    assert float(nothing["gloss"]) == 0


def test_gloss_that_is_not_told_is_refused_in_a_sentence() -> None:
    of = objective(gloss=1.0)
    of.geometry = HashSDF(HashSDF.Config())
    with pytest.raises(ConfigError, match="gloss=true"):
        losses(of, rendered())


def test_every_loss_has_an_option_and_is_summed_with_its_weight() -> None:
    weights = {name: 0.5 + i for i, name in enumerate(built_in())}
    found = losses(objective(**weights), rendered())
    assert set(found) == {*built_in(), "loss"}
    total = sum(weights[name] * float(found[name].detach()) for name in built_in())
    assert float(found["loss"].detach()) == pytest.approx(total, rel=1e-5)
    assert all(math.isfinite(float(value)) for value in found.values())


def test_losses_without_weight_are_not_computed() -> None:
    none = replace(rendered(), laplacian=None, ray_index=None, t=None, sections=None)
    found = losses(objective(colour=1.0, eikonal=[10, 0.0, 1.0, 20]), none)
    assert set(found) == {"colour", "loss"}  # curvature and orient would fail
    assert "eikonal" in losses(objective(eikonal=[10, 0.0, 1.0, 20]), none, step=15)


@pytest.mark.parametrize(
    ("name", "lacking"), [("curvature", "laplacian"), ("distortion", "t"), ("orient", "ray_index")]
)
def test_losses_that_cannot_be_computed_say_so(name: str, lacking: str) -> None:
    output = replace(rendered(), **{lacking: None})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"loss.{name}"):
        losses(objective(**{name: 1.0}), output)


def test_normal_loss_needs_normals_and_sums_them_along_rays() -> None:
    output, rays = rendered(), batch()
    facing = replace(output, gradients=-rays.rays.directions[output.ray_index])
    assert float(losses(objective(normal=1.0), facing)["normal"]) < 1e-6
    assert float(losses(objective(normal=1.0), output)["normal"]) > 0.1
    with pytest.raises(ConfigError, match="normals"):
        objective(normal=1.0)(output, replace(rays, normals=None), seed=1, step=0, progress=0)


def test_rays_that_count_in_the_colour_loss() -> None:
    output, rays = rendered(), batch()
    error = (output.rgb - rays.colours).abs().sum(1)
    on = rays.mask > 0.5
    found = losses(objective(colour=1.0, colour_norm="l1-sum", colour_rays="mask"), output)
    assert float(found["colour"]) == pytest.approx(float(error[on].mean()), rel=1e-4)
    kept = losses(objective(colour=1.0, colour_norm="l1-sum", colour_keep=0.5), output)
    assert float(kept["colour"]) == pytest.approx(float(error.sort()[0][:3].mean()), rel=1e-5)


def test_weights_of_views_scale_the_mask_loss() -> None:
    alike = losses(objective(mask=1.0), rendered())["mask"]
    twice = losses(objective((2.0, 2.0), mask=1.0), rendered())["mask"]
    first = losses(objective((1.0, 0.0), mask=1.0), rendered())["mask"]
    assert float(twice) == pytest.approx(2 * float(alike)) and 0 < float(first) < float(alike)


def test_outside_pushes_where_the_hull_is_not() -> None:
    of = objective(outside=1.0)
    assert float(losses(of, rendered())["outside"].detach()) < 0.1  # z - 0 is positive there
    of.geometry.height.data.fill_(0.8)  # type: ignore[union-attr,operator]
    found = losses(of, rendered())["outside"]
    assert float(found.detach()) > 0.3
    found.backward()
    assert float(of.geometry.height.grad) > 0.5  # type: ignore[arg-type]  # so it will sink


def test_smoothness_waits_and_takes_turns() -> None:
    cfg = {"smooth": 1.0, "smooth_from": 0.4, "random_every": 4, "random_points": 16}
    of = objective(**cfg)
    assert "smooth" in losses(of, rendered(), step=8)
    assert "smooth" not in losses(of, rendered(), step=9)
    early = of(rendered(), batch(), seed=1, step=8, progress=0.3)
    assert "smooth" not in early
    flat = replace(rendered(), gradients=torch.tensor([0.0, 0, 1]).expand(24, 3))
    assert (
        float(losses(of, flat, step=8)["smooth"]) < 1e-5 < float(losses(of, rendered())["smooth"])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour_norm": "l3"}, "charbonnier"),
        ({"mask_norm": "l1"}, "bce, mse"),
        ({"colour_rays": "none"}, "all, mask, hit"),
        ({"smooth_at": "edge"}, "surface"),
        ({"mask": [0, 1.0, 0.0, 5.0]}, "a whole end step"),
        ({"mask": "much"}, "system.loss.mask"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objective(**options)


# --- schedules ------------------------------------------------------------------------------------


def test_schedules_by_step_and_by_epoch() -> None:
    rising = Schedule.parse([10, 1.0, 3.0, 20])
    assert [rising(s) for s in (0, 10, 15, 20, 99)] == [1, 1, 2, 3, 3]
    assert Schedule.parse([1.0, 3.0, 20])(10) == 2
    by_epoch = Schedule.parse([0, 1.0, 3.0, 2.0])
    assert by_epoch.epochs and by_epoch(500, epoch=1) == 2 and not rising.epochs
    assert Schedule.parse(0).off and not rising.off
    with pytest.raises(ConfigError, match="loss.mask"):
        Schedule.parse([20, 1.0, 3.0, 10], "loss.mask")


@pytest.mark.parametrize("kind", list(LEARNING_RATES))
def test_learning_rates_end_where_they_should(kind: str) -> None:
    rate = LearningRate(kind, 100, 0.01, 0.05, fall=4800)
    factors = [rate(step, 5000) for step in range(5000)]
    assert max(factors) <= 1 and min(factors) > 0
    first = factors[1] if kind == "cosine" else factors[0]
    assert factors[150] > 0.85 and (kind.startswith("constant") or first < 0.03)
    assert factors[-1] == pytest.approx(0.05, rel=0.01) or kind == "stairs"
    falling = factors[200:]
    assert all(a >= b for a, b in zip(falling, falling[1:], strict=False))
    assert 0 < rate(150, math.inf) <= 1
    if kind == "stairs":
        assert len(set(falling)) == 5 and falling[-1] == pytest.approx(0.05 ** (4 / 5))


def test_plateau_of_a_training_and_its_decay() -> None:
    cfg = OptimizerConfig(warmup_steps=10, decay_steps=20, exponential=[0.5, 40])
    factor = rate_by_step(cfg, 100)
    assert [factor(s) for s in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert factor(50) == pytest.approx(0.5)
    assert factor(90) == pytest.approx(0.5 * 0.5**2) and factor(100) == 0
    endless = rate_by_step(cfg, -1)
    assert endless(100) == pytest.approx(0.5 ** (90 / 40))


def test_learning_rate_of_eschernet_is_the_authors() -> None:
    """Set after each step from its number: 1e-5 to 1e-4 in 1000 steps, a cosine to 1e-5."""

    def authors(step: int) -> float:
        span = 1e-4 - 1e-5
        if step <= 1000:
            return 1e-5 + span * step / 1000
        return span * 0.5 * (1 + math.cos(math.pi * step / 100_000)) + 1e-5

    config = Path(__file__).parents[2] / "configs" / "train" / "eschernet.yaml"
    options: Any = OmegaConf.to_container(OmegaConf.load(config))
    cfg = OptimizerConfig(**options["system"]["optimizer"])
    factor = rate_by_step(cfg, options["trainer"]["max_steps"])
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer([{"params": [parameter]}], cfg)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    used = []
    for _ in range(1100):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used == pytest.approx([1e-4, *(authors(s) for s in range(1099))], rel=1e-9)
    for update in (1_001, 1_002, 30_000, 99_999):
        assert cfg.lr * factor(update) == pytest.approx(authors(update - 1), rel=1e-9)


def test_the_rate_follows_the_joint_batch_where_asked_for() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr_scale": 0.1}]
    for scale, factor in ((False, 1), (True, 32)):
        optimizer = make_optimizer(groups, OptimizerConfig(lr=1e-4, scale_lr=scale), batch=32)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5 * factor)


def test_an_optimiser_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="allowed: adamw, adamw-8bit"):
        parse_config(OptimizerConfig, {"optimizer": "lion"})
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(ConfigError, match="pip install bitsandbytes"):
            parse_config(OptimizerConfig, {"optimizer": "adamw-8bit"})


def test_eight_bit_moments_are_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    class AdamW8bit(torch.optim.AdamW):
        def __init__(self, groups: object, **options: object) -> None:
            asked.update(options)
            super().__init__(groups, **options)

    optim = SimpleNamespace(AdamW8bit=AdamW8bit)
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(optim=optim))
    cfg = OptimizerConfig(optimizer="adamw-8bit", lr=2e-4, betas=[0.8, 0.9], weight_decay=0.1)
    made = make_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))]}], cfg)
    assert type(made) is AdamW8bit
    assert asked == {"lr": 2e-4, "betas": (0.8, 0.9), "weight_decay": 0.1}


def test_rays_follow_the_samples_that_are_wanted() -> None:
    rays = 256
    for _ in range(200):
        rays = next_ray_count(rays, rays * 12, 4096, 8192)
    assert 320 < rays <= 4096 // 12
    assert next_ray_count(8000, 8000, 10**6, 8192) == 8192
    assert next_ray_count(300, 0, 4096, 8192) == 300  # an empty grid


def test_optimisers_scale_groups_and_are_named() -> None:
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(2))], "lr_scale": 0.1},
        {"params": [], "lr_scale": 1.0},
        {"params": [torch.nn.Parameter(torch.ones(2))]},
    ]
    cfg = FitOptimizerConfig(optimizer="adamw", lr=0.01, weight_decay=0.3, betas=[0.8, 0.9])
    optimizer = make_fit_optimizer(groups, cfg)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [g["base_lr"] for g in optimizer.param_groups] == pytest.approx([0.001, 0.01])
    assert optimizer.param_groups[0]["weight_decay"] == 0.3
    with pytest.raises(ConfigError, match="adam, adamw"):
        parse_config(FitOptimizerConfig, {"optimizer": "sgd"})
    with pytest.raises(ConfigError, match="warmup-cosine"):
        parse_config(FitOptimizerConfig, {"lr_schedule": "linear"})


# --- losses of others -----------------------------------------------------------------------------

TILT = '''
from dataclasses import dataclass

from studio.models.sdf.loss_options import LossOptions
from studio.models.sdf.objective import Seen
from studio.plugins import register


@dataclass
class TiltOptions(LossOptions):
    """Options of the tilt."""

    power: float = 1.0
    """Of the height."""


@register("loss", "tilt")
def tilt(seen: Seen, cfg: TiltOptions):
    """Mean height of the samples."""
    return seen.output.points[:, 2].abs().pow(cfg.power).mean()
'''


def test_a_loss_is_one_file_in_custom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> None:
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "tilt.py").write_text(TILT)
    monkeypatch.chdir(tmp_path)
    config = str(Path(__file__).parents[2] / "configs" / "reconstruct.yaml")
    words = ["data.root=x", "system.loss.tilt=2.0", "system.loss.tilt_power=3"]
    loss = load_experiment(config, words).system["loss"]
    assert loss["tilt"] == 2.0 and loss["tilt_power"] == 3.0 and loss["mask"] == 0.1
    grouped = read_losses({"tilt": {"weight": 2, "power": 3}, "mask": {"norm": "mse"}})
    assert grouped == read_losses({"tilt": 2.0, "tilt_power": 3.0, "mask_norm": "mse"})
    output = rendered()
    value = losses(objective(tilt={"weight": 2.0, "power": 3.0}), output)
    wanted = output.points[:, 2].abs().pow(3).mean()
    assert float(value["tilt"]) == pytest.approx(float(wanted))
    assert float(value["loss"]) == pytest.approx(2 * float(wanted))
    with pytest.raises(ConfigError, match=r"did you mean 'system\.loss\.tilt_power'"):
        load_experiment(config, ["data.root=x", "system.loss.tilt=1", "system.loss.tilt_pover=3"])
    assert "tilt" not in load_experiment(config, ["data.root=x"]).system["loss"]


def test_an_edited_loss_counts_as_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_plugins: None
) -> None:
    (tmp_path / "custom").mkdir()
    plugin = tmp_path / "custom" / "tilt.py"
    plugin.write_text(TILT)
    monkeypatch.chdir(tmp_path)
    before = source_hash({"loss": {"tilt": 1.0}})
    unused = source_hash({"loss": {"tilt": 0.0}})
    plugin.write_text(TILT + "\n")
    assert source_hash({"loss": {"tilt": 1.0}}) != before
    assert source_hash({"loss": {"tilt": 0.0}}) == unused


def test_the_order_of_the_sum_is_that_of_the_file() -> None:
    assert built_in()[:4] == ("colour", "colour_mse", "mask", "normal")
    assert read_losses().names == built_in() and len(built_in()) == 13
