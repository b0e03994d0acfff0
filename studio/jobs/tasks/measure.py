"""The task `measure`: a fit to a capture, held against what is known of its object.

It makes the rows of tables over data sets: nothing is textured or reduced, the surface is measured
as the fit has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from studio.api import configured
from studio.errors import ConfigError
from studio.evaluation import Judging, finite, measured
from studio.export.formats.ply import Ply
from studio.export.notes import Notes
from studio.export.world import Wanted, place, transformed
from studio.io.files import write_json
from studio.io.images import save_png
from studio.jobs.task import Outcome, Task, Work
from studio.jobs.tasks.make import brought, warm_pipeline
from studio.mesh import Mesh, MeshOptions
from studio.metrics.culling import within_masks
from studio.metrics.dtu import DTUScan, dtu_figures
from studio.metrics.image import psnr, ssim
from studio.metrics.lpips import LPIPS
from studio.models.base import SceneModel
from studio.pipeline import Result
from studio.plugins.ranges import CountOrZero, Range, Share
from studio.plugins.registry import register
from studio.progress import StageProgress
from studio.views import ViewSet

SHOWN = 4
"""Held-out views whose pictures are kept."""


@register("task", "measure")
class Measure(Task):
    """Fit a model to a capture, and measure its surface and what it shows of held-out views."""

    carries_config: ClassVar[bool] = True

    @dataclass
    class Config:
        """What is measured, and how."""

        reference: str = ""
        """What the surface is measured against: a mesh, or with `scan` the folder of DTU's archives; empty measures no surface."""  # noqa: E501
        scan: CountOrZero = 0
        """Scan of DTU whose protocol is used; 0: that of `judge`."""
        judge: Judging = field(default_factory=Judging)
        """How the surface is measured against a mesh."""
        resolution: Annotated[int, Range(8, 4096)] = 512
        """Grid cells of the surface along the longest side of the object."""
        memory_gb: Annotated[float, Range(1e-3, 1e6)] = 8.0
        """Refuse resolutions whose sampling grids would need more than this."""
        cull: Share = 0.0
        """Cut the surface by the masks, grown by this share of the pictures' longer side; 0 does not."""  # noqa: E501
        test_views: CountOrZero = 0
        """Held-out views that are measured, spread evenly; 0: all."""
        background: Share = 1.0
        """Grey level behind held-out views: 1 white, 0 black."""
        lpips: str = ""
        """File or folder with VGG's weights; empty leaves LPIPS of held-out views out."""

    def __init__(self, cfg: Config) -> None:
        """Take the options."""
        self.cfg = cfg

    def run(self, work: Work) -> Outcome:
        """See `Task.run`; leaves model.ply in the capture's world, evaluation.json and pictures."""
        job, cfg = work.job, self.cfg
        if not job.config:
            raise ConfigError("config has to be given.", hint="reconstruct, instant-nsr, neus, ...")
        if cfg.scan and not cfg.reference:
            raise ConfigError(f"task.scan is {cfg.scan}.", allowed="a folder as task.reference")
        scan = DTUScan.read(cfg.reference, cfg.scan) if cfg.scan else None
        experiment = configured(job.config, work.options)
        pipeline = warm_pipeline(experiment, work)
        given, more = brought(experiment, work)
        how: dict[str, Any] = {"seed": job.seed, "steps": job.steps, "seconds": job.seconds}
        result = pipeline(given, progress=work.tell, cancel=work.asked, **how, **more)
        figures = dict(result.findings.figures) | {"views": len(result.views)}
        figures |= {k: v for k, v in result.model.fit_state().items() if k == "step_count"}
        figures["chosen"] = result.model.choices()
        warnings = list(result.findings.warnings)
        if result.test_views is not None:
            figures["test"] = self._test(result.model, result.test_views, work.result)
        if cfg.reference:
            figures["surface"] = self._surface(result, scan, work.result, warnings)
        return Outcome(figures, warnings, list(result.findings.alarms))

    def _surface(
        self, result: Result, scan: DTUScan | None, folder: Path, warnings: list[str]
    ) -> dict[str, float]:
        """Extract the surface, write it, and measure it in the world of the capture's files."""
        cfg = self.cfg
        with StageProgress("surface"):
            options = MeshOptions(faces=0, memory_gb=cfg.memory_gb)
            mesh = result.model.mesh(cfg.resolution, options, report=warnings.append)
            if cfg.cull:
                mesh = within_masks(mesh, result.views, cfg.cull)
        placement = place(mesh, result.views, "+z", Wanted("capture"))
        Ply().write(placement.mesh(mesh), folder / "model.ply", Notes(placement=placement))
        mesh = transformed(mesh, result.views.to_world.numpy())
        with StageProgress("measuring"):
            return self._measured(mesh, scan, folder, warnings)

    def _measured(
        self, mesh: Mesh, scan: DTUScan | None, folder: Path, warnings: list[str]
    ) -> dict[str, float]:
        if scan is not None:
            return dtu_figures(mesh, scan)
        found = measured(self.cfg.judge, mesh, self.cfg.reference)
        write_json(folder / "evaluation.json", finite(found), parents=False)
        warnings += found["warnings"]
        figures: dict[str, float] = found["metrics"]
        return figures

    def _test(self, model: SceneModel, views: ViewSet, folder: Path) -> dict[str, float]:
        """Measure held-out views, the mean over pictures; a few are kept, true ones beside."""
        cfg, rows = self.cfg, []
        count = min(cfg.test_views or len(views), len(views))
        chosen = np.linspace(0, len(views) - 1, count).round().astype(int).tolist()
        shown = set(chosen[:: max(1, count // SHOWN)])
        lpips = LPIPS.load("vgg", cfg.lpips) if cfg.lpips else None
        with StageProgress("held-out views", count) as told:
            for n, i in enumerate(chosen):
                made = model.render(views.cameras[[i]], background=cfg.background).images[0, :3]
                wanted = views.select([i]).rgb_on(cfg.background)[0].cpu()
                row = {"psnr": psnr(made, wanted), "ssim": ssim(made, wanted)}
                if lpips is not None:
                    row["lpips"] = lpips(made[None], wanted[None])[0]
                rows.append(row)
                if i in shown:
                    for kind, picture in (("made", made), ("true", wanted)):
                        save_png(folder / f"test-{views.name(i)}-{kind}.png", picture)
                told(n + 1, count)
        figures = {key: math.fsum(row[key] for row in rows) / count for key in rows[0]}
        return figures | {"views": count}
