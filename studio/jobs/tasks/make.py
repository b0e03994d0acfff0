"""The task `make`: what a config describes, from its input to the files of its exporter."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from studio.api import configured
from studio.config import ExperimentConfig, plain
from studio.errors import ConfigError, DataError, StudioError
from studio.evaluation import Judging, finite, measured
from studio.export.files import mesh_format
from studio.export.notes import Notes
from studio.export.world import Wanted, place
from studio.io.files import write_json
from studio.io.images import save_png
from studio.jobs.task import Outcome, Task, Work
from studio.models.base import SceneModel
from studio.models.hull.model import VisualHull
from studio.models.surface import coloured
from studio.pipeline import Pipeline
from studio.plugins.discovery import find
from studio.plugins.parsing import parse_config
from studio.plugins.ranges import Range
from studio.plugins.registry import config_class, register
from studio.progress import StageProgress
from studio.systems.generated import loaded_guidance, prepared_pictures, weight_paths
from studio.views import Condition, ViewSet

MOST_SHARE = 0.1
"""Of the time that passes, the most that intermediate meshes take."""


@register("task", "make")
class Make(Task):
    """A picture, pictures, a text or a capture to a textured mesh, by a config."""

    carries_config: ClassVar[bool] = True

    @dataclass
    class Config:
        """What is made on the way, and what the mesh is measured against."""

        previews: bool = False
        """Write first.glb, the visual hull of the views, and fit.glb, what the fit has so far."""
        preview_seconds: Annotated[float, Range(0, 1e6)] = 12.0
        """Between two fit.glb; more where making them would take a tenth of the time."""
        preview_resolution: Annotated[int, Range(16, 512)] = 96
        """Grid cells of these meshes along the longest side of the object."""
        reference: str = ""
        """What the mesh is measured against; empty measures nothing."""
        judge: Judging = field(default_factory=Judging)
        """How that is done."""

    def __init__(self, cfg: Config) -> None:
        """Take the options."""
        self.cfg = cfg

    def run(self, work: Work) -> Outcome:
        """See `Task.run`; leaves what `_Handing` and the config's exporter write."""
        job = work.job
        if not job.config:
            raise ConfigError(
                "config has to be given.", hint="a YAML file or the name of one: epidiff-neus"
            )
        experiment = configured(job.config, work.options)
        pipeline = warm_pipeline(experiment, work)
        given, more = brought(experiment, work)
        result = pipeline(
            given,
            seed=job.seed,
            steps=job.steps,
            seconds=job.seconds,
            progress=work.tell,
            cancel=work.asked,
            ready=_Handing(self.cfg, pipeline, work.result),
            **more,
        )
        main = result.save(work.result)
        figures = {**result.findings.figures, **getattr(pipeline.exporter, "figures", {})}
        lost = figures.pop("warnings", [])
        if self.cfg.reference:
            figures["evaluation"] = self._judged(main, work)
        found = result.findings
        return Outcome(figures, [*found.warnings, *lost], list(found.alarms))

    def _judged(self, main: Path, work: Work) -> dict[str, float]:
        """Measure the mesh; the whole record is evaluation.json."""
        found = measured(self.cfg.judge, main, self.cfg.reference)
        found["pred"]["path"] = main.name
        write_json(work.result / "evaluation.json", finite(found), parents=False)
        metrics: dict[str, float] = found["metrics"]
        return metrics


def warm_pipeline(experiment: ExperimentConfig, work: Work) -> Pipeline:
    """A pipeline whose guidance, if it has one, was loaded once for all jobs that want the same."""
    if experiment.system_type != "image-to-3d":
        return Pipeline(experiment, work.device)
    cls = config_class(find("system", experiment.system_type))
    chain: Any = parse_config(cls, experiment.system, key="system")
    files = [p for p in weight_paths(chain.guidance) if p.exists()]
    inner = [q for p in files for q in (sorted(p.rglob("*")) if p.is_dir() else [p])]
    stamps = [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in inner if p.is_file()]
    named = [work.device, chain.guidance_type, plain(chain.guidance), stamps]
    key = json.dumps(named, sort_keys=True, default=str)
    guidance = work.shelf.get(key, lambda: loaded_guidance(chain))
    return Pipeline(experiment, work.device, guidance=guidance)


def brought(experiment: ExperimentConfig, work: Work) -> tuple[Any, dict[str, Any]]:
    """What a pipeline is called with, and further options of its data plugin.

    Raises:
        DataError: if a text is given where pictures are wanted, or the other way round.
    """
    cls: Any = find("data", experiment.data_type, key="data_type")
    text, inputs, name = work.job.text, work.inputs, work.job.config
    takes = getattr(cls, "brought", "")
    if text and takes != "text":
        raise DataError(f"{name} takes no text.", hint="give a picture, or a config that takes one")
    if inputs and takes == "text":
        if not text or len(inputs) > 1:
            raise DataError(f"{name} takes a text, with one picture at most beside it.")
        return text, {"image": inputs[0]}
    if text:
        return text, {}
    return (inputs[0] if len(inputs) == 1 else inputs or None), {}


class _Handing:
    """Writes what there is while the rest is made; called by the pipeline."""

    def __init__(self, cfg: Make.Config, pipeline: Pipeline, folder: Path) -> None:
        self.cfg, self.folder = cfg, folder
        exporter = getattr(pipeline.exporter, "cfg", None)
        self.wanted = getattr(exporter, "wanted", Wanted())
        self.views: ViewSet | None = None
        self.due = 0.0

    def __call__(self, name: str, value: Any) -> None:
        if name == "condition":
            self._condition(value)
        elif name == "views":
            self.views = value
            value.save(self.folder / "views")
            if self.cfg.previews:
                self._first(value)
                self.due = time.monotonic() + self.cfg.preview_seconds
        elif name == "fit" and self.cfg.previews and time.monotonic() >= self.due:
            self._fit(value)

    def _condition(self, condition: Condition) -> None:
        pictures = prepared_pictures(condition)
        for i, picture in enumerate(pictures):
            name = "condition.png" if len(pictures) == 1 else f"condition-{i}.png"
            save_png(self.folder / name, picture)

    def _first(self, views: ViewSet) -> None:
        """The visual hull: what there is seconds after the views."""
        with StageProgress("first mesh"):
            try:
                self._write(VisualHull().fit(views, steps=1), "first.glb")
            except StudioError as error:  # the fit says what is wrong with the views
                print(f"no first mesh: {error}")

    def _fit(self, model: SceneModel) -> None:
        """What the fit has so far; in its first steps that may be nothing."""
        began = time.monotonic()
        try:
            self._write(model, "fit.glb")
        except StudioError as error:
            print(f"no mesh of the fit yet: {error}")
        spent = time.monotonic() - began
        self.due = time.monotonic() + max(self.cfg.preview_seconds, spent / MOST_SHARE)

    def _write(self, model: SceneModel, name: str) -> None:
        mesh = coloured(model, self.cfg.preview_resolution)
        placement = place(mesh, self.views, "+y", self.wanted)
        notes = Notes(placement=placement)
        mesh_format("glb").write(placement.mesh(mesh), self.folder / name, notes)
