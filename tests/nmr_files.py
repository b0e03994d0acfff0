"""A tiny NMR archive with known pictures, as its publishers and ViewFusion's authors write them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from studio.data.training.nmr_index import VIEWS

NAMES = {"02691156": "airplane,plane", "02958343": "car,auto", "03001627": "chair"}
SIZE = 8


def colour(key: str, view: int) -> tuple[int, int, int]:
    """The one colour of a picture, which tells its object and view."""
    number = int(key.rpartition("-")[2].removeprefix("o"))
    synset = list(NAMES).index(key.partition("-")[0])
    return (10 * view, 15 * number, 80 * synset)


def png(key: str, view: int, size: int = SIZE) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour(key, view)).save(buffer, "PNG")
    return buffer.getvalue()


def cameras(y_up: bool = True) -> bytes:
    """cameras.npz: SoftRas' matrices (y up), or those of a right-handed world (y down)."""
    matrices = {}
    for i in range(VIEWS):
        azimuth, elevation, distance = np.radians(-15.0 * i), np.radians(30.0), 2.732
        eye = distance * np.array(
            [
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
                -np.cos(elevation) * np.cos(azimuth),
            ]
        )
        if not y_up:
            eye[0] = -eye[0]  # the mirrored world
        forward = -eye / distance
        right = np.cross([0.0, 1.0, 0.0], forward) * (1 if y_up else -1)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        world = np.eye(4, dtype=np.float32)
        world[:3, :3], world[:3, 3] = rotation, -rotation @ eye
        focal = 1 / np.tan(np.radians(15.0))
        matrices[f"world_mat_{i}"] = world
        matrices[f"camera_mat_{i}"] = np.diag([focal, focal, 1, 1]).astype(np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **matrices)
    return buffer.getvalue()


def write_archive(root: Path, counts: dict[str, Sequence[int]], size: int = SIZE) -> Path:
    """Write NMR_Dataset/ with so many objects of each split and category; softras lists are less.

    Args:
        root: folder that gets NMR_Dataset.
        counts: by split, objects of each of the three categories.
        size: picture side.
    """
    top, camera_bytes = root / "NMR_Dataset", cameras()
    top.mkdir(parents=True)
    lines = [f"{s}:\n  id: {s}\n  name: {name}\n" for s, name in NAMES.items()]
    (top / "metadata.yaml").write_text("".join(lines))  # unquoted: an octal number to YAML 1.1
    next_number = 0
    for c, synset in enumerate(NAMES):
        (top / synset).mkdir()
        for split, numbers in counts.items():
            names = [f"o{next_number + i}" for i in range(numbers[c])]
            next_number += numbers[c]
            (top / synset / f"{split}.lst").write_text("".join(f"{n}\n" for n in names))
            (top / synset / f"softras_{split}.lst").write_text("\n".join(names[1:]))
            for name in names:
                (top / synset / name / "image").mkdir(parents=True)
                (top / synset / name / "cameras.npz").write_bytes(camera_bytes)
                for view in range(VIEWS):
                    path = top / synset / name / "image" / f"{view:04d}.png"
                    path.write_bytes(png(f"{synset}-{name}", view, size))
    return top


def zipped(top: Path) -> Path:
    """Pack the folder as the published zip is packed."""
    path = top.parent / "NMR_Dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in top.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(top.parent).as_posix())
        archive.writestr("NMR_Dataset/02691156/o0/mask/0000.png", b"not read")
    return path


def authors_shards(top: Path, folder: Path, keys: dict[str, list[str]], limit: int) -> Path:
    """Write shards as dataset_prep.py does: never closed, with an empty one after a full split."""
    folder.mkdir()
    for split, members in keys.items():
        for k in range(len(members) // limit + 1):
            stream = (folder / f"NMR-{split}-{k:02}.tar").open("wb")
            part = members[k * limit : (k + 1) * limit]
            if part:
                shard = tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
                for key in part:
                    synset, _, name = key.partition("-")
                    for view in range(VIEWS):
                        _add(shard, f"{key}.{view:04d}.png", png(key, view))
                    _add(
                        shard, f"{key}.cameras", (top / synset / name / "cameras.npz").read_bytes()
                    )
            stream.close()  # without the end mark that closing the archive would write
    return folder


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    shard.addfile(entry, io.BytesIO(content))
