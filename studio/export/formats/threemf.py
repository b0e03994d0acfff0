"""3MF: a zip archive with an XML model, after the core specification 1.3 and materials 1.2.1."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from jaxtyping import Int64

from studio.export.attributes import png_bytes, welded
from studio.export.formats.base import MeshFormat
from studio.export.notes import GENERATOR, Notes
from studio.mesh import Mesh
from studio.plugins.registry import register

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
MATERIALS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
KINDS = "http://schemas.microsoft.com/3dmanufacturing/2013/01"  # of relationships
MODEL, TEXTURE = "3D/3dmodel.model", "3D/Textures/colour.png"
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_TYPES = {
    "rels": "application/vnd.openxmlformats-package.relationships+xml",
    "model": "application/vnd.ms-package.3dmanufacturing-3dmodel+xml",
    "png": "image/png",
}
_COLOURS = 2  # resource that holds texture coordinates or colours; 1 is the texture, 3 the object


@register("format", "3mf")
class ThreeMf(MeshFormat):
    """3MF: millimetres, texture or vertex colours, one solid across texture seams; for printers."""

    suffix = ".3mf"
    wants_texture = True
    holds_offset = True
    metres_per_unit = 0.001

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return one file, in which vertices at one place are one vertex, so that solids close."""
        parts = {
            "[Content_Types].xml": _content_types(),
            "_rels/.rels": _relations({MODEL: "3dmodel"}),
            MODEL: "".join(self._model(mesh, notes)).encode(),
        }
        if mesh.texture is not None and mesh.uv is not None:
            parts["3D/_rels/3dmodel.model.rels"] = _relations({TEXTURE: "3dtexture"})
            parts[TEXTURE] = png_bytes(mesh.texture)
        return {name: _packed(parts)}

    def _model(self, mesh: Mesh, notes: Notes) -> Iterator[str]:
        yield f'{XML}<model unit="millimeter" xml:lang="en-US" xmlns="{CORE}" xmlns:m="{MATERIALS}"'
        yield ' xmlns:studio="urn:studio:export">\n'
        record = json.dumps(self.record(notes.placement))
        said = {"Title": notes.name, "Application": GENERATOR, "studio:record": record}
        if notes.copyright:
            said["Copyright"] = notes.copyright
        for key, value in said.items():
            yield f'<metadata name="{key}">{escape(value)}</metadata>\n'
        yield "<resources>\n"
        properties = list(_properties(mesh))
        yield from properties
        positions, place = welded(mesh)
        millimetres = positions.astype(np.float64) / self.metres_per_unit
        whole = f' pid="{_COLOURS}" pindex="0"' if properties else ""
        yield f'<object id="3" type="model" name={quoteattr(notes.name)}{whole}><mesh><vertices>\n'
        yield from _rows('<vertex x="%.9g" y="%.9g" z="%.9g"/>\n', millimetres.tolist())
        yield "</vertices><triangles>\n"
        yield from _triangles(mesh, place, bool(properties))
        yield "</triangles></mesh></object>\n</resources>\n"
        moved = ""
        if notes.offset.any():
            shift = " ".join(f"{value:.17g}" for value in notes.offset / self.metres_per_unit)
            moved = f' transform="1 0 0 0 1 0 0 0 1 {shift}"'
        yield f'<build><item objectid="3"{moved}/></build>\n</model>\n'


def _properties(mesh: Mesh) -> Iterator[str]:
    """The texture with a coordinate for every vertex (from the lower left), or their colours."""
    if mesh.texture is not None and mesh.uv is not None:
        styles = 'tilestyleu="clamp" tilestylev="clamp"'
        yield f'<m:texture2d id="1" path="/{TEXTURE}" contenttype="image/png" {styles}/>\n'
        yield f'<m:texture2dgroup id="{_COLOURS}" texid="1">\n'
        yield from _rows('<m:tex2coord u="%.9g" v="%.9g"/>\n', mesh.uv.tolist())
        yield "</m:texture2dgroup>\n"
    elif mesh.colours is not None:
        pixels = (np.clip(mesh.colours, 0, 1) * 255 + 0.5).astype(np.uint8)
        yield f'<m:colorgroup id="{_COLOURS}">\n'
        yield from _rows('<m:color color="#%02X%02X%02X"/>\n', pixels.tolist())
        yield "</m:colorgroup>\n"


def _triangles(mesh: Mesh, place: Int64[np.ndarray, " n"], coloured: bool) -> Iterator[str]:
    """Corners as positions and, apart from them, what colours each; none of two equal corners."""
    at = place[mesh.faces]
    kept = (at != np.roll(at, 1, axis=1)).all(1)
    row = '<triangle v1="%d" v2="%d" v3="%d"'
    if not coloured:
        yield from _rows(row + "/>\n", at[kept].tolist())
        return
    row += f' pid="{_COLOURS}" p1="%d" p2="%d" p3="%d"/>\n'
    yield from _rows(row, np.concatenate([at, mesh.faces], axis=1)[kept].tolist())


def _rows(row: str, values: Iterable[list[float]]) -> Iterator[str]:
    return (row % tuple(value) for value in values)


def _content_types() -> bytes:
    rows = (f'<Default Extension="{e}" ContentType="{kind}"/>\n' for e, kind in _TYPES.items())
    space = "http://schemas.openxmlformats.org/package/2006/content-types"
    return f'{XML}<Types xmlns="{space}">\n{"".join(rows)}</Types>\n'.encode()


def _relations(parts: dict[str, str]) -> bytes:
    """What other parts a part points to, and as what."""
    rows = (
        f'<Relationship Target="/{part}" Id="rel{i}" Type="{KINDS}/{kind}"/>\n'
        for i, (part, kind) in enumerate(parts.items())
    )
    return f'{XML}<Relationships xmlns="{RELATIONS}">\n{"".join(rows)}</Relationships>\n'.encode()


def _packed(parts: dict[str, bytes]) -> bytes:
    """A zip archive that is the same for the same content, whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
