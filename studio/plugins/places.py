"""Where plugins lie: the package itself, the custom folders, and pip packages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from studio.errors import PluginError
from studio.io.shipped import CHECKOUT
from studio.plugins.sources import python_files, sanitise

ENTRY_POINT_GROUP = "studio.plugins"
CUSTOM_PACKAGE = "studio_custom"
PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Unit:
    """Something importable as a whole: a file, a folder of custom/, or an entry point."""

    origin: str
    module: str
    path: Path | None
    """Source file or folder; None for an entry point whose source could not be located."""

    def files(self) -> Iterator[Path]:
        """Its source files."""
        if self.path is not None:
            yield from python_files(self.path) if self.path.is_dir() else [self.path]


def builtin_units() -> Iterator[Unit]:
    """The files of the package itself."""
    for path in python_files(PACKAGE_ROOT):
        relative = path.relative_to(PACKAGE_ROOT.parent).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        yield Unit(relative.with_suffix(".py").as_posix(), ".".join(parts), path)


def custom_folders() -> list[Path]:
    """The folders of custom plugins: $STUDIO_CUSTOM, or custom/ here and beside launch.py.

    Raises:
        PluginError: if $STUDIO_CUSTOM is set to something that is not a folder.
    """
    if chosen := os.environ.get("STUDIO_CUSTOM"):
        if not Path(chosen).is_dir():
            raise PluginError(
                f"STUDIO_CUSTOM is '{chosen}', which is not a folder.",
                hint="unset it or point it at a folder with plugin files or folders",
            )
        return [Path(chosen)]
    given = [Path("custom")] if CHECKOUT is None else [CHECKOUT / "custom", Path("custom")]
    places = {p.resolve(): p for p in given}
    return [place for place in places.values() if place.is_dir()]


def custom_units() -> Iterator[Unit]:
    """The files and folders of the custom folders.

    Raises:
        PluginError: if a folder cannot be read.
    """
    for folder in custom_folders():
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise PluginError(
                f"the plugins in {folder} cannot be read: {error.strerror}.",
                hint="correct the folder's permissions, or set STUDIO_CUSTOM to another one",
            ) from error
        for path in paths:
            stem = path.name if path.is_dir() else path.stem
            if stem.startswith((".", "__")) or stem.endswith("_disabled"):
                continue
            if path.suffix == ".py" or (path.is_dir() and any(python_files(path))):
                origin = f"{folder.name}/{path.name}"
                yield Unit(origin, f"{CUSTOM_PACKAGE}.{sanitise(stem)}", path)


def entry_point_units() -> Iterator[Unit]:
    """What pip packages declare."""
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        where = f"pip package {point.dist.name}" if point.dist else f"entry point {point.name}"
        path = None
        if point.dist:
            base = Path(str(point.dist.locate_file(point.module.replace(".", "/"))))
            candidates = (base.with_name(base.name + ".py"), base / "__init__.py")
            path = next((c for c in candidates if c.is_file()), None)
        yield Unit(f"{where} ({point.module})", point.module, path)
