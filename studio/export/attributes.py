"""What mesh files hold of a surface: normals, colours and pictures, as their formats want them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image

from studio.mesh import Mesh


def texture_colours(mesh: Mesh) -> Float[np.ndarray, "n 3"] | None:
    """Return the texture's colour at every vertex (bilinear) in [0, 1], None without a texture."""
    if mesh.texture is None or mesh.uv is None:
        return None
    from scipy.ndimage import map_coordinates

    height, width = mesh.texture.shape[:2]
    rows = (1 - mesh.uv[:, 1]) * height - 0.5
    columns = mesh.uv[:, 0] * width - 0.5
    channels = [
        map_coordinates(
            mesh.texture[..., c].astype(np.float32), [rows, columns], order=1, mode="nearest"
        )
        for c in range(3)
    ]
    return np.stack(channels, axis=1) / np.float32(255)


def smooth_normals(mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """Return area-weighted unit vertex normals that do not break at texture seams."""
    positions, index = welded(mesh)
    whole = Mesh(positions, index[mesh.faces]).with_normals()
    return np.asarray(whole.normals)[index]


def unit_normals(mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    """Return a mesh's normals, or smooth ones, of length one: +Z where a vertex has none."""
    normals = smooth_normals(mesh) if mesh.normals is None else mesh.normals
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(
        length > 1e-6, normals / np.maximum(length, 1e-6), np.array([0, 0, 1], dtype=np.float32)
    )


def welded(mesh: Mesh) -> tuple[Float[np.ndarray, "k 3"], Int64[np.ndarray, " n"]]:
    """Distinct positions in the order of the vertices, and which of them every vertex has."""
    _, first, index = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return mesh.vertices[first[order]], np.argsort(order)[index.reshape(-1)]


def srgb_to_linear(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Decode sRGB values in [0, 1] (IEC 61966-2-1)."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Encode linear values in [0, 1] as sRGB."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.0031308, colours * 12.92, 1.055 * colours ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Picture:
    """A picture file.

    Attributes:
        content: of the file.
        mime: its media type.
    """

    content: bytes
    mime: str


def stored(picture: UInt8[np.ndarray, "..."], kind: str = "png", exact: bool = False) -> Picture:
    """A picture [h, w] or [h, w, c] as a file.

    Args:
        picture: the pixels.
        kind: "png", "jpeg" (for what is opaque, else PNG) or "webp".
        exact: no pixel may change: PNG, or WebP without loss.
    """
    lossy = kind == "jpeg" and not exact and picture.shape[-1:] != (4,)
    if kind == "png" or (kind == "jpeg" and not lossy):
        return Picture(png_bytes(picture), "image/png")
    buffer = io.BytesIO()
    made = Image.fromarray(np.ascontiguousarray(picture))
    if lossy:
        made.save(buffer, format="JPEG", quality=92, subsampling=0, optimize=True)
    else:
        made.save(buffer, format="WEBP", quality=90, lossless=exact, method=4)
    return Picture(buffer.getvalue(), f"image/{kind}")


def png_bytes(picture: UInt8[np.ndarray, "..."]) -> bytes:
    """A picture [h, w] or [h, w, c] as PNG; fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
