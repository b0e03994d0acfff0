"""Reconstruction: posed views with masks in, a coloured signed distance field and its mesh out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from studio.cameras import Rays
from studio.errors import DataError
from studio.geometry.base import Geometry
from studio.ops.backend import announce_choices
from studio.ops.visual_hull import Frame, distance_to_cells
from studio.progress import StageProgress
from studio.ranges import Range, Seed
from studio.registry import build, register
from studio.renderers.base import Renderer, RenderOutput
from studio.systems.base import System
from studio.systems.findings import cut_short
from studio.systems.fitting import FitConfig, Fitter, checked_state
from studio.systems.flat_base import lowest_seen
from studio.views import ViewSet

if TYPE_CHECKING:
    from studio.run import RunFolder

logger = logging.getLogger(__name__)


class _Blocks(IterableDataset[int]):
    """One item per block of optimiser steps, until the fit is done."""

    def __init__(self, system: Reconstruction) -> None:
        self.system = system

    def __iter__(self) -> Iterator[int]:
        while not self.system.fitter.done:
            yield self.system.fitter.step_count


@register("system", "reconstruction")
class Reconstruction(System):
    """Fits a geometry to posed views (any capture, or what guidance made) and exports its mesh."""

    @dataclass
    class Config(FitConfig):
        """Options of the reconstruction."""

        geometry_type: str = "hash-sdf"
        """Name of a geometry plugin."""
        geometry: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        renderer_type: str = "neus-occupancy"
        """Name of a renderer plugin."""
        renderer: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        exporter_type: str = "mesh"
        """Name of an exporter plugin."""
        exporter: dict[str, Any] = field(default_factory=dict)
        """Its options."""
        time_budget_s: Annotated[float, Range(0, 1e9)] = 0.0
        """Most wall seconds of training, 0 for no limit; it says where it cuts the steps short."""
        steps_per_block: Annotated[int, Range(1, 1_000_000)] = 20
        """Optimiser steps between two looks of the trainer (checkpoints, logs, signals)."""
        flat_base: bool = False
        """End the mesh flat below the lowest surface seen; for views that all look from above."""
        seed: Seed = 0
        """Of all noise; step s is a function of (seed, s)."""

    precisions = ("32-true",)  # distances and their gradients need all digits
    centre: Float[Tensor, 3]
    half_side: Float[Tensor, ""]
    cube: Float[Tensor, ""]

    def __init__(self, cfg: Config, *, run: RunFolder | None = None) -> None:
        super().__init__(cfg, run=run)
        self.automatic_optimization = False
        self.geometry: Geometry = build(
            "geometry", cfg.geometry_type, cfg.geometry, key="system.geometry"
        )
        self.renderer: Renderer = build(
            "renderer", cfg.renderer_type, cfg.renderer, key="system.renderer"
        )
        self.exporter = build("exporter", cfg.exporter_type, cfg.exporter, key="system.exporter")
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("half_side", torch.ones(()))
        self.register_buffer("cube", torch.ones(()))
        self.views: ViewSet | None = None
        self.test_views: ViewSet | None = None
        self.originals: Sequence[ViewSet] = ()
        self._fitter: Fitter | None = None
        self._fitter_state: dict[str, Any] | None = None
        self._hull_distance: Tensor | None = None
        self._base: tuple[int, float] | None = None  # of a step

    # --- data -----------------------------------------------------------------------------------

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

    def set_views(
        self,
        views: ViewSet,
        test: ViewSet | None = None,
        originals: Sequence[ViewSet] = (),
    ) -> None:
        """Take the views to fit and those to measure on; finds the object's cube.

        Args:
            views: what the geometry has to look like.
            test: views to measure on.
            originals: given pictures that the views were generated from, posed.
        """
        self.views, self.test_views, self.originals = views, test, originals
        self._fitter = Fitter(
            self.geometry,
            self.renderer,
            views,
            self.cfg,
            time_budget_s=self.cfg.time_budget_s,
            seed=self.cfg.seed,
            originals=originals,
            way_back=self._way_back,
        )
        self.centre.copy_(self.fitter.frame.centre)
        self.half_side.fill_(self.fitter.frame.half)
        self.cube.fill_(views.bound)
        self._hull_distance = self._base = None
        self._record(views)

    def _record(self, views: ViewSet) -> None:
        """Say and store how many views are fitted, in which cube, at which picture size."""
        height, width = views.cameras.size
        used = len(views) - len(self.fitter.lost)
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

    @property
    def fitter(self) -> Fitter:
        """The loop; there is one once views are known."""
        if self._fitter is None:
            raise DataError(
                "the reconstruction has no views yet.", hint="call prepare or set_views"
            )
        return self._fitter

    @property
    def frame(self) -> Frame:
        """The cube the geometry works in."""
        return Frame(self.centre, float(self.half_side))

    def train_dataloader(self) -> DataLoader[int]:
        """Return one item per block of steps."""
        return DataLoader(_Blocks(self), batch_size=None)

    def val_dataloader(self) -> DataLoader[int] | list[Any]:
        """Return the numbers of the held-out views, none where there are none."""
        if self.test_views is None:
            return []
        return DataLoader(range(len(self.test_views)))  # type: ignore[arg-type]

    test_dataloader = val_dataloader

    # --- training -------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook: the fit's optimiser (it sets the learning rate itself)."""
        return self.fitter.optimizer

    def on_train_start(self) -> None:
        """Fit the first shape, or take up the interrupted run."""
        self.fitter.max_steps = max(0, self.trainer.max_steps)
        if self._fitter_state is not None:
            self.fitter.load_state_dict(self._fitter_state)
            self._fitter_state = None
        self.fitter.start()

    def training_step(self, batch: int, _: int) -> None:
        """Lightning's hook: one block of optimiser steps."""
        fitter, optimizer = self.fitter, self.optimizers()
        assert not isinstance(optimizer, list)
        block = self.cfg.steps_per_block
        losses: dict[str, Tensor] = {}
        began, rays = fitter.elapsed_s, 0
        while not fitter.done:
            losses = fitter.step(optimizer.step) or losses
            rays += fitter.rays_in_step
            if fitter.step_count % block == 0:
                break
        if fitter.done:  # by time: the number of steps is known only now
            self.trainer.fit_loop.epoch_loop.max_steps = self.trainer.global_step
        announce_choices()
        speed = rays / max(fitter.elapsed_s - began, 1e-9)
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, prog_bar=True, batch_size=1)
        self.log("train/rays_per_s", speed, batch_size=1)

    def _way_back(self) -> str:
        """What a run that went wrong can be continued from."""
        if self.run is None or not self.run.last_checkpoint.is_file():
            return "no checkpoint had been written yet"
        return f"the last good checkpoint is {self.run.last_checkpoint}: resume=last goes on there"

    @property
    def time_budget(self) -> tuple[float, float] | None:
        """Seconds used and seconds in all, for the progress; None if steps decide."""
        fitter = self.fitter
        if fitter.time_budget_s <= 0 or fitter.max_steps > 0:
            return None
        return fitter.elapsed_s, fitter.time_budget_s

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: store where the fit is."""
        if self._fitter is not None:
            checkpoint["fitter"] = self._fitter.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: keep where the fit was, for the start of training."""
        state = checkpoint.get("fitter")
        self._fitter_state = None if state is None else checked_state(state)
        self._hull_distance = self._base = None

    # --- measuring ------------------------------------------------------------------------------

    def render(self, views: ViewSet, i: int, background: float = 1.0) -> RenderOutput:
        """Render what camera ``i`` of some views sees."""
        self.renderer.eval()
        rays = views.cameras[[i]].to(self.device).rays()
        local = Rays(self.frame.to_local(rays.origins), rays.directions)
        return self.renderer.render_in_chunks(local, self.geometry, background)

    def validation_step(self, batch: Tensor, _: int) -> None:
        """Lightning's hook: PSNR and SSIM of a held-out view on white."""
        from studio.metrics.image import psnr, ssim

        assert self.test_views is not None
        made, wanted = self._picture(self.test_views, int(batch))
        self.log("psnr", psnr(made, wanted), batch_size=1, on_epoch=True, prog_bar=True)
        self.log("ssim", ssim(made, wanted), batch_size=1, on_epoch=True)

    test_step = validation_step

    def _picture(self, views: ViewSet, i: int) -> tuple[Tensor, Tensor]:
        h, w = views.cameras.size
        made = self.render(views, i).rgb.T.reshape(3, h, w).clamp(0, 1)
        return made, views.rgb_on()[i].to(made)

    def measure(self) -> tuple[float, float]:
        """Return PSNR and SSIM on white, the means over the held-out views."""
        from studio.metrics.image import psnr, ssim

        assert self.test_views is not None, "there are no held-out views"
        pairs = [self._picture(self.test_views, i) for i in range(len(self.test_views))]
        scores = torch.tensor([[psnr(*pair), ssim(*pair)] for pair in pairs])
        return scores[:, 0].mean().item(), scores[:, 1].mean().item()

    def validation_pictures(self) -> dict[str, Any]:
        """Views, what is seen from their cameras, and normals, for the preview."""
        views = self.test_views or self.views
        assert views is not None
        h, w = views.cameras.size
        rows = []
        for i in range(min(4, len(views))):
            output = self.render(views, i)
            normal = (output.normal.T * 0.5 + 0.5 * output.mask + (1 - output.mask)).reshape(
                3, h, w
            )
            rows += [views.rgb_on()[i].cpu(), output.rgb.T.reshape(3, h, w).cpu(), normal.cpu()]
        return {"pictures": torch.stack(rows), "columns": 3}

    # --- the result -----------------------------------------------------------------------------

    @property
    def bound(self) -> float:
        """Half the side of the cube around the origin that holds the object, in world units."""
        return float(self.cube)

    @torch.no_grad()
    def sdf(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Signed distance at world points, in world units, negative inside.

        Where no ray was ever sampled (outside the visual hull), the field means nothing; the
        distance to the hull stands in.
        """
        local = self.frame.to_local(points.to(self.device))
        hull = self._distance_to_hull(local)
        value = hull + 0.25 * self._cell
        inside = hull <= 0
        value[inside] = self.geometry.sdf_in_chunks(local[inside])
        value *= float(self.half_side)
        return torch.maximum(value, self.base - points[:, 2].to(value))

    @property
    def base(self) -> float:
        """Height at which the mesh ends flat, in world units; -inf where it does not."""
        step = self.fitter.step_count if self._fitter is not None else 0
        if self._base is None or self._base[0] != step:
            lowest = None
            if self.cfg.flat_base and self.views is not None:
                lowest = lowest_seen(self.render, self.views, scale=float(self.half_side))
            self._base = step, -math.inf if lowest is None else lowest
        return self._base[1]

    @property
    def _cell(self) -> float:
        hull = self.renderer.hull
        return 0.0 if hull is None else 2.0 / hull.shape[0]

    def _distance_to_hull(self, local: Tensor) -> Tensor:
        """A lower bound of the distance to the sampled cells and the cube, 0 inside."""
        outside_cube = (local.abs() - 1).clamp(min=0).norm(dim=-1)
        if self.renderer.hull is None:
            return outside_cube
        if self._hull_distance is None:
            self._hull_distance = distance_to_cells(self.renderer.hull).to(local)
        grid = self._hull_distance
        index = ((local + 1) * (0.5 * len(grid))).long().clamp(0, len(grid) - 1)
        return torch.maximum(outside_cube, grid[index.unbind(-1)])

    @torch.no_grad()
    def colour(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """Colour in [0, 1] of world surface points with unit outward normals, seen frontally."""
        local, normals = self.frame.to_local(points.to(self.device)), normals.to(self.device)
        colours = []
        for x, n in zip(local.split(65536), normals.split(65536), strict=True):
            colours.append(self.geometry.colour(x, n, -n, self.geometry(x).feature))
        return torch.cat(colours) if colours else torch.zeros_like(local)

    def export(self) -> Path:
        """Write mesh, texture and pictures to the run's export folder; return the main file."""
        return self._export(None)

    def _export(self, picture: Float[Tensor, "4 h w"] | None) -> Path:
        """Export with what is known about the result so far, and add what the exporter found."""
        assert self.run is not None, "exporting needs a run folder"
        self.warnings += cut_short(self._fit_state(), self.cfg.time_budget_s)
        notes = [*self.summary, *(f"warning: {line}" for line in self.warnings)]
        written = self.exporter.export(
            self, self.views, self.run.export, picture, self.originals, notes
        )
        announce_choices()
        if "preview" in written:
            self.summary.append(f"preview: {written['preview']}")
        figures: dict[str, Any] = getattr(self.exporter, "figures", {})
        self.warnings += figures.get("warnings", [])
        paths = {k: str(v) for k, v in written.items()}
        self.run.write_metrics({"export": paths, **figures, "warnings": self.warnings})
        return next(iter(written.values()))

    def _fit_state(self) -> dict[str, Any]:
        """Where the fit ended, also of weights that were read."""
        return self._fitter_state or self.fitter.state_dict()
