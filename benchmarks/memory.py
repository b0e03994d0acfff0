"""Memory that sampling takes, of the official configs, without weights and without a GPU.

    python -m benchmarks.memory [CONFIG ...] [--set precision=bfloat16 ...]

The guidance of a config is built at its full size without one byte of weights, and runs two steps
of its own `generate`. Its networks' tensors are torch's fake ones, which have shapes, types and
lifetimes but no content; every storage that a network makes is counted from its birth to its death.

* weights: bytes of all parameters and buffers, as they are stored for sampling. Exact.
* denoising, decoding, conditions: the most that lives at once inside a call of the network(s),
  their inputs included, weights not.
* peak: weights and the largest of these.

Not counted: what a library takes for itself (CUDA context, about 0.5 GB; workspaces of
convolutions; fragmentation), and copies of weights that autocast keeps (there are none where
weights are stored at the precision they are computed in). Attention is torch's fused one on the
CPU, which, as on GPUs, holds no matrix of scores. A GB is 1e9 bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

OFFICIAL = Path("configs/official")
STAGES = {"vae.decode": "decoding", "vae.encode": "conditions"}
"""What a network is for, by name; other encoders: conditions, the rest: denoising."""
CONDITIONS = ("image_encoder", "text_encoder", "clip_camera_projection", "camera_projection")


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that operations make or take, while they live.

    Args:
        ignored: tensors that are not counted (the weights).
    """

    def __init__(self, ignored: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}
        self._ignored = {id(tensor.untyped_storage()) for tensor in ignored}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at its inputs and outputs."""
        self.see((args, kwargs))
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype == torch.bool:
            return True  # EpiDiff asks whether every view is its own first neighbour: it is
        out = func(*args, **(kwargs or {}))
        self.see(out)
        return out

    def see(self, values: Any) -> None:
        """Count the storages of tensors anywhere in `values` that are new."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())

    def _see(self, storage: Any) -> None:
        key = id(storage)
        if key in self._ignored or key in self._known:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            self.live -= size

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.peak = max(self.peak, self.live)


@contextlib.contextmanager
def weightless(mode: FakeTensorMode) -> Iterator[None]:
    """Let modules be built whose parameters have shapes and types, but no content."""
    register = nn.Module.register_parameter

    def faked(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            fake = mode.from_tensor(parameter.detach())
            parameter = nn.Parameter(fake, parameter.requires_grad)
        register(module, name, parameter)

    with mock.patch.object(nn.Module, "register_parameter", faked):
        yield


class Watch:
    """Runs a guidance's networks on fake tensors and keeps the most that each stage takes."""

    def __init__(self, guidance: nn.Module, mode: FakeTensorMode) -> None:
        self.mode = mode
        self.peaks = {"conditions": 0, "denoising": 0, "decoding": 0}
        self.seen: dict[Any, Any] = {}
        self.weights = [*guidance.parameters(), *guidance.buffers()]
        for name, network in guidance.named_children():
            if name == "vae":
                for way in ("encode", "decode"):
                    setattr(network, way, self.watched(f"vae.{way}", getattr(network, way)))
            else:
                network.forward = self.watched(name, network.forward)

    def watched(self, name: str, forward: Any) -> Any:
        """Return a network that runs without content and returns zeros."""
        stage = STAGES.get(name, "conditions" if name in CONDITIONS else "denoising")

        def run(*args: Any, **kwargs: Any) -> Any:
            shapes = name, *(t.shape for t in tree_leaves((args, kwargs)) if torch.is_tensor(t))
            if shapes in self.seen:
                return self.seen[shapes]
            counter = LiveBytes(self.weights)
            with self.mode, counter:
                args, kwargs = tree_map_only(Tensor, self.mode.from_tensor, (args, kwargs))
                counter.see((args, kwargs))
                out = forward(*args, **kwargs)
                self.peaks[stage] = max(self.peaks[stage], counter.peak)
            self.seen[shapes] = real(out)
            return self.seen[shapes]

        return run


def real(out: Any) -> Any:
    """Return a network's output with zeros in the place of fake tensors."""
    if isinstance(out, Tensor):
        return torch.zeros(out.shape, dtype=out.dtype)
    if isinstance(out, tuple):
        return tuple(real(part) for part in out)
    for name, value in vars(out).items():
        if isinstance(value, Tensor) or hasattr(value, "parameters"):
            zeros = real(value)
            setattr(out, name, zeros)
            if isinstance(out, dict):
                dict.__setitem__(out, name, zeros)
    return out


def figures(config: Path, changes: Sequence[str] = ()) -> dict[str, float]:
    """Return gigabytes by what they are for, of sampling with the guidance of a config.

    Args:
        config: a YAML file of a chain from a picture or a text.
        changes: options of the guidance, "precision=bfloat16".
    """
    from studio.config import load_experiment
    from studio.guidance.precision import store_at_precision
    from studio.guidance.spad.attention import CameraConditioning
    from studio.plugins.options import build

    words = [f"system.guidance.{word}" for word in changes]
    experiment = load_experiment(config, words)
    data = build("data", experiment.data_type, experiment.data, key="data")
    system = experiment.system
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with weightless(mode):
        guidance = fresh(system["guidance_type"], dict(system["guidance"]))
    guidance.eval()
    store_at_precision(guidance)
    watch = Watch(guidance, mode)
    generator = torch.Generator().manual_seed(0)
    with mock.patch.object(CameraConditioning, "tiles", lambda *_: []):  # of processors only
        guidance.generate(data.condition(), data.targets(), generator=generator)
    weights = sum(tensor.nbytes for tensor in {id(t): t for t in watch.weights}.values())
    peak = weights + max(watch.peaks.values())
    return {k: v / 1e9 for k, v in {"weights": weights, **watch.peaks, "peak": peak}.items()}


def fresh(name: str, options: dict[str, Any]) -> Any:
    """Build a guidance of a config's size without its files; few steps are enough."""
    from studio.plugins.discovery import find
    from studio.plugins.options import build

    options |= {"weights": "", "steps": 2, "allow_download": False}
    cls = find("guidance", name)
    if hasattr(cls.Config, "size"):
        options["size"] = "full"  # which folders of weights tell by themselves
    if name != "spad":
        return build("guidance", name, options, key="system.guidance")
    from studio.config import parse_config
    from studio.guidance.spad.checkpoint import fresh_parts
    from studio.guidance.spad.text import WordTokenizer

    cfg = parse_config(cls.Config, options, key="system.guidance")
    parts = fresh_parts(cfg)
    length = parts["text_encoder"].config.max_position_embeddings
    tokenizer = WordTokenizer([], length)  # any will do: only the number of words counts
    tokenizer.warn_of = lambda _: None
    return cls(cfg, parts, tokenizer)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="*", type=Path, help="default: all of configs/official")
    parser.add_argument("--set", nargs="*", default=[], help="options of the guidance, KEY=VALUE")
    asked = parser.parse_args()
    columns = ("weights", "conditions", "denoising", "decoding", "peak")
    print(f"| config | {' | '.join(columns)} |\n{'| --- ' * (len(columns) + 1)}|")
    for config in asked.configs or sorted(OFFICIAL.glob("*.yaml")):
        row = figures(config, asked.set)
        print(f"| `{config.stem}` | {' | '.join(f'{row[c]:.2f}' for c in columns)} |", flush=True)


if __name__ == "__main__":
    main()
