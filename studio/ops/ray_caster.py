"""A small ray caster (Embree): meshes to pictures on the processor.

It serves the procedural training data, previews, turntables and benchmarks. Shading is diffuse and
depends on nothing but the world normal's Z component, so a mesh turned about +Z, under cameras
turned with it, gives the same pictures. That makes "choose another view as view 0" a mere roll of
the ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from studio.cameras import Cameras
    from studio.mesh import Mesh
    from studio.views import ViewSet

Array = NDArray[Any]

AMBIENT, HEMISPHERE, KEY = 0.52, 0.30, 0.18
"""Shares of constant, sky-dome and overhead light; they add up to 1 for a face that looks up."""


@dataclass(frozen=True)
class Rendered:
    """Pictures of one mesh; arrays are float32, view axis first."""

    rgba: Array
    """[V, H, W, 4] straight alpha in [0, 1]; colour is 0 where alpha is 0."""
    depth: Array | None = None
    """[V, H, W] distance along the camera's z axis in world units, 0 where nothing is hit."""
    normal: Array | None = None
    """[V, H, W, 3] unit world normal, 0 where nothing is hit."""

    @property
    def mask(self) -> Array:
        """[V, H, W] coverage in [0, 1]."""
        return self.rgba[..., 3]


class Shader(Protocol):
    """Gives surfaces colours that no vertex holds: patterns, light that was computed before.

    Attributes:
        columns: [M, 3 corners, C] values of its own, interpolated over every face.
    """

    columns: Array

    def __call__(self, faces: Array, colours: Array, values: Array) -> Array:
        """Return colours [N, 3] of points on faces [N] with plain colours [N, 3]."""


