"""A config loaded once and called as often as wanted: `Pipeline` and `Result`."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch

from studio.config import ExperimentConfig, parse_config
from studio.errors import ConfigError
from studio.export.base import Exporter
from studio.guidance.base import Guidance
from studio.inputs import as_options
from studio.mesh import Mesh
from studio.models.base import SceneModel
from studio.plugins.discovery import find, heirs
from studio.plugins.options import build
from studio.plugins.ranges import Range, Seed, StepsOrZero
from studio.plugins.registry import config_class
from studio.progress import Listener, listening
from studio.systems.contract import BaseSystem, check_data
from studio.systems.findings import Findings
from studio.systems.generated import loaded_guidance
from studio.systems.image_to_3d import ImageTo3D
from studio.systems.scene import Ready, SceneSystem
from studio.views import Condition, ViewSet

if TYPE_CHECKING:
    from PIL.Image import Image

Cancel = Callable[[], bool]
"""Asked at every step; True ends the work with `studio.Cancelled`."""


def device_named(name: str) -> torch.device:
    """Return a device by its name; auto is an NVIDIA GPU if there is one, else the processor.

    Raises:
        ConfigError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device is '{name}', which is not here.", allowed="auto, cpu, cuda, cuda:1, ..."
        ) from error
    return device


@dataclass(frozen=True)
class Effort:
    """The numbers of a call."""

    seed: Seed | None = None
    """Of all noise; null: the config's."""
    steps: StepsOrZero = 0
    """Of the fit; 0: as many as the config says."""
    seconds: Annotated[float, Range(0, 1e9)] = 0.0
    """Most wall seconds of the fit; 0: as many as the config says."""


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what the program warns of within, a sentence or two each, every one once."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage()) not in said:
                said.append(text)

    ear = Ear(logging.WARNING)
    own = logging.getLogger("studio")
    own.addHandler(ear)
    try:
        yield said
    finally:
        own.removeHandler(ear)


