"""EscherNet: what its cameras may and may not change, loss, sampling, folders of weights."""

from __future__ import annotations

import gzip
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.errors import ConfigError, DataError, WeightsError
from studio.guidance.autoencoder import build_vae
from studio.guidance.eschernet import network as net
from studio.guidance.eschernet.cape import camera_code, encode
from studio.guidance.eschernet.checkpoint import PARTS, read_part, start_from
from studio.guidance.eschernet.conditioning import default_rig
from studio.guidance.eschernet.encoder import build_encoder
from studio.guidance.eschernet.guidance import EscherNetGuidance
from studio.guidance.eschernet.options import EscherNetConfig
from studio.guidance.eschernet.positions import position_code
from studio.guidance.stable_diffusion import network_kwargs
from studio.plugins.options import build
from studio.plugins.parsing import parse_config
from studio.similarity import scaled_poses
from studio.views import Condition, ViewSet

KEYS = Path(__file__).parents[1] / "parity" / "cases" / "eschernet" / "released.keys.json.gz"
TINY: dict[str, Any] = {
    "resolution": 32,
    "azimuths": 4,
    "steps": 2,
    "unet": {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [16, 32],
        "cross_attention_dim": 16,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
    },
    "vae": {"block_out_channels": [8], "latent_channels": 4},
    "encoder": {"hidden_sizes": [8, 16], "depths": [1, 1], "image_size": 32},
}