class RayCaster:
    """Casts rays at one triangle mesh.

    Args:
        vertices: [N, 3] world positions.
        faces: [M, 3] indices, outward faces counter-clockwise.
        colours: [N, 3] per vertex or [M, 3] per face, in [0, 1]; grey if absent.
        normals: [N, 3] shading normals; face normals if absent.
        uv: [N, 2] texture coordinates, origin bottom-left.
        texture: [H, W, 3] uint8; wins over ``colours``.
        shader: what colours of shaded pictures come from, in place of the light from above.
    """

    def __init__(
        self,
        vertices: Array,
        faces: Array,
        colours: Array | None = None,
        *,
        normals: Array | None = None,
        uv: Array | None = None,
        texture: Array | None = None,
        shader: Shader | None = None,
    ) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.vertices = np.ascontiguousarray(vertices, dtype=np.float32)
        self.faces = np.ascontiguousarray(faces, dtype=np.int32)
        self.texture = None if uv is None else texture
        self.shader = shader
        self._uv = None if uv is None or texture is None else np.asarray(uv, np.float32)[faces]
        self._compiled = self._uv is not None  # a texture's lookups; False: their twin in numpy
        self._colours = self._corner_colours(colours)
        self._normals = self._corner_normals(normals)
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, self.vertices, self.faces)

    def _corner_colours(self, colours: Array | None) -> Array:
        """[M, 3 corners, 3] surface colours, white under a texture."""
        shape = (len(self.faces), 3, 3)
        if self._uv is not None or colours is None:
            return np.full(shape, 0.7 if self._uv is None else 1.0, np.float32)
        colours = np.asarray(colours, np.float32)
        if len(colours) == len(self.vertices):
            return colours[self.faces]
        if len(colours) == len(self.faces):
            return np.repeat(colours[:, None], 3, axis=1)
        raise ValueError(
            f"{len(colours)} colours for {len(self.vertices)} vertices and {len(self.faces)} faces"
        )

    def _corner_normals(self, normals: Array | None) -> Array:
        """[M, 3 corners, 3] unit shading normals."""
        if normals is None:
            a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
            corner = np.repeat(np.cross(b - a, c - a)[:, None], 3, axis=1)
        else:
            corner = np.asarray(normals, np.float32)[self.faces]
        length = np.linalg.norm(corner, axis=-1, keepdims=True)
        return np.asarray(corner / np.maximum(length, 1e-12), np.float32)

    def cast(self, origins: Array, directions: Array) -> dict[str, Array]:
        """Trace rays; ``tfar`` counts in lengths of the direction, ``primID`` is -1 for a miss."""
        return self._scene.run(  # type: ignore[no-any-return]
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=1,
        )

    def render(
        self,
        c2w: Array,
        intrinsics: Array,
        size: tuple[int, int],
        *,
        ortho_scale: Array | None = None,
        supersample: int = 2,
        shading: bool = True,
        geometry: bool = False,
    ) -> Rendered:
        """Render perspective or orthographic views.

        Args:
            c2w: [V, 4, 4] OpenCV camera poses in the world (+Z up).
            intrinsics: [V, 3, 3] in pixels, pixel centres at half-integers.
            size: (height, width) in pixels.
            ortho_scale: [V] world height of the picture for orthographic cameras.
            supersample: samples per pixel and axis.
            shading: ``False`` gives the plain surface colour.
            geometry: also return depth and normals.
        """
        c2w, intrinsics = np.asarray(c2w, np.float32), np.asarray(intrinsics, np.float32)
        views, (height, width) = len(c2w), size
        out = np.zeros((views, height, width, 8 if geometry else 4), np.float32)
        corners = _box_corners(self.vertices)
        table = self._table(shading, geometry)
        for view in range(views):
            scale = None if ortho_scale is None else float(ortho_scale[view])
            window = _window(corners, c2w[view], intrinsics[view], size, scale)
            if window is None:
                continue
            top, bottom, left, right = window
            origins, directions = _pixel_rays(
                c2w[view], intrinsics[view], window, size, scale, supersample
            )
            samples = self._shade(origins, directions, table, geometry, shading)
            shape = (bottom - top, supersample, right - left, supersample, samples.shape[-1])
            out[view, top:bottom, left:right] = _mean_of_samples(samples.reshape(shape))
        if not geometry:
            return Rendered(out)
        length = np.linalg.norm(out[..., 5:], axis=-1, keepdims=True)
        return Rendered(out[..., :4], out[..., 4], out[..., 5:] / np.maximum(length, 1e-6))

    def _table(self, shading: bool, geometry: bool) -> Array:
        """[M, 3 corners, C] what is interpolated over a face: lit colour, normal, uv or own."""
        above = shading and self.shader is None
        colour = self._colours * light(self._normals)[..., None] if above else self._colours
        columns = [colour] + [self._normals] * geometry
        if shading and self.shader is not None:
            columns.append(self.shader.columns)
        if self._uv is not None:
            columns.append(self._uv)
        return np.ascontiguousarray(np.concatenate(columns, axis=-1), np.float32)

    def _shade(
        self, origins: Array, directions: Array, table: Array, geometry: bool, shading: bool
    ) -> Array:
        """[N, 4 or 8] per ray: premultiplied rgb, coverage, depth, world normal."""
        hit = self.cast(origins, directions)
        out = np.zeros((len(origins), 8 if geometry else 4), np.float32)
        if self._compiled and not (shading and self.shader is not None):
            from studio.ops.textured_cpu import shade_textured

            seen = [hit[name] for name in ("primID", "u", "v", "tfar")]
            shade_textured(*seen, table, self.texture, out)
            return out
        index = np.flatnonzero(hit["primID"] >= 0)
        u, v = hit["u"][index], hit["v"][index]
        weights = np.stack([1.0 - u - v, u, v], axis=1)
        values = np.einsum("nk,nkc->nc", weights, table[hit["primID"][index]])
        if self._uv is not None and self.texture is not None:
            values[:, :3] *= sample_texture(self.texture, values[:, -2:])
        if shading and self.shader is not None:
            own = values[:, -self.shader.columns.shape[-1] :]
            values[:, :3] = self.shader(hit["primID"][index], values[:, :3], own)
        out[index, :3] = values[:, :3]
        out[index, 3] = 1.0
        if geometry:
            out[index, 4] = hit["tfar"][index]
            out[index, 5:] = values[:, 3:6]
        return out


def light(normal: Array) -> Array:
    """Brightness in (0, 1] of surfaces with these unit world normals."""
    up = normal[..., 2]
    shade: Array = AMBIENT + HEMISPHERE * (0.5 + 0.5 * up) + KEY * np.maximum(up, 0.0)
    return shade


def _mean_of_samples(samples: Array) -> Array:
    """[h, s, w, s, C] premultiplied samples to [h, w, C] pixels with straight alpha."""
    count = samples.shape[1]
    total = np.zeros(samples[:, 0, :, 0].shape, np.float32)
    for i, j in np.ndindex(count, count):
        total += samples[:, i, :, j]
    covered = np.maximum(total[..., 3:4], 1.0)
    alpha = total[..., 3:4] / (count * count)
    total /= covered
    total[..., 3:4] = alpha
    return total


