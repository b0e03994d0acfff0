"""Pictures of a mesh all around it, and the video made of them."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from studio.cameras import CANONICAL_FOV_DEG, Cameras, orbit_cameras
from studio.errors import ExportError
from studio.export.cleanup import vertex_normals
from studio.io.files import atomic_write
from studio.mesh import Mesh
from studio.ops.ray_caster import RayCaster

_log = logging.getLogger(__name__)

MARGIN = 1.04  # the bounding sphere fills the picture up to this factor
BATCH = 8  # views rendered at a time


def fitted_orbit(
    mesh: Mesh,
    azimuth_deg: list[float],
    elevation_deg: float | list[float],
    size: int,
    fov_deg: float = CANONICAL_FOV_DEG,
) -> Cameras:
    """Cameras around the middle of the mesh, at the distance at which it just fits the picture."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    centre = (low + high) / 2
    radius = float(np.linalg.norm(mesh.vertices - centre, axis=1).max())
    distance = MARGIN * radius / math.sin(math.radians(fov_deg / 2))
    cameras = orbit_cameras(azimuth_deg, elevation_deg, distance, fov_deg, size)
    c2w = cameras.c2w.clone()
    c2w[:, :3, 3] += torch.from_numpy(centre.astype(np.float32))
    return replace(cameras, c2w=c2w)


def paint(
    mesh: Mesh, cameras: Cameras, supersample: int = 2
) -> tuple[UInt8[np.ndarray, "v h w 3"], UInt8[np.ndarray, "v h w 3"]]:
    """Render the mesh on white: in its own colours, unshaded, and as a bare grey shape.

    Unshaded, because the colours come from pictures that hold the light already. The grey shape is
    lit from the upper left of each camera.
    """
    caster = _caster(mesh)
    light = torch.nn.functional.normalize(torch.tensor([-0.4, -0.55, -0.73]), dim=0)
    colours, shapes = [], []
    for start in range(0, len(cameras), BATCH):
        part = cameras[start : start + BATCH].to("cpu")
        rendered = caster.render(
            part.c2w.numpy(),
            part.intrinsics.numpy(),
            part.size,
            ortho_scale=None if part.ortho_scale is None else part.ortho_scale.numpy(),
            supersample=supersample,
            shading=False,
            geometry=True,
        )
        assert rendered.normal is not None
        facing = np.einsum("vhwc,vc->vhw", rendered.normal, (part.c2w[:, :3, :3] @ light).numpy())
        grey = 0.32 + 0.53 * np.clip(facing, 0, 1) + 0.12 * np.clip(-facing, 0, 1)
        mask = rendered.rgba[..., 3:]
        colours.append(_on_white(rendered.rgba[..., :3], mask))
        shapes.append(_on_white(np.repeat(grey[..., None], 3, -1), mask))
    return np.concatenate(colours), np.concatenate(shapes)


def _caster(mesh: Mesh) -> RayCaster:
    return RayCaster(
        mesh.vertices,
        mesh.faces,
        mesh.colours,
        normals=vertex_normals(mesh),
        uv=mesh.uv,
        texture=mesh.texture,
    )


def _on_white(rgb: np.ndarray, alpha: np.ndarray) -> UInt8[np.ndarray, "v h w 3"]:
    return np.round(np.clip(rgb * alpha + 1 - alpha, 0, 1) * 255).astype(np.uint8)


def turntable_frames(
    mesh: Mesh,
    frames: int = 36,
    size: int = 256,
    elevation_deg: float = 20.0,
    *,
    azimuth_deg: float = 0.0,
) -> UInt8[np.ndarray, "v h w 3"]:
    """Render one turn: the mesh in its colours on the left, its bare shape on the right.

    Args:
        mesh: in world units.
        frames: pictures per turn.
        size: height of the pictures; they are twice as wide.
        elevation_deg: of the camera.
        azimuth_deg: of the first frame; angles grow from there.
    """
    turn = [azimuth_deg + 360.0 * i / frames for i in range(frames)]
    cameras = fitted_orbit(mesh, turn, elevation_deg, size)
    return np.concatenate(paint(mesh, cameras), axis=2)


def write_video(frames: UInt8[np.ndarray, "v h w 3"], path: Path | str, fps: float = 12.0) -> Path:
    """Write an MP4 that browsers play (H.264, yuv420p, index first); a GIF where ffmpeg is missing.

    Args:
        frames: pictures; an odd row or column is dropped, because the format needs even sizes.
        path: ends in ``.mp4``.
        fps: pictures per second.

    Returns:
        The file written: ``path``, or the same name with ``.gif``.

    Raises:
        ExportError: if there is no frame.
    """
    path = Path(path)
    if len(frames) == 0:
        raise ExportError("a video of no frames was asked for.", allowed="one frame or more")
    frames = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    try:
        _write_mp4(frames, path, fps)
    except (ImportError, RuntimeError, OSError) as error:  # no binary, no encoder, broken pipe
        gif = path.with_suffix(".gif")
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _log.warning("video: ffmpeg cannot be used (%s), writing %s instead", reason, gif.name)
        _write_gif(frames, gif, fps)
        return gif
    return path


def _write_mp4(frames: np.ndarray, path: Path, fps: float) -> None:
    import imageio_ffmpeg

    height, width = frames.shape[1:3]
    with atomic_write(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            quality=None,
            output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame))
        writer.close()


def _write_gif(frames: np.ndarray, path: Path, fps: float) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    with atomic_write(path) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=1000 / fps,
            loop=0,
            optimize=True,
        )
