"""Parity of Zero-1-to-3, of the views_release data it was trained on, and of ViewFusion on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from studio.data.training.views_release import ViewsReleaseData, world_to_camera_inverse
from studio.guidance.autoencoder import encode
from studio.guidance.ddim import DDIMStep, ddim_plan, ddim_update
from studio.guidance.viewfusion_interpolated.guidance import ViewFusionInterpolatedGuidance
from studio.guidance.viewfusion_interpolated.orders import ViewPlan, make_plan
from studio.guidance.viewfusion_interpolated.weights import Fusion
from studio.guidance.zero123 import network as net
from studio.guidance.zero123.checkpoint import load_official_into
from studio.guidance.zero123.guidance import Zero123Guidance
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

TEXT_TOWER = (
    "context_length",
    "vocab_size",
    "transformer_width",
    "transformer_heads",
    "transformer_layers",
)


def unet_kwargs(ldm: Settings, groups: int) -> dict[str, Any]:
    """Diffusers' arguments for an LDM UNet: attention stands at the listed down-samplings."""
    ldm.about("image_size", "use_checkpoint")
    ldm.only(use_spatial_transformer=True, legacy=False)
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


def clip_kwargs(visual: Settings) -> dict[str, Any]:
    """Transformers' arguments for an OpenAI image tower; its heads are 64 wide."""
    visual.about(*TEXT_TOWER)
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


def vae_kwargs(vae: Settings, groups: int) -> dict[str, Any]:
    """Diffusers' arguments for an LDM auto-encoder."""
    vae.about("resolution")
    vae.only(double_z=True, attn_resolutions=[], dropout=0.0, embed_dim=vae["z_channels"])
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


