"""Parity of EscherNet's networks, sampler and training step."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from studio.guidance.autoencoder import build_vae, decode, encode
from studio.guidance.ddim import DDIMStep
from studio.guidance.eschernet import network as net
from studio.guidance.eschernet.cape import CameraCode, Codes
from studio.guidance.eschernet.cape import encode as encode_cameras
from studio.guidance.eschernet.checkpoint import load_part
from studio.guidance.eschernet.encoder import build_encoder
from studio.guidance.eschernet.guidance import EscherNetGuidance
from studio.io.weights import load_strict
from tests.parity.case import Adapter, Case


def codes(case: Case) -> Codes:
    """The cameras of a case, which are given as CaPE takes them; their kind shows in the shape."""
    case.config.about("cape", "B", "T_out", "T_in", "L_target", "L_ref", "L", "D")
    return Codes(*(CameraCode.of_poses(case.inputs[f"pose_{x}"]) for x in ("out", "in")))


def pixels(case: Case, name: str) -> Tensor:
    """A stack of 8-bit pictures, in [-1, 1]."""
    return case.inputs[name].float() / 127.5 - 1


def guidance(case: Case, **options: Any) -> EscherNetGuidance:
    """The guidance of a case's config, filled from its weights."""
    config, schedule = case.config, case.config["scheduler"]
    schedule.about("_class_name", "_diffusers_version", "skip_prk_steps", "variance_type")
    schedule.about("clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value")
    schedule.only(clip_sample=False, thresholding=False, trained_betas=None)
    schedule.only(set_alpha_to_one=False, steps_offset=1)
    parts = {
        "unet": net.build_unet(config["unet"].all()),
        "vae": build_vae(config["vae"].all()),
        "image_encoder": build_encoder(config["image_encoder"].all()),
    }
    for name, part in parts.items():
        own = {
            k.removeprefix(f"{name}."): v
            for k, v in case.weights.items()
            if k.startswith(f"{name}.")
        }
        load_part(name, part, own, case.weights_path)
    cfg = EscherNetGuidance.released(
        cape=config["cape"].lower(),
        resolution=config["image_size"],
        prediction_type=schedule["prediction_type"],
        beta_schedule=schedule["beta_schedule"],
        beta_start=schedule["beta_start"],
        beta_end=schedule["beta_end"],
        train_timesteps=schedule["num_train_timesteps"],
        timestep_spacing=schedule["timestep_spacing"],
        **options,
    )
    return EscherNetGuidance(cfg, parts)


def cape(case: Case) -> dict[str, Tensor]:
    """Encoded queries and keys, and their scores, also after a common change of all poses."""
    given, out = case.inputs, {}

    def scores(cameras: Codes) -> tuple[Tensor, Tensor, Tensor]:
        query = encode_cameras(given["q"], cameras.targets.query)
        key = encode_cameras(given["k"], cameras.references.key)
        return query, key, query @ key.transpose(1, 2)

    out["q_embed"], out["k_embed"], out["scores"] = scores(codes(case))
    moved = []
    for name in ("out", "in"):
        pose, delta = given[f"pose_{name}"], given["delta"]
        moved.append(CameraCode.of_poses(pose + delta if pose.dim() == 3 else pose @ delta))
    out["scores_delta"] = scores(Codes(*moved))[2]
    weights = (out["scores"] / math.sqrt(given["q"].shape[-1])).softmax(-1)
    out["attn_out"] = weights @ given["v"]
    return out


@torch.no_grad()
def attention(case: Case) -> dict[str, Tensor]:
    """One transformer block, with tokens and with zeros instead."""
    config, given = case.config, case.inputs
    block = BasicTransformerBlock(
        config["dim"],
        config["num_attention_heads"],
        config["attention_head_dim"],
        cross_attention_dim=config["cross_attention_dim"],
        activation_fn=config["activation"],
        attention_bias=config["attention_bias"],
        norm_eps=config["norm_eps"],
    )
    load_strict(block, case.weights, case.weights_path)
    for attn in (block.attn1, block.attn2):
        attn.set_processor(net.CameraAttention())
    out: dict[str, Tensor] = {}
    context = given["encoder_hidden_states"]
    for suffix, tokens in (("", context), ("_uncond", torch.zeros_like(context))):
        seen = _watch({f"{n}_out{suffix}": getattr(block, n) for n in ("attn1", "attn2")}, out)
        out[f"block_out{suffix}"] = block(
            given["hidden_states"],
            encoder_hidden_states=tokens,
            cross_attention_kwargs={"codes": codes(case)},
        )
        for hook in seen:
            hook.remove()
    return out


@torch.no_grad()
def unet(case: Case) -> dict[str, Tensor]:
    """One call of the UNet, its blocks' outputs, and the unconditional call."""
    given, config = case.inputs, case.config
    model = net.build_unet(config["unet"].all())
    config.about("height", "width")
    load_part("unet", model, case.weights, case.weights_path)
    x = given["sample"].unflatten(0, (-1, given["pose_out"].shape[1]))
    t = given["timestep"].expand(x.shape[:2].numel()).unflatten(0, x.shape[:2])[:, 0]
    context = given["encoder_hidden_states"]
    blocks: dict[str, nn.Module] = {"mid": model.mid_block}
    for side in ("down", "up"):
        blocks |= {f"{side}{i}": b for i, b in enumerate(getattr(model, f"{side}_blocks"))}
    out: dict[str, Tensor] = {}
    hooks = _watch(blocks, out)
    out["sample"] = net.denoise(model, x, t, context, codes(case)).flatten(0, 1)
    for hook in hooks:
        hook.remove()
    null = net.denoise(model, x, t, torch.zeros_like(context), codes(case))
    out["sample_uncond"] = null.flatten(0, 1)
    return out


