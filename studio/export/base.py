"""The contract of exporters: a fitted scene model in, files or one mesh out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from studio.cameras import Cameras
from studio.mesh import Mesh, MeshOptions
from studio.views import ViewSet


class Meshed(Protocol):
    """What can be exported: a model with a surface; `studio.models.base.SceneModel` says more."""

    @property
    def device(self) -> Any:
        """Where points for `colour` are expected."""

    def mesh(
        self,
        resolution: int = 192,
        options: MeshOptions = ...,
        *,
        report: Callable[[str], None] | None = None,
    ) -> Mesh:
        """The surface with vertex normals, with colours of its own where `colour` knows none."""

    def colour(
        self, points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"] | None:
        """RGB in [0, 1] of surface points with unit outward normals."""

    def gloss(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
    ) -> Float[Tensor, "n 3"] | None:
        """What mirrored light adds to it in pictures; None where that is not told."""


@runtime_checkable
class Seen(Protocol):
    """What can be looked at as it was fitted, as scene models can: to compare a mesh with it."""

    def render(self, cameras: Cameras, background: float | None = None) -> ViewSet:
        """What cameras see of the object alone, where no background is given."""


class Exporter(ABC):
    """Base of all exporters; registered as ``("exporter", name)``.

    Attributes:
        cfg: the exporter's options, an instance of its ``Config``.
        figures: what the last `export` measured, for metrics.json; under "warnings" what was lost.
    """

    Config: ClassVar[type]

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.figures: dict[str, Any] = {}

    @abstractmethod
    def export(
        self,
        source: Meshed,
        views: ViewSet | None,
        folder: Path | str,
        input_picture: Float[Tensor, "4 h w"] | None = None,
        originals: Sequence[ViewSet] = (),
        notes: Sequence[str] = (),
    ) -> dict[str, Path]:
        """Write files and put what was measured into `figures`.

        Args:
            source: the fitted model.
            views: what it was fitted to.
            folder: where the files go; made if missing, existing files are replaced.
            input_picture: what guidance was asked with, RGBA in [0, 1].
            originals: the pictures behind that, posed, at their own resolution.
            notes: sentences for whoever looks at the result.

        Returns:
            Path by what it is, the main one first.

        Raises:
            ExportError: if the model has no surface.
        """

    def mesh(
        self, source: Meshed, views: ViewSet | None = None, originals: Sequence[ViewSet] = ()
    ) -> Mesh:
        """Return the mesh behind the files, in the world of the views; by default the model's own.

        Args:
            source: the fitted model.
            views: see `export`.
            originals: see `export`.

        Raises:
            ExportError: if the model has no surface.
        """
        return source.mesh()
