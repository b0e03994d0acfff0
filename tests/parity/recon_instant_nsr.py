"""Parity of the hash-grid family: instant-nsr-pl, its kernels, nerfstudio, Neuralangelo."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.geometry.density import DensityField, contract_sphere
from studio.geometry.encodings import FrequencyEncoding
from studio.geometry.instant_nsr import InstantNSR
from studio.geometry.instant_nsr_checkpoint import load_instant_nsr
from studio.geometry.mlp import VanillaMLP
from studio.ops.box import ray_box
from studio.ops.composite import composite
from studio.ops.hash_grid import HashGridLayout, encode_reference
from studio.ops.nerfstudio_hash import encode_nerfstudio, scalings
from studio.ops.packed import density_alpha, expected_depth, pack, transmittance, visible
from studio.ops.progressive import (
    curvature_factor,
    curvature_loss,
    open_levels,
    second_differences,
    smooth_resolution,
)
from studio.ops.ray_march import RaySamples
from studio.ops.resample import resample_intervals
from studio.ops.spherical_harmonics import spherical_harmonics
from studio.renderers.neus_occupancy import NeuSOccupancyRenderer
from studio.renderers.occupancy_ema import RunningOccupancy
from tests.parity.case import Adapter, Case
from tests.parity.settings import Settings

INTERPOLATIONS = {"Linear": "linear", "Smoothstep": "smoothstep"}
GRADIENTS = {"analytic": "analytic", "finite_difference": "finite-difference"}
ROOT3 = 1.732  # as instant-nsr-pl writes it


def tcnn_hashgrid(case: Case) -> dict[str, Tensor]:
    """Encoding, its derivative, level sizes and harmonics."""
    config, given = case.config, case.inputs
    layout = HashGridLayout(
        config["n_levels"],
        config["base_resolution"],
        config["per_level_scale"],
        config["log2_hashmap_size"],
        config["n_features_per_level"],
        config.choice("interpolation", INTERPOLATIONS, "linear"),
    )
    config.about("full_size_layouts")  # of released models, held in tests/unit/test_hash_grid.py
    table = given["params"].view(-1, layout.features)
    x = given["x"].requires_grad_()
    encoded = encode_reference(x, table, layout)
    rows = [
        torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in encoded.unbind(1)
    ]
    directions = given["dirs01"] * 2 - 1
    wanted = {n.removeprefix("outputs/") for n in case.meta.get("tensors", {})}
    degrees = [int(n[2:]) for n in wanted if n.startswith("sh") and n[2:].isdigit()]
    return {
        "encoded": encoded,
        "d_encoded_dx": torch.stack(rows, 1),
        "offsets": torch.tensor(layout.offsets),
        "scales": torch.tensor(layout.scales),
        "resolutions": torch.tensor(layout.resolutions),
        **{f"sh{d}": spherical_harmonics(directions, d) for d in degrees},
    }


def nerfstudio_hash(case: Case) -> dict[str, Tensor]:
    """nerfstudio's torch grid and its gradients."""
    config, given = case.config, case.inputs
    scale = scalings(config["num_levels"], config["min_res"], config["max_res"])
    rows, features = case.weights["hash_table"].shape
    config.only(features_per_level=features)
    config.only(log2_hashmap_size=(rows // len(scale)).bit_length() - 1)
    x, table = given["x"].requires_grad_(), case.weights["hash_table"].requires_grad_()
    encoded = encode_nerfstudio(x, table, scale)
    d_x, d_table = torch.autograd.grad((encoded * given["probe"]).sum(), (x, table))
    return {
        "encoded": encoded,
        "d_x": d_x,
        "d_table_sum": d_table.sum(0),
        "d_table_abs": d_table.abs().sum(0),
        "scalings": scale,
    }


def neuralangelo_schedule(case: Case) -> dict[str, Tensor]:
    """Differences, levels and curvature by step."""
    config, given = case.config, case.inputs
    base, limit, every = config["base_res"], config["max_res"], config["steps_per_level"]
    growth = (limit / base) ** (1 / (config["num_levels"] - 1))
    grid: dict[str, Any] = {"base": base, "growth": growth, "every": every, "limit": limit}
    first = config["level_init"]
    rows = []
    for step in given["steps"].tolist():
        delta = 2 / smooth_resolution(step, **grid)  # half a cell of a world of side 4
        levels = open_levels(step, first=first, every=every, after=(first - 1) * every)
        factor = curvature_factor(step, **grid, warmup=config["curvature_loss_warmup_steps"])
        rows.append([delta, levels, factor])
    second = second_differences(
        given["center_sdf"][..., 0], given["neighbour_sdf"], config["delta"]
    )
    loss = curvature_loss(second) * config["curvature_loss_multi"] * config["factor"]
    return {"schedule": torch.tensor(rows, dtype=torch.float64), "curvature_loss": loss}


def _geometry(config: Settings, **options: Any) -> InstantNSR:
    """The geometry that a model's configuration describes."""
    field, texture = config["geometry"], config["texture"]
    field.about("isosurface")
    field.only(name="volume-sdf", radius=config["radius"])
    return InstantNSR(
        InstantNSR.Config(
            features=field["feature_dim"],
            radius=config["radius"],
            gradient=field.choice("grad_type", GRADIENTS),
            border="released",
            **_step(field.get("finite_difference_eps", 1e-3)),
            **_encoding(field["xyz_encoding_config"]),
            **_field_network(field["mlp_network_config"]),
            **_texture(texture, field["feature_dim"]),
            **options,
        )
    )


def _step(epsilon: Any) -> dict[str, Any]:
    """Step of finite differences: a number, or a cell of the finest open level."""
    if epsilon == "progressive":
        return {"difference": "level"}
    return {"difference": "fixed", "epsilon": epsilon}


def _encoding(encoding: Settings) -> dict[str, Any]:
    names = {
        "levels": "n_levels",
        "base_resolution": "base_resolution",
        "growth": "per_level_scale",
        "log2_rows": "log2_hashmap_size",
        "level_features": "n_features_per_level",
        "octaves": "n_frequencies",
        "start_level": "start_level",
        "level_every": "update_steps",
        "level_after": "start_step",
    }
    kinds = {
        "VanillaFrequency": "frequency",
        "HashGrid": "hash",
        "ProgressiveBandHashGrid": "hash",
    }
    encoding.choice("include_xyz", {True: True})
    encoding.only(n_masking_step=0, xyz_scale=2.0, xyz_offset=-1.0)
    return {
        "encoding": encoding.choice("otype", kinds),
        "interpolation": encoding.choice("interpolation", INTERPOLATIONS, "linear"),
        **{ours: encoding[theirs] for ours, theirs in names.items() if theirs in encoding},
    }


def _field_network(network: Settings) -> dict[str, Any]:
    network.only(otype="VanillaMLP", output_activation="none", inside_outside=False)
    network.about("activation")  # the program decides by sphere_init
    radius = network.get("sphere_init_radius", 0.5)
    return {
        "hidden": network["n_neurons"],
        "layers": network["n_hidden_layers"],
        "sphere_radius": radius if network.get("sphere_init", False) else 0.0,
        "weight_norm": network.get("weight_norm", False),
    }


def _texture(texture: Settings, features: int) -> dict[str, Any]:
    texture.only(
        name=("volume-radiance", "volume-radiance-no-view"),
        input_feature_dim=features + 3,
        color_activation="sigmoid",
    )
    network = texture["mlp_network_config"]
    network.only(activation="ReLU", output_activation="none", sphere_init=False, weight_norm=False)
    kinds = {
        "VanillaFrequency": "frequency",
        "SphericalHarmonics": "harmonics",
        "Spherical": "harmonics",
        "none": "none",
    }
    directions = texture.get("dir_encoding_config", Settings({"otype": "none"}))
    directions.only(include_xyz=False, n_masking_step=0)
    return {
        "directions": directions.choice("otype", kinds),
        "direction_degree": directions.get("degree", directions.get("n_frequencies", 4)),
        "texture": network.choice("otype", {"VanillaMLP": "vanilla", "FullyFusedMLP": "fused"}),
        "texture_hidden": network["n_neurons"],
        "texture_layers": network["n_hidden_layers"],
    }


def _renderer(config: Settings) -> NeuSOccupancyRenderer:
    """The renderer of a model; what concerns the choice of rays and samples is given by cases."""
    section = ROOT3 * 2 / config["num_samples_per_ray"]
    config.only(name="neus", learned_background=False)
    config.about("train_num_rays", "max_train_num_rays", "dynamic_ray_sampling", "randomized")
    config.about("batch_image_sampling", "ray_chunk", "background_color", "cos_anneal_end")
    config.about("grid_prune", "grid_prune_occ_thre")
    config["variance"].only(modulate=False)
    return NeuSOccupancyRenderer(
        NeuSOccupancyRenderer.Config(
            grid_resolution=4,
            sharpness="learned",
            variance=config["variance"]["init_val"],
            slope="unit",
            step_min=section,
            step_max=section,
            cosine_anneal=1.0,
            occupancy="opacity",
        )
    ).eval()


def _grads(loss: Tensor, case: Case, modules: dict[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Gradients under the authors' names of those parameters that the case has weights for."""
    named = {f"{prefix}{n}": p for prefix, m in modules.items() for n, p in m.named_parameters()}
    named = {name: p for name, p in named.items() if name in case.weights}
    values = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    pairs = zip(named.items(), values, strict=True)
    return {name: torch.zeros_like(p) if v is None else v for (name, p), v in pairs}


def instant_nsr_alpha(case: Case) -> dict[str, Tensor]:
    """Opacity of sections at several sharpnesses and slopes; the occupancy grid's values."""
    given, config = case.inputs, case.config["occ_model"]
    case.config.about("occ_thre")  # of the grid, whose values alone are computed
    geometry, renderer = _geometry(config), _renderer(config)
    sdf, normal = given["sdf"].requires_grad_(), given["normal"].requires_grad_()
    assert renderer.sharpness is not None
    variance = renderer.sharpness.variance
    out: dict[str, Tensor] = {}
    for value in case.config["variances"]:
        for ratio in case.config["cos_anneal"]:
            variance.data.fill_(value)
            renderer.progress.fill_(ratio)
            cosine = (normal * given["dirs"]).sum(-1)
            alpha = renderer.opacity(sdf, cosine, given["dists"].flatten())
            d = torch.autograd.grad(alpha.sum(), (sdf, normal, variance))
            tag = f"v{value}_c{ratio}"
            out |= {f"alpha_{tag}": alpha, f"dsdf_{tag}": d[0], f"dnormal_{tag}": d[1]}
            out[f"dvariance_{tag}"] = d[2]
    load_instant_nsr(case.weights, geometry, renderer)
    distance = geometry.sdf(given["occ_points"] / config["radius"])
    out["occ_sdf"] = distance * config["radius"]
    out["occ_alpha"] = renderer.head_on(distance)
    return out


def instant_nsr_geometry(case: Case) -> dict[str, Tensor]:
    """The field with both kinds of gradients, its colours, contractions and the background."""
    given, config = case.inputs, case.config
    radius, out = config["radius"], dict[str, Tensor]()
    local = given["points"] / radius
    foreground = {n: t for n, t in case.weights.items() if "_bg." not in n}
    field = config["geometry"].having(finite_difference_eps=config["finite_difference_eps"])
    _renderer(config)  # none of its options matters here
    for kind in ("analytic", "finite_difference"):
        geometry = _geometry(config.having(geometry=field.having(grad_type=kind)))
        load_instant_nsr(foreground, geometry)
        made = geometry.in_world(given["points"])
        eikonal = (made.gradient.norm(dim=-1) - 1).square().mean()
        out |= {
            f"sdf_{kind}": made.sdf,
            f"grad_{kind}": made.gradient,
            f"feature_{kind}": made.feature,
            f"eikonal_{kind}": eikonal,
        }
        grads = _grads(eikonal, case, {"geometry.network.": geometry.network})
        out |= {f"gradw_{kind}/{name}": value for name, value in grads.items()}
        if made.laplacian is not None:
            out["laplace"] = made.laplacian
    rgb = geometry.colour(local, given["normals"], given["dirs"], made.feature)
    contracted = contract_sphere(given["far_points"] / radius)
    out |= {"rgb": rgb, "contract_aabb": local * 0.5 + 0.5, "contract_sphere": contracted}
    return out | _background(case, contracted)


def _background(case: Case, contracted: Tensor) -> dict[str, Tensor]:
    prefix = "geometry_bg.encoding_with_network.network."
    first, last = (case.weights[f"{prefix}layers.{i}.weight"] for i in (0, 2))
    network = VanillaMLP(first.shape[1], len(last), hidden=len(first))
    network.load_state_dict(
        {n.removeprefix(prefix): t for n, t in case.weights.items() if n.startswith(prefix)}
    )
    density, feature = DensityField(FrequencyEncoding(first.shape[1] // 6), network)(contracted)
    grads = _grads(density.sum(), case, {prefix: network})
    named = {f"gradw_bg/{name}": value for name, value in grads.items()}
    return {"bg_density": density, "bg_feature": feature, **named}


def instant_nsr_forward(case: Case) -> dict[str, Tensor]:
    """A training step's rendering of given samples, its loss and gradients."""
    given, config = case.inputs, case.config
    radius = config["radius"]
    geometry, renderer = _geometry(config), _renderer(config)
    load_instant_nsr(case.weights, geometry, renderer)
    geometry.advance(0.0, config["global_step"])
    end = config["cos_anneal_end"]
    renderer.progress.fill_(1.0 if end == 0 else min(1.0, config["global_step"] / end))
    origins, directions = given["rays"].split(3, dim=-1)
    index, rays = given["ray_indices"], len(given["rays"])
    starts, ends = given["t_starts"].flatten(), given["t_ends"].flatten()
    t, section = (starts + ends) / 2, ends - starts
    samples = RaySamples(
        points=((origins[index] + directions[index] * t[:, None]) / radius).T,
        directions=directions[index].T,
        t=t / radius,
        ray_index=index,
        offsets=pack(index, rays),
        step=section / radius,
    )
    behind = given["background_color"].expand(rays, 3)
    bare = renderer.shade(samples, geometry, None)
    full = renderer.shade(samples, geometry, behind)
    eikonal = (full.gradients.norm(dim=-1) - 1).square().mean()
    loss = (full.rgb * given["probe"]).sum() + 0.1 * eikonal + full.mask.square().mean()
    assert renderer.sharpness is not None
    modules = {
        "geometry.network.": geometry.network,
        "texture.network.": geometry.texture,
        "variance.": renderer.sharpness,
    }
    valid = full.mask[:, None] > 0
    count = torch.tensor([full.samples], dtype=torch.int32)
    second = {}
    if full.laplacian is not None:
        second["sdf_laplace_samples"] = full.laplacian / radius
    return {
        **second,
        "comp_rgb": bare.rgb,
        "comp_normal": F.normalize(full.normal, dim=-1),
        "opacity": full.mask[:, None],
        "depth": full.depth[:, None] * radius,
        "rays_valid": valid,
        "num_samples": count,
        "sdf_samples": full.sdf * radius,
        "sdf_grad_samples": full.gradients,
        "weights": full.weights,
        "points": t,
        "intervals": section,
        "comp_rgb_full": full.rgb,
        "comp_rgb_bg": behind,
        "num_samples_full": count,
        "rays_valid_full": valid,
        "inv_s": renderer.sharpness() / radius,
        "loss": loss,
        **{f"grad/{name}": value for name, value in _grads(loss, case, modules).items()},
    }


def nerfacc_render(case: Case) -> dict[str, Tensor]:
    """Weights, transmittance, visibility and sums of packed samples."""
    given, config = case.inputs, case.config
    offsets = pack(given["ray_indices"], config["n_rays"])
    middle = (given["t_starts"] + given["t_ends"]) / 2
    section = given["t_ends"] - given["t_starts"]
    values = torch.cat([given["rgbs"].T, middle[None]])
    out = {"packed_info": torch.stack([offsets[:-1], offsets.diff()], 1)}
    for kind, name in (("alpha", "alphas"), ("density", "sigmas")):
        source = given[name].requires_grad_()
        alpha = source if kind == "alpha" else density_alpha(source, section)
        sums, opacity, weights = composite(alpha, values, offsets)
        colour, depth = sums[:3].T, sums[3]
        (slope,) = torch.autograd.grad((colour * given["probe"]).sum(), source, retain_graph=True)
        out |= {
            f"weights_{kind}": weights,
            f"trans_{kind}": transmittance(alpha, offsets),
            f"visible_{kind}": visible(
                alpha, offsets, threshold=config["alpha_thre"], stop=config["early_stop_eps"]
            ),
            f"opacity_{kind}": opacity[:, None],
            f"color_{kind}": colour,
            f"depth_{kind}": depth[:, None],
            f"color_bg_{kind}": colour + (1 - opacity)[:, None] * given["background"],
            f"expected_depth_{kind}": expected_depth(depth, opacity)[:, None],
            "dalpha" if kind == "alpha" else "dsigma": slope,
        }
        if kind == "density":
            out["alphas_density"] = alpha
    return out


def _recorded(draws: Tensor | None, _: int) -> Tensor:
    assert draws is not None, "the case holds no draws of occupied cells"
    return draws


def occupancy_grid(case: Case) -> dict[str, Tensor]:
    """Updates with recorded draws, queries, unseen cells, boxes, resampled intervals."""
    given, config = case.inputs, case.config
    config.only(occ_fn="0.05*sigmoid(-(|x|-0.6*radius)*25/radius)*(1+0.5*sin(7*x0))")
    radius = config["radius"]

    def occupancy(x: Tensor) -> Tensor:  # case.json: occ_fn
        inside = torch.sigmoid(-(x.norm(dim=-1) - 0.6 * radius) * 25 / radius)
        return 0.05 * inside * (1 + 0.5 * torch.sin(7 * x[:, 0]))

    def grid() -> RunningOccupancy:
        return RunningOccupancy(
            config["resolution"],
            threshold=config["occ_thre"],
            decay=config["ema_decay"],
            warmup=config["warmup_steps"],
        )

    out: dict[str, Tensor] = {}
    runs = [n.removesuffix("_occs_before") for n in given if n.endswith("_occs_before")]
    final = grid()
    for run in sorted(runs, key=lambda run: (run.startswith("late"), run)):
        final = grid()
        final.values.copy_(given[f"{run}_occs_before"])
        final.binary.copy_(given[f"{run}_binaries_before"][0])
        uniform = given.get(f"{run}_randint0", torch.zeros(0, dtype=torch.long))
        step = config["warmup_steps"] if run.startswith("late") else 0
        pick = partial(_recorded, given.get(f"{run}_randint1"))
        cells = final.cells(step, uniform, pick)
        final.take(cells, occupancy(final.points(cells, given[f"{run}_jitter"]) * radius))
        out |= {f"{run}_occs": final.values, f"{run}_binaries": final.binary[None]}
    out["query_value"], out["query_in_grid"] = final.query(given["query_points"] / radius)
    low = torch.full((3,), -radius)
    near, far, hits = ray_box(given["rays_o"], given["rays_d"], low, -low)
    out["t_min"] = torch.where(hits, near, 1e5)[:, None]
    out["t_max"] = torch.where(hits, far, 1e5)[:, None]
    out["hits"] = hits[:, None]
    unseen, c2w = grid(), torch.eye(4).repeat(len(given["c2w"]), 1, 1)
    c2w[:, :3] = given["c2w"]
    c2w[:, :3, 3] /= radius
    camera = given["K"].expand(len(c2w), 3, 3)
    width, height = config["image_wh"]
    unseen.mark_unseen(c2w.inverse(), camera, (height, width), config["near_plane"] / radius)
    out["marked_occs"] = unseen.values
    count = case.meta["tensors"]["outputs/pdf_centers_out"]["shape"][-1]
    out["pdf_bins_out"], out["pdf_centers_out"] = resample_intervals(
        given["pdf_bins"], given["pdf_weights"], count
    )
    return {name: value.clone() for name, value in out.items()}


CASES: dict[str, Adapter] = {
    "tcnn_hashgrid": tcnn_hashgrid,
    "nerfstudio_hash": nerfstudio_hash,
    "neuralangelo_schedule": neuralangelo_schedule,
    "instant_nsr_alpha": instant_nsr_alpha,
    "instant_nsr_forward": instant_nsr_forward,
    "instant_nsr_geometry": instant_nsr_geometry,
    "nerfacc_render": nerfacc_render,
    "occupancy_grid": occupancy_grid,
}
