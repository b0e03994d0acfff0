"""A snapshot of what produced a run: code, versions and hardware, kept beside its results."""

from __future__ import annotations

import platform
import subprocess
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from studio.io.files import atomic_write, write_json
from studio.io.shipped import CHECKOUT
from studio.plugins.places import PACKAGE_ROOT, custom_folders
from studio.plugins.sources import python_files
from studio.runs.folder import RunFolder
from studio.version import __version__

PACKAGES = ("torch", "pytorch-lightning", "diffusers", "transformers", "numpy", "PyYAML")


def environment() -> dict[str, Any]:
    """Versions and hardware, for the run folder and for --doctor."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    cuda = torch.cuda.is_available()
    return {
        "studio": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if cuda
        else [],
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The git commit of the code, with + where files differ from it; None outside a checkout."""
    if CHECKOUT is None:
        return None
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def write_snapshot(run: RunFolder) -> None:
    """Write configs/environment.json and configs/code.zip."""
    write_json(run.configs / "environment.json", environment())
    with atomic_write(run.configs / "code.zip") as temporary:
        pack_code(temporary)


def pack_code(target: Path) -> None:
    """Zip the source of studio and of custom plugins."""
    folders = [PACKAGE_ROOT, *custom_folders()]
    how: dict[str, Any] = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}  # in no time
    with zipfile.ZipFile(target, "w", strict_timestamps=False, **how) as archive:
        for folder in folders:
            for path in (p for p in python_files(folder) if p.is_file()):
                archive.write(path, (Path(folder.name) / path.relative_to(folder)).as_posix())
