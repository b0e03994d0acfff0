"""Weights of composable ViewFusion: our folders, and the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from studio.errors import ConfigError, WeightsError
from studio.guidance.folders import read_weights
from studio.guidance.hub import locate
from studio.guidance.json_files import read_json, with_fixed, with_released
from studio.guidance.needs import Part, check_there, model
from studio.guidance.viewfusion_composable.noise_levels import NoiseLevels
from studio.guidance.viewfusion_composable.options import RELEASED, ViewFusionComposableConfig
from studio.io.files import write_json
from studio.io.weights import load_strict, read_tensors, write_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.options import plain
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import fixed

FILE = "unet.safetensors"
USES = model(Part(stem=Path(FILE).stem, optional=("knows.json",)))
"""What a folder of our own is read from."""
SECTION = "model"
"""Where the authors' file keeps the state dict; beside it lie optimiser, step and figures."""
DESCRIBES_NETWORK = fixed(ViewFusionComposableConfig)
"""Options that belong to trained weights: a folder of weights has the last word on them."""
RELEASED_FIX = ("patch", "prediction_type", "clockwise")
"""Options that every authors' file fixes. Its gammas, which are checked, tell the schedule."""


def save_folder(network: nn.Module, cfg: ViewFusionComposableConfig, folder: Path) -> None:
    """Write the network and config.json."""
    with written_whole(folder) as new:
        write_tensors(new / FILE, network.state_dict())
        write_json(new / "config.json", {**plain(cfg), "weights": "", "variant": ""})


def saved_config(source: Path) -> ViewFusionComposableConfig:
    """Return the options of a folder of `save_folder`, or those that fit an authors' file.

    The number of channels in such a file tells an absolute model from a relative one, and whether
    it predicts weights; everything else is as in all the authors' configs.

    Raises:
        WeightsError: if there is no such folder or file.
    """
    if source.is_dir():
        check_there(source, USES, of="composable ViewFusion")
        path = source / "config.json"
        options = {**read_json(path), "weights": str(source)}
        try:
            return parse_config(ViewFusionComposableConfig, options, key=str(path))
        except ConfigError as error:
            raise WeightsError(f"{error}") from error
    told = told_by(read_tensors(source, section=SECTION))
    return ViewFusionComposableConfig(**{**RELEASED, "weights": str(source), **told})


def told_by(tensors: Mapping[str, Tensor]) -> dict[str, bool]:
    """Return the options that the channels of an authors' file tell."""
    entrance = tensors.get("denoise_fn.downs.0.weight", torch.empty(0, 6))
    exit_ = tensors.get("denoise_fn.final_conv.block.3.weight", torch.empty(6))
    weighted = exit_.shape[0] == 6
    without = {} if weighted else {"weighting_train": False, "weighting_inference": False}
    return {"relative": entrance.shape[1] == 9, "predict_weights": weighted, **without}


def is_released_size(tensors: Mapping[str, Tensor]) -> bool:
    """Whether an authors' file holds one of their own networks, which have one size."""
    shape = {key: list(value.shape) for key, value in tensors.items()}
    middle = RELEASED["inner_channel"] * RELEASED["channel_mults"][-1]
    entrance, inside = shape.get("denoise_fn.downs.0.weight"), "denoise_fn.mid.0.attn.qkv.weight"
    return (
        entrance is not None
        and entrance[0] == RELEASED["inner_channel"]
        and shape.get(inside, [0, 0])[1] == middle
    )


def with_saved_options(cfg: ViewFusionComposableConfig) -> ViewFusionComposableConfig:
    """Return the config with the local path of its weights, and with what their folder fixes."""
    if not cfg.weights:
        return cfg
    source = locate(cfg.weights, cfg.allow_download, USES, cfg.variant)
    cfg = replace(cfg, weights=str(source))
    if source.is_dir():
        saved = saved_config(source)
        fixed = {name: getattr(saved, name) for name in DESCRIBES_NETWORK}
        return with_fixed(cfg, fixed, source / "config.json")
    tensors = read_tensors(source, cfg.allow_pickle, section=SECTION)
    names = DESCRIBES_NETWORK if is_released_size(tensors) else RELEASED_FIX
    return with_released(cfg, RELEASED, names, source, **told_by(tensors))


def load_weights(model: nn.Module, levels: NoiseLevels, cfg: ViewFusionComposableConfig) -> None:
    """Read `cfg.weights`, a folder or an authors' file, into a finished model.

    Args:
        model: the guidance, whose tensors have the authors' names.
        levels: its noise schedule.
        cfg: its options.
    """
    source = Path(cfg.weights)
    if cfg.weights and source.is_dir():
        tensors = read_weights(source, variant=cfg.variant, stem=Path(FILE).stem)
        load_strict(model.get_submodule("denoise_fn"), tensors, source / FILE)
    elif cfg.weights:
        load_official(model, levels, source, cfg.allow_pickle)


def load_official(
    model: nn.Module, levels: NoiseLevels, source: Path, allow_pickle: bool = False
) -> None:
    """Read an authors' checkpoint; see `ViewFusionComposableGuidance.load_official`."""
    tensors = read_tensors(source, allow_pickle, section=SECTION)
    load_official_tensors(model, levels, tensors, source)


def load_official_tensors(
    model: nn.Module, levels: NoiseLevels, tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """Fill network and schedule tables from a state dict in the authors' names.

    Raises:
        WeightsError: if a key is missing, unknown or of another shape, or the schedule is not the
            one of the options.
    """
    wanted = levels.buffers()["gammas"]
    load_strict(model, tensors, source)
    found = model.get_buffer("gammas")
    if not found.is_meta and not torch.allclose(found.cpu(), wanted, atol=1e-6):
        raise WeightsError(
            f"{source} was trained on another noise schedule: its gammas end with "
            f"{float(found[-1]):.3g}, those of the options with {float(wanted[-1]):.3g}.",
            hint="Set beta_schedule, train_timesteps, beta_start and beta_end as in its training.",
        )
