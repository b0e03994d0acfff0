"""Zero-1-to-3: poses, conditions, loss, sampling, folders, released checkpoints."""

from __future__ import annotations

import gzip
import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from studio.cameras import orbit_cameras
from studio.errors import ConfigError, WeightsError
from studio.guidance import autoencoder
from studio.guidance.ddim import ddim_plan
from studio.guidance.diffusion import PREDICTIONS
from studio.guidance.folders import current_vae_name
from studio.guidance.hub import locate
from studio.guidance.ldm import EMA, UNET, ema_key, fill
from studio.guidance.zero123 import guidance as guidance_module
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.checkpoint import (
    PARTS,
    read_part,
    save_part,
)
from studio.guidance.zero123.guidance import Zero123Guidance, condition_pixels
from studio.guidance.zero123.official import convert, is_unused, rule
from studio.io.weights import write_tensors
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.views import Condition

NANO = Path(__file__).parents[2] / "load/nano/zero123"

LISTS = Path(__file__).parents[1] / "parity" / "cases" / "viewfusion_interpolated"
TINY: dict[str, Any] = {
    "unet": {
        "in_channels": 16,
        "out_channels": 8,
        "block_out_channels": [16, 32],
        "cross_attention_dim": 32,
        "norm_num_groups": 8,
        "attention_head_dim": 2,
    },
    "vae": {
        "in_channels": 48,
        "out_channels": 48,
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "block_out_channels": [8, 8],
        "latent_channels": 8,
        "norm_num_groups": 4,
        "mid_block_add_attention": True,
        "scaling_factor": 0.5,
    },
    "clip": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "patch_size": 16,
        "projection_dim": 32,
    },
    "resolution": 32,
    "steps": 3,
}


def tiny(**options: Any) -> Zero123Guidance:
    torch.manual_seed(0)
    return build("guidance", "zero123", {**TINY, **options}, key="system.guidance")


def batch(objects: int = 2, views: int = 3) -> dict[str, Tensor]:
    ring = orbit_cameras([90.0 * k for k in range(views + 1)], 30.0, size=32)
    generator = torch.Generator().manual_seed(1)
    return {
        "images": torch.rand(objects, views, 3, 32, 32, generator=generator) * 2 - 1,
        "cond_image": torch.rand(objects, 3, 32, 32, generator=generator) * 2 - 1,
        "c2w": ring.c2w[1:].expand(objects, -1, -1, -1),
        "cond_c2w": ring.c2w[:1].expand(objects, -1, -1),
        "intrinsics": ring.intrinsics[1:].expand(objects, -1, -1, -1),
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- poses


def test_pose_vector_signs() -> None:
    centres = orbit_cameras([10, 40, 10, 370], [30, 30, 10, 30], size=8).centres
    pose = net.pose_vector(centres[0], centres)
    assert pose[0].abs()[[0, 1, 3]].max() < 1e-6 and pose[0, 2] == pytest.approx(1)
    assert pose[1, 1].item() == pytest.approx(math.sin(math.radians(30)), abs=1e-6)
    assert pose[2, 0].item() == pytest.approx(math.radians(20), abs=1e-6)  # lower: positive
    torch.testing.assert_close(pose[3], pose[0], atol=1e-5, rtol=0)  # a full turn is no turn


def test_fourth_number_conventions() -> None:
    near = orbit_cameras([0], 30.0, 1.5, size=8).centres[0]
    far = orbit_cameras([0], 50.0, 2.0, size=8).centres
    last = {k: net.pose_vector(near, far, k)[0, 3].item() for k in get_args(net.FourthNumber)}
    assert last == pytest.approx(
        {
            "distance": 0.5,
            "polar": math.radians(60),
            "abs_elevation": math.radians(30),
            "zero": 0.0,
        },
        abs=1e-6,
    )
    with pytest.raises(AssertionError, match="degrees"):
        net.pose_vector(near, far, "degrees")  # type: ignore[arg-type]


def test_projection_starts_as_the_embedding() -> None:
    projection = net.CLIPCameraProjection(8)
    embedding = torch.randn(3, 8)
    torch.testing.assert_close(projection(embedding, torch.zeros(3, 4))[:, 0], embedding)
    assert (projection(embedding, torch.ones(3, 4))[:, 0] != embedding).all()


# ---------------------------------------------------------------- training


def test_loss_trains_all_but_the_vae() -> None:
    model = tiny(train_clip=True)
    model.training_loss(batch(), generator=seeded())["loss"].backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in with_gradient} == set(PARTS) - {"vae"}
    listed = {id(p) for group in model.trainable_parameters() for p in group["params"]}
    assert listed == {id(p) for p in model.parameters() if p.requires_grad}