def sample_texture(texture: Array, uv: Array) -> Array:
    """Bilinear lookup, texel centres at half-integers, clamped at the border."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    x0, y0 = x.astype(np.int64), y.astype(np.int64)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = texture[y0, x0, :3] * (1 - fx) + texture[y0, x1, :3] * fx
    low = texture[y1, x0, :3] * (1 - fx) + texture[y1, x1, :3] * fx
    texel: Array = ((top * (1 - fy) + low * fy) / 255.0).astype(np.float32)
    return texel


def _box_corners(vertices: Array) -> Array:
    low, high = vertices.min(0), vertices.max(0)
    pick = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], bool)
    corners: Array = np.where(pick, high, low)
    return corners


def _window(
    corners: Array, c2w: Array, intrinsics: Array, size: tuple[int, int], ortho: float | None
) -> tuple[int, int, int, int] | None:
    """Pixel rows and columns that the bounding box can touch: (top, bottom, left, right)."""
    height, width = size
    local = (corners - c2w[:3, 3]) @ c2w[:3, :3]
    if ortho is None and local[:, 2].min() <= 1e-4:
        return (0, height, 0, width)
    if ortho is None:
        pixel = local @ intrinsics.T
        pixel = pixel[:, :2] / pixel[:, 2:]
    else:
        local[:, :2] *= height / (ortho * intrinsics[1, 1])
        pixel = (local * [1, 1, 0] + [0, 0, 1]) @ intrinsics[:2].T
    low, high = np.floor(pixel.min(0)) - 1, np.ceil(pixel.max(0)) + 1
    left, right = int(np.clip(low[0], 0, width)), int(np.clip(high[0], 0, width))
    top, bottom = int(np.clip(low[1], 0, height)), int(np.clip(high[1], 0, height))
    return (top, bottom, left, right) if bottom > top and right > left else None


def _pixel_rays(
    c2w: Array,
    intrinsics: Array,
    window: tuple[int, int, int, int],
    size: tuple[int, int],
    ortho: float | None,
    supersample: int,
) -> tuple[Array, Array]:
    """World origins and directions, row by row; a direction advances 1 in depth per unit."""
    top, bottom, left, right = window
    step = (np.arange(supersample) + 0.5) / supersample
    y = (np.arange(top, bottom)[:, None] + step).reshape(-1)
    x = (np.arange(left, right)[:, None] + step).reshape(-1)
    grid = np.ones((len(y), len(x), 3), np.float32)
    grid[..., 0], grid[..., 1] = x, y[:, None]
    if ortho is None:
        directions = grid.reshape(-1, 3) @ (c2w[:3, :3] @ np.linalg.inv(intrinsics)).T
        return np.broadcast_to(c2w[:3, 3], directions.shape), directions
    flat = grid.reshape(-1, 3) @ np.linalg.inv(intrinsics).T * (ortho / size[0] * intrinsics[1, 1])
    origins = (flat * [1, 1, 0]).astype(np.float32) @ c2w[:3, :3].T + c2w[:3, 3]
    return origins, np.broadcast_to(c2w[:3, 2], origins.shape)


def render_mesh(
    mesh: Mesh, cameras: Cameras, *, supersample: int = 2, shading: bool = True
) -> ViewSet:
    """Render a mesh (texture, vertex colours or plain grey) from posed cameras.

    Args:
        mesh: in world units, outward faces.
        cameras: perspective or orthographic.
        supersample: samples per pixel and axis.
        shading: ``False`` gives the plain surface colour.
    """
    import torch

    from studio.views import ViewSet

    pictures = cast_mesh(mesh, cameras, supersample=supersample, shading=shading, geometry=False)
    images = torch.from_numpy(np.ascontiguousarray(pictures.rgba.transpose(0, 3, 1, 2)))
    bound = float(np.abs(mesh.vertices).max())
    return ViewSet(images=images, cameras=cameras, bound=bound)


def cast_mesh(
    mesh: Mesh,
    cameras: Cameras,
    *,
    supersample: int = 2,
    shading: bool = True,
    geometry: bool = True,
) -> Rendered:
    """Like :func:`render_mesh`, but as numpy arrays, with depth and normals if ``geometry``."""
    caster = RayCaster(
        mesh.vertices,
        mesh.faces,
        mesh.colours,
        normals=mesh.normals,
        uv=mesh.uv,
        texture=mesh.texture,
    )
    return caster.render(
        cameras.c2w.cpu().numpy(),
        cameras.intrinsics.cpu().numpy(),
        cameras.size,
        ortho_scale=None if cameras.ortho_scale is None else cameras.ortho_scale.cpu().numpy(),
        supersample=supersample,
        shading=shading,
        geometry=geometry,
    )
