"""Noise schedule, timestep lists, DDIM and the matte of finished pictures."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from studio.errors import ConfigError, PluginError
from studio.guidance.autoencoder import build_vae, encode
from studio.guidance.ddim import ddim_plan, ddim_sample, ddim_timesteps, ddim_update
from studio.guidance.diffusion import (
    PREDICTIONS,
    DiffusionOptions,
    NoiseSchedule,
    guide,
    guided_prediction,
    randn_like,
    target_latents,
)
from studio.plugins.parsing import parse_config


def made(prediction_type: Any = "epsilon", **options: Any) -> NoiseSchedule:
    """Stable Diffusion's schedule, but for some options."""
    return NoiseSchedule.of(DiffusionOptions(prediction_type=prediction_type, **options))


def test_schedule_is_stable_diffusions() -> None:
    abar = made().alphas_cumprod
    assert len(abar) == 1000
    assert abar[0].item() == pytest.approx(1 - 0.00085, abs=1e-7)
    assert abar[-1].item() == pytest.approx(0.0047, abs=1e-4)
    assert (abar.diff() < 0).all()


def test_zero_terminal_snr_keeps_the_start_and_ends_in_noise() -> None:
    plain = made()
    for prediction in ("v_prediction", "sample"):
        zero = made(prediction_type=prediction, zero_terminal_snr=True)
        assert zero.alphas_cumprod[0].item() == pytest.approx(plain.alphas_cumprod[0].item())
        assert zero.alphas_cumprod[-1] == 0
    with pytest.raises(ConfigError, match="epsilon"):
        made(zero_terminal_snr=True)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_and_split_are_inverse(prediction: str) -> None:
    schedule = made(prediction_type=prediction)
    clean, noise = torch.randn(2, 3, 4, 4, 4)
    for t in (0, 400, 999):
        times = torch.full((3,), t)
        noisy = schedule.add_noise(clean, noise, times)
        abar = schedule.alphas_cumprod[t].item()
        eps, x0 = schedule.split(schedule.target(clean, noise, times), noisy, abar)
        torch.testing.assert_close(eps, noise, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(x0, clean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 5.0])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_only_a_perfect_prediction_has_no_loss(prediction: str, gamma: float) -> None:
    schedule = made(prediction_type=prediction)
    clean, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    times = torch.tensor([0, 400, 999])
    abar = schedule.alphas_cumprod[times][:, None, None, None]
    answers = {
        "epsilon": noise,
        "v_prediction": abar.sqrt() * noise - (1 - abar).sqrt() * clean,
        "sample": clean,
    }
    losses = {k: schedule.losses(a, clean, noise, times, gamma) for k, a in answers.items()}
    assert losses[prediction]["loss"] == 0 and losses[prediction]["mse"] == 0
    assert all(found["loss"] > 0.1 for k, found in losses.items() if k != prediction)


def test_min_snr_weights() -> None:
    times = torch.tensor([0, 300, 999])
    eps, v, x0 = (made(prediction_type=p) for p in PREDICTIONS)
    snr = eps.alphas_cumprod[times] / (1 - eps.alphas_cumprod[times])
    torch.testing.assert_close(eps.loss_weight(times, 5.0), snr.clamp(max=5) / snr)
    torch.testing.assert_close(v.loss_weight(times, 5.0), snr.clamp(1, 5) / (snr + 1))
    torch.testing.assert_close(x0.loss_weight(times, 5.0), snr.clamp(1, 5))
    assert (eps.loss_weight(times, 0) == 1).all()
    assert v.loss_weight(times, 5.0)[2] > 0.99  # pure noise is still learnt from


@pytest.mark.parametrize(
    ("steps", "count", "first"), [(50, 49, 961), (75, 76, 976), (4, 3, 501), (5, 4, 601)]
)
def test_zero123_list(steps: int, count: int, first: int) -> None:
    times = ddim_timesteps(steps, "zero123")
    assert (len(times), times[0], times[-1]) == (count, first, 1)


