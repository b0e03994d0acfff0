"""Base colour textures: a rasteriser in UV space, colours from a field or posed pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from studio.export.cleanup import vertex_normals
from studio.export.projection import Hits
from studio.export.raster import covered_texels
from studio.export.seams import levelled, seams_of
from studio.export.view_colours import Footage
from studio.export.view_kernels import look_up
from studio.mesh import Mesh
from studio.plugins.registry import register
from studio.views import ViewSet

ColourFn = Callable[[Float[Tensor, "n 3"], Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]


@dataclass(frozen=True)
class Texels:
    """Where the covered texels of an atlas lie on the surface.

    Attributes:
        covered: true at texels whose centre a triangle covers, first row at the top.
        face: triangle of each covered texel, in the order of ``covered``.
        points: world positions.
        normals: unit, interpolated from the vertices.
        weights: barycentric, of the triangle's corners.
    """

    covered: Bool[np.ndarray, "h w"]
    face: Int[np.ndarray, " n"]
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    weights: Float[np.ndarray, "n 3"]


def rasterise_uv(mesh: Mesh, size: int) -> Texels:
    """Find the surface point under every texel centre of a ``size`` x ``size`` texture.

    Args:
        mesh: with ``uv``; vertex normals are computed if absent.
        size: texture side in texels.
    """
    if mesh.uv is None:
        raise ValueError("the mesh has no uv: unwrap it first")
    corners = mesh.uv.astype(np.float64)[mesh.faces] * size
    corners[..., 1] = size - corners[..., 1]
    texture_face = np.full(size * size, -1, dtype=np.int64)
    weights = np.zeros((size * size, 3))
    for texel, face, weight in covered_texels(corners, size):
        texture_face[texel], weights[texel] = face, weight
    covered = texture_face >= 0
    face, weights = texture_face[covered], weights[covered]
    corners = mesh.faces[face]
    points, normals = (
        np.einsum("ncd,nc->nd", of[corners], weights)
        for of in (mesh.vertices, vertex_normals(mesh))
    )
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    floats = (x.astype(np.float32) for x in (points, normals, weights))
    return Texels(covered.reshape(size, size), face, *floats)


def bake_texture(
    mesh: Mesh,
    colour_fn: ColourFn,
    size: int = 1024,
    *,
    views: ViewSet | None = None,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> Mesh:
    """Return the mesh with a baked base colour texture.

    Args:
        mesh: with ``uv``.
        colour_fn: rgb in [0, 1] at world points with unit outward normals.
        size: texture side in texels.
        views: if given, their pictures correct what they see; ``colour_fn`` gives the rest.
        chunk: points per call of ``colour_fn``.
        device: where the query points are created.
    """
    baker = TextureBaker(mesh, size)
    colours = baker.query(colour_fn, chunk, device)
    return baker.textured(
        colours if views is None else baker.refined(colours, Footage(mesh, views))
    )


class Baker(ABC):
    """Makes the texture of one unwrapped mesh; registered as `@register("baker", "<name>")`.

    What `query` returns is handed through `refined`, where there are pictures, to `textured`; what
    it holds is the baker's own affair.

    Args:
        mesh: with ``uv``.
        size: texture side in texels.
    """

    def __init__(self, mesh: Mesh, size: int = 1024) -> None:
        self.mesh, self.size = mesh, size

    @abstractmethod
    def query(
        self, colour_fn: ColourFn, chunk: int = 2**18, device: torch.device | str = "cpu"
    ) -> Any:
        """Colours from a function of position and normal, asked on `device`, `chunk` at a time."""

    def refined(self, colours: Any, footage: Footage, whole: Mesh | None = None) -> Any:
        """Colours corrected by what pictures show of them; as they are, if a baker can do no more.

        Args:
            colours: to start from.
            footage: the pictures.
            whole: the mesh before it was cut, its faces in the same order, with vertex colours.
        """
        return colours

    @abstractmethod
    def textured(self, colours: Any) -> Mesh:
        """The mesh with a texture of these colours."""


@register("baker", "texels")
class TextureBaker(Baker):
    """A colour for every texel of the charts; pictures correct what they see."""

    def __init__(self, mesh: Mesh, size: int = 1024) -> None:
        super().__init__(mesh, size)
        self.texels = rasterise_uv(mesh, size)
        self._spread = _Spread(self.texels.covered)
        self._seams = seams_of(mesh, size)

    def query(
        self, colour_fn: ColourFn, chunk: int = 2**18, device: torch.device | str = "cpu"
    ) -> Float[np.ndarray, "n 3"]:
        """Colours of the covered texels from a function of position and normal."""
        return query_colours(self.texels.points, self.texels.normals, colour_fn, chunk, device)

    def refined(
        self, colours: Float[np.ndarray, "n 3"], footage: Footage, whole: Mesh | None = None
    ) -> Float[np.ndarray, "n 3"]:
        """Colours of the covered texels, corrected by what pictures show of them.

        Args:
            colours: to start from.
            footage: the pictures.
            whole: the mesh before it was cut, its faces in the same order, with vertex colours,
                from which uncertain texels start; else these keep their colours.
        """
        texels = self.texels
        seen = footage.look(texels.face, texels.weights)
        if whole is not None:
            assert whole.colours is not None, "the mesh has no vertex colours"
            corners = whole.colours[whole.faces[texels.face]]
            smooth = np.einsum("nc,ncd->nd", texels.weights, corners)
            colours = np.where(seen.certain[:, None], colours, smooth)
        return seen.refine(colours, self._render)

    def textured(self, colours: Float[np.ndarray, "n 3"]) -> Mesh:
        """The mesh with these texel colours; gaps take the nearest ones, seams are levelled."""
        texture = levelled(self._spread(colours), self.texels.covered, self._seams)
        return replace(self.mesh, texture=np.round(texture * 255.0).astype(np.uint8))

    def _render(self, colours: Float[np.ndarray, "n 3"]) -> Callable[[Hits], np.ndarray]:
        """What pixels see of the texture."""
        assert self.mesh.uv is not None
        corners = (self.mesh.uv * self.size)[self.mesh.faces]
        corners[..., 1] = self.size - corners[..., 1]
        texture = self._spread(colours)

        def pixels(hits: Hits) -> Float[np.ndarray, "k 3"]:
            shown = np.empty((len(hits.pixel), 3), np.float32)
            look_up(texture, corners, hits.face, hits.weights, shown)
            return shown

        return pixels


def query_colours(
    points: Float[np.ndarray, "n 3"],
    normals: Float[np.ndarray, "n 3"],
    colour_fn: ColourFn,
    chunk: int = 2**18,
    device: torch.device | str = "cpu",
) -> Float[np.ndarray, "n 3"]:
    """Evaluate a colour function in chunks; the result is clipped to [0, 1]."""
    colours = np.empty((len(points), 3), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(points), chunk):
            part = slice(start, start + chunk)
            p, n = (
                torch.from_numpy(np.asarray(x[part], np.float32)).to(device)
                for x in (points, normals)
            )
            colours[part] = colour_fn(p, n).detach().float().cpu().numpy()
    return np.clip(colours, 0.0, 1.0)


class _Spread:
    """Fills a texture: every texel takes the colour of the nearest covered one.

    Args:
        covered: true where there are colours of the surface.
    """

    def __init__(self, covered: Bool[np.ndarray, "h w"]) -> None:
        from scipy.ndimage import distance_transform_edt

        number = np.cumsum(covered.reshape(-1)).reshape(covered.shape) - 1
        if not covered.all() and covered.any():
            rows, columns = distance_transform_edt(
                ~covered, return_distances=False, return_indices=True
            )
            number = number[rows, columns]
        self.source = number

    def __call__(self, colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "h w 3"]:
        """The whole texture, given the colours of covered texels row by row."""
        if len(colours) == 0:
            return np.zeros((*self.source.shape, 3), dtype=np.float32)
        return np.asarray(colours, dtype=np.float32)[self.source]


def spread(
    values: Float[np.ndarray, "n 3"], covered: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    """A whole texture from the values of its covered texels: all others take the nearest one's."""
    return _Spread(covered)(values)


def fill_texture(
    colours: Float[np.ndarray, "n 3"], covered: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Spread colours from covered texels to all others: seams and mip levels stay clean."""
    return np.round(spread(colours, covered) * 255.0).astype(np.uint8)
