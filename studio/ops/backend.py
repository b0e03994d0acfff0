"""Choice of the implementation behind a numerical operation, made once and logged once."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import sys

import torch

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "cpu")


@functools.cache
def _announce(operation: str, backend: str, reason: str) -> None:
    logger.info("%s: backend %s (%s)", operation, backend, reason)


def choose_backend(
    operation: str, requested: str, device: torch.device, *, supported: bool = True
) -> str:
    """Resolve ``auto`` to ``cpu`` (numba kernels) or ``torch`` (reference); logged once.

    Args:
        operation: name used in the log line.
        requested: one of ``auto``, ``torch``, ``cpu``.
        device: where the tensors live.
        supported: whether the native kernels handle this particular setting.

    Raises:
        ValueError: for an unknown name, or if ``cpu`` is demanded where it cannot work.
    """
    if requested not in BACKENDS:
        raise ValueError(
            f"{operation}: backend is {requested!r}, allowed are {', '.join(BACKENDS)}"
        )
    native = device.type == "cpu" and supported and importlib.util.find_spec("numba") is not None
    if requested == "cpu" and not native:
        raise ValueError(
            f"{operation}: backend 'cpu' needs numba, CPU tensors and 2 features per level"
        )
    backend = "cpu" if native and requested in ("auto", "cpu") else "torch"
    _announce(operation, backend, f"requested {requested}, device {device.type}")
    return backend


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


def contiguous_float(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Check what a raw kernel takes for granted: a contiguous floating CPU tensor.

    Raises:
        ValueError: naming the tensor and what is wrong with it.
    """
    if tensor.device.type != "cpu" or not tensor.is_floating_point():
        raise ValueError(
            f"{name} must be a floating CPU tensor, got {tensor.dtype} on {tensor.device}"
        )
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
