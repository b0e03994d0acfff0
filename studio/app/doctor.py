"""`launch.py --doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from studio.io import shipped
from studio.plugins import discovery as plugins
from studio.version import __version__

WEIGHTS_FOLDER = "load/nano"
OFFICIAL_CONFIGS = shipped.ROOT / "configs/official"
SIZES_GB = {
    "epidiff": 6.6,
    "eschernet": 3.9,
    "spad": 7.7,
    "viewfusion-composable": 0.4,
    "viewfusion-interpolated": 15.5,
}
"""Of released weights, from the number of their parameters and what their authors say."""


@dataclass(frozen=True)
class Package:
    """A package, what it is for, and how to get it."""

    module: str
    distribution: str
    unlocks: str
    install: str


CORE = (
    Package("torch", "torch", "everything", "pip install torch"),
    Package("pytorch_lightning", "pytorch-lightning", "training", "pip install -e ."),
    Package("yaml", "PyYAML", "configs", "pip install -e ."),
    Package("diffusers", "diffusers", "guidance", "pip install -e ."),
    Package("transformers", "transformers", "guidance", "pip install -e ."),
    Package("numba", "numba", "fast hash grid on CPUs", "pip install -e ."),
    Package("embreex", "embreex", "rendering of training data", "pip install -e ."),
    Package("skimage", "scikit-image", "meshes from distance fields", "pip install -e ."),
    Package("trimesh", "trimesh", "mesh files", "pip install -e ."),
    Package("imageio_ffmpeg", "imageio-ffmpeg", "turntable videos", "pip install -e ."),
)
OPTIONAL = (
    Package("triton", "triton", "fast kernels on NVIDIA GPUs", "comes with torch for CUDA"),
    Package("nerfacc", "nerfacc", "ray marching on NVIDIA GPUs", "pip install -e .[gpu]"),
    Package(
        "tinycudann",
        "tinycudann",
        "fast hash grid on NVIDIA GPUs",
        "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch",
    ),
    Package("rembg", "rembg", "pictures without alpha", "pip install -e .[rembg]"),
    Package("pillow_heif", "pillow-heif", "HEIC pictures", "pip install -e .[heic]"),
    Package("OpenEXR", "OpenEXR", "all kinds of EXR files", "pip install -e .[exr]"),
    Package("pycolmap", "pycolmap", "cameras of plain photos", "pip install -e .[colmap]"),
    Package("pyinstantmeshes", "pyinstantmeshes", "quads", "pip install -e .[quads]"),
    Package("DracoPy", "DracoPy", "smaller GLB files", "pip install -e .[draco]"),
    Package("viser", "viser", "studio view", "pip install -e .[view]"),
    Package("webdataset", "webdataset", "data.stream of nmr", "pip install -e .[webdataset]"),
    Package("fastapi", "fastapi", "studio ui", "pip install -e .[ui]"),
    Package("mcp", "mcp", "studio ui for other programs", "pip install -e .[ui]"),
    Package("tensorboard", "tensorboard", "trainer.logger=tensorboard", "pip install tensorboard"),
    Package("wandb", "wandb", "trainer.logger=wandb", "pip install -e .[wandb]"),
)


def version(package: Package) -> str | None:
    """The installed version, "?" if it has none, None if the package is not there."""
    if importlib.util.find_spec(package.module) is None:
        return None
    try:
        return metadata.version(package.distribution)
    except metadata.PackageNotFoundError:
        return "?"


def report() -> tuple[list[str], list[str]]:
    """The report's lines, and what to do, most urgent first."""
    lines = [
        f"studio {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"CPU: {os.cpu_count()} cores, {len(os.sched_getaffinity(0))} usable"
        if hasattr(os, "sched_getaffinity")
        else f"CPU: {os.cpu_count()} cores",
    ]
    advice: list[str] = []
    lines += _hardware(advice)
    lines += ["", "needed packages:"]
    for package in CORE:
        lines.append(_package_line(package))
        if version(package) is None:
            advice.append(f"{package.module} is missing: {package.install}")
    lines += ["", "optional packages:"]
    lines += [_package_line(package) for package in OPTIONAL]
    lines += ["", *_weights(advice), "", *released_weights(advice), "", *_plugins(advice)]
    return lines, advice


def print_report() -> None:
    """Print the report."""
    lines, advice = report()
    print("\n".join(lines))
    print()
    if advice:
        print("to do:")
        for item in advice:
            print(f"  - {item}")
    else:
        print("everything that is needed is here.")


def _package_line(package: Package) -> str:
    found = version(package)
    state = f"{found}" if found else "not installed"
    hint = "" if found else f"  ({package.install})"
    return f"  {package.distribution:<18}{state:<16}{package.unlocks}{hint}"