def model(
    case: Case, kind: type[Zero123Guidance] = Zero123Guidance, **options: Any
) -> Zero123Guidance:
    """The guidance of a case's config, filled from its checkpoint; parts it lacks stay random."""
    config = case.config
    width = config["ldm_unet"]["context_dim"]
    config.about("cc_projection", "n_views", "n_samples")  # of the weights and the inputs
    config.only(use_ema=False)
    config["schedule"].only(beta_schedule="linear (sqrt-space)")
    clip = {"hidden_size": 64, "num_attention_heads": 1, "num_hidden_layers": 1}
    clip |= {"intermediate_size": 64, "patch_size": 14, "image_size": 28, "projection_dim": width}
    vae = {"block_out_channels": [8] * 4, "norm_num_groups": 8, "layers_per_block": 1}
    vae["scaling_factor"] = config["schedule"]["scale_factor"]
    groups = config["norm_num_groups"]
    guidance = kind(
        kind.released(
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
    case.config.about("diffusers_unet", "ldm_to_diffusers")  # the same, in other words
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
    case.config.about("full_size")
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
    kwargs = clip_kwargs(case.config["clip_visual"])
    case.config.only(heads=kwargs["num_attention_heads"])
    if "hf" in case.config:
        names = ("hidden_act", "layer_norm_eps", "num_attention_heads")
        case.config["hf"].only(**{name: kwargs[name] for name in names})
    encoder = net.build_image_encoder(kwargs)
    load_official_into({"image_encoder": encoder}, case.weights_path)
    pixels = case.inputs["image_u8"].permute(2, 0, 1)[None].float() / 255 * 2 - 1
    prepared = net.clip_pixels(pixels, encoder.config.image_size)
    embedding = net.clip_embedding(encoder, prepared)[:, None]
    return {
        "preprocessed": prepared,
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
    config.about("train_paths", "val_paths")  # in the folder's lists
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


# ---------------------------------------------------------------- ViewFusion


def ring_poses(count: int, elevation: float, distance: float, azimuth: float = 0.0) -> Tensor:
    """Poses of a ring that starts at an azimuth, angles in degrees."""
    turns = azimuth + torch.arange(count, dtype=torch.float64) * 360 / count
    return torch.stack([turns, turns * 0 + elevation, turns * 0 + distance], 1)


def order_of(run: Settings, inputs: dict[str, Tensor], name: str, window: float) -> ViewPlan:
    """The plan of one of the official loops."""
    fusion = Fusion(run["inference_temp"], run["auto_temp"], window)
    run.about("sampler_args", "files", "n_files")
    if run["kind"] == "path":
        offset = inputs[f"{name}.offset"].double().flatten()
        turn, polar = torch.rad2deg(offset[1]), torch.rad2deg(offset[0])
        start = torch.tensor([[0.0, polar / 2, 1.5]], dtype=torch.float64)
        end = torch.stack([turn, -polar / 2, 1.5 + offset[2]])[None]
        return make_plan(start, end, "path", fusion)
    if run["kind"] == "spin":
        given = torch.tensor([[0.0, 30.0, 1.5]], dtype=torch.float64)
    else:
        polar, azimuth, radius = inputs[f"{name}.cond_polar_azimuth_radius"].double().unbind(1)
        given = torch.stack([torch.rad2deg(azimuth), 90 - torch.rad2deg(polar), radius], 1)
    azimuth, elevation, distance = given[0].tolist()
    ring = ring_poses(run["degree_steps"], elevation, distance, azimuth)
    return make_plan(given, ring, "spin", fusion)


def plan_tables(plan: ViewPlan, several: bool) -> dict[str, Tensor]:
    """Weights, pose vectors and conditions of all views, padded to the longest."""
    width = max(len(view.conditions) for view in plan.views)
    weights = torch.zeros(len(plan.views), width)
    poses = torch.zeros(len(plan.views), width, 4)
    anchors = torch.full((len(plan.views), width), -1)
    for row, view in enumerate(plan.views):
        n = len(view.conditions)
        weights[row, :n] = view.weights.float()
        poses[row, :n] = net.pose_vector(plan.centres[view.conditions], plan.centres[view.view])
        names = [-10 - i if several else i for i in range(plan.inputs)]
        names += range(1, len(plan.views) + 1)
        anchors[row, :n] = torch.tensor([names[i] for i in view.conditions])
    return {"weights": weights, "T": poses, "anchor": anchors}


def fusion_weights(case: Case) -> dict[str, Tensor]:
    """Order, conditions, pose vectors and weights of the official loops."""
    out = {}
    for name, run in case.config["runs"].items():
        plan = order_of(run, case.inputs, name, case.config["window_deg"])
        tables = plan_tables(plan, run["kind"] == "multi")
        out |= {f"{name}.{key}": value for key, value in tables.items()}
    return out


@torch.no_grad()
def interpolated_denoising(case: Case) -> dict[str, Tensor]:
    """One view from several conditions, with either kind of noise and without."""
    config, inputs = case.config, case.inputs
    out: dict[str, Tensor] = {}
    for name, eta in {"shared": 1.0, "independent": 1.0, "eta0": 0.0}.items():
        guidance = model(
            case,
            ViewFusionInterpolatedGuidance,
            steps=config["S"],
            guidance_scale=config["guidance_scale"],
            noise="independent" if name == "independent" else "shared",
            eta=eta,
        )
        assert isinstance(guidance, ViewFusionInterpolatedGuidance)
        plan = guidance.plan()
        context = guidance.clip_camera_projection(inputs["clip_emb"][:, 0], inputs["T"])
        noise = inputs[f"noise_{name}"] if eta else inputs["noise_shared"]
        trace: list[tuple[DDIMStep, dict[str, Tensor]]] = []
        out[f"final_{name}"] = guidance.sample_fused(
            context,
            inputs["c_concat"],
            inputs["weights"],
            inputs["x_T"],
            plan=plan,
            step_noise=noise,
            on_step=lambda step, tensors, to=trace: to.append((step, tensors)),
        )
        if not eta:
            continue
        out[f"x_fused_{name}"] = torch.cat([tensors["latents"] for _, tensors in trace])
        out[f"eps_guided_{name}"] = torch.stack([tensors["guided"] for _, tensors in trace])
        before, single = inputs["x_T"], []
        for i, (step, tensors) in enumerate(trace):
            eps, x0 = guidance.schedule.split(tensors["guided"], before, step.abar)
            single.append(ddim_update(step, eps, x0, noise[i].expand_as(eps)))
            before = tensors["latents"]
        out[f"x_per_view_{name}"] = torch.stack(single)
    out["context"] = context
    out["timesteps"] = torch.tensor([step.t for step in plan])
    return out


@torch.no_grad()
def run_loop(case: Case, name: str, run: Settings) -> dict[str, Tensor]:
    """One picture in, the pictures of a ring out, as one of the official scripts makes them.

    In double precision, because 8-bit values are cut off, not rounded: at float32's error one
    value of some ten thousand would end on the other side of a step.
    """
    run.about("steps_run", "files")  # what came out
    guidance = model(
        case,
        ViewFusionInterpolatedGuidance,
        steps=run["ddim_steps"],
        guidance_scale=run["guidance_scale"],
        eta=run["eta"],
        noise="shared" if run["script"].endswith("_real") else "independent",
        input_temperature=run["inference_temp"],
        view_temperature=run["auto_temp"],
    )
    assert isinstance(guidance, ViewFusionInterpolatedGuidance)
    guidance.double()
    ring = ring_poses(run["degree_steps"], 30.0, 1.5)
    plan = make_plan(ring[:1], ring, "spin", guidance.fusion)
    steps, latents = len(guidance.plan()), []
    noise = case.inputs[f"{name}.noise"]
    pictures = guidance.make_views(
        plan,
        case.inputs["image"].double(),
        start=list(case.inputs[f"{name}.x_T"].split(1)),
        step_noise=[
            rows[:, : len(made.conditions)] for rows, made in zip(noise, plan.views, strict=True)
        ],
        on_step=lambda _, tensors: latents.append(tensors["latents"]),
    )
    pixels = (pictures[plan.targets] / 2 + 0.5).permute(0, 2, 3, 1)
    tensors = {
        f"{name}.weights": plan_tables(plan, several=False)["weights"],
        f"{name}.latents": torch.cat(latents[steps - 1 :: steps]),
        f"{name}.images": pictures[plan.inputs :],
        f"{name}.png": (pixels * 255).to(torch.uint8),  # official: cut off, not rounded
    }
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def training(case: Case) -> dict[str, Tensor]:
    """Loss and gradients of Zero-1-to-3's training."""
    case.config["train"].about("lr", "cc_projection_lr_factor", "optimizer")  # after the gradients
    guidance = model(case, condition_dropout=case.config["train"]["ucg"])
    given = {k.removeprefix("train."): v for k, v in case.inputs.items() if k.startswith("train.")}
    cond, target = (given[f"image_{x}"].permute(0, 3, 1, 2) for x in ("cond", "target"))
    with torch.no_grad():
        scale = guidance.vae.config.scaling_factor
        clean = encode(guidance.vae, target, given["posterior_noise"]) * scale
        concat, embedding = guidance.condition_latents(cond), guidance.embed(cond)
    losses = guidance.denoising_loss(
        clean, concat, embedding, given["T"], given["t"], given["noise"], given["ucg_rand"]
    )
    losses["loss"].backward()
    grads = guidance.clip_camera_projection.proj.weight.grad, guidance.unet.conv_in.weight.grad
    return {
        "train.loss": losses["loss"][None],
        "train.z": clean,
        "train.train_concat": losses["concat"],
        "train.train_context": losses["context"],
        "train.train_eps": losses["prediction"],
        "train.grad_cc_projection_weight": grads[0],
        "train.grad_conv_in_weight": grads[1],
    }


def autoregressive_pipeline(case: Case) -> dict[str, Tensor]:
    """The official scripts on a whole tiny model, and one training step."""
    out: dict[str, Tensor] = {}
    for name, run in case.config["runs"].items():
        out |= run_loop(case, name, run)
    guidance = model(case)
    with torch.no_grad():
        out["clip_embedding"] = guidance.embed(case.inputs["image"])[:, None]
        out["cond_latent_mode"] = guidance.condition_latents(case.inputs["image"])
    return out | training(case)


CASES: dict[str, Adapter] = {
    "zero123_unet": zero123_unet,
    "pose_vector": pose_vector,
    "clip_preprocess": clip_preprocess,
    "sample_zero123": sample_zero123,
    "dataset_views_release": dataset_views_release,
    "fusion_weights": fusion_weights,
    "interpolated_denoising": interpolated_denoising,
    "autoregressive_pipeline": autoregressive_pipeline,
}
