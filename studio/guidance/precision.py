"""Sampling in half precision, and in slices: less memory for the same views.

The networks' products are computed in bfloat16 or float16; the noise schedule, the latents, the
sums of guidance and all geometry stay in float32, and so do the weights of normalisation layers.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.plugins.ranges import Range

P = ParamSpec("P")
R = TypeVar("R")
_HALF = (torch.bfloat16, torch.float16)
SHORT = 64
"""Tokens up to which attention is computed by its parts in trainings on a CPU."""
VAE_BATCH = 16
"""Pictures that a VAE encodes or decodes at once where nothing else is asked for."""

log = logging.getLogger(__name__)


@dataclass
class SamplingOptions:
    """Options of every method that say how its networks are computed in sampling."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic and weights of the networks in sampling: float32, or half the memory with bfloat16 or float16 (GPUs); latents and cameras stay in float32."""  # noqa: E501


@dataclass
class LatentSamplingOptions(SamplingOptions):
    """The same of methods that make latents, which a VAE turns into pictures."""

    vae_batch: Annotated[int, Range(1, 1000)] = VAE_BATCH
    """Pictures that the VAE encodes or decodes at once; fewer want less memory."""


def short_attention(tokens: int) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which networks that attend to few tokens are trained on a CPU.

    The fused attention of torch 2.13 costs twice as much as its parts there, for 64 tokens in
    bfloat16; from 256 tokens on it is the cheaper one.

    Args:
        tokens: places of the latents.
    """
    if tokens > SHORT:
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


def sampled(generate: Callable[P, R]) -> Callable[P, R]:
    """Let a guidance's `generate` compute at its option `precision`."""

    @functools.wraps(generate)
    def at_precision(*args: P.args, **kwargs: P.kwargs) -> R:
        with arithmetic(args[0]):
            return generate(*args, **kwargs)

    return at_precision


def arithmetic(guidance: Any) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a guidance's networks are computed in sampling."""
    kind = sampling_type(guidance)
    if kind == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(_device(guidance).type, dtype=kind)


def store_at_precision(guidance: Any) -> None:
    """Keep the networks' weights as they are computed with, in half the memory.

    Only for guidance that is not trained any more: what the weights lose does not come back.

    Args:
        guidance: whose option `precision` says how.
    """
    store(guidance, sampling_type(guidance))


def store(network: nn.Module, kind: torch.dtype) -> None:
    """Round a network's float32 weights to a type; those of normalisation layers stay."""
    for module in network.modules():
        if "Norm" in type(module).__name__:
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.dtype == torch.float32:
                parameter.data = parameter.data.to(kind)


def sampling_type(guidance: Any) -> torch.dtype:
    """Return the type that `precision` means.

    float16 is for GPUs: a processor takes bfloat16 if it multiplies that, else float32. Where it
    does not, bfloat16 still halves the memory, and takes a hundred times as long; that is said.
    """
    kind: torch.dtype = getattr(torch, getattr(guidance.cfg, "precision", "float32"))
    if kind == torch.float32 or _device(guidance).type != "cpu":
        return kind
    if kind == torch.float16:
        kind = torch.bfloat16 if multiplies_bfloat16() else torch.float32
        log.info("precision: float16 is for GPUs; %s takes its place here", str(kind)[6:])
    elif not multiplies_bfloat16():
        log.warning(
            "system.guidance.precision: this processor does not multiply bfloat16; sampling may "
            "take a hundred times as long as in float32"
        )
    return kind


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    onednn = torch.backends.mkldnn.is_available()
    return onednn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def whole(values: Tensor) -> Tensor:
    """Return what a network says in float32, if it said it in half precision."""
    return values.float() if values.dtype in _HALF else values


def _device(guidance: nn.Module) -> torch.device:
    return next(guidance.parameters()).device