def _hardware(advice: list[str]) -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return ["torch: not installed"]
    import torch

    lines = [f"torch {torch.__version__}, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            size = card.total_memory / 2**30
            arch = f"sm_{card.major}{card.minor}"
            lines.append(f"GPU {i}: {card.name}, {size:.0f} GiB, {arch}, CUDA {torch.version.cuda}")
            if arch not in torch.cuda.get_arch_list():
                advice.append(f"this torch has no kernels for {arch}: install a newer torch")
    elif torch.backends.mps.is_available():
        lines.append("GPU: Apple, which is not used: it has no float64")
    else:
        lines.append("GPU: none that torch can use; the nano configs are made for the CPU")
        if shutil.which("nvidia-smi"):
            built = torch.version.cuda or "none, it is a CPU build"
            advice.append(
                "there is an NVIDIA driver, but torch cannot use it "
                f"(torch's CUDA: {built}): install the CUDA build of torch from pytorch.org"
            )
    return lines


def _weights(advice: list[str]) -> list[str]:
    folder = Path(shipped.found(WEIGHTS_FOLDER))
    if not folder.is_dir():
        advice.append(f"there are no weights in {WEIGHTS_FOLDER}: start in the project's folder")
        return [f"weights: no folder {WEIGHTS_FOLDER}"]
    lines = [f"weights in {folder}:"]
    for method in sorted(p for p in folder.iterdir() if p.is_dir()):
        files = sorted(method.rglob("*.safetensors"))
        size = sum(f.stat().st_size for f in files) / 2**20
        lines.append(f"  {method.name:<28}{size:6.1f} MiB in {len(files)} files")
        advice += [f"{fault}: train it or fetch it again" for fault in faults(method)]
    return lines


def released_weights(advice: list[str]) -> list[str]:
    """What each config of released weights needs: where it is, its size, its licence, its faults.

    Args:
        advice: what to do is added to it.
    """
    from studio.app.early_checks import WEIGHTS
    from studio.config import read_experiment
    from studio.errors import StudioError
    from studio.guidance.hub import locate
    from studio.guidance.licences import licence_of
    from studio.plugins.discovery import find

    lines = ["released weights (system.guidance.allow_download=true fetches them):"]
    for config in sorted(OFFICIAL_CONFIGS.glob("*.yaml")):
        system = read_experiment(config)["system"]
        method, options = system["guidance_type"], system["guidance"]
        for option in (o for o in (*WEIGHTS, "tokenizer") if options.get(o)):
            name = str(options[option])
            licence, size = "", ""
            if option == "weights":
                licence = find("guidance", method).released_licence
                size = f"{SIZES_GB[method]} GB"
            try:
                path = locate(name)
                licence = licence_of(str(path), licence)
                found = faults(path, weights=option in WEIGHTS)
                inside = [f.replace(f"{path}/", "").replace(f"{path} ", "it ") for f in found]
                state = "; ".join([f"{_bytes(path) / 1e9:.2f} GB, {path}", *inside])
                again = "remove it, with what it links to, and fetch it again"
                advice += [f"{method}, {option}: {fault}: {again}" for fault in found]
            except StudioError:
                state = f"not here{', ' * bool(size)}{size}"
            told = f"; licence: {licence}" if licence else ""
            lines.append(f"  {method:<24} {option:<10} {name}: {state}{told}")
    return lines


def _files(path: Path) -> list[Path]:
    """A file, or all files below a folder, links that lead nowhere among them."""
    return [path] if not path.is_dir() else sorted(p for p in path.rglob("*") if not p.is_dir())


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path) if file.is_file())


def faults(path: Path, weights: bool = True) -> list[str]:
    """What is wrong with files of weights and of what describes them, as far as it is told quickly.

    Args:
        path: a file, or a folder whose files are looked at.
        weights: whether there should be any among them.

    Returns:
        sentences without their full stop, each of one file.
    """
    from studio.guidance.needs import WEIGHT_SUFFIXES

    files = _files(path)
    found = [fault for file in files if (fault := _fault(file))]
    if weights and not any(file.suffix in WEIGHT_SUFFIXES for file in files):
        found.append(f"{path} holds no file of weights")
    return found


def _fault(file: Path) -> str:
    """The fault of one file, "" where none is seen."""
    from studio.errors import StudioError
    from studio.guidance.json_files import read_json
    from studio.io.weight_files import PICKLED, check_readable

    try:
        if file.suffix in (".safetensors", *PICKLED):
            check_readable(file)
        elif file.suffix == ".json":
            read_json(file)
    except StudioError as error:
        return str(error).splitlines()[0].rstrip(".")
    return ""


def _plugins(advice: list[str]) -> list[str]:
    plugins.load_all()
    found = plugins.catalogue()
    advice += found.failure_lines()
    advice += [
        f"{row.kind} '{row.name}': {row.error}"
        for row in plugins.listing()
        if row.error and row.origin not in found.failures
    ]
    kinds: dict[str, int] = {}
    for plugin in found.plugins:
        kinds[plugin.kind] = kinds.get(plugin.kind, 0) + 1
    return ["plugins: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))]
