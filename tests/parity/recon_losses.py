"""Parity of losses (NeuS, instant-nsr-pl, Wonder3D, threestudio) and training schedules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.geometry.encodings import FrequencyEncoding
from studio.models.sdf import losses as L
from studio.ops.progressive import level_resolution, open_levels
from studio.ops.schedule import LearningRate, Schedule, next_ray_count
from studio.ops.volsdf import volsdf_density
from studio.renderers.neus import NeuSRenderer
from studio.renderers.sharpness import LearnedSharpness
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings, Unsupported

L1_KEPT = 0.8  # Wonder3D: share of the rays in the L1 loss, whatever rgb_p_ratio is


def neus(case: Case) -> dict[str, Tensor]:
    """Loss of official NeuS and its gradients."""
    given, config = case.inputs, case.config
    colours = given["color_fine"].requires_grad_()
    opacity = given["weight_sum"].requires_grad_()
    raw = given["mask_raw"][:, 0]
    mask = (raw > 0.5).float() if config["mask_weight"] > 0 else torch.ones_like(raw)
    off = colours - given["true_rgb"]
    colour = L.mean_over(L.COLOUR_ERRORS["l1-sum"](off), mask)
    entropy = L.mean_over(L.mask_cross_entropy(opacity[:, 0], mask))
    eikonal = given["gradient_error"]
    loss = colour + config["igr_weight"] * eikonal + config["mask_weight"] * entropy
    loss.backward()
    return {
        "loss": loss,
        "color": colour,
        "eikonal": eikonal,
        "mask_loss": entropy,
        "psnr": -10 * L.mean_over(L.COLOUR_ERRORS["mse"](off), mask).log10(),
        "d_color": _grad(colours),
        "d_weight_sum": _grad(opacity),
    }


def instant_nsr(case: Case) -> dict[str, Tensor]:
    """Every loss of instant-nsr-pl's NeuS, its weight, the sum, and the next number of rays."""
    given, config = case.inputs, case.config
    options = config["loss"]
    hit = given["rays_valid_full"].flatten()
    off, opacity = given["comp_rgb_full"] - given["rgb"], given["opacity"].flatten()
    terms = {
        "rgb_mse": L.mean_over(L.COLOUR_ERRORS["mse"](off), hit),
        "rgb_l1": L.mean_over(L.COLOUR_ERRORS["l1"](off), hit),
        "eikonal": L.eikonal(given["sdf_grad_samples"]),
        "mask": L.mean_over(L.mask_cross_entropy(opacity, given["fg_mask"].flatten())),
        "opaque": L.opaque(opacity),
        "sparsity": L.sparsity(given["sdf_samples"], options["sparsity_scale"]),
        "curvature": L.curvature(given["sdf_laplace_samples"]),
    }
    if "ray_indices" in given:
        samples = (given[name].flatten() for name in ("weights", "points", "intervals"))
        index = given["ray_indices"]
        terms["distortion"] = L.distortion(*samples, index, len(given["rgb"]))
    weights = _weights(options, terms, config["global_step"], config.get("current_epoch", 0))
    target = config["train_num_rays"] * config["num_samples_per_ray"]
    rays, used = config["train_num_rays"], int(given["num_samples_full"])
    return {
        "total": _total(terms, weights),
        "next_train_num_rays": torch.tensor(
            next_ray_count(rays, used, target, config.get("max_train_num_rays", 8192))
        ),
        **_named(terms),
        **{f"weight_{name}": torch.tensor(value) for name, value in weights.items()},
    }


def wonder3d(case: Case) -> dict[str, Tensor]:
    """Wonder3D's losses: ranked colours, masks and normals, smoothness at random points."""
    given, config = case.inputs, case.config
    options = config["loss"]
    seen = given["rays_valid_full"].flatten() & (given["rgb_mask"].flatten() > 0.5)
    mask, opacity = given["fg_mask"].flatten(), given["opacity"].flatten()
    off, view = (given["comp_rgb_full"] - given["rgb"])[seen], given["view_weights"].flatten()

    def ranked(error: Tensor, keep: float, weight: Tensor | None = None, **how: Any) -> Tensor:
        return L.ranked_mean(error, keep, weight, as_released=True, **how)

    aware = options["geo_aware"]
    error, facing = L.normal_error(
        given["comp_normal"], given["normal"], given["cosines"].flatten(), geo_aware=aware
    )
    facing = facing & (mask > 0.5)
    how = "sum" if aware else "mean"
    terms = {
        "rgb_mse": ranked(L.COLOUR_ERRORS["mse-sum"](off), options["rgb_p_ratio"]),
        "rgb_l1": ranked(L.COLOUR_ERRORS["l1-sum"](off), L1_KEPT),
        "normal": ranked(error[facing], options["normal_p_ratio"], view[facing], reduce=how),
        "eikonal": L.eikonal(given["sdf_grad_samples"]),
        "mask": ranked(L.mask_cross_entropy(opacity, mask), options["mask_p_ratio"], view),
        "opaque": L.opaque(opacity),
        "sparsity": L.sparsity(given["random_sdf"], options["sparsity_scale"]),
        "3d_normal_smooth": L.normal_smoothness(given["random_sdf_grad"], given["normal_perturb"]),
        "curvature": L.curvature(given["sdf_laplace_samples"]),
    }
    weights = _weights(options, terms, config["global_step"], config.get("current_epoch", 0))
    total = _total(terms, weights)
    wanted = {n.removeprefix("outputs/") for n in case.meta.get("tensors", {})}
    return {k: v for k, v in {"total": total, **_named(terms)}.items() if k in wanted or not wanted}


