"""Parity of NeuS: its networks, its renderer, and SyncDreamer's form of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.cameras import Rays
from studio.geometry.neus_checkpoint import PARTS, load_parts
from studio.geometry.neus_mlp import NeuSMLP
from studio.geometry.neus_networks import positional_embedding
from studio.models.sdf import losses
from studio.ops import importance
from studio.renderers.background import BackgroundNeRF
from studio.renderers.neus import NeuSRenderer
from studio.renderers.neus_sections import Sections
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

MODES = {"idr": "idr", "no_view_dir": "no_view_dir", "no_normal": "no_normal"}
INPUTS = {"idr": 9, "no_view_dir": 6, "no_normal": 6, "reflected": 9}


def geometry_of(config: Settings, **options: Any) -> NeuSMLP:
    """The networks of a case, with random weights."""
    sdf, colour = config["sdf_network"], config["rendering_network"]
    mode = options.pop("colour_mode", None) or colour.choice("mode", MODES, "idr")
    weight_norm = sdf.get("weight_norm", True)
    sdf.only(d_in=3)
    colour.only(d_feature=sdf["d_out"] - 1, d_in=INPUTS[mode], d_out=3, weight_norm=weight_norm)
    given = NeuSMLP.Config(
        hidden=sdf["d_hidden"],
        layers=sdf["n_layers"],
        features=sdf["d_out"] - 1,
        skips=list(sdf.get("skip_in", [4])),
        octaves=sdf.get("multires", 0),
        radius=sdf.get("bias", 0.5),
        scale=sdf.get("scale", 1.0),
        geometric_start=sdf.get("geometric_init", True),
        inside_out=sdf.get("inside_outside", False),
        weight_norm=weight_norm,
        colour_hidden=colour["d_hidden"],
        colour_layers=colour["n_layers"],
        colour_octaves=colour.get("multires_view", 0),
        colour_sigmoid=colour.get("squeeze_out", True),
        colour_mode=mode,
        **options,
    )
    return NeuSMLP(given)


def background_of(config: Settings) -> BackgroundNeRF:
    """The background network of a case, with random weights."""
    nerf = config["nerf"]
    nerf.only(d_in=4, d_in_view=3, output_ch=4, use_viewdirs=True)
    return BackgroundNeRF(
        nerf["W"],
        nerf["D"],
        skips=nerf.get("skips", [4]),
        octaves=nerf.get("multires", 0),
        view_octaves=nerf.get("multires_view", 0),
    )


def renderer_of(config: Settings, **options: Any) -> NeuSRenderer:
    """NeuS's renderer with the networks of a case; none of its samples is placed at random."""
    config.only(perturb=(0.0, 0, False))
    given = NeuSRenderer.Config(
        samples=config["n_samples"],
        importance=config.get("n_importance", 0),
        rounds=config.get("up_sample_steps", 4),
        variance=config["variance_network"]["init_val"],
        outside=config.get("n_outside", 0),
        perturb=False,
        **options,
    )
    renderer = NeuSRenderer(given)
    if renderer.background is not None:
        renderer.background = background_of(config)
    else:
        config.about("nerf")
    return renderer


def _rays(case: Case) -> Rays:
    return Rays(case.inputs["rays_o"], case.inputs["rays_d"])


