"""Old import paths that plugins may use: they lead to the new ones and warn, for one release."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

_KEPT = {
    "plugins": "options ranges",
    "io": "file_hash file_maps files images paths picture_files reading whole_folders yaml_text",
    "captures": "bounds even_background foreground lens masks shots transforms",
    "runs": "callbacks distributed hashing trainer",
    "app": "cli console docs_tables doctor early_checks experiment listing",
    "ops": "schedule",
}
"""Modules that lay in the package itself and kept their names, by where they are now."""
_KEPT_DATA = {
    "layouts": "capture colmap dtu eschernet fixed_rigs numbered photos placement wonder3d",
    "conditions": "posed_images single_image text unposed_images",
    "training": "arrays batches captioned_pictures captions epidiff_layout epidiff_views exr "
    "eschernet_eval filter_views nmr nmr_shards spad views_files views_release",
}
"""The same of `studio.data`."""
MOVED = {
    "studio.registry": "studio.plugins",
    "studio.capture_files": "studio.captures.files",
    "studio.checkpoint_io": "studio.io.weights",
    "studio.run": "studio.runs.folder",
    "studio.data.render": "studio.ops.ray_caster",
    "studio.data.transforms": "studio.data.layouts.transforms",
    "studio.data.rings": "studio.data.training.ring_views",
    **{f"studio.{n}": f"studio.{room}.{n}" for room, ns in _KEPT.items() for n in ns.split()},
    **{
        f"studio.data.{name}": f"studio.data.{room}.{name}"
        for room, names in _KEPT_DATA.items()
        for name in names.split()
    },
}
"""Where modules are that plugins of version 0.1 import."""


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module of `MOVED` by its old name: it is the new one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None  # an empty one, until `exec_module` puts the new one in its place

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MOVED[module.__name__]
        warnings.warn(f"{old} is {new} now", FutureWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(new)


def install() -> None:
    """Let the old paths be found."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
