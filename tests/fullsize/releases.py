"""The authors' releases: file names, layouts, names of tensors, and what else their files hold.

Every writer takes a folder and returns what the chain is given as weights. `smallest` cuts every
dimension, so that names and layouts can be tried in a moment.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.fullsize.archives import Lazy, stand_in, stand_in_class, stand_ins, write_archive
from tests.fullsize.values import (
    Shapes,
    Values,
    below,
    gamma_tables,
    released_shapes,
    schedule_tables,
    zeros,
)

MODEL_CHECKPOINT = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
DICT_CONFIG = "omegaconf.dictconfig.DictConfig"
CONTAINER_METADATA = "omegaconf.base.ContainerMetadata"
EPIDIFF_DATASET = "epidiff.data.multiview.MultiViewDataset"
UNET, EMA = "model.diffusion_model.", "model_ema."

UNET_CONFIG = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 64,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "act_fn": "silu",
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "center_input_sample": False,
    "use_linear_projection": False,
}
VAE_CONFIG = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "act_fn": "silu",
}
SCHEDULER_CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
}
CLIP_VISION_CONFIG = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
CONVNEXT_CONFIG = {
    "architectures": ["CN_encoder"],
    "model_type": "convnextv2",
    "num_channels": 3,
    "num_stages": 4,
    "patch_size": 4,
    "hidden_sizes": [96, 192, 384, 768],
    "depths": [3, 3, 9, 3],
    "hidden_act": "gelu",
    "image_size": 224,
    "layer_norm_eps": 1e-12,
}


# ---------------------------------------------------------------- EpiDiff


def write_epidiff(folder: Path, smallest: int | None = None) -> Path:
    """Lightning file with metrics, old buffers, options and data set beside the networks."""
    shapes = released_shapes("epidiff/epidiff_lightning_ckpt", smallest=smallest)
    optional = released_shapes("epidiff/epidiff_lightning_ckpt_optional", smallest=smallest)
    state = _random(shapes | optional)
    positions = "image_encoder.vision_model.embeddings.position_ids"
    state[positions] = Lazy(
        Values(
            positions,
            optional[positions],
            torch.int64,
            lambda: torch.arange(optional[positions][-1]),
        )
    )
    path = folder / "epidiff-stable-zero123-n16f16-pabs.ckpt"
    with stand_ins(DICT_CONFIG, CONTAINER_METADATA, EPIDIFF_DATASET):
        dataset = stand_in(EPIDIFF_DATASET, root_dir="data", num_views=17, captions=["a", "b"])
        extras = {
            "hyper_parameters": _dict_config({"num_views": 16, "insert_stages": ["mid", "up"]}),
            "hparams_name": "cfg",
            "datamodule_hparams_name": "cfg",
            "datamodule_hyper_parameters": {"cfg": _dict_config({"batch_size": 1})},
            "MultiViewDataModule": {"train_dataset": dataset, "val_dataset": dataset},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "last.ckpt"}},
        }
        write_archive(path, _lightning(state, "2.0.0", **extras))
    return path


# ---------------------------------------------------------------- SPAD


def write_spad(folder: Path, views: str, smallest: int | None = None) -> Path:
    """Lightning file with the UNet's averages, without an optimiser's state."""
    shapes = released_shapes(f"spad/spad_{views}_views", smallest=smallest)
    state = _random(shapes) | _averages(shapes) | _tables(shapes, schedule_tables())
    path = folder / f"spad_{views}_views.ckpt"
    with stand_ins(DICT_CONFIG, CONTAINER_METADATA):
        options = {"unet_config": _dict_config({"target": "UNetModel"}), "scale_factor": 0.18215}
        extras = {"hyper_parameters": options, "loops": {"fit_loop": {"state_dict": {}}}}
        write_archive(path, _lightning(state, "1.9.0", **extras))
    return path


def write_clip_tokenizer(folder: Path) -> Path:
    """The files of openai/clip-vit-large-patch14's tokenizer, with letters for a vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    ends = {"bos_token": words[-2], "eos_token": words[-1], "pad_token": words[-1]}
    _json(folder / "vocab.json", {word: i for i, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n")
    _json(folder / "special_tokens_map.json", ends | {"unk_token": words[-1]})
    options = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    _json(folder / "tokenizer_config.json", options | ends)
    return folder


# ---------------------------------------------------------------- EscherNet


def write_eschernet(folder: Path, cape: str, smallest: int | None = None) -> Path:
    """Eight files in diffusers' layout, the weights as pickled .bin."""
    shapes = released_shapes("eschernet/released", smallest=smallest)
    root = folder / f"eschernet-{cape}"
    index = {
        "_class_name": "Zero1to3StableDiffusionPipeline",
        "_diffusers_version": "0.18.2",
        "feature_extractor": [None, None],
        "image_encoder": ["CN_encoder", "CN_encoder"],
        "requires_safety_checker": True,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "unet": ["unet_2d_condition", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _json(root / "model_index.json", index)
    ddpm = {"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "thresholding": False}
    _json(root / "scheduler" / "scheduler_config.json", SCHEDULER_CONFIG | ddpm)
    parts = {
        "unet": ("diffusion_pytorch_model.bin", UNET_CONFIG),
        "vae": ("diffusion_pytorch_model.bin", VAE_CONFIG),
        "image_encoder": ("pytorch_model.bin", CONVNEXT_CONFIG),
    }
    for part, (name, config) in parts.items():
        _json(root / part / "config.json", config)
        write_archive(root / part / name, OrderedDict(_random(below(shapes, f"{part}/"))))
    return root


# ---------------------------------------------------------------- ViewFusion, composable


def write_composable(folder: Path, smallest: int | None = None) -> Path:
    """The authors' own dictionary: network and schedule, Adam's moments, step, figures."""
    shapes = released_shapes("viewfusion_composable/pretrained", smallest=smallest)
    state = _random(shapes) | _tables(shapes, gamma_tables())
    content = {
        "model": OrderedDict(state),
        "optimizer": _adam([k for k in shapes if k.startswith("denoise_fn.")], shapes),
        "it": 710000,
        "t": 1234567.8,
        "run_id": "1a2b3c4d",
        "ssim": torch.tensor(0.88),
        "psnr": torch.tensor(26.1),
    }
    write_archive(folder / "best_model_all.pt", _lazy(content))
    return folder / "best_model_all.pt"


# ---------------------------------------------------------------- Zero-1-to-3


def write_zero123(folder: Path, smallest: int | None = None) -> Path:
    """Training checkpoint of an old Lightning: averages, Adam's moments, callbacks by class."""
    shapes = released_shapes("viewfusion_interpolated/zero123-xl", smallest=smallest)
    state = _random(shapes) | _averages(shapes) | _tables(shapes, schedule_tables())
    trained = [k for k in shapes if k.startswith((UNET, "cc_projection."))]
    path = folder / "zero123-xl.ckpt"
    with stand_ins(MODEL_CHECKPOINT):
        callback = {"monitor": None, "best_model_score": None, "dirpath": "logs/checkpoints"}
        extras = {
            "callbacks": {stand_in_class(MODEL_CHECKPOINT): callback},
            "optimizer_states": [_adam(trained, shapes)],
            "lr_schedulers": [
                {"base_lrs": [1e-4, 1e-3], "last_epoch": 1, "lr_lambdas": [None] * 2}
            ],
        }
        write_archive(path, _lightning(state, "1.4.2", **extras))
    return path


def write_zero123_folder(folder: Path, smallest: int | None = None) -> Path:
    """A diffusers folder of Zero-1-to-3 whose only weights are the variant fp16_ema."""
    shapes = released_shapes("epidiff/epidiff_lightning_ckpt", smallest=smallest)
    root = folder / "zero123-xl-diffusers"
    index = {"_class_name": "Zero123Pipeline", "_diffusers_version": "0.17.1"}
    ddim = {"_class_name": "DDIMScheduler", "thresholding": False}
    _json(root / "model_index.json", index)
    _json(root / "scheduler" / "scheduler_config.json", SCHEDULER_CONFIG | ddim)
    projection = {"_class_name": "CLIPCameraProjection", "additional_embeddings": 4}
    parts = {
        "unet": ("mv_model.unet.", "diffusion_pytorch_model", UNET_CONFIG | {"in_channels": 8}),
        "vae": ("vae.", "diffusion_pytorch_model", VAE_CONFIG | {"sample_size": 256}),
        "image_encoder": ("image_encoder.", "model", CLIP_VISION_CONFIG),
        "clip_camera_projection": (
            "clip_camera_projection.",
            "diffusion_pytorch_model",
            projection | {"embedding_dim": 768},
        ),
    }
    for part, (prefix, stem, config) in parts.items():
        _json(root / part / "config.json", config)
        names = below(shapes, prefix)
        tensors = {k: Values(k, shape, torch.float16).make() for k, shape in names.items()}
        save_file(tensors, root / part / f"{stem}.fp16_ema.safetensors", {"format": "pt"})
    return root


# ---------------------------------------------------------------- what they share


def _random(shapes: Shapes) -> dict[str, Any]:
    return {name: Lazy(Values(name, shape)) for name, shape in shapes.items()}


def _averages(shapes: Shapes) -> dict[str, Any]:
    """The running averages of the UNet: 0.99 of its weights, so that the two can be told apart."""
    found: dict[str, Any] = {
        f"{EMA}decay": Lazy(Values("decay", (), given=lambda: torch.tensor(0.9999))),
        f"{EMA}num_updates": Lazy(Values("n", (), torch.int32, lambda: torch.tensor(165000))),
    }
    for key, shape in shapes.items():
        if key.startswith(UNET):
            name = EMA + key.removeprefix("model.").replace(".", "")
            raw = Values(key, shape)
            found[name] = Lazy(Values(name, shape, given=lambda raw=raw: 0.99 * raw.make()))
    return found


def _tables(shapes: Shapes, tables: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {
        name: Lazy(Values(name, shapes[name], given=lambda t=t, n=shapes[name][0]: t[:n].float()))
        for name, t in tables.items()
        if name in shapes
    }


def _adam(names: Iterable[str], shapes: Shapes) -> dict[str, Any]:
    """Return the state of an optimiser whose moments are zero."""
    moments = zeros(names, shapes)
    state = {
        i: {"step": 165000, "exp_avg": Lazy(m), "exp_avg_sq": Lazy(m)}
        for i, m in enumerate(moments)
    }
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "params": list(range(len(moments)))}
    return {"state": state, "param_groups": [group]}


def _lightning(state: Mapping[str, Any], version: str, **extras: Any) -> dict[str, Any]:
    head = {"epoch": 12, "global_step": 165000, "pytorch-lightning_version": version}
    return {**head, "state_dict": OrderedDict(state), **extras}


def _dict_config(content: Mapping[str, Any]) -> Any:
    metadata = stand_in(CONTAINER_METADATA, ref_type=None, object_type=dict, optional=True)
    return stand_in(DICT_CONFIG, _content=dict(content), _metadata=metadata, _parent=None)


def _lazy(content: Any) -> Any:
    """Put `Lazy` in the place of tensors."""
    if isinstance(content, torch.Tensor):
        return Lazy(Values("", tuple(content.shape), given=lambda: content))
    if isinstance(content, Mapping):
        return type(content)((k, _lazy(v)) for k, v in content.items())
    return content


def _json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
