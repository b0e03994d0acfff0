"""SPAD: what the network sees, loss, sampling, texts, folders, released checkpoints."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from studio.cameras import Cameras, orbit_cameras
from studio.data.procedural.objects import make_object
from studio.errors import ConfigError, WeightsError
from studio.guidance.ddim import ddim_timesteps
from studio.guidance.diffusion import PREDICTIONS
from studio.guidance.folders import write_part
from studio.guidance.known_words import words_of
from studio.guidance.ldm import UNET, ema_key, fill
from studio.guidance.noise import Noise
from studio.guidance.spad import attention
from studio.guidance.spad import network as net
from studio.guidance.spad.attention import (
    FORBIDDEN,
    CameraConditioning,
    joint_attention,
    masked_attention,
)
from studio.guidance.spad.checkpoint import fresh_parts, start_from
from studio.guidance.spad.conditioning import ConditioningMaker
from studio.guidance.spad.epipolar import epipolar_mask
from studio.guidance.spad.guidance import SpadGuidance
from studio.guidance.spad.official import convert
from studio.guidance.spad.sampling import HeldPicture
from studio.guidance.spad.text import NANO_WORDS, WordTokenizer, read_tokenizer
from studio.guidance.stable_diffusion import network_kwargs
from studio.io.weights import write_tensors
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.views import Condition

CASES = Path(__file__).parents[1] / "parity" / "cases" / "spad"
TINY: dict[str, Any] = {
    "unet": {
        "in_channels": 8,
        "out_channels": 8,
        "block_out_channels": [16, 32],
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
    },
    "vae": {
        "in_channels": 48,
        "out_channels": 48,
        "block_out_channels": [8],
        "latent_channels": 8,
        "norm_num_groups": 4,
        "scaling_factor": 0.5,
    },
    "text": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1},
    "resolution": 32,
    "views": 3,
    "steps": 3,
}
TEXT = Condition(text="a red car")


def tiny(**options: Any) -> SpadGuidance:
    """A small model whose zero-initialised layers do something."""
    torch.manual_seed(0)
    model = build("guidance", "spad", {**TINY, **options}, key="system.guidance")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any() and "bias" not in name and "vae" not in name:
                parameter.normal_(std=0.1)
        for name, parameter in model.denoiser.named_parameters():
            if name.endswith("proj_in.weight"):
                parameter[:, -6:].normal_(std=0.3)
    return model.eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(objects: int = 2, views: int = 3) -> dict[str, Any]:
    ring = orbit_cameras([90.0 * k for k in range(views)], 30.0, size=32)
    return {
        "images": torch.rand(objects, views, 3, 32, 32, generator=seeded(1)) * 2 - 1,
        "c2w": ring.c2w.expand(objects, -1, -1, -1),
        "intrinsics": ring.intrinsics.expand(objects, -1, -1, -1),
        "caption": ["a red car", "a green sofa with blue cushions"][:objects],
    }


class Inputs:
    """Everything the denoiser reads, to be changed one by one."""

    def __init__(self, model: SpadGuidance, **changes: Any) -> None:
        self.model, cameras = model, orbit_cameras([0, 40, 200], 30.0, size=32)
        self.conditioning = model.conditioning.of([cameras])
        self.latents = torch.randn(1, 3, 8, 8, 8, generator=seeded(2))
        self.t = torch.full((1, 3), 300)
        self.text = model.embed(["a red car"])[:, None].expand(-1, 3, -1, -1)
        self.camera = model.camera_projection(model.conditioning.numbers([cameras]))
        self.__dict__.update(changes)

    @torch.no_grad()
    def run(self) -> Tensor:
        return self.model.denoiser(self.latents, self.t, self.text, self.camera, self.conditioning)


# ---------------------------------------------------------------- network


def test_everything_the_network_is_told_matters() -> None:
    model = tiny()
    given = Inputs(model)
    plain = given.run()
    assert plain.shape == given.latents.shape
    other = orbit_cameras([0, 90, 200], 30.0, size=32)
    changed = {
        "text": model.embed(["a green sofa"])[:, None].expand(-1, 3, -1, -1),
        "camera": model.camera_projection(model.conditioning.numbers([other])),
        "t": torch.full((1, 3), 700),
        "conditioning": replace(given.conditioning, plucker=model.conditioning.of([other]).plucker),
    }
    for name, value in changed.items():
        assert (Inputs(model, **{name: value}).run() - plain).abs().max() > 1e-3, name
    free = Inputs(model, conditioning=replace(given.conditioning, mask=None)).run()
    assert (free - plain).abs().max() > 1e-3


def test_views_see_each_other_through_the_mask_only() -> None:
    model = tiny()
    given = Inputs(model)
    latents = given.latents.clone()
    latents[:, 2] += 1
    apart = (torch.arange(192)[:, None] // 64 == torch.arange(192) // 64)[None]
    blind = replace(given.conditioning, mask=apart)
    for conditioning, seen in ((given.conditioning, True), (blind, False)):
        moved = Inputs(model, conditioning=conditioning, latents=latents).run()
        difference = (moved - Inputs(model, conditioning=conditioning).run())[:, :2].abs().max()
        assert (difference > 1e-3) == seen


@pytest.mark.parametrize("resample", ["flat", "spatial"])
def test_permuted_views_give_permuted_pictures(resample: str) -> None:
    model = tiny(mask_resample=resample)
    ring = orbit_cameras([0, 40, 110, 250], 30.0, size=32)
    noise, order = torch.randn(4, 8, 8, 8, generator=seeded()), [2, 0, 3, 1]
    straight = model.generate(TEXT, ring, noise=noise)
    mixed = model.generate(TEXT, ring[order], noise=noise[order])
    torch.testing.assert_close(mixed.images, straight.images[order], atol=1e-4, rtol=0)


def test_an_untrained_inflation_of_one_view_is_the_plain_unet() -> None:
    torch.manual_seed(0)
    kwargs = network_kwargs(net.SIZES, "nano", "unet", TINY["unet"] | {"in_channels": 16})
    plain = UNet2DConditionModel(**kwargs).eval()
    model = build("guidance", "spad", TINY).eval()
    start_from(model.denoiser.unet, plain.state_dict(), "plain")
    latents, text = torch.randn(2, 8, 8, 8), torch.randn(2, 5, 32)
    t, conditioning = torch.tensor([100, 800]), CameraConditioning(torch.randn(2, 1, 6, 8, 8))
    camera = model.camera_projection(torch.randn(2, 1, 4))  # starts at zero
    with torch.no_grad():
        want = plain(torch.cat([latents, 0 * latents], 1), t, text).sample
        got = model.denoiser(latents[:, None], t[:, None], text[:, None], camera, conditioning)
        got = got[:, 0]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_float32_attention_under_autocast() -> None:
    q, k, v = torch.randn(3, 1, 2, 16, 8, generator=seeded())
    mask = torch.zeros(1, 1, 16, 16)
    want = masked_attention(q, k, v, mask)
    half = masked_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, float32=False)
    assert half.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(masked_attention(q, k, v, mask), want)


def test_attention_by_tiles_is_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = orbit_cameras([0, 60, 130], 30.0, size=64)
    conditioning = ConditioningMaker(SpadGuidance.Config(), 16).of([cameras])
    q, k, v = torch.randn(3, 2, 2, 768, 8, generator=seeded())
    with torch.no_grad():
        assert not conditioning.tiles(768)  # too few tokens to pay
        want = joint_attention(q, k, v, conditioning)
        monkeypatch.setattr(attention, "TILED_FROM", 768)
        conditioning = replace(conditioning)
        assert [len(tile.queries) for tile in conditioning.tiles(768)] == [64] * 12
        assert max(len(tile.keys) for tile in conditioning.tiles(768)) < 700
        torch.testing.assert_close(joint_attention(q, k, v, conditioning), want)


# ---------------------------------------------------------------- camera conditioning


def test_bias_is_made_once_per_level_and_shared() -> None:
    model = tiny()
    conditioning = model.conditioning.of([orbit_cameras([0, 120, 240], 30.0, size=32)])
    bias = conditioning.bias(192)
    assert bias is not None and bias.shape == (1, 1, 192, 192)
    assert conditioning.bias(192) is bias
    assert conditioning.times(2) is conditioning  # both halves of the guidance
    assert conditioning.mask is not None and torch.equal(bias[:, 0] == 0, conditioning.mask)
    two = model.conditioning.of([orbit_cameras([0, 120, a], 30.0, size=32) for a in (200, 240)])
    once, twice = two.bias(48), two.times(2).bias(48)
    assert once is not None and twice is not None
    assert torch.equal(twice, once.repeat(2, 1, 1, 1))


@pytest.mark.parametrize("resample", ["flat", "spatial"])
@pytest.mark.parametrize("level", [2, 4])
def test_coarser_masks_are_those_of_the_geometry(resample: str, level: int) -> None:
    cameras = orbit_cameras([0, 50, 170], 20.0, size=64)
    conditioning = ConditioningMaker(SpadGuidance.Config(mask_resample=resample), 8).of([cameras])
    want = epipolar_mask(cameras, 8, resample, level)
    bias = conditioning.bias(len(want))
    assert bias is not None and torch.equal(bias[0, 0], torch.where(want, 0.0, FORBIDDEN))


def test_masks_of_camera_sets_from_remembered_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = ConditioningMaker(SpadGuidance.Config(), 8)
    ring = orbit_cameras([22.5 * k for k in range(6)], 30.0, size=64)
    for index in ([0, 1, 2, 3], [3, 1, 5, 0], [5, 4, 2, 0]):
        assert torch.equal(maker.mask(ring[index]), epipolar_mask(ring[index], 8)), index
    maker.mask(ring)
    monkeypatch.setattr("studio.guidance.spad.conditioning.epipolar_mask", None)  # all are known
    assert maker.mask(ring[[4, 1, 2]]).shape == (192, 192)
    assert maker.mask(ring[[2]]).all()


# ---------------------------------------------------------------- training


def test_loss_trains_all_but_the_vae() -> None:
    model = tiny()
    model.training_loss(batch(), generator=seeded())["loss"].backward()
    with_gradient = {
        name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None
    }
    assert with_gradient == {"denoiser", "text_encoder", "camera_projection"}
    listed = {id(p) for group in model.trainable_parameters() for p in group["params"]}
    assert listed == {id(p) for p in model.parameters() if p.requires_grad}


def test_frozen_text_and_the_projections_learning_rate() -> None:
    model = tiny(train_text=False, projection_lr_scale=10.0)
    model.training_loss(batch(), generator=seeded())["loss"].backward()
    assert all(p.grad is None for p in model.text_encoder.parameters())
    assert [group["lr_scale"] for group in model.trainable_parameters()] == [1.0, 10.0]


def test_gradient_checkpointing_changes_nothing() -> None:
    norms = []
    for option in (False, True):
        model = tiny(gradient_checkpointing=option).train()
        model.training_loss(batch(), generator=seeded())["loss"].backward()
        gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack(gradients))
    torch.testing.assert_close(*norms)


def test_a_dropped_text_is_the_empty_one_for_all_views() -> None:
    data = batch()
    kept = tiny(text_dropout=0.0).training_loss(data, generator=seeded())
    dropped = tiny(text_dropout=1.0).training_loss(data, generator=seeded())
    empty = tiny(text_dropout=0.0).training_loss({**data, "caption": ["", ""]}, generator=seeded())
    torch.testing.assert_close(dropped["prediction"], empty["prediction"])
    assert (dropped["prediction"] - kept["prediction"]).abs().amax((2, 3, 4)).min() > 1e-4


def test_single_pictures_are_trained_on_without_cameras() -> None:
    model, told = tiny(prompt_prefix="[tdv] ", text_dropout=0.0), []
    tokenizer = model.tokenizer
    model.tokenizer = lambda texts: told.append(texts) or tokenizer(texts)  # type: ignore[assignment,func-returns-value]
    data = batch()
    single = {"images": data["images"][:, :1], "caption": data["caption"]}
    losses = model.training_loss(single, generator=seeded())
    model.training_loss(data, generator=seeded())
    assert told[0] == [*data["caption"], ""]
    assert told[1] == [*(f"[tdv] {text}" for text in data["caption"]), ""]
    assert losses["prediction"].shape == (2, 1, 8, 8, 8)
    losses["loss"].backward()
    for name, parameter in model.camera_projection.named_parameters():  # for DDP: there, and 0
        assert parameter.grad is not None and not parameter.grad.any(), name
    entry = model.denoiser.unet.mid_block.attentions[0].proj_in.weight.grad
    assert entry[:, :-6].any() and not entry[:, -6:].any()  # no rays


def test_data_without_captions_are_refused() -> None:
    data = batch()
    del data["caption"]
    with pytest.raises(ConfigError, match=r"data\.captions: true"):
        tiny().training_loss(data)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_few_steps_lower_the_loss(prediction: str) -> None:
    model, data = tiny(prediction_type=prediction), batch()
    groups = [{"params": g["params"], "lr": 3e-3} for g in model.trainable_parameters()]
    optimiser = torch.optim.AdamW(groups)
    losses = []
    for _ in range(8):
        loss = model.training_loss(data, generator=seeded())["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


# ---------------------------------------------------------------- sampling


def test_generate_makes_the_contracts_views_and_repeats_with_the_seed() -> None:
    model, calls = tiny(bound=0.7), []
    first = model.generate(TEXT, generator=seeded(), progress=lambda *n: calls.append(n))
    again = model.generate(TEXT, generator=seeded())
    assert first.images.shape == (3, 4, 32, 32) and first.bound == 0.7
    assert torch.equal(first.images, again.images)
    assert calls == [(k, 3) for k in (1, 2, 3)]
    azimuth, elevation, _ = first.cameras.spherical()
    torch.testing.assert_close(azimuth, torch.tensor([0.0, 120.0, 240.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((3,), 30.0))


@pytest.mark.parametrize("views", [1, 2, 5])
def test_any_number_of_views(views: int) -> None:
    ring = orbit_cameras([30.0 * k for k in range(views)], 20.0, size=16)
    assert tiny().generate(TEXT, ring, generator=seeded()).images.shape == (views, 4, 32, 32)


def test_two_objects_at_once_are_each_as_alone() -> None:
    model = tiny()
    rings = [orbit_cameras([0, 90, turn], 30.0, size=32) for turn in (180, 250)]
    texts, sampler = ["a red car", "a blue sofa"], model.sampler
    start, plan = torch.randn(2, 3, 8, 8, 8, generator=seeded()), sampler.plan()
    both = sampler.sample(model.given(texts, rings), start, plan)
    for i in range(2):
        alone = sampler.sample(model.given(texts[i : i + 1], rings[i : i + 1]), start[[i]], plan)
        torch.testing.assert_close(both[[i]], alone, atol=1e-4, rtol=1e-4)


def test_text_and_guidance_change_the_pictures() -> None:
    noise = torch.randn(3, 8, 8, 8, generator=seeded())
    pictures = [
        tiny(cfg_scale=scale).generate(Condition(text=text), noise=noise).images
        for scale, text in ((3.0, "a red car"), (3.0, "a blue sofa"), (1.0, "a red car"))
    ]
    assert (pictures[0] - pictures[1]).abs().max() > 1e-3
    assert (pictures[0] - pictures[2]).abs().max() > 1e-3


def test_guidance_in_two_halves_and_without() -> None:
    both, apart = tiny(), tiny(batched_guidance=False)
    noise = torch.randn(3, 8, 8, 8, generator=seeded())
    torch.testing.assert_close(
        both.generate(TEXT, noise=noise).images,
        apart.generate(TEXT, noise=noise).images,
        atol=1e-4,
        rtol=0,
    )
    sizes: list[int] = []
    model = tiny(cfg_scale=1.0)
    model.denoiser.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    model.generate(TEXT, noise=noise)
    assert sizes == [3] * 3


def test_sampling_starts_from_the_blob() -> None:
    noise = torch.randn(1, 3, 8, 8, 8, generator=seeded())
    model = tiny(prediction_type="epsilon")
    plan = model.sampler.plan()
    draws, abar = Noise.of(None, seeded(), in_turn=True), plan[0].abar
    start = model.sampler.start(noise, plan, draws)
    assert not torch.equal(start, noise)
    spot = (start - (1 - abar) ** 0.5 * noise) / abar**0.5
    assert (spot[:, 0] - spot[:, 1]).abs().max() > 0  # every view's own draw from the posterior
    for options in ({"blob_sigma": 0.0}, {"zero_terminal_snr": True}):
        model = tiny(**options)
        assert torch.equal(model.sampler.start(noise, model.sampler.plan()), noise)
    picture = net.blob(65, 0.5)
    assert picture[0, 0] == 1 and picture[32, 32] == picture.min() < -0.9


def test_ldm_timesteps() -> None:
    assert ddim_timesteps(3, "ldm") == [999, 666, 333, 0]
    assert ddim_timesteps(7, "ldm") == list(range(995, 0, -142))
    assert ddim_timesteps(100, "ldm") == list(range(991, 0, -10))


def test_a_condition_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="no text"):
        tiny().generate(Condition(image=torch.rand(4, 32, 32)))


@pytest.mark.parametrize("way", ["fixed", "noised"])
def test_a_picture_is_held_in_view_0(way: str) -> None:
    model = tiny(image_conditioning=way)
    pictures = torch.rand(2, 4, 32, 32, generator=seeded(3))
    pictures[:, 3] = 1
    noise = torch.randn(3, 8, 8, 8, generator=seeded())
    asked = [
        Condition(text="a red car", image=p, azimuth_deg=40, elevation_deg=10) for p in pictures
    ]
    made = [model.generate(condition, noise=noise) for condition in asked]
    held = model.held(asked[0], noise[None])
    assert held is not None and held.fixed == (way == "fixed")
    given, plan = model.given(["a red car"], [made[0].cameras]), model.sampler.plan()
    latents = model.sampler.sample(given, noise[None], plan, held=held)
    assert torch.equal(latents[:, 0], held.latents)
    plain = model.generate(TEXT, made[0].cameras, noise=noise)  # no picture: as ever
    free = tiny().generate(TEXT, made[0].cameras, noise=noise)
    assert torch.equal(plain.images, free.images)
    for other in (made[1], plain):
        assert (made[0].images[1:] - other.images[1:]).abs().max() > 1e-4
    azimuth, elevation, _ = made[0].cameras.spherical()
    torch.testing.assert_close(azimuth, torch.tensor([40.0, 160.0, 280.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((3,), 10.0))


def test_where_a_held_picture_stands() -> None:
    model, plan = tiny(), tiny().sampler.plan()
    latents, noise = torch.randn(1, 8, 8, 8), torch.randn(1, 3, 8, 8, 8)
    x, t = torch.zeros(1, 3, 8, 8, 8), torch.full((1, 3), plan[0].t)
    abar = plan[0].abar
    noised = abar**0.5 * latents + (1 - abar) ** 0.5 * noise.unbind(1)[0]
    y, times = HeldPicture(latents, noise).put_into(x, t, model.schedule)
    assert torch.equal(times, t) and not y[:, 1:].any()
    torch.testing.assert_close(y[:, 0], noised)
    y, times = HeldPicture(latents, noise, fixed=True).put_into(x, t, model.schedule)
    assert times.tolist() == [[0, plan[0].t, plan[0].t]] and not y[:, 2].any()
    torch.testing.assert_close(y[:, 0], latents, atol=0.2, rtol=0)  # noise of timestep 0
    torch.testing.assert_close(y[:, 1], noised + (1 - abar) ** 0.5 * (noise[:, 1] - noise[:, 0]))
    late = HeldPicture(latents, noise, fixed=True).put_into(x, t - 300, model.schedule)[0]
    assert not late[:, 1:].any() and not x.any()


def test_a_picture_is_refused_unless_asked_for() -> None:
    with pytest.raises(ConfigError, match="fixed, noised"):
        tiny().generate(replace(TEXT, image=torch.rand(4, 32, 32)))


# ---------------------------------------------------------------- texts


def test_the_nano_words_are_those_of_the_captions() -> None:
    captions = [make_object(k, seed).caption for k in ("car", "armchair") for seed in range(30)]
    assert {w for c in captions for w in words_of(c)} <= set(NANO_WORDS)


def test_words() -> None:
    tokenizer = WordTokenizer(["a", "red", "car"], 4)
    assert tokenizer(["A red, CAR!", "", "a big red car here"]).tolist() == [
        [2, 3, 4, 0],
        [0, 0, 0, 0],
        [2, 1, 3, 4],
    ]


def test_unknown_words_are_named_with_the_known_ones(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tiny().generate(Condition(text="a red unicorn"), generator=seeded())
    assert "'unicorn'" in caplog.text and "armchair" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        tiny().generate(TEXT, generator=seeded())
    assert not caplog.records


def test_prompts_get_their_prefix_once() -> None:
    model = tiny(prompt_prefix="[tdv] ")
    assert model.prefixed("a car") == model.prefixed("[tdv] a car") == "[tdv] a car"


def test_clips_own_tokenizer(tmp_path: Path) -> None:
    vocabulary = "a</w> car</w> a c r</w> ca <|startoftext|> <|endoftext|>".split()
    (tmp_path / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nc a\nca r</w>\n")
    tokenizer = read_tokenizer(tmp_path, 6)
    rows = tokenizer(["a car", ""])
    assert rows.tolist() == [[6, 0, 1, 7, 7, 7], [6, 7, 7, 7, 7, 7]]
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    assert torch.equal(read_tokenizer(tmp_path / "saved", 6)(["a car", ""]), rows)
    with pytest.raises(WeightsError, match="allow_download=true"):
        read_tokenizer("nobody/no-such-tokenizer", 6)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "huge"}, "nano, full"),
        ({"mask_resample": "nearest"}, "flat, spatial"),
        ({"image_conditioning": "first"}, "none, fixed, noised"),
        ({"text": {**TINY["text"], "hidden_size": 16}}, "cross_attention_dim is 32"),
        ({"vae": {**TINY["vae"], "latent_channels": 4}}, r"unet\.in_channels 4"),
        ({"unet": {**TINY["unet"], "use_linear_projection": True}}, "1x1 convolutions"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build("guidance", "spad", {**TINY, **options})


def test_released_options() -> None:
    four, two = SpadGuidance.released("four-views", steps=50), SpadGuidance.released("two-views")
    assert (four.absolute_cameras, four.camera_intrinsics, four.steps) == (True, True, 50)
    assert (two.absolute_cameras, two.camera_intrinsics, two.steps) == (False, False, 100)
    for cfg in (four, two):
        assert (cfg.resolution, cfg.radius, cfg.rig_elevation_deg) == (256, 3.5, 45.0)
        assert (cfg.mask_resample, cfg.timestep_spacing, cfg.cfg_scale) == ("flat", "ldm", 7.5)
        assert (cfg.prompt_prefix, cfg.blob_sigma) == ("[tdv] ", 0.5)
    with pytest.raises(ConfigError, match="two-views, four-views"):
        SpadGuidance.released("eight-views")
    assert find("guidance", "spad") is SpadGuidance


# ---------------------------------------------------------------- folders


def test_folder_round_trip(tmp_path: Path) -> None:
    model = tiny(prediction_type="epsilon", words=["a", "red", "car", "boat"], radius=2.0)
    model.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")  # replaces
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    read = SpadGuidance.from_pretrained(tmp_path / "model").eval()
    noise = torch.randn(3, 8, 8, 8, generator=seeded())
    pictures = [m.generate(TEXT, noise=noise).images for m in (model, read)]
    assert torch.equal(*pictures)
    # The folder says what the network is; how to sample is the user's choice.
    built = build("guidance", "spad", {"weights": str(tmp_path / "model"), "steps": 7})
    assert (built.cfg.prediction_type, built.cfg.radius, built.cfg.steps) == ("epsilon", 2.0, 7)
    assert isinstance(built.tokenizer, WordTokenizer) and "boat" in built.tokenizer.words
    for name, value in model.state_dict().items():
        assert torch.equal(built.state_dict()[name], value), name
    (tmp_path / "model" / "tokenizer" / "words.json").unlink()
    with pytest.raises(WeightsError, match="holds no tokenizer"):
        SpadGuidance.from_pretrained(tmp_path / "model")


def test_starting_from_a_plain_unet(tmp_path: Path) -> None:
    kwargs = network_kwargs(net.SIZES, "nano", "unet", TINY["unet"])
    unet = UNet2DConditionModel(**kwargs)
    write_part(tmp_path / "unet", "diffusion_pytorch_model", dict(unet.config), unet)
    model = build("guidance", "spad", {**TINY, "unet_start": str(tmp_path / "unet")})
    entry = model.denoiser.unet.mid_block.attentions[0].proj_in.weight
    assert torch.equal(entry[:, :-6], unet.mid_block.attentions[0].proj_in.weight)
    assert not entry[:, -6:].any()
    other = {k: v for k, v in unet.state_dict().items() if "conv_out" not in k}
    write_tensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", other)
    with pytest.raises(WeightsError, match="missing: conv_out"):
        build("guidance", "spad", {**TINY, "unet_start": str(tmp_path / "unet")})


# ---------------------------------------------------------------- released checkpoints


def _keys(name: str) -> dict[str, list[int]]:
    return json.loads(gzip.decompress((CASES / f"spad_{name}_views.keys.json.gz").read_bytes()))


@pytest.mark.parametrize("ema", [True, False])
def test_averages_are_taken_where_there_are_any(
    ema: bool, caplog: pytest.LogCaptureFixture
) -> None:
    keys = _keys("two")
    averages = {key for key in keys if key.startswith("model_ema.diffusion_model")}
    assert averages == {ema_key(key) for key in keys if key.startswith(UNET)}
    tensors = {key: torch.tensor(float(key in averages)) for key in keys if ".mid." not in key}
    caught = convert(tensors, 2, 4, ema=ema, source="file.ckpt")
    assert len(caught["unet"]) == 686 and all(value == ema for value in caught["unet"].values())
    with caplog.at_level(logging.WARNING):
        last = {key: value for key, value in tensors.items() if key not in averages}
        assert len(convert(last, 2, 4, ema=ema, source="file.ckpt")["unet"]) == 686
    assert ("no running averages" in caplog.text) == ema
    if ema:
        with pytest.raises(WeightsError, match="no running average of"):
            convert({**last, averages.pop(): torch.ones(1)}, 2, 4, ema=True, source="file.ckpt")
    with pytest.raises(WeightsError, match="SPAD does not have: cc_projection_2"):
        convert({"cc_projection_2": torch.zeros(1)}, 2, 4, ema=False, source="file.ckpt")


@pytest.mark.parametrize(("name", "projection"), [("two", 1_646_080), ("four", 1_651_200)])
@pytest.mark.parametrize("ema", [True, False])
def test_full_size_networks_take_every_released_tensor(
    name: str, projection: int, ema: bool
) -> None:
    tensors = {key: torch.empty(shape, device="meta") for key, shape in _keys(name).items()}
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.empty(1, 77)
    with torch.device("meta"):
        parts = fresh_parts(SpadGuidance.released(f"{name}-views"))
    fill(parts, tensors, convert, source=f"spad_{name}_views.ckpt", ema=ema)
    assert {part: sum(p.numel() for p in m.parameters()) for part, m in parts.items()} == {
        "unet": 859_595_844,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "camera_projection": projection,
    }


def test_cameras_of_the_released_rig() -> None:
    cfg = SpadGuidance.released("four-views")
    numbers = ConditioningMaker(cfg, 8).numbers([rig(cfg)])
    assert numbers.shape == (1, 8, 8)
    want = torch.tensor([torch.pi / 4, 0.0, 1.0, 3.5, 2.72778, 2.72778, 0.0, 0.0])
    torch.testing.assert_close(numbers[0, 0], want, atol=1e-4, rtol=0)


def rig(cfg: Any) -> Cameras:
    azimuths = [360.0 * k / cfg.views for k in range(cfg.views)]
    return orbit_cameras(azimuths, cfg.rig_elevation_deg, cfg.radius, cfg.fov_deg, cfg.resolution)
