"""`data_type: capture`: recognises the layout of a folder by what lies in it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from studio.data.base import SceneData
from studio.data.layouts import CaptureConfig, LayoutData
from studio.errors import DataError
from studio.paths import existing
from studio.reading import reading
from studio.registry import config_class, find, register
from studio.views import ViewSet

# In this order: a COLMAP project may hold a transforms.json that was made of it.
LAYOUTS = (
    "transforms",
    "dtu",
    "colmap",
    "wonder3d",
    "eschernet",
    "syncdreamer-16",
    "spin-36",
    "photos",
)


@register("data", "capture")
class CaptureData(SceneData):
    """Posed pictures in any known layout, recognised by what lies in the folder."""

    @dataclass
    class Config(CaptureConfig):
        """Options that all layouts share; others need the layout's own `data_type`."""

    def __init__(self, cfg: Config) -> None:
        """Find the layout; its files are read by `load`."""
        if not cfg.root:
            raise DataError("data.root is not given.", allowed="the folder of a capture")
        self.layout = recognise(Path(cfg.root))
        cls = _plugin(self.layout)
        given = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(CaptureConfig)}
        self.data: LayoutData = cls(config_class(cls)(**given))

    def load(self) -> ViewSet:
        """Read the training views."""
        return self.data.load()

    def test(self) -> ViewSet | None:
        """Read the held-out views."""
        return self.data.test()


def recognise(root: Path) -> str:
    """Return the name of the layout of a folder (or file).

    Raises:
        DataError: if it is none of the known ones; says what was looked for and what is there.
    """
    existing(root)
    with reading(root, raised=OSError):
        for name in LAYOUTS:
            if _plugin(name).recognises(root):
                return name
        there = sorted(p.name + "/" * p.is_dir() for p in root.iterdir()) if root.is_dir() else []
    wanted = "\n".join(f"    {name}: {_plugin(name).looks_for}" for name in LAYOUTS)
    holds = f"it holds {_some(there)}" if root.is_dir() else "it is a single file"
    raise DataError(
        f"{root} is no capture of a known layout; {holds}.",
        allowed=f"a folder with\n{wanted}",
        hint="If you know the layout, say it: data_type=<name>.",
    )


def _plugin(name: str) -> type[LayoutData]:
    cls = find("data", name)
    assert issubclass(cls, LayoutData)
    return cls


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