def tiny(**options: Any) -> EscherNetGuidance:
    """A small model whose layers all do something."""
    torch.manual_seed(0)
    model = EscherNetGuidance(parse_config(EscherNetConfig, {**TINY, **options})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.abs().max() == 0 or ".grn." in name:
                parameter.normal_(std=0.3)
            if name.startswith("unet.") and ".to_" in name:
                parameter.mul_(4.0)  # attention that tells tokens apart
    return model


def pictures(count: int) -> Tensor:
    return torch.rand(count, 4, 32, 32, generator=torch.Generator().manual_seed(3))


def posed(count: int, radius: float = 1.6) -> ViewSet:
    """References at uneven places."""
    azimuth = [10.0 + 75.0 * k for k in range(count)]
    elevation = [20.0 - 15.0 * k for k in range(count)]
    return ViewSet(pictures(count), orbit_cameras(azimuth, elevation, radius, size=32))


def prediction(model: EscherNetGuidance, targets: Tensor, references: Tensor) -> Tensor:
    """What the network says of fixed noise, for cameras [V,4,4] and [R,4,4]."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, len(targets), 4, 4, 4, generator=generator)
    pixels = torch.rand(1, len(references), 3, 32, 32, generator=generator) * 2 - 1
    with torch.no_grad():
        tokens = model.tokens(pixels)
        codes = model.codes(targets[None], references[None])
        return net.denoise(model.unet, x, torch.tensor([500]), tokens, codes)[0]


def world_change(shift: float = 0.7) -> Tensor:
    """A rotation about a skew axis and a shift."""
    axis = torch.tensor([[0.0, -0.9, 0.4], [0.9, 0.0, -1.1], [-0.4, 1.1, 0.0]])
    change = torch.eye(4)
    change[:3, :3] = torch.matrix_exp(axis)
    change[:3, 3] = torch.tensor([0.3, -0.5, 1.0]) * shift
    return change


TARGETS = orbit_cameras([0.0, 50.0, 200.0], [30.0, -10.0, 5.0], 1.8).c2w
REFERENCES = orbit_cameras([20.0, 140.0], [10.0, 40.0], 1.6).c2w


# ------------------------------------------------------------------------------- cameras


def test_6dof_does_not_see_a_rigid_change_of_the_world() -> None:
    model, change = tiny(cape="6dof"), world_change()
    before = prediction(model, TARGETS, REFERENCES)
    after = prediction(model, change @ TARGETS, change @ REFERENCES)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-4)
    one_moved = prediction(model, change @ TARGETS, REFERENCES)
    assert (one_moved - before).abs().max() > 0.01


def test_6dof_sees_the_scale_of_the_world() -> None:
    model = tiny(cape="6dof")
    before = prediction(model, TARGETS, REFERENCES)
    after = prediction(model, scaled_poses(TARGETS, 1.3), scaled_poses(REFERENCES, 1.3))
    assert (after - before).abs().max() > 0.01


def test_4dof_does_not_see_where_azimuth_starts() -> None:
    model, turn = tiny(cape="4dof"), torch.eye(4)
    angle = math.radians(77)
    turn[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    before = prediction(model, TARGETS, REFERENCES)
    after = prediction(model, turn @ TARGETS, turn @ REFERENCES)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    one_turned = prediction(model, TARGETS, turn @ REFERENCES)
    assert (one_turned - before).abs().max() > 0.01


@pytest.mark.parametrize("cape", ["6dof", "4dof"])
def test_order_of_references_does_not_matter(cape: str) -> None:
    model = tiny(cape=cape)
    views, cameras = posed(3), orbit_cameras([0.0, 90.0], 30.0, size=32)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    made = model.generate(Condition(views=views), cameras, noise=noise)
    turned = model.generate(Condition(views=views.select([2, 0, 1])), cameras, noise=noise)
    torch.testing.assert_close(turned.images, made.images, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cape", ["6dof", "4dof"])
def test_order_of_targets_is_the_order_of_views(cape: str) -> None:
    model, order = tiny(cape=cape), [2, 0, 3, 1]
    cameras = model.contract.cameras()
    noise = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    made = model.generate(Condition(views=posed(2)), cameras, noise=noise)
    other = model.generate(Condition(views=posed(2)), cameras[order], noise=noise[order])
    torch.testing.assert_close(other.rgb_on(), made.rgb_on()[order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cape", ["6dof", "4dof"])
def test_single_target_attends_to_itself_as_in_stable_diffusion(cape: str) -> None:
    model = tiny(cape=cape, positions=0.0)
    stock = UNet2DConditionModel.from_config(model.unet.config)
    stock.load_state_dict(model.unet.state_dict())
    stock.set_attn_processor(AttnProcessor2_0())
    x, t = torch.randn(1, 1, 4, 4, 4), torch.tensor([300])
    nothing = torch.zeros(1, 16, 16)
    codes = model.codes(TARGETS[None, :1], REFERENCES[None])
    with torch.no_grad():
        ours = net.denoise(model.unet, x, t, nothing, codes)[:, 0]
        theirs = stock(x[:, 0], t, nothing).sample
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_cameras_stay_exact_in_half_precision() -> None:
    code = camera_code("6dof", TARGETS[None])
    tokens = torch.randn(1, 6, 16)
    half = encode(tokens.bfloat16(), code.query)
    assert half.dtype == torch.bfloat16 and code.query.dtype == torch.float32
    expected = encode(tokens.bfloat16().float(), code.query)
    torch.testing.assert_close(half, expected.bfloat16(), atol=0, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = encode(tokens, code.query)
    assert torch.equal(mixed, encode(tokens, code.query))


def test_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        encode(torch.zeros(1, 3, 12), camera_code("4dof", TARGETS[None]).query)


# ------------------------------------------------------------------------------- views


def test_views_depend_on_pictures_and_on_their_cameras() -> None:
    model = tiny()
    noise = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    def views(references: ViewSet) -> Tensor:
        return model.generate(Condition(views=references), noise=noise).rgb_on()

    given = posed(2)
    made = views(given)
    repainted = replace(given, images=given.images.flip(-1))
    assert (views(repainted) - made).abs().max() > 1e-3
    moved = replace(given, cameras=orbit_cameras([10.0, 120.0], [20.0, 5.0], 1.6, size=32))
    assert (views(moved) - made).abs().max() > 1e-3
    assert torch.equal(views(given), made)


def test_one_picture_is_a_posed_one() -> None:
    model = tiny()
    picture = pictures(1)[0]
    eye = orbit_cameras([15.0], 25.0, size=32)
    noise = torch.randn(4, 4, 4, 4)
    made = model.generate(
        Condition(image=picture, elevation_deg=25.0, azimuth_deg=15.0), noise=noise
    )
    assert made.cameras.spherical()[0][0].item() == pytest.approx(15.0, abs=1e-3)
    same = model.generate(Condition(views=ViewSet(picture[None], eye)), noise=noise)
    torch.testing.assert_close(made.images, same.images)
    assert made.images.shape == (4, 4, 32, 32) and made.bound == 0.5
    with pytest.raises(ConfigError, match="no picture"):
        model.generate(Condition(text="a car"))
    wide = ViewSet(pictures(2)[..., :20], orbit_cameras([0.0, 90.0], 30.0, size=(32, 20)))
    with pytest.raises(DataError, match="20x32"):
        model.generate(Condition(views=wide))
    unposed = replace(posed(2), meta={"posed": False})
    with pytest.raises(ConfigError, match="pictures without cameras"):
        model.generate(Condition(views=unposed))
    for wrong in ({"azimuths": 0}, {"elevations_deg": []}, {"group": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            tiny(**wrong)


def test_groups_do_not_see_each_other() -> None:
    model = tiny()
    noise = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    cameras, condition = model.contract.cameras(), Condition(views=posed(2))
    joint = model.generate(condition, cameras, noise=noise).images
    steps: list[tuple[int, int]] = []
    model.cfg = replace(model.cfg, group=3)
    grouped = model.generate(
        condition, cameras, noise=noise, progress=lambda *done: steps.append(done)
    ).images
    alone = model.generate(condition, cameras[3:], noise=noise[3:]).images
    torch.testing.assert_close(grouped[3:], alone, atol=1e-5, rtol=1e-4)
    assert (grouped[3] - joint[3]).abs().max() > 1e-4
    assert steps == [(k, 4) for k in range(1, 5)]
    model.cfg = replace(model.cfg, group=4)
    torch.testing.assert_close(model.generate(condition, cameras, noise=noise).images, joint)


def test_default_rig_has_rings_at_every_elevation() -> None:
    cameras = default_rig(12, [30.0, 15.0, 0.0]).cameras(64)
    azimuth, elevation, radius = cameras.spherical()
    assert len(cameras) == 36
    torch.testing.assert_close(azimuth[12:15], torch.tensor([0.0, 30.0, 60.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(elevation[::12], torch.tensor([30.0, 15.0, 0.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(radius, torch.full((36,), 1.5))


def test_cameras_out_of_range_warn_or_are_scaled(caplog: pytest.LogCaptureFixture) -> None:
    model, noise = tiny(), torch.randn(4, 4, 4, 4)
    far = posed(2, radius=3.0)
    with caplog.at_level(logging.WARNING):
        model.generate(Condition(views=posed(2)), noise=noise)
        assert not caplog.records
        model.generate(Condition(views=far), noise=noise)
    assert "stand 3 to 3 from the origin" in caplog.text
    caplog.clear()
    narrow = orbit_cameras([0.0], 30.0, 1.6, fov_deg=30.0, size=32)
    model.generate(Condition(views=ViewSet(pictures(1), narrow)), noise=noise)
    assert "reference cameras see 30 to 30 degrees" in caplog.text and "target" not in caplog.text
    model.generate(Condition(views=posed(1)), narrow, noise=noise[:1])
    assert "target cameras see 30 to 30 degrees" in caplog.text
    model.cfg = replace(model.cfg, scale_cameras=True)
    made = model.generate(Condition(views=far), noise=noise)
    near = model.generate(Condition(views=posed(2, radius=1.5)), noise=noise)
    torch.testing.assert_close(made.images, near.images, atol=1e-4, rtol=1e-4)
    assert made.bound == 1.0  # the views live in the world of the references
    torch.testing.assert_close(made.cameras.centres.norm(dim=1), torch.full((4,), 3.0))


def test_guidance_of_one_skips_the_unconditional_pass() -> None:
    model = tiny(guidance_scale=1.0)
    calls: list[int] = []
    model.unet.register_forward_hook(lambda _m, given, _out: calls.append(len(given[0])))
    noise = torch.randn(4, 4, 4, 4)
    model.generate(Condition(views=posed(1)), noise=noise)
    assert calls == [4, 4]
    calls.clear()
    model.cfg = replace(model.cfg, guidance_scale=2.0)
    both = model.generate(Condition(views=posed(1)), noise=noise)
    model.cfg = replace(model.cfg, batched_guidance=False)
    one_by_one = model.generate(Condition(views=posed(1)), noise=noise)
    assert calls == [8, 8, 4, 4, 4, 4]
    torch.testing.assert_close(both.images, one_by_one.images, atol=1e-4, rtol=1e-4)


# ------------------------------------------------------------------------------- training


def batch(references: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(4)
    cameras = orbit_cameras([k * 30.0 for k in range(5 + references)], 30.0, size=32)
    c2w = cameras.c2w.expand(2, -1, -1, -1)
    pixels = torch.rand(2, 5 + references, 3, 32, 32, generator=generator) * 2 - 1
    return {
        "images": pixels[:, :5],
        "c2w": c2w[:, :5],
        "intrinsics": cameras.intrinsics[:5].expand(2, -1, -1, -1),
        "cond_image": pixels[:, 5],
        "cond_c2w": c2w[:, 5],
        "ref_images": pixels[:, 5:],
        "ref_c2w": c2w[:, 5:],
    }


def loss(model: EscherNetGuidance, given: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    return model.training_loss(given, generator=torch.Generator().manual_seed(seed))


def test_loss_reaches_unet_and_encoder_but_not_the_vae() -> None:
    model = tiny(condition_dropout=0.0)
    losses = loss(model, batch())
    losses["loss"].backward()
    assert losses["prediction"].shape == (2, 5, 4, 4, 4)
    for part in (model.unet, model.image_encoder):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())
        assert any(p.grad.abs().max() > 0 for p in part.parameters())
    assert all(p.grad is None for p in model.vae.parameters())
    groups = model.trainable_parameters()
    trained = {id(p) for group in groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}


def test_dropped_references_leave_no_trace() -> None:
    model, given = tiny(condition_dropout=1.0), batch()
    changed = {**given, "ref_images": -given["ref_images"]}
    assert torch.equal(loss(model, given)["loss"], loss(model, changed)["loss"])
    model.cfg = replace(model.cfg, condition_dropout=0.0)
    assert not torch.equal(loss(model, given)["loss"], loss(model, changed)["loss"])


def test_number_of_references_varies_from_step_to_step() -> None:
    model, given = tiny(), batch(references=3)
    per_reference = 4 * 4
    counts = [loss(model, given, seed)["tokens"].shape[1] // per_reference for seed in range(12)]
    assert set(counts) == {1, 2, 3}
    model.cfg = replace(model.cfg, vary_references=False)
    assert loss(model, given)["tokens"].shape[1] == 3 * per_reference
    single = {k: v for k, v in given.items() if not k.startswith("ref_")}
    assert loss(model, single)["tokens"].shape[1] == per_reference


def test_one_object_has_one_timestep_and_training_lowers_the_loss() -> None:
    model, given = tiny(condition_dropout=0.0).train(), batch()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 2e-3)
    first = loss(model, given)["loss"].item()
    for _ in range(20):
        optimizer.zero_grad()
        loss(model, given)["loss"].backward()
        optimizer.step()
    assert loss(model, given)["loss"].item() < 0.85 * first


def test_checkpointed_and_half_precision_steps_agree_with_the_plain_one() -> None:
    model, given = tiny(condition_dropout=0.0).train(), batch(references=1)
    plain = loss(model, given)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(model, given)["loss"]
    torch.testing.assert_close(half, plain, atol=0.02, rtol=0.02)
    grads = []
    for checkpointed in (False, True):
        if checkpointed:
            model.unet.enable_gradient_checkpointing()
        model.zero_grad()
        loss(model, given)["loss"].backward()
        grads.append(model.unet.conv_in.weight.grad)
    torch.testing.assert_close(*grads, atol=1e-6, rtol=1e-4)


def test_positions_make_tokens_attend_to_their_own_place_and_camera() -> None:
    code = position_code(64, 64, 4, torch.device("cpu"))
    assert code.shape == (64, 64) and torch.equal(code[:, :16], code[:, 48:])
    for kind in ("6dof", "4dof"):
        cameras = camera_code(kind, TARGETS[None])
        scores = encode(code.repeat(3, 1)[None], cameras.query) @ encode(
            code.repeat(3, 1)[None], cameras.key
        ).transpose(1, 2)
        own = scores[0].view(3, 64, 3, 64)
        for view in range(3):
            assert (own[view, :, view].argmax(-1) == torch.arange(64)).all()
            assert (own[view].flatten(1).argmax(-1) == view * 64 + torch.arange(64)).all()
    with pytest.raises(ValueError, match="square grid"):
        position_code(48, 64, 4, torch.device("cpu"))
    made = [prediction(tiny(positions=s), TARGETS, REFERENCES) for s in (0.0, 1.0)]
    assert (made[0] - made[1]).abs().max() > 1e-3


# ------------------------------------------------------------------------------- weights


def test_folder_brings_everything_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny(cape="4dof", prediction_type="epsilon")
    model.save_pretrained(tmp_path / "w")
    again = EscherNetGuidance.from_pretrained(tmp_path / "w").eval()
    assert again.cfg.cape == "4dof" and again.schedule.prediction_type == "epsilon"
    noise = torch.randn(4, 4, 4, 4)
    made = [m.generate(Condition(views=posed(2)), noise=noise).images for m in (model, again)]
    assert torch.equal(*made)
    named = build("guidance", "eschernet", {"weights": str(tmp_path / "w"), "steps": 3}, key="g")
    assert (named.cfg.cape, named.cfg.steps, named.cfg.resolution) == ("4dof", 3, 32)
    with caplog.at_level(logging.WARNING, "studio"):
        other = EscherNetGuidance.from_pretrained(tmp_path / "w", cape="6dof")
    assert other.cfg.cape == "4dof"
    assert "was trained with cape 4dof, which is used instead of 6dof" in caplog.text
    model.save_pretrained(tmp_path / "w")  # a second time, over the first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w"]


def test_pickled_release_with_old_names_is_read(tmp_path: Path) -> None:
    model = tiny(vae={"block_out_channels": [8], "latent_channels": 4, "norm_num_groups": 2,
                      "mid_block_add_attention": True})  # fmt: skip
    folder = tmp_path / "eschernet-4dof"
    model.save_pretrained(folder)
    (folder / "config.json").unlink()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name in PARTS:
        tensors = dict(getattr(model, name).state_dict())
        if name == "vae":
            for new, former in old.items():
                names = [k for k in tensors if f".{new}." in k]
                tensors |= {k.replace(new, former): tensors.pop(k) for k in names}
        for path in (folder / name).glob("*.safetensors"):
            torch.save(tensors, path.with_suffix(".bin"))
            path.unlink()
    with pytest.raises(ConfigError, match="cape"):
        EscherNetGuidance.from_pretrained(folder)
    again = EscherNetGuidance.from_pretrained(folder, cape="4dof", resolution=32).eval()
    assert again.cfg.guidance_scale == 3.0 and again.cfg.timestep_spacing == "leading"
    for name in PARTS:
        ours, theirs = getattr(model, name).state_dict(), getattr(again, name).state_dict()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    fresh = tiny(vae=dict(model.vae.config))
    torch.nn.init.zeros_(fresh.unet.conv_in.weight)
    fresh.load_official(folder)
    assert torch.equal(fresh.unet.conv_in.weight, model.unet.conv_in.weight)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is incomplete as weights of EscherNet"):
        tiny(weights=str(tmp_path))
    with pytest.raises(ConfigError, match="'7dof'"):
        tiny(cape="7dof")
    with pytest.raises(ConfigError, match="tokens are 24 wide"):
        tiny(encoder={"hidden_sizes": [8, 24], "depths": [1, 1]})
    tiny().save_pretrained(tmp_path / "w")
    path = tmp_path / "w" / "image_encoder" / "config.json"
    path.write_text(path.read_text().replace('"depths": [\n  1,\n  1', '"depths": [\n  1,\n  2'))
    config = json.loads(path.read_text()) | {"depths": [1, 2]}
    path.write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="missing: encoder.stages.1.layers.1"):
        read_part("image_encoder", path.parent, EscherNetConfig())


def test_start_from_another_model_takes_what_fits() -> None:
    model = tiny()
    wider = net.build_unet({**model.unet.config, "in_channels": 8, "cross_attention_dim": 8})
    missing = start_from(model.unet, wider.state_dict(), "other")
    assert missing and all(".attn2.to_" in name for name in missing)
    assert torch.equal(model.unet.conv_in.weight, wider.conv_in.weight[:, :4])
    backbone = build_encoder(model.image_encoder.config.to_dict())
    classifier = {f"convnextv2.{k}": v for k, v in backbone.state_dict().items()}
    classifier["classifier.weight"] = torch.zeros(10, 16)
    assert start_from(model.image_encoder, classifier, "other") == []
    with pytest.raises(WeightsError, match="fits only"):
        start_from(model.image_encoder, model.unet.state_dict(), "other")


def test_released_checkpoints_have_our_keys_and_shapes() -> None:
    table = json.loads(gzip.decompress(KEYS.read_bytes()))
    with torch.device("meta"):
        parts = {
            "unet": net.build_unet(network_kwargs(net.SIZES, "full", "unet")),
            "vae": build_vae(network_kwargs(net.SIZES, "full", "vae")),
            "image_encoder": build_encoder(network_kwargs(net.SIZES, "full", "encoder")),
        }
    ours = {
        f"{name}/{key}": list(value.shape)
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    assert ours == table
    assert sum(p.numel() for p in parts["unet"].parameters()) == 859_520_964
    assert sum(p.numel() for p in parts["image_encoder"].parameters()) == 27_866_496
