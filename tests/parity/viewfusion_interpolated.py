"""Parity of Zero-1-to-3, and of the views_release data it was trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from studio.data.views_release import ViewsReleaseData, world_to_camera_inverse
from studio.guidance.diffusion import DDIMStep, ddim_plan
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.checkpoint import load_official_into
from studio.guidance.zero123.guidance import Zero123Guidance
from tests.parity.case import Adapter, Case


def unet_kwargs(ldm: dict[str, Any], groups: int) -> dict[str, Any]:
    """Diffusers' arguments for an LDM UNet: attention stands at the listed down-samplings."""
    levels = len(ldm["channel_mult"])
    attend = [2**i in ldm["attention_resolutions"] for i in range(levels)]
    return {
        "in_channels": ldm["in_channels"],
        "out_channels": ldm["out_channels"],
        "block_out_channels": [ldm["model_channels"] * m for m in ldm["channel_mult"]],
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attend],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attend)],
        "layers_per_block": ldm["num_res_blocks"],
        "cross_attention_dim": ldm["context_dim"],
        "attention_head_dim": ldm["num_heads"],
        "norm_num_groups": groups,
        "transformer_layers_per_block": ldm.get("transformer_depth", 1),
    }


def clip_kwargs(visual: dict[str, Any]) -> dict[str, Any]:
    """Transformers' arguments for an OpenAI image tower; its heads are 64 wide."""
    return {
        "hidden_size": visual["vision_width"],
        "intermediate_size": 4 * visual["vision_width"],
        "num_hidden_layers": visual["vision_layers"],
        "num_attention_heads": visual["vision_width"] // 64,
        "patch_size": visual["vision_patch_size"],
        "image_size": visual["image_resolution"],
        "projection_dim": visual["embed_dim"],
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    }


def vae_kwargs(vae: dict[str, Any], groups: int) -> dict[str, Any]:
    """Diffusers' arguments for an LDM auto-encoder."""
    levels = len(vae["ch_mult"])
    return {
        "in_channels": vae["in_channels"],
        "out_channels": vae["out_ch"],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [vae["ch"] * m for m in vae["ch_mult"]],
        "layers_per_block": vae["num_res_blocks"],
        "latent_channels": vae["z_channels"],
        "norm_num_groups": groups,
        "scaling_factor": vae["scale_factor"],
    }


def model(case: Case, **options: Any) -> Zero123Guidance:
    """The guidance of a case's config, filled from its checkpoint; parts it lacks stay random."""
    config = case.config
    width = config["ldm_unet"]["context_dim"]
    clip = {"hidden_size": 64, "num_attention_heads": 1, "num_hidden_layers": 1}
    clip |= {"intermediate_size": 64, "patch_size": 14, "image_size": 28, "projection_dim": width}
    vae = {"block_out_channels": [8] * 4, "norm_num_groups": 8, "layers_per_block": 1}
    vae["scaling_factor"] = config["schedule"]["scale_factor"]
    groups = config["norm_num_groups"]
    guidance = Zero123Guidance(
        Zero123Guidance.released(
            unet=unet_kwargs(config["ldm_unet"], groups),
            vae=vae_kwargs(config["vae"], groups) if "vae" in config else vae,
            clip=clip_kwargs(config["clip_visual"]) if "clip_visual" in config else clip,
            beta_start=config["schedule"]["linear_start"],
            beta_end=config["schedule"]["linear_end"],
            train_timesteps=config["schedule"]["timesteps"],
            **options,
        )
    )
    names = {"unet": "ldm_unet", "vae": "vae", "image_encoder": "clip_visual"}
    names["clip_camera_projection"] = "cc_projection"
    parts: dict[str, nn.Module] = {
        part: getattr(guidance, part) for part, key in names.items() if key in config
    }
    load_official_into(parts, case.weights_path, ema=False)
    return guidance


@torch.no_grad()
def zero123_unet(case: Case) -> dict[str, Tensor]:
    """One forward of the UNet, with one token and with three."""
    kwargs = unet_kwargs(case.config["ldm_unet"], case.config["norm_num_groups"])
    unet = net.build_unet(kwargs)
    load_official_into({"unet": unet}, case.weights_path, ema=False)
    out: dict[str, Tensor] = {}
    watched = {"time_emb": unet.time_embedding, "conv_in_out": unet.conv_in}
    watched["mid_out"] = unet.mid_block
    x = torch.cat([case.inputs["x"], case.inputs["c_concat"]], 1)
    for name in sorted((n for n in case.inputs if n.startswith("ctx")), reverse=True):
        hooks = [
            module.register_forward_hook(lambda _m, _i, value, k=key: out.update({k: value}))
            for key, module in watched.items()
        ]
        out[f"eps_{name}"] = unet(x, case.inputs["t"], case.inputs[name]).sample
        for hook in hooks:
            hook.remove()
    return out


