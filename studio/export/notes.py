"""What exported files say beside their triangles: names, licence, and where they lie."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

import numpy as np
from jaxtyping import Float

from studio.export.world import Placement
from studio.io.reading import MOST_TEXT, parse_json, read_bytes
from studio.version import __version__
from studio.views import ViewSet

GENERATOR = f"studio {__version__}"
LONGEST_NAME = 60
_LAYOUT_FOLDERS = ("sparse", "colmap", "dense", "images", "views")


@dataclass(frozen=True)
class Notes:
    """Of one file.

    Attributes:
        name: of the object; its node, mesh, material and texture are called after it.
        copyright: of the weights that the object was made with, empty where there are none.
        placement: where the file lies in the world.
    """

    name: str = "object"
    copyright: str = ""
    placement: Placement = Placement()

    @property
    def offset(self) -> Float[np.ndarray, "3"]:
        """What vertices are counted from, in the file's world (+Z up)."""
        return self.placement.offset

    @property
    def identifier(self) -> str:
        """The name without spaces, at which names in OBJ and MTL end."""
        return re.sub(r"\s+", "_", self.name)

    def lines(self, record: dict[str, Any]) -> list[str]:
        """Return the comment lines of a text header: who wrote it, which way is up, the record.

        Args:
            record: of the `placement`, see `Placement.record`.
        """
        lines = [f"{GENERATOR}: {record['up']} is up"]
        lines += [f"studio.{key} {json.dumps(value)}" for key, value in record.items()]
        return lines + ([f"copyright: {self.copyright}"] if self.copyright else [])


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what `Placement.record` wrote into a file of this program, None for other files.

    Programs that read such a file and write it again leave the record out, or their own name; what
    they wrote may have been moved.
    """
    if path.suffix.lower() == ".3mf":
        return _of_3mf(path)
    with path.open("rb") as file:
        head = file.read(20)
        if path.suffix.lower() == ".glb":
            text = file.read(min(int.from_bytes(head[12:16], "little"), MOST_TEXT))
            return _of_gltf(text)
        head += file.read(1 << 14)
    if path.suffix.lower() == ".gltf":
        return _of_gltf(read_bytes(path))
    lines = head.decode("utf-8", "replace").splitlines()
    if not any(re.match(r"(#|comment) studio [\d.]+: ", line) for line in lines[:4]):
        return None
    found = (re.match(r"(?:#|comment) studio\.(\w+) (.*)", line) for line in lines)
    return _checked({match[1]: match[2] for match in found if match}, parse_json)


def _of_gltf(text: bytes) -> dict[str, Any] | None:
    try:
        asset = parse_json(text)["asset"]
        ours = str(asset.get("generator", "")).startswith("studio ")
        return _checked(asset["extras"]["studio"]) if ours else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_3mf(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive, archive.open("3D/3dmodel.model") as part:
            head = part.read(1 << 14).decode("utf-8", "replace")
    except (zipfile.BadZipFile, KeyError, OSError, zlib.error, RuntimeError, NotImplementedError):
        return None
    ours = re.search(r'<metadata name="Application">studio [\d.]+', head)
    found = re.search(r'<metadata name="studio:record">([^<]*)</metadata>', head)
    if not ours or not found:
        return None
    try:
        return _checked(parse_json(unescape(found[1])))
    except ValueError:
        return None


def _checked(record: dict[str, Any], read: Any = lambda value: value) -> dict[str, Any] | None:
    """The record if it is whole."""
    try:
        record = {key: read(value) for key, value in record.items()}
        shapes = [np.array(record[key], float).shape for key in ("to_views", "to_capture")]
    except (ValueError, KeyError, TypeError):
        return None
    return record if shapes == [(4, 4)] * 2 and record.get("up") in ("+y", "+z") else None


def notes_of(views: ViewSet | None) -> Notes:
    """Return name and copyright of what was made from some views, as far as their meta tells."""
    meta = {} if views is None else views.meta
    return Notes(object_name(meta) or "object", weights_copyright(meta))


def object_name(meta: dict[str, Any]) -> str:
    """Return a name for what views show, after picture, text or folder; empty if nothing tells."""
    asked = meta.get("condition")
    asked = asked if isinstance(asked, dict) else {}
    if asked.get("text"):
        return _cleaned(str(asked["text"]))
    pictures = asked.get("images") or [asked.get("image")]
    if isinstance(pictures, list) and pictures[0]:
        return _cleaned(Path(str(pictures[0])).stem)
    source = asked.get("root") or meta.get("source")
    if not source:
        return ""
    path = Path(str(source)).absolute()
    folders = path.parents if path.suffix in (".json", ".npz") else (path, *path.parents)
    telling = (p.name for p in folders if not p.name.isdigit() and p.name not in _LAYOUT_FOLDERS)
    return _cleaned(next(telling, ""))


def weights_copyright(meta: dict[str, Any]) -> str:
    """Return the sentence on the weights that views were made with; empty if there are none."""
    weights = meta.get("weights")
    if not isinstance(weights, dict) or not weights.get("source"):
        return ""
    licence = weights.get("licence") or "not stated"
    method = meta.get("guidance", "guidance")
    return f"Views made by {method} with weights {weights['source']}; their licence: {licence}"


def _cleaned(text: str) -> str:
    """One line of printable characters, not too long."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:LONGEST_NAME].strip()
