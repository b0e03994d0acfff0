"""Reconstruction: posed views with masks in, a scene model and its mesh out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.base import SceneData
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.systems.findings import Findings
from studio.systems.fitted import against_pictures
from studio.systems.scene import SceneSystem
from studio.views import ViewSet


@register("system", "reconstruction")
class Reconstruction(SceneSystem):
    """Fits a scene model to posed views (any capture, or what guidance made); exports its mesh."""

    @dataclass
    class Config(SceneSystem.Config):
        """Options of the reconstruction."""

    reads = SceneData

    def check(self, data: Any) -> None:
        """Read the views, so that unfit ones are refused before anything is written."""
        with StageProgress("reading the input"):
            self.views, self.test_views = data.load(), data.test()
        self.ready("views", self.views)

    def views_to_fit(self) -> ViewSet:
        """Return the views that were read."""
        assert self.views is not None
        return self.views

    def prepare(self, data: Any) -> None:
        """Take the training and, where there are any, the held-out views of a data plugin."""
        if self.views is None:
            self.check(data)
        self.set_views(self.views_to_fit(), self.test_views)

    def compared(self) -> Findings:
        """Say whether the fitted model looks like the pictures."""
        return against_pictures(self.model, self.fitted_views)

    def export(self) -> Path:
        """See `SceneSystem.export`; views that were corrected go to the run's `views/`."""
        if (views := self.fitted_views) is not self.views:
            views.save(self.run.views)
        return super().export()
