"""Procedural objects as a photo shows them: patterns on their surfaces, soft light with contact."""

from __future__ import annotations

import zlib

import numpy as np

from studio.data.procedural.light import draw_lighting, lit, split_triangles
from studio.data.procedural.parts import Array, rotation
from studio.data.procedural.sculptor import ProceduralObject
from studio.data.procedural.surfaces import Paint, cloth, painted
from studio.ops.ray_caster import RayCaster

LOOKS = ("plain", "photo")
"""One colour a part under light from above, or patterns under soft light."""

LIGHT_SPACING = 0.06
"""Longest edge of the triangles that hold the light, in object lengths."""


class PhotoShader:
    """Colours from patterns, times light that was computed at the corners of small triangles."""

    def __init__(
        self, light: Array, points: Array, normals: Array, paints: list[Paint], paint: Array
    ) -> None:
        """Take what the faces hold.

        Args:
            light: [M, 3, 3] at the corners.
            points: [M, 3, 3] corners in the object's coordinates.
            normals: [M, 3] of the faces in the same.
            paints: the patterns.
            paint: [M] which pattern a face has, -1 for none.
        """
        self.columns = np.concatenate([light, points], -1).astype(np.float32)
        self.normals, self.paints, self.paint = normals, paints, paint

    def __call__(self, faces: Array, colours: Array, values: Array) -> Array:
        """Return colours [N, 3] in [0, 1] of points on faces [N] with plain colours [N, 3]."""
        light, points = values[:, :3], values[:, 3:]
        out = colours.copy()
        which = self.paint[faces]
        for number in np.unique(which[which >= 0]):
            on = np.flatnonzero(which == number)
            normals = self.normals[faces[on]]
            out[on] = painted(self.paints[number], colours[on], points[on], normals)
        shaded: Array = np.clip(out * light * cloth(points)[:, None], 0.0, 1.0)
        return shaded


def photo_caster(thing: ProceduralObject) -> RayCaster:
    """Return a ray caster of an object under its own light, as it stands in the world."""
    corners = np.concatenate([part.corners for part in thing.parts])
    normals = np.concatenate([part.normals for part in thing.parts])
    split, origin = split_triangles(np.concatenate([corners, normals], -1), LIGHT_SPACING)
    points, smooth = split[..., :3], split[..., 3:]
    smooth = smooth / np.maximum(np.linalg.norm(smooth, axis=-1, keepdims=True), 1e-9)
    random = np.random.default_rng([zlib.crc32(thing.category.encode()), thing.seed, 2])
    light = lit(draw_lighting(random), thing.parts, points.reshape(-1, 3), smooth.reshape(-1, 3))
    own = np.repeat(np.arange(len(thing.parts)), [len(part.corners) for part in thing.parts])
    own = own[origin]
    paints = list(thing.paints.values())
    number = {colour: i for i, colour in enumerate(thing.paints)}
    paint = np.array([number.get(part.colour, -1) for part in thing.parts])[own]
    flat = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    flat /= np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-12)
    turn = rotation("z", thing.yaw_deg)
    colours = np.array([part.colour for part in thing.parts])[own]
    return RayCaster(
        points.reshape(-1, 3) @ turn.T,
        np.arange(3 * len(points)).reshape(-1, 3),
        np.clip(colours, 0, 1),
        normals=smooth.reshape(-1, 3) @ turn.T,
        shader=PhotoShader(light.reshape(-1, 3, 3), points, flat, paints, paint),
    )
