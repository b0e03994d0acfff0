"""Adapter for tiny-cuda-nn's hash grid: our table is its parameter vector.

Written against the bindings' public interface (``tinycudann.Encoding``); needs a CUDA device.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@functools.lru_cache(maxsize=8)
def _encoding(layout: Any, device: torch.device) -> torch.nn.Module:
    """tiny-cuda-nn's module of a `HashGridLayout`; its own parameters are never used."""
    import tinycudann

    config = {
        "otype": "HashGrid",
        "n_levels": layout.levels,
        "n_features_per_level": layout.features,
        "log2_hashmap_size": layout.log2_rows,
        "base_resolution": layout.base_resolution,
        "per_level_scale": layout.growth,
        "interpolation": layout.interpolation.capitalize(),
    }
    with torch.cuda.device(device):
        module = tinycudann.Encoding(3, config, dtype=torch.float32)
    wanted = layout.offsets[-1] * layout.features
    if module.params.numel() != wanted:
        raise RuntimeError(
            f"tiny-cuda-nn has {module.params.numel()} parameters where the layout has {wanted}"
        )
    return module


def encode_tcnn(
    points: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], layout: Any
) -> Float[Tensor, "n lf"]:
    """Encode points in [0, 1]^3, differentiable twice as far as tiny-cuda-nn is."""
    if points.shape[0] == 0:
        return points.new_zeros(0, layout.width) + 0 * (points.sum() + table.sum())
    module = _encoding(layout, points.device)
    parameters = {"params": table.reshape(-1)}
    return torch.func.functional_call(module, parameters, (points.clamp(0, 1),)).to(table.dtype)
