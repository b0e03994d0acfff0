"""ViewFusion-interpolated: orders of views, weights, the fused step, and what a run costs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from studio.cameras import Cameras, orbit_cameras
from studio.errors import ConfigError, WeightsError
from studio.guidance.ddim import ddim_plan, ddim_update
from studio.guidance.ldm import UNET
from studio.guidance.viewfusion_interpolated.guidance import ViewFusionInterpolatedGuidance
from studio.guidance.viewfusion_interpolated.orders import (
    ViewPlan,
    camera_poses,
    make_plan,
    path_poses,
)
from studio.guidance.viewfusion_interpolated.weights import Fusion, fusion_weights
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.checkpoint import PARTS
from studio.plugins.options import build
from studio.views import Condition, ViewSet
from tests.unit.test_zero123 import TINY, batch, seeded
from tests.unit.test_zero123 import _released_state as released_state

INPUT = torch.tensor([[0.0, 30.0, 1.5]], dtype=torch.float64)


def tiny(**options: Any) -> ViewFusionInterpolatedGuidance:
    torch.manual_seed(0)
    given = {**TINY, "steps": 2, **options}
    model = build("guidance", "viewfusion-interpolated", given, key="system.guidance")
    assert isinstance(model, ViewFusionInterpolatedGuidance)
    return model.eval()


def poses(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)


def ring(count: int, elevation: float = 30.0) -> Tensor:
    return poses(*((k * 360.0 / count, elevation, 1.5) for k in range(count)))


def cameras(*azimuths: float, elevation: float = 30.0, distance: float = 1.5) -> Cameras:
    return orbit_cameras(azimuths, elevation, distance, size=32)


def picture(seed: int = 0) -> Condition:
    image = torch.rand(4, 32, 32, generator=seeded(seed))
    image[3] = (image[3] > 0.3).float()
    return Condition(image=image)


# ---------------------------------------------------------------- orders


def test_spin_goes_around_both_sides_at_once() -> None:
    plan = make_plan(INPUT, ring(36))
    azimuths = ((plan.poses[1:, 0] + 179.9) % 360 - 179.9).round(decimals=6).tolist()
    assert azimuths[:4] == [10, -10, 20, -20] and azimuths[-3:] == [170, -170, 180]
    assert plan.conditions == 443 and len(plan.views) == 35
    assert make_plan(INPUT, ring(16)).conditions == 85
    assert plan.targets[:3] == [0, 1, 3] and plan.targets[-1] == 2


def test_order_of_the_cameras_does_not_matter() -> None:
    shuffled = torch.randperm(12, generator=seeded())
    plan, other = make_plan(INPUT, ring(12)), make_plan(INPUT, ring(12)[shuffled])
    assert torch.equal(plan.poses, other.poses)
    assert other.targets == [plan.targets[i] for i in shuffled.tolist()]


@pytest.mark.parametrize("order", ["spin", "path", [[45, 10], [90, 20, 1.7]]])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9])
def test_few_views_and_all_weights_sum_to_one(order: Any, count: int) -> None:
    """The original's spin fails below six views."""
    several = torch.cat([INPUT, poses((100, 10, 1.5), (-140, 50, 2.0))])
    for inputs in (INPUT, several):
        for window in (0.0, 50.0, 125.0, 400.0):
            plan = make_plan(inputs, ring(count), order, Fusion(window_deg=window))
            check(plan, window)


def check(plan: ViewPlan, window: float) -> None:
    for made in plan.views:
        assert made.weights.sum() == pytest.approx(1, abs=1e-12) and (made.weights >= 0).all()
        assert made.conditions[: plan.inputs] == list(range(plan.inputs))
        assert all(i < made.view for i in made.conditions)
        if window == 0:
            assert made.conditions == list(range(plan.inputs))


def test_nothing_near_means_all_weight_on_the_input() -> None:
    first, second = make_plan(INPUT, ring(4)).views[:2]
    assert (first.conditions, first.weights.tolist()) == ([0], [1.0])
    assert (second.conditions, second.weights.tolist()) == ([0], [1.0])  # +90 and -90 degrees