class Pipeline:
    """What a config describes, ready to be called: guidance with its weights, a fit, an export.

    Attributes:
        config: everything that was asked for, defaults filled in.
        guidance: makes the views; None for configs that reconstruct captures.
        device: where it computes.
    """

    def __init__(
        self, config: ExperimentConfig, device: str = "auto", *, guidance: Guidance | None = None
    ) -> None:
        """Load what the config names.

        Args:
            config: checked.
            device: see `device_named`.
            guidance: the config's own, where it is loaded already.
        """
        kind: type[BaseSystem] = find("system", config.system_type)
        if not issubclass(kind, SceneSystem):
            raise ConfigError(
                f"a config with system_type '{config.system_type}' is trained, not called.",
                allowed=f"system_type: {', '.join(heirs('system', SceneSystem))}",
            )
        self.config, self.device = config, device_named(device)
        check_data(config.system_type, kind, config.data_type, find("data", config.data_type))
        options: Any = parse_config(config_class(kind), config.system, key="system")
        self.exporter: Exporter = build("exporter", options.exporter_type, options.exporter)
        self.guidance: Guidance | None = None
        if issubclass(kind, ImageTo3D):
            if guidance is None:
                guidance = loaded_guidance(options)
            self.guidance = guidance.to(self.device).eval()

    def __call__(
        self,
        given: Any = None,
        *,
        seed: int | None = None,
        steps: int = 0,
        seconds: float = 0.0,
        progress: Listener | None = None,
        cancel: Cancel | None = None,
        ready: Ready | None = None,
        **options: Any,
    ) -> Result:
        """Make views of what is given, fit a model to them; the mesh is made when it is asked for.

        Args:
            given: a picture (path, PIL image, array, tensor), several, a folder of a capture, a
                `ViewSet` or a text, as the config takes; None: what the config names.
            seed: of all noise; None: the config's.
            steps: of the fit; 0: as many as the config says.
            seconds: most wall seconds of the fit; 0: as many as the config says.
            progress: see the module.
            cancel: see the module.
            ready: is given what there is while the rest is made; it changes nothing of the result.
            options: of the data plugin, such as ``elevation_deg=20`` or ``background="rembg"``.

        Raises:
            StudioError: if what is given, or an option, cannot be used.
            Cancelled: if `cancel` said so.
        """
        how = parse_config(Effort, {"seed": seed, "steps": steps, "seconds": seconds})
        with listening(progress, cancel), heard() as said:
            system = self._system(how.seed)
            system.ready = _quietly(ready, said)
            with self._data(given, options) as data:
                system.check(data)
                system.prepare(data)
            steps = how.steps
            if not steps and not how.seconds:
                steps = system.model.steps_to_make(self.config.trainer.max_steps)
            system.fit(steps, how.seconds or system.cfg.time_budget_s)
            found = system.findings()
        found.warnings = [*said, *found.warnings]
        return Result(system, found)

    def views(
        self,
        given: Any = None,
        *,
        seed: int | None = None,
        progress: Listener | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> ViewSet:
        """Do the first half only: return the generated views, or those of the capture."""
        how = parse_config(Effort, {"seed": seed})
        with listening(progress, cancel):
            system = self._system(how.seed)
            with self._data(given, options) as data:
                system.check(data)
                return system.views_to_fit()

    def _system(self, seed: int | None) -> SceneSystem:
        """The config's system without a run folder, its model new."""
        config = self.config
        options = config.system if seed is None else {**config.system, "seed": seed}
        with torch.random.fork_rng():
            torch.manual_seed(config.seed if seed is None else seed)  # as from the command line
            system: SceneSystem = build("system", config.system_type, options, key="system")
        system.experiment_seed = config.seed
        system.exporter = self.exporter
        if isinstance(system, ImageTo3D):
            system.guidance = self.guidance
        return system.to(self.device)

    @contextlib.contextmanager
    def _data(self, given: Any, options: Mapping[str, Any]) -> Iterator[Any]:
        """The data plugin, with what is given; files that it needs live as long."""
        kind, named = self.config.data_type, {**self.config.data, **options}
        cls: Any = find("data", kind)
        if given is not None and cls.brought in options:
            raise ConfigError(
                f"the input is given twice: as the first argument, and as {cls.brought}=...",
                hint="leave one of them out",
            )
        with as_options(given, cls) as brought:
            yield build("data", kind, {**named, **brought}, key="data")


def _quietly(ready: Ready | None, said: list[str]) -> Ready:
    """`ready`, without what it makes the program say: that is nothing of the result."""

    def give(name: str, value: Any) -> None:
        if ready is not None:
            before = list(said)
            ready(name, value)
            said[:] = before

    return give


@dataclass
class Result:
    """What a call of a `Pipeline` made.

    Attributes:
        system: what made it.
        findings: figures, and what a person should know.
    """

    system: SceneSystem = field(repr=False)
    findings: Findings

    @property
    def condition(self) -> Condition | None:
        """What guidance was shown: the prepared picture(s) or text; None for captures."""
        return getattr(self.system, "condition", None)

    @cached_property
    def views(self) -> ViewSet:
        """Posed RGBA views, generated or the capture's, as the fit has corrected them."""
        return self.system.fitted_views

    @property
    def test_views(self) -> ViewSet | None:
        """Views of the capture that were held out, if any."""
        return self.system.test_views

    @property
    def model(self) -> SceneModel:
        """The scene model that was fitted to the views."""
        return self.system.model

    @property
    def originals(self) -> Sequence[ViewSet]:
        """The given pictures, posed among the views, where their cameras are known."""
        return self.system.originals

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh with its texture, in the world of the views; made when it is first asked for."""
        return self.system.exporter.mesh(self.model, self.views, self.originals)

    @property
    def warnings(self) -> list[str]:
        """What went wrong on the way, a sentence or two each; what contradicts the result first."""
        return [*self.findings.alarms, *self.findings.warnings]

    def save(self, folder: Path | str) -> Path:
        """Write what the config's exporter writes (model.glb, preview.png, ...) and `views/`.

        Returns:
            The path of the main file.
        """
        folder = Path(folder)
        self.views.save(folder / "views")
        return Path(next(iter(self.system.write(folder, self.findings).values())))

    def picture(self) -> Image:
        """A sheet of the input, the views and the mesh from the same and from unseen sides."""
        from studio.export.contact_sheet import contact_sheet

        label = "views" if self.condition is None else "generated views"
        notes, given = self.system.notes(self.findings), self.system.picture()
        return contact_sheet(self.mesh, self.views, given, views_label=label, notes=notes)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.picture().save(file, "PNG")
        return file.getvalue()
