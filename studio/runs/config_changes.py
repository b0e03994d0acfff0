"""Differences between the config of a resumed run and the one that it started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.config import ExperimentConfig, load_experiment, plain
from studio.errors import StudioError

COUNT = ("data", "system", "seed")
"""Options that a result depends on; those of the trainer say how long and on what."""


def say_changes(checkpoint: Path, experiment: ExperimentConfig) -> None:
    """Print which options are not those of the run that wrote a checkpoint."""
    saved = checkpoint.parent.parent / "configs" / "config.yaml"
    if changes := changed_options(saved, experiment):
        print("WARNING: this goes on with other options: " + "; ".join(changes))


def changed_options(saved: Path, experiment: ExperimentConfig) -> list[str]:
    """What a saved config says otherwise, as "key old -> new".

    Nothing where there is no such file, or it cannot be read any more.
    """
    try:
        before = _flat(plain(load_experiment(saved)))
    except (StudioError, OSError):
        return []
    now = _flat(plain(experiment))
    names = [name for name in {**before, **now} if name.startswith(COUNT)]
    return [
        f"{name} {before.get(name)} -> {now.get(name)}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
