"""Composable ViewFusion: composition, angles, losses, samplers, weights on disk."""

from __future__ import annotations

import gzip
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.errors import ConfigError, WeightsError
from studio.guidance.backgrounds import generated_views
from studio.guidance.noise_schedules import betas_of
from studio.guidance.viewfusion_composable import conditioning as cond
from studio.guidance.viewfusion_composable.checkpoint import load_official_tensors
from studio.guidance.viewfusion_composable.composition import compose, used_views
from studio.guidance.viewfusion_composable.guidance import ViewFusionComposableGuidance
from studio.guidance.viewfusion_composable.network import ViewUNet, sinusoids
from studio.guidance.viewfusion_composable.noise_levels import NoiseLevels
from studio.guidance.viewfusion_composable.options import ViewFusionComposableConfig
from studio.guidance.viewfusion_composable.trace import DenoisingTrace
from studio.io.images import read_picture
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.rigs import RIGS
from studio.views import Condition, ViewSet

SIDE = 16
TINY: dict[str, Any] = {
    "resolution": SIDE,
    "patch": 1,
    "inner_channel": 8,
    "channel_mults": [1, 2],
    "attn_res": [8],
    "norm_groups": 4,
    "prediction_type": "epsilon",
    "steps": 3,
}


def tiny(**options: Any) -> ViewFusionComposableGuidance:
    torch.manual_seed(0)
    return build("guidance", "viewfusion-composable", {**TINY, **options}, key="system.guidance")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evaluation(samples: int = 2, views: int = 4) -> dict[str, Tensor]:
    g = seeded(3)
    return {
        "views": torch.rand(samples, views, 3, SIDE, SIDE, generator=g),
        "noisy": torch.randn(samples, 3, SIDE, SIDE, generator=g),
        "angle": torch.rand(samples, generator=g) * 6,
        "level": torch.rand(samples, generator=g),
    }


def batch(objects: int = 2, targets: int = 2, references: int = 3) -> dict[str, Tensor]:
    ring = orbit_cameras([15.0 * k for k in range(targets)], 30.0, 2.732, 30.0, SIDE)
    g = seeded(1)
    pictures = torch.rand(objects, targets + references, 3, SIDE, SIDE, generator=g) * 2 - 1
    return {
        "images": pictures[:, :targets],
        "ref_images": pictures[:, targets:],
        "cond_image": pictures[:, targets],
        "c2w": ring.c2w.expand(objects, -1, -1, -1),
        "cond_c2w": ring.c2w[:1].expand(objects, -1, -1),
        "intrinsics": ring.intrinsics.expand(objects, -1, -1, -1),
    }


# ---------------------------------------------------------------- composition


