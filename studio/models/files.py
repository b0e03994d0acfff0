"""A model in a folder: `model.safetensors` and `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.errors import WeightsError
from studio.io.files import write_text
from studio.io.reading import read_json
from studio.io.weights import load_strict, read_tensors, write_tensors
from studio.io.whole_folders import written_whole
from studio.plugins.discovery import name_of
from studio.plugins.options import build, plain

TENSORS, CONFIG = "model.safetensors", "config.json"


def save_model(model: Any, folder: Path) -> Path:
    """Write a model; what was in the folder before is replaced in one step."""
    content = {
        "model": name_of("model", type(model)),
        "options": plain(model.cfg),
        "extras": model.extras(),
    }
    with written_whole(folder) as temporary:
        write_tensors(temporary / TENSORS, model.state_dict())
        write_text(temporary / CONFIG, json.dumps(content, indent=2) + "\n")
    return folder


def load_model(folder: Path, wanted: type) -> Any:
    """Read a model that is an instance of `wanted`.

    Raises:
        WeightsError: if a file is missing or damaged, or holds another model.
    """
    content: Any = read_json(folder / CONFIG, error=WeightsError)
    name = content.get("model") if isinstance(content, dict) else None
    if not isinstance(name, str):
        raise WeightsError(
            f"{folder / CONFIG} does not say which model this is.",
            allowed="a folder that SceneModel.save wrote",
        )
    model: Any = build("model", name, content.get("options") or {}, key="options")
    fits = isinstance(model, wanted)
    if not fits:
        raise WeightsError(
            f"{folder} holds the model '{name}' ({type(model).__name__}), not a {wanted.__name__}.",
            hint="load it with SceneModel.load",
        )
    load_strict(model, read_tensors(folder / TENSORS), folder / TENSORS)
    model.load_extras(content.get("extras") or {})
    return model
