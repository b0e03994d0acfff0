"""Fit, metrics and export of a scene model with Lightning, for all systems that hold one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from studio.errors import DataError, TrainingError
from studio.export.base import Exporter
from studio.models.base import SceneModel
from studio.ops.backend import announce_choices
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.ranges import PluginBeside, Range, Seed
from studio.systems.base import System
from studio.views import ViewSet

if TYPE_CHECKING:
    from studio.runs.folder import RunFolder

logger = logging.getLogger(__name__)


class _Blocks(IterableDataset[int]):
    """One item per block of steps, until the fit is done."""

    def __init__(self, model: SceneModel) -> None:
        self.model = model

    def __iter__(self) -> Iterator[int]:
        block = 0
        while not self.model.done:
            yield block
            block += 1


class SceneSystem(System):
    """Base of the systems that fit a scene model to views and export its mesh.

    Attributes:
        model: the scene model.
        views: what it is fitted to, once they are known.
        test_views: held-out views to measure on, if any.
        originals: given pictures that the views were generated from, posed.
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
        """Optimiser steps between two looks of the trainer (checkpoints, logs, signals)."""
        seed: Seed = 0
        """Of all noise; step s is a function of (seed, s)."""

    precisions = ("32-true",)  # distances and their gradients need all digits

    def __init__(self, cfg: Config, *, run: RunFolder | None = None) -> None:
        super().__init__(cfg, run=run)
        self.automatic_optimization = False
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

    # --- data -----------------------------------------------------------------------------------

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
        self.model.begin(views, originals=originals, seed=self.cfg.seed)
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
                }
            )

    def train_dataloader(self) -> DataLoader[int]:
        """Return one item per block of steps."""
        return DataLoader(_Blocks(self.model), batch_size=None)

    def val_dataloader(self) -> DataLoader[int] | list[Any]:
        """Return the numbers of the held-out views, none where there are none."""
        if self.test_views is None:
            return []
        return DataLoader(range(len(self.test_views)))  # type: ignore[arg-type]

    test_dataloader = val_dataloader

    # --- training -------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook: the model's optimiser, or one that only counts the steps."""
        if self.views is None:
            raise DataError("the model has no views yet.", hint="call prepare or set_views")
        return self.model.optimizer or torch.optim.SGD([torch.zeros(())])

    def on_train_start(self) -> None:
        """Let the fit begin, or go on where the interrupted run was."""
        trainer: Any = self.trainer  # which counts blocks, where its option says steps
        trainer.log_every_n_steps = max(1, trainer.log_every_n_steps // self.cfg.steps_per_block)
        self.model.start(max(0, self.trainer.max_steps), self.cfg.time_budget_s)

    def training_step(self, batch: int, _: int) -> None:
        """Lightning's hook: one block of steps."""
        model, optimizer = self.model, self.optimizers()
        assert not isinstance(optimizer, list)
        losses: dict[str, Tensor] = {}
        try:
            while not model.done:
                losses = dict(model.step(optimizer.step)) or losses
                if model.optimizer is None:
                    optimizer.step()
                if self.trainer.global_step % self.cfg.steps_per_block == 0:
                    break
        except TrainingError as error:
            raise TrainingError(str(error), hint=self._way_back()) from error
        if model.done:  # by time, or at once: the number of steps is known only now
            self.trainer.fit_loop.epoch_loop.max_steps = self.trainer.global_step
        announce_choices()
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, prog_bar=True, batch_size=1)
        self.log_dict({f"train/{k}": v for k, v in model.figures().items()}, batch_size=1)

    def _way_back(self) -> str:
        """What a run that went wrong can be continued from."""
        if self.run is None or not self.run.last_checkpoint.is_file():
            return "no checkpoint had been written yet"
        return f"the last good checkpoint is {self.run.last_checkpoint}: resume=last goes on there"

    @property
    def time_budget(self) -> tuple[float, float] | None:
        """Seconds used and seconds in all, for the progress; None if steps decide."""
        seconds = self.cfg.time_budget_s
        if seconds <= 0 or self.trainer.max_steps > 0:
            return None
        return self.model.progress * seconds, seconds

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: store where the fit is."""
        if self.views is not None:
            checkpoint["fitter"] = self.model.fit_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: hand on where the fit was; weights of old files get their new names."""
        state = checkpoint["state_dict"]
        if not any(name.startswith("model.") for name in state):
            checkpoint["state_dict"] = {f"model.{name}": value for name, value in state.items()}
        if fitted := checkpoint.get("fitter"):
            self.model.load_fit_state(fitted)

    # --- measuring ------------------------------------------------------------------------------

    def validation_step(self, batch: Tensor, _: int) -> None:
        """Lightning's hook: PSNR and SSIM of a held-out view on white."""
        from studio.metrics.image import psnr, ssim

        assert self.test_views is not None
        made, wanted = self._picture(self.test_views, int(batch))
        self.log("psnr", psnr(made, wanted), batch_size=1, on_epoch=True, prog_bar=True)
        self.log("ssim", ssim(made, wanted), batch_size=1, on_epoch=True)

    test_step = validation_step

    def _picture(self, views: ViewSet, i: int) -> tuple[Tensor, Tensor]:
        made = self.model.render(views.cameras[[i]], background=1.0).images[0, :3]
        return made, views.rgb_on()[i].cpu()

    def measure(self) -> tuple[float, float]:
        """Return PSNR and SSIM on white, the means over the held-out views."""
        from studio.metrics.image import psnr, ssim

        assert self.test_views is not None, "there are no held-out views"
        pairs = [self._picture(self.test_views, i) for i in range(len(self.test_views))]
        scores = torch.tensor([[psnr(*pair), ssim(*pair)] for pair in pairs])
        return scores[:, 0].mean().item(), scores[:, 1].mean().item()

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

    def export(self) -> Path:
        """Write mesh, texture and pictures to the run's export folder; return the main file."""
        return self._export(None)

    def _export(self, picture: Float[Tensor, "4 h w"] | None) -> Path:
        """Export with what is known about the result so far, and add what the exporter found."""
        assert self.run is not None, "exporting needs a run folder"
        self.warnings += self.model.findings()
        notes = [*self.summary, *(f"warning: {line}" for line in (*self.alarms, *self.warnings))]
        written = self.exporter.export(
            self.model, self.views, self.run.export, picture, self.originals, notes
        )
        announce_choices()
        if "preview" in written:
            self.summary.append(f"preview: {written['preview']}")
        figures = self.exporter.figures
        self.warnings += figures.get("warnings", [])
        paths = {k: str(v) for k, v in written.items()}
        said = {"alarms": self.alarms, "warnings": self.warnings}
        self.run.write_metrics({"export": paths, **figures, **said})
        return next(iter(written.values()))
