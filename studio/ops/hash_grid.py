"""Multiresolution hash grid with the layout of tiny-cuda-nn (Müller et al. 2022).

Parameters are interchangeable with tiny-cuda-nn's float32 ``GridEncoding``: levels follow one
another in one ``[rows, features]`` table. Between the corners of a cell, features are interpolated
with weights linear in the position w, or with smoothstep's w^2 (3 - 2 w), whose slope vanishes at
the corners.

Normals use one encode: with J the derivative of the features by the position and g the derivative
of the SDF by the features, n = J^T g, so the gradient with respect to J is the outer product of g
and the gradient of n. J is therefore never an autograd tensor; `encode` keeps it in an `Encoding`,
`contract` turns it into normals, and one scatter writes the whole gradient of the table. The numba
and Triton kernels share this scheme; the torch twin and tiny-cuda-nn differentiate twice instead.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.ops.backend import choose_backend, kernels, ready
from studio.plugins.parsing import Checked
from studio.plugins.ranges import Range

Interpolation = Literal["linear", "smoothstep"]
MOST_LEVELS = 128  # tiny-cuda-nn's
FINEST = 2**24  # cells a side: finer ones have no positions of their own in float32
MOST_NUMBERS = 2**31  # in a table: tiny-cuda-nn counts in 32 bits


@dataclass(frozen=True)
class HashGridLayout(Checked):
    """Sizes of every level of a hash grid, computed as tiny-cuda-nn does (in float32).

    Raises:
        ConfigError: for a grid that cannot be.
    """

    levels: Annotated[int, Range(1, MOST_LEVELS)] = 8
    base_resolution: Annotated[int, Range(1, FINEST)] = 16
    growth: Annotated[float, Range(1, FINEST)] = 1.5
    log2_rows: Annotated[int, Range(1, 31)] = 15
    features: Annotated[int, Range(1, 64)] = 2
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        """Check every number, and what belongs together."""
        super().__post_init__()
        finest = math.log2(self.base_resolution) + (self.levels - 1) * math.log2(self.growth)
        if finest > math.log2(FINEST):
            raise ConfigError(
                f"hash grid: the finest of {self.levels} levels has 2^{finest:.0f} cells a side.",
                allowed=f"up to 2^{FINEST.bit_length() - 1}",
                hint="fewer levels, or less growth from level to level",
            )
        if self.offsets[-1] * self.features > MOST_NUMBERS:
            raise ConfigError(
                f"hash grid: its table has {self.offsets[-1] * self.features:,} numbers.",
                allowed=f"up to {MOST_NUMBERS:,}",
                hint="fewer levels or features, or a smaller log2_rows",
            )

    @functools.cached_property
    def scales(self) -> tuple[float, ...]:
        """Cells per unit length of each level (a level has ``ceil(scale) + 1`` vertices a side)."""
        exp2, log2_growth = _c_function("exp2f"), np.float32(_c_function("log2f")(self.growth))
        powers = [np.float32(exp2(float(np.float32(k) * log2_growth))) for k in range(self.levels)]
        return tuple(float(p * np.float32(self.base_resolution) - np.float32(1)) for p in powers)

    @functools.cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Vertices per side of each level."""
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @functools.cached_property
    def rows(self) -> tuple[int, ...]:
        """Table rows of each level."""
        return tuple(min((r**3 + 7) // 8 * 8, 2**self.log2_rows) for r in self.resolutions)

    @functools.cached_property
    def offsets(self) -> tuple[int, ...]:
        """First row of each level, and the total number of rows last."""
        return tuple(int(o) for o in np.concatenate([[0], np.cumsum(self.rows)]))

    @functools.cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether each level stores every vertex (no hashing)."""
        return tuple(r**3 <= rows for r, rows in zip(self.resolutions, self.rows, strict=True))

    @property
    def width(self) -> int:
        """Length of the feature vector of a point."""
        return self.levels * self.features

    @functools.lru_cache(maxsize=8)  # noqa: B019 - layouts are few, frozen and hashable
    def arrays(self, dtype: np.dtype) -> tuple[np.ndarray | bool, ...]:
        """(scales, resolutions, offsets, dense, smooth) as the native kernels take them."""
        return (
            np.array(self.scales, dtype),
            np.array(self.resolutions, np.int64),
            np.array(self.offsets, np.int64),
            np.array(self.dense, np.bool_),
            self.interpolation == "smoothstep",
        )


def _refused(name: str, given: object, allowed: str) -> ConfigError:
    return ConfigError(f"hash grid: {name} is {given!r}.", allowed=allowed)


@functools.cache
def _c_function(name: str) -> Callable[[float], float]:
    """A function of the C library on float32 numbers, by which tiny-cuda-nn sizes its levels.

    numpy's and torch's functions of that name have another last bit on some processors, and that
    bit decides whether a level has 256 or 257 vertices a side.
    """
    try:
        library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)  # type: ignore[arg-type]
        function = getattr(library, name)
    except (OSError, AttributeError):
        double = {"exp2f": math.exp2, "log2f": math.log2}[name]
        return lambda x: float(np.float32(double(np.float32(x))))
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return function


def growth_for(levels: int, base_resolution: int, max_resolution: int) -> float:
    """Growth per level that takes ``base_resolution`` to ``max_resolution`` at the last level.

    Raises:
        ConfigError: if there is none.
    """
    if levels < 1:
        raise _refused("levels", levels, f"1 to {MOST_LEVELS}")
    if not 1 <= base_resolution <= max_resolution <= FINEST:
        raise ConfigError(
            f"hash grid: base_resolution is {base_resolution}, max_resolution {max_resolution}.",
            allowed=f"1 or more, the second one not smaller than the first, up to {FINEST}",
        )
    return 1.0 if levels == 1 else (max_resolution / base_resolution) ** (1 / (levels - 1))


def encode_reference(
    points: Float[Tensor, "n 3"], table: Float[Tensor, "rows f"], layout: HashGridLayout
) -> Float[Tensor, "n lf"]:
    """Encode points in [0, 1]^3 with plain tensor operations, differentiable twice."""
    points = points.clamp(0, 1)
    corners = torch.tensor([[c & 1, c >> 1 & 1, c >> 2] for c in range(8)], device=points.device)
    encoded = []
    for level in range(layout.levels):
        position = points * layout.scales[level] + 0.5
        cell = position.detach().floor()
        inside = (position - cell)[:, None, :]
        if layout.interpolation == "smoothstep":
            inside = inside * inside * (3 - 2 * inside)
        weights = torch.where(corners.bool(), inside, 1 - inside).prod(-1)  # [n, 8]
        x, y, z = (cell.long()[:, None, :] + corners).unbind(-1)
        rows, resolution = layout.rows[level], layout.resolutions[level]
        if layout.dense[level]:
            index = (x + y * resolution + z * resolution**2) % rows
        else:
            index = (x ^ (y * 2654435761) ^ (z * 805459861)) & (rows - 1)
        encoded.append((weights[..., None] * table[layout.offsets[level] + index]).sum(1))
    return torch.cat(encoded, -1)


class Encoding:
    """What the encoder, the contraction and their backward passes share for one batch of points."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.jacobian: Tensor | None = None  # [LF, 3, P], of native kernels
        self.g: Tensor | None = None  # [LF, P], derivative of the SDF by the features
        self.grad_normal: Tensor | None = None  # [3, P]
        self.points: Tensor | None = None  # [3, P] and [LF, P] with a graph between them, of
        self.features: Tensor | None = None  # backends that differentiate twice


class _Encode(torch.autograd.Function):
    """Operation A: features, and a token that orders the backward passes (contract first)."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        table: Tensor,
        layout: HashGridLayout,
        encoding: Encoding,
        normals: bool,
    ) -> tuple[Tensor, Tensor]:
        points, table = ready("points", points), ready("table", table)
        count = points.shape[1]
        features = points.new_empty(layout.width, count)
        encoding.jacobian = points.new_empty(layout.width, 3, count if normals else 0)
        run = kernels("hash_grid", encoding.backend)
        run.encode(points, table, layout, features, encoding.jacobian)
        ctx.save_for_backward(points)
        ctx.layout, ctx.encoding, ctx.shape = layout, encoding, table.shape
        return features, points.new_zeros(())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_features: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (points,) = ctx.saved_tensors
        encoding = ctx.encoding
        empty = points.new_empty(3, 0)
        g = encoding.g if encoding.g is not None else empty
        grad_normal = encoding.grad_normal if encoding.grad_normal is not None else empty
        grad_table = points.new_zeros(ctx.shape)
        grad_features = ready("grad_features", grad_features)
        run = kernels("hash_grid", encoding.backend)
        run.scatter(points, ctx.layout, grad_features, g, grad_normal, grad_table)
        encoding.g = encoding.grad_normal = encoding.jacobian = None
        return None, grad_table, None, None, None


class _Contract(torch.autograd.Function):
    """Operation B: n = J^T g."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, token: Tensor, encoding: Encoding) -> Tensor:
        g = ready("g", g)
        normal = g.new_empty(3, g.shape[1])
        kernels("hash_grid", encoding.backend).contract(encoding.jacobian, g, normal)
        ctx.save_for_backward(g)
        ctx.encoding = encoding
        return normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_normal: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = ctx.saved_tensors
        encoding = ctx.encoding
        if encoding.jacobian is None:
            raise RuntimeError("the normals of one encoding can be differentiated only once")
        encoding.g, encoding.grad_normal = g, ready("grad_normal", grad_normal)
        grad_g = torch.empty_like(g)
        run = kernels("hash_grid", encoding.backend)
        run.expand(encoding.jacobian, encoding.grad_normal, grad_g)
        return grad_g, g.new_zeros(()), None


def _encode_by_autograd(
    points: Tensor, table: Tensor, layout: HashGridLayout, encoding: Encoding, normals: bool
) -> Tensor:
    """Features whose derivatives autograd finds: the torch twin and tiny-cuda-nn."""
    if encoding.backend == "tcnn":
        from studio.ops.tcnn import encode_tcnn as run
    else:
        run = encode_reference
    with torch.set_grad_enabled(normals or torch.is_grad_enabled()):
        encoding.points = points.detach().requires_grad_(normals)
        features = run(encoding.points.T, table, layout).T
    encoding.features = features if normals else None
    return features if torch.is_grad_enabled() else features.detach()


def encode(
    points: Float[Tensor, "3 n"],
    table: Float[Tensor, "rows f"],
    layout: HashGridLayout,
    *,
    normals: bool,
    backend: str = "auto",
) -> tuple[Float[Tensor, "lf n"], Float[Tensor, ""], Encoding]:
    """Encode points in [0, 1]^3 (feature-major).

    Differentiable once, with respect to the table only (not the points).

    Args:
        points: positions; coordinates are clamped to the unit cube.
        table: the hash table.
        layout: its level sizes.
        normals: keep what `contract` needs.
        backend: ``auto``, ``cpu`` (numba, two features per level), ``triton``, ``tcnn``, ``torch``.

    Returns:
        Features, the token to hand to `contract`, and the encoding to hand to `contract`.
    """
    backend = choose_backend("hash grid", backend, points.device, supported=layout.features == 2)
    encoding = Encoding(backend)
    if backend in ("torch", "tcnn"):
        features = _encode_by_autograd(points, table, layout, encoding, normals)
        return features, points.new_zeros(()), encoding
    features, token = _Encode.apply(points, table, layout, encoding, normals)
    return features, token, encoding


def contract(
    g: Float[Tensor, "lf n"], token: Float[Tensor, ""], encoding: Encoding
) -> Float[Tensor, "3 n"]:
    """Gradient of the SDF by the encoded position, from its gradient ``g`` by the features."""
    if encoding.features is None or encoding.points is None:
        return _Contract.apply(g, token, encoding)
    (normal,) = torch.autograd.grad(
        encoding.features, encoding.points, g, create_graph=torch.is_grad_enabled()
    )
    return normal
