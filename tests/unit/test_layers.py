"""Imports point one way and never in a circle; methods do not know each other; light stays light.

Imports within functions count, and those for types only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "studio"

# From the bottom up; a module may import its own layer and those below.
LAYERS = (
    {"errors", "version", "moved", "io", "plugins", "progress", "config"},
    {"cameras", "similarity", "rigs", "views", "mesh", "captures"},
    {"ops", "metrics", "data", "export"},
    {"guidance", "geometry", "renderers", "models"},
    {"runs", "systems"},
    {"api", "pipeline", "inputs", "evaluation"},
    {"jobs"},
    {"server", "live"},
    {"app", "__main__"},
)
BUILT_ON = {"epidiff": {"zero123"}, "viewfusion_interpolated": {"zero123"}}
HEAVY = {
    "pytorch_lightning",
    "diffusers",
    "transformers",
    "numba",
    "embreex",
    "trimesh",
    "skimage",
    "imageio",
    "torch",
}
LIGHT = [
    *(f"io/{name}.py" for name in ("files", "paths", "picture_files", "reading", "yaml_text")),
    *(f"io/{name}.py" for name in ("file_hash", "shipped", "whole_folders")),
    *(f"plugins/{p.name}" for p in sorted((PACKAGE / "plugins").glob("*.py"))),
    *(f"runs/{name}.py" for name in ("folder", "lock", "hashing")),
    *(
        f"app/{name}.py"
        for name in ("cli", "console", "doctor", "early_checks", "listing", "parser")
    ),
    *("app/experiment.py", "captures/even_background.py", "captures/shadows.py"),
    "ops/schedule.py",
    *("__init__.py", "errors.py", "config.py", "progress.py"),
    *(f"evaluation/{p.name}" for p in sorted((PACKAGE / "evaluation").glob("*.py"))),
]
OPTIONAL = {
    "nerfacc",
    "tinycudann",
    "gradio",
    "rembg",
    "wandb",
    "triton",
    "torchvision",
    "webdataset",
    "fastapi",
    "uvicorn",
    "mcp",
    "ray",
    "viser",
    "DracoPy",
    "pyinstantmeshes",
}


def layer_of(part: str) -> int:
    found = [i for i, layer in enumerate(LAYERS) if part in layer]
    assert found, f"studio/{part} has no layer: add it to LAYERS in this test"
    return found[0]


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported(path: Path, source: str | None = None, *, top_only: bool = False) -> list[str]:
    """Dotted names that a file imports, those for types included.

    Args:
        path: of the file.
        source: its content; None reads it.
        top_only: leave out what is imported within functions, or for types only.
    """
    here = ("studio", *path.relative_to(PACKAGE).with_suffix("").parts)
    tree = ast.parse(path.read_text(encoding="utf-8") if source is None else source)
    return list(_imports(tree, here, top_only))


def _imports(node: ast.AST, here: tuple[str, ...], top_only: bool) -> Iterator[str]:
    if top_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
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
        if own[0] in ("geometry", "renderers", "models"):
            assert parts[1] != "guidance", f"{path}: {own[0]} know nothing of guidance"
        if own[0] == parts[1] == "guidance" and len(own) > 2 and len(parts) > 2:
            other = parts[2]
            allowed = {own[1], *BUILT_ON.get(own[1], ())}
            is_method = (PACKAGE / "guidance" / other).is_dir()
            assert not is_method or other in allowed, f"{path} imports another method: {name}"


def exists(part: str) -> bool:
    return (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").is_file()


def test_nothing_is_imported_in_a_circle() -> None:
    """Of modules; the package itself, which is the face of them all, is left out."""
    names = {
        ".".join(("studio", *p.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): p
        for p in modules()
    }
    graph = {}
    for name, path in names.items():
        found = (n if n in names else n.rpartition(".")[0] for n in imported(path))
        graph[name] = {n for n in found if n in names and n != name}
    while leaves := [name for name, uses in graph.items() if not uses & graph.keys()]:
        for name in leaves:
            del graph[name]
    used = {n for uses in graph.values() for n in uses}
    while roots := [name for name in graph if name not in used]:
        for name in roots:
            del graph[name]
        used = {n for uses in graph.values() for n in uses}
    assert not graph, f"these import each other: {', '.join(sorted(graph))}"


def test_reading_of_imports() -> None:
    path = PACKAGE / "guidance" / "method" / "part.py"
    source = (
        "import torch.nn\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from studio.app.cli import main\n"
        "def f():\n    from studio.systems import base\n    import numba\n"
        "class A:\n    import einops\n"
        "from ..other import network\n"
    )
    top = {
        "torch.nn",
        "typing.TYPE_CHECKING",
        "einops",
        "studio.guidance.other.network",
    }
    every = top | {"studio.systems.base", "numba", "studio.app.cli.main"}
    assert set(imported(path, source)) == every
    assert set(imported(path, source, top_only=True)) == top


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy(name: str) -> None:
    tops = {n.partition(".")[0] for n in imported(PACKAGE / name, top_only=True)}
    assert not tops & HEAVY


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_optional_packages_are_never_imported_at_the_top(path: Path) -> None:
    tops = {n.partition(".")[0] for n in imported(path, top_only=True)}
    own = {"triton"} if path.stem.endswith("_triton") else set()  # only its kernels, loaded lazily
    if path.parent.name == "server" and path.stem not in ("run", "settings", "__init__"):
        own = (
            {"mcp"} if path.stem == "toolbox" else {"fastapi"}
        )  # loaded by `studio ui` once it knows that its packages are there
    assert not tops & OPTIONAL - own
