"""Published checkpoints of the NeuS family, loaded into our modules key by key.

- NeuS, ``ckpt_300000.pth``: a dict of state dicts ``sdf_network_fine``, ``color_network_fine``,
  ``variance_network_fine`` and ``nerf`` (always there, used or not), beside ``optimizer`` and
  ``iter_step``. Wonder3D's NeuS writes the same.
- SyncDreamer, EscherNet and ViewFusion: a Lightning state dict of ``renderer.sdf_network``,
  ``renderer.color_network`` and ``renderer.deviation_network``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from studio.errors import WeightsError
from studio.io.weights import load_strict, read_checkpoint, read_tensors

PARTS = {
    "sdf_network_fine": "sdf",
    "color_network_fine": "colour",
    "variance_network_fine": "sharpness",
    "nerf": "background",
    "sdf_network": "sdf",
    "color_network": "colour",
    "deviation_network": "sharpness",
}
"""Our name of each published part."""
WEIGHT_NORM = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
"""torch's newer names of weight-normalised weights, and the ones of the time."""


class _Networks(nn.ModuleDict):
    """The parts of a checkpoint together, so that one message lists all that does not fit."""


def read_neus(path: Path | str) -> dict[str, Tensor]:
    """Read a published checkpoint and give every tensor our name, such as ``sdf.lin0.bias``.

    Raises:
        WeightsError: if the file cannot be read or holds tensors of another method.
    """
    if Path(path).suffix == ".safetensors":
        return rename(read_tensors(path), path)
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no mapping.", allowed="a checkpoint of the NeuS family")
    tensors: dict[str, Tensor] = {}
    for part, inner in content.items():
        if part in ("optimizer", "iter_step"):
            continue
        for name, value in inner.items() if isinstance(inner, Mapping) else [("", inner)]:
            if isinstance(value, Tensor):
                tensors[f"{part}.{name}".rstrip(".")] = value.detach()
    return rename(tensors, path)


def rename(tensors: Mapping[str, Tensor], source: Path | str) -> dict[str, Tensor]:
    """Give published names ours.

    Raises:
        WeightsError: naming the tensors that belong to none of the known parts.
    """
    renamed, strange = {}, []
    for name, value in tensors.items():
        part, _, rest = name.removeprefix("renderer.").partition(".")
        if part not in PARTS:
            strange.append(name)
            continue
        for new, old in WEIGHT_NORM.items():
            rest = rest.replace(new, old)
        renamed[f"{PARTS[part]}.{rest}"] = value
    if strange or not renamed:
        raise WeightsError(
            f"{source} is no checkpoint of the NeuS family; it holds "
            + (", ".join(strange[:4]) if strange else "no tensors")
            + (", ..." if len(strange) > 4 else "."),
            allowed="tensors under " + ", ".join(PARTS) + " (or renderer.*)",
        )
    return renamed


def load_parts(path: Path | str, parts: Mapping[str, nn.Module]) -> None:
    """Fill modules from a published checkpoint; their keys must be there, exactly and all.

    Args:
        path: of the checkpoint.
        parts: modules under our names of them: ``sdf``, ``colour``, ``sharpness``, ``background``.
            Parts of the checkpoint that are not asked for are passed over.

    Raises:
        WeightsError: naming what is missing, unexpected or of another shape.
    """
    load_renamed(read_neus(path), parts, path)


def load_renamed(
    tensors: Mapping[str, Tensor], parts: Mapping[str, nn.Module], source: Path | str
) -> None:
    """Do what `load_parts` does, with tensors that are already read and renamed."""
    others = tuple(f"{name}." for name in {*PARTS.values()} - {*parts})
    load_strict(_Networks(parts), tensors, source, ignore=lambda name: name.startswith(others))
