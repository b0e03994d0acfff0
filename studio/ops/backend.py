"""Choice of the implementation behind a numerical operation, made once and logged once."""

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


@functools.cache
def _announce(operation: str, backend: str, reason: str) -> None:
    logger.info("%s: backend %s (%s)", operation, backend, reason)


def interpreting() -> bool:
    """Whether Triton kernels run in Triton's interpreter, on CPU tensors, slowly, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def _import_problem(module: str) -> str | None:
    """Why an optional CUDA extension cannot be imported, or None; imports it on first use."""
    if importlib.util.find_spec(module) is None:
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
        if importlib.util.find_spec("numba") is None:
            return "numba is not installed"
        return None if supported else "numba kernels handle 2 features per level only"
    if device.type != "cuda" and not (backend == "triton" and interpreting()):
        return f"it takes CUDA tensors, these are on {device.type}"
    if backend == "triton":
        return None if importlib.util.find_spec("triton") else "triton is not installed"
    return _import_problem({"tcnn": "tinycudann", "nerfacc": "nerfacc"}[backend])


def choose_backend(
    operation: str, requested: str, device: torch.device, *, supported: bool = True
) -> str:
    """Resolve ``auto`` to the fastest backend that works here; says what and why in one log line.

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
    reason = f"requested {requested}, device {device.type}"
    if requested in CANDIDATES[operation]:
        problem = obstacle(requested, device, supported=supported)
        if problem is None:
            _announce(operation, requested, reason)
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
    for name in CANDIDATES[operation]:
        problem = obstacle(name, device, supported=supported)
        if problem is None:
            _announce(operation, name, reason)
            return name
        if not (name == "cpu" and device.type == "cuda"):
            reason += f"; not {name}: {problem}"
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


def in_parallel() -> bool:
    """Tell whether kernels shall run on several threads: as many as torch uses.

    On one thread, numba's thread pool is never started and results do not depend on scheduling.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return False
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    return True


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