@torch.no_grad()
def pose_vector(case: Case) -> dict[str, Tensor]:
    """Relative poses of 3x4 world-to-camera matrices, and the token made of them."""
    cond, target = (
        world_to_camera_inverse(case.inputs[f"{name}_RT"])[:, :3, 3] for name in ("cond", "target")
    )
    pose = net.pose_vector(cond, target)
    projection = net.CLIPCameraProjection(case.config["cc_projection"][1])
    load_official_into({"clip_camera_projection": projection}, case.weights_path)
    embedding = case.inputs["clip_emb"][:, 0]
    return {
        "T": pose,
        "context": projection(embedding, pose),
        "context_train_null": projection(torch.zeros_like(embedding), pose),
    }


@torch.no_grad()
def clip_preprocess(case: Case) -> dict[str, Tensor]:
    """CLIP's input and embedding of a picture."""
    encoder = net.build_image_encoder(clip_kwargs(case.config["clip_visual"]))
    load_official_into({"image_encoder": encoder}, case.weights_path)
    pixels = case.inputs["image_u8"].permute(2, 0, 1)[None].float() / 255 * 2 - 1
    embedding = net.clip_embedding(encoder, pixels)[:, None]
    return {
        "preprocessed": net.clip_pixels(pixels, encoder.config.image_size),
        "embedding": embedding,
        "null_embedding": torch.zeros_like(embedding),
    }


@torch.no_grad()
def sample_zero123(case: Case) -> dict[str, Tensor]:
    """DDIM with classifier-free guidance, with fresh noise (eta 1) and without."""
    config, inputs = case.config, case.inputs
    guidance = model(case, steps=config["S"], guidance_scale=config["guidance_scale"])
    n = len(inputs["x_T"])
    context = guidance.clip_camera_projection(
        inputs["clip_emb"][:, 0].expand(n, -1), inputs["T"].expand(n, -1)
    )
    trace: list[dict[str, Tensor]] = []
    runs = {}
    for eta in (0.0, 1.0):
        trace.clear()
        plan = ddim_plan(guidance.schedule, config["S"], guidance.cfg.timestep_spacing, eta)

        def keep(_: DDIMStep, tensors: dict[str, Tensor | None]) -> None:
            trace.append({k: v for k, v in tensors.items() if v is not None})

        runs[f"sample_eta{eta:.0f}"] = guidance.sample(
            context,
            inputs["c_concat"].expand(n, -1, -1, -1),
            inputs["x_T"],
            plan=plan,
            step_noise=inputs["noise"],
            on_step=keep,
        )
    steps = {key: torch.stack([step[key] for step in trace]) for key in trace[0]}
    out = {**runs, "context": context, "x_prev": steps["latents"], "pred_x0": steps["x0"]}
    if "uncond" in steps:
        out["eps_uncond"] = steps["uncond"]
        out["eps_cond"] = (
            steps["uncond"] + (steps["guided"] - steps["uncond"]) / (config["guidance_scale"])
        )
    out["timesteps"] = torch.tensor([step.t for step in plan])
    numbers = {"alphas": "abar", "alphas_prev": "abar_prev", "sigmas_eta1": "sigma"}
    for name, field in numbers.items():
        values = [getattr(step, field) for step in plan]
        out[name] = torch.tensor(values, dtype=torch.float64)
    return out


def dataset_views_release(case: Case) -> dict[str, Tensor]:
    """Chosen views of the first object of either split, the last row of the validation split."""
    config = case.config
    data = ViewsReleaseData(
        ViewsReleaseData.Config(
            root=str(case.folder / config["root"]),
            total_view=config["total_view"],
            size=config["size"],
            compositing="released",
        )
    )
    pairs = case.inputs["pairs"].tolist()
    out: dict[str, Tensor] = {}
    for i, (target, cond) in enumerate(pairs):
        split = data.dataset("val" if i == len(pairs) - 1 else "train")
        item = split.views(0, [target], cond)
        out[f"image_target_{i}"] = item["images"][0].permute(1, 2, 0)
        out[f"image_cond_{i}"] = item["cond_image"].permute(1, 2, 0)
        centres = item["cond_c2w"][:3, 3].double(), item["c2w"][0, :3, 3].double()
        out[f"T_{i}"] = net.pose_vector(*centres).float()
    return out


CASES: dict[str, Adapter] = {
    "zero123_unet": zero123_unet,
    "pose_vector": pose_vector,
    "clip_preprocess": clip_preprocess,
    "sample_zero123": sample_zero123,
    "dataset_views_release": dataset_views_release,
}