def _gradients(case: Case, loss: Tensor, parts: dict[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Gradients of a loss under the published names of the parameters, as the case writes them."""
    loss.backward()
    known = {f"{p}.{name}": v for p, m in parts.items() for name, v in m.named_parameters()}
    found = {}
    for name in case.weights:
        part, _, rest = name.removeprefix("renderer.").partition(".")
        parameter = known.get(f"{PARTS[part]}.{rest}")
        if parameter is not None and parameter.grad is not None:
            found[f"grad/{name}"] = parameter.grad
    return found


def embedder(case: Case) -> dict[str, Tensor]:
    """The positional embedding at several widths."""
    names = [f"m{c['multires']}_d{c['input_dims']}" for c in case.config["cases"]]
    octaves = [c["multires"] for c in case.config["cases"]]
    return {
        f"e_{name}": positional_embedding(case.inputs[f"x_{name}"], count)
        for name, count in zip(names, octaves, strict=True)
    }


def neus_networks(case: Case) -> dict[str, Tensor]:
    """All four networks, and the gradients of a loss over them."""
    given, config = case.inputs, case.config
    geometry = geometry_of(config)
    renderer = renderer_of(config.having(n_samples=2, n_outside=1))
    parts = {**geometry.neus_parts(), **renderer.neus_parts()}
    load_parts(case.weights_path, parts)
    background = renderer.background
    assert background is not None
    field = geometry(given["pts"])
    rgb = geometry.colour(given["pts"], field.gradient, given["dirs"], field.feature)
    density, far_rgb = background(given["pts4"], given["dirs"])
    eikonal, inv_s, probe = losses.eikonal(field.gradient), renderer.sharpness(), given["probe"]
    loss = eikonal + (rgb * probe).mean() + field.sdf.square().mean()
    loss = loss + density.mean() + (far_rgb * probe).mean() + 0.01 * inv_s
    return {
        "sdf_out": torch.cat([field.sdf[:, None], field.feature], dim=1),
        "sdf_gradient": field.gradient[:, None],
        "rgb": rgb,
        "nerf_density_raw": density[:, None],
        "nerf_rgb_raw": far_rgb,
        "inv_s": inv_s.reshape(1, 1),
        "eikonal": eikonal,
        "loss": loss,
        **_gradients(case, loss, parts),
    }


def _eikonal(seen: Sections, renderer: NeuSRenderer) -> Tensor:
    return losses.eikonal(seen.gradient, renderer.eikonal_weights(seen.points))


def neus_render_core(case: Case) -> dict[str, Tensor]:
    """Colours of rays with given depths."""
    given, config = case.inputs, case.config
    geometry = geometry_of(config)
    config.only(n_samples=given["z_vals"].shape[1])
    # the coarse count decides on the length of the last section
    coarse = round(2 / config["sample_dist"])
    renderer = renderer_of(config.having(n_samples=coarse))
    parts = {**geometry.neus_parts(), **renderer.neus_parts()}
    load_parts(case.weights_path, parts)
    depths = given["z_vals"]
    outside = _only_in(given["z_vals_feed"], depths) if "z_vals_feed" in given else depths[:, :0]
    seen = renderer.sections(
        _rays(case), geometry, depths, outside, anneal=config["cos_anneal_ratio"]
    )
    total = seen.weights.sum(1, keepdim=True)
    colour = seen.rgb
    if "background_rgb" in given:
        colour = renderer.over(seen, given["background_rgb"])
    eikonal = _eikonal(seen, renderer)
    loss = (colour * given["probe"]).sum() + 0.1 * eikonal + total.square().mean()
    out = {
        "color": colour,
        "sdf": seen.sdf[:, None],
        "dists": seen.length,
        "gradients": seen.gradient.view(*depths.shape, 3),
        "s_val": (1 / renderer.sharpness()).expand(depths.numel(), 1),
        "mid_z_vals": seen.middle,
        "weights": seen.weights,
        "cdf": seen.cdf,
        "gradient_error": eikonal,
        "inside_sphere": seen.inside.float(),
        "loss": loss,
    }
    if renderer.background is not None:
        alpha, far_rgb = renderer.background_sections(_rays(case), depths, outside)
        out |= {"background_alpha": alpha, "background_sampled_color": far_rgb}
    return out | _gradients(case, loss, parts)


def _only_in(joined: Tensor, depths: Tensor) -> Tensor:
    """The depths of ``joined`` that are not among ``depths``, ray by ray."""
    known = (joined[:, :, None] == depths[:, None]).any(2)
    return joined[~known].view(len(joined), -1)


@torch.no_grad()
def neus_render_full(case: Case) -> dict[str, Tensor]:
    """Everything from rays to colours."""
    given, config = case.inputs, case.config
    geometry, renderer = geometry_of(config), renderer_of(config)
    load_parts(case.weights_path, {**geometry.neus_parts(), **renderer.neus_parts()})
    rays = _rays(case)
    even, outside = renderer.depths((given["near"], given["far"]))
    depths = renderer.refine(rays, geometry, even)
    seen = renderer.sections(rays, geometry, depths, outside, anneal=config["cos_anneal_ratio"])
    background = config.get("background_rgb")
    colour = seen.rgb
    if background is not None:
        colour = renderer.over(seen, torch.tensor(background).reshape(1, 3))
    return {
        "color_fine": colour,
        "s_val": (1 / renderer.sharpness()).expand(len(rays), 1),
        "cdf_fine": seen.cdf,
        "weight_sum": seen.weights.sum(1, keepdim=True),
        "weight_max": seen.weights.amax(1, keepdim=True),
        "gradients": seen.gradient.view(*depths.shape, 3),
        "weights": seen.weights,
        "gradient_error": _eikonal(seen, renderer),
        "inside_sphere": seen.inside.float(),
    }


@torch.no_grad()
def neus_upsample(case: Case) -> dict[str, Tensor]:
    """The rounds of up-sampling, and single rounds from given distances."""
    given, config, rays = case.inputs, case.config, _rays(case)
    geometry, renderer = geometry_of(config), renderer_of(config)
    load_parts(case.weights_path, {**geometry.neus_parts(), **renderer.neus_parts()})
    depths = given["z_vals"]
    rounds: list[tuple[Tensor, ...]] = []
    renderer.refine(rays, geometry, depths, watch=lambda *tensors: rounds.append(tensors))
    points = rays.origins[:, None] + rays.directions[:, None] * depths[..., None]
    out = {"sdf_init": geometry.sdf(points.flatten(0, 1)).view_as(depths)}
    for i, tensors in enumerate(rounds):
        names = (f"new_z_{i}", f"z_{i}", f"sdf_{i}")
        out |= dict(zip(names, tensors, strict=False))
    each, inside = renderer.cfg.importance // renderer.cfg.rounds, renderer.gate(points)
    for name in case.meta["tensors"]:
        stem = "outputs/analytic_new_z_inv"
        if name.startswith(stem):
            inv_s = float(name.removeprefix(stem))
            weights = importance.section_weights(depths, given["analytic_sdf"], inside, inv_s)
            out[name.removeprefix("outputs/")] = importance.inverse_cdf(depths, weights, each)
    return out


def syncdreamer_render(case: Case) -> dict[str, Tensor]:
    """SyncDreamer's renderer with its losses, in training and in evaluation."""
    given, config, rays = case.inputs, case.config, _rays(case)
    geometry = geometry_of(config, colour_mode="reflected", scale_sdf=False)
    share = min(1.0, config["step"] / config["anneal_end"])
    config.only(cos_anneal_train=share, cos_anneal_eval=1.0)
    renderer = NeuSRenderer(
        NeuSRenderer.Config(
            samples=config["coarse_sn"],
            importance=config["fine_sn"],
            rounds=config.get("up_sample_steps", 4),
            radius=config.get("radius", 3**0.5 / 2),
            gate="cube",
            gate_size=config.get("side", 0.6),
            evaluate_outside=False,
            last_section="previous",
            eikonal_radius=0,
            anneal_steps=config["anneal_end"],
            variance=config["init_val"],
            perturb=False,
        )
    )
    parts = {**geometry.neus_parts(), **renderer.neus_parts()}
    load_parts(case.weights_path, parts)
    white = torch.ones(1, 3)
    made = renderer.train()(rays, geometry, white, step=config["step"])
    near, far = renderer.span(rays)
    depths = renderer.refine(rays, geometry, renderer.depths((near, far))[0])
    seen = renderer.sections(rays, geometry, depths, depths[:, :0])
    error = torch.zeros(depths.numel())
    error[seen.index] = (made.gradients.norm(dim=1) - 1).square().detach()
    kind = config.choice("rgb_loss", {"soft_l1": "charbonnier", "mse": "mse"})
    rendering = losses.mean_over(losses.COLOUR_ERRORS[kind](made.rgb - given["rgb"]))
    mask = losses.mean_over(losses.MASK_ERRORS["mse"](made.mask, given["mask"][:, 0]))
    eikonal = losses.eikonal(made.gradients, made.eikonal_weights)
    loss = config["lambda_rgb_loss"] * rendering + config["lambda_eikonal_loss"] * eikonal
    loss = loss + config["lambda_mask_loss"] * mask
    with torch.no_grad():
        tested = renderer.eval()(rays, geometry, white)
        field = geometry(given["vertices"])
        normal = torch.nn.functional.normalize(field.gradient, dim=1)
        colours = geometry.colour(given["vertices"], normal, -normal, field.feature)
    return {
        "train_rgb": made.rgb,
        "train_gradient_error": error.view_as(depths),
        "train_inner_mask": seen.inside,
        "train_normal": made.normal,
        "train_mask": made.mask[:, None],
        "eval_rgb": tested.rgb,
        "eval_mask": tested.mask[:, None],
        "eval_normal": tested.normal,
        "loss_eikonal": eikonal,
        "loss_rendering": rendering,
        "loss_mask": mask,
        "loss": loss,
        "z_vals": depths,
        "near": near,
        "far": far,
        "vertex_colors": colours,
        **_gradients(case, loss, parts),
    }


CASES: dict[str, Adapter] = {
    "embedder": embedder,
    "neus_networks": neus_networks,
    "neus_render_core": neus_render_core,
    "neus_render_full": neus_render_full,
    "neus_upsample": neus_upsample,
    "syncdreamer_render": syncdreamer_render,
}
