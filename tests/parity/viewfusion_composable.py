"""Parity of composable ViewFusion: network, composition, loss, samplers, schedule, checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.guidance.noise_schedules import betas_of
from studio.guidance.viewfusion_composable.checkpoint import load_official_tensors
from studio.guidance.viewfusion_composable.guidance import ViewFusionComposableGuidance
from studio.guidance.viewfusion_composable.noise_levels import NoiseLevels
from studio.guidance.viewfusion_composable.options import ViewFusionComposableConfig
from studio.guidance.viewfusion_composable.trace import DenoisingTrace
from studio.io.weights import read_checkpoint
from studio.ops.schedule import LearningRate
from tests.parity.case import Adapter, Case

UNET = {"inner_channel", "channel_mults", "attn_res", "res_blocks", "norm_groups", "dropout"}
SCHEDULE = {
    "schedule": "beta_schedule",
    "num_timesteps": "train_timesteps",
    "linear_start": "beta_start",
    "linear_end": "beta_end",
    "cosine_s": "cosine_s",
}


def options(case: Case) -> ViewFusionComposableConfig:
    """The guidance's options for a case's config."""
    config, unet = case.config, case.config["unet"]
    changes: dict[str, Any] = {key: unet[key] for key in UNET if key in unet}
    given = config["beta_schedule"]  # what it lacks has the defaults of both programs
    changes |= {ours: given[k] for k, ours in SCHEDULE.items() if k in given}
    weighted = unet["out_channel"] == 6
    return ViewFusionComposableGuidance.released(
        **changes,
        resolution=unet["image_size"],
        relative=unet["in_channel"] == 9,
        predict_weights=weighted,
        weighting_train=config.get("weighting_train", weighted),
        weighting_inference=config.get("weighting_inference", weighted),
    )


def model(case: Case) -> ViewFusionComposableGuidance:
    """The guidance of a case, filled from its state dict."""
    guidance = ViewFusionComposableGuidance(options(case))
    load_official_tensors(guidance, guidance.levels, case.weights, case.weights_path)
    return guidance.eval()


@torch.no_grad()
def unet(case: Case) -> dict[str, Tensor]:
    """One evaluation for several samples, each at its own step, and the posterior after it."""
    guidance, given = model(case), case.inputs
    out: dict[str, Tensor] = {}

    def keep(name: str, taken: int | None = None) -> Any:
        def hook(_: Any, inputs: Any, output: Tensor) -> None:
            out[name] = output if taken is None else inputs[taken]

        return hook

    net = guidance.denoise_fn
    net.noise_level_mlp.register_forward_hook(keep("pos_emb", 0))
    net.noise_level_mlp.register_forward_hook(keep("temb"))
    net.downs[0].register_forward_hook(keep("down0"))
    net.mid[-1].register_forward_hook(keep("mid"))
    net.register_forward_hook(keep("unet_input", 0))
    net.register_forward_hook(keep("unet_out"))
    level = guidance.gammas[given["t"]]
    composed = guidance.predict(
        given["y_cond"],
        given["view_count"],
        given["y_t"],
        given["angle"][:, 0],
        level,
        weighting=guidance.cfg.weighting_inference,
    )
    out |= {"noise_composed": composed.estimate, "noise_level": level}
    if composed.weights is not None and composed.logits is not None:
        out |= {"weights": composed.weights, "logits_padded": composed.logits}
    chain = guidance.levels.plan("ancestral")[::-1]
    steps = [chain[t] for t in given["t"].tolist()]
    clean = torch.stack(
        [
            guidance.sampler.clean(n, y, s.level)
            for n, y, s in zip(composed.estimate, given["y_t"], steps, strict=True)
        ]
    )
    clipped = clean.clamp(guidance.cfg.clip_low, 1.0)
    out |= {"y_0_hat_unclipped": clean, "y_0_hat": clipped}
    from_clean = torch.tensor([s.from_clean for s in steps])[:, None, None, None]
    from_noisy = torch.tensor([s.from_noisy for s in steps])[:, None, None, None]
    out["model_mean"] = from_clean * clipped + from_noisy * given["y_t"]
    tables = guidance.get_buffer("posterior_log_variance_clipped")
    out["posterior_log_variance"] = tables[given["t"]]
    return out


def training_loss(case: Case) -> dict[str, Tensor]:
    """The loss of given draws, with gradients."""
    guidance, given = model(case), case.inputs
    losses = guidance.denoising_loss(
        given["y_0"],
        given["y_cond"],
        given["view_count"],
        given["angle"][:, 0],
        given["t"],
        given["u"][:, 0],
        given["noise"],
    )
    losses["loss"].backward()
    out = {
        "loss": losses["loss"],
        "y_noisy": losses["noisy"],
        "sample_gammas": losses["level"],
        "noise_hat": losses["prediction"],
    }
    gradients = {n: p.grad for n, p in guidance.named_parameters() if p.grad is not None}
    out["grad_norm_total"] = torch.stack([g.norm() for g in gradients.values()]).norm()
    return out | {f"grad.{name}": gradient for name, gradient in gradients.items()}


def sample(case: Case) -> dict[str, Tensor]:
    """A run over the whole chain, with frames and weights on the way."""
    guidance, given = model(case), case.inputs
    plan = guidance.levels.plan("ancestral")
    trace = DenoisingTrace(given["y_T"], len(plan), case.config["sample_num"])
    made = guidance.sampler.sample(
        given["y_cond"],
        given["view_count"],
        given["angle"][:, 0],
        given["y_T"],
        plan,
        step_noise=given["step_noise"],
        on_step=trace,
    )
    out = {"samples": made, "frames": trace.frames}
    if trace.weights is not None and trace.logits is not None:
        out |= {"weight_frames": trace.weights, "logit_frames": trace.logits}
    return out


def autoregressive(case: Case) -> dict[str, Tensor]:
    """A turn-table on which every frame is a view of the next."""
    guidance, given = model(case), case.inputs
    case.config.about("sample_num")
    case.config.only(frames=given["angles"].numel())
    plan = guidance.levels.plan("ancestral")
    made = guidance.sampler.in_turn(
        given["y_cond"],
        given["angles"].flatten(),
        given["y_T"].flatten(0, 1),
        plan,
        step_noise=given["step_noise"],
    )
    return {"samples": made}


def schedule(case: Case) -> dict[str, Tensor]:
    """Tables of several noise schedules, and the learning rate of the recipe."""
    out: dict[str, Tensor] = {}
    for name, options in case.config["schedules"].items():
        given = {k: options[k] for k in ("linear_start", "linear_end") if k in options}
        given = {k.replace("linear_", "beta_"): v for k, v in given.items()}
        if "cosine_s" in options:
            given["cosine_s"] = options["cosine_s"]
        levels = NoiseLevels(
            betas_of(
                ViewFusionComposableConfig(
                    beta_schedule=options["schedule"],
                    train_timesteps=options["num_timesteps"],
                    **given,
                )
            )
        )
        out[f"{name}.betas_f64"] = torch.from_numpy(levels.betas)
        out |= {f"{name}.{key}": table for key, table in levels.buffers().items()}
    if "lr" in case.config:
        lr = case.config["lr"]
        rate = LearningRate("warmup-exponential", lr["peak_it"], 0.0, lr["decay_rate"])
        total = lr["peak_it"] + lr["decay_it"]
        values = [lr["peak_lr"] * rate(i, total) for i in case.inputs["lr.iterations"].tolist()]
        out["lr.values"] = torch.tensor(values, dtype=torch.float64)
    return out


def checkpoint(case: Case) -> dict[str, Tensor]:
    """The authors' file, through the code that a user's checkpoint goes through."""
    path = next(iter(sorted(case.folder.glob("*.pt"))))
    guidance = ViewFusionComposableGuidance(options(case))
    guidance.load_official(path)
    assert read_checkpoint(path)["model"].keys() == guidance.state_dict().keys()
    return guidance.state_dict()


CASES: dict[str, Adapter] = {
    "unet": unet,
    "training_loss": training_loss,
    "sample": sample,
    "autoregressive": autoregressive,
    "schedule": schedule,
    "checkpoint": checkpoint,
}