def test_order_of_views_does_not_matter() -> None:
    model, given = tiny(), evaluation()
    count = torch.tensor([4, 4])
    one = model.predict(view_count=count, weighting=True, **given)
    order = [2, 0, 3, 1]
    other = model.predict(
        view_count=count, weighting=True, **given | {"views": given["views"][:, order]}
    )
    torch.testing.assert_close(other.estimate, one.estimate, atol=1e-5, rtol=1e-4)
    assert one.weights is not None and other.weights is not None
    torch.testing.assert_close(other.weights, one.weights[:, order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weighting", [True, False])
def test_views_beyond_the_count_have_no_effect(weighting: bool) -> None:
    model, given = tiny(), evaluation(samples=3)
    count = torch.tensor([1, 3, 2])
    together = model.predict(view_count=count, weighting=weighting, **given)
    spoilt = given["views"].clone()
    for i, n in enumerate(count.tolist()):
        spoilt[i, n:] = torch.nan
    again = model.predict(view_count=count, weighting=weighting, **given | {"views": spoilt})
    assert torch.equal(again.estimate, together.estimate)
    for i, n in enumerate(count.tolist()):
        alone = {k: v[i : i + 1] for k, v in given.items()}
        single = model.predict(view_count=torch.tensor([n]), weighting=weighting, **alone)
        torch.testing.assert_close(single.estimate[0], together.estimate[i], atol=1e-5, rtol=1e-4)


def test_the_network_runs_once_per_view_in_use() -> None:
    model, given = tiny(), evaluation(samples=3)
    seen = []
    model.denoise_fn.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model.predict(view_count=torch.tensor([1, 4, 2]), weighting=True, **given)
    assert seen == [7]


def test_weights_sum_to_one_and_a_single_view_has_weight_one() -> None:
    model, given = tiny(), evaluation()
    made = model.predict(view_count=torch.tensor([1, 3]), weighting=True, **given)
    assert made.weights is not None and made.logits is not None
    torch.testing.assert_close(made.weights.sum(1), torch.ones(2, 3, SIDE, SIDE))
    assert (made.weights[0, 0] == 1).all() and (made.weights[0, 1:] == 0).all()
    assert made.logits[0, 1:].max() == -torch.inf and made.logits[1].isfinite().all()


def test_mean_takes_all_views_alike_and_logits_get_no_gradient_from_one_view() -> None:
    output = torch.randn(3, 6, 2, 2, generator=seeded(), requires_grad=True)
    used = used_views(torch.tensor([2, 1]))
    assert used.tolist() == [[True, True], [True, False]]
    mean = compose(output, used, weighting=False)
    torch.testing.assert_close(mean.estimate[0], output[:2, :3].mean(0))
    torch.testing.assert_close(mean.estimate[1], output[2, :3])
    compose(output, used, weighting=True).estimate.square().sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert (output.grad[2, 3:] == 0).all() and (output.grad[:2, 3:] != 0).any()


# ---------------------------------------------------------------- angles


def test_angles_follow_the_ring_of_the_nmr_renderings() -> None:
    """View i stands at azimuth -15 i and has angle 2 pi i / 24: the one place with this sign."""
    expected = torch.arange(24) * math.tau / 24
    nmr = RIGS["nmr24"].cameras(SIDE)
    torch.testing.assert_close(cond.absolute_angles(nmr.centres, True), expected, atol=1e-5, rtol=0)
    ours = tiny().contract.cameras()
    torch.testing.assert_close(ours.c2w, nmr.c2w, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.intrinsics, nmr.intrinsics)
    turned = orbit_cameras([15.0], 30.0, size=SIDE).centres
    assert cond.absolute_angles(turned, False).item() == pytest.approx(math.radians(15), abs=1e-6)
    assert cond.absolute_angles(turned, True).item() == pytest.approx(math.radians(345), abs=1e-5)


def test_angles_stay_below_a_full_turn() -> None:
    azimuths = [0.0, 360.0, -360.0, 1e-5, -1e-5, 720.0, 359.0]
    angles = cond.absolute_angles(orbit_cameras(azimuths, 30.0, size=SIDE).centres, True)
    assert (angles >= 0).all() and (angles < math.tau).all()
    assert (angles[:-1] < 1e-4).all()  # not a whole turn: the network takes that for something else
    zero, turn = sinusoids(torch.tensor([0.0, math.tau]), 8)
    assert (zero - turn).abs().max() > 0.1


def test_relative_angles_count_from_the_first_view() -> None:
    target, reference = torch.tensor([0.2, 6.2, 0.1]), torch.tensor([0.5, 0.1, 6.2])
    angles = cond.relative_angles(target, reference)
    expected = torch.tensor([0.3, 0.1 - 6.2 + math.tau, 6.1 - math.tau])
    torch.testing.assert_close(angles, expected)


def test_relative_models_are_blind_to_the_frame() -> None:
    """Targets and picture turned together give the same views; of absolute models they do not."""
    pixels = torch.rand(4, SIDE, SIDE, generator=seeded())
    for relative in (True, False):
        model = tiny(relative=relative)
        turns = (0.0, 77.0)
        posed = [ViewSet(pixels[None], orbit_cameras([turn], 30.0, size=SIDE)) for turn in turns]
        conditions = [Condition(image=pixels, azimuth_deg=turn) for turn in turns]
        conditions += [Condition(views=views) for views in posed]
        made = [
            model.generate(
                condition, orbit_cameras([turn + 40.0], 30.0, size=SIDE), generator=seeded()
            ).images
            for condition, turn in zip(conditions, turns * 2, strict=True)
        ]
        assert torch.allclose(made[0], made[1], atol=1e-3) is relative
        assert torch.allclose(made[2], made[3], atol=1e-3) is relative
        assert torch.allclose(made[0], made[2], atol=1e-3)


# ---------------------------------------------------------------- network


def test_angle_and_level_matter_and_single_channel_groups_are_refused() -> None:
    model, given = tiny(), evaluation(samples=1, views=1)
    count = torch.tensor([1])
    base = model.predict(view_count=count, weighting=True, **given).estimate
    for key in ("angle", "level"):
        other = model.predict(view_count=count, weighting=True, **given | {key: given[key] + 0.3})
        assert (other.estimate - base).abs().max() > 1e-3, key
    with pytest.raises(ConfigError, match="cannot see angle"):
        tiny(norm_groups=8)
    with pytest.raises(ConfigError, match="multiple"):
        tiny(norm_groups=3)


@pytest.mark.parametrize("patch", [1, 2])
def test_pixel_blocks_keep_the_pictures_side(patch: int) -> None:
    net = ViewUNet(9, 3, 8, (1, 2), (8,), 2, 4, image_size=SIDE, patch=patch)
    out = net(torch.rand(2, 9, SIDE, SIDE), torch.rand(2), torch.rand(2))
    assert out.shape == (2, 3, SIDE, SIDE)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("options", [{}, {"relative": True}, {"prediction_type": "sample"}])
def test_loss_reaches_every_weight(options: dict[str, Any]) -> None:
    model = tiny(**options)
    model.training_loss(batch(), generator=seeded())["loss"].backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []


def test_perfect_estimates_have_no_loss() -> None:
    for kind in ("epsilon", "sample"):
        model, given = tiny(prediction_type=kind), batch()
        clean = given["images"].flatten(0, 1) / 2 + 0.5
        noise = torch.randn(clean.shape, generator=seeded(5))
        answer = noise if kind == "epsilon" else clean

        def perfect(x: Tensor, *_: Tensor) -> Tensor:
            sample = torch.tensor([i for i, n in enumerate(counts) for _ in range(n)])  # noqa: B023
            return torch.cat([answer[sample], torch.zeros_like(x[:, :3])], 1)  # noqa: B023

        # The numbers of views are the loss's first draw.
        counts = torch.randint(1, 4, (4,), generator=seeded()).tolist()
        model.denoise_fn.forward = perfect  # type: ignore[method-assign, assignment]
        losses = model.training_loss(given, generator=seeded(), noise=noise)
        assert losses["loss"].item() < 1e-12
        level = losses["level"][:, None, None, None]
        torch.testing.assert_close(
            losses["noisy"], level.sqrt() * clean + (1 - level).sqrt() * noise
        )


def test_number_of_views_is_drawn_per_sample_and_limited() -> None:
    for most, expected in ((2, {1, 2}), (9, {1, 2, 3})):
        model, widths = tiny(max_views=most), set()
        real = model.predict

        def note(views: Tensor, view_count: Tensor, *rest: Any, **more: Any) -> Any:
            widths.update(view_count.tolist())  # noqa: B023
            return real(views, view_count, *rest, **more)  # noqa: B023

        model.predict = note  # type: ignore[method-assign]
        for seed in range(6):
            model.training_loss(batch(), generator=seeded(seed))
        assert widths == expected


def test_without_references_the_condition_is_the_only_view() -> None:
    model, given = tiny(), batch(references=1)
    with_reference = model.training_loss(given, generator=seeded())["loss"]
    del given["ref_images"]
    assert torch.equal(model.training_loss(given, generator=seeded())["loss"], with_reference)


# ---------------------------------------------------------------- sampling


def test_plans_cover_the_chain_and_end_clean() -> None:
    levels = NoiseLevels(betas_of(ViewFusionComposableConfig()))
    full = levels.plan("ancestral")
    assert [full[0].t, full[-1].t, len(full)] == [1999, 0, 2000]
    assert full[-1].sigma == 0 and full[-1].from_clean == pytest.approx(1)
    fast = levels.plan("ddim", 10)
    assert [s.t for s in fast] == [1999 - 200 * i for i in range(10)]
    assert all(s.sigma == 0 for s in fast)
    for bad in (-1, 2001):
        with pytest.raises(ConfigError, match="steps"):
            levels.plan("ddim", bad)
    with pytest.raises(ConfigError, match="sampler is 'euler'"):
        parse_config(ViewFusionComposableConfig, {"sampler": "euler"})


@pytest.mark.parametrize("kind", ["epsilon", "sample"])
@pytest.mark.parametrize(("sampler", "steps"), [("ancestral", 0), ("ancestral", 20), ("ddim", 7)])
def test_samplers_find_the_picture_that_a_perfect_network_knows(
    kind: str, sampler: str, steps: int
) -> None:
    model = tiny(prediction_type=kind, train_timesteps=100, beta_end=0.2)
    truth = torch.rand(2, 3, SIDE, SIDE, generator=seeded(4))

    def perfect(x: Tensor, angle: Tensor, level: Tensor) -> Tensor:
        share, noisy = level[:, None, None, None], x[:, -3:]
        clean = truth.repeat_interleave(2, 0)
        noise = (noisy - share.sqrt() * clean) / (1 - share).sqrt()
        return torch.cat([noise if kind == "epsilon" else clean, x[:, :3]], 1)

    model.denoise_fn.forward = perfect  # type: ignore[method-assign]
    made = model.sampler.sample(
        torch.rand(2, 2, 3, SIDE, SIDE, generator=seeded(1)),
        torch.tensor([2, 2]),
        torch.zeros(2),
        torch.randn(2, 3, SIDE, SIDE, generator=seeded(2)),
        model.levels.plan(sampler, steps),
        generator=seeded(3),
    )
    torch.testing.assert_close(made, truth, atol=2e-3, rtol=0)


def overfit(steps: int = 100) -> tuple[ViewFusionComposableGuidance, Tensor, Tensor, Tensor]:
    """A model that has learnt two flat objects, each of another grey from either side."""
    model = tiny(
        resolution=8,
        channel_mults=[1],
        inner_channel=16,
        attn_res=[],
        prediction_type="sample",
        train_timesteps=50,
        beta_end=0.3,
    )
    views = torch.tensor([0.1, 0.1, 0.9, 0.9])[:, None, None, None, None].expand(-1, 1, 3, 8, 8)
    angle = torch.tensor([0.0, 3.0, 0.0, 3.0])
    truth = torch.tensor([0.2, 0.8, 0.7, 0.4])[:, None, None, None].expand(-1, 3, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    g, each = seeded(), 4
    n = len(truth) * each
    for _ in range(steps):
        losses = model.denoising_loss(
            truth.repeat(each, 1, 1, 1),
            views.repeat(each, 1, 1, 1, 1),
            torch.ones(n, dtype=torch.long),
            angle.repeat(each),
            torch.randint(1, 50, (n,), generator=g),
            torch.rand(n, generator=g),
            torch.randn(n, 3, 8, 8, generator=g),
        )
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    return model.eval(), views, angle, truth


def test_few_steps_agree_with_the_whole_chain_on_a_model_that_has_learnt() -> None:
    model, views, angle, truth = overfit()
    start = torch.randn(4, 3, 8, 8, generator=seeded(9))
    count = torch.ones(4, dtype=torch.long)
    plan = model.levels.plan("ancestral")
    full = model.sampler.sample(views, count, angle, start, plan, generator=seeded(1))
    fast = model.sampler.sample(views, count, angle, start, model.levels.plan("ddim", 5))
    assert (full - truth).square().mean().sqrt() < 0.08
    assert (fast - full).square().mean().sqrt() < 0.08


@pytest.mark.parametrize("relative", [False, True])
def test_in_turn_every_picture_becomes_a_view_as_it_is(relative: bool) -> None:
    model, widths = tiny(relative=relative, autoregressive=True), []
    seen: list[Tensor] = []

    def look(_: Any, inputs: tuple[Tensor, ...]) -> None:
        widths.append(len(inputs[0]))
        seen.append(inputs[0])

    model.denoise_fn.register_forward_pre_hook(look)
    first = torch.rand(1, 1, 3, SIDE, SIDE, generator=seeded())
    plan = model.levels.plan("ddim", 2)
    start = torch.randn(3, 3, SIDE, SIDE, generator=seeded(1))
    made = model.sampler.in_turn(model.inputs(first), torch.tensor([0.3, 0.6, 0.9]), start, plan)
    assert widths == [1, 1, 2, 2, 3, 3]
    views = seen[-1][:, :-3]
    expected = model.inputs(torch.cat([first, made[None, :2]], dim=1))[0]
    assert torch.equal(views, expected)


def test_generate_makes_the_ring_and_captures_it(tmp_path: Path) -> None:
    model = tiny(views=5, view_batch=2, capture=3, steps=6)
    calls: list[tuple[int, int]] = []
    picture = torch.rand(4, 40, 40, generator=seeded())
    made = model.generate(
        Condition(image=picture), generator=seeded(1), progress=lambda *at: calls.append(at)
    )
    assert made.images.shape == (5, 4, SIDE, SIDE)
    assert calls == [(i, 18) for i in range(1, 19)]
    assert made.cameras.spherical()[0].tolist() == pytest.approx([0, 288, 216, 144, 72], abs=1e-3)
    assert model.trace is not None and model.trace.weights is not None
    assert model.trace.frames.shape == (5, 4, 3, SIDE, SIDE)
    assert model.trace.weights.shape == (5, 3, 1, 3, SIDE, SIDE)
    last = model.trace.frames[:, -1] * 2 - 1
    assert torch.equal(generated_views(last, made.cameras, {}).images, made.images)
    model.save_extras(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"frames.png", "weights.png"}
    shown = read_picture(tmp_path / "weights.png")[:3]
    assert shown.shape == (3, 6 * SIDE, 2 * SIDE)  # the view on top, five targets on the left
    given = cond.condition_views(Condition(image=picture), SIDE)[0]
    torch.testing.assert_close(shown[:, :SIDE, SIDE:], given, atol=0.003, rtol=0)
    first = model.trace.frames[0, -1].clamp(0, 1)
    torch.testing.assert_close(shown[:, SIDE : 2 * SIDE, :SIDE], first, atol=0.003, rtol=0)
    assert (shown[:, SIDE:, SIDE:] == 1).all()  # a single view has all the weight
    again = model.generate(Condition(image=picture), generator=seeded(1))
    assert torch.equal(again.images, made.images)


def test_generate_takes_unposed_pictures_in_any_order() -> None:
    model = tiny(steps=2)
    shots = torch.rand(3, 4, SIDE, SIDE, generator=seeded())
    shots[:, 3] = 1
    targets = orbit_cameras([0.0, 90.0], 30.0, 2.732, 30.0, SIDE)

    def made(order: list[int], azimuths: list[float]) -> Tensor:
        cameras = orbit_cameras(azimuths, 10.0, size=SIDE)
        condition = Condition(views=ViewSet(shots[order], cameras))
        return model.generate(condition, targets, generator=seeded(2)).images

    one = made([0, 1, 2], [0.0, 10.0, 20.0])
    torch.testing.assert_close(made([2, 0, 1], [50.0, 90.0, 7.0]), one, atol=1e-3, rtol=0)
    assert not torch.allclose(made([0, 0, 0], [0.0, 10.0, 20.0]), one, atol=1e-2)
    with pytest.raises(ConfigError, match="no picture"):
        model.generate(Condition(text="a red car"))


def test_capture_in_turn_pads_the_weights_of_early_targets(tmp_path: Path) -> None:
    model = tiny(autoregressive=True, capture=1, steps=2)
    cameras = orbit_cameras([0.0, 15.0, 30.0], 30.0, 2.732, 30.0, SIDE)
    model.generate(Condition(image=torch.ones(4, SIDE, SIDE)), cameras, generator=seeded())
    trace = model.trace
    assert trace is not None and trace.weights is not None and trace.logits is not None
    assert trace.weights.shape == (3, 1, 3, 3, SIDE, SIDE)
    assert trace.logits.shape == (1 + 2 + 3, 1, 3, SIDE, SIDE)
    assert (trace.weights[0, 0, 1:] == 0).all()
    torch.testing.assert_close(trace.weights.sum(2), torch.ones(3, 1, 3, SIDE, SIDE))
    model.save_extras(tmp_path)
    shown = read_picture(tmp_path / "weights.png")[:3, :SIDE]  # the input, then two made views
    assert (shown[:, :, : 2 * SIDE] == 1).all()
    made = trace.frames[:2, -1].clamp(0, 1)
    torch.testing.assert_close(
        shown[:, :, 2 * SIDE :], torch.cat(list(made), dim=2), atol=0.003, rtol=0
    )


def test_capture_without_weights_keeps_frames(tmp_path: Path) -> None:
    model = tiny(predict_weights=False, weighting_train=False, weighting_inference=False, capture=2)
    model.generate(Condition(image=torch.ones(4, SIDE, SIDE)), generator=seeded())
    assert isinstance(model.trace, DenoisingTrace)
    assert model.trace.weights is None and model.trace.logits is None
    model.save_extras(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["frames.png"]


def test_targets_off_the_ring_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    model, picture = tiny(steps=1), Condition(image=torch.ones(4, SIDE, SIDE))
    with caplog.at_level(logging.WARNING):
        model.generate(picture, model.contract.cameras()[:2], generator=seeded())
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        model.generate(picture, orbit_cameras([0.0], -20.0, size=SIDE), generator=seeded())
    assert "elevation" in caplog.text


# ---------------------------------------------------------------- weights


def test_folder_brings_all_that_belongs_to_the_network(tmp_path: Path) -> None:
    model = tiny(relative=True, train_timesteps=50, weighting_inference=False)
    model.save_pretrained(tmp_path / "w")
    again = ViewFusionComposableGuidance.from_pretrained(tmp_path / "w")
    assert {**vars(again.cfg), "weights": ""} == vars(model.cfg)
    other = build("guidance", "viewfusion-composable", {"weights": str(tmp_path / "w"), "steps": 2})
    assert (other.cfg.steps, other.cfg.inner_channel, len(other.levels)) == (2, 8, 50)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
        assert torch.equal(value, other.state_dict()[name]), name
    (tmp_path / "w" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        ViewFusionComposableGuidance.from_pretrained(tmp_path / "w")


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="predict_weights"):
        tiny(predict_weights=False)
    with pytest.raises(ConfigError, match="prediction_type"):
        tiny(prediction_type="velocity")
    with pytest.raises(ConfigError, match="multiple of 24"):
        tiny(patch=12)


def test_authors_file(tmp_path: Path) -> None:
    model = tiny(train_timesteps=12)
    content = {
        "model": model.state_dict(),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]},
        "it": 710_000,
        "t": 1.5,
        "run_id": "abc",
        "psnr": -math.inf,
        "ssim": torch.tensor(0.9),
    }
    path = tmp_path / "best_model_all.pt"
    torch.save(content, path)
    again = tiny(weights=str(path), train_timesteps=12)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    with pytest.raises(WeightsError, match="wrong shape: gammas"):
        tiny(weights=str(path))
    with pytest.raises(WeightsError, match="another noise schedule"):
        tiny(weights=str(path), train_timesteps=12, beta_end=0.3)
    del content["model"]["denoise_fn.mid.0.attn.qkv.weight"]  # type: ignore[attr-defined]
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"1 missing: denoise_fn\.mid\.0\.attn\.qkv\.weight"):
        tiny(weights=str(path), train_timesteps=12)


def _key_tables() -> list[Path]:
    root = os.environ.get("STUDIO_PARITY_CASES")
    return sorted((Path(root) / "viewfusion_composable").glob("*.keys.json.gz")) if root else []


@pytest.mark.skipif(not _key_tables(), reason="STUDIO_PARITY_CASES names no key tables")
def test_every_key_of_the_authors_networks_has_its_place() -> None:
    sizes = {(6, 6): 33_947_206, (6, 3): 33_945_475, (9, 6): 33_948_934}
    models: dict[tuple[int, int], ViewFusionComposableGuidance] = {}
    for path in _key_tables():
        shapes = json.loads(gzip.decompress(path.read_bytes()))
        entrance = shapes["denoise_fn.downs.0.weight"][1]
        exit_ = shapes["denoise_fn.final_conv.block.3.weight"][0]
        if (entrance, exit_) not in models:
            models[entrance, exit_] = _full_size(entrance == 9, exit_ == 6)
        tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        other = models[entrance, exit_]
        load_official_tensors(other, other.levels, tensors, path)
        assert len(shapes) == 406, path.name
    counts = {k: sum(p.numel() for p in m.parameters()) for k, m in models.items()}
    assert counts == sizes


def _full_size(relative: bool, weighted: bool) -> ViewFusionComposableGuidance:
    with torch.device("meta"):
        return ViewFusionComposableGuidance(
            ViewFusionComposableGuidance.released(
                relative=relative,
                predict_weights=weighted,
                weighting_train=weighted,
                weighting_inference=weighted,
            )
        )


def test_released_file_is_recognised_by_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.guidance.viewfusion_composable import checkpoint

    for entrance, exit_ in ((6, 6), (6, 3), (9, 6)):
        tensors = {
            "denoise_fn.downs.0.weight": torch.empty(64, entrance, 3, 3),
            "denoise_fn.final_conv.block.3.weight": torch.empty(exit_, 64, 3, 3),
        }
        monkeypatch.setattr(checkpoint, "read_tensors", lambda *_, **__: tensors)  # noqa: B023
        cfg = checkpoint.saved_config(Path("best_model_all.pt"))
        assert (cfg.relative, cfg.predict_weights) == (entrance == 9, exit_ == 6)
        assert (cfg.inner_channel, cfg.sampler, cfg.prediction_type) == (64, "ancestral", "epsilon")
