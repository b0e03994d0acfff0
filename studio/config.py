"""The config of a whole experiment: read, override, check down to every plugin, save."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from studio.errors import ConfigError, StudioError
from studio.io import shipped, yaml_text
from studio.io.reading import read_text, reading
from studio.plugins.options import plain, resolve_options
from studio.plugins.overrides import make_room, override
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import (
    Count,
    CountOrZero,
    Installed,
    Length,
    Limit,
    Pattern,
    Range,
    Seed,
    Steps,
    StepsOrZero,
)

__all__ = [
    "ExperimentConfig",
    "TrainerConfig",
    "load_experiment",
    "parse_config",
    "plain",
    "resolve_options",
    "save_experiment",
]

FORBIDDEN = '/\\*?"<>|\x00' + (":" if os.name == "nt" else "")
"""Characters that no folder's name may have."""
MOST_CONFIG = 1 << 19
"""Bytes of a config file; ours have some thousand."""
LONGEST = 200
"""Bytes of a name or tag; file systems allow 255, and the time comes behind it."""
LOGGERS: dict[str, tuple[str, ...]] = {
    "csv": (),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
}
"""Logs, and the packages of which one writes it."""
Devices = (
    Literal["auto", -1]
    | Annotated[int, Range(1, 10_000)]
    | Annotated[list[Annotated[int, Range(0, 10_000)]], Length(1, 10_000)]
    | Annotated[str, Pattern(r"\d+(,\d+)+", "numbers with commas between")]
)
Accelerator = Annotated[
    str, Pattern("auto|cpu|gpu|cuda", "auto, cpu, gpu or cuda; an Apple GPU has no float64")
]
Strategy = Literal[
    "auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"
]


class FolderName(Limit):
    """Texts that can name a folder."""

    def holds(self, value: str) -> bool:
        """Whether every file system that counts takes it."""
        if not value or value in {".", ".."} or set(value) & set(FORBIDDEN):
            return False
        return len(value.encode()) <= LONGEST

    def __str__(self) -> str:
        unfit = " ".join(FORBIDDEN.strip(chr(0)))
        return f"a folder name: not empty, without {unfit}, of at most {LONGEST} bytes"


@dataclass
class TrainerConfig:
    """How long and on what to train; what it means is the same for every system."""

    max_steps: Steps | None = 1000
    """Optimiser steps in all, those before a resume included; a run that has them is done. null: as many as suit what the pictures of a fit show."""  # noqa: E501
    accelerator: Accelerator = "auto"
    """auto takes an NVIDIA GPU when there is one. Apple GPUs are not used: they have no float64."""
    devices: Devices = 1
    """How many devices, or their numbers, or auto or -1 for all. Where `accelerator: auto` finds fewer, they accumulate the batches of the others."""  # noqa: E501
    strategy: Strategy = "auto"
    """How several devices share the work: auto, ddp, or ddp_find_unused_parameters_true for a method that leaves trained weights without a gradient in some steps."""  # noqa: E501
    num_nodes: Annotated[int, Range(1, 10_000)] = 1
    """Machines that train together."""
    timeout_minutes: Annotated[float, Range(0, 1e6, above=True)] = 10.0
    """How long one of several processes waits for the others before all end."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16"] = "32-true"
    """The last three are short for the others. A fit to views wants 32-true."""
    tf32: bool = False
    """Let NVIDIA GPUs multiply float32 matrices as TensorFloat-32, faster and to three digits; convolutions do so anyway."""  # noqa: E501
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads for torch; 0 keeps torch's own choice."""
    deterministic: bool = False
    """Use deterministic algorithms only; slower on a GPU."""
    accumulate_grad_batches: Annotated[int, Range(1, 100_000)] = 1
    """Batches whose gradients are added before a step."""
    log_every_n_steps: Steps = 50
    """Steps between two rows of the metrics log."""
    checkpoint_every: StepsOrZero = 1000
    """Steps between two checkpoints; one is always written at the end. 0 writes that one only."""
    keep_checkpoints: Count = 2
    """How many step=... checkpoints stay on disk; last.ckpt comes on top."""
    validate_every: StepsOrZero = 0
    """Steps between two validations; 0 validates never during training."""
    validate_batches: CountOrZero = 0
    """Batches of one validation; 0 takes all."""
    preview_every: StepsOrZero = 0
    """Steps between two preview pictures in save/; 0 makes none."""
    logger: Annotated[str, Installed(LOGGERS)] = "csv"
    """csv; tensorboard or wandb write their log in addition."""


