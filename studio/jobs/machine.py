"""What this machine has for workers: processor cores, memory, graphics cards; without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from studio.runs.distributed import may_have_cuda

WORKER_GB = 2.0
"""Memory that a worker on the processor may need; what configs of official size need is more."""


def cores() -> int:
    """Processor cores that this process may use, limits of a container included."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found = min(found or 1, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # none, or "max"
        pass
    return found or 1


def memory_gb() -> float:
    """Memory that is free now, within a container's limit; infinite where no system says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    free = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
    found = free / 2**20 if free else float("inf")
    try:
        group = Path("/sys/fs/cgroup")
        most, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        found = min(found, (most - used) / 2**30)
    except (OSError, ValueError):  # none, or "max"
        pass
    return found


def devices() -> list[str]:
    """One name a graphics card that torch can use; none on machines without."""
    if not may_have_cuda():
        return []
    code = "import torch; print(torch.cuda.device_count())"  # in a process that goes again
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    count = int(asked.stdout) if asked.stdout.strip().isdigit() else 0
    return [f"cuda:{i}" for i in range(count)]


def places(workers: int = 0) -> list[tuple[str, int]]:
    """Where workers are to be: device and processor threads of each.

    Args:
        workers: how many; 0: one a graphics card, else one of one thread a core, as far as there
            is memory.
    """
    found, all_cores = devices(), cores()
    if found:
        chosen = found[: workers or len(found)]
    else:
        fitting = max(1, int(min(memory_gb() / WORKER_GB, all_cores)))
        chosen = ["cpu"] * (workers or fitting)
    return [(device, max(1, all_cores // len(chosen))) for device in chosen]