def test_equal_distances_of_zero_weigh_the_same() -> None:
    kept, weights = fusion_weights(torch.zeros(3, dtype=torch.float64), 1, 0.5, Fusion())
    assert kept == [0, 1, 2] and weights.tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_repeated_targets_are_made_once() -> None:
    turned = poses((90, 30, 1.5), (450, 30, 1.5), (0, 30, 1.5), (90, 30, 2.0), (-270, 30, 1.5))
    plan = make_plan(INPUT, turned)
    assert plan.targets == [1, 1, 0, 2, 1] and len(plan.views) == 2


@pytest.mark.parametrize("order", ["spin", "path"])
def test_target_at_the_input_is_the_input(order: str) -> None:
    plan = make_plan(INPUT, poses((360, 30, 1.5)), order)
    assert plan.targets == [0] and plan.views == []


def test_path_takes_even_steps_the_short_way() -> None:
    start, end = poses((170, 10, 1.5), (-160, -15, 2.0))
    way = path_poses(start, end)
    assert len(way) == 3 and torch.allclose(way[-1] % 360, end % 360)
    torch.testing.assert_close(way[0], poses((180, 10 - 25 / 3, 1.5 + 0.5 / 3))[0])
    assert len(path_poses(start, poses((170, 10, 1.8))[0])) == 1  # the distance alone
    plan = make_plan(INPUT, poses((40, 30, 1.5), (-25, 30, 1.5), (20, 30, 1.5)), "path")
    assert [len(s.conditions) for s in plan.views] == [1, 2, 3, 4, 1, 2, 3, 1, 2]
    ends = plan.poses[plan.targets, 0].tolist()
    assert ends == pytest.approx([40, -25, 20])
    assert plan.targets == [4, 7, 9]  # not the view of the same pose on the way to 40 degrees


def test_list_of_poses_is_made_first() -> None:
    order = [[180, 30, 1.5], [20, 60], [0, 30]]
    plan = make_plan(INPUT, ring(8), order)
    assert plan.poses[1:4].tolist() == [[180, 30, 1.5], [20, 60, 1.5], [45, 30, 1.5]]
    assert len(plan.views) == 8 and plan.targets[0] == 0 and plan.targets[4] == 1
    assert 2 not in plan.targets  # a help on the way, not asked for


