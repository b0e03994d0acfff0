"""`data_type: capture`: recognises the layout of a folder by what lies in it."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

from studio.data.base import ConditionData, SceneData, ViewPairData
from studio.data.layouts.base import CaptureConfig, LayoutData
from studio.errors import DataError, PluginError
from studio.io.paths import existing
from studio.io.reading import reading
from studio.plugins import discovery as plugins
from studio.plugins.discovery import find
from studio.plugins.registry import config_class, register
from studio.views import ViewSet

logger = logging.getLogger(__name__)


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
        cls = find("data", self.layout)
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

    All layouts are asked, those in custom/ and of pip packages included, from the highest
    `LayoutData.priority` down.

    Raises:
        DataError: if it is none of the known ones; says what was looked for and what is there.
    """
    existing(root)
    known = layouts()
    with reading(root, raised=OSError):
        for name, layout in known.items():
            if layout.recognises(root):
                return name
        there = sorted(p.name + "/" * p.is_dir() for p in root.iterdir()) if root.is_dir() else []
    wanted = "\n".join(f"    {name}: {layout.looks_for}" for name, layout in known.items())
    holds = f"it holds {_some(there)}" if root.is_dir() else "it is a single file"
    raise DataError(
        f"{root} is no capture of a known layout; {holds}.",
        allowed=f"a folder with\n{wanted}",
        hint="If you know the layout, say it: data_type=<name>.",
    )


def layouts() -> dict[str, type[LayoutData]]:
    """Return every layout by its name, in the order in which they are asked.

    Data plugins whose source shows that they are none are not imported; of those that may be one
    and do not load a warning tells.
    """
    others = {cls.__name__ for cls in (SceneData, ConditionData, ViewPairData)}
    may_be = (p for p in plugins.listing() if p.kind == "data" and not set(p.bases) <= others)
    found: list[tuple[str, type[LayoutData]]] = []
    for name in dict.fromkeys(plugin.name for plugin in may_be):
        try:
            cls = find("data", name)
        except PluginError as error:
            logger.warning("layout '%s' is not asked: %s", name, str(error).splitlines()[0])
            continue
        if issubclass(cls, LayoutData):
            found.append((name, cls))
    return dict(sorted(found, key=lambda pair: (-pair[1].priority, pair[0])))


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