def test_frozen_clip_and_the_projections_learning_rate() -> None:
    model = tiny(train_clip=False, projection_lr_scale=10.0)
    model.training_loss(batch(), generator=seeded())["loss"].backward()
    assert all(p.grad is None for p in model.image_encoder.parameters())
    assert model.clip_camera_projection.proj.weight.grad is not None
    assert [group["lr_scale"] for group in model.trainable_parameters()] == [1.0, 10.0]


def test_the_patches_are_attended_to_beside_the_picture() -> None:
    one, patches = tiny(), tiny(picture_tokens="patches")
    pixels = batch()["cond_image"]
    whole, pieces = one.embed(pixels), patches.embed(pixels)
    assert whole.shape == (2, 32) and pieces.shape == (2, 1 + 16, 32)  # 64 px, patches of 16
    torch.testing.assert_close(pieces[:, 0], whole)
    pose = torch.tensor([[0.1, 0.5, 0.8, 0.0], [0.0, 0.1, 0.2, 0.3]])
    context = patches.clip_camera_projection(pieces, pose)
    for k in range(pieces.shape[1]):
        torch.testing.assert_close(
            context[:, k : k + 1], one.clip_camera_projection(pieces[:, k], pose)
        )
    latents = torch.randn(2, 16, 8, 8, generator=seeded())
    changed = context.clone()
    changed[:, 9] += 1
    seen = [patches.unet(latents, 500, x, return_dict=False)[0] for x in (context, changed)]
    assert float((seen[0] - seen[1]).abs().max()) > 1e-4
    given = Condition(image=torch.rand(4, 50, 50, generator=seeded()))
    views = tiny(picture_tokens="patches", views=2).generate(given, generator=seeded())
    assert views.images.shape == (2, 4, 32, 32)


@pytest.mark.parametrize("null", ["right", "released"])
def test_dropped_patches_are_the_null_token(null: str) -> None:
    model = tiny(picture_tokens="patches", null_token=null)
    out = model.training_loss(batch(), generator=seeded())
    assert out["context"].shape == (6, 17, 32)
    out["loss"].backward()
    grads = [p.grad for p in model.image_encoder.vision_model.encoder.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in grads)


