"""Geometry of glTF files in Draco's form (KHR_draco_mesh_compression): a tenth of the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BITS = {"POSITION": 16, "TEXCOORD_0": 14, "NORMAL": 12}
"""That are kept of each number: a 65,536th of the object's size, a quarter of a texel."""
LEVEL = 7  # of effort, of 10
_KINDS = {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 3, "COLOR_0": 4}  # Draco's attribute types
_FLOAT = 5126


@dataclass(frozen=True)
class Compressed:
    """A mesh in Draco's form, which has an order of vertices and faces of its own.

    Attributes:
        content: the compressed bytes.
        ids: Draco's number of every attribute, by its name in glTF.
        points: positions as readers will see them.
        faces: number of them.
    """

    content: bytes
    ids: dict[str, int]
    points: Float[np.ndarray, "n 3"]
    faces: int

    def accessor(self, name: str) -> dict[str, object]:
        """What glTF wants to know of an attribute whose values lie in `content`."""
        width = 2 if name == "TEXCOORD_0" else 3
        keys: dict[str, object] = {"type": f"VEC{width}", "count": len(self.points)}
        if name == "POSITION":
            bounds = (self.points.min(0), self.points.max(0))
            keys |= dict(zip(("min", "max"), (side.tolist() for side in bounds), strict=True))
        return keys | {"componentType": _FLOAT}


def compressed(
    attributes: dict[str, Float[np.ndarray, "n c"]], faces: Int[np.ndarray, "m 3"]
) -> Compressed:
    """Compress a mesh. Tangents are left out: readers derive them from the texture coordinates.

    Args:
        attributes: by their names in glTF, in its axes.
        faces: vertex indices.
    """
    import DracoPy

    given = {name: np.ascontiguousarray(values, np.float64) for name, values in attributes.items()}
    further = {0: attributes["COLOR_0"].astype(np.float32)} if "COLOR_0" in given else None
    content = DracoPy.encode(
        given["POSITION"].astype(np.float32),
        np.ascontiguousarray(faces, np.uint32),
        quantization_bits=BITS["POSITION"],
        compression_level=LEVEL,
        normals=given.get("NORMAL"),
        tex_coord=given.get("TEXCOORD_0"),
        generic_attributes=further,
        normal_quantization_bits=BITS["NORMAL"],
        tex_coord_quantization_bits=BITS["TEXCOORD_0"],
    )
    made = DracoPy.decode(content)
    ids = {entry["attribute_type"]: int(entry["unique_id"]) for entry in made.attributes}
    named = {name: ids[kind] for name, kind in _KINDS.items() if kind in ids}
    return Compressed(content, named, np.asarray(made.points), len(made.faces))