def test_several_inputs_share_by_their_angle() -> None:
    inputs = poses((0, 30, 1.5), (90, 30, 1.5), (180, 0, 1.2))
    plan = make_plan(inputs, ring(8))
    assert plan.targets[2] == 1  # an input stands there
    first = plan.views[0]
    assert first.conditions == [0, 1, 2]
    assert first.weights[0] == pytest.approx(float(first.weights[1]))  # 45 degrees from both
    assert first.weights[0] > first.weights[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "zigzag"}, "spin, path; or a list"),
        ({"order": [[1]]}, "azimuth_deg, elevation_deg, distance"),
        ({"order": [[0, 90]]}, "between -89.9 and 89.9"),
        ({"order": 3}, "order is 3"),
        ({"noise": "none"}, "shared, independent"),
        ({"precision": "half"}, "float32, bfloat16"),
        ({"input_temperature": 0}, "input_temperature is 0"),
        ({"view_temperature": -1}, "above 0"),
        ({"window_deg": -1}, "window_deg is -1"),
        ({"input_distance": 0}, "input_distance is 0"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(**options)


# ---------------------------------------------------------------- one view


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_fused_step_is_the_mean_of_single_steps(noise: str) -> None:
    model = tiny(noise=noise, eta=1.0, guidance_scale=2.0).double()
    draw = [torch.randn(s, generator=seeded(), dtype=torch.float64) for s in SHAPES]
    context, concat, x, noises = draw
    noises = noises[:, :1] if noise == "shared" else noises
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    plan = ddim_plan(model.schedule, 2, "trailing", 1.0)
    got = model.sample_fused(context, concat, weights, x, plan=plan, step_noise=noises)
    for step, z in zip(plan, noises, strict=True):
        views = []
        for i in range(3):
            guided, _ = model.predict(x, step.t, context[i : i + 1], concat[i : i + 1], 2.0)
            eps, x0 = model.schedule.split(guided, x, step.abar)
            views.append(ddim_update(step, eps, x0, z[i % len(z)][None]))
        x = (weights[:, None, None, None] * torch.cat(views)).sum(0, keepdim=True)
    torch.testing.assert_close(got, x, atol=1e-9, rtol=1e-9)


SHAPES = ((3, 1, 32), (3, 8, 4, 4), (1, 8, 4, 4), (2, 3, 8, 4, 4))


@pytest.mark.parametrize("tokens", ["one", "patches"])
def test_one_condition_is_zero123(tokens: str) -> None:
    model = tiny(guidance_scale=2.0, picture_tokens=tokens)
    condition, where, noise = picture(), cameras(75), torch.randn(1, 8, 4, 4)
    alone = super(ViewFusionInterpolatedGuidance, model).generate(condition, where, noise=noise)
    fused = model.generate(condition, where, noise=noise)
    torch.testing.assert_close(fused.images, alone.images, atol=1e-4, rtol=0)


def test_conditions_in_small_batches_and_one_null_for_all() -> None:
    wanted, sizes = None, {}
    for most in (16, 2):
        model = tiny(guidance_scale=3.0, view_batch=most)
        sizes[most] = []
        model.unet.register_forward_pre_hook(
            lambda _, args, most=most: sizes[most].append(len(args[0]))
        )
        context, concat, x, _ = (torch.randn(s, generator=seeded()) for s in SHAPES)
        got = model.guided_predictions(x, 500, context, concat)
        wanted = got if wanted is None else wanted
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert sizes == {16: [4], 2: [2, 2]}


def test_independent_noise_has_less_spread() -> None:
    """The spread of a weighted mean is the root of sum w^2; a shared draw keeps its own."""
    spread = {}
    weights = torch.full((25,), 1 / 25)
    for noise in ("shared", "independent"):
        model = counting(noise=noise, guidance_scale=1.0, steps=1, timestep_spacing="trailing")
        plan = model.plan()
        end = model.sample_fused(
            torch.zeros(25, 1, 768),
            torch.zeros(25, 4, 32, 32),
            weights,
            torch.zeros(1, 4, 32, 32),
            plan=plan,
            generator=seeded(),
        )
        spread[noise] = float(end.std()) / plan[0].sigma
    assert spread["shared"] == pytest.approx(1.0, abs=0.05)
    assert spread["independent"] == pytest.approx(0.2, abs=0.01)


# ---------------------------------------------------------------- all views


@pytest.mark.parametrize("order", ["spin", "path", [[45.0, 0.0]]])
def test_any_ring_in_any_world(order: Any) -> None:
    model = tiny(order=order)
    where = cameras(180, 225, 190, 160, 225, elevation=5, distance=1.8)
    condition = Condition(image=picture().image, elevation_deg=-10, azimuth_deg=200)
    steps: list[tuple[int, int]] = []
    views = model.generate(
        condition, where, generator=seeded(), progress=lambda *at: steps.append(at)
    )
    assert views.images.shape == (5, 4, 32, 32) and torch.isfinite(views.images).all()
    torch.testing.assert_close(views.cameras.c2w, where.c2w)
    assert torch.equal(views.images[1], views.images[4])
    assert not torch.equal(views.images[1], views.images[2])
    assert steps == [(k + 1, steps[-1][1]) for k in range(steps[-1][1])]
    again = model.generate(condition, where, generator=seeded())
    assert torch.equal(again.images, views.images)


def test_default_ring_has_the_inputs_elevation_and_distance() -> None:
    model = tiny(views=5, input_distance=1.9)
    condition = Condition(image=picture().image, elevation_deg=12, azimuth_deg=40)
    views = model.generate(condition, generator=seeded())
    azimuth, elevation, distance = views.cameras.spherical()
    torch.testing.assert_close(azimuth, torch.arange(5) * 72.0 + 40, atol=1e-2, rtol=0)
    torch.testing.assert_close(elevation, torch.full((5,), 12.0), atol=1e-2, rtol=0)
    torch.testing.assert_close(distance, torch.full((5,), 1.9))
    image = picture().image
    assert image is not None
    visible = image[3:]
    assert torch.equal(views.images[0, 3:], visible)
    torch.testing.assert_close(views.images[0, :3] * visible, image[:3] * visible)


def test_posed_pictures_as_input() -> None:
    model = tiny()
    given = ViewSet(
        torch.rand(3, 4, 48, 48, generator=seeded()),
        orbit_cameras([0, 90, 250], [30, 20, 40], 1.6, size=48),
    )
    views = model.generate(
        Condition(views=given), cameras(0, 45, 150, distance=1.6), generator=seeded()
    )
    assert views.meta["conditions"] == 3 + 4  # three inputs for each, and the nearer view
    torch.testing.assert_close(
        views.images[0, 3].mean(), given.images[0, 3].mean(), atol=0.02, rtol=0
    )
    other = ViewSet(given.images[[0, 2, 1]], given.cameras[[0, 2, 1]])
    same = model.generate(
        Condition(views=other), cameras(0, 45, 150, distance=1.6), generator=seeded()
    )
    torch.testing.assert_close(same.images, views.images, atol=1e-4, rtol=0)


def test_later_views_depend_on_earlier_ones() -> None:
    """Other noise of the first view changes the second; without a window it cannot."""
    noise, changed = torch.zeros(2, 8, 4, 4), torch.zeros(2, 8, 4, 4)
    changed[0] = 2.0
    where = cameras(30, 60)
    for window, heeds in ((125.0, True), (0.0, False)):
        model = tiny(window_deg=window)
        a, b = (model.generate(picture(), where, noise=z).images for z in (noise, changed))
        assert not torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1]) is not heeds


