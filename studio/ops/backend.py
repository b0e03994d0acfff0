"""Choice of the implementation behind a numerical operation, made once, logged in one line."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import logging
import os
import sys
from types import ModuleType

import torch
from torch import Tensor

from studio.errors import ConfigError

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "cpu", "triton", "tcnn", "nerfacc")

# What `auto` tries, in this order; every operation ends with its torch twin.
CANDIDATES = {
    "hash grid": ("cpu", "triton", "tcnn", "torch"),
    "hash-sdf": ("cpu", "triton", "tcnn", "torch"),
    "ray_march": ("cpu", "triton", "nerfacc", "torch"),
    "composite": ("cpu", "triton", "nerfacc", "torch"),
    "neus_alpha": ("cpu", "triton", "torch"),
}

HOW_TO_GET = {
    "cpu": "pip install numba, and leave the tensors on the CPU (device=cpu)",
    "triton": "needs a CUDA device; triton comes with torch's CUDA build for Linux "
    "(https://pytorch.org/get-started)",
    "tcnn": "needs a CUDA device and nvcc; pip install "
    "'git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch'",
    "nerfacc": "needs a CUDA device and nvcc; pip install nerfacc==0.5.3",
}


NAMES = {"cpu": "numba", "torch": "plain torch", "tcnn": "tiny-cuda-nn"}
"""What backends are called in messages, where not by their option."""

_unsaid: list[tuple[str, str, str, str]] = []


@functools.cache
def _note(operation: str, backend: str, device: str, why_not: str) -> None:
    """Keep a choice for `announce_choices`, and tell it at once to those who want all details."""
    logger.debug("%s: backend %s on %s %s", operation, backend, device, why_not)
    _unsaid.append((operation, backend, device, why_not))


def announce_choices() -> None:
    """Log, in one line, all choices that were made since the last call; nothing if there are none.

    A run calls it once its kernels are at work, and once at its end.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for operation, backend, device, why_not in _unsaid:
        groups.setdefault((backend, device, why_not), []).append(operation.replace("_", " "))
    _unsaid.clear()
    parts = [
        f"{NAMES.get(backend, backend)} on {device} for {', '.join(operations)}"
        + (f" ({why_not})" if why_not else "")
        for (backend, device, why_not), operations in groups.items()
    ]
    if parts:
        logger.info("backends: %s", "; ".join(parts))


def interpreting() -> bool:
    """Whether Triton kernels run in Triton's interpreter, on CPU tensors, slowly, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _installed(module: str) -> bool:
    """Whether a module can be found; asked several times in every training step."""
    return importlib.util.find_spec(module) is not None


@functools.cache
def _import_problem(module: str) -> str | None:
    """Why an optional CUDA extension cannot be imported, or None; imports it on first use."""
    if not _installed(module):
        return f"{module} is not installed"
    try:
        importlib.import_module(module)
        if module == "nerfacc" and importlib.import_module("nerfacc.cuda")._backend._C is None:
            return "nerfacc's CUDA code is not compiled"
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"importing {module} fails: {error}"
    return None


def obstacle(backend: str, device: torch.device, *, supported: bool = True) -> str | None:
    """Say why a backend cannot work on a device, or None if it can.

    Args:
        backend: a name of `BACKENDS` but ``auto``.
        device: where the tensors live.
        supported: whether the numba kernels handle this particular setting.
    """
    if backend == "torch":
        return None
    if backend == "cpu":
        if device.type != "cpu":
            return f"numba kernels take CPU tensors, these are on {device.type}"
        if not _installed("numba"):
            return "numba is not installed"
        return None if supported else "numba kernels handle 2 features per level only"
    if device.type != "cuda" and not (backend == "triton" and interpreting()):
        return f"it takes CUDA tensors, these are on {device.type}"
    if backend == "triton":
        return None if _installed("triton") else "triton is not installed"
    return _import_problem({"tcnn": "tinycudann", "nerfacc": "nerfacc"}[backend])


def choose_backend(
    operation: str, requested: str, device: torch.device, *, supported: bool = True
) -> str:
    """Resolve ``auto`` to the fastest backend that works here; `announce_choices` tells which.

    On the CPU that is ``cpu`` (numba), on CUDA ``triton``, else tiny-cuda-nn or nerfacc, else the
    reference ``torch``. A backend that has nothing special for this operation, but has for others
    (one option often serves several), also means ``auto``.

    Args:
        operation: a key of `CANDIDATES`.
        requested: one of `BACKENDS`.
        device: where the tensors live.
        supported: whether the numba kernels handle this particular setting.

    Raises:
        ConfigError: for an unknown name, or a backend that cannot work here.
    """
    if requested not in BACKENDS:
        raise ConfigError(f"{operation}: backend is {requested!r}.", allowed=", ".join(BACKENDS))
    if requested in CANDIDATES[operation]:
        problem = obstacle(requested, device, supported=supported)
        if problem is None:
            _note(operation, requested, device.type, "")
            return requested
        working = [
            name
            for name in CANDIDATES[operation]
            if obstacle(name, device, supported=supported) is None
        ]
        raise ConfigError(
            f"{operation}: backend {requested!r} cannot be used here: {problem}.",
            allowed=", ".join(["auto", *working]),
            hint=HOW_TO_GET[requested],
        )
    faster: list[str] = []
    for name in CANDIDATES[operation]:
        problem = obstacle(name, device, supported=supported)
        if problem is None:
            _note(operation, name, device.type, "; ".join(faster))
            return name
        if (name == "cpu") == (device.type == "cpu"):  # the others never could
            faster.append(f"not {NAMES.get(name, name)}: {problem}")
    raise AssertionError("the torch twin always works")


def kernels(family: str, backend: str) -> ModuleType:
    """Import the native kernels of an operation: ``hash_grid`` + ``triton``, for example."""
    return importlib.import_module(f"studio.ops.{family}_{backend}")


def ready(name: str, tensor: Tensor) -> Tensor:
    """Check what a kernel takes for granted: floating, contiguous, outside autograd.

    Raises:
        ValueError: naming the tensor and what is wrong with it.
    """
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be a floating tensor, got {tensor.dtype}")
    return tensor.detach().contiguous()


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks instead of returning them to the system at every step.

    Fresh tensors above 128 kB are otherwise mapped, faulted in and unmapped again each time. The
    resident size stays at its peak afterwards. Does nothing (and returns False) without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    # malloc.h: M_TRIM_THRESHOLD -1, M_TOP_PAD -2, M_MMAP_MAX -4
    settings = ((-4, 0), (-1, 2**31 - 1), (-2, 64 * 2**20))
    return all(mallopt(option, value) == 1 for option, value in settings)
