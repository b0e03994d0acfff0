"""A config loaded once and called as often as wanted: `Pipeline` and `Result`."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
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
from studio.plugins.discovery import find
from studio.plugins.options import build
from studio.plugins.ranges import Range, Seed, StepsOrZero
from studio.plugins.registry import config_class
from studio.progress import Listener, StageProgress, listening
from studio.systems.base import System, check_data
from studio.systems.findings import Findings
from studio.systems.fitted import against_pictures
from studio.systems.generated import compare, make_views, shown
from studio.systems.originals import posed_originals
from studio.views import Condition, ViewSet

if TYPE_CHECKING:
    from PIL.Image import Image

Cancel = Callable[[], bool]
"""Asked at every step; True ends the work with `studio.Cancelled`."""
Ready = Callable[[str, Any], None]
"""Called with what there is already, by name: "condition" (a `Condition`), "views" (a `ViewSet`),
and after every step of the fit "fit" (the `SceneModel`, to be looked at only)."""


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

    seed: Seed = 0
    """Of all noise."""
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


def loaded_guidance(chain: Any) -> Guidance:
    """The guidance that the options of an image-to-3d system name, with its weights."""
    with StageProgress("weights"):
        made: Guidance = build(
            "guidance", chain.guidance_type, chain.guidance, key="system.guidance"
        )
    return made


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
        if config.system_type not in ("image-to-3d", "reconstruction"):
            raise ConfigError(
                f"a config with system_type '{config.system_type}' is trained, not called.",
                allowed="system_type: image-to-3d, reconstruction",
            )
        self.config, self.device = config, device_named(device)
        system: type[System] = find("system", config.system_type)
        check_data(config.system_type, system, config.data_type, find("data", config.data_type))
        cls = config_class(system)
        chain: Any = parse_config(cls, config.system, key="system")
        self.chain = chain
        self.exporter: Exporter = build("exporter", chain.exporter_type, chain.exporter)
        self.guidance: Guidance | None = None
        if config.system_type == "image-to-3d":
            if guidance is None:
                guidance = loaded_guidance(chain)
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
        how = self._checked(seed, steps, seconds)
        with listening(progress, cancel), heard() as said:
            give = _quietly(ready, said)
            condition, views, test = self._views(given, how.seed, options, give)
            found = Findings()
            originals: list[ViewSet] = []
            if condition is not None:
                found = compare(condition, views, self.chain.guidance)
                if self.chain.use_originals:
                    originals = posed_originals(condition, views)
            model = self._fitted(views, originals, how, give)
            if condition is None:
                found = against_pictures(model, views)
        found.warnings = [*said, *found.warnings]
        return Result(self, condition, views, model, originals, found, test)

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
        how = self._checked(seed)
        with listening(progress, cancel):
            return self._views(given, how.seed, options)[1]

    def _checked(self, seed: int | None, steps: int = 0, seconds: float = 0.0) -> Effort:
        """The numbers of a call, the config's where none are given."""
        config = self.config
        given = {"seed": config.seed if seed is None else seed, "steps": steps, "seconds": seconds}
        how = parse_config(Effort, given)
        open_steps = 0 if how.seconds else config.trainer.max_steps
        open_seconds = self.chain.time_budget_s
        return Effort(how.seed, how.steps or open_steps, how.seconds or open_seconds)

    def _views(
        self, given: Any, seed: int, options: Mapping[str, Any], give: Ready = lambda *_: None
    ) -> tuple[Condition | None, ViewSet, ViewSet | None]:
        """The condition, the views and the held-out views; of the first and last what there is."""
        kind, named = self.config.data_type, {**self.config.data, **options}
        cls: Any = find("data", kind)
        if given is not None and cls.brought in options:
            raise ConfigError(
                f"the input is given twice: as the first argument, and as {cls.brought}=...",
                hint="leave one of them out",
            )
        with as_options(given, cls) as brought, StageProgress("reading the input"):
            data = build("data", kind, {**named, **brought}, key="data")
            if self.guidance is None:
                views, test = data.load(), data.test()
                give("views", views)
                return None, views, test
            condition, targets = data.condition(), data.targets()
        self.guidance.contract.check(condition, targets, self.chain.guidance_type)
        give("condition", condition)
        views = make_views(self.guidance, condition, targets, seed=seed)
        give("views", views)
        return condition, views, None

    def _fitted(
        self, views: ViewSet, originals: list[ViewSet], how: Effort, give: Ready
    ) -> SceneModel:
        """A new model, fitted."""
        chain = self.chain
        with torch.random.fork_rng():
            torch.manual_seed(how.seed)  # weights start as they do from the command line
            model: SceneModel = build(
                "model", chain.reconstruction_type, chain.reconstruction, key="system"
            )
        model = model.to(self.device)
        with StageProgress("fit") as told:

            def step(done: int, total: int, _: str) -> None:
                told(done, total)
                give("fit", model)

            model.fit(
                views,
                originals=originals,
                steps=how.steps,
                seconds=how.seconds,
                seed=how.seed,
                progress=step,
            )
        return model


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
        pipeline: it.
        condition: what guidance was shown: the prepared picture(s) or text; None for captures.
        views: posed RGBA views, generated or the capture's.
        model: the scene model that was fitted to them.
        originals: the given pictures, posed among the views, where their cameras are known.
        findings: figures, and what a person should know.
        test_views: views of the capture that were held out, if any.
    """

    pipeline: Pipeline = field(repr=False)
    condition: Condition | None
    views: ViewSet
    model: SceneModel = field(repr=False)
    originals: list[ViewSet] = field(repr=False)
    findings: Findings
    test_views: ViewSet | None = field(default=None, repr=False)

    @cached_property
    def mesh(self) -> Mesh:
        """The mesh with its texture, in the world of the views; made when it is first asked for."""
        return self.pipeline.exporter.mesh(self.model, self.views, self.originals)

    @property
    def warnings(self) -> list[str]:
        """What went wrong on the way, a sentence or two each; what contradicts the result first."""
        return [*self.findings.alarms, *self.findings.warnings, *self.model.findings()]

    def save(self, folder: Path | str) -> Path:
        """Write what the config's exporter writes (model.glb, preview.png, ...) and `views/`.

        Returns:
            The path of the main file.
        """
        folder = Path(folder)
        self.views.save(folder / "views")
        picture = None if self.condition is None else shown(self.condition)
        notes = [*self.findings.summary, *(f"warning: {line}" for line in self.warnings)]
        written = self.pipeline.exporter.export(
            self.model, self.views, folder, picture, self.originals, notes
        )
        return Path(next(iter(written.values())))

    def picture(self) -> Image:
        """A sheet of the input, the views and the mesh from the same and from unseen sides."""
        from studio.export.contact_sheet import contact_sheet

        picture = None if self.condition is None else shown(self.condition)
        label = "views" if self.condition is None else "generated views"
        return contact_sheet(self.mesh, self.views, picture, views_label=label)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.picture().save(file, "PNG")
        return file.getvalue()
