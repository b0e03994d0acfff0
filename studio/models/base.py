"""The contract of scene models: views in; images from any camera and a mesh out.

Systems, exporter and Python users know this contract only. What is inside (a distance field, a
visual hull, Gaussians, ...) is a plugin: a class under `@register("model", "name")`.

Units and frame: the world of the views, right-handed, +Z up; lengths in its units. A model stands
inside the cube of half side `bound` around the origin.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from studio.cameras import Cameras
from studio.errors import ConfigError
from studio.mesh import Mesh, MeshOptions
from studio.views import ViewSet

Progress = Callable[[int, int, str], None]
"""Called with (done, total, label)."""


class SceneModel(nn.Module):
    """Base of all models; one constructor, taking an instance of `Config` (None: its defaults).

    `fit` does everything at once. What saves and resumes goes step by step instead, in this order:
    `begin`; after a resume `load_fit_state`, `load_state_dict` and the optimiser's state; then
    `run_steps`.

    All noise is a function of the seed and the step, so a fit that is taken up again ends where an
    undisturbed one would have.

    Attributes:
        left_out: after `begin`, positions of views from which nothing is learned (empty masks).
        unfitted: names of options that the fit does not depend on, only what is made of it.
    """

    Config: ClassVar[type]
    unfitted: ClassVar[tuple[str, ...]] = ()
    left_out: tuple[int, ...] = ()

    # --- the fit --------------------------------------------------------------------------------

    def fit(
        self,
        views: ViewSet,
        *,
        originals: Sequence[ViewSet] = (),
        steps: int = 0,
        seconds: float = 0.0,
        seed: int = 0,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Self:
        """Make the model look like posed views.

        Args:
            views: RGBA pictures whose alpha outlines the object, in its cube of half side `bound`.
            originals: the given pictures that these were generated from, one posed view each, at
                their own resolution; where they show the object, they count more.
            steps: most steps; 0 leaves only the time.
            seconds: most wall seconds; 0 leaves only the steps.
            seed: of all noise.
            progress: told how far it is.
            cancel: asked after every step; where it returns True, the fit ends there, with what it
                has.

        Returns:
            The model itself, in evaluation mode.

        Raises:
            DataError: if the views cannot be fitted (no masks, cameras that see nothing, ...).
            ConfigError: if a model that learns in steps is given neither steps nor seconds.
            TrainingError: if a loss stops being finite.
        """
        self.begin(views, originals=originals, seed=seed)
        total = steps or 100
        for _ in self.run_steps(steps, seconds):
            if progress is not None:
                progress(min(total, round(self.progress * total)), total, "fit")
            if cancel is not None and cancel():
                break
        return self.eval()

    def run_steps(
        self, steps: int = 0, seconds: float = 0.0, update: Callable[[], Any] | None = None
    ) -> Iterator[Mapping[str, Tensor]]:
        """Make the steps that are left, after `begin`; yields after each what `step` returned.

        Args:
            steps: see `start`.
            seconds: see `start`.
            update: see `step`.
        """
        self.start(steps, seconds)
        while not self.done:
            yield self.step() if update is None else self.step(update)

    @abstractmethod
    def begin(self, views: ViewSet, *, originals: Sequence[ViewSet] = (), seed: int = 0) -> None:
        """Take the views (see `fit`), find the object in them, and make the optimiser.

        Raises:
            DataError: if they cannot be fitted.
        """

    def start(self, steps: int = 0, seconds: float = 0.0) -> None:
        """Do what comes before the first step (of a new fit, or of one that is taken up).

        Args:
            steps: of the whole fit, those before a resume included; 0: open.
            seconds: likewise; 0: open.

        Raises:
            ConfigError: if the fit would have no end.
        """

    @abstractmethod
    def step(self, update: Callable[[], Any] | None = None) -> Mapping[str, Tensor]:
        """Make one step.

        Args:
            update: stands in for ``self.optimizer.step``, where a trainer wraps it.

        Returns:
            What the step minimised, detached, by name, the sum as "loss"; may be empty.

        Raises:
            RuntimeError: before `start`.
            TrainingError: if a loss is not finite; the weights are as before.
        """

    @property
    @abstractmethod
    def progress(self) -> float:
        """Share of the fit that is done, in [0, 1]."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.progress >= 1.0

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """What the steps use, after `begin`; None if they use none."""
        return None

    def fit_state(self) -> dict[str, Any]:
        """Where the fit is: plain values that a resumed one needs beside weights and optimiser."""
        return {}

    def load_fit_state(self, state: Mapping[str, Any]) -> None:
        """Go on, at the next `start`, where `fit_state` was taken."""

    def choices(self) -> dict[str, float]:
        """What was chosen by what the views show, by option, where the options leave it open.

        Known after `begin`. "steps" are those that suit the views, for `steps_to_make`.
        """
        return {}

    def steps_to_make(self, asked: int | None) -> int:
        """Steps of a fit: as many as are asked for, else those that suit the views.

        Args:
            asked: None or 0: none in particular.

        Returns:
            What `start` takes, known after `begin`; 0 where nothing says how many.
        """
        return asked or int(self.choices().get("steps", 0))

    def figures(self) -> dict[str, float]:
        """Figures on the steps since the last call, for the log: rays a second, Gaussians, ..."""
        return {}

    def findings(self) -> list[str]:
        """What a person should know about how the fit ended, a sentence each."""
        return []

    def corrected(self, views: ViewSet) -> ViewSet:
        """The fitted views as the fit has come to understand them, for all that is made of them.

        A model that finds poses or exposures during the fit puts them right here, and says in
        ``meta["corrections"]``, a row a view, what was changed; others return what was given.
        """
        return views

    # --- what it is good for --------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    @property
    @abstractmethod
    def bound(self) -> float:
        """Half the side of the cube around the origin that holds the object, in world units."""

    @abstractmethod
    def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
        """What cameras see.

        Args:
            cameras: V, in the world of the views.
            background: grey level in [0, 1] to composite on, with all that the model knows of the
                surroundings; alpha is 1 then. None leaves surroundings out and alpha straight.

        Returns:
            V pictures on the CPU, RGBA in [0, 1]; unit normals in the world (0 where there is no
            surface), if the model has normals.
        """

    @abstractmethod
    def mesh(
        self,
        resolution: int = 192,
        options: MeshOptions = MeshOptions(),  # noqa: B008 - frozen
        *,
        report: Callable[[str], None] | None = None,
    ) -> Mesh:
        """The surface as triangles with vertex normals, faces outwards.

        Args:
            resolution: cells along the longest side of the object.
            options: how the surface is made.
            report: is told, in a sentence, what was lost on the way.

        Returns:
            With a texture or vertex colours where `colour` returns None.

        Raises:
            ExportError: if there is no surface, or the grid would be too large.
        """

    def colour(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"] | None:
        """Colours for baking a texture.

        Args:
            points: on the surface, in the world, float32, on `device`.
            normals: unit, outwards.

        Returns:
            RGB in [0, 1]; None if `mesh` brings colours.
        """
        return None

    def gloss(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
    ) -> Float[Tensor, "n 3"] | None:
        """What mirrored light adds to the colours of surfaces, which textures are made without.

        Args:
            points: see `colour`.
            normals: see `colour`.
            directions: unit, from the cameras that see them.

        Returns:
            RGB in [0, 1]; None where the model does not tell.
        """
        return None

    # --- files ----------------------------------------------------------------------------------

    def save(self, folder: Path | str) -> Path:
        """Write `model.safetensors` and `config.json`, whole or not at all; return the folder."""
        from studio.models.files import save_model

        return save_model(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Self:
        """Read what `save` wrote: render, mesh and colours are as before; views are not stored.

        Called on `SceneModel` it takes any model, on a plugin's class only that one.

        Raises:
            WeightsError: if something is missing, damaged or of another class.
            PluginError: if the plugin is not there.
        """
        from studio.models.files import load_model

        model = load_model(Path(folder), cls).to(device)
        assert isinstance(model, cls)
        return model.eval()

    def extras(self) -> dict[str, Any]:
        """Plain JSON values that `save` stores beside the tensors of `state_dict`."""
        return {}

    def load_extras(self, state: Mapping[str, Any]) -> None:
        """Put back what `extras` returned."""


def check_budget(steps: int, seconds: float) -> None:
    """Refuse a fit without an end.

    Raises:
        ConfigError: if neither steps nor seconds are limited.
    """
    if steps <= 0 and seconds <= 0:
        raise ConfigError(
            "the fit has no end: neither steps nor seconds are given.",
            hint="give steps= or seconds= (trainer.max_steps or system.time_budget_s in a config)",
        )