def test_condition_is_encoded_once_per_object(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny(), []
    monkeypatch.setattr(
        net, "clip_embedding", _counting(net.clip_embedding, lambda args: seen.append(args[1]))
    )
    model.training_loss(batch(objects=2, views=3), generator=seeded())
    assert [len(pixels) for pixels in seen] == [2]


def _counting(function: Any, note: Any) -> Any:
    def wrapped(*args: Any) -> Any:
        note(args)
        return function(*args)

    return wrapped


def test_cached_latents_replace_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = tiny(), batch()
    data["latents"] = torch.randn(2, 3, 8, 4, 4)
    data["cond_latents"] = autoencoder.encode(model.vae, data["cond_image"])
    direct = model.training_loss(data, generator=seeded())
    del data["images"]
    monkeypatch.delattr(guidance_module, "encode")
    cached = model.training_loss(data, generator=seeded())
    assert torch.equal(direct["loss"], cached["loss"])


def test_condition_latents_are_scaled_only_when_asked() -> None:
    pixels = batch()["cond_image"]
    plain, scaled = tiny(), tiny(scale_condition=True)
    torch.testing.assert_close(
        scaled.condition_latents(pixels), plain.condition_latents(pixels) * 0.5
    )


@pytest.mark.parametrize("null", ["right", "released"])
def test_condition_dropout(null: str) -> None:
    model = tiny(condition_dropout=0.1, null_token=null)
    n = 4
    clean, concat, noise = torch.randn(3, n, 8, 4, 4)
    embedding, pose = torch.randn(n, 32), torch.randn(n, 4)
    drop = torch.tensor([0.05, 0.15, 0.25, 0.35])  # text, both, latents, none
    out = model.denoising_loss(clean, concat, embedding, pose, torch.full((n,), 500), noise, drop)
    full = model.clip_camera_projection(embedding, pose)
    empty = model.clip_camera_projection(torch.zeros_like(embedding), pose)
    nothing = torch.zeros_like(full) if null == "right" else empty
    want = torch.stack([nothing[0], nothing[1], full[2], full[3]])
    torch.testing.assert_close(out["context"], want)
    assert [bool(c.any()) for c in out["concat"]] == [True, False, False, True]


def test_min_snr_changes_the_loss_but_not_the_report() -> None:
    plain = tiny().training_loss(batch(), generator=seeded())
    weighted = tiny(min_snr_gamma=5.0).training_loss(batch(), generator=seeded())
    assert torch.equal(plain["mse"], weighted["mse"])
    assert plain["loss"] != weighted["loss"]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_few_steps_lower_the_loss(prediction: str) -> None:
    model, data = tiny(prediction_type=prediction, condition_dropout=0.0), batch()
    groups = [{"params": g["params"], "lr": 3e-3} for g in model.trainable_parameters()]
    optimiser = torch.optim.AdamW(groups)
    losses = []
    for _ in range(12):
        loss = model.training_loss(data, generator=seeded())["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# ---------------------------------------------------------------- sampling


def test_generate_makes_the_contracts_views_and_repeats_with_the_seed() -> None:
    model = tiny(views=4, view_batch=3)
    condition = Condition(image=torch.rand(4, 50, 50, generator=seeded()))
    calls: list[tuple[int, int]] = []
    first = model.generate(condition, generator=seeded(), progress=lambda *n: calls.append(n))
    again = model.generate(condition, generator=seeded())
    assert first.images.shape == (4, 4, 32, 32) and first.cameras.size == (32, 32)
    assert torch.equal(first.images, again.images)
    assert calls == [(k, 6) for k in range(1, 7)]  # two batches of three steps
    azimuth, elevation, _ = first.cameras.spherical()
    torch.testing.assert_close(azimuth, torch.tensor([0.0, 90.0, 180.0, 270.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation, torch.full((4,), 30.0))


def test_views_do_not_depend_on_their_neighbours() -> None:
    model = tiny()
    condition = Condition(image=torch.rand(4, 32, 32, generator=seeded()))
    ring, noise = orbit_cameras([0, 90, 180], 30.0, size=32), torch.randn(3, 8, 4, 4)
    together = model.generate(condition, ring, noise=noise)
    alone = model.generate(condition, ring[[1]], noise=noise[1:2])
    torch.testing.assert_close(together.images[1], alone.images[0], atol=1e-4, rtol=0)


def test_no_guidance_skips_the_unconditional_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[float, list[int]] = {}
    for scale in (1.0, 2.0):
        model = tiny(guidance_scale=scale)
        sizes[scale] = []
        hook = model.unet.register_forward_pre_hook(
            lambda _, args, s=scale: sizes[s].append(len(args[0]))
        )
        plan = ddim_plan(model.schedule, 3, "trailing", 0.0)
        model.sample(torch.zeros(2, 1, 32), *torch.zeros(2, 2, 8, 4, 4), plan=plan)
        hook.remove()
    assert sizes == {1.0: [2] * 3, 2.0: [4] * 3}


def test_condition_picture_lies_on_white() -> None:
    rgba = torch.zeros(4, 8, 8)
    rgba[3, :, :4] = 1.0
    pixels = condition_pixels(Condition(image=rgba), 16)
    assert pixels[0, :, 0, 0].tolist() == [-1] * 3 and pixels[0, :, 0, -1].tolist() == [1] * 3
    with pytest.raises(ConfigError, match="no picture"):
        condition_pixels(Condition(text="a chair"), 16)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "huge"}, "nano, full"),
        ({"null_token": "zero"}, "right, released"),
        ({"resolution": 36}, "multiples of 8"),
        ({"clip": {**TINY["clip"], "projection_dim": 16}}, "cross_attention_dim is 32"),
        ({"vae": {**TINY["vae"], "latent_channels": 4}}, "unet.in_channels 8"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(**options)


def test_released_options() -> None:
    cfg = Zero123Guidance.released(steps=50)
    assert (cfg.resolution, cfg.prediction_type, cfg.steps) == (256, "epsilon", 50)
    assert (cfg.timestep_spacing, cfg.eta, cfg.train_clip) == ("zero123", 1.0, False)
    assert find("guidance", "zero123") is Zero123Guidance


# ---------------------------------------------------------------- folders


def test_folder_round_trip(tmp_path: Path) -> None:
    model = tiny(prediction_type="epsilon", fourth_number="polar")
    model.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")  # replaces
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    read = Zero123Guidance.from_pretrained(tmp_path / "model")
    _assert_same(read.state_dict(), model.state_dict())
    # The folder says what the network is; how to sample is the user's choice.
    built = build("guidance", "zero123", {"weights": str(tmp_path / "model"), "steps": 7})
    _assert_same(built.state_dict(), model.state_dict())
    assert (built.cfg.prediction_type, built.cfg.fourth_number) == ("epsilon", "polar")
    assert (built.cfg.resolution, built.cfg.steps) == (32, 7)
    condition = Condition(image=torch.rand(4, 32, 32))
    views = [m.generate(condition, noise=torch.ones(16, 8, 4, 4)).images for m in (model, read)]
    assert torch.equal(*views)


def _assert_same(read: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert read.keys() == want.keys()
    assert all(torch.equal(read[k], v) for k, v in want.items())


def test_diffusers_reads_our_parts(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPVisionModelWithProjection

    model = tiny()
    model.save_pretrained(tmp_path / "m")
    kinds = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "image_encoder": CLIPVisionModelWithProjection,
    }
    for name, kind in kinds.items():
        read = kind.from_pretrained(tmp_path / "m" / name)
        _assert_same(read.state_dict(), getattr(model, name).state_dict())
    scheduler = DDIMScheduler.from_pretrained(tmp_path / "m" / "scheduler")
    torch.testing.assert_close(scheduler.alphas_cumprod, model.schedule.alphas_cumprod)


def test_separate_vae_folder(tmp_path: Path) -> None:
    source = tiny()
    save_part("vae", source.vae, tmp_path / "vae")
    torch.nn.init.zeros_(source.vae.decoder.conv_in.weight)
    other = tiny(vae_weights=str(tmp_path / "vae"))
    assert other.vae.config.scaling_factor == 0.5
    assert other.vae.decoder.conv_in.weight.any()
    assert not any(p.requires_grad for p in other.vae.parameters())
    (tmp_path / "vae" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"vae is incomplete: config\.json is missing"):
        tiny(vae_weights=str(tmp_path / "vae"))


def test_foreign_diffusers_folder(tmp_path: Path) -> None:
    """Old names, pickled files, another folder for the projection, no config of ours."""
    model = tiny()
    folder = tmp_path / "copy"
    model.save_pretrained(folder)
    (folder / "config.json").unlink()
    (folder / "clip_camera_projection").rename(folder / "cc_projection")
    projection = folder / "cc_projection" / "diffusion_pytorch_model.safetensors"
    state = model.clip_camera_projection.state_dict()
    write_tensors(projection, {k.replace("proj.", "projection."): v for k, v in state.items()})
    old = {"to_q": "query", "to_k": "key", "to_v": "value"}
    vae = {}
    for key, value in model.vae.state_dict().items():
        words = [old.get(w, w) for w in key.split(".")]
        name = ".".join(words).replace("to_out.0", "proj_attn")
        assert current_vae_name(name) == key
        convolution = words[-2] in old.values() and value.dim() == 2
        vae[name] = value[..., None, None] if convolution else value
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(vae, folder / "vae" / "diffusion_pytorch_model.bin")
    read = build("guidance", "zero123", {"weights": str(folder), "resolution": 32})
    _assert_same(read.state_dict(), model.state_dict())


def test_broken_folders_are_named(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path / "m")
    weights = tmp_path / "m" / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="unet.*truncated"):
        Zero123Guidance.from_pretrained(tmp_path / "m")
    weights.unlink()
    with pytest.raises(WeightsError, match="holds no weights"):
        Zero123Guidance.from_pretrained(tmp_path / "m")
    (tmp_path / "m" / "vae" / "config.json").unlink()
    with pytest.raises(WeightsError, match="vae has no readable config.json"):
        read_part_of(tmp_path / "m")


def read_part_of(folder: Path) -> nn.Module:
    from studio.guidance.zero123.checkpoint import part_folder

    return read_part("vae", part_folder("vae", folder))


def test_a_hub_name_is_never_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="allow_download=true"):
        locate("someone/zero123-xl")
    for missing in ("no/such/folder", "./nowhere", "here/model.ckpt"):
        with pytest.raises(WeightsError, match="do not exist|neither here nor in the hub's cache"):
            locate(missing)


# ---------------------------------------------------------------- released checkpoints


def _list(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((LISTS / name).read_bytes()))


def test_every_released_key_goes_where_the_verified_table_says() -> None:
    table, keys = _list("zero123-xl.ldm_to_diffusers.json.gz"), _list("zero123-xl.keys.json.gz")
    assert len(table) == 1232 and len(keys) == 1938
    for key in keys:
        place = rule(key, 2, 4)
        if key not in table:
            assert place is None and is_unused(key), key
            continue
        part, names, operation = table[key]
        names = [names] if isinstance(names, str) else names
        if part == "cc_projection":
            part, names = "clip_camera_projection", [n.replace("projection", "proj") for n in names]
        assert place == (part, tuple(names), operation), key
    assert all(ema_key(key) in keys for key in keys if key.startswith(UNET))


@pytest.mark.parametrize("ema", [True, False])
def test_full_size_networks_take_every_released_tensor(ema: bool) -> None:
    keys = _list("zero123-xl.keys.json.gz")
    tensors = {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
    kwargs = net.SIZES["full"]
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "unet": net.build_unet(kwargs["unet"]),
            "vae": autoencoder.build_vae(kwargs["vae"]),
            "image_encoder": net.build_image_encoder(kwargs["clip"]),
            "clip_camera_projection": net.CLIPCameraProjection(768),
        }
    fill(parts, tensors, convert, source="zero123-xl.ckpt", ema=ema)
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in parts.items()}
    assert counts == {
        "unet": 859_532_484,
        "vae": 83_653_863,
        "image_encoder": 303_966_208,
        "clip_camera_projection": 593_664,
    }


def _released_state(parts: dict[str, nn.Module]) -> dict[str, Tensor]:
    """A tiny model under the authors' names: the rules inverted, over any number of blocks."""
    keys = {
        re.sub(r"(put_blocks|down|up|resblocks)\.\d+", rf"\1.{number}", key)
        for key in _list("zero123-xl.keys.json.gz")
        for number in range(12)
    }
    state: dict[str, Tensor] = {}
    for key in sorted(keys):
        place = rule(key, 1, 2)
        own = parts[place.part].state_dict() if place else {}
        if place is None or any(name not in own for name in place.names):
            continue
        value = torch.cat([own[name] for name in place.names])
        if place.operation == "transpose":
            value = value.T
        if place.operation == "squeeze_1x1":
            value = value[..., None, None]
        state[key] = value.clone()
    return state


def test_released_checkpoint_from_file(tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = tiny()
    parts = {name: getattr(model, name) for name in PARTS}
    state = _released_state(parts)
    average = {ema_key(key): value + 1 for key, value in state.items() if key.startswith(UNET)}
    extra = {"betas": torch.zeros(1000), f"{EMA}decay": torch.tensor(0.9999)}
    text = {"cond_stage_model.model.logit_scale": torch.tensor(1.0)}
    path = tmp_path / "105000.ckpt"
    torch.save({"state_dict": {**state, **average, **extra, **text}, "global_step": 1}, path)

    raw = tiny(weights=str(path), ema=False)
    _assert_same(raw.state_dict(), model.state_dict())
    averaged = tiny(weights=str(path))
    for name, value in averaged.unet.state_dict().items():
        assert torch.equal(value, model.unet.state_dict()[name] + 1)
    _assert_same(averaged.vae.state_dict(), model.vae.state_dict())
    loaded = tiny(ema=False)
    loaded.load_official(path)
    _assert_same(loaded.state_dict(), model.state_dict())

    torch.save({"state_dict": state}, path)
    with pytest.raises(WeightsError, match="ema=false"):
        tiny(weights=str(path))
    del state["cc_projection.bias"]
    torch.save({"state_dict": {**state, "other.weight": torch.zeros(1)}}, path)
    with pytest.raises(WeightsError, match=r"does not have: other\.weight"):
        tiny(weights=str(path), ema=False)
    torch.save({"state_dict": state}, path)
    with pytest.raises(WeightsError, match=r"1 missing: proj\.bias"):
        tiny(weights=str(path), ema=False)


def test_conversion_splits_and_turns_clip_tensors() -> None:
    here = "cond_stage_model.model.visual."
    qkv, proj = torch.arange(24.0).reshape(6, 4), torch.arange(6.0).reshape(2, 3)
    tensors = {f"{here}transformer.resblocks.3.attn.in_proj_weight": qkv, f"{here}proj": proj}
    found = convert(tensors, 2, 4, ema=False, source="x")["image_encoder"]
    key = "vision_model.encoder.layers.3.self_attn.{}_proj.weight"
    for i, letter in enumerate("qkv"):
        assert torch.equal(found[key.format(letter)], qkv[2 * i : 2 * i + 2])
    assert torch.equal(found["visual_projection.weight"], proj.T)


def test_start_from_a_folder_keeps_the_options_of_the_config() -> None:
    options = {"resolution": 128, "vae_weights": str(NANO.parent / "vae"), "start": str(NANO)}
    model, old = (
        build("guidance", "zero123", options),
        build("guidance", "zero123", {"weights": str(NANO)}),
    )
    assert model.cfg.resolution == 128 and old.cfg.resolution == 64
    for name in ("unet", "image_encoder", "clip_camera_projection"):
        new, trained = (getattr(m, name).state_dict() for m in (model, old))
        assert all(torch.equal(new[key], value) for key, value in trained.items())
    with pytest.raises(WeightsError, match="does not fit UNet2D"):
        build("guidance", "zero123", {**options, "unet": {"block_out_channels": [64, 64]}})
