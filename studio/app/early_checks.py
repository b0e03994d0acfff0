"""Early checks: a user's usual mistakes, reported before torch is loaded.

Loading torch, Lightning and diffusers takes seconds; a misspelt option, one out of its range, an
empty text, a missing picture, folder, checkpoint or weights, those that are cut short, an uneven
background, and a GPU on a machine without one need none of them.
Nothing is refused here that the full checks allow: what cannot be told is left to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.app.early_inputs import check_inputs
from studio.app.groups import Group, groups_of, text_of
from studio.config import (
    ExperimentConfig,
    TrainerConfig,
    check_given,
    in_file,
    read_experiment,
)
from studio.errors import ConfigError, PluginError, WeightsError
from studio.guidance.hub import locate
from studio.io.weight_files import PICKLED, check_readable
from studio.io.yaml_text import Word
from studio.plugins.beside import plugin_kind
from studio.plugins.defaults import Option, class_value
from studio.plugins.parsing import convert, parse_config, unknown_key
from studio.runs.choosing import check_start
from studio.runs.distributed import check_accelerator, check_alone, may_have_cuda
from studio.runs.trainer import check_precision

WEIGHTS = ("weights", "base", "vae_weights", "unet_start", "encoder_start", "text_start")
"""Options of guidance that name files, folders or repositories."""


def check_early(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    verbs: Sequence[str] = (),
    inputs: bool = True,
) -> None:
    """Check what can be checked without torch.

    Args:
        path: the YAML file.
        overrides: `key=value` words over it.
        verbs: what is to be done in a run folder, if in one: look at where that begins, too.
        inputs: look at the text, picture or folder that is given, too.

    Raises:
        StudioError: for the first mistake.
    """
    content = read_experiment(path, overrides)
    try:
        names = [f.name for f in dataclasses.fields(ExperimentConfig)]
        groups = list(groups_of(content, names))
        own = {k: v for k, v in content.items() if k not in ("data", "system")}
        experiment = parse_config(ExperimentConfig, own)
        _check_trainer(experiment.trainer, groups, used=bool(verbs))
        for group in groups:
            _check_values(group.options, group.given, group.key)
    except (ConfigError, PluginError) as error:
        raise type(error)(f"{error}{in_file(path, error, overrides)}") from error
    for group in groups:
        if group.key == "data" and inputs:
            check_inputs(group)
        if group.kind == "guidance":
            _check_weights(group)
    if inputs:
        check_given(content)
    checkpoint = text_of(content.get("checkpoint"))
    if checkpoint and not Path(checkpoint).exists():
        raise WeightsError(f"the checkpoint {checkpoint} does not exist.")
    if checkpoint and Path(checkpoint).is_dir():
        raise WeightsError(
            f"checkpoint is the folder {checkpoint}.",
            allowed="a .ckpt file, such as ckpts/last.ckpt in a run folder",
            hint=f"resume={checkpoint} goes on with that run",
        )
    if verbs:
        check_start(experiment, verbs, overrides)


def _check_values(options: Mapping[str, Option], given: Mapping[str, Any], key: str) -> None:
    """Refuse values that the types of their options do not allow, as far as these are known."""
    for name, value in given.items():
        if (option := options.get(name)) is None or plugin_kind(f"{name}_type"):
            continue
        value = value.tree if isinstance(value, Word) and option.group else value
        if option.group and isinstance(value, Mapping):
            for inner in value:
                if inner not in option.group:
                    raise unknown_key(f"{key}.{name}.{inner}", list(option.group))
            _check_values(option.group, value, f"{key}.{name}")
        elif option.kind is not None:
            convert(value, option.kind, f"{key}.{name}")


def _check_trainer(options: TrainerConfig, groups: Sequence[Group], *, used: bool) -> None:
    """Refuse what the system, or this machine if it is `used`, cannot train in or on."""
    for group in (group for group in groups if group.kind == "system"):
        can = class_value(group.plugin, "precisions")
        if isinstance(can, tuple):
            check_precision(options.precision, group.name, can)
        if class_value(group.plugin, "one_process") is True:
            check_alone(options)
    if used and not may_have_cuda():
        check_accelerator(options.accelerator, cuda=False)


def _check_weights(group: Group) -> None:
    if group.text("allow_download").lower() in ("true", "yes", "on", "1"):
        return
    for option in WEIGHTS:
        if option in group.options and (text := group.text(option)):
            try:
                found = locate(text)
                if found.is_file() and found.suffix in (".safetensors", *PICKLED):
                    check_readable(found)
            except WeightsError as error:
                raise WeightsError(f"{group.key}.{option}: {error}") from error