def test_zero123_list_refuses_what_the_programs_crash_on() -> None:
    refused = []
    for steps in range(1, 501):
        try:
            ddim_timesteps(steps, "zero123")
        except ConfigError:
            refused.append(steps)
    # Those whose stride divides 999, and a single step, which dropping the highest leaves empty.
    crash = [s for s in range(1, 501) if 999 % (1000 // s) == 0]
    assert refused == sorted({1, *crash})
    with pytest.raises(ConfigError, match="zero123"):
        ddim_timesteps(3, "zero123")


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 3, 20, 50, 75, 1000])
def test_other_lists_match_diffusers(spacing: str, steps: int) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        num_train_timesteps=1000, timestep_spacing=spacing, steps_offset=1, clip_sample=False
    )
    scheduler.set_timesteps(steps)
    expected = scheduler.timesteps.clamp(max=999).tolist()
    assert ddim_timesteps(steps, spacing) == expected


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AssertionError, match="evenly"):
        ddim_timesteps(10, "evenly")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="1 to 1000"):
        ddim_timesteps(0, "leading")
    with pytest.raises(ConfigError, match="v_prediction"):
        parse_config(DiffusionOptions, {"prediction_type": "x0"})
    with pytest.raises(PluginError, match="did you mean 'scaled_linear'"):
        parse_config(DiffusionOptions, {"beta_schedule": "scaled-linear"})


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_with_a_perfect_network_ends_at_the_clean_latents(prediction: str) -> None:
    schedule = made(prediction_type=prediction)
    clean = torch.full((1, 1, 2, 2), 0.7)
    start = torch.randn(1, 1, 2, 2)
    drawn: list[torch.Tensor] = []

    def perfect(x: torch.Tensor, t: int) -> tuple[torch.Tensor, None]:
        abar = schedule.alphas_cumprod[t]
        drawn.append((x - abar.sqrt() * clean) / (1 - abar).sqrt())
        return schedule.target(clean, drawn[-1], torch.tensor([t])), None

    x = ddim_sample(perfect, schedule, ddim_plan(schedule, 20, "leading", 0.0), start)
    last = schedule.alphas_cumprod[0]  # where the plan ends: the noise of timestep 0 is left
    wanted = last.sqrt() * clean + (1 - last).sqrt() * drawn[0]
    torch.testing.assert_close(x, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_matches_diffusers_step(prediction: str) -> None:
    from diffusers import DDIMScheduler

    reference = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )
    reference.set_timesteps(10)
    schedule = made(prediction_type=prediction)
    x, out, noise = torch.randn(3, 2, 4, 4, 4)
    for step in ddim_plan(schedule, 10, "leading", 0.6):
        want = reference.step(out, step.t, x, eta=0.6, variance_noise=noise).prev_sample
        have = ddim_update(step, *schedule.split(out, x, step.abar), noise)
        torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_first_step_from_pure_noise_is_finite(prediction: str) -> None:
    schedule = made(prediction_type=prediction, zero_terminal_snr=True)
    first = ddim_plan(schedule, 4, "trailing", 1.0)[0]
    assert first.abar == 0 and math.isfinite(first.sigma)
    x = torch.randn(1, 4, 2, 2)
    assert ddim_update(first, *schedule.split(-x, x, first.abar), x).isfinite().all()


def test_noise_is_needed_where_it_is_drawn() -> None:
    step = ddim_plan(made(), 4, "leading", 1.0)[0]
    with pytest.raises(ValueError, match="needs noise"):
        ddim_update(step, torch.zeros(1), torch.zeros(1))


def test_guidance_extrapolates() -> None:
    uncond, cond = torch.tensor([1.0]), torch.tensor([2.0])
    assert [guide(uncond, cond, s).item() for s in (0, 1, 3)] == [1, 2, 4]


def test_noise_repeats_with_the_seed() -> None:
    a, b = (randn_like(torch.zeros(4), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b) and a.std() > 0


@pytest.mark.parametrize("batched", [True, False])
def test_guided_prediction_runs_both_halves(batched: bool) -> None:
    calls = []

    def network(x: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x + token

    given = torch.ones(2, 3), torch.full((2, 3), 4.0)
    null = torch.ones(2, 3), torch.zeros(2, 3)
    guided, uncond = guided_prediction(network, given, null, 3.0, batched=batched)
    assert torch.equal(guided, torch.full((2, 3), 13.0))
    assert uncond is not None and torch.equal(uncond, torch.ones(2, 3))
    assert calls == ([4] if batched else [2, 2])
    guided, uncond = guided_prediction(network, given, null, 1.0)
    assert torch.equal(guided, torch.full((2, 3), 5.0)) and uncond is None
    with pytest.raises(ConfigError, match="-1"):
        guided_prediction(network, given, null, -1.0, batched=batched)


def test_target_latents_are_scaled_and_drawn_once() -> None:
    torch.manual_seed(0)
    options = {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "scaling_factor": 0.5,
    }
    vae = build_vae(options).requires_grad_(False)
    images = torch.rand(2, 3, 3, 8, 8) * 2 - 1
    latents = target_latents(vae, {"images": images}, torch.Generator().manual_seed(5))
    noise = torch.randn(6, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    wanted = 0.5 * encode(vae, images.flatten(0, 1), noise)
    assert torch.equal(latents.flatten(0, 1), wanted) and latents.shape == (2, 3, 4, 4, 4)
    stored, unused = torch.rand(2, 3, 4, 4, 4), torch.Generator().manual_seed(5)
    before = unused.get_state()
    assert torch.equal(target_latents(vae, {"latents": stored}, unused), 0.5 * stored)
    assert torch.equal(unused.get_state(), before)
