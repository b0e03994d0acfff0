"""What a mesh file's header asks for, held against the file before a parser makes room for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from studio.io.reading import check_count, check_file, parse_json, read_bytes

MOST_ELEMENTS = 1 << 27
"""Numbers of one glTF accessor."""
_NAMED = re.compile(rb"^element\s+\S+\s+(\S+)\s*$", re.MULTILINE)
_GLB_HEADER = 20  # bytes before the JSON of a .glb


def check_mesh(path: Path) -> None:
    """Refuse counts that cannot be true.

    Raises:
        ValueError: saying which; other types where a header is no header.
    """
    size = check_file(path)
    suffix = path.suffix.lower()
    if suffix == ".ply":
        with path.open("rb") as file:
            head = file.read(1 << 16).partition(b"end_header")[0]
        for count in _NAMED.findall(head):
            check_count(int(count), 1, size, "elements")
    elif suffix == ".glb":
        with path.open("rb") as file:
            head = file.read(_GLB_HEADER)
            length = int.from_bytes(head[12:16], "little")
            check_count(length, 1, size, "bytes of JSON")
            _check_gltf(parse_json(file.read(length)))
    elif suffix == ".gltf":
        _check_gltf(parse_json(read_bytes(path)))


def _check_gltf(document: Any) -> None:
    for accessor in document.get("accessors", ()):
        check_count(int(accessor["count"]), 1, MOST_ELEMENTS, "elements")
    for view in document.get("bufferViews", ()):
        check_count(int(view["byteLength"]), 1, 1 << 32, "bytes")
