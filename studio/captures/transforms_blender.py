"""Views in NeRF-synthetic's own words, for programs that read nothing else (gsplat, nerfstudio).

`transforms_train.json`, `_val` and `_test` stand beside `transforms.json` and hold the same frames
with less: one `camera_angle_x`, the principal point in the middle, paths without ".png". Our own
readers pass over them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.cameras import Cameras, opencv_to_opengl
from studio.io.files import json_text, remove, write_text
from studio.io.reading import known_json

SPLITS = ("train", "val", "test")
COPY_OF = "copy_of"  # key of our block in such files
CLOSE = 1e-4  # pixels


def write_blender_copies(cameras: Cameras, files: Sequence[str], folder: Path) -> None:
    """Write the three files where NeRF-synthetic's words suffice; another's files stay.

    Args:
        cameras: of the pictures.
        files: path of every picture, relative to the folder, ending in ".png".
        folder: where `transforms.json` is.
    """
    if (document := _document(cameras, files)) is not None:
        for path in _paths(folder):
            if not path.exists():
                write_text(path, json_text(document))


def remove_blender_copies(folder: Path) -> None:
    """Remove what `write_blender_copies` wrote."""
    for path in _paths(folder):
        if is_copy(path):
            remove(path)


def _paths(folder: Path) -> list[Path]:
    return [folder / f"transforms_{split}.json" for split in SPLITS]


def is_copy(path: Path) -> bool:
    """Whether a file is one of ours that says less than the `transforms.json` beside it."""
    block = known_json(path).get("studio")
    return isinstance(block, dict) and COPY_OF in block


def _document(cameras: Cameras, files: Sequence[str]) -> dict[str, Any] | None:
    """The file's content; None for orthographic cameras, several lenses or an off-centre one."""
    cameras = cameras.to("cpu")
    (height, width), k = cameras.size, cameras.intrinsics.double()
    focal = float(k[0, 0, 0])
    middle = k.new_tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    if cameras.ortho_scale is not None or bool((k - middle).abs().max() > CLOSE):
        return None
    matrices = opencv_to_opengl(cameras.c2w).tolist()
    return {
        "camera_angle_x": 2 * math.atan(0.5 * width / focal),
        "frames": [
            {"file_path": file.removesuffix(".png"), "transform_matrix": matrix}
            for file, matrix in zip(files, matrices, strict=True)
        ],
        "studio": {COPY_OF: "transforms.json"},
    }
