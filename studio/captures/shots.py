"""`Shot`, a posed picture that lies on disk, and `Scene`, all that a capture's folder says.

Every layout is read into a `Scene`; `studio.captures.pictures` reads what it names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.lens import Distortion, Lens
from studio.similarity import posed_in


@dataclass(frozen=True)
class Shot:
    """One posed picture on disk.

    Attributes:
        name: unique within its scene.
        picture: its file.
        c2w: camera-to-world, OpenCV axes.
        intrinsics: in pixels of a picture of `size`, pixel centres at half-integers.
        size: (height, width) that the intrinsics belong to.
        lens: its distortion; the picture is undistorted on reading.
        ortho_scale: world units per picture height of an orthographic camera.
        mask: file of the object's mask; it multiplies the picture's own alpha.
        normal: file of camera-space normals as colours, (n + 1) / 2.
        normal_axes: rotation [3,3] from the axes of those normals to the world.
        box: (left, top, right, bottom) of the picture within its file, all of it where None.
        plain: the background is one even colour and is removed where there is no mask.
    """

    name: str
    picture: Path
    c2w: Float[Tensor, "4 4"]
    intrinsics: Float[Tensor, "3 3"]
    size: tuple[int, int]
    lens: Distortion = Lens()
    ortho_scale: float | None = None
    mask: Path | None = None
    normal: Path | None = None
    normal_axes: Float[Tensor, "3 3"] | None = None
    box: tuple[int, int, int, int] | None = None
    plain: bool = False


@dataclass(frozen=True)
class Scene:
    """What a layout's reader finds in a folder.

    Attributes:
        source: the file or folder, for messages.
        shots: the pictures.
        bound: half the side of the cube around the origin that holds the object, where known.
        points: sparse points on and around the object, where known; float64 like the poses.
        to_world: from the shots' world to the one that the files speak of, a similarity.
        how_to_mask: what the layout offers for masks, for messages.
        meta: provenance, plain JSON values.
    """

    source: Path
    shots: list[Shot]
    bound: float | None = None
    points: Float[Tensor, "n 3"] | None = None
    to_world: Float[Tensor, "4 4"] | None = None
    how_to_mask: str = "RGBA pictures whose background is transparent"
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What a ViewSet's meta says of where its views come from."""
        meta = {**self.meta, "source": str(self.source)}
        if self.to_world is not None:
            meta["to_world"] = self.to_world.tolist()
        return meta

    def placed(self, to_world: Float[Tensor, "4 4"]) -> Scene:
        """Return the scene in a new world, from which the similarity leads to the present one.

        The bound is forgotten, as it belongs to the present origin.
        """
        to_world = to_world.double()
        shots = []
        for shot in self.shots:
            c2w, size = posed_in(shot.c2w[None], to_world)
            axes, ortho = shot.normal_axes, shot.ortho_scale
            if axes is not None:
                axes = to_world[:3, :3].T / size @ axes.double()
            ortho = None if ortho is None else ortho / size
            shots.append(replace(shot, c2w=c2w[0], normal_axes=axes, ortho_scale=ortho))
        points = self.points
        if points is not None:
            turn = torch.linalg.inv(to_world[:3, :3])
            points = ((points.double() - to_world[:3, 3]) @ turn.T).to(points)
        before = torch.eye(4).double() if self.to_world is None else self.to_world.double()
        return replace(self, shots=shots, bound=None, points=points, to_world=before @ to_world)
