"""Parity of the hash-grid family: instant-nsr-pl, tiny-cuda-nn, nerfstudio, Neuralangelo, nerfacc."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studio.ops.hash_grid import HashGridLayout, encode_reference
from studio.ops.nerfstudio_hash import encode_nerfstudio, scalings
from studio.ops.progressive import (
    curvature_factor,
    curvature_loss,
    open_levels,
    second_differences,
    smooth_resolution,
)
from studio.ops.spherical_harmonics import spherical_harmonics
from tests.parity.case import Adapter, Case


def tcnn_hashgrid(case: Case) -> dict[str, Tensor]:
    """Encoding, its derivative, level sizes and harmonics."""
    config, given = case.config, case.inputs
    layout = HashGridLayout(
        config["n_levels"],
        config["base_resolution"],
        config["per_level_scale"],
        config["log2_hashmap_size"],
        config["n_features_per_level"],
    )
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


CASES: dict[str, Adapter] = {
    "tcnn_hashgrid": tcnn_hashgrid,
    "nerfstudio_hash": nerfstudio_hash,
    "neuralangelo_schedule": neuralangelo_schedule,
}
