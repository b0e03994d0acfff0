"""Reconstruction: posed views with masks in, a scene model and its mesh out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.base import SceneData
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.systems.fitted import against_pictures
from studio.systems.scene import SceneSystem


@register("system", "reconstruction")
class Reconstruction(SceneSystem):
    """Fits a scene model to posed views (any capture, or what guidance made); exports its mesh."""

    @dataclass
    class Config(SceneSystem.Config):
        """Options of the reconstruction."""

    reads = SceneData

    def check(self, data: Any) -> None:
        """Read the views, so that unfit ones are refused before anything is written."""
        with StageProgress("reading the views"):
            self.views, self.test_views = data.load(), data.test()

    def prepare(self, data: Any) -> None:
        """Take the training and, where there are any, the held-out views of a data plugin."""
        if self.views is None:
            self.check(data)
        assert self.views is not None
        self.set_views(self.views, self.test_views)

    def export(self) -> Path:
        """See `SceneSystem.export`; says first whether the result looks like the pictures."""
        assert self.run is not None and self.views is not None
        found = against_pictures(self.model, self.views)
        self.alarms += found.alarms
        self.run.write_metrics(found.figures)
        return self._export(None)