def test_condition_without_a_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="no picture"):
        tiny().generate(Condition(text="a chair"), cameras(0))
    unposed = ViewSet(torch.rand(2, 4, 32, 32), cameras(0, 0), meta={"posed": False})
    with pytest.raises(ConfigError, match="posed-images"):
        tiny().generate(Condition(views=unposed), cameras(0))


def test_camera_poses_are_round() -> None:
    assert torch.equal(camera_poses(cameras(*range(0, 360, 30), elevation=10)), ring(12, 10))


# ---------------------------------------------------------------- weights and training


def test_folders_of_either_method_are_read(tmp_path: Path) -> None:
    base = build("guidance", "zero123", {**TINY, "prediction_type": "epsilon"})
    base.save_pretrained(tmp_path / "base")
    own = {"weights": str(tmp_path / "base"), "noise": "independent"}
    model = build("guidance", "viewfusion-interpolated", own)
    assert (model.cfg.prediction_type, model.cfg.resolution) == ("epsilon", 32)
    model.save_pretrained(tmp_path / "own")
    read = ViewFusionInterpolatedGuidance.from_pretrained(tmp_path / "own")
    assert read.cfg.noise == "independent"
    back = build("guidance", "zero123", {"weights": str(tmp_path / "own")})
    wanted = base.state_dict()
    for other in (model, read, back):
        found = other.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_it_trains_zero123() -> None:
    """A step of the authors' recipe: two rates, VAE and CLIP frozen."""
    model = tiny(projection_lr_scale=10.0, train_clip=False)
    losses = model.training_loss(batch(), generator=seeded())
    losses["loss"].backward()
    groups = model.trainable_parameters()
    assert [g["lr_scale"] for g in groups] == [1.0, 10.0]
    assert all(p.grad is not None for g in groups for p in g["params"])
    assert not any(p.requires_grad for p in (*model.vae.parameters(),))
    assert not any(p.requires_grad for p in model.image_encoder.parameters())