@dataclass
class ExperimentConfig:
    """One YAML file: one experiment."""

    name: Annotated[str, FolderName()] = "experiment"
    """First part of the run folder, exp_root_dir/name/tag@time."""
    tag: Annotated[str, FolderName()] = "run"
    """Second part of the run folder."""
    seed: Seed = 0
    """Seed of every random number."""
    exp_root_dir: str = "outputs"
    """Where run folders are made."""
    use_timestamp: bool = True
    """Append @time to the run folder; false gives a fixed one, whose finished stages are kept."""
    data_type: str = ""
    """Name of a data plugin."""
    data: dict[str, Any] = field(default_factory=dict)
    """Options of the data plugin."""
    system_type: str = ""
    """Name of a system plugin."""
    system: dict[str, Any] = field(default_factory=dict)
    """Options of the system plugin."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """Length, device, checkpoints."""
    checkpoint: str | None = None
    """A .ckpt whose weights start the run; steps and optimiser start anew."""
    resume: str | None = None
    """A .ckpt to continue from, or last for the newest one of this experiment."""
    allow_pickle: bool = False
    """Load checkpoints that need pickle, which can run code; only for files you trust."""


def read_experiment(
    path: str | Path | None, overrides: Sequence[str] = (), *, importing: bool = False
) -> dict[str, Any]:
    """Read a YAML file and put `key=value` words over it; no option is checked.

    Paths below `load/` that are not in the working folder are the program's own.

    Args:
        path: the YAML file.
        overrides: the words.
        importing: import plugins of others, to know the options of one that a word names anew.

    Raises:
        ConfigError: if the file or a word cannot be read.
    """
    content = _read_yaml(Path(path)) if path is not None else {}
    for word in overrides:
        make_room(content, *word.split("=", 1), importing=importing)
    for word in overrides:
        override(content, word)
    placed: dict[str, Any] = shipped.placed(content)
    return placed


def load_experiment(path: str | Path | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a YAML file, put `key=value` words over it and check every option of every plugin.

    Args:
        path: the YAML file; None starts from the defaults.
        overrides: words such as `system.guidance.steps=20`.

    Raises:
        ConfigError: if the file, an option or a value cannot be used.
        PluginError: if a plugin that it names does not exist.
    """
    return check_experiment(read_experiment(path, overrides, importing=True), path, overrides)


def check_experiment(
    content: dict[str, Any], path: str | Path | None = None, typed: Iterable[str] = ()
) -> ExperimentConfig:
    """Check every option of every plugin in what `read_experiment` returned, and fill in defaults.

    Args:
        content: of a config.
        path: named in errors.
        typed: `key=value` words or keys that were put over the file, which is not blamed for them.

    Raises:
        ConfigError: if an option or a value cannot be used.
        PluginError: if a plugin that it names does not exist.
    """
    try:
        for required in ("system_type", "data_type"):
            if not content.get(required):
                raise ConfigError(f"{required} is not set.", hint=_list_hint(required))
        check_given(content)
        resolved = resolve_options(ExperimentConfig, content, "")
        return parse_config(ExperimentConfig, resolved)
    except ConfigError as error:
        raise ConfigError(f"{error}{in_file(path, error, typed)}") from error


def in_file(path: str | Path | None, error: StudioError, typed: Iterable[str]) -> str:
    """The last line of a refusal, which names the config; "" where what is refused was typed.

    Args:
        path: of the config.
        error: begins with the key that it refuses, in quotes or not.
        typed: `key=value` words or keys that were put over the file.
    """
    refused = str(error).lstrip("'")
    if path is None or any(refused.startswith(word.partition("=")[0]) for word in typed):
        return ""
    return f"\n  in: {path}"


def check_given(content: dict[str, Any]) -> None:
    """Refuse a config that leaves values open with ???.

    Raises:
        ConfigError: naming them.
    """
    if missing := _missing(content):
        raise ConfigError(
            f"{', '.join(missing)} has to be given.",
            hint=f"add {missing[0]}=... to the command line, or set it in the file",
        )


def _missing(content: dict[str, Any], prefix: str = "") -> list[str]:
    """Full keys of the values that a config leaves open with ???."""
    keys = []
    for name, value in content.items():
        if isinstance(value, dict):
            keys += _missing(value, f"{prefix}{name}.")
        elif value == "???":
            keys.append(f"{prefix}{name}")
    return keys


def _list_hint(required: str) -> str:
    kind = required.removesuffix("_type")
    return f"name a {kind} plugin; `python launch.py --list` shows them all"


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        siblings = sorted(p.as_posix() for p in path.parent.glob("[!.]*.yaml"))
        siblings = siblings if path.suffix else shipped.config_names()
        near = difflib.get_close_matches(path.as_posix(), siblings, n=1, cutoff=0.4)
        raise ConfigError(
            f"the config file {path} does not exist.",
            allowed=", ".join(siblings) or "the path of a YAML file, for example from configs/",
            hint=f"did you mean {near[0]}?" if near else None,
        )
    try:
        with reading(path, "YAML in UTF-8", error=ConfigError):
            text = read_text(path, MOST_CONFIG)
    except ConfigError as error:
        from studio.io.picture_files import is_picture_file

        if not is_picture_file(path):
            raise
        raise ConfigError(
            f"{path} is a picture, not a config.",
            hint=f"name a config, and give it the picture: run epidiff-neus data.image={path}",
        ) from error
    try:
        content = yaml_text.read(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}{where} is not valid YAML: {problem}") from error
    if content == "":
        return {}
    if not isinstance(content, dict):
        what = "list" if isinstance(content, list) else "text"
        raise ConfigError(f"{path} holds a {what}; it has to hold `key: value`s.")
    return content


def save_experiment(experiment: ExperimentConfig, path: Path) -> None:
    """Write the config with every default filled in; `launch.py --config` runs it again."""
    from studio.io.files import write_text

    write_text(path, yaml_text.write(plain(experiment) | {"resume": None}))
