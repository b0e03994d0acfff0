"""Reading weights of instant-nsr-pl and Wonder3D (Lightning checkpoints, NeuS with hash grids).

The authors keep all tensors under ``model.``: the field, the texture, the sharpness, occupancy
grids of nerfacc 0.3.3 and, for scenes without masks, a background. What tiny-cuda-nn holds is one
flat vector a module: tables level by level, entry by entry, feature by feature; where a network and
its encoding share a vector, the network comes first. Harmonics have an empty vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.errors import WeightsError
from studio.geometry.base import Geometry
from studio.geometry.density import DensityField
from studio.geometry.encodings import HashEncoding
from studio.geometry.mlp import FusedMLP
from studio.io.weights import read_tensors

GEOMETRY = {
    "encoding.table": "geometry.encoding.encoding.params",
    "network.": "geometry.network.",
    "texture.": "texture.network.",
}
RENDERER = {
    "sharpness.variance": "variance.variance",
    "grid.values": "occupancy_grid.occs",
    "grid.binary": "occupancy_grid._binary",
    "background.field.encoding.table": (
        "geometry_bg.encoding_with_network.encoding.encoding.params"
    ),
    "background.field.network.": "geometry_bg.encoding_with_network.network.",
    "background.texture.": "texture_bg.network.",
    "background.grid.values": "occupancy_grid_bg.occs",
    "background.grid.binary": "occupancy_grid_bg._binary",
}
OPENING = "geometry.encoding.encoding.encoding.params"  # a grid of opening levels is wrapped again
UNUSED = (  # the box is compared with the radius; the rest is empty or known
    "scene_aabb",
    "_roi_aabb",
    "resolution",
    "texture.encoding.encoding.params",
    "texture_bg.encoding.encoding.params",
)


def geometry_names(geometry: Geometry) -> dict[str, str]:
    """Our names of a geometry's tensors, and the authors' (without ``model.``)."""
    names = _translate(geometry, GEOMETRY)
    grid = geometry.encoding
    if isinstance(grid, HashEncoding) and grid.first < grid.layout.levels:
        names["encoding.table"] = OPENING
    return names


def renderer_names(renderer: nn.Module) -> dict[str, str]:
    """Our names of the tensors of a `neus-occupancy` renderer that weights fill, and theirs."""
    return _translate(renderer, RENDERER)


def _translate(module: nn.Module, table: Mapping[str, str]) -> dict[str, str]:
    names = {}
    for name in module.state_dict():
        for ours, theirs in table.items():
            if name == ours or (ours.endswith(".") and name.startswith(ours)):
                names[name] = theirs + name.removeprefix(ours)
    return names


def read_instant_nsr(
    path: Path | str, geometry: Geometry | None = None, renderer: nn.Module | None = None
) -> None:
    """`load_instant_nsr` from a file."""
    load_instant_nsr(read_tensors(path), geometry, renderer, source=path)


def load_instant_nsr(
    tensors: Mapping[str, Tensor],
    geometry: Geometry | None = None,
    renderer: nn.Module | None = None,
    *,
    source: Path | str = "the weights",
) -> None:
    """Fill a geometry `instant-nsr`, a renderer `neus-occupancy`, or both.

    The sharpness is turned from the authors' world into the cube [-1, 1]^3: it grows by the radius.
    Occupancy grids are taken where both sides have them.

    Raises:
        WeightsError: naming the tensors that are missing, unknown or of another size.
    """
    given = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    if geometry is not None:
        _check_box(geometry, given, source)
        names = geometry_names(geometry)
        wanted = names.get("encoding.table")
        for other in (GEOMETRY["encoding.table"], OPENING):
            if wanted is not None and wanted not in given and other in given:
                given[wanted] = given.pop(other)  # trained with other openings: the same numbers
        _fill(geometry, names, given, ("geometry.", "texture."), source)
    if renderer is not None:
        names = renderer_names(renderer)
        names = {o: t for o, t in names.items() if t in given or "grid." not in o}
        _fill(renderer, names, given, ("geometry_bg.", "texture_bg."), source)


@torch.no_grad()
def _fill(
    module: nn.Module,
    names: Mapping[str, str],
    given: Mapping[str, Tensor],
    parts: tuple[str, ...],
    source: Path | str,
) -> None:
    """Copy tensors into a module; ``parts`` of the weights have to be used up."""
    state = module.state_dict()  # shares memory with the module
    missing = [theirs for theirs in names.values() if theirs not in given]
    known = {*names.values(), *UNUSED}
    unknown = [name for name in given if name.startswith(parts) and name not in known]
    if missing or unknown:
        raise WeightsError(
            f"{source}: the weights lack {', '.join(missing[:3]) or 'nothing'}, and hold "
            f"{', '.join(unknown[:3]) or 'nothing'} beside what the options make.",
            hint="texture=fused for one of tiny-cuda-nn; directions, layers, weight_norm and "
            "background.enabled as trained",
        )
    for ours, theirs in names.items():
        value, target = given[theirs], state[ours]
        if value.numel() != target.numel():
            raise WeightsError(
                f"{source}: {theirs} has {value.numel()} numbers, the options make "
                f"{target.numel()}.",
                hint="set levels, base_resolution, growth, log2_rows, features and hidden alike",
            )
        if theirs == "variance.variance":
            value = value + math.log(_radius(given)) / 10
        target.copy_(value.reshape(target.shape))


def _radius(given: Mapping[str, Tensor]) -> float:
    """Half side of the authors' cube; 1 where the weights do not say."""
    box = given.get("scene_aabb")
    return 1.0 if box is None else float(box.abs().max())


def _check_box(geometry: Geometry, given: Mapping[str, Tensor], source: Path | str) -> None:
    radius, trained = geometry.cfg.radius, _radius(given)
    if "scene_aabb" in given and abs(radius - trained) > 1e-4 * radius:
        raise WeightsError(
            f"{source}: weights of a cube of half side {trained:g}, the geometry's radius is "
            f"{radius:g}.",
            hint=f"set the geometry's radius to {trained:g}",
        )


def split_flat(
    params: Float[Tensor, " p"], network: int
) -> tuple[Float[Tensor, " n"], Float[Tensor, " e"]]:
    """Parts of a vector of tiny-cuda-nn's ``NetworkWithInputEncoding``: network, then encoding.

    Args:
        params: the vector.
        network: number of the network's parameters, padding included.
    """
    if network > len(params):
        raise WeightsError(
            f"a vector of {len(params)} parameters cannot hold a network of {network}.",
            hint="the widths of the network differ from those of the weights",
        )
    return params[:network], params[network:]


@torch.no_grad()
def load_fused_density(field: DensityField, params: Float[Tensor, " p"]) -> None:
    """Fill a density field from the one flat vector that instant-nsr-pl's NeRF keeps.

    Raises:
        WeightsError: if the sizes differ.
    """
    if not isinstance(field.network, FusedMLP) or not isinstance(field.encoding, HashEncoding):
        raise TypeError("the vector belongs to a hash grid with a fused network")
    network, table = split_flat(params, field.network.params.numel())
    if table.numel() != field.encoding.table.numel():
        raise WeightsError(
            f"the weights' hash grid has {table.numel()} numbers, the options make "
            f"{field.encoding.table.numel()}.",
            hint="set levels, base_resolution, growth and log2_rows alike",
        )
    field.network.params.copy_(network)
    field.encoding.table.copy_(table.view_as(field.encoding.table))
