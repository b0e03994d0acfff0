"""Memory of the official configs in sampling, without a GPU and without weights.

    python -m benchmarks.memory            # all; or some: python -m benchmarks.memory epidiff

The networks are built at full size on torch's meta device, whose tensors have shapes and no
content, and one guided denoising step and one slice of the VAE's decoding are run on it. Weights
are counted exactly. Of activations the most bytes that live at one time are counted, op by op;
attention counts its result alone, as kernels on GPUs keep no more. What an allocator and cuDNN
take on top is not in it. bfloat16 has weights, inputs and norms in two bytes. SPAD, whose masks
want values, is left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from studio.cameras import orbit_cameras
from studio.config import load_experiment
from studio.guidance.autoencoder import decode
from studio.registry import build

GB = 1e9
META = torch.device("meta")
WEIGHTS = ("weights", "base", "start", "precision")  # options that would read files


class Living(TorchDispatchMode):
    """Counts the bytes of all tensors that ops make, as long as they live; `peak` is the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an op and note what it made."""
        made = op(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._sizes:
                self._sizes[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, storage._cdata)
        return made

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
    """What attention returns, and nothing between."""
    return q.new_empty(*q.shape[:-1], v.shape[-1])


def peak_of(work: Callable[[], Any]) -> int:
    """Most bytes that live at one time while work is done on the meta device."""
    sdpa = "torch.nn.functional.scaled_dot_product_attention"
    plain = mock.patch("torch.autocast", lambda *_, **__: contextlib.nullcontext())
    with torch.no_grad(), mock.patch(sdpa, attention), plain, Living() as living, META:
        work()
    return living.peak


def on_meta(value: Any) -> Any:
    """The same tensors, lists and dataclasses without content."""
    if isinstance(value, Tensor):
        return value.to(META)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: on_meta(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **{k: v for k, v in fields.items() if v is not None})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_meta, value))
    return value


# --- one guided step of every method --------------------------------------------------------------


def epidiff(model: Any, kind: torch.dtype) -> tuple[str, Callable[[], Any]]:
    """All views of the rig together."""
    cameras = model.default_cameras()
    views, side = len(cameras), model.base_cfg.resolution // 8
    rig = model.rigs.make((cameras.intrinsics / 256)[None], cameras.c2w[None], cameras.c2w[:1])
    for scale in (1, 2, 4, 8):
        rig._known[side // scale] = on_meta(rig.at(side // scale))
    latents = torch.empty(1, views, 4, side, side, device=META)
    tokens = torch.empty(1, views, 1, 768, device=META, dtype=kind)
    concat = torch.empty(1, 4, side, side, device=META)

    def step() -> Any:
        return model.predict(latents.to(kind), 500, tokens, concat.to(kind), rig)

    return f"{views} views", step


def eschernet(model: Any, kind: torch.dtype) -> tuple[str, Callable[[], Any]]:
    """All views of the rig together, of three references."""
    cfg = model.cfg
    views, side = cfg.azimuths * len(cfg.elevations_deg), cfg.resolution // 8
    cameras = orbit_cameras([360 * k / (views + 3) for k in range(views + 3)], 15.0)
    codes = on_meta(model.codes(cameras.c2w[None, :views], cameras.c2w[None, views:]))
    latents = torch.empty(1, views, 4, side, side, device=META, dtype=kind)
    with torch.no_grad(), META:
        pictures = torch.empty(1, 3, 3, cfg.resolution, cfg.resolution, dtype=kind)
        tokens = model.tokens(pictures)
    return f"{views} views, 3 references", lambda: model.predict(latents, 500, tokens, codes)


def interpolated(model: Any, kind: torch.dtype) -> tuple[str, Callable[[], Any]]:
    """One view under as many conditions as are run at once."""
    count, side = model.cfg.view_batch, model.cfg.resolution // 8
    x = torch.empty(1, 4, side, side, device=META, dtype=kind)
    context = torch.empty(count - 1, 1, 768, device=META, dtype=kind)
    concat = torch.empty(count - 1, 4, side, side, device=META, dtype=kind)
    return f"{count} conditions", lambda: model.guided_predictions(x, 500, context, concat)


def composable(model: Any, kind: torch.dtype) -> tuple[str, Callable[[], Any]]:
    """As many targets as are made at once, of three views."""
    count, side = model.cfg.view_batch, model.cfg.resolution
    x = torch.empty(3 * count, 6, side, side, device=META, dtype=kind)
    numbers = torch.empty(3 * count, device=META, dtype=kind)
    return f"{count} views, 3 references", lambda: model.denoise_fn(x, numbers, numbers)


METHODS: dict[str, tuple[str, dict[str, Any], Callable[..., tuple[str, Callable[[], Any]]]]] = {
    "epidiff": ("epidiff", {}, epidiff),
    "eschernet": ("eschernet", {"size": "full"}, eschernet),
    "viewfusion-interpolated": ("viewfusion-interpolated", {"size": "full"}, interpolated),
    "viewfusion-composable": ("viewfusion-composable", {}, composable),
}


def row(name: str, kind: torch.dtype) -> list[Any]:
    """Weights, step, decoding and the sum of a method's official config."""
    method, more, make = METHODS[name]
    given = load_experiment(f"configs/official/{name}-neus.yaml").system["guidance"]
    options = {**{k: v for k, v in given.items() if k not in WEIGHTS}, **more}
    if name == "epidiff":
        full = {"size": "full", "resolution": 256, "train_clip": False}
        options["zero123"] = {**options.get("zero123", {}), **full}
    with META:
        model: nn.Module = build("guidance", method, options, key="system.guidance")
    model = model.eval().to(kind)
    what, step = make(model, kind)
    weights = sum(p.nbytes for p in model.parameters())
    sampling, decoding = peak_of(step), 0
    if (vae := getattr(model, "vae", None)) is not None:
        count, side = model.cfg.vae_batch, 256 // 8
        latents = torch.empty(count, 4, side, side, device=META, dtype=kind)
        decoding = peak_of(lambda: decode(vae, latents, count))
    sizes = [weights, sampling, decoding, weights + max(sampling, decoding)]
    return [name, what, str(kind).removeprefix("torch."), *(f"{n / GB:.1f}" for n in sizes)]


def main(names: list[str]) -> None:
    """Print the table."""
    kinds = (torch.float32, torch.bfloat16)
    rows = [row(name, kind) for name in names or METHODS for kind in kinds]
    head = ["official config", "at once", "precision", "weights", "a step", "decoding", "sum, GB"]
    for cells in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