def _watch(modules: dict[str, nn.Module], out: dict[str, Tensor]) -> list[Any]:
    """Keep what modules return; of a tuple its first entry."""

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, value: Any) -> None:
            out[name] = value[0] if isinstance(value, tuple) else value

        return hook

    return [module.register_forward_hook(keep(name)) for name, module in modules.items()]


@torch.no_grad()
def cn_encoder(case: Case) -> dict[str, Tensor]:
    """Tokens of pictures, and what leads to them."""
    side = case.config["resize"][0]
    case.config.about("official_full_size", "official_init")
    case.config.only(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    encoder = build_encoder({**case.config["tiny"].all(), "image_size": side})
    load_part("image_encoder", encoder, case.weights, case.weights_path)
    out: dict[str, Tensor] = {}
    watched = {"embeddings": encoder.embeddings, "stage": encoder.encoder.stages[0]}
    hooks = _watch(watched, out)
    last = _watch({"last_map": encoder.encoder.stages[-1]}, out)
    given = pixels(case, "image_u8")
    out["tokens"] = encoder(given)
    for hook in hooks + last:
        hook.remove()
    public = case.meta.get("split", "public") == "public"  # which picture parts, see case.json
    step = side // case.meta["tensors"]["output:pixel_values_0"]["shape"][-1]
    out["pixel_values_0"] = encoder.prepare(given)[0, :, ::step, ::step]
    out["embeddings_0"] = out.pop("stage" if public else "embeddings")[0]
    out.pop("embeddings" if public else "stage")
    return out


@torch.no_grad()
def sample(case: Case) -> dict[str, Tensor]:
    """The sampler from given noise to pictures."""
    config, given = case.config, case.inputs
    config.only(eta=0.0, height=config["image_size"], width=config["image_size"])
    model = guidance(
        case, steps=config["num_inference_steps"], guidance_scale=config["guidance_scale"]
    )
    refs, targets = given["pose_in"].shape[1], given["pose_out"].shape[1]
    tokens = model.tokens(pixels(case, "image_u8").unflatten(0, (-1, refs)))
    start = given["latents"].unflatten(0, (-1, targets))
    trace: list[dict[str, Tensor | None]] = []
    raw: list[Tensor] = []
    hook = model.unet.register_forward_hook(lambda _m, _i, value: raw.append(value[0]))

    def keep(_: DDIMStep, tensors: dict[str, Tensor | None]) -> None:
        trace.append(tensors)

    latents = model.sample(tokens, codes(case), start, model.plan(), on_step=keep).flatten(0, 1)
    hook.remove()
    if config["guidance_scale"] > 1:
        tokens = torch.cat([torch.zeros_like(tokens), tokens])
    steps = [step["latents"].flatten(0, 1) for step in trace if step["latents"] is not None]
    return {
        "timesteps": torch.tensor([step.t for step in model.plan()]),
        "context": tokens,
        "noise_pred_raw": torch.stack(raw),
        "latents_steps": torch.stack(steps),
        "latents": latents,
        "images": (decode(model.vae, latents) / 2 + 0.5).permute(0, 2, 3, 1),
    }


def training_loss(case: Case) -> dict[str, Tensor]:
    """Loss and gradients of one training step."""
    config, given = case.config, case.inputs
    config.about("max_grad_norm")  # the norm is that before clipping
    model = guidance(case, condition_dropout=2 * config["conditioning_dropout_prob"])
    refs, targets = given["pose_in"].shape[1], given["pose_out"].shape[1]
    with torch.no_grad():
        clean = encode(model.vae, pixels(case, "image_target_u8"), given["vae_eps"])
        clean = (clean * model.vae.config.scaling_factor).unflatten(0, (-1, targets))
    losses = model.denoising_loss(
        clean,
        model.tokens(pixels(case, "image_input_u8").unflatten(0, (-1, refs))),
        codes(case),
        given["timesteps"],
        given["noise"].unflatten(0, (-1, targets)),
        given["random_p"],
    )
    losses["loss"].backward()
    out = {
        "loss": losses["loss"][None],
        "model_pred": losses["prediction"].flatten(0, 1),
        "noisy_latents": losses["noisy"].flatten(0, 1),
        "gt_latents": clean.flatten(0, 1),
        "encoder_hidden_states": losses["tokens"],
    }
    groups = {"unet": model.unet, "image_encoder": model.image_encoder}
    norms = {}
    for name, part in groups.items():
        grads = {k: p.grad for k, p in part.named_parameters() if p.grad is not None}
        norms[name] = torch.stack([g.norm() for g in grads.values()]).norm()
        out[f"{name}_grad_norm"] = norms[name][None]
        for key, grad in grads.items():
            if f"output:grad.{name}.{key}" in case.meta["tensors"]:
                out[f"grad.{name}.{key}"] = grad
    out["total_grad_norm"] = torch.stack(list(norms.values())).norm()[None]
    return out


CASES: dict[str, Adapter] = {
    "cape": cape,
    "attention": attention,
    "unet": unet,
    "cn_encoder": cn_encoder,
    "sample": sample,
    "training_loss": training_loss,
}
