"""LPIPS, the learned perceptual distance of pictures (Zhang et al., arXiv 1801.03924), version 0.1.

Needs two sets of published weights: a backbone trained on ImageNet (torchvision's
`alexnet-owt-7be5be79.pth` or `vgg16-397923af.pth`) and the linear heads (`alex.pth`, `vgg.pth` of
the lpips package; Lightning's torchmetrics brings them along). Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from studio.errors import WeightsError
from studio.io.weight_files import PICKLED
from studio.io.weights import read_tensors


class Conv(NamedTuple):
    """A convolution followed by a ReLU."""

    number: int
    """Position in torchvision's `features`, which names its weights."""
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Stage(NamedTuple):
    """Convolutions whose last features are compared."""

    pool: int
    """Kernel of the max pooling (stride 2) that comes first; 0 for none."""
    convs: tuple[Conv, ...]


BACKBONES = {
    "alex": (
        Stage(0, (Conv(0, 3, 64, 11, 4, 2),)),
        Stage(3, (Conv(3, 64, 192, 5, 1, 2),)),
        Stage(3, (Conv(6, 192, 384),)),
        Stage(0, (Conv(8, 384, 256),)),
        Stage(0, (Conv(10, 256, 256),)),
    ),
    "vgg": (
        Stage(0, (Conv(0, 3, 64), Conv(2, 64, 64))),
        Stage(2, (Conv(5, 64, 128), Conv(7, 128, 128))),
        Stage(2, (Conv(10, 128, 256), Conv(12, 256, 256), Conv(14, 256, 256))),
        Stage(2, (Conv(17, 256, 512), Conv(19, 512, 512), Conv(21, 512, 512))),
        Stage(2, (Conv(24, 512, 512), Conv(26, 512, 512), Conv(28, 512, 512))),
    ),
}
BACKBONE_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
SMALLEST = 32  # pixels per side that the backbones can halve as often as they do
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # lpips: ScalingLayer
EPSILON = 1e-10

_CONV = re.compile(r"(?:.*\.)?(?:features|slice\d+)\.(\d+)\.(weight|bias)")
_HEAD = re.compile(r"(?:.*\.)?lin(?:s\.)?(\d)\.model\.1\.weight")


class LPIPS:
    """The distance under one backbone; smaller is more alike.

    Args:
        backbone: "alex" or "vgg".
        tensors: "<n>.weight" and "<n>.bias" of each convolution, "head<i>" of each tap.
    """

    def __init__(self, backbone: str, tensors: dict[str, Tensor]) -> None:
        self.backbone, self.tensors = backbone, tensors

    @classmethod
    def load(cls, backbone: str, source: Path | str) -> LPIPS:
        """Read the weights.

        Args:
            backbone: "alex" or "vgg".
            source: a file with the backbone, or a folder with files of backbone and heads; heads
                that are not there are taken from torchmetrics.

        Raises:
            WeightsError: if something is missing or of another shape.
        """
        tensors: dict[str, Tensor] = {}
        for file in _files(backbone, Path(source)):
            tensors = _recognised(read_tensors(file)) | tensors
        _check(backbone, tensors, Path(source))
        return cls(backbone, tensors)

    @torch.no_grad()
    def __call__(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> list[float]:
        """Return the distance of each pair of pictures in [0, 1].

        Raises:
            ValueError: if a side is shorter than 32 pixels.
        """
        if a.shape != b.shape or min(a.shape[-2:]) < SMALLEST:
            raise ValueError(f"LPIPS of {tuple(a.shape)} and {tuple(b.shape)}: 32 pixels or more")
        total = a.new_zeros(len(a))
        for i, (x, y) in enumerate(zip(self._features(a), self._features(b), strict=True)):
            difference = (_unit(x) - _unit(y)) ** 2
            total += conv2d(difference, self.tensors[f"head{i}"]).mean((1, 2, 3))
        return [float(value) for value in total]

    def _features(self, pictures: Float[Tensor, "n 3 h w"]) -> Iterator[Tensor]:
        shift, scale = (pictures.new_tensor(v)[:, None, None] for v in (SHIFT, SCALE))
        x = (pictures * 2 - 1 - shift) / scale
        for stage in BACKBONES[self.backbone]:
            if stage.pool:
                x = max_pool2d(x, stage.pool, 2)
            for conv in stage.convs:
                weight, bias = (self.tensors[f"{conv.number}.{p}"] for p in ("weight", "bias"))
                x = conv2d(x, weight, bias, conv.stride, conv.padding).relu()
            yield x


def _unit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON)


def _files(backbone: str, source: Path) -> list[Path]:
    """Files that may hold weights, the user's before those of torchmetrics."""
    own = [source]
    if source.is_dir():
        kinds = (".safetensors", *PICKLED)
        own = sorted(p for p in source.glob(f"{backbone}*") if p.suffix in kinds)
        if not own:
            raise WeightsError(
                f"folder {source} has no file {backbone}*.",
                allowed=f"{BACKBONE_FILES[backbone]} and, optionally, {backbone}.pth",
            )
    found = importlib.util.find_spec("torchmetrics")
    if found is None or not found.submodule_search_locations:
        return own
    package = Path(found.submodule_search_locations[0])
    bundled = package / "functional" / "image" / "lpips_models" / f"{backbone}.pth"
    return [*own, bundled] if bundled.is_file() else own


def _recognised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of any of the published files; leave out the rest (classifiers)."""
    known = {}
    for name, value in tensors.items():
        if match := _CONV.fullmatch(name):
            known[f"{match[1]}.{match[2]}"] = value.float()
        elif match := _HEAD.fullmatch(name):
            known[f"head{match[1]}"] = value.float()
    return known


def expected_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that `LPIPS` takes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, stage in enumerate(BACKBONES[backbone]):
        for conv in stage.convs:
            shapes[f"{conv.number}.weight"] = (conv.outputs, conv.inputs, conv.kernel, conv.kernel)
            shapes[f"{conv.number}.bias"] = (conv.outputs,)
        shapes[f"head{i}"] = (1, stage.convs[-1].outputs, 1, 1)
    return shapes


def _check(backbone: str, tensors: dict[str, Tensor], source: Path) -> None:
    problems = []
    for name, shape in expected_shapes(backbone).items():
        have = tuple(tensors[name].shape) if name in tensors else "missing"
        if have != shape:
            problems.append(f"{name} is {have}, expected {shape}")
    if problems:
        raise WeightsError(
            f"{source} does not hold LPIPS weights for '{backbone}': {'; '.join(problems[:3])}.",
            allowed=f"{BACKBONE_FILES[backbone]}, with the heads {backbone}.pth beside it",
        )