def test_training_starts_from_a_model_without_the_conditions_channels(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = build("guidance", "zero123", TINY)
    state = released_state({name: getattr(source, name) for name in PARTS})
    first = f"{UNET}input_blocks.0.0.weight"
    state[first] = state[first][:, :8].clone()
    path = tmp_path / "sd-image-conditioned.ckpt"
    state = {k: v for k, v in state.items() if not k.startswith("cc_projection")}
    torch.save({"state_dict": state}, path)
    model = tiny(start=str(path))
    assert torch.equal(model.unet.conv_in.weight[:, :8], source.unet.conv_in.weight[:, :8])
    assert not model.unet.conv_in.weight[:, 8:].any()
    assert torch.equal(model.unet.conv_out.weight, source.unet.conv_out.weight)
    assert torch.equal(model.clip_camera_projection.proj.weight[:, :32], torch.eye(32))
    model.save_pretrained(tmp_path / "own")
    assert ViewFusionInterpolatedGuidance.from_pretrained(tmp_path / "own").cfg.start == ""
    with pytest.raises(ConfigError, match="one of them"):
        tiny(weights=str(tmp_path / "own"), start=str(path))
    with pytest.raises(WeightsError, match="do not exist"):
        tiny(start=str(tmp_path / "none.ckpt"))


# ---------------------------------------------------------------- what a full-size run costs


class Counted(nn.Module):
    """Stands in for a network: counts the items that it is given."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)
        self.weight = nn.Parameter(torch.zeros(1))
        self.items, self.null, self.largest = 0, 0, 0


class CountedUNet(Counted):
    def forward(self, x: Tensor, t: int, tokens: Tensor, return_dict: bool) -> tuple[Tensor]:
        self.items += len(x)
        self.largest = max(self.largest, len(x))
        self.null += int((tokens == 0).flatten(1).all(1).sum())
        return (torch.zeros_like(x[:, :4]),)


class CountedVAE(Counted):
    decoded = 0

    def encode(self, pixels: Tensor) -> Any:
        self.items += len(pixels)
        latents = torch.nn.functional.avg_pool2d(pixels, 8).mean(1, keepdim=True)
        return SimpleNamespace(
            latent_dist=SimpleNamespace(mode=lambda: latents.expand(-1, 4, -1, -1))
        )

    def decode(self, latents: Tensor) -> Any:
        self.decoded += len(latents)
        return SimpleNamespace(
            sample=latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)
        )


class CountedCLIP(Counted):
    def forward(self, pixel_values: Tensor) -> Any:
        self.items += len(pixel_values)
        return SimpleNamespace(image_embeds=torch.ones(len(pixel_values), 768))


def counting(**options: Any) -> ViewFusionInterpolatedGuidance:
    """The released option set around networks that only count."""
    parts = {
        "unet": CountedUNet(in_channels=8, out_channels=4, cross_attention_dim=768),
        "vae": CountedVAE(
            in_channels=3, latent_channels=4, scaling_factor=0.18215, block_out_channels=[0] * 4
        ),
        "image_encoder": CountedCLIP(image_size=224, projection_dim=768),
        "clip_camera_projection": net.CLIPCameraProjection(768),
    }
    cfg = ViewFusionInterpolatedGuidance.released(**options)
    return ViewFusionInterpolatedGuidance(cfg, parts)


def test_a_full_size_spin_costs_what_was_counted() -> None:
    """36 views: 443 conditions, 76 steps; each view is encoded once, by the VAE and by CLIP."""
    model = counting()
    assert (model.cfg.views, model.cfg.resolution, model.cfg.eta) == (36, 256, 1.0)
    assert len(model.plan()) == 76
    views = model.generate(Condition(image=torch.rand(4, 256, 256)), generator=seeded())
    assert len(views) == 36 and views.meta["conditions"] == 443
    unet, vae, clip = model.unet, model.vae, model.image_encoder
    assert unet.items - unet.null == 443 * 76
    assert unet.null == 35 * 76  # the null condition is the same for all conditions of a view
    assert unet.largest == model.cfg.view_batch
    assert vae.items == clip.items == 35  # the last view is nobody's condition
    assert vae.decoded == 35
