"""The Python API: `load` a config and call it, `reconstruct` a capture, one stage alone, measure.

    import studio

    model = studio.load("epidiff-neus")
    result = model("car.png", elevation_deg=20, seed=0)
    result.mesh.save("car.glb")

Everything runs in this process and writes nothing but what is asked for. `progress` is called with
(steps done, steps in all, what is done), 0 in all where that is not known; `cancel` is asked as
often, and once it returns True the work ends with `studio.Cancelled`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from studio.config import ExperimentConfig, check_experiment, read_experiment
from studio.data.base import ConditionData, SceneData
from studio.errors import ConfigError, StudioError, WeightsError
from studio.guidance.base import Guidance
from studio.guidance.json_files import read_json
from studio.io import shipped
from studio.pipeline import Cancel, Pipeline, Result, device_named
from studio.plugins.discovery import available, find
from studio.plugins.options import build
from studio.plugins.overrides import make_room, put
from studio.plugins.registry import config_class
from studio.progress import Listener, listening

CONFIGS = {"zero123": "viewfusion-interpolated-neus"}
"""Configs of the methods whose config is not called <method>-neus."""


def load(
    config: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "auto",
    progress: Listener | None = None,
) -> Pipeline:
    """Load what a config describes; its weights stay in memory for any number of calls.

    Args:
        config: a YAML file, the name of one ("epidiff-neus", see `studio list`), or a folder of
            weights that a guidance wrote.
        options: over it, with dotted keys: ``{"system.guidance.steps": 20}``.
        device: auto (an NVIDIA GPU if there is one), cpu, cuda, cuda:1, ...
        progress: see the module.

    Raises:
        StudioError: if config, an option or weights cannot be used.
    """
    with listening(progress):
        return Pipeline(configured(config, options), device)


def configured(config: str | Path, options: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read and check what `load` loads; see there."""
    if not isinstance(config, (str, os.PathLike)):
        raise ConfigError(
            f"the config is of type {type(config).__name__}.",
            allowed="a path, or a name that `studio list` shows",
        )
    path = Path(config)
    if path.is_dir():
        method = method_of(path)
        options = {"system.guidance.weights": str(path.resolve()), **(options or {})}
        path = shipped.config_file(CONFIGS.get(method, f"{method}-neus"))
    content = read_experiment(shipped.config_file(path))
    for key, value in (options or {}).items():
        make_room(content, key, str(value))
    for key, value in (options or {}).items():
        put(content, key, value)
    _leave_open(content)
    return check_experiment(content, path, options or ())


def _leave_open(content: dict[str, Any]) -> None:
    """Drop what a config says has to be given (???): it is given with the call."""
    cls = find("data", str(content.get("data_type", "")), key="data_type")
    given = content.setdefault("data", {})
    if issubclass(cls, ConditionData | SceneData) and given.get(cls.brought) == "???":
        del given[cls.brought]


def reconstruct(
    capture: Any,
    *,
    steps: int = 0,
    seconds: float = 0.0,
    seed: int = 0,
    config: str | Path = "reconstruct",
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Listener | None = None,
    cancel: Cancel | None = None,
) -> Result:
    """Fit a surface to a capture.

    Args:
        capture: a folder of any known layout, or a `ViewSet`.
        steps: of the fit; 0: as many as the config says.
        seconds: most wall seconds of the fit; 0: as many as the config says.
        seed: of all noise.
        config: a YAML file or the name of one with ``system_type: reconstruction``.
        options: over it, with dotted keys.
        device: see `load`.
        progress: see the module.
        cancel: see the module.

    Raises:
        StudioError: if the capture or an option cannot be used.
    """
    pipeline = load(config, options, device=device)
    return pipeline(
        capture, steps=steps, seconds=seconds, seed=seed, progress=progress, cancel=cancel
    )


def load_guidance(name: str, *, device: str = "auto", **options: Any) -> Guidance:
    """Load one multi-view diffusion method alone.

    Args:
        name: of a guidance plugin.
        device: see `load`.
        options: of the plugin, such as ``weights="load/nano/zero123"``.

    Returns:
        It, on the device, in evaluation mode: `Guidance.generate` makes views.

    Raises:
        StudioError: if an option or weights cannot be used.
    """
    try:
        made: Guidance = build("guidance", name, shipped.placed(options))
    except StudioError as error:  # which speaks of a config's options
        raise type(error)(str(error).replace("system.guidance.", "")) from error
    return made.to(device_named(device)).eval()


def method_of(folder: Path) -> str:
    """Return the name of the guidance that wrote a folder of weights, told by its config.json.

    Raises:
        WeightsError: if no guidance has those options.
    """
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder} is a folder without weights: it has no config.json.",
            allowed="a config's name or YAML file, or a folder of weights",
        )
    keys = set(read_json(folder / "config.json"))
    sizes = {}
    for name in available("guidance"):
        names = {option.name for option in fields(config_class(find("guidance", name)))}
        if keys and keys <= names:
            sizes[name] = len(names)
    if not sizes:
        raise WeightsError(
            f"{folder} is not a folder of weights that a guidance of this program wrote.",
            hint='load a config, and name the weights in options: {"system.guidance.weights": ...}',
        )
    return min(sizes, key=lambda name: sizes[name])