def threestudio(case: Case) -> dict[str, Tensor]:
    """Losses on rendered pictures, and VolSDF's density."""
    given = case.inputs
    case.config.about("B", "h", "w")
    opacity = given["opacity"]
    return {
        "loss_orient": L.orient(
            given["weights"].flatten(), given["normal"], given["t_dirs"], opacity
        ),
        "loss_sparsity": L.opacity_sparsity(opacity.flatten()),
        "loss_opaque": L.opaque(opacity.flatten()),
        "loss_z_variance": L.depth_variance(given["z_variance"], opacity),
        "loss_normal_smooth_2d": L.picture_smoothness(given["comp_normal"]),
        "volsdf": volsdf_density(given["sdf"], given["inv_std"]),
    }


def distortion(case: Case) -> dict[str, Tensor]:
    """Distortion loss of mip-NeRF 360 and its gradient."""
    weights = case.inputs["weights"].requires_grad_()
    case.config.about("R", "S")
    rays, samples = weights.shape
    loss = L.distortion(
        weights.flatten(),
        case.inputs["midpoints"].flatten(),
        case.inputs["intervals"].flatten(),
        torch.arange(rays).repeat_interleave(samples),
        rays,
    )
    loss.backward()
    return {"loss": loss, "loss_original": loss, "d_weights": _grad(weights)}


def schedules(case: Case) -> dict[str, Tensor]:
    """Learning rates, loss weights, open levels, sharpness limits and ray counts by step."""
    config, given = case.config, case.inputs
    warm, most = config["warm"], config["max_steps"]
    steps = given["steps"].tolist()
    exponential = {
        "lr_warm": LearningRate("warmup-exponential", warm, 0.01, 0.1),
        "lr_const": LearningRate("constant-exponential", warm, 1.0, 0.1),
    }
    base = torch.tensor([0.01, 0.001], dtype=torch.float64)
    cosine = LearningRate("warmup-cosine", warm, 0.0, 0.05)
    sync, limit = config["syncdreamer_lr"], config["modulated_inv_s"]
    stairs = LearningRate("stairs", sync["warm"], 0.02, 0.02)
    updates = range(0, sync["total"], sync["step"])
    config.only(steps=steps)
    weights = [Schedule.parse(spec) for spec in config["C_specs"]]
    hash_grid = config["hash"]
    levels = [
        min(
            open_levels(
                step,
                first=hash_grid["start_level"],
                every=hash_grid["update_steps"],
                after=hash_grid["start_step"],
            ),
            hash_grid["n_levels"],
        )
        for step in steps
    ]
    sizes = [
        level_resolution(level, hash_grid["base_resolution"], hash_grid["per_level_scale"])
        for level in levels
    ]
    renderer = NeuSRenderer(NeuSRenderer.Config(anneal_steps=most))
    rays, counts = 256, []
    for used in given["dyn_num_samples"].tolist():
        rays = next_ray_count(rays, used, 256 * 1024, 8192)
        counts.append(rays)
    return {
        **{k: _by_step(rate, range(most), most)[:, None] * base for k, rate in exponential.items()},
        "neus_lr": 5e-4 * _by_step(cosine, range(0, most, most // 50), most),
        "sync_lr_factor": _by_step(stairs, updates, sync["total"]),
        "C_values": torch.tensor([[w(s, s // 40) for w in weights] for s in steps]),
        "cos_anneal": torch.tensor([renderer.anneal(step) for step in steps]),
        "freq_mask": torch.stack([_octaves(step, most) for step in steps]),
        "levels": torch.tensor(levels),
        "fd_eps": torch.tensor([2.0 / size for size in sizes], dtype=torch.float64),
        "modulated_inv_s": _limited_sharpness(
            steps, [limit["start"], limit["reach"], limit["max"]]
        ),
        "dyn_rays": torch.tensor(counts),
    }


def _by_step(rate: LearningRate, steps: range, total: int) -> Tensor:
    return torch.tensor([rate(step, total) for step in steps], dtype=torch.float64)


def _octaves(step: int, open_steps: int) -> Tensor:
    encoding = FrequencyEncoding(6, open_steps)
    encoding.advance(step)
    return encoding.share


@torch.no_grad()
def _limited_sharpness(steps: list[int], limit: list[float]) -> Tensor:
    sharpness = LearnedSharpness(0.5, limit=limit)
    values = []
    for step in steps:
        sharpness.advance(step)
        values.append(sharpness().clone())
    return torch.stack(values)


def _weights(
    options: Settings, terms: dict[str, Tensor], step: int, epoch: int
) -> dict[str, float]:
    """Weights of the losses at a step.

    Raises:
        Unsupported: if a loss with a weight is not among the terms.
    """
    names = [name for name in options if name.startswith("lambda_")]
    weights = {name: Schedule.parse(options[name], name) for name in names}
    unknown = [
        n for n, w in weights.items() if not w.off and n.removeprefix("lambda_") not in terms
    ]
    if unknown:
        raise Unsupported(f"the case does not hold what {', '.join(unknown)} needs")
    return {name: weight(step, epoch) for name, weight in weights.items()}


def _total(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    zero = torch.zeros(())
    return sum((terms[k] * weights.get(f"lambda_{k}", 0.0) for k in terms), start=zero)


def _named(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {f"loss_{name}": value for name, value in terms.items()}
    named["loss_rgb"] = named.pop("loss_rgb_l1")  # the authors' name
    return named


def _grad(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


CASES: dict[str, Adapter] = {
    "losses_neus": neus,
    "losses_instant_nsr": instant_nsr,
    "losses_wonder3d": wonder3d,
    "losses_threestudio": threestudio,
    "losses_distortion": distortion,
    "schedules": schedules,
}
