"""Run folders and jobs: views, the surface of the fit, the finished mesh, how far it all is.

Nothing is asked of the process that writes there: surfaces are made here, of its checkpoints.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from studio.config import (
    TrainerConfig,
    parse_config,
    read_experiment,
)
from studio.data.base import SceneData
from studio.data.layouts.base import LayoutData
from studio.data.layouts.capture import CaptureData
from studio.errors import DataError, StudioError
from studio.io.reading import known_json
from studio.jobs.record import Phase, Record
from studio.live.poses import Poses, judged
from studio.live.sight import Sight, Source, Watched
from studio.live.surfaces import Surface, of_checkpoint, of_file, result_in, scene_model
from studio.models.base import SceneModel
from studio.plugins.options import build
from studio.runs.folder import RunFolder
from studio.runs.lock import in_use
from studio.views import ViewSet

MOST_SURFACES = 64  # kept in memory
UNKNOWN = Poses()


def views_beside(path: Path) -> ViewSet:
    """The views whose transforms file this is."""
    return ViewSet.load(path.parent)


class RunSource(Source):
    """`outputs/<name>/<tag>@<time>/`, while it is written or afterwards.

    Raises:
        StudioError: if it is a run without a 3D model.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run = RunFolder(folder)
        self.title = f"{folder.resolve().parent.name} / {self.title}"
        content = read_experiment(self.run.configs / "config.yaml")
        self.system: dict[str, Any] = content.get("system") or {}
        self.data: dict[str, Any] = content.get("data") or {}
        self.data_type = content.get("data_type") or "capture"
        if not {"reconstruction_type", "geometry_type"} & set(self.system):
            raise DataError(
                f"{folder} is a run that makes no 3D model.",
                allowed="runs of systems that fit one: image-to-3d, reconstruction",
            )
        self.trainer = parse_config(TrainerConfig, content.get("trainer"), key="trainer")
        self._views: Watched[ViewSet] = Watched(views_beside)
        self._result: Watched[Surface] = Watched(of_file)
        self._surfaces: dict[str, Watched[Surface]] = {}
        self._given: LayoutData | None = None
        self._taken: ViewSet | None = None
        self._trouble = ""
        self._poses = UNKNOWN
        self._shown: ViewSet | None = None

    def look(self) -> Sight:
        """See what the folder holds now."""
        views = self._views(self.run.views / "transforms.json") or self._capture()
        points = None if self._given is None else self._given.cloud()
        for path in self.run.ckpts.glob("step=*.ckpt"):
            self._surfaces.setdefault(_step_of(path), Watched(self._of_checkpoint))
        steps = sorted(self._surfaces, key=lambda name: int(name.split()[-1]))
        for old in steps[: len(steps) - MOST_SURFACES]:
            del self._surfaces[old]
        steps = steps[-MOST_SURFACES:]
        result = self._result(result_in(self.run.export))
        words = self._words(views, steps, result)
        words += self._poses.words
        given = views is not None and views is self._taken  # not what a guidance made
        if given and self._poses is UNKNOWN and self._shown is views:
            assert views is not None
            self._poses = judged(views, points)
        self._shown = views
        return Sight("\n\n".join(words), views, points, tuple(steps), result, self._poses)

    def surface(self, step: str) -> Surface | None:
        """The surface that a checkpoint holds."""
        if step not in self._surfaces:
            return None
        return self._surfaces[step](self.run.ckpts / f"step={int(step.split()[-1]):08d}.ckpt")

    @cached_property
    def _model(self) -> SceneModel:
        return scene_model(self.system)

    def _of_checkpoint(self, path: Path) -> Surface:
        return of_checkpoint(path, self._model)

    def _capture(self) -> ViewSet | None:
        """The views of a run that was given a capture, as it reads them; read once."""
        if self._taken is not None or self._trouble:
            return self._taken
        try:
            data: Any = build("data", self.data_type, self.data, key="data")
            if isinstance(data, SceneData):
                layout = data.data if isinstance(data, CaptureData) else data
                if isinstance(layout, LayoutData) and layout.has_cameras():
                    self._taken, self._given = layout.load(), layout
        except StudioError as error:
            self._trouble = str(error).splitlines()[0]
        return self._taken

    # --- in words -------------------------------------------------------------------------------

    def _words(self, views: ViewSet | None, steps: list[str], result: Surface | None) -> list[str]:
        step, total, loss = self._progress(steps)
        at = f"step {step:,}" + (f" of {total:,}" if total else "")
        at += "" if loss is None else f", loss {loss:.4g}"
        running = in_use(self.folder)
        if not running:
            said = f"**done**, {at}" if result else f"**stopped** at {at}"
            said = said if step else "**stopped** before the fit"
        elif not step:
            said = "**beginning the fit**" if views else "**making views**"
        else:
            said = f"**exporting**, {at}" if total and step >= total else f"**fitting**, {at}"
        words = [said]
        if views is not None:
            h, w = views.cameras.size
            words.append(f"{len(views)} views of {w}x{h} px")
        if running and not steps:
            words.append(f"a surface comes with the first checkpoint, step {self._first:,}")
        trouble = [self._trouble] if self._trouble and views is None else []
        return [*words, *trouble, *self._problems()]

    def _progress(self, steps: list[str]) -> tuple[int, int, float | None]:
        """Steps made, steps in all (0: open) and the last loss, as the run has noted them."""
        noted = known_json(self.run.logs / "progress.json")
        made, loss, chosen = noted.get("step"), noted.get("loss"), noted.get("steps")
        total = self.trainer.max_steps or (chosen if isinstance(chosen, int) else 0)
        newest = int(steps[-1].split()[-1]) if steps else 0
        made = max(made, newest) if isinstance(made, int) else newest
        return made, total, loss if isinstance(loss, float) else None

    @property
    def _first(self) -> int:
        """Step of the first checkpoint."""
        every, steps = self.trainer.checkpoint_every, self.trainer.max_steps or 0
        return min(every, steps) if every and steps else every or steps

    def _problems(self) -> list[str]:
        watched: list[Watched[Any]] = [self._views, self._result, *self._surfaces.values()]
        return [w.problem for w in watched if w.problem][:3]


