"""Old import paths that plugins may use: they lead to the new ones and warn, for one release."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "studio.registry": "studio.plugins",
    "studio.options": "studio.plugins.options",
    "studio.ranges": "studio.plugins.ranges",
    "studio.files": "studio.io.files",
    "studio.images": "studio.io.images",
    "studio.paths": "studio.io.paths",
    "studio.picture_files": "studio.io.picture_files",
    "studio.reading": "studio.io.reading",
    "studio.checkpoint_io": "studio.io.weights",
    "studio.schedule": "studio.ops.schedule",
    "studio.shots": "studio.captures.shots",
    "studio.run": "studio.runs.folder",
    "studio.hashing": "studio.runs.hashing",
    "studio.data.single_image": "studio.data.conditions.single_image",
    "studio.data.text": "studio.data.conditions.text",
    "studio.data.posed_images": "studio.data.conditions.posed_images",
    "studio.data.batches": "studio.data.training.batches",
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
