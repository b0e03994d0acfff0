"""Weights of Zero-1-to-3: our folders, and the authors' checkpoints in their own names."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from studio.config import parse_config, plain
from studio.errors import WeightsError
from studio.files import make_folder, write_json
from studio.guidance.zero123.network import CLIPCameraProjection

if TYPE_CHECKING:
    from studio.guidance.zero123.guidance import Zero123Guidance

PARTS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "image_encoder": CLIPVisionModelWithProjection,
    "clip_camera_projection": CLIPCameraProjection,
}


def save_folder(model: Zero123Guidance, folder: Path) -> None:
    """Write model_index.json, one folder per part, scheduler/ and our options in config.json.

    The folder is written beside `folder` and renamed, so that a killed run leaves no half of it.
    """
    temporary = make_folder(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    try:
        for name in PARTS:
            getattr(model, name).save_pretrained(temporary / name, safe_serialization=True)
        make_folder(temporary / "scheduler")
        write_json(temporary / "scheduler" / "scheduler_config.json", _scheduler(model.cfg))
        write_json(temporary / "config.json", {**plain(model.cfg), "weights": "", "vae_weights": ""})
        index = {n: [_library(kind), kind.__name__] for n, kind in PARTS.items()}
        index["scheduler"] = ["diffusers", "DDIMScheduler"]
        write_json(temporary / "model_index.json", {"_class_name": type(model).__name__, **index})
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _library(kind: type) -> str:
    root = kind.__module__.split(".")[0]
    return root if root in ("diffusers", "transformers") else kind.__module__


def _scheduler(cfg: Zero123Guidance.Config) -> dict[str, Any]:
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": cfg.train_timesteps,
        "beta_schedule": cfg.beta_schedule,
        "beta_start": cfg.beta_start,
        "beta_end": cfg.beta_end,
        "prediction_type": cfg.prediction_type,
        "rescale_betas_zero_snr": cfg.zero_terminal_snr,
        "timestep_spacing": "trailing" if cfg.timestep_spacing == "trailing" else "leading",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }


def load_folder(cls: type[Zero123Guidance], folder: Path) -> Zero123Guidance:
    """Build the guidance from a folder of `save_folder`.

    Raises:
        WeightsError: if a part is missing.
    """
    missing = [name for name in ("config.json", *PARTS) if not (folder / name).exists()]
    if missing:
        raise WeightsError(
            f"{folder} is not a folder of Zero-1-to-3 weights: {', '.join(missing)} missing.",
            allowed="a folder with config.json, " + ", ".join(PARTS),
        )
    options = json.loads((folder / "config.json").read_text())
    parts = {
        name: kind.from_pretrained(folder / name, local_files_only=True, use_safetensors=True)
        for name, kind in PARTS.items()
    }
    return cls(parse_config(cls.Config, options, key=str(folder / "config.json")), parts)