class JobSource(Source):
    """A job's folder: what its task leaves in `result/` as it goes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.record = Record(folder)
        self.title = self.record.job.label or self.title
        self._views: Watched[ViewSet] = Watched(views_beside)
        self._result: Watched[Surface] = Watched(of_file)
        self._meshes: dict[str, Watched[Surface]] = {
            "first mesh": Watched(of_file),
            "the fit so far": Watched(of_file),
        }
        self._files = dict(zip(self._meshes, ("first.glb", "fit.glb"), strict=True))

    def look(self) -> Sight:
        """See what the folder holds now."""
        there = [name for name, file in self._files.items() if self._path(file).is_file()]
        views = self._views(self._path("views") / "transforms.json")
        result = self._result(result_in(self.record.result))
        words = "\n\n".join(self._words(views))
        return Sight(words, views, steps=tuple(there), result=result)

    def surface(self, step: str) -> Surface | None:
        """A mesh that the task has left there."""
        watched = self._meshes.get(step)
        return None if watched is None else watched(self._path(self._files[step]))

    def _path(self, name: str) -> Path:
        path: Path = self.record.result / name
        return path

    def _words(self, views: ViewSet | None) -> list[str]:
        state = self.record.state
        at = f" {state.done:,} of {state.total:,}" if state.total else ""
        stage = f", {state.stage}{at}" if state.stage and state.phase is Phase.RUNNING else ""
        words = [f"**{state.phase}**{stage}", *([state.error] if state.error else [])]
        said = [*(f"**{line}**" for line in state.alarms), *state.warnings[:3]]
        return words + ([f"{len(views)} views"] if views else []) + said


def _step_of(path: Path) -> str:
    return f"step {int(path.stem.removeprefix('step='))}"
