"""Imports point one way; methods do not know each other; light modules import nothing heavy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "studio"

# From the bottom up; a module may import its own layer and those below.
LAYERS = (
    {
        "errors",
        "file_hash",
        "files",
        "paths",
        "progress",
        "picture_files",
        "plugin_options",
        "reading",
        "registry",
        "config",
        "config_changes",
        "options",
        "ranges",
        "plugins",
        "plugin_sources",
        "console",
        "hashing",
        "run",
        "run_lock",
        "whole_folders",
        "yaml_text",
    },
    {"cameras", "rigs", "views", "images", "mesh", "schedule"},
    {"ops", "metrics", "data", "export"},
    {"guidance", "geometry", "renderers"},
    {"systems", "callbacks"},
    {
        "cli",
        "early_checks",
        "evaluate",
        "experiment",
        "trainer",
        "distributed",
        "listing",
        "doctor",
        "docs_tables",
        "ui",
        "epipolar_pictures",
    },
)
# Values and files belong to the second layer, whichever file they are in.
SECOND = {
    "bounds",
    "checkpoint_io",
    "even_background",
    "file_maps",
    "foreground",
    "lens",
    "capture_files",
    "masks",
    "shots",
    "similarity",
    "transforms",
    "transforms_blender",
    "transforms_cameras",
    "transforms_frames",
}
BUILT_ON = {"epidiff": {"zero123"}, "viewfusion_interpolated": {"zero123"}}
HEAVY = {
    "pytorch_lightning",
    "diffusers",
    "transformers",
    "numba",
    "embreex",
    "trimesh",
    "skimage",
    "xatlas",
    "imageio",
    "torch",
}
LIGHT = LAYERS[0] | {
    "cli",
    "early_checks",
    "listing",
    "doctor",
    "schedule",
    "evaluate",
    "experiment",
}
OPTIONAL = {
    "nerfacc",
    "tinycudann",
    "gradio",
    "rembg",
    "wandb",
    "triton",
    "torchvision",
    "webdataset",
}


def layer_of(part: str) -> int:
    if part in SECOND:
        return 1
    found = [i for i, layer in enumerate(LAYERS) if part in layer]
    assert found, f"studio/{part} has no layer: add it to LAYERS in this test"
    return found[0]


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported(path: Path, source: str | None = None, *, top_only: bool = False) -> list[str]:
    """Dotted names that a file imports; under TYPE_CHECKING nothing is imported."""
    here = ("studio", *path.relative_to(PACKAGE).with_suffix("").parts)
    tree = ast.parse(path.read_text() if source is None else source)
    return list(_imports(tree, here, top_only))


def _imports(node: ast.AST, here: tuple[str, ...], top_only: bool) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = ".".join(here[: len(here) - node.level]) if node.level else ""
        module = ".".join(part for part in (base, node.module or "") if part)
        yield from (f"{module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, here, top_only)


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "studio" or len(parts) < 2 or not exists(parts[1]):
            continue
        assert layer_of(parts[1]) <= layer_of(own[0]), f"{path} imports {name}, which lies above it"
        if own[0] == "geometry":
            assert parts[1] != "guidance", f"{path}: geometry knows nothing of guidance"
        if own[0] == parts[1] == "guidance" and len(own) > 2 and len(parts) > 2:
            other = parts[2]
            allowed = {own[1], *BUILT_ON.get(own[1], ())}
            is_method = (PACKAGE / "guidance" / other).is_dir()
            assert not is_method or other in allowed, f"{path} imports another method: {name}"


def exists(part: str) -> bool:
    return (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()


def test_reading_of_imports() -> None:
    path = PACKAGE / "guidance" / "method" / "part.py"
    source = (
        "import torch.nn\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from studio.cli import main\n"
        "def f():\n    from studio.systems import base\n    import numba\n"
        "class A:\n    import einops\n"
        "from ..other import network\n"
    )
    every = {
        "torch.nn",
        "typing.TYPE_CHECKING",
        "studio.systems.base",
        "numba",
        "einops",
        "studio.guidance.other.network",
    }
    assert set(imported(path, source)) == every
    assert set(imported(path, source, top_only=True)) == every - {"studio.systems.base", "numba"}


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_light_modules_import_nothing_heavy(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    tops = {n.partition(".")[0] for n in imported(path, top_only=True)}
    assert not tops & HEAVY


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_optional_packages_are_never_imported_at_the_top(path: Path) -> None:
    tops = {n.partition(".")[0] for n in imported(path, top_only=True)}
    own = {"triton"} if path.stem.endswith("_triton") else set()  # only its kernels, loaded lazily
    assert not tops & OPTIONAL - own
