"""Fit, metrics and export of a scene model, for all systems that hold one."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.export.base import Exporter
from studio.models.base import SceneModel
from studio.ops.backend import announce_choices
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.ranges import PluginBeside, Range, Seed
from studio.progress import StageProgress
from studio.systems.contract import BaseSystem
from studio.systems.findings import Findings
from studio.views import ViewSet

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder

logger = logging.getLogger(__name__)

Ready = Callable[[str, Any], None]
"""Called with what there is already, by name: "condition" (a `Condition`), "views" (a `ViewSet`),
and after every step of a fit in memory "fit" (the `SceneModel`, to be looked at only)."""


class SceneSystem(nn.Module, BaseSystem):
    """Base of the systems that fit a scene model to views and export its mesh.

    The command line and the Python face go the same way: `check`, `prepare`, the fit, `findings`,
    `write`. With a run folder what is done is kept there and the fit, of
    `studio.runs.fitting.FitInFolder`, can be taken up again; without one nothing is written.

    Attributes:
        model: the scene model.
        views: what it is fitted to, once they are known.
        test_views: held-out views to measure on, if any.
        originals: given pictures that the views were generated from, posed.
        ready: see `Ready`.
    """

    @dataclass
    class Config:
        """Options of fitting and exporting a scene model."""

        reconstruction_type: PluginBeside = "sdf"
        """Name of a model plugin."""
        reconstruction: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        exporter_type: str = "mesh"
        """Name of an exporter plugin."""
        exporter: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        time_budget_s: Annotated[float, Range(0, 1e9)] = 0.0
        """Most wall seconds of training, 0 for no limit; it says where it cuts the steps short."""
        steps_per_block: Annotated[int, Range(1, 1_000_000)] = 20
        """Most steps between two looks at signals and at how far it is."""
        seed: Seed | None = None
        """Of all noise; step s is a function of (seed, s). null: the experiment's."""

    precisions = ("32-true",)  # distances and their gradients need all digits
    one_process = True

    def __init__(self, cfg: Config, *, run: RunFolder | None = None) -> None:
        super().__init__()
        self.take(cfg, run)
        find("model", cfg.reconstruction_type, key="system.reconstruction_type")
        self.model: SceneModel = build(
            "model", cfg.reconstruction_type, cfg.reconstruction, key="system"
        )
        self.exporter: Exporter = build(
            "exporter", cfg.exporter_type, cfg.exporter, key="system.exporter"
        )
        self.views: ViewSet | None = None
        self.test_views: ViewSet | None = None
        self.originals: Sequence[ViewSet] = ()
        self.ready: Ready = lambda *_: None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    # --- data -----------------------------------------------------------------------------------

    @abstractmethod
    def views_to_fit(self) -> ViewSet:
        """Return the views, after `check`: generated ones are made now."""

    def set_views(
        self,
        views: ViewSet,
        test: ViewSet | None = None,
        originals: Sequence[ViewSet] = (),
    ) -> None:
        """Take the views to fit and those to measure on.

        Args:
            views: what the model has to look like.
            test: views to measure on.
            originals: given pictures that the views were generated from, posed.
        """
        self.views, self.test_views, self.originals = views, test, originals
        self.model.begin(views, originals=originals, seed=self.seed)
        self._record(views)

    def _record(self, views: ViewSet) -> None:
        """Say and store how many views are fitted, in which cube, at which picture size."""
        height, width = views.cameras.size
        used = len(views) - len(self.model.left_out)
        logger.info(
            "fitting %d of %d views of %dx%d px in a cube that reaches to %.3g from the origin",
            *(used, len(views), width, height, views.bound),
        )
        if self.run is not None:
            self.run.write_metrics(
                {
                    "views": used,
                    "views_given": len(views),
                    "bound": float(views.bound),
                    "picture_size": [width, height],
                    "chosen": self.model.choices(),
                }
            )

    def fit(self, steps: int, seconds: float) -> None:
        """Fit the model in memory.

        Args:
            steps: of the fit; 0: open.
            seconds: likewise.
        """
        total = steps or 100
        with StageProgress("fit") as told:
            for _ in self.model.run_steps(steps, seconds):
                told(min(total, round(self.model.progress * total)), total)
                self.ready("fit", self.model)
        self.model.eval()

    # --- measuring ------------------------------------------------------------------------------

    def _picture(self, views: ViewSet, i: int) -> tuple[Tensor, Tensor]:
        made = self.model.render(views.cameras[[i]], background=1.0).images[0, :3]
        return made, views.rgb_on()[i].cpu()

    def measure(self, most: int = 0) -> dict[str, float]:
        """Return PSNR and SSIM on white, the means over the held-out views; empty without any.

        Args:
            most: views that are measured; 0: all.
        """
        from studio.metrics.image import psnr, ssim

        if self.test_views is None:
            return {}
        count = min(most or len(self.test_views), len(self.test_views))
        with torch.no_grad():
            pairs = [self._picture(self.test_views, i) for i in range(count)]
        scores = torch.tensor([[psnr(*pair), ssim(*pair)] for pair in pairs])
        return {"psnr": scores[:, 0].mean().item(), "ssim": scores[:, 1].mean().item()}

    def validation_pictures(self) -> dict[str, Any]:
        """Views, what is seen from their cameras, and normals if there are any, for the preview."""
        views = self.test_views or self.views
        assert views is not None
        shown = views.select(list(range(min(4, len(views)))))
        seen = self.model.render(shown.cameras, background=1.0)
        columns = [shown.rgb_on().cpu(), seen.images[:, :3]]
        if seen.normals is not None:
            known = seen.normals.abs().sum(1, keepdim=True) > 0
            columns.append(torch.where(known, seen.normals * 0.5 + 0.5, torch.ones(())))
        return {"pictures": torch.stack(columns, 1).flatten(0, 1), "columns": len(columns)}

    # --- the result -----------------------------------------------------------------------------

    @property
    def fitted_views(self) -> ViewSet:
        """The views, with the poses and exposures that the fit has found."""
        assert self.views is not None
        return self.model.corrected(self.views)

    @abstractmethod
    def compared(self) -> Findings:
        """Compare what was made with what was given."""

    def picture(self) -> Float[Tensor, "4 h w"] | None:
        """What was given, as one picture for the contact sheet; None for captures."""
        return None

    def findings(self) -> Findings:
        """What is known about the result before it is exported."""
        found = self.compared()
        found.warnings += self.model.findings()
        return found

    def notes(self, found: Findings) -> list[str]:
        """Return what stands below the contact sheet: the result in words, then what is wrong."""
        said = (*found.alarms, *found.warnings)
        return [*found.summary, *(f"warning: {line}" for line in said)]

    def write(self, folder: Path, found: Findings) -> dict[str, Path]:
        """Write mesh, texture and pictures, with what was found in their notes.

        Returns:
            The files by what they are, the main one first.
        """
        written = self.exporter.export(
            self.model,
            self.fitted_views,
            folder,
            self.picture(),
            self.originals,
            self.notes(found),
        )
        announce_choices()
        return written

    def export(self) -> Path:
        """Write mesh, texture and pictures to the run's export folder; return the main file."""
        assert self.run is not None, "exporting needs a run folder"
        found = self.findings()
        self.run.write_metrics(found.figures)
        written = self.write(self.run.export, found)
        figures = self.exporter.figures
        self.summary += found.summary
        if "preview" in written:
            self.summary.append(f"preview: {written['preview']}")
        self.alarms += found.alarms
        self.warnings += [*found.warnings, *figures.get("warnings", [])]
        paths = {k: str(v) for k, v in written.items()}
        said = {"alarms": self.alarms, "warnings": self.warnings}
        self.run.write_metrics({"export": paths, **figures, **said})
        return next(iter(written.values()))
