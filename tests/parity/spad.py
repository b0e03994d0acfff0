"""Parity adapters of SPAD's network, sampling and loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from studio.guidance.ldm import UNET, unet_name
from studio.guidance.spad import network as net
from studio.guidance.spad.attention import PLUCKER, CameraConditioning, inflate
from studio.guidance.spad.epipolar import coarser_mask
from studio.guidance.spad.guidance import SpadGuidance
from studio.guidance.spad.loss import denoising_loss
from studio.guidance.spad.official import PROJECTION, convert, load_official_into
from studio.io.weights import load_strict
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

OF_INPUTS = ("views", "latent_size", "text_len", "elevation_deg", "azimuth_deg")
VAE = {  # stand-in: the cases give latents
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [4],
    "layers_per_block": 1,
    "norm_num_groups": 1,
    "mid_block_add_attention": False,
}


def unet_options(config: Settings, groups: int) -> dict[str, Any]:
    """Return diffusers' arguments of a UNet described in the authors' words."""
    config.only(use_spatial_transformer=True, transformer_depth=1, legacy=False, dropout=0.0)
    mult, wanted = config["channel_mult"], set(config["attention_resolutions"])
    attends = [2**i in wanted for i in range(len(mult))]
    down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends]
    up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)]
    return {
        "in_channels": config.get("in_channels", 4),
        "out_channels": config.get("out_channels", 4),
        "block_out_channels": [m * config["model_channels"] for m in mult],
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": config["num_res_blocks"],
        "cross_attention_dim": config["context_dim"],
        "attention_head_dim": config["num_heads"],
        "norm_num_groups": groups,
    }


def _conditioning(plucker: Tensor, mask: Tensor | None) -> CameraConditioning:
    return CameraConditioning(plucker, mask, "flat")


def attention_block(case: Case) -> dict[str, Tensor]:
    """One inflated transformer at several sizes, with and without a mask."""
    config, given = case.config, case.inputs
    heads, width, views = config["n_heads"], config["d_head"], config["views"]
    config.about(*OF_INPUTS)
    block = Transformer2DModel(
        heads,
        width,
        in_channels=config["in_channels"],
        num_layers=config.get("depth", 1),
        norm_num_groups=config.get("num_groups", 32),
        cross_attention_dim=config["context_dim"],
    ).eval()
    slot = inflate(block)
    load_strict(block, case.weights, case.folder)
    masked = _conditioning(given["plucker"], given["mask"])
    free = _conditioning(given["plucker"], None)

    def run(x: Tensor, conditioning: CameraConditioning) -> Tensor:
        slot.conditioning = conditioning
        text = given["text"].flatten(0, 1)
        return block(x.flatten(0, 1), text, return_dict=False)[0].unflatten(0, x.shape[:2])

    with torch.no_grad():
        out = {"out": run(given["x"], masked), "out_no_mask": run(given["x"], free)}
        for name in ("half", "quarter"):
            if f"x_{name}" in given:
                out[f"out_{name}"] = run(given[f"x_{name}"], masked)
        slot.conditioning = masked
        if "tokens" in given:
            tokens = given["tokens"].unflatten(1, (views, -1)).flatten(0, 1)
            attended = block.transformer_blocks[0].attn1(tokens)
            out["attn1_tokens"] = attended.unflatten(0, (-1, views)).flatten(1, 2)
        out["mask_half"] = coarser_mask(given["mask"], views, 2, masked.resample)
    return out


def _denoiser(case: Case, weights: Mapping[str, Tensor]) -> net.MultiViewUNet:
    config = case.config.get("unet", case.config)
    case.config.about(*OF_INPUTS)
    groups = case.config.get("num_groups", 32)
    unet = net.MultiViewUNet(net.build_unet(unet_options(config, groups))).eval()
    layers = config["num_res_blocks"]
    tensors = {f"{UNET}{key}": value for key, value in weights.items()}
    load_strict(unet, convert(tensors, layers, 1, ema=False, source="case")["unet"], case.folder)
    return unet


@torch.no_grad()
def unet(case: Case) -> dict[str, Tensor]:
    """The whole UNet on several views, and on single ones without cameras."""
    given = case.inputs
    model = _denoiser(case, case.weights)
    shape = given["latents"].shape[:2]
    out: dict[str, Tensor] = {}
    wanted = {
        "time_embed": (model.unet.time_embedding, lambda y: y),
        "input1_attn": (model.unet.down_blocks[0], None),
        "middle_attn": (model.unet.mid_block.attentions[0], lambda y: y[0].unflatten(0, shape)),
    }
    if getattr(model.unet.down_blocks[0], "attentions", None):
        first = model.unet.down_blocks[0].attentions[0]
        wanted["input1_attn"] = (first, lambda y: y[0].unflatten(0, shape))
    hooks = [
        module.register_forward_hook(lambda _m, _i, y, n=name, f=f: out.update({n: f(y)}))
        for name, (module, f) in wanted.items()
        if f is not None
    ]
    conditioning = _conditioning(given["plucker"], given.get("mask"))
    out["eps"] = model(
        given["latents"], given["timesteps"], given["text"], given["cam_emb"], conditioning
    )
    for hook in hooks:
        hook.remove()
    if "single.latents" in given:
        latents = given["single.latents"]
        n, v, _, h, w = latents.shape
        no_camera = torch.zeros(n, v, given["cam_emb"].shape[-1])
        empty = _conditioning(torch.zeros(n, v, PLUCKER, h, w), None)
        out["single.eps"] = model(
            latents, given["single.timesteps"], given["single.text"], no_camera, empty
        )
    return out


def _guidance(case: Case) -> SpadGuidance:
    """Build the guidance of a case; text tower and auto-encoder are stand-ins."""
    config = case.config
    config.about("cc_projection", "per_view_timesteps", *OF_INPUTS)
    config.only(eta=0.0, dropout=0.0)
    unet = unet_options(config["unet"], config.get("num_groups", 32))
    intrinsics = bool(config.get("use_intrinsic"))
    options = SpadGuidance.released(
        "four-views" if intrinsics else "two-views",
        size="nano",  # words, not CLIP's tokenizer
        unet={**unet, "sample_size": config["latent_size"]},
        vae=VAE | {"latent_channels": unet["in_channels"], "sample_size": config["latent_size"]},
        text={"hidden_size": unet["cross_attention_dim"], "num_attention_heads": 1},
        resolution=config["latent_size"],
        views=config["views"],
        absolute_cameras=bool(config.get("use_abs_extrinsics")),
        camera_intrinsics=intrinsics,
        beta_start=config["linear_start"],
        beta_end=config["linear_end"],
        train_timesteps=config["timesteps"],
        steps=config.get("ddim_steps_requested", 50),
        cfg_scale=config.get("cfg_scale", 1.0),
        blob_sigma=config.get("blob_sigma", 0.5),
    )
    model = SpadGuidance(options).eval()
    parts: dict[str, nn.Module] = {
        "unet": model.denoiser,
        "camera_projection": model.camera_projection,
    }
    load_official_into(parts, case.weights_path, ema=any("model_ema" in k for k in case.weights))
    return model


def _given(model: SpadGuidance, case: Case) -> net.Given:
    """What the network of a case is told."""
    given = case.inputs
    return net.Given(
        given["text"],
        given["text_uncond"],
        model.camera_projection(given["cam"]),
        _conditioning(given["plucker"], given.get("mask")),
    )


@torch.no_grad()
def sample(case: Case) -> dict[str, Tensor]:
    """The denoising loop from the blob, and the lists of timesteps of other lengths."""
    model, given = _guidance(case), case.inputs
    plan = model.sampler.plan()
    start = model.sampler.start(given["noise"], plan, spot=given["x0"])
    told = _given(model, case)
    steps: list[dict[str, Any]] = []
    samples = model.sampler.sample(
        told, start, plan, on_step=lambda _step, tensors: steps.append(tensors)
    )
    out = {
        "ddim_timesteps": torch.tensor([s.t for s in plan[::-1]]),
        "ddim_alphas": torch.tensor([s.abar for s in plan[::-1]]),
        "ddim_alphas_prev": torch.tensor([s.abar_prev for s in plan[::-1]]),
        "cam_emb": told.camera,
        "x_start": start,
        "x_per_step": torch.stack([start, *(s["latents"] for s in steps[:-1])]),
        "pred_x0": torch.stack([s["x0"] for s in steps]),
        "samples": samples,
    }
    if model.cfg.cfg_scale != 1:
        uncond = torch.stack([s["uncond"] for s in steps])
        guided = torch.stack([s["guided"] for s in steps])
        out["eps_uncond"] = uncond
        out["eps_cond"] = uncond + (guided - uncond) / model.cfg.cfg_scale
    for name in case.meta.get("tensors", {}):
        if found := re.fullmatch(r"schedule\.(\d+)\.timesteps", name):
            model.cfg.steps = int(found[1])
            plan = model.sampler.plan()
            key = f"schedule.{found[1]}"
            out[f"{key}.timesteps"] = torch.tensor([s.t for s in plan[::-1]])
            out[f"{key}.alphas_prev"] = torch.tensor([s.abar_prev for s in plan[::-1]])
    return out


def blob_init(case: Case) -> dict[str, Tensor]:
    """The picture that sampling starts from."""
    return {
        f"{name}.blob": net.blob(size, float(case.inputs[f"{name}.sigma"]))
        for name, size in case.config["sizes"].items()
    }


def training_loss(case: Case) -> dict[str, Tensor]:
    """The loss, per view and in all, and gradients."""
    model, given = _guidance(case), case.inputs
    result = denoising_loss(
        model.denoiser,
        model.schedule,
        given["x0"],
        _given(model, case),
        given["drop_text"],
        given["timesteps"],
        given["noise"],
    )
    result["loss"].backward()
    trained = {
        **{f"denoiser.{k}": p for k, p in model.denoiser.named_parameters()},
        **{f"camera_projection.{k}": p for k, p in model.camera_projection.named_parameters()},
    }
    norms = [p.grad.norm() for p in trained.values() if p.grad is not None]
    out = {
        "x_noisy": result["noisy"],
        "eps": result["prediction"],
        "loss_per_view": result["per_view"],
        "loss": result["loss"].reshape(1),
        "grad_norm": torch.stack(norms).norm().reshape(1),
    }
    layers = case.config["unet"]["num_res_blocks"]
    for name in case.meta.get("tensors", {}):
        if not name.startswith("grad."):
            continue
        key = name.removeprefix("grad.")
        if key.startswith(PROJECTION):
            own = f"camera_projection.layers.{key.removeprefix(PROJECTION)}"
        else:
            own = f"denoiser.unet.{unet_name(key.removeprefix(UNET), layers)}"
        out[name] = trained[own].grad
    return out


CASES: dict[str, Adapter] = {
    "attention_block": attention_block,
    "unet": unet,
    "sample": sample,
    "blob_init": blob_init,
    "training_loss": training_loss,
}
