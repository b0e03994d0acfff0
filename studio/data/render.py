"""A small ray caster (Embree): meshes to pictures on the processor.

It serves the procedural training data, previews, turntables and benchmarks. Shading is diffuse and
depends on nothing but the world normal's Z component, so a mesh turned about +Z under cameras turned
with it gives the same pictures. That makes "choose another view as view 0" a mere roll of the ring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    depth: Array
    """[V, H, W] distance along the camera's z axis in world units, 0 where nothing is hit."""
    normal: Array
    """[V, H, W, 3] unit world normal, 0 where nothing is hit."""

    @property
    def mask(self) -> Array:
        """[V, H, W] coverage in [0, 1]."""
        return self.rgba[..., 3]


class RayCaster:
    """Casts rays at one triangle mesh.

    Args:
        vertices: [N, 3] world positions.
        faces: [M, 3] indices, outward faces counter-clockwise.
        colours: [N, 3] per vertex or [M, 3] per face, in [0, 1]; grey if absent.
        normals: [N, 3] shading normals; face normals if absent.
        uv: [N, 2] texture coordinates, origin bottom-left.
        texture: [H, W, 3] uint8; wins over ``colours``.
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
    ) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.vertices = np.ascontiguousarray(vertices, dtype=np.float32)
        self.faces = np.ascontiguousarray(faces, dtype=np.int32)
        self.colours = None if colours is None else np.asarray(colours, dtype=np.float32)
        self.normals = None if normals is None else np.asarray(normals, dtype=np.float32)
        self.uv = None if uv is None else np.asarray(uv, dtype=np.float32)
        self.texture = None if texture is None else np.asarray(texture)
        if self.colours is not None and len(self.colours) not in (len(vertices), len(faces)):
            raise ValueError(
                f"{len(self.colours)} colours for {len(vertices)} vertices and {len(faces)} faces"
            )
        self._per_face = self.colours is not None and len(self.colours) != len(vertices)
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, self.vertices, self.faces)

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
    ) -> Rendered:
        """Render perspective or orthographic views.

        Args:
            c2w: [V, 4, 4] OpenCV camera poses in the world (+Z up).
            intrinsics: [V, 3, 3] in pixels, pixel centres at half-integers.
            size: (height, width) in pixels.
            ortho_scale: [V] world height of the picture for orthographic cameras.
            supersample: samples per pixel and axis.
            shading: ``False`` gives the plain surface colour.
        """
        c2w, intrinsics = np.asarray(c2w, np.float32), np.asarray(intrinsics, np.float32)
        views, (height, width) = len(c2w), size
        rgba = np.zeros((views, height, width, 4), np.float32)
        depth = np.zeros((views, height, width), np.float32)
        normal = np.zeros((views, height, width, 3), np.float32)
        corners = _box_corners(self.vertices)
        for view in range(views):
            scale = None if ortho_scale is None else float(ortho_scale[view])
            window = _window(corners, c2w[view], intrinsics[view], size, scale)
            if window is None:
                continue
            top, bottom, left, right = window
            origins, directions = _pixel_rays(
                c2w[view], intrinsics[view], window, size, scale, supersample
            )
            samples = self._shade(origins, directions, shading)
            shape = (bottom - top, supersample, right - left, supersample, 8)
            mean = samples.reshape(shape).mean(axis=(1, 3))
            cover = np.maximum(mean[..., 3:4], 1e-6)
            area = (view, slice(top, bottom), slice(left, right))
            rgba[area] = np.concatenate([mean[..., :3] / cover, mean[..., 3:4]], -1)
            depth[area] = mean[..., 4] / cover[..., 0]
            length = np.linalg.norm(mean[..., 5:], axis=-1, keepdims=True)
            normal[area] = mean[..., 5:] / np.maximum(length, 1e-6)
        return Rendered(rgba, depth, normal)

    def _shade(self, origins: Array, directions: Array, shading: bool) -> Array:
        """[N, 8] per ray: premultiplied rgb, coverage, depth, world normal."""
        hit = self.cast(origins, directions)
        out = np.zeros((len(origins), 8), np.float32)
        index = np.flatnonzero(hit["primID"] >= 0)
        if not len(index):
            return out
        face = hit["primID"][index]
        u, v = hit["u"][index, None], hit["v"][index, None]
        weights = (1.0 - u - v, u, v)
        corner = self.faces[face]
        normal = hit["Ng"][index] if self.normals is None else _blend(self.normals, corner, weights)
        normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        colour = self._colour(face, corner, weights)
        if shading:
            colour = colour * light(normal)[:, None]
        out[index, :3] = colour
        out[index, 3] = 1.0
        out[index, 4] = hit["tfar"][index]
        out[index, 5:] = normal
        return out

    def _colour(self, face: Array, corner: Array, weights: tuple[Array, ...]) -> Array:
        if self.texture is not None and self.uv is not None:
            return _sample_texture(self.texture, _blend(self.uv, corner, weights))
        if self.colours is None:
            return np.full((len(face), 3), 0.7, np.float32)
        return self.colours[face] if self._per_face else _blend(self.colours, corner, weights)


def light(normal: Array) -> Array:
    """Brightness in (0, 1] of surfaces with these unit world normals."""
    up = normal[..., 2]
    shade: Array = AMBIENT + HEMISPHERE * (0.5 + 0.5 * up) + KEY * np.maximum(up, 0.0)
    return shade


def _blend(values: Array, corner: Array, weights: tuple[Array, ...]) -> Array:
    mixed: Array = sum(values[corner[:, k]] * weights[k] for k in range(3))
    return mixed


def _sample_texture(texture: Array, uv: Array) -> Array:
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
    return np.where(pick, high, low)


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
        pixel = local[:, :2] * (height / ortho) + np.array([width / 2, height / 2])
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
    offset = (grid - np.array([size[1] / 2, size[0] / 2, 1.0])) * (ortho / size[0])
    origins = offset.reshape(-1, 3).astype(np.float32) @ c2w[:3, :3].T + c2w[:3, 3]
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

    pictures = cast_mesh(mesh, cameras, supersample=supersample, shading=shading)
    images = torch.from_numpy(np.ascontiguousarray(pictures.rgba.transpose(0, 3, 1, 2)))
    bound = float(np.abs(mesh.vertices).max())
    return ViewSet(images=images, cameras=cameras, bound=bound)


def cast_mesh(
    mesh: Mesh, cameras: Cameras, *, supersample: int = 2, shading: bool = True
) -> Rendered:
    """Like :func:`render_mesh`, but with depth, normals and mask, as numpy arrays."""
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
    )

